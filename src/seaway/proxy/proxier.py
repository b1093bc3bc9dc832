"""The proxy without its loops: objects in, data planes in step out. Needs no client, no clock and no socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.node.types import LABEL_ZONE, Node
from seaway.api.service.types import Service
from seaway.net.errors import OperationalError
from seaway.net.family import Family, family_of
from seaway.proxy.changes import Changes
from seaway.proxy.claims import Claims
from seaway.proxy.complaints import Complaint, find_complaints
from seaway.proxy.config import NodeView, is_network, networks_of
from seaway.proxy.flows.plan import Destination, FlowDuties, Resettable, collect_duties, collect_resettable
from seaway.proxy.forwarding import Frontend, ServiceForwarding, forward_service, parse_address


class PlaneError(OperationalError):
    """A data plane could not be brought in step. The next sync tries again."""


class Plane(Protocol):
    """One family of one data plane."""

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        """Take these Services (None: gone) and this view of the node. Raises PlaneError.

        Returns whether all was compared, not only what changed.
        """

    def verify(self) -> Iterable[None] | None:
        """See whether somebody else changed what is ours; the next sync mends it. Never raises.

        Returns what is left to be done of it, in short steps between which syncs may come; None: nothing.
        """


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did. `flows`: families whose UDP flows are to be looked at."""

    services: int = 0
    touched: tuple[str, ...] = ()
    """The Services that changed, and those that won or lose a claim by them."""
    seconds: Mapping[Family, float] = field(default_factory=dict)
    failed: frozenset[Family] = frozenset()
    full: frozenset[Family] = frozenset()
    """Families in which all was compared, not only what changed."""
    flows: Mapping[Family, FlowDuties] = field(default_factory=dict)
    failures: tuple[PlaneError, ...] = ()


