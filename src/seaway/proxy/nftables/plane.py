"""The nftables data plane of one family: a change of Services becomes one transaction, whose size follows the change.

What the kernel holds is known, not read: it is read only at the start (unless its digest is the wanted one) and after a
refused batch. Law: after any sequence of syncs the table equals `render` of all Services as they then are arranged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from seaway.net.family import Family
from seaway.proxy.config import (
    NodePortAddresses,
    NodeView,
    ProxyConfig,
    choose_node_port_addresses,
    config_at,
    networks_of,
)
from seaway.proxy.forwarding import ServiceForwarding
from seaway.proxy.nftables.affinity import Entry as Remembered
from seaway.proxy.nftables.affinity import Moves, Place, Sticky, choose_entries, find_sticky, plan_moves
from seaway.proxy.nftables.diff import (
    ABSENT,
    Absent,
    AddSet,
    Command,
    DeleteElements,
    DeleteSet,
    ElementChange,
    Forget,
    Remind,
    Transaction,
    diff,
    diff_parts,
)
from seaway.proxy.nftables.digest import STATE, STATE_KEY, digest_element, digest_structure, write_digest
from seaway.proxy.nftables.objects import Comment, Ruleset, Structure, Value
from seaway.proxy.nftables.render import RenderedService, arrange, arrange_as_found, render_node, render_service
from seaway.proxy.nftables.structure import (
    CLUSTER_IPS,
    HAIRPINS,
    NO_ADDRESSES,
    RANGE_HAIRPINS,
    RANGE_SETS,
    Pick,
    RenderConfig,
    find_picks,
    render_structure,
)
from seaway.proxy.proxier import PlaneError

SHARED_SETS = frozenset((CLUSTER_IPS, HAIRPINS, RANGE_HAIRPINS))
Entry = tuple[str, bytes]


class NftError(PlaneError):
    """The kernel refused a batch, or did not take it. `subject` names the object, `errno` the reason."""

    def __init__(self, table: str, subject: str, errno: int, reason: str) -> None:
        super().__init__(f"table {table}: {subject}: {reason}")
        self.subject = subject
        self.errno = errno


class Kernel(Protocol):
    """Where tables live. Raises `NftError`; a refused batch changes nothing."""

    def apply(self, family: Family, table: str, transaction: Transaction) -> None:
        """Execute the commands, small transactions in one atomic batch."""

    def read(self, family: Family, table: str) -> Ruleset:
        """The table as it is, rules unknown; `is_absent` when there is none."""

    def read_entries(self, family: Family, table: str, name: str) -> list[Remembered]:
        """What rules have put into the set."""

    def read_state(self, family: Family, table: str) -> Comment | None:
        """The digest that stands in the table; None when there is none."""

    def count_foreign(self) -> int:
        """A number that differs from an earlier one when somebody else has changed rules since, of whatever table."""

    def find_altered(self, want: Ruleset) -> frozenset[str]:
        """The chains of the wanted table whose rules in the kernel are not the wanted ones."""


class NftablesTable:
    """One table of one family, kept in step with forwardings."""

    def __init__(self, kernel: Kernel, config: RenderConfig) -> None:
        self._kernel = kernel
        self._config = config
        self._arranged: dict[str, ServiceForwarding] = {}
        self._rendered: dict[str, RenderedService] = {}
        self._shared: Counter[Entry] = Counter()
        self._picks: Counter[Pick] = Counter()
        self._ranges = 0
        self._structure = render_structure((), config)
        self._structure_digest = digest_structure(self._structure)
        self._digest = sum(digest_element(*entry, value) for entry, value in _node_entries(config).items())
        self._in_step = False
        self._is_suspect = False
        self._foreign: int | None = None

    @property
    def is_in_step(self) -> bool:
        """The kernel is believed to hold what is wanted."""
        return self._in_step

    def services(self) -> tuple[ServiceForwarding, ...]:
        """What is forwarded, each Service with its endpoints in the order of their slots."""
        return tuple(self._arranged[key] for key in sorted(self._arranged))

    def want(self) -> Ruleset:
        """The whole wanted table. Cost: everything."""
        elements: dict[str, dict[bytes, Value]] = {STATE: {STATE_KEY: self._state()}}
        for entries in (_node_entries(self._config), *self._rendered.values()):
            for (name, key), value in entries.items():
                elements.setdefault(name, {})[key] = value
        return Ruleset(self._config.family, self._config.table, self._structure, elements)

    def sync(self, changed: Mapping[str, ServiceForwarding | None], config: RenderConfig) -> None:
        """Take these Services (None: gone) and this configuration, and bring the kernel in step.

        Raises NftError when the kernel cannot be brought there; the next call tries again.
        """
        have = self._structure
        changes, moves = self._take(changed, config)
        if self._in_step:
            transaction = diff_parts(have, self._structure, changes)
            if not transaction.is_empty:
                self._apply(transaction, moves)
        if not self._in_step:
            self.recover()

    def recover(self) -> None:
        """Compare the kernel's table with the wanted one, and mend what differs. Raises NftError.

        Endpoints keep the slots in which they are found, and with them the clients that the kernel remembers.
        The digest tells what a proxy wrote; it is not believed of a table that somebody else was seen to have edited.
        """
        family, table = self._config.family, self._config.table
        state = self._kernel.read_state(family, table)
        if state != self._state() or self._is_suspect:
            self._foreign = self._kernel.count_foreign()
            have = self._kernel.read(family, table)
            if self._is_suspect:
                have = self._take_digest(have)
            self._adopt(have)
            want = self.want()
            if state == self._state() and _is_same(have, want) and not self._is_suspect:
                # Only the order of slots was not known.
                self._in_step = True
                return
            transaction = diff(have, want)
            moves: Moves = {}
            if not transaction.replaces_table and any(s.timeout_seconds for s in have.structure.sets.values()):
                moves = plan_moves(find_sticky(_flatten(have)), find_sticky(_flatten(want)))
            self._kernel.apply(family, table, self._with_moves(transaction, moves, have.structure))
        self._in_step, self._is_suspect = True, False

    def _take_digest(self, have: Ruleset) -> Ruleset:
        """The table without its digest, which nobody is to believe before it is mended."""
        digest = have.elements.get(STATE)
        if not digest:
            return have
        taken = DeleteElements(STATE, have.structure.sets[STATE], tuple(digest.items()))
        self._kernel.apply(have.family, have.table, Transaction(switch=(taken,)))
        return replace(have, elements={name: pairs for name, pairs in have.elements.items() if name != STATE})

    def _adopt(self, have: Ruleset) -> None:
        """Arrange the Services anew, after what stands in the slots of the kernel's table."""
        if have.is_absent:
            return
        arranged = {key: arrange_as_found(service, have.elements) for key, service in self._arranged.items()}
        moved = {key: service for key, service in arranged.items() if service != self._arranged[key]}
        if moved:
            self._arranged.update(moved)
            self._take(moved, self._config)

    def verify(self) -> bool:
        """The kernel's table is the wanted one; if not, or if it cannot be read, the next sync reads and mends it.

        One number tells whether anybody else has changed any rules since the last look. Only then, and the first time,
        the whole table is compared: what others delete, or add, leaves the digest as it was.
        """
        try:
            state = self._kernel.read_state(self._config.family, self._config.table)
            foreign = self._kernel.count_foreign()
            is_same = state == self._state() and (foreign == self._foreign or self._is_as_wanted())
        except NftError:
            self._in_step = False
            return False
        self._foreign = foreign
        self._is_suspect = self._is_suspect or not is_same
        self._in_step = self._in_step and is_same
        return self._in_step

    def _is_as_wanted(self) -> bool:
        want = self.want()
        have = self._kernel.read(want.family, want.table)
        return _is_same(have, want) and not self._kernel.find_altered(want)

    def _apply(self, transaction: Transaction, moves: Moves) -> None:
        self._in_step = False
        try:
            whole = self._with_moves(transaction, moves, self._structure)
            self._kernel.apply(self._config.family, self._config.table, whole)
        except NftError:
            return  # somebody else changed the table, or an older one is found: read it and mend
        self._in_step = True

    def _with_moves(self, transaction: Transaction, moves: Moves, have: Structure) -> Transaction:
        """With what clients are remembered by: of endpoints that left, or that stand in another slot.

        have: the table before, or after; a set that is in neither is new, and remembers nobody.
        """
        commands: list[Command] = []
        address_bytes = self._config.family.bits // 8
        gone = {command.name for command in transaction.clean if isinstance(command, DeleteSet)}
        fresh = {command.name for command in transaction.prepare if isinstance(command, AddSet)}
        for name in sorted(moves.keys() - fresh):
            if name not in have.sets and name not in gone:
                continue
            entries = self._kernel.read_entries(self._config.family, self._config.table, name)
            forgotten, moved = choose_entries(entries, moves[name], address_bytes)
            if forgotten and name not in gone:
                commands.append(Forget(name, tuple(forgotten)))
            for goal, kept in sorted(moved.items()):
                longest = self._structure.sets[goal].timeout_seconds or 0
                commands.append(Remind(goal, tuple((key, min(left, longest)) for key, left in kept)))
        return replace(transaction, switch=(*transaction.switch, *commands)) if commands else transaction

    def _take(
        self, changed: Mapping[str, ServiceForwarding | None], config: RenderConfig
    ) -> tuple[list[ElementChange], Moves]:
        """Want the Services as they are now; the elements that this changes, and where clients go."""
        changes, moves = self._exchange(changed)
        if config != self._config:
            changes += _compare(_node_entries(self._config), _node_entries(config))
        before = self._state()
        has_other_picks = self._count(changes)
        if has_other_picks or config != self._config:
            self._structure = render_structure(self._picks, config, has_ranges=self._ranges > 0)
            self._structure_digest = digest_structure(self._structure)
        self._config = config
        if self._state() != before:
            changes.append((STATE, STATE_KEY, before, self._state()))
        return changes, moves

    def _exchange(self, changed: Mapping[str, ServiceForwarding | None]) -> tuple[list[ElementChange], Moves]:
        """Put the changed Services in place of what they were; the elements that this changes, and where clients go.

        What two of them pass to each other is one change; what others share stays as long as one needs it.
        """
        before: dict[Entry, Value] = {}
        after: dict[Entry, Value] = {}
        had_shared: dict[Entry, int] = {}
        had_sticky: dict[Place, Sticky] = {}
        has_sticky: dict[Place, Sticky] = {}
        counts = self._config.counts_connections  # as long as the process is there
        for service, forwarding in changed.items():
            old = self._rendered.pop(service, {})
            before.update(old)
            self._share(old, -1, had_shared)
            previous = self._arranged.pop(service, None)
            if previous is not None and previous.is_sticky:
                had_sticky.update(find_sticky(old))
            if forwarding is not None:
                self._arranged[service] = arrange(previous, forwarding)
                self._rendered[service] = new = render_service(self._arranged[service], counts_connections=counts)
                after.update(new)
                self._share(new, 1, had_shared)
                if forwarding.is_sticky:
                    has_sticky.update(find_sticky(new))
        for entry, count in had_shared.items():
            _put(before, entry, count > 0)
            _put(after, entry, self._shared[entry] > 0)
            if not self._shared[entry]:
                del self._shared[entry]
        return _compare(before, after), plan_moves(had_sticky, has_sticky)

    def _share(self, rendered: RenderedService, by: int, had: dict[Entry, int]) -> None:
        for entry in rendered:
            if entry[0] in SHARED_SETS:
                had.setdefault(entry, self._shared[entry])
                self._shared[entry] += by

    def _count(self, changes: list[ElementChange]) -> bool:
        """Follow the changes in the digest and in the draws; whether other draws, or ranges, are in use now."""
        used, had_ranges = set(self._picks), self._ranges > 0
        for name, key, old, new in changes:
            if not isinstance(old, Absent):
                self._digest -= digest_element(name, key, old)
                self._picks.subtract(find_picks(old))
                self._ranges -= name in RANGE_SETS
            if not isinstance(new, Absent):
                self._digest += digest_element(name, key, new)
                self._picks.update(find_picks(new))
                self._ranges += name in RANGE_SETS
        self._picks = +self._picks
        return set(self._picks) != used or (self._ranges > 0) != had_ranges

    def _state(self) -> Comment:
        return write_digest(self._digest + self._structure_digest)


