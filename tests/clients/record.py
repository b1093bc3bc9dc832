"""Which client can do what with which kind: recorded by the tests, kept beside them, and shown as a page.

A cell is (client, verb, kind) with `yes`, or the reason why not. The page is a function of the cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CELLS = Path(__file__).with_name("compatibility.json")
PAGE = ROOT / "docs" / "compatibility.md"
YES = "yes"
EVERY = "*"
"""The kind of what has none: discovery, health, access."""
HEAD = """# Compatibility

What the tests do with unmodified clients, and how it ends. This page is made by them:
`.venv/bin/python -m pytest tests/clients --rewrite`; a run whose results are others fails.

`✓` it works. A number is the reason why it does not, below its table. An empty cell: the client has no such verb, or
nobody tried. CustomResourceDefinition and APIService are lists that programs look at when they start; they are empty,
and nothing can be put into them.
"""
Cell = tuple[str, str, str]


@dataclass(slots=True)
class Record:
    """What the running tests have found so far, in the order found."""

    found: dict[Cell, str] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    """Clients of whose tests some were skipped: their cells are not complete."""
    complete: bool = False
    """All modules of the folder run, with all their tests."""
    failures: int = 0

    def note(self, client: str, verb: str, kind: str, outcome: str = YES) -> None:
        """Remember the outcome. A cell that was noted before keeps a reason before a yes."""
        cell = (client, verb, kind)
        if self.found.get(cell, YES) == YES:
            self.found[cell] = outcome


def load_cells() -> dict[Cell, str]:
    """The cells as they were last written."""
    if not CELLS.exists():
        return {}
    kept: dict[str, dict[str, dict[str, str]]] = json.loads(CELLS.read_text())
    return {
        (c, v, k): outcome for c, verbs in kept.items() for v, kinds in verbs.items() for k, outcome in kinds.items()
    }


def save_cells(cells: Mapping[Cell, str]) -> None:
    nested: dict[str, dict[str, dict[str, str]]] = {}
    for (client, verb, kind), outcome in cells.items():
        nested.setdefault(client, {}).setdefault(verb, {})[kind] = outcome
    CELLS.write_text(json.dumps(nested, indent=1, ensure_ascii=False) + "\n")


def merge_cells(kept: Mapping[Cell, str], record: Record) -> dict[Cell, str]:
    """The cells after a run. What a client's tests no longer record is forgotten, if all of them ran."""
    clients = {client for client, _, _ in record.found} - record.skipped if record.complete else set()
    others = {cell: outcome for cell, outcome in kept.items() if cell[0] not in clients and cell not in record.found}
    merged = others | record.found
    return {cell: merged[cell] for cell in sorted(merged, key=lambda cell: cell[0])}


def render_page(cells: Mapping[Cell, str]) -> str:
    """The page: per client a table of kinds by verbs, and a list of what was done with one kind or none."""
    parts = [HEAD]
    for client in _unique(client for client, _, _ in cells):
        own = {(verb, kind): outcome for (c, verb, kind), outcome in cells.items() if c == client}
        parts.append(f"## {client}\n")
        wide = [verb for verb in _unique(v for v, _ in own) if sum(v == verb for v, _ in own) > 3]
        table = {key: outcome for key, outcome in own.items() if key[0] in wide}
        rest = {key: outcome for key, outcome in own.items() if key[0] not in wide}
        if table:
            parts.append(_render_table(table, wide))
        if rest:
            parts.append(_render_list(rest))
    return "\n".join(parts)


def _render_table(cells: Mapping[tuple[str, str], str], verbs: list[str]) -> str:
    reasons: list[str] = []
    lines = [f"| kind | {' | '.join(verbs)} |", "|---" * (len(verbs) + 1) + "|"]
    for kind in sorted(_unique(kind for _, kind in cells)):
        row = [_mark(cells.get((verb, kind), ""), reasons) for verb in verbs]
        lines.append(f"| {kind} | {' | '.join(row)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([*lines, "", *notes, *([""] if notes else [])])


def _render_list(cells: Mapping[tuple[str, str], str]) -> str:
    lines = ["| what | with | result |", "|---|---|---|"]
    verbs: dict[tuple[str, str], list[str]] = {}
    for (verb, kind), outcome in cells.items():
        verbs.setdefault((verb, outcome), []).append(kind)
    for (verb, outcome), kinds in verbs.items():
        named = ", ".join("–" if kind == EVERY else kind for kind in sorted(kinds))
        lines.append(f"| {verb} | {named} | {'✓' if outcome == YES else outcome} |")
    return "\n".join([*lines, ""])


def _mark(outcome: str, reasons: list[str]) -> str:
    if outcome in ("", YES):
        return "✓" if outcome else ""
    if outcome not in reasons:
        reasons.append(outcome)
    return f"({reasons.index(outcome) + 1})"


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
