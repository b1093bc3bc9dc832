"""Group commit as a decision: many commits, checked in their order, become the rows of one transaction.

What enters: the newest version of every key that the commits touch, and the store's revision. What leaves: rows to
append, one outcome per commit, and the events in revision order. Invariants:
1. A commit sees the writes of those before it in the batch, exactly as if each had been a transaction of its own.
2. A refused commit adds no row, consumes no revision and changes no other commit's outcome.
3. Revisions of the rows are consecutive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from seaway.store.contract import Event, Precondition, PreconditionFailed, Write


@dataclass(frozen=True, slots=True)
class Commit:
    """What one caller asks for."""

    preconditions: Sequence[Precondition]
    writes: Sequence[Write]


class Version(msgspec.Struct, frozen=True, gc=False):
    """One version of a key. `value` is None for a delete; `previous_revision` is 0 for a creation."""

    revision: int
    create_revision: int
    value: bytes | None
    previous_revision: int = 0


ABSENT = Version(0, 0, None)

Outcome = tuple[int, ...] | PreconditionFailed | ValueError


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction. `outcomes` has one per commit: the revisions of its writes, or why it was refused."""

    rows: tuple[tuple[str, Version], ...]
    events: tuple[Event, ...]
    outcomes: tuple[Outcome, ...]
    revision: int


def list_keys(commits: Sequence[Commit]) -> list[str]:
    """The distinct keys whose newest version decides the commits, in order of first use."""
    keys: dict[str, None] = {}
    for commit in commits:
        keys.update((precondition.key, None) for precondition in commit.preconditions)
        keys.update((write.key, None) for write in commit.writes)
    return list(keys)


def plan_batch(newest: Mapping[str, Version], commits: Sequence[Commit], revision: int) -> Batch:
    """The transaction for the commits. A key that `newest` lacks is absent; `revision` is the last one given out."""
    versions = dict(newest)
    rows: list[tuple[str, Version]] = []
    events: list[Event] = []
    outcomes: list[Outcome] = []
    for commit in commits:
        refusal = _refusal(versions, commit)
        if refusal is not None:
            outcomes.append(refusal)
            continue
        first = revision + 1
        for write in commit.writes:
            revision += 1
            before = versions.get(write.key, ABSENT)
            version = _successor(before, write, revision)
            versions[write.key] = version
            rows.append((write.key, version))
            events.append(Event(write.key, revision, write.value, before.value))
        outcomes.append(tuple(range(first, revision + 1)))
    return Batch(tuple(rows), tuple(events), tuple(outcomes), revision)


def _successor(before: Version, write: Write, revision: int) -> Version:
    if before.value is None:
        return Version(revision, revision, write.value)
    return Version(revision, before.create_revision, write.value, before.revision)


def _refusal(versions: Mapping[str, Version], commit: Commit) -> PreconditionFailed | ValueError | None:
    for precondition in commit.preconditions:
        before = versions.get(precondition.key, ABSENT)
        current = 0 if before.value is None else before.revision
        if current != precondition.revision:
            return PreconditionFailed(precondition.key, current)
    for write in commit.writes:
        if write.value is None and versions.get(write.key, ABSENT).value is None:
            return ValueError(f"{write.key}: absent, cannot be deleted")
    return None