class Proxier:
    """Forwardings of all Services, and the data planes that follow them."""

    def __init__(
        self,
        planes: Mapping[Family, Plane],
        node: NodeView,
        *,
        service_cidrs: Callable[[], tuple[str, ...]] = tuple,
        clock: Callable[[], float] = lambda: 0.0,
        is_userspace: bool = False,
        unserved: Callable[[str], tuple[Complaint, ...]] = lambda key: (),
    ) -> None:
        """service_cidrs: the ranges at the first sync, when flows to what no Service has in them are stale.

        clock: what syncs are timed with. is_userspace: the planes serve every Service from user space. unserved: what
        the planes themselves could not do for a Service.
        """
        self._list_unserved = unserved
        self._is_userspace = is_userspace
        self._planes = planes
        self._clock = clock
        self._unclaimed: Callable[[], tuple[str, ...]] = service_cidrs
        self._resettable: dict[Family, dict[str, dict[Destination, Resettable]]] = {family: {} for family in planes}
        self._node = node
        self._changes = Changes()
        self._claims = {family: Claims() for family in planes}
        self._claimed: dict[Family, dict[str, ServiceForwarding]] = {family: {} for family in planes}
        self._settled: dict[Family, dict[str, ServiceForwarding]] = {family: {} for family in planes}

    @property
    def service_count(self) -> int:
        """How many Services are known, forwarded or not."""
        return len(self._changes.services)

    @property
    def node(self) -> NodeView:
        """What is known of this node."""
        return self._node

    def set_service(self, key: str, service: Service | None) -> None:
        """The Service is now this; None: it is gone."""
        self._changes.set_service(key, service)

    def set_slice(self, key: str, piece: EndpointSlice | None) -> None:
        """The slice is now this; None: it is gone."""
        self._changes.set_slice(key, piece)

    def set_node(self, node: Node | None) -> bool:
        """The node of this proxy is now this; whether that matters. None (gone) keeps what was known."""
        view = self._node if node is None else view_node(node, self._node)
        if view == self._node:
            return False
        self._node = view
        self._changes.mark_all()
        return True

    def forwardings(self, family: Family) -> tuple[ServiceForwarding, ...]:
        """What every Service is given, sorted by key: for `explain` and `plan`."""
        settled = self._settled[family]
        return tuple(settled[key] for key in sorted(settled))

    def complaints(self, key: str) -> tuple[Complaint, ...]:
        """What of the Service cannot be served, and why."""
        service = self._changes.services.get(key)
        if service is None:
            return ()
        lost: list[tuple[Frontend, str]] = []
        unserved: list[str] = []
        for family, claims in self._claims.items():
            if (claimed := self._claimed[family].get(key)) is not None:
                lost.extend(claims.find_lost(claimed))
                unserved.extend(claimed.range_refusals)
        found = find_complaints(
            service, self._changes.slices_of(key), lost, unserved=unserved, is_userspace=self._is_userspace
        )
        return found + self._list_unserved(key)

    def forwarding(self, family: Family, key: str) -> ServiceForwarding | None:
        """What the Service is given; None: nothing, or there is none."""
        return self._settled[family].get(key)

    def service(self, key: str) -> Service | None:
        """The Service as it is known."""
        return self._changes.services.get(key)

    def resettable(self, family: Family) -> dict[Destination, Resettable]:
        """The TCP destinations whose flows are to end when their endpoint has gone."""
        return {target: found for table in self._resettable.get(family, {}).values() for target, found in table.items()}

    def verify(self) -> None:
        """Let every plane see whether it still is in step; the next sync mends it."""
        for _ in self.look():
            pass

    def look(self) -> Iterator[None]:
        """The same in short steps; syncs may come between them."""
        for plane in self._planes.values():
            yield from plane.verify() or ()

    def sync(self) -> SyncReport:
        """Bring the data planes in step with what is pending. A plane that fails does not keep back another."""
        taken = self._changes.take()
        failures: list[PlaneError] = []
        duties: dict[Family, FlowDuties] = {}
        unclaimed, self._unclaimed = self._unclaimed(), tuple
        touched = set(taken)
        seconds: dict[Family, float] = {}
        failed: set[Family] = set()
        full: set[Family] = set()
        for family, plane in self._planes.items():
            begun = self._clock()
            changed = self._forward(taken, family)
            touched.update(changed)
            before = {key: self._settled[family].get(key) for key in changed}
            for key, forwarding in changed.items():
                _put(self._settled[family], key, forwarding)
                self._resettable[family].pop(key, None)
                if forwarding is not None and (table := collect_resettable(forwarding)):
                    self._resettable[family][key] = table
            try:
                if plane.sync(changed, self._node):
                    full.add(family)
            except PlaneError as error:
                failures.append(error)
                failed.add(family)
            seconds[family] = self._clock() - begun
            pairs = ((before[key], new) for key, new in changed.items())
            found = collect_duties(pairs, unclaimed=networks_of(unclaimed, family))
            if not found.is_empty:
                duties[family] = found
        return SyncReport(
            services=len(taken),
            touched=tuple(sorted(touched)),
            seconds=seconds,
            failed=frozenset(failed),
            full=frozenset(full),
            flows=duties,
            failures=tuple(failures),
        )

    def _forward(self, keys: tuple[str, ...], family: Family) -> dict[str, ServiceForwarding | None]:
        """What these Services, and those that win or lose a claim by them, are given; only what differs."""
        claims, claimed = self._claims[family], self._claimed[family]
        affected = set(keys)
        for key in keys:
            forwarding = self._forward_one(key, family)
            _put(claimed, key, forwarding)
            affected |= claims.update(key, forwarding)
        changed: dict[str, ServiceForwarding | None] = {}
        for key in sorted(affected):
            settled = claims.settle(claimed[key]) if key in claimed else None
            if settled != self._settled[family].get(key):
                changed[key] = settled
        return changed

    def _forward_one(self, key: str, family: Family) -> ServiceForwarding | None:
        service = self._changes.services.get(key)
        if service is None:
            return None
        return forward_service(
            service,
            self._changes.slices_of(key),
            family=family,
            node=self._node,
            keeps_connections=self._is_userspace,
        )


def view_node(node: Node, before: NodeView) -> NodeView:
    """What of the node matters: its zone, and its primary address of each family.

    InternalIP before ExternalIP. A family without an address keeps the one it had. Rule: spec "proxy" §11.1.
    """
    primary = {family_of(address): address for address in reversed(before.addresses)}
    for kind in ("ExternalIP", "InternalIP"):
        for text in reversed([a.address for a in node.status.addresses if a.type == kind]):
            for family in Family:
                if (address := parse_address(text, family)) is not None:
                    primary[family] = address
    if before.fixed_address:
        primary[family_of(before.fixed_address)] = before.fixed_address
    addresses = tuple(primary[family] for family in Family if family in primary)
    told = node.spec.pod_cidrs or tuple(filter(None, (node.spec.pod_cidr,)))
    pod_cidrs = tuple(cidr for cidr in told if is_network(cidr))
    zone = node.metadata.labels.get(LABEL_ZONE, "")
    return NodeView(before.name, zone, addresses, pod_cidrs or before.pod_cidrs, before.fixed_address)


def _put(forwardings: dict[str, ServiceForwarding], key: str, forwarding: ServiceForwarding | None) -> None:
    if forwarding is None:
        forwardings.pop(key, None)
    else:
        forwardings[key] = forwarding