def _flatten(ruleset: Ruleset) -> dict[Entry, Value]:
    return {(name, key): value for name, pairs in ruleset.elements.items() for key, value in pairs.items()}


def _is_same(have: Ruleset, want: Ruleset) -> bool:
    """As far as a table that is read back tells; its rules are vouched for by the digest."""
    same_names = have.structure.chains.keys() == want.structure.chains.keys()
    return same_names and have.structure.sets == want.structure.sets and have.elements == want.elements


def _put(elements: dict[Entry, Value], entry: Entry, is_there: bool) -> None:
    if is_there:
        elements[entry] = None
    else:
        elements.pop(entry, None)


def _compare(before: Mapping[Entry, Value], after: Mapping[Entry, Value]) -> list[ElementChange]:
    changes: list[ElementChange] = []
    for entry in before.keys() | after.keys():
        old, new = before.get(entry, ABSENT), after.get(entry, ABSENT)
        if old != new:
            changes.append((*entry, old, new))
    return changes


def _node_entries(config: RenderConfig) -> dict[Entry, Value]:
    return {(name, key): value for name, pairs in render_node(config).items() for key, value in pairs.items()}


class NftablesPlane:
    """The data plane of one family as the proxier sees it."""

    def __init__(
        self,
        kernel: Kernel,
        config: ProxyConfig,
        family: Family,
        *,
        interface_addresses: Callable[[], tuple[str, ...]] = tuple,
        guarded_links: Callable[[], tuple[str, ...]] = tuple,
        service_cidrs: Callable[[], tuple[str, ...]] | None = None,
    ) -> None:
        """service_cidrs: the ranges of Services as they are now; None: those of the configuration."""
        self._config = config
        self._service_cidrs = service_cidrs
        self._family = family
        self._interface_addresses = interface_addresses
        self._guarded_links = guarded_links
        self.table = NftablesTable(kernel, render_config(config, family))

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        """Bring the table in step. Raises NftError; what was given is not lost by it.

        Returns whether the kernel's table was not believed to be in step before.
        """
        was_in_step = self.table.is_in_step
        self.table.sync(changed, self._render_config(node))
        return not was_in_step

    def verify(self) -> None:
        """Compare digests; what differs, or cannot be read, is read whole by the next sync."""
        self.table.verify()

    def _render_config(self, node: NodeView) -> RenderConfig:
        listed = self._interface_addresses() if self._config.node_port_addresses is not None else ()
        ports = choose_node_port_addresses(self._config, node, self._family, listed)
        config = self._config
        if self._service_cidrs is not None:
            config = replace(config, service_cidrs=self._service_cidrs())
        return render_config(config_at(config, node), self._family, ports, self._guarded_links())


def render_config(
    config: ProxyConfig,
    family: Family,
    node_ports: NodePortAddresses = NO_ADDRESSES,
    guarded_links: tuple[str, ...] = (),
) -> RenderConfig:
    """What of the proxy's configuration concerns the rules of one family."""
    return RenderConfig(
        family=family,
        table=config.table,
        cluster_cidrs=networks_of(config.cluster_cidrs, family),
        service_cidrs=networks_of(config.service_cidrs, family),
        masquerade_all=config.masquerade_all,
        pod_links=config.pod_links,
        mark=1 << config.masquerade_bit,
        masquerade_outgoing=config.masquerade_outgoing,
        counts_connections=config.counts_connections,
        node_ports=node_ports,
        guarded_links=guarded_links,
    )
