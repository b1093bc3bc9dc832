"""The page of upstream's tests says what is so: the loops are there, and so are the tests that show them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TypeGuard

import pytest

from seaway.controllers.run import LOOPS
from tests.upstream.network import DETAILS, NEEDS, UpstreamTest, find_details, read_table
from tests.upstream.node import NODE_NEEDS, read_node_needs

ROOT = Path(__file__).parent.parent
PAGE = ROOT.parent / "docs" / "conformance.md"
CLAIMED = [test for needs in (NEEDS, NODE_NEEDS) for need in needs.values() for test in need.shown]
SHOWN = sorted({*CLAIMED, *(shown for _, shown in DETAILS)})


def test_every_test_of_the_directories_is_there_once() -> None:
    rows = read_table()
    common = [row for row in rows if row.file.startswith("common/")]
    assert len(rows) - len(common) == 188, "spec controllers §7.11"
    assert len({(row.file, row.name) for row in rows}) == len(rows)
    assert sum(row.is_conformance for row in rows) == 47, "spec node §7.3"
    assert len(common) == 4 and all(row.is_conformance for row in common)


@pytest.mark.parametrize("shown", SHOWN)
def test_a_claim_rests_on_a_test_that_exists(shown: str) -> None:
    path, _, name = shown.partition("::")
    if path.endswith(".txt"):
        assert (ROOT / path).is_file() and not name
        return
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if is_test(node)}


def is_test(node: ast.AST) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    """A test that pytest collects, or a scenario of a program that one of them starts."""
    if isinstance(node, ast.AsyncFunctionDef):
        marks = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
        return bool(marks & {"scenario", "dual_scenario"})
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        pytest.param("def test_it(): ...", True, id="a test"),
        pytest.param("@scenario\nasync def it(world): ...", True, id="a scenario"),
        pytest.param("async def it(world): ...", False, id="a coroutine that nobody starts"),
        pytest.param("def it(): ...", False, id="a function that no test is"),
    ],
)
def test_what_counts_as_a_test(source: str, counts: bool) -> None:
    assert is_test(ast.parse(source).body[0]) is counts


@pytest.mark.parametrize("letter", NEEDS)
def test_what_is_in_place_is_a_loop_and_shown_and_what_is_not_says_why(letter: str) -> None:
    need = NEEDS[letter]
    if need.absent:
        assert not need.loops and not need.shown
    else:
        assert need.loops and need.shown
        assert set(need.loops) <= set(LOOPS)


@pytest.mark.parametrize("letter", NODE_NEEDS)
def test_what_a_node_does_is_shown_and_needed_and_what_it_does_not_do_says_why(letter: str) -> None:
    need = NODE_NEEDS[letter]
    assert bool(need.shown) is not bool(need.absent)
    assert any(letter in letters for letters in read_node_needs().values())


def test_each_conformance_test_says_what_it_needs_of_a_node_and_fourteen_need_none() -> None:
    needs = read_node_needs()
    rows: dict[tuple[str, str], UpstreamTest] = {(r.file, r.name): r for r in read_table() if r.is_conformance}
    assert needs.keys() == rows.keys()
    assert {key for key, letters in needs.items() if not letters} == {key for key, row in rows.items() if not row.nodes}
    assert sum(not letters for letters in needs.values()) == 14, "spec node §7.5"
    assert {letter for letters in needs.values() for letter in letters} <= NODE_NEEDS.keys()


def test_every_detail_is_of_some_test() -> None:
    names = [f"{row.file} {row.name}" for row in read_table()]
    assert [pattern for pattern, _ in DETAILS if not any(re.search(pattern, name) for name in names)] == []


@pytest.mark.parametrize("row", [r for r in read_table() if "E" in r.needs], ids=lambda row: row.name)
def test_what_a_test_asks_of_slices_in_particular_is_shown(row: object) -> None:
    assert list(find_details(row))  # type: ignore[arg-type]


def test_the_page_is_fresh() -> None:
    from tests.test_docs import load_tool

    made = load_tool("make_conformance").render_page()
    assert made == PAGE.read_text(), "run: python tools/make_conformance.py > docs/conformance.md"
