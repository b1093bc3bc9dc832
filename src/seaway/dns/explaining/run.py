"""What an explanation depends on, read once from an API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from seaway.api.machinery.errors import ApiError
from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Resource
from seaway.client.requests import Client, TransportError
from seaway.dns.config import DnsConfig
from seaway.dns.index import Index
from seaway.dns.objects import DetailedService, DetailedSlice, Namespace, Pod
from seaway.net.errors import OperationalError

T = TypeVar("T")
PAGE = 500
DNS_SERVICE = ("kube-system", "kube-dns")


class QueryError(OperationalError):
    """The cluster could not be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """The cluster of now. pod: the one asked for, as it is; None: none was. dns_ips: where Pods ask by default."""

    index: Index
    dns_ips: tuple[str, ...]
    pod: dict[str, Any] | None


async def read_cluster(client: Client, config: DnsConfig, *, pod: tuple[str, str] | None = None) -> Found:
    """What a server with this configuration knows. pod: namespace and name. Raises QueryError."""
    try:
        manifest = await client.get(PODS, pod[1], pod[0], as_type=dict) if pod else None
        index = await _read_index(client, config)
    except (ApiError, TransportError) as error:
        raise QueryError(str(error)) from None
    shard = index.find(DNS_SERVICE)
    addresses = shard.service.addresses if shard is not None and shard.service is not None else ()
    return Found(index, addresses, manifest)


async def _read_index(client: Client, config: DnsConfig) -> Index:
    options = config.kubernetes
    index = Index(options.namespaces, config.loopback)
    async for namespace in _list(client, NAMESPACES, Namespace, options.namespace_labels):
        index.apply_namespace(None, namespace)
    async for service in _list(client, SERVICES, DetailedService, options.labels):
        index.apply_service(None, service, wall_seconds=0)
    if not options.no_endpoints:
        async for endpoint_slice in _list(client, ENDPOINT_SLICES, DetailedSlice, options.labels):
            index.apply_slice(None, endpoint_slice, wall_seconds=0)
    if config.pods == "verified":
        async for pod in _list(client, PODS, Pod, options.labels):
            index.apply_pod(None, pod, wall_seconds=0)
    index.is_synced = True
    return index


async def _list(client: Client, resource: Resource, kind: type[T], labels: str) -> AsyncIterator[T]:
    token = ""
    while True:
        page = await client.list(resource, label_selector=labels, limit=PAGE, continue_token=token)
        for item in page.items:
            yield msgspec.json.decode(item, type=kind)
        token = page.continue_token
        if not token:
            return
