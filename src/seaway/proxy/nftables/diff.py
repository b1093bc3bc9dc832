"""The commands between two rulesets, in three phases that are each safe to see from a packet's side.

- prepare: what nothing refers to yet (sets, chains, slots for keys that no verdict leads to);
- switch: what changes the fate of packets;
- clean: what nothing refers to any more.

Small transactions are sent as one batch, so that the kernel shows all of it or nothing. Large ones are cut: any number
of batches for `prepare`, then `switch` in batches whose every element is complete by itself, then `clean`.
Within `switch`, base chains come after elements: a new table answers only when it is full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from seaway.proxy.nftables.objects import Chain, Hook, Ruleset, SetSpec, Structure, Value


@dataclass(frozen=True, slots=True)
class AddTable:
    """Make the table; it may exist. `owned`: it ends with the socket that makes it, and must be new."""

    owned: bool = False


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """Remove the table with all it holds; it must exist."""


@dataclass(frozen=True, slots=True)
class AddSet:
    name: str
    spec: SetSpec


@dataclass(frozen=True, slots=True)
class DeleteSet:
    name: str


@dataclass(frozen=True, slots=True)
class AddChain:
    """Make an empty chain."""

    name: str
    hook: Hook | None


@dataclass(frozen=True, slots=True)
class DeleteChain:
    """Remove a chain that nothing refers to, with its rules."""

    name: str


@dataclass(frozen=True, slots=True)
class SetRules:
    """Replace the chain's rules by those of `chain`. `flush`: it may have some."""

    name: str
    chain: Chain
    flush: bool


@dataclass(frozen=True, slots=True)
class AddElements:
    """Add elements that are not there."""

    set: str
    spec: SetSpec
    elements: tuple[tuple[bytes, Value], ...]


@dataclass(frozen=True, slots=True)
class DeleteElements:
    """Remove elements that are there. `elements` with the data they had."""

    set: str
    spec: SetSpec
    elements: tuple[tuple[bytes, Value], ...]


