"""What a walk depends on, read once from an API server and from this host."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import ApiError, NotFound
from seaway.api.node.types import Node
from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICE_CIDRS, SERVICES, Resource
from seaway.api.service.types import Service
from seaway.api.servicecidr.types import ServiceCIDR
from seaway.client.requests import Client, TransportError
from seaway.proxy.config import ProxyConfig, config_at
from seaway.proxy.kernel import list_interface_addresses
from seaway.proxy.proxier import view_node
from seaway.proxy.ranges.kernel import ServiceRanges
from seaway.proxy.ranges.plan import choose_ranges
from seaway.proxy.tracing.kernel import TraceError
from seaway.proxy.tracing.walk import Cluster

T = TypeVar("T")
PAGE = 500


async def read_cluster(client: Client, config: ProxyConfig) -> Cluster:
    """The Services, slices and ranges of now, as the node of `config` sees them. Raises TraceError."""
    try:
        node = await client.get(NODES, config.node_name, as_type=Node)
        services = await _list(client, SERVICES, Service)
        slices = await _list(client, ENDPOINT_SLICES, EndpointSlice)
        ranges = await _list_ranges(client)
    except (ApiError, TransportError) as error:
        raise TraceError(str(error)) from None
    told = tuple(address.address for address in node.status.addresses if address.type.endswith("IP"))
    is_here = config.node_name == socket.gethostname()
    view = view_node(node, config.first_view)
    return Cluster(
        services=services,
        slices=slices,
        node=view,
        config=replace(config_at(config, view), service_cidrs=_choose_ranges(config, ranges, is_here=is_here)),
        host_addresses=(*told, *(list_interface_addresses() if is_here else ())),
    )


async def _list(client: Client, resource: Resource, kind: type[T]) -> tuple[T, ...]:
    found: list[T] = []
    token = ""
    while True:
        page = await client.list(resource, limit=PAGE, continue_token=token)
        found += [msgspec.json.decode(item, type=kind) for item in page.items]
        token = page.continue_token
        if not token:
            return tuple(found)


async def _list_ranges(client: Client) -> tuple[ServiceCIDR, ...]:
    """Servers before 1.33 have none."""
    try:
        return await _list(client, SERVICE_CIDRS, ServiceCIDR)
    except NotFound:
        return ()


def _choose_ranges(config: ProxyConfig, objects: Iterable[ServiceCIDR], *, is_here: bool) -> tuple[str, ...]:
    """What the proxy takes of them; of another host it is not known what it would refuse. Raises TraceError."""
    if not is_here:
        return choose_ranges(
            config.service_cidrs, (cidr for found in objects for cidr in found.spec.cidrs), ()
        ).accepted
    ranges = ServiceRanges(config, config.families)
    for found in objects:
        ranges.set_object(found.metadata.name, found)
    try:
        ranges.prepare()
    except OSError as error:
        raise TraceError(f"routes of this host: {error.strerror}") from error
    return ranges.accepted
