"""What is refused although RBAC allows it: creates where the namespace is missing or ending, and external IPs that
nobody has set aside. (Nodes: `noderestriction.py`.)

Rule: spec "api-machinery" §8.3 (namespaces), "service-api" §3.6 (external IPs); design §12.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from seaway.api.machinery.addresses import Address, Network, find_address
from seaway.api.machinery.errors import ApiError, Forbidden, make_not_found
from seaway.api.registry import Resource
from seaway.apiserver.access.rbac import make_forbidden
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.record import Record, decode_object

Json = Mapping[str, Any]
IMMORTAL_NAMESPACES = frozenset(("default", "kube-public", "kube-system"))
_DENIED = "Use of external IPs is denied by admission control"


def find_namespace_refusal(resource: Resource, namespace: str, name: str, holder: Record | None) -> ApiError | None:
    """Why nothing may be created in the namespace now. holder: the Namespace's record."""
    if not resource.namespaced:
        return None
    if holder is None:
        return make_not_found("namespaces", "", namespace)
    if not holder.is_deleting:
        return None
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return make_forbidden(resource.group, resource.plural, name, why, [cause])


def make_immortal_refusal(name: str) -> Forbidden:
    """The answer to deleting a namespace that every cluster has."""
    return make_forbidden("", "namespaces", name, "this namespace may not be deleted")


def check_no_external_ips(service: Json, old: Json | None) -> None:
    """DenyServiceExternalIPs: those that the Service had may stay, whatever is set aside. Raises Forbidden.

    Rule: spec "service-api" §3.6.
    """
    if _find_added(service, old):
        raise make_forbidden("", "services", _name_of(service), _DENIED)


def find_external_ip_refusal(
    service: Json, old: Json | None, config: ServerConfig, nodes: Iterable[Record]
) -> Forbidden | None:
    """Why the Service may not have the external IPs that it adds, or None. Those that it had may stay.

    An external IP takes traffic that others send to that address, so it must be set aside for this: inside
    `external_ip_cidrs`, and neither a node's, the API server's nor a Service's own.
    service: valid. old: as stored, None when it is created. nodes: all Nodes, read only when a range allows an address.
    Rule: spec "service-api" §3.6; design §12. A gateway's address is not known here: no range should hold one.
    """
    added = _find_added(service, old)
    if not added:
        return None
    allowed = [ipaddress.ip_network(cidr) for cidr in config.external_ip_cidrs]
    denied = [text for text in added if not _is_inside(text, allowed)] or _find_taken(added, config, nodes)
    if not denied:
        return None
    why = _DENIED
    if config.external_ip_cidrs:
        ranges = ", ".join(config.external_ip_cidrs)
        why += f": {denied[0]} found; addresses in {ranges} are allowed that no node, API server or Service has"
    return make_forbidden("", "services", _name_of(service), why)


def _find_added(service: Json, old: Json | None) -> list[str]:
    kept = set() if old is None else set(_external_ips(old))
    return [text for text in _external_ips(service) if text not in kept]


def _find_taken(addresses: Iterable[str], config: ServerConfig, nodes: Iterable[Record]) -> list[str]:
    """Those that a Node, the API server or a service range has."""
    ranges = [ipaddress.ip_network(cidr) for cidr in config.service_cidrs]
    held = {_parse(address) for node in nodes for address in _node_addresses(node)}
    held.add(_parse(config.advertise_address or ""))
    return [text for text in addresses if _is_inside(text, ranges) or _parse(text) in held]


def _external_ips(service: Json) -> list[str]:
    return list((service.get("spec") or {}).get("externalIPs") or ())


def _node_addresses(node: Record) -> list[str]:
    status = decode_object(node.body).get("status") or {}
    return [entry.get("address", "") for entry in status.get("addresses") or ()]


def _parse(text: str) -> Address | None:
    """None for what is no address: Nodes have host names among their addresses."""
    parsed = find_address(text)
    return None if parsed is None else parsed.address


def _is_inside(text: str, networks: Iterable[Network]) -> bool:
    address = _parse(text)
    return address is not None and any(address in network for network in networks)


def _name_of(subject: Json) -> str:
    return str(subject["metadata"].get("name", ""))