@dataclass(frozen=True, slots=True)
class ReplaceElements:
    """Give elements that are there, with the data in `before`, the data in `after`; never cut in two."""

    set: str
    spec: SetSpec
    before: tuple[tuple[bytes, Value], ...]
    after: tuple[tuple[bytes, Value], ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what rules put into the set."""

    set: str
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Remind:
    """Put into the set what rules would have put there: the keys, each with the seconds that are left of its time."""

    set: str
    entries: tuple[tuple[bytes, float], ...]


Command = (
    AddTable | DeleteTable | AddSet | DeleteSet | AddChain | DeleteChain | SetRules
    | AddElements | DeleteElements | ReplaceElements | Forget | Remind
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Transaction:
    """Commands in order of phases. Empty: nothing is to be done."""

    prepare: tuple[Command, ...] = ()
    switch: tuple[Command, ...] = ()
    clean: tuple[Command, ...] = ()

    @property
    def commands(self) -> tuple[Command, ...]:
        """All of them, in order."""
        return self.prepare + self.switch + self.clean

    @property
    def replaces_table(self) -> bool:
        """The table is made anew: nothing of it stays."""
        return any(isinstance(command, DeleteTable) for command in self.prepare)

    @property
    def is_empty(self) -> bool:
        return not (self.prepare or self.switch or self.clean)


class Absent:
    """No element; None is the value of an element without data."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
ElementChange = tuple[str, bytes, Value | Absent, Value | Absent]
"""(set, key, value before, value after), which differ."""


def diff(have: Ruleset, want: Ruleset) -> Transaction:
    """The commands that turn `have` into `want`. Rule: apply(have, diff(have, want)) == want; diff(x, x) is empty."""
    if have.is_absent:
        added = diff_parts(Structure(), want.structure, _all_changes(have, want))
        return Transaction((AddTable(), *added.prepare), added.switch, added.clean)
    if _is_incompatible(have.structure, want.structure):
        fresh = diff(Ruleset.empty(want.family, want.table), want)
        return Transaction((DeleteTable(), *fresh.prepare), fresh.switch, fresh.clean)
    return diff_parts(have.structure, want.structure, _all_changes(have, want))


def diff_parts(
    have: Structure,
    want: Structure,
    changes: Iterable[ElementChange],
) -> Transaction:
    """The commands for a change of structure and of elements. The cost follows the changes, if `have is want`."""
    elements = _sort_elements(changes, {**have.sets, **want.sets})
    if have is want:
        return Transaction(*(_element_commands(phase, have.sets) for phase in elements))
    specs = {**have.sets, **want.sets}
    new_chains = sorted(want.chains.keys() - have.chains.keys())
    regular = [name for name in new_chains if want.chains[name].hook is None]
    base = [name for name in new_chains if want.chains[name].hook is not None]
    gone_chains = sorted(have.chains.keys() - want.chains.keys())
    gone_sets = sorted(have.sets.keys() - want.sets.keys())
    emptied = [name for name in gone_sets if not have.sets[name].is_verdict_map]  # with the set; verdicts hold chains
    changed = [n for n in sorted(want.chains.keys() & have.chains.keys()) if want.chains[n] != have.chains[n]]
    early, switched, late = (_element_commands(phase, specs, without=emptied) for phase in elements)
    return Transaction(
        prepare=(
            *(AddSet(name, want.sets[name]) for name in sorted(want.sets.keys() - have.sets.keys())),
            *(AddChain(name, None) for name in regular),
            *(SetRules(name, want.chains[name], False) for name in regular if want.chains[name].rules),
            *early,
        ),
        switch=(
            *switched,
            *(SetRules(name, want.chains[name], True) for name in changed),
            *(AddChain(name, want.chains[name].hook) for name in base),
            *(SetRules(name, want.chains[name], False) for name in base if want.chains[name].rules),
        ),
        clean=(
            *late,
            *(SetRules(name, Chain(()), True) for name in gone_chains),
            *(DeleteChain(name) for name in gone_chains),
            *(DeleteSet(name) for name in gone_sets),
        ),
    )


@dataclass(slots=True)
class _Phase:
    """Changes of elements by set."""

    deleted: dict[str, list[tuple[bytes, Value]]] = field(default_factory=dict)
    replaced: dict[str, list[tuple[bytes, Value, Value]]] = field(default_factory=dict)
    added: dict[str, list[tuple[bytes, Value]]] = field(default_factory=dict)


def _sort_elements(changes: Iterable[ElementChange], specs: Mapping[str, SetSpec]) -> tuple[_Phase, _Phase, _Phase]:
    """The changes of each phase.

    A slot's new key is reached by no verdict yet, and a removed one by none any more (render, invariant 1): an element
    whose data are bytes is a slot's. A slot of intervals holds no two that overlap: what leaves goes before what comes.
    """
    early, switched, late = _Phase(), _Phase(), _Phase()
    for name, key, before, after in changes:
        is_slot = not specs[name].is_interval
        if isinstance(before, Absent):
            if not isinstance(after, Absent):
                (early if is_slot and isinstance(after, bytes) else switched).added.setdefault(name, []).append(
                    (key, after)
                )
        elif isinstance(after, Absent):
            (late if is_slot and isinstance(before, bytes) else switched).deleted.setdefault(name, []).append(
                (key, before)
            )
        else:
            switched.replaced.setdefault(name, []).append((key, before, after))
    return early, switched, late


def _element_commands(
    phase: _Phase, specs: Mapping[str, SetSpec], *, without: Iterable[str] = ()
) -> tuple[Command, ...]:
    """By set, then by key. What overlaps with an element to come (source ranges) goes first."""
    commands: list[Command] = []
    for name in sorted(phase.deleted.keys() - set(without)):
        commands.append(DeleteElements(name, specs[name], _by_key(phase.deleted[name])))
    for name in sorted(phase.replaced):
        triples = sorted(phase.replaced[name], key=lambda triple: triple[0])
        before = tuple((key, value) for key, value, _ in triples)
        commands.append(ReplaceElements(name, specs[name], before, tuple((key, value) for key, _, value in triples)))
    for name in sorted(phase.added):
        commands.append(AddElements(name, specs[name], _by_key(phase.added[name])))
    return tuple(commands)


def _by_key(pairs: list[tuple[bytes, Value]]) -> tuple[tuple[bytes, Value], ...]:
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def _all_changes(have: Ruleset, want: Ruleset) -> Iterable[ElementChange]:
    for name in sorted(have.elements.keys() | want.elements.keys()):
        before, after = have.elements.get(name, {}), want.elements.get(name, {})
        for key in before.keys() | after.keys():
            old, new = before.get(key, ABSENT), after.get(key, ABSENT)
            if old != new:
                yield name, key, old, new


def _is_incompatible(have: Structure, want: Structure) -> bool:
    """Something would have to change its type or its hook, which no command can do: another version made the table."""
    return any(want.sets[name] != have.sets[name] for name in want.sets.keys() & have.sets.keys()) or any(
        want.chains[name].hook != have.chains[name].hook for name in want.chains.keys() & have.chains.keys()
    )
