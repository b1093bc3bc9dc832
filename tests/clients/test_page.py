"""docs/compatibility.md is what the tests have just found. Runs after all others of its folder."""

from __future__ import annotations

import pytest

from tests.clients.record import CELLS, PAGE, YES, Record, load_cells, merge_cells, render_page, save_cells
from tests.clients.samples import find_missing


def test_every_served_kind_has_a_sample() -> None:
    assert find_missing() == set()


def test_the_page_says_what_was_found(record: Record, pytestconfig: pytest.Config) -> None:
    if record.failures:
        pytest.fail(f"{record.failures} tests of clients failed: nothing is said of the page")
    kept = load_cells()
    found = merge_cells(kept, record)
    if pytestconfig.getoption("--rewrite", default=False):
        save_cells(found)
        PAGE.write_text(render_page(found))
        return
    known = {client for client, _, _ in kept}  # a client that the page does not name yet makes nobody's page stale
    found = {cell: outcome for cell, outcome in found.items() if cell[0] in known}
    stale = {cell: (kept.get(cell), found.get(cell)) for cell in {*kept, *found} if kept.get(cell) != found.get(cell)}
    assert stale == {}, f"{CELLS.name} says otherwise: pytest tests/clients --rewrite"
    assert PAGE.read_text() == render_page(kept), "the page is stale: pytest tests/clients --rewrite"


def test_a_reason_is_kept_before_a_yes_and_what_was_not_tried_stays() -> None:
    record = Record(complete=True)
    record.note("a", "get", "Pod", "too old")
    record.note("a", "get", "Pod")
    kept = {("a", "get", "Gone"): YES, ("b", "get", "Pod"): YES}
    assert merge_cells(kept, record) == {("a", "get", "Pod"): "too old", ("b", "get", "Pod"): YES}
    record.skipped.add("a")
    assert ("a", "get", "Gone") in merge_cells(kept, record)


def test_a_page_has_a_mark_per_cell_and_its_reasons_below() -> None:
    cells = {("a", "get", kind): YES for kind in "BCDE"} | {("a", "get", "A"): "no such thing", ("a", "run", "*"): YES}
    text = render_page(cells)
    assert "| A | (1) |" in text
    assert "| B | ✓ |" in text
    assert "1. no such thing" in text
    assert "| run | – | ✓ |" in text
