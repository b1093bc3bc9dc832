"""Whether an Indexed Job has done enough before it has done all. Rule: upstream's successPolicy."""

from __future__ import annotations

from typing import Any

from seaway.controllers.workloads.job.indexes import parse_indexes

Json = dict[str, Any]


def find_met_rule(spec: Json, completed: frozenset[int]) -> int | None:
    """The place of the first rule that is met, None for none.

    A rule counts the completed ones among its indexes (all, where it names none) against its number; without a number
    all of its indexes are wanted.
    """
    for number, rule in enumerate((spec.get("successPolicy") or {}).get("rules") or ()):
        text, wanted = rule.get("succeededIndexes"), rule.get("succeededCount")
        named = parse_indexes(text, int(spec.get("completions") or 0)) if text is not None else None
        done = len(completed if named is None else completed & named)
        enough = wanted if wanted is not None else len(named or ())
        if enough and done >= enough:
            return number
    return None
