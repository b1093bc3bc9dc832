"""Events that say in time that the numbers for Services run out: at four fifths of a range.

Rule: issue 4 (beyond upstream). A start says nothing of what was crowded already.
"""

from __future__ import annotations

from seaway.api.registry import SERVICE_CIDRS, SERVICES
from seaway.apiserver.allocation.allocate import ServiceAllocator
from seaway.apiserver.allocation.crowding import CROWDED_PERCENT, Crowding
from seaway.apiserver.allocation.pool import Pool
from seaway.apiserver.builtin import kubernetes_service
from seaway.apiserver.builtin.notices import Notice
from seaway.apiserver.builtin.repairs import say
from seaway.apiserver.state import ServerState

REPORTER = "seaway-apiserver"
_NODE_PORTS = "node ports"
"""Beside the ranges of addresses; no CIDR is called so."""


class CrowdingWarnings:
    """Says what has become crowded since it last looked."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._crowding = Crowding(_list_pools(state.allocator))

    async def look(self) -> None:
        """Write an Event about each range that has become crowded. Raises ApiError."""
        pools = _list_pools(self._state.allocator)
        for name in self._crowding.find_crossings(pools):
            size = dict(pools)[name].size
            for notice in self._tell_ports(size) if name == _NODE_PORTS else self._tell_addresses(name, size):
                await say(self._state, notice)

    def _tell_addresses(self, cidr: str, size: int) -> list[Notice]:
        note = f"{CROWDED_PERCENT} % of the {size} addresses of {cidr} are taken; add a ServiceCIDR before none is left"
        notices = []
        for name in self._state.allocator.ranges.find_owners(cidr):
            record = self._state.find(SERVICE_CIDRS, "", name)
            uid = record.uid if record else ""
            notices.append(
                Notice(SERVICE_CIDRS, "", name, uid, REPORTER, "ServiceCIDRNearlyFull", "ClusterIPAllocation", note)
            )
        return notices

    def _tell_ports(self, size: int) -> list[Notice]:
        """Node ports have no object; whoever looks after the cluster looks at the Service of its API."""
        first, last = self._state.config.node_port_range
        note = (
            f"{CROWDED_PERCENT} % of the {size} node ports {first}-{last} are taken; "
            "widen --service-node-port-range before none is left"
        )
        namespace, name = kubernetes_service.NAMESPACE, kubernetes_service.NAME
        record = self._state.find(SERVICES, namespace, name)
        uid = record.uid if record else ""
        return [Notice(SERVICES, namespace, name, uid, REPORTER, "NodePortsNearlyFull", "PortAllocation", note)]


def _list_pools(allocator: ServiceAllocator) -> list[tuple[str, Pool]]:
    return [*allocator.ranges.pools, (_NODE_PORTS, allocator.port_pool)]
