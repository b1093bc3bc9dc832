"""What the server takes as upstream takes it, and yet tells the client about.

The concept page forbids endpoints whose addresses are cluster IPs: nodes do not forward from one virtual IP to
another, so nothing would ever answer. Upstream's server does not look. Beyond upstream: a warning beside the success.
Rule: spec "service-api" §14 (27).
"""

from __future__ import annotations

from collections.abc import Iterator

from seaway.api.endpoints import strategy as endpoints_strategy
from seaway.api.endpointslice import strategy as slice_strategy
from seaway.api.machinery.addresses import find_address
from seaway.api.machinery.http import Identity
from seaway.api.machinery.strategy import Json
from seaway.api.registry import ENDPOINT_SLICES, ENDPOINTS, Resource
from seaway.apiserver.allocation.holdings import address_key
from seaway.apiserver.state import ServerState
from seaway.apiserver.writing.owners import may_read_service

MAX_WARNINGS = 5
"""Of one write: the first few say enough, and all warnings together have 4096 characters."""


def warn_of_cluster_ips(state: ServerState, identity: Identity, resource: Resource, obj: Json) -> list[str]:
    """One warning per address that a Service holds, the first few; none for controllers, who know Pods alone.

    Only who may read that Service is told its name.
    """
    if resource is ENDPOINTS and not endpoints_strategy.is_by_controller(obj):
        addresses = _addresses_of_endpoints(obj)
    elif resource is ENDPOINT_SLICES and not slice_strategy.is_by_controller(obj):
        addresses = _addresses_of_slice(obj)
    else:
        return []
    found: list[str] = []
    for path, address in addresses:
        holder = state.allocator.find_holder(address_key(address)) if find_address(address) else None
        if holder:
            whose = f'Service "{holder}"' if may_read_service(state, identity, holder) else "another Service"
            found.append(f"{path}: {address} is the cluster IP of {whose}, and no node forwards to a cluster IP")
        if len(found) == MAX_WARNINGS:
            break
    return found


def _addresses_of_endpoints(obj: Json) -> Iterator[tuple[str, str]]:
    for index, subset in enumerate(obj.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                yield f"subsets[{index}].{field}[{position}].ip", address.get("ip") or ""


def _addresses_of_slice(obj: Json) -> Iterator[tuple[str, str]]:
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        for position, address in enumerate(endpoint.get("addresses") or ()):
            yield f"endpoints[{index}].addresses[{position}]", address
