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
from seaway.proxy.config import NodePortAddresses, NodeView, ProxyConfig, choose_node_port_addresses, networks_of
from seaway.proxy.forwarding import ServiceForwarding
from seaway.proxy.nftables.diff import ABSENT, Absent, ElementChange, Transaction, diff, diff_parts
from seaway.proxy.nftables.digest import STATE, STATE_KEY, digest_element, digest_structure, write_digest
from seaway.proxy.nftables.objects import Comment, Ruleset, Value
from seaway.proxy.nftables.render import RenderedService, arrange, render_node, render_service
from seaway.proxy.nftables.structure import (
    CLUSTER_IPS,
    HAIRPINS,
    NO_ADDRESSES,
    Pick,
    RenderConfig,
    find_picks,
    render_structure,
)
from seaway.proxy.proxier import PlaneError

SHARED_SETS = frozenset((CLUSTER_IPS, HAIRPINS))
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

    def read_state(self, family: Family, table: str) -> Comment | None:
        """The digest that stands in the table; None when there is none."""


class NftablesTable:
    """One table of one family, kept in step with forwardings."""

    def __init__(self, kernel: Kernel, config: RenderConfig) -> None:
        self._kernel = kernel
        self._config = config
        self._arranged: dict[str, ServiceForwarding] = {}
        self._rendered: dict[str, RenderedService] = {}
        self._shared: Counter[Entry] = Counter()
        self._picks: Counter[Pick] = Counter()
        self._structure = render_structure((), config)
        self._structure_digest = digest_structure(self._structure)
        self._digest = sum(digest_element(*entry, value) for entry, value in _node_entries(config).items())
        self._in_step = False

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
        transaction = self._plan(changed, config)
        if self._in_step and not transaction.is_empty:
            self._apply(transaction)
        if not self._in_step:
            self.recover()

    def recover(self) -> None:
        """Compare the kernel's table with the wanted one, and mend what differs. Raises NftError."""
        family, table = self._config.family, self._config.table
        if self._kernel.read_state(family, table) != self._state():
            have = self._kernel.read(family, table)
            self._kernel.apply(family, table, diff(have, self.want()))
        self._in_step = True

    def verify(self) -> bool:
        """The kernel's digest is the wanted one; if not, or if it cannot be read, the next sync reads the table."""
        try:
            state = self._kernel.read_state(self._config.family, self._config.table)
        except NftError:
            state = None
        self._in_step = self._in_step and state == self._state()
        return self._in_step

    def _apply(self, transaction: Transaction) -> None:
        self._in_step = False
        try:
            self._kernel.apply(self._config.family, self._config.table, transaction)
        except NftError:
            return  # somebody else changed the table, or an older one is found: read it and mend
        self._in_step = True

    def _plan(self, changed: Mapping[str, ServiceForwarding | None], config: RenderConfig) -> Transaction:
        changes = self._exchange(changed)
        if config != self._config:
            changes += _compare(_node_entries(self._config), _node_entries(config))
        have = self._structure
        before = self._state()
        has_other_picks = self._count(changes)
        if has_other_picks or config != self._config:
            self._structure = render_structure(self._picks, config)
            self._structure_digest = digest_structure(self._structure)
        self._config = config
        if self._state() != before:
            changes.append((STATE, STATE_KEY, before, self._state()))
        return diff_parts(have, self._structure, changes)

    def _exchange(self, changed: Mapping[str, ServiceForwarding | None]) -> list[ElementChange]:
        """Put the changed Services in place of what they were; the elements that this changes.

        What two of them pass to each other is one change; what others share stays as long as one needs it.
        """
        before: dict[Entry, Value] = {}
        after: dict[Entry, Value] = {}
        had_shared: dict[Entry, int] = {}
        for service, forwarding in changed.items():
            old = self._rendered.pop(service, {})
            before.update(old)
            self._share(old, -1, had_shared)
            previous = self._arranged.pop(service, None)
            if forwarding is not None:
                self._arranged[service] = arrange(previous, forwarding)
                self._rendered[service] = new = render_service(self._arranged[service])
                after.update(new)
                self._share(new, 1, had_shared)
        for entry, count in had_shared.items():
            _put(before, entry, count > 0)
            _put(after, entry, self._shared[entry] > 0)
            if not self._shared[entry]:
                del self._shared[entry]
        return _compare(before, after)

    def _share(self, rendered: RenderedService, by: int, had: dict[Entry, int]) -> None:
        for entry in rendered:
            if entry[0] in SHARED_SETS:
                had.setdefault(entry, self._shared[entry])
                self._shared[entry] += by

    def _count(self, changes: list[ElementChange]) -> bool:
        """Follow the changes in the digest and in the draws; whether other draws are in use now."""
        used = set(self._picks)
        for name, key, old, new in changes:
            if not isinstance(old, Absent):
                self._digest -= digest_element(name, key, old)
                self._picks.subtract(find_picks(old))
            if not isinstance(new, Absent):
                self._digest += digest_element(name, key, new)
                self._picks.update(find_picks(new))
        self._picks = +self._picks
        return set(self._picks) != used

    def _state(self) -> Comment:
        return write_digest(self._digest + self._structure_digest)


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

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> None:
        """Bring the table in step. Raises NftError; what was given is not lost by it."""
        self.table.sync(changed, self._render_config(node))

    def verify(self) -> None:
        """Compare digests; what differs, or cannot be read, is read whole by the next sync."""
        self.table.verify()

    def _render_config(self, node: NodeView) -> RenderConfig:
        listed = self._interface_addresses() if self._config.node_port_addresses is not None else ()
        ports = choose_node_port_addresses(self._config, node, self._family, listed)
        config = self._config
        if self._service_cidrs is not None:
            config = replace(config, service_cidrs=self._service_cidrs())
        return render_config(config, self._family, ports, self._guarded_links())


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
        masquerade_outgoing=config.masquerade_outgoing,
        node_ports=node_ports,
        guarded_links=guarded_links,
    )
