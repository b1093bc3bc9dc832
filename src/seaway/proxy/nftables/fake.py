"""A kernel in memory, which refuses what the real one refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping

from seaway.net.family import Family
from seaway.proxy.nftables.affinity import Entry
from seaway.proxy.nftables.diff import (
    AddChain,
    AddElements,
    AddSet,
    AddTable,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    Forget,
    Remind,
    ReplaceElements,
    SetRules,
    Transaction,
)
from seaway.proxy.nftables.digest import STATE, STATE_KEY
from seaway.proxy.nftables.objects import (
    Chain,
    Comment,
    Elements,
    Ruleset,
    SetSpec,
    Structure,
    Value,
    Verdict,
    referred_chains,
    referred_sets,
)
from seaway.proxy.nftables.plane import NftError


class FakeKernel:
    """Tables by family and name. `applied` holds every transaction that was taken."""

    def __init__(self) -> None:
        self.tables: dict[tuple[Family, str], Ruleset] = {}
        self.remembered: dict[tuple[Family, str], dict[str, dict[bytes, float]]] = {}
        self.applied: list[Transaction] = []
        self.foreign = 0

    def apply(self, family: Family, table: str, transaction: Transaction) -> None:
        """All of it, or nothing."""
        draft = _Draft(self.read_whole(family, table), (family, table) in self.tables, self._remembered(family, table))
        for command in transaction.commands:
            draft.execute(command)
        if draft.exists:
            self.tables[family, table] = draft.freeze(family, table)
            self.remembered[family, table] = draft.remembered
        else:
            self.tables.pop((family, table), None)
            self.remembered.pop((family, table), None)
        self.applied.append(transaction)

    def read_whole(self, family: Family, table: str) -> Ruleset:
        """The table with its rules."""
        return self.tables.get((family, table), Ruleset.empty(family, table))

    def read(self, family: Family, table: str) -> Ruleset:
        """The table as a real kernel tells it: rules unknown."""
        whole = self.read_whole(family, table)
        chains = {name: Chain(None, chain.hook) for name, chain in whole.structure.chains.items()}
        return Ruleset(family, table, Structure(whole.structure.sets, chains), whole.elements)

    def read_structure(self, family: Family, table: str) -> Structure:
        """Sets, and chains without their rules."""
        return self.read(family, table).structure

    def walk(self, family: Family, table: str, name: str) -> Iterator[Mapping[bytes, Value]]:
        """The elements of the set one by one, each as it was when it is reached; none if the set is not there."""
        keys = tuple(self.read_whole(family, table).elements.get(name, {}))
        for key in keys:
            pairs = self.read_whole(family, table).elements.get(name, {})
            yield {key: pairs[key]} if key in pairs else {}

    def find_elements(self, family: Family, table: str, entries: Iterable[tuple[str, bytes]]) -> Elements:
        """Those of the elements that are there."""
        have = self.read_whole(family, table).elements
        found: dict[str, dict[bytes, Value]] = {}
        for name, key in entries:
            if key in have.get(name, {}):
                found.setdefault(name, {})[key] = have[name][key]
        return found

    def read_entries(self, family: Family, table: str, name: str) -> list[Entry]:
        """What rules have put into the set; `remember` does so in their place."""
        if name not in self.read_whole(family, table).structure.sets:
            raise NftError(table, f"what {name} remembers", errno.ENOENT, "ENOENT")
        return list(self._remembered(family, table).get(name, {}).items())

    def remember(self, family: Family, table: str, name: str, key: bytes, left_seconds: float) -> None:
        """As the rule of a sticky slot does when a packet passes."""
        assert self.read_whole(family, table).structure.sets[name].timeout_seconds is not None
        self._remembered(family, table).setdefault(name, {})[key] = left_seconds

    def _remembered(self, family: Family, table: str) -> dict[str, dict[bytes, float]]:
        return self.remembered.setdefault((family, table), {})

    def count_foreign(self) -> int:
        """How often `edit` was called."""
        return self.foreign

    def edit(self, family: Family, table: str, transaction: Transaction) -> None:
        """Change a table as somebody else would."""
        self.apply(family, table, transaction)
        self.applied.pop()
        self.foreign += 1

    def find_altered(self, want: Ruleset) -> frozenset[str]:
        """The chains whose rules are not the wanted ones."""
        have = self.read_whole(want.family, want.table).structure.chains
        wanted = want.structure.chains
        return frozenset(name for name in wanted if name not in have or have[name].rules != wanted[name].rules)

    def read_state(self, family: Family, table: str) -> Comment | None:
        """The comment of the set `state`."""
        value = self.read_whole(family, table).elements.get(STATE, {}).get(STATE_KEY)
        return value if isinstance(value, Comment) else None


class _Draft:
    """A table while a batch is executed."""

    def __init__(self, ruleset: Ruleset, exists: bool, remembered: dict[str, dict[bytes, float]]) -> None:
        self.exists = exists
        self.remembered = {name: dict(entries) for name, entries in remembered.items()}
        self._name = ruleset.table
        self._sets = dict(ruleset.structure.sets)
        self._chains = dict(ruleset.structure.chains)
        self._elements = {name: dict(pairs) for name, pairs in ruleset.elements.items()}

    def freeze(self, family: Family, table: str) -> Ruleset:
        elements = {name: pairs for name, pairs in self._elements.items() if pairs}
        return Ruleset(family, table, Structure(self._sets, self._chains), elements)

    def execute(self, command: Command) -> None:
        if not isinstance(command, AddTable):
            self._require(self.exists, "table", errno.ENOENT)
        match command:
            case AddTable():
                self.exists = True
            case DeleteTable():
                self.exists = False
                self._sets, self._chains, self._elements, self.remembered = {}, {}, {}, {}
            case AddSet(name, spec):
                self._require(self._sets.get(name, spec) == spec, f"set {name}", errno.EEXIST)
                self._sets[name] = spec
            case AddChain(name, hook):
                self._require(name not in self._chains, f"chain {name}", errno.EEXIST)
                self._chains[name] = Chain((), hook)
            case SetRules(name, chain, flush):
                self._set_rules(name, chain, flush)
            case AddElements(name, spec, elements):
                self._add(name, spec, elements)
            case DeleteElements(name, spec, elements):
                self._delete(name, spec, elements)
            case ReplaceElements(name, spec, before, after):
                self._delete(name, spec, before)
                self._add(name, spec, after)
            case DeleteChain(name):
                self._require(name in self._chains, f"chain {name}", errno.ENOENT)
                del self._chains[name]
                self._require(not self._is_named(name), f"chain {name}", errno.EBUSY)
            case DeleteSet(name):
                self._require(name in self._sets, f"set {name}", errno.ENOENT)
                in_use = any(name in referred_sets(chain) for chain in self._chains.values())
                self._require(not in_use, f"set {name}", errno.EBUSY)
                del self._sets[name]
                self._elements.pop(name, None)
                self.remembered.pop(name, None)
            case Forget(name, keys):
                held = self.remembered.get(name, {})
                for key in keys:
                    self._require(key in held, f"what {name} remembers", errno.ENOENT)
                    del held[key]
            case Remind(name, entries):
                self._require(name in self._sets, f"what {name} remembers", errno.ENOENT)
                longest = self._sets[name].timeout_seconds
                self._require(longest is not None, f"what {name} remembers", errno.EINVAL)
                for key, left_seconds in entries:
                    self._require(left_seconds <= (longest or 0), f"what {name} remembers", errno.ERANGE)
                    self.remembered.setdefault(name, {}).setdefault(key, left_seconds)

    def _set_rules(self, name: str, chain: Chain, flush: bool) -> None:
        self._require(name in self._chains, f"chain {name}", errno.ENOENT)
        self._require(referred_chains(chain) <= self._chains.keys(), f"rules of {name}", errno.ENOENT)
        self._require(referred_sets(chain) <= self._sets.keys(), f"rules of {name}", errno.ENOENT)
        kept = () if flush else self._chains[name].rules or ()
        self._chains[name] = Chain((*kept, *(chain.rules or ())), self._chains[name].hook)

    def _add(self, name: str, spec: SetSpec, elements: tuple[tuple[bytes, Value], ...]) -> None:
        self._require(self._sets.get(name) == spec, f"elements of {name}", errno.ENOENT)
        held = self._elements.setdefault(name, {})
        for key, value in elements:
            self._require(key not in held, f"elements of {name}", errno.EEXIST)
            if spec.is_interval:
                self._require(not any(_overlap(key, other) for other in held), f"elements of {name}", errno.ENOTEMPTY)
            if isinstance(value, Verdict) and value.chain:
                self._require(value.chain in self._chains, f"elements of {name}", errno.ENOENT)
            held[key] = value

    def _delete(self, name: str, spec: SetSpec, elements: tuple[tuple[bytes, Value], ...]) -> None:
        self._require(self._sets.get(name) == spec, f"elements of {name}", errno.ENOENT)
        held = self._elements.get(name, {})
        for key, _ in elements:
            self._require(key in held, f"elements of {name}", errno.ENOENT)
            del held[key]

    def _is_named(self, name: str) -> bool:
        by_rules = any(name in referred_chains(chain) for chain in self._chains.values())
        verdict = Verdict(name)
        return by_rules or any(
            value == verdict for pairs in self._elements.values() for value in pairs.values()
        )  # fmt: skip

    def _require(self, holds: bool, subject: str, code: int) -> None:
        if not holds:
            raise NftError(self._name, subject, code, errno.errorcode[code])


def _overlap(one: bytes, other: bytes) -> bool:
    """Two intervals have a key in common: in every field. Fields are compared in their words of four bytes."""
    half = len(one) // 2
    words = range(0, half, 4)
    return all(
        one[i : i + 4] <= other[half + i : half + i + 4] and other[i : i + 4] <= one[half + i : half + i + 4]
        for i in words
    )
