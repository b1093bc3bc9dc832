"""Rules of the tree that no linter holds: impurity is visible in the file name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "seaway"
IMPURE_MODULES = frozenset(
    ("asyncio", "socket", "ssl", "subprocess", "sqlite3", "threading", "time", "random", "os", "logging")
)
IMPURE_FILES = frozenset(("run.py", "serve.py", "kernel.py", "transport.py", "forward.py", "sqlite.py", "etcd.py"))
IMPURE_FOLDERS = ("apiserver/serving/", "node/shim/", "node/runtime/", "cli/", "app/", "testing/")
VAGUE = frozenset(("utils", "util", "helpers", "helper", "common", "misc", "manager", "info"))

MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def may_be_impure(module: str) -> bool:
    return module.rsplit("/", 1)[-1] in IMPURE_FILES or module.startswith(IMPURE_FOLDERS)


def find_imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("module", [m for m in MODULES if not may_be_impure(m)])
def test_pure_modules_import_nothing_that_waits_or_acts(module: str) -> None:
    assert not find_imports((ROOT / module).read_text()) & IMPURE_MODULES


@pytest.mark.parametrize("module", MODULES)
def test_the_random_numbers_of_the_program_around_are_left_alone(module: str) -> None:
    """Its tests may count on them (Hypothesis does), and a fork would draw the same as its parent."""
    assert not find_global_draws((ROOT / module).read_text())


def find_global_draws(source: str) -> set[str]:
    """What is taken of the module `random` but generators with a state of their own."""
    generators = {"Random", "SystemRandom"}
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            found.add(node.attr)
    return found - generators


@pytest.mark.parametrize("source", ["import random\nrandom.random()", "from random import choice"])
def test_a_global_draw_is_found(source: str) -> None:
    assert find_global_draws(source)


@pytest.mark.parametrize("module", MODULES)
def test_no_file_has_a_vague_name(module: str) -> None:
    assert not VAGUE & set(module.removesuffix(".py").split("/"))


def test_the_walk_found_the_tree() -> None:
    assert len(MODULES) > 20
