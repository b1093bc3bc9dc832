"""Writes docs/conformance.md: upstream's network tests, and what of their needs is in place.

python tools/make_conformance.py > docs/conformance.md
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.upstream.network import NEEDS, Need, UpstreamTest, find_details, read_table
from tests.upstream.node import NODE_NEEDS, read_node_needs

INTRODUCTION = """\
# Upstream's network tests, and what they need

The suite of end-to-end tests that every Kubernetes distribution is measured by has {count} tests of the network (v1.36,
`test/e2e/network`, and those of Pods in `test/e2e/common/network`), {conformance} of them conformance. This page says for each
whether the control loops that it needs are in place, and for the conformance tests whether a node and the way to its Pods have
what they need. Each claim rests on tests of our own, which are named; a test sees to it that they and the loops exist.

It is no record of a run. The tests run programs of the suite's own images (`agnhost` above all), which have to be
[imported](images.md) first.

The page is made: `python tools/make_conformance.py > docs/conformance.md`.

## Which loops: the capital letters

| | needs | loops of `seaway controllers` | in place | shown by |
|---|---|---|---|---|
"""

OF_NODES = """
## What a node must do: the small letters

For the conformance tests alone; "–" runs no Pod.

| | needs | in place | shown by |
|---|---|---|---|
"""
OF_TESTS = read_node_needs()


def render_page() -> str:
    """The whole page."""
    rows = read_table()
    count, conformance = len(rows), sum(row.is_conformance for row in rows)
    parts = [INTRODUCTION.format(count=count, conformance=conformance)]
    parts.extend(render_need(letter, need) for letter, need in NEEDS.items())
    parts.append(OF_NODES)
    parts.extend(render_node_need(letter, need) for letter, need in NODE_NEEDS.items())
    parts.append(render_sum(rows))
    for file, found in groupby(rows, key=lambda row: row.file):
        parts.append(f"\n## {file}\n\n| test | | loops | node | in place | shown besides by |\n|---|---|---|---|---|---|\n")
        parts.extend(render_row(row) for row in found)
    return "".join(parts)


def render_need(letter: str, need: Need) -> str:
    loops = ", ".join(f"`{name}`" for name in need.loops)
    return f"| {letter} | {need.text} | {loops} | {judge(need.absent)} | {spell(need.shown)} |\n"


def render_node_need(letter: str, need: Need) -> str:
    return f"| {letter} | {need.text} | {judge(need.absent)} | {spell(need.shown)} |\n"


def render_sum(rows: list[UpstreamTest]) -> str:
    served = [row for row in rows if not find_absent(row)]
    conformance = [row for row in rows if row.is_conformance]
    with_pods = [row for row in conformance if find_node_needs(row)]
    return (
        f"\nThe loops are in place for {len(served)} of {len(rows)} tests, and for "
        f"{sum(not find_absent(row) for row in conformance)} of the {len(conformance)} conformance tests. "
        f"{len(conformance) - len(with_pods)} of these run no Pod; a node does all that the others need for "
        f"{sum(not find_absent_of_node(row) for row in with_pods)} of {len(with_pods)}.\n"
    )


def render_row(row: UpstreamTest) -> str:
    marks = ["conformance"] if row.is_conformance else []
    marks.extend(tag.removeprefix("F:") for tag in row.tags if tag != "C")
    node = " ".join(find_node_needs(row)) or ("–" if row.is_conformance else "")
    is_there = judge("; ".join(filter(None, (find_absent(row), find_absent_of_node(row)))))
    name = row.name.replace("|", "\\|")
    shown = spell(tuple(find_details(row)))
    return f"| {name} | {', '.join(marks)} | {' '.join(row.needs)} | {node} | {is_there} | {shown} |\n"


def judge(absent: str) -> str:
    return f"no: {absent}" if absent else "yes"


def find_absent(row: UpstreamTest) -> str:
    """Why the test cannot pass for want of a loop; "" when all are there."""
    return "; ".join(NEEDS[letter].absent for letter in row.needs if NEEDS[letter].absent)


def find_node_needs(row: UpstreamTest) -> tuple[str, ...]:
    """What it needs of a node; nothing where no Pod runs, or where nobody has looked."""
    return OF_TESTS.get((row.file, row.name), ())


def find_absent_of_node(row: UpstreamTest) -> str:
    """What a node does not do for the test; "" when it does all."""
    return "; ".join(NODE_NEEDS[letter].absent for letter in find_node_needs(row) if NODE_NEEDS[letter].absent)


def spell(shown: tuple[str, ...]) -> str:
    """Links to our tests: the sentence that a test's name is, or the file of a conversation."""
    links = []
    for test in shown:
        path, _, name = test.partition("::")
        title = name.removeprefix("test_").replace("_", " ") or f"`{path}`"
        links.append(f"[{title}](../tests/{path})")
    return "; ".join(links)


if __name__ == "__main__":
    sys.stdout.write(render_page())
