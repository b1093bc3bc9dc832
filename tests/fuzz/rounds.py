"""Rounds: each a fresh server, a generator and a player, made from (seed, round)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from tests.fuzz.grammar import Grammar
from tests.fuzz.objects import Corpus
from tests.fuzz.oracle import Complaint
from tests.fuzz.play import open_player
from tests.fuzz.shrink import shrink
from tests.fuzz.steps import Check, Step

ROUND_REQUESTS = 10_000
TAMPERING_ROUNDS = 8
"""One round in so many also writes what is the allocator's."""


@dataclass(slots=True)
class Result:
    """What one round did. `steps` leads to `complaints`, which are all of its last step."""

    seed: str
    requests: int = 0
    counts: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    steps: list[Step] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    tampers: bool = False


def run_round(
    seed: int,
    number: int,
    requests: int,
    *,
    ignored: Collection[str] = (),
    on_progress: Callable[[int], None] = lambda count: None,
) -> Result:
    """Play until so many requests are answered, or something is wrong. ignored: rules that may be broken."""
    tampers = number % TAMPERING_ROUNDS == TAMPERING_ROUNDS - 1
    result = Result(f"{seed} {number}", tampers=tampers)

    async def run() -> None:
        player, close = await open_player(result.seed, tampers=tampers)
        try:
            grammar = Grammar(random.Random(result.seed), _corpus(), player.endpoints, player.world, tampers=tampers)
            steps = grammar.steps()
            while not result.complaints and player.requests < requests:
                step = next(steps)
                result.steps.append(step)
                result.complaints = [c for c in await player.play(step) if c.rule not in ignored]
                if len(result.steps) % 64 == 0:
                    on_progress(player.requests)
            if not result.complaints:
                result.steps.append(Check())
                result.complaints = [c for c in await player.play(Check()) if c.rule not in ignored]
        finally:
            result.requests, result.counts = player.requests, player.counts
            await close()

    asyncio.run(run())
    return result


def replay(steps: Sequence[Step], seed: str, *, tampers: bool = False) -> list[Complaint]:
    """What is wrong when the steps are played from the start; it ends at the first complaint."""

    async def run() -> list[Complaint]:
        player, close = await open_player(seed, tampers=tampers)
        try:
            for step in steps:
                complaints = await player.play(step)
                if complaints:
                    return complaints
            return []
        finally:
            await close()

    return asyncio.run(run())


def minimize(result: Result) -> list[Step]:
    """The shortest steps that lead to the round's first complaint, as far as is found in a minute or two."""
    rule = result.complaints[0].rule

    def still_fails(steps: list[Step]) -> bool:
        return any(complaint.rule == rule for complaint in replay(steps, result.seed, tampers=result.tampers))

    if not still_fails(result.steps):
        return result.steps
    return shrink(result.steps, still_fails)


_CORPUS: list[Corpus] = []


def _corpus() -> Corpus:
    if not _CORPUS:
        _CORPUS.append(Corpus())
    return _CORPUS[0]
