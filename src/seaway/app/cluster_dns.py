"""The Service `kube-system/kube-dns`: an ordinary Service whose hand-made slice points to the DNS piece.

Rule: design.md §11 "Addresses of our own services".
"""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.errors import AlreadyExists, NotFound
from seaway.api.registry import ENDPOINT_SLICES, SERVICES
from seaway.client.requests import Client

NAMESPACE, NAME = "kube-system", "kube-dns"


async def ensure_dns_service(client: Client, *, cluster_ip: str, node_ip: str, node_name: str, port: int) -> None:
    """Make the Service and its slice, or set the slice right after an address changed.

    The Service is looked for first: a create that names an address which this very Service holds is refused for the
    address, not for the name. Rule: spec "service-api" §0.2.
    """
    try:
        await client.get(SERVICES, NAME, NAMESPACE, as_type=dict)
    except NotFound:
        await client.create(SERVICES, make_service(cluster_ip), NAMESPACE)
    wanted = make_slice(node_ip, node_name, port)
    try:
        await client.create(ENDPOINT_SLICES, wanted, NAMESPACE)
    except AlreadyExists:
        patch = {"endpoints": wanted["endpoints"], "ports": wanted["ports"]}
        await client.patch(ENDPOINT_SLICES, NAME, NAMESPACE, patch=patch)


def make_service(cluster_ip: str) -> dict[str, Any]:
    ports = [
        {"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    labels = {"k8s-app": NAME, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"clusterIP": cluster_ip, "ports": ports},
    }


def make_slice(node_ip: str, node_name: str, port: int) -> dict[str, Any]:
    ports = [
        {"name": name, "port": port, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    labels = {"kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": "seaway"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [node_ip], "conditions": {"ready": True}, "nodeName": node_name}],
        "ports": ports,
    }
