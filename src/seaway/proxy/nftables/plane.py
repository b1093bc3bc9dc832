"""The nftables data plane of one family: a change of Services becomes one transaction, whose size follows the change.

What the kernel holds is known, not read: it is read only at the start (unless its digest is the wanted one) and after a
refused batch. Law: after any sequence of syncs the table equals `render` of all Services as they then are arranged.

Elements are rendered when a Service changes, and are not kept. A start that finds its digest knows what the table says
but for the order of slots, which is history: a Service is looked up in the kernel when that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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
from seaway.proxy.nftables.digest import STATE, STATE_KEY, digest_rest, digest_service, write_digest
from seaway.proxy.nftables.objects import Comment, Elements, Ruleset, Structure, Value
from seaway.proxy.nftables.render import (
    Entry,
    arrange,
    arrange_as_found,
    has_range,
    list_picks,
    list_shared,
    list_slots,
    render_node,
    render_service,
)
from seaway.proxy.nftables.structure import (
    CLUSTER_IPS,
    HAIRPINS,
    NO_ADDRESSES,
    RANGE_HAIRPINS,
    Pick,
    RenderConfig,
    render_structure,
)
from seaway.proxy.proxier import PlaneError

SHARED_SETS = frozenset((CLUSTER_IPS, HAIRPINS, RANGE_HAIRPINS))
COMPARED_AT_ONCE = 50
"""Services, or elements, that one step of a look compares: two milliseconds."""


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

    def walk(self, family: Family, table: str, name: str) -> Iterator[Mapping[bytes, Value]]:
        """The elements of the set, in pieces. Other things may be asked, and done, between two of them.

        What changes meanwhile may be missed, or be told as it was.
        """

    def find_elements(self, family: Family, table: str, entries: Iterable[Entry]) -> Elements:
        """Those of the entries that are there."""

    def read_structure(self, family: Family, table: str) -> Structure:
        """Sets and chains as they are, rules unknown; empty when there is no table."""

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
        self._unplaced: set[str] = set()
        """Services of which only the kernel knows who stands in which slot."""
        self._shared: Counter[Entry] = Counter()
        self._picks: Counter[Pick] = Counter()
        self._ranges = 0
        self._structure = render_structure((), config)
        self._rest = digest_rest(self._structure, render_node(config))
        self._digest = 0
        self._in_step = False
        self._is_suspect = False
        self._foreign: int | None = None
        self._batches = 0
        self._changed: set[str] = set()
        """Services that changed since the last look began."""

    @property
    def is_in_step(self) -> bool:
        """The kernel is believed to hold what is wanted."""
        return self._in_step

    def services(self) -> tuple[ServiceForwarding, ...]:
        """What is forwarded, each Service with its endpoints in the order of their slots. Raises NftError."""
        self._place(self._unplaced)
        return tuple(self._arranged[key] for key in sorted(self._arranged))

    def want(self) -> Ruleset:
        """The whole wanted table. Cost: everything. Raises NftError."""
        self._place(self._unplaced)
        return self._want()

    def _want(self) -> Ruleset:
        elements: dict[str, dict[bytes, Value]] = {STATE: {STATE_KEY: self._state()}}
        for service in self._arranged.values():
            for (name, key), value in self._render(service).items():
                elements.setdefault(name, {})[key] = value
        for name, pairs in render_node(self._config).items():
            elements.setdefault(name, {}).update(pairs)
        return Ruleset(self._config.family, self._config.table, self._structure, elements)

    def sync(self, changed: Mapping[str, ServiceForwarding | None], config: RenderConfig) -> None:
        """Take these Services (None: gone) and this configuration, and bring the kernel in step.

        Raises NftError when the kernel cannot be brought there; the next call tries again.
        """
        have = self._structure
        if self._in_step:
            try:
                self._place(self._unplaced & changed.keys())
            except NftError:
                self._in_step = False
        if self._in_step:
            changes, moves = self._take(changed, config)
            transaction = diff_parts(have, self._structure, changes)
            if not transaction.is_empty:
                self._apply(transaction, moves)
        else:
            self._note(changed, config)
        if not self._in_step:
            self.recover()

    def recover(self) -> None:
        """Compare the kernel's table with the wanted one, and mend what differs. Raises NftError.

        Endpoints keep the slots in which they are found, and with them the clients that the kernel remembers.
        The digest tells what a proxy wrote; it is not believed of a table that somebody else was seen to have edited.
        """
        family, table = self._config.family, self._config.table
        state = self._kernel.read_state(family, table)
        if state == self._state() and not self._is_suspect:
            self._unplaced = set(self._arranged)
        else:
            self._foreign = self._kernel.count_foreign()
            have = self._kernel.read(family, table)
            if self._is_suspect:
                have = self._take_digest(have)
            self._adopt(have)
            want = self._want()
            transaction = diff(have, want)
            moves: Moves = {}
            if not transaction.replaces_table and any(s.timeout_seconds for s in have.structure.sets.values()):
                moves = plan_moves(find_sticky(_flatten(have.elements)), find_sticky(_flatten(want.elements)))
            self._send(self._with_moves(transaction, moves, have.structure))
        self._in_step, self._is_suspect = True, False

    def _place(self, keys: Iterable[str]) -> None:
        """Ask the kernel who stands in the slots of these Services. Raises NftError."""
        for key in tuple(keys):
            service = self._arranged[key]
            found = self._kernel.find_elements(self._config.family, self._config.table, list_slots(service))
            self._arranged[key] = arrange_as_found(service, found)
            self._unplaced.discard(key)

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
        if not have.is_absent:
            for key, service in self._arranged.items():
                self._arranged[key] = arrange_as_found(service, have.elements)
        self._unplaced.clear()

    def verify(self) -> bool:
        """Look at once; whether the kernel's table is the wanted one."""
        for _ in self.look():
            pass
        return self._in_step

    def look(self) -> Iterator[None]:
        """See in short steps whether the kernel's table is the wanted one; if not, the next sync reads and mends it.

        Syncs may come between two steps, and are seen. One number tells whether anybody else has changed any rules
        since the last look. Only then, and the first time, the whole table is compared: what others delete, or add,
        leaves the digest as it was. A look that syncs came into may have missed what others added, so the next one is
        whole again.
        """
        batches = self._batches
        try:
            state = self._kernel.read_state(self._config.family, self._config.table)
            foreign = self._kernel.count_foreign()
            is_same = state == self._state() and (foreign == self._foreign or (yield from self._compare()))
        except NftError:
            self._in_step = False
            return
        if not is_same or batches == self._batches:
            self._foreign = foreign
        self._is_suspect = self._is_suspect or not is_same
        self._in_step = self._in_step and is_same

    def _compare(self) -> Generator[None, None, bool]:
        """Whether sets, chains, rules and elements are the wanted ones. What seems not to be is looked at again, since
        it may have changed in between: then all at once, with what is wanted at that moment.
        """
        family, table = self._config.family, self._config.table
        found = self._kernel.read_structure(family, table)
        if found.sets != self._structure.sets or found.chains.keys() != self._structure.chains.keys():
            return False
        if self._kernel.find_altered(Ruleset(family, table, self._structure, {})):
            return False
        self._changed.clear()
        have: dict[str, dict[bytes, Value]] = {}
        for name in sorted(name for name, spec in found.sets.items() if spec.timeout_seconds is None):
            of_set = have[name] = {}
            for piece in self._kernel.walk(family, table, name):
                of_set.update(piece)
                yield
        for step, key in enumerate(tuple(self._arranged)):
            if not self._take_out(key, have) and not self._is_in_kernel(key):
                return False
            if step % COMPARED_AT_ONCE == 0:
                yield
        common = {(STATE, STATE_KEY), *self._shared, *_node_entries(self._config)}
        missing = [(name, key) for name, key in common if have.get(name, {}).pop(key, ABSENT) is ABSENT]
        if len(_flatten(self._find(missing))) < len(missing):
            return False
        extra = [(name, key) for name, pairs in have.items() for key in pairs]
        for start in range(0, len(extra), COMPARED_AT_ONCE):
            yield
            if self._has_other(extra[start : start + COMPARED_AT_ONCE], self._changed):
                return False
        return True

    def _take_out(self, key: str, have: Mapping[str, dict[bytes, Value]]) -> bool:
        """Take what is the Service's alone out of what was found; whether all of it was there."""
        service = self._arranged.get(key)
        if service is None:
            return True
        if key in self._unplaced:
            service = arrange_as_found(service, have)
        is_there = True
        for (name, entry), value in self._render(service).items():
            if name not in SHARED_SETS:
                is_there = (have[name].pop(entry, ABSENT) if name in have else ABSENT) == value and is_there
        if is_there:
            self._arranged[key] = service
            self._unplaced.discard(key)
        return is_there

    def _is_in_kernel(self, key: str) -> bool:
        """The kernel has all of the Service now."""
        self._place(self._unplaced & {key})
        wanted = self._render(self._arranged[key])
        return _flatten(self._find(wanted)) == wanted

    def _has_other(self, entries: Iterable[Entry], changed: Iterable[str]) -> bool:
        """The kernel has one of the entries now, and nobody wants it. changed: who may want some of them by now."""
        found = _flatten(self._find(entries)).keys()
        if not found:
            return False
        services = (self._arranged[key] for key in changed if key in self._arranged)
        return not found <= {entry for service in services for entry in self._render(service)}

    def _find(self, entries: Iterable[Entry]) -> Elements:
        return self._kernel.find_elements(self._config.family, self._config.table, entries)

    def _render(self, service: ServiceForwarding) -> dict[Entry, Value]:
        return render_service(service, counts_connections=self._config.counts_connections)

    def _apply(self, transaction: Transaction, moves: Moves) -> None:
        self._in_step = False
        try:
            whole = self._with_moves(transaction, moves, self._structure)
            self._send(whole)
        except NftError:
            return  # somebody else changed the table, or an older one is found: read it and mend
        self._in_step = True

    def _send(self, transaction: Transaction) -> None:
        self._batches += 1
        self._kernel.apply(self._config.family, self._config.table, transaction)

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
        """Want the Services as they are now; the elements that this changes, and where clients go.

        What two of them pass to each other is one change; what others share stays as long as one needs it.
        """
        had_state, had_node = self._state(), _node_entries(self._config)
        before, had_sticky = self._render_all(changed)
        services = (*(self._arranged.get(key) for key in changed), *changed.values())
        shared = {entry for service in services if service is not None for entry in list_shared(service)}
        for entry in shared:
            _put(before, entry, entry in self._shared)
        self._note(changed, config)
        after, has_sticky = self._render_all(changed)
        for entry in shared:
            _put(after, entry, entry in self._shared)
        changes = _compare(before | had_node, after | _node_entries(config))
        if self._state() != had_state:
            changes.append((STATE, STATE_KEY, had_state, self._state()))
        return changes, plan_moves(had_sticky, has_sticky)

    def _render_all(self, keys: Iterable[str]) -> tuple[dict[Entry, Value], dict[Place, Sticky]]:
        """The elements of those of the Services that are wanted, and who of them remembers whom."""
        elements: dict[Entry, Value] = {}
        sticky: dict[Place, Sticky] = {}
        for service in (self._arranged[key] for key in keys if key in self._arranged):
            rendered = self._render(service)
            elements.update(rendered)
            if service.is_sticky:
                sticky.update(find_sticky(rendered))
        return elements, sticky

    def _note(self, changed: Mapping[str, ServiceForwarding | None], config: RenderConfig) -> None:
        """Want the Services as they are now."""
        used, had_ranges = set(self._picks), self._ranges > 0
        for key, forwarding in changed.items():
            previous = self._arranged.pop(key, None)
            if previous is not None:
                self._count(previous, -1)
            if forwarding is not None:
                self._count(forwarding, 1)
                self._arranged[key] = arrange(previous, forwarding)
        self._changed.update(changed)
        self._unplaced &= self._arranged.keys()
        self._picks = +self._picks
        if set(self._picks) != used or (self._ranges > 0) != had_ranges or config != self._config:
            self._structure = render_structure(self._picks, config, has_ranges=self._ranges > 0)
            self._rest = digest_rest(self._structure, render_node(config))
        self._config = config

    def _count(self, service: ServiceForwarding, by: int) -> None:
        """Follow the Service that comes (1), or goes (-1), in all that is counted."""
        self._digest += by * digest_service(service)
        self._ranges += by * has_range(service)
        for pick in list_picks(service):
            self._picks[pick] += by
        for entry in list_shared(service):
            self._shared[entry] += by
            if not self._shared[entry]:
                del self._shared[entry]

    def _state(self) -> Comment:
        return write_digest(self._digest + self._rest)


def _flatten(elements: Elements) -> dict[Entry, Value]:
    return {(name, key): value for name, pairs in elements.items() for key, value in pairs.items()}


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
    return _flatten(render_node(config))


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

    def verify(self) -> Iterator[None]:
        """Look, in short steps; what differs, or cannot be read, is read whole by the next sync."""
        return self.table.look()

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
