"""The Service by which Pods find the API server, and the endpoints behind it.

The Service is made when it is missing and never corrected; Endpoints and EndpointSlice are ours and follow the address.
Left out: leases of several servers, and with them the end of a server's own address when it stops: no store that is
served today takes a second server. Rule: spec "service-api" §7, "controllers" §8.3.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.registry import ENDPOINT_SLICES, ENDPOINTS, SERVICES, Resource
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.record import Record, decode_object

Json = dict[str, Any]
NAMESPACE, NAME, PORT_NAME, PORT = "default", "kubernetes", "https", 443


@dataclass(frozen=True, slots=True)
class ObjectWrite:
    """An object as it shall be, or `obj` None: gone. `subresource`: what of it is written, empty for all but status."""

    resource: Resource
    namespace: str
    name: str
    obj: Json | None
    subresource: str = ""
    applied_by: str = ""
    """The field manager who applies `obj` as a configuration, by force, to an object that is there."""


def plan_kubernetes_service(
    find: Callable[[Resource, str, str], Record | None], config: ServerConfig
) -> list[ObjectWrite]:
    """What is missing or wrong, in the order to write it. Without an address to advertise: nothing."""
    address = config.advertise_address
    if address is None:
        return []
    writes = []
    if find(SERVICES, NAMESPACE, NAME) is None:
        writes.append(ObjectWrite(SERVICES, NAMESPACE, NAME, _make_service(config)))
    record = find(ENDPOINTS, NAMESPACE, NAME)
    endpoints = _make_endpoints(address, config.secure_port, record.labels if record is not None else {})
    if not _holds(record, endpoints, ("subsets",)):
        writes.append(ObjectWrite(ENDPOINTS, NAMESPACE, NAME, endpoints))
    wanted = _make_slice(address, config.secure_port)
    existing = find(ENDPOINT_SLICES, NAMESPACE, NAME)
    if existing is not None and decode_object(existing.body).get("addressType") != wanted["addressType"]:
        writes.append(ObjectWrite(ENDPOINT_SLICES, NAMESPACE, NAME, None))  # the type of addresses is immutable
        existing = None
    if not _holds(existing, wanted, ("endpoints", "ports")):
        writes.append(ObjectWrite(ENDPOINT_SLICES, NAMESPACE, NAME, wanted))
    return writes


def first_address(cidr: str) -> str:
    """The address of `kubernetes` in the primary service range."""
    return str(ipaddress.ip_network(cidr)[1])


def _holds(record: Record | None, wanted: Json, keys: tuple[str, ...]) -> bool:
    if record is None:
        return False
    existing = decode_object(record.body)
    has_labels = dict(record.labels) == wanted["metadata"]["labels"]
    return has_labels and all(existing.get(key) == wanted[key] for key in keys)


def _make_service(config: ServerConfig) -> Json:
    port = {"name": PORT_NAME, "protocol": "TCP", "port": PORT, "targetPort": config.secure_port}
    if config.kubernetes_node_port:
        port["nodePort"] = config.kubernetes_node_port
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "NodePort" if config.kubernetes_node_port else "ClusterIP",
            "clusterIP": first_address(config.service_cidrs[0]),
            "ipFamilyPolicy": "SingleStack",
            "ports": [port],
            "sessionAffinity": "None",
        },
    }


def _make_endpoints(address: str, port: int, labels: Mapping[str, str]) -> Json:
    """labels: those that are there, and stay; the one that says that nobody mirrors it is forced."""
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {**labels, "endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}]}],
    }


def _make_slice(address: str, port: int) -> Json:
    """Its one label is all: with a managed-by a control loop would take it for its own."""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": f"IPv{ipaddress.ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
    }
