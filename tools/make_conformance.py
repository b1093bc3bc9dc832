"""Writes docs/conformance.md: upstream's network tests, and what of their needs is in place.

python tools/make_conformance.py > docs/conformance.md
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.upstream.network import NEEDS, Need, UpstreamTest, find_details, read_table

INTRODUCTION = """\
# Upstream's network tests, and what they need

The suite of end-to-end tests that every Kubernetes distribution is measured by has {count} tests of the network (v1.36,
`test/e2e/network`), {conformance} of them conformance. This page says for each whether the control loops that it needs
are in place. Each claim rests on tests of our own, which are named; a test sees to it that they and the loops exist.

It is no record of a run. What a test needs besides the loops (the proxy, DNS, Pods that run programs) is not judged
here.

The page is made: `python tools/make_conformance.py > docs/conformance.md`.

## What the letters mean

| | needs | loops of `seaway controllers` | in place | shown by |
|---|---|---|---|---|
"""


def render_page() -> str:
    """The whole page."""
    rows = read_table()
    count, conformance = len(rows), sum(row.is_conformance for row in rows)
    parts = [INTRODUCTION.format(count=count, conformance=conformance)]
    parts.extend(render_need(letter, need) for letter, need in NEEDS.items())
    parts.append(render_sum(rows))
    for file, found in groupby(rows, key=lambda row: row.file):
        parts.append(f"\n## {file}\n\n| test | | needs | in place | shown besides by |\n|---|---|---|---|---|\n")
        parts.extend(render_row(row) for row in found)
    return "".join(parts)


def render_need(letter: str, need: Need) -> str:
    loops = ", ".join(f"`{name}`" for name in need.loops)
    is_there = f"no: {need.absent}" if need.absent else "yes"
    return f"| {letter} | {need.text} | {loops} | {is_there} | {spell(need.shown)} |\n"


def render_sum(rows: list[UpstreamTest]) -> str:
    served = [row for row in rows if not find_absent(row)]
    conformance = [row for row in rows if row.is_conformance]
    return (
        f"\nThe loops are in place for {len(served)} of {len(rows)} tests, and for "
        f"{sum(not find_absent(row) for row in conformance)} of the {len(conformance)} conformance tests.\n"
    )


def render_row(row: UpstreamTest) -> str:
    marks = ["conformance"] if row.is_conformance else []
    marks.extend(tag.removeprefix("F:") for tag in row.tags if tag != "C")
    absent = find_absent(row)
    is_there = f"no: {absent}" if absent else "yes"
    name = row.name.replace("|", "\\|")
    return f"| {name} | {', '.join(marks)} | {' '.join(row.needs)} | {is_there} | {spell(tuple(find_details(row)))} |\n"


def find_absent(row: UpstreamTest) -> str:
    """Why the test cannot pass for want of a loop; "" when all are there."""
    return "; ".join(NEEDS[letter].absent for letter in row.needs if NEEDS[letter].absent)


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
