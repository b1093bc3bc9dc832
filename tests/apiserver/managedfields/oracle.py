"""A slow and obvious second implementation of field ownership, for Services.

An object is a dict of paths and values; an owner owns paths. Nothing is shared with the real one, not even the schema:
what is a list with keys, a set, a map or one value is said here in four lines.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

Json = dict[str, Any]
Path = tuple[str, ...]
Owner = tuple[str, str]
STRUCTS = ("metadata", "spec")
MAPS, SETS, KEYED = ("labels",), ("finalizers",), ("ports",)
CONTAINER = object()
"""The value of a map, a list or an item of one: what is in it has paths of its own."""


class Refused(Exception):
    """The conflicts: owners and paths."""

    def __init__(self, conflicts: set[tuple[Owner, Path]]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts


def flatten(obj: Json) -> dict[Path, Any]:
    """Every path of the object."""
    flat: dict[Path, Any] = {}
    for struct in STRUCTS:
        for name, value in obj.get(struct, {}).items():
            path = (f"f:{struct}", f"f:{name}")
            if name in MAPS:
                flat[path] = CONTAINER
                flat |= {(*path, f"f:{key}"): item for key, item in value.items()}
            elif name in SETS:
                flat[path] = CONTAINER
                flat |= {(*path, f'v:"{item}"'): item for item in value}
            elif name in KEYED:
                flat[path] = CONTAINER
                for item in value:
                    keys = {"port": item["port"], "protocol": item.get("protocol", "TCP")}
                    place = (*path, "k:" + json.dumps(keys, separators=(",", ":")))
                    flat[place] = CONTAINER
                    flat |= {(*place, f"f:{key}"): part for key, part in item.items()}
            else:
                flat[path] = json.dumps(value, sort_keys=True)
    return flat


class Oracle:
    """One object and its owners."""

    def __init__(self) -> None:
        self.flat: dict[Path, Any] = {}
        self.owners: defaultdict[Path, set[Owner]] = defaultdict(set)

    def owned_by(self) -> dict[Owner, set[Path]]:
        found: defaultdict[Owner, set[Path]] = defaultdict(set)
        for path, owners in self.owners.items():
            for owner in owners:
                found[owner].add(path)
        return dict(found)

    def fill(self, obj: Json) -> None:
        """The server sets what nobody asked for."""
        self.flat = flatten(obj)

    def claim(self, manager: str) -> None:
        """All that is there has this owner."""
        for path in self.flat:
            self.owners[path] = {(manager, "Update")}

    def update(self, manager: str, obj: Json) -> None:
        flat = flatten(obj)
        for path in set(self.flat) - set(flat):
            self.owners[path].clear()
        for path in flat:
            if path not in self.flat or flat[path] != self.flat[path]:
                self.owners[path] = {(manager, "Update")}
        self.flat = flat

    def apply(self, manager: str, config: Json, *, force: bool) -> None:
        me = (manager, "Apply")
        wanted = flatten(config)
        # The configuration owns leaves, keys, items and members, but not the map or list that they are in.
        mine = {path for path in wanted if wanted[path] is not CONTAINER or path[-1].startswith("k:")}
        last = {path for path, owners in self.owners.items() if me in owners}
        merged = {**self.flat, **wanted}
        for path in sorted(merged, key=len):
            if path in merged and self._is_let_go(path, last, mine, me):
                merged = {other: value for other, value in merged.items() if other[: len(path)] != path}
        if last:
            merged = self._without_hollow(merged)
        changed = {path for path in merged if path not in self.flat or merged[path] != self.flat[path]}
        conflicts = {(owner, path) for path in changed for owner in self.owners[path] if owner != me}
        if conflicts and not force:
            raise Refused(conflicts)
        gone = set(self.flat) - set(merged)
        for path in changed | gone:
            self.owners[path] &= {me}
        for path in list(self.owners):
            self.owners[path].discard(me)
        for path in mine:
            self.owners[path].add(me)
        self.flat = merged

    def _is_let_go(self, path: Path, last: set[Path], mine: set[Path], me: Owner) -> bool:
        """I had it, do not want it any more, and nobody else has it."""
        kept = mine | {other for other, owners in self.owners.items() if owners - {me}}
        if path[:2] == path:  # a field: had and kept by whoever has anything in it
            if path[0] == "f:spec" and _any_below(path[:1], last) and not _any_below(path[:1], kept):
                return True
            return _any_below(path, last) and not _any_below(path, kept)
        return path in last and path not in kept

    def _without_hollow(self, flat: dict[Path, Any]) -> dict[Path, Any]:
        """Maps and lists of which everything was taken are gone too."""
        hollow = {
            path
            for path, value in flat.items()
            if value is CONTAINER and len(path) == 2 and not any(other[:2] == path and other != path for other in flat)
        }
        return {path: value for path, value in flat.items() if path not in hollow}


def _any_below(prefix: Path, paths: set[Path]) -> bool:
    return any(path[: len(prefix)] == prefix for path in paths)
