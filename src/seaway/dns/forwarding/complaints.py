"""Errors as lines of the log, few of them: alike ones are counted and told once, and there is a limit to the rest.

Rule: spec "discovery" A4.4 (`N errors like 'RE' occurred in last 30s`). The limit is ours: anybody can make errors by
asking for names whose servers are dead, and a log is no place for strangers to write at will.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seaway.dns.forwarding.config import Consolidation

MAX_LINES = 20
PERIOD_SECONDS = 10.0


class Complaints:
    """What to say of each error: at once, later in a summary, or not at all."""

    def __init__(self, consolidations: Sequence[Consolidation] = ()) -> None:
        self._rules = [(each, re.compile(each.pattern)) for each in consolidations]
        self._counts = [0] * len(self._rules)
        self._due = [0.0] * len(self._rules)
        self._lines = 0
        self._left_out = 0
        self._period_ends = 0.0

    def note(self, text: str, now: float) -> tuple[tuple[str, str], ...]:
        """The lines to log now, each with its level; a summary that is due comes first."""
        lines = self.summarise(now)
        for i, (rule, pattern) in enumerate(self._rules):
            if pattern.search(text):
                if not self._counts[i]:
                    self._due[i] = now + rule.period_seconds
                self._counts[i] += 1
                return lines
        if self._lines >= MAX_LINES:
            self._left_out += 1
            return lines
        self._lines += 1
        return (*lines, ("error", text))

    def summarise(self, now: float) -> tuple[tuple[str, str], ...]:
        """The summaries whose time has come."""
        lines: list[tuple[str, str]] = []
        for i, (rule, _) in enumerate(self._rules):
            if self._counts[i] and self._due[i] <= now:
                text = f"{self._counts[i]} errors like '{rule.pattern}' occurred in last {rule.period_seconds:g}s"
                lines.append((rule.level, text))
                self._counts[i] = 0
        if self._period_ends <= now:
            if self._left_out:
                lines.append(("error", f"{self._left_out} more errors occurred in last {PERIOD_SECONDS:g}s"))
            self._lines = self._left_out = 0
            self._period_ends = now + PERIOD_SECONDS
        return tuple(lines)

    def next_deadline(self) -> float | None:
        """When a summary is due; None: nothing waits to be told."""
        due = [self._due[i] for i, count in enumerate(self._counts) if count]
        if self._left_out:
            due.append(self._period_ends)
        return min(due, default=None)
