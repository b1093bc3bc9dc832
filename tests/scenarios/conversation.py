"""The text of a golden conversation: command, rule, outcome. Pure; `stage.py` carries the commands out.

    # What the file shows.
    # Rule: spec "controllers" §1.10.

    A Service without Pods has one empty slice.            any other line is the rule
    > service web                                          a command; lines with `|` below it belong to it
    > slices web
      IPv4 web-*1, no ports: none                          what it answered, two spaces in

Only the outcomes are written anew by `--rewrite`; everything else is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

PROMPT, INPUT, OUTCOME = "> ", "| ", "  "
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Prose:
    """A comment, a rule or an empty line."""

    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """What is done or asked. body: the lines given with it. outcome: what the file says it answers."""

    line: int
    text: str
    body: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()


def parse_conversation(text: str) -> list[Prose | Command]:
    """The parts in order. Raises ValueError for a file without a rule, and an outcome that no command has."""
    parts: list[Prose | Command] = []
    for number, line in enumerate(text.splitlines(), 1):
        last = parts[-1] if parts else None
        if line.startswith(PROMPT):
            parts.append(Command(number, line.removeprefix(PROMPT).strip()))
        elif isinstance(last, Command) and line.startswith(INPUT):
            parts[-1] = replace(last, body=(*last.body, line.removeprefix(INPUT)))
        elif isinstance(last, Command) and line.startswith(OUTCOME):
            parts[-1] = replace(last, outcome=(*last.outcome, line.removeprefix(OUTCOME)))
        elif line.startswith((INPUT, OUTCOME)):
            raise ValueError(f"line {number}: {line!r} found, a command above it wanted")
        else:
            parts.append(Prose(line))
    opening = " ".join(p.text for p in parts[:8] if isinstance(p, Prose) and p.text.startswith("#"))
    if not re.search(r'# Rule: .*(spec "|issue ")', opening):
        raise ValueError('no opening comment with `# Rule: spec "…" §…`')
    return parts


def render_conversation(parts: Iterable[Prose | Command]) -> str:
    """The text of the parts: parsing it gives them back."""
    lines: list[str] = []
    for part in parts:
        if isinstance(part, Prose):
            lines.append(part.text)
            continue
        lines.append(f"{PROMPT}{part.text}")
        lines.extend(f"{INPUT}{line}" for line in part.body)
        lines.extend(f"{OUTCOME}{line}" for line in part.outcome)
    return "\n".join(lines) + "\n"


def parse_span(text: str) -> float:
    """The seconds of `500ms`, `10s`, `5m`, `1h`, `2d`. Raises ValueError."""
    found = re.fullmatch(r"(\d+)(ms|[smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} found, a time such as 500ms, 10s or 5m wanted")
    return int(found[1]) * _UNITS[found[2]]


def squeeze(lines: Iterable[str]) -> list[str]:
    """Equal lines that follow each other as one, with their number."""
    found: list[tuple[str, int]] = []
    for line in lines:
        if found and found[-1][0] == line:
            found[-1] = (line, found[-1][1] + 1)
        else:
            found.append((line, 1))
    return [line if count == 1 else f"{line} (x{count})" for line, count in found]
