"""Sets of paths said plainly: Python sets of tuples, against which the trees are held."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Tree = dict[str, Any]
Path = tuple[str, ...]


def to_paths(tree: Tree) -> set[Path]:
    """The paths in a FieldsV1 tree."""
    found: set[Path] = set()

    def walk(prefix: Path, node: Tree) -> None:
        if not node or "." in node:
            found.add(prefix)
        for key, child in node.items():
            if key != ".":
                walk((*prefix, key), child)

    for key, child in tree.items():
        walk((key,), child)
    return found


def to_tree(paths: Iterable[Path]) -> Tree:
    """The FieldsV1 tree of the paths."""
    wanted = set(paths)
    prefixes = {path[:length] for path in wanted for length in range(1, len(path))}
    tree: Tree = {}
    for path in sorted(wanted | prefixes, key=len):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        if path in wanted and path in prefixes:
            node["."] = {}
    return tree
