"""One Pod as an endpoint of one Service: whether it is one, with which address, conditions and ports.

Rule: spec "controllers" §1.3 (eligibility), §1.4 (fields), §1.5 (ports), §1.6 (families).
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from seaway.api.endpointslice.types import Endpoint, EndpointConditions, EndpointPort
from seaway.api.endpointslice.weights import ANNOTATION_WEIGHT
from seaway.api.machinery.meta import ObjectReference
from seaway.api.node.types import LABEL_ZONE, Node
from seaway.api.pod.types import Container, Pod
from seaway.api.service.types import Service, ServicePort
from seaway.net.family import Family, family_of

_ENDED = ("Succeeded", "Failed")


def has_ended(pod: Pod) -> bool:
    """All its containers have stopped for good."""
    return pod.status.phase in _ENDED


def is_eligible(pod: Pod) -> bool:
    """The Pod has an address and has not ended; a terminating one still counts.

    Rule: spec "controllers" §1.3.
    """
    return not has_ended(pod) and bool(pod.status.pod_ip or pod.status.pod_ips)


def is_selected(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Every label of the selector is there with its value. An empty selector selects nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def project_pod(pod: Pod | None) -> tuple[Any, ...] | None:
    """What of a Pod, besides its labels, endpoints depend on; None when it is no endpoint of anything.

    Rule: spec "controllers" §1.1. Upstream leaves out phase, node and ports, and so acts late on a Pod that ended.
    """
    if pod is None or not is_eligible(pod):
        return None
    spec, status = pod.spec, pod.status
    return (
        pod.metadata.uid, pod.metadata.deletion_timestamp is None, pod.is_ready, status.pod_ips, spec.node_name,
        spec.hostname, spec.subdomain, spec.containers, spec.init_containers,
        pod.metadata.annotations.get(ANNOTATION_WEIGHT),
    )  # fmt: skip


def choose_families(service: Service) -> tuple[Family, ...]:
    """The families that the Service has slices for, in its order.

    Rule: spec "controllers" §1.6 (the fallback is for servers that do not fill `ipFamilies`).
    """
    spec = service.spec
    if spec.ip_families:
        return tuple(Family(name) for name in spec.ip_families)
    if spec.cluster_ip not in ("", "None"):
        return (family_of(spec.cluster_ip),)
    return (Family.IPV4, Family.IPV6)


def list_serving_containers(pod: Pod) -> list[Container]:
    """Those whose ports may be meant by name: containers, then sidecars."""
    return [*pod.spec.containers, *(c for c in pod.spec.init_containers if c.restart_policy == "Always")]


def resolve_ports(service: Service, pod: Pod) -> tuple[EndpointPort, ...]:
    """The Service's ports as this Pod has them, in the Service's order; a named port that it lacks is left out.

    Rule: spec "controllers" §1.5.
    """
    numbers = ((port, _find_number(port, pod)) for port in service.spec.ports)
    return tuple(
        EndpointPort(name=port.name, protocol=port.protocol, port=number, app_protocol=port.app_protocol)
        for port, number in numbers
        if number is not None
    )


def make_endpoint(service: Service, pod: Pod, node: Node | None, family: Family) -> Endpoint | None:
    """The Pod as an endpoint with its addresses of the family; None when it has none.

    node: None when it does not exist. All three conditions are set.
    Rule: spec "controllers" §1.4.
    """
    addresses = _select_addresses((entry.ip for entry in pod.status.pod_ips), family)
    if not addresses:
        return None
    meta, spec = pod.metadata, pod.spec
    is_serving, is_terminating = pod.is_ready, meta.deletion_timestamp is not None
    names_itself = spec.hostname and spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=addresses,
        conditions=EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (is_serving and not is_terminating),
            serving=is_serving,
            terminating=is_terminating,
        ),
        hostname=spec.hostname if names_itself else None,
        target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
        node_name=spec.node_name or None,
        zone=(node.metadata.labels.get(LABEL_ZONE) or None) if node else None,
    )


def _find_number(port: ServicePort, pod: Pod) -> int | None:
    if isinstance(port.target_port, int):
        return port.target_port or port.port
    for container in list_serving_containers(pod):
        for candidate in container.ports:
            if candidate.name == port.target_port and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def _select_addresses(addresses: Iterable[str], family: Family) -> tuple[str, ...]:
    canonical = (_canonical(address) for address in addresses)
    return tuple(address for found, address in canonical if found is family)


@functools.lru_cache(maxsize=256)
def _canonical(address: str) -> tuple[Family | None, str]:
    """Text that is no address has no family: such a Pod has no endpoint rather than a slice that is refused."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None, address
    return Family(f"IPv{parsed.version}"), parsed.compressed
