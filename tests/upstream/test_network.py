"""The page of upstream's tests says what is so: the loops are there, and so are the tests that show them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from seaway.controllers.run import LOOPS
from tests.upstream.network import DETAILS, NEEDS, find_details, read_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT.parent / "docs" / "conformance.md"
SHOWN = sorted({test for need in NEEDS.values() for test in need.shown} | {shown for _, shown in DETAILS})


def test_every_test_of_the_directory_is_there_once() -> None:
    rows = read_table()
    assert len(rows) == 188, "spec controllers §7.11"
    assert len({(row.file, row.name) for row in rows}) == len(rows)
    assert sum(row.is_conformance for row in rows) == 43


@pytest.mark.parametrize("shown", SHOWN)
def test_a_claim_rests_on_a_test_that_exists(shown: str) -> None:
    path, _, name = shown.partition("::")
    if path.endswith(".txt"):
        assert (ROOT / path).is_file() and not name
        return
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("letter", NEEDS)
def test_what_is_in_place_is_a_loop_and_shown_and_what_is_not_says_why(letter: str) -> None:
    need = NEEDS[letter]
    if need.absent:
        assert not need.loops and not need.shown
    else:
        assert need.loops and need.shown
        assert set(need.loops) <= set(LOOPS)


def test_every_detail_is_of_some_test() -> None:
    text = "\n".join(f"{row.file} {row.name}" for row in read_table())
    assert [pattern for pattern, _ in DETAILS if not re.search(pattern, text)] == []


@pytest.mark.parametrize("row", [r for r in read_table() if "E" in r.needs], ids=lambda row: row.name)
def test_what_a_test_asks_of_slices_in_particular_is_shown(row: object) -> None:
    assert list(find_details(row))  # type: ignore[arg-type]


def test_the_page_is_fresh() -> None:
    from tests.test_docs import load_tool

    made = load_tool("make_conformance").render_page()
    assert made == PAGE.read_text(), "run: python tools/make_conformance.py > docs/conformance.md"
