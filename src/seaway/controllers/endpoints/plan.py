"""The Endpoints object that a Service should have, and the one write that leads there.

Rule: spec "controllers" §3.2 to §3.5. An object that somebody else changed is put right at the next sync.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from seaway.api.endpoints.subsets import canonicalize_subsets
from seaway.api.endpoints.types import LABEL_MANAGED_BY, EndpointAddress, EndpointPort, Endpoints, EndpointSubset
from seaway.api.endpointslice.types import LABEL_HEADLESS
from seaway.api.machinery.meta import ObjectMeta, ObjectReference
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpoints.truncate import MAX_ADDRESSES, truncate_subsets
from seaway.controllers.endpointslice.endpoint import is_eligible, make_endpoint, resolve_ports
from seaway.net.family import Family, family_of

MANAGED_BY = "endpoint-controller"
ANNOTATION_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
ANNOTATION_OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ANNOTATION_LEADER = "control-plane.alpha.kubernetes.io/leader"
"""On Endpoints that are a lock of old leader elections, which no Service has."""
TRUNCATED = "truncated"

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EndpointsWrite:
    """The object as it should be. `replaces`: the one that is there; None makes a new one."""

    subsets: tuple[EndpointSubset, ...]
    labels: Mapping[str, str]
    is_truncated: bool
    replaces: Endpoints | None = None


@dataclass(frozen=True, slots=True)
class EndpointsPlan:
    """At most one of the two."""

    write: EndpointsWrite | None = None
    delete: Endpoints | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return self.write is None and self.delete is None


def plan_endpoints(
    service: Service | None, pods: Iterable[Pod], existing: Endpoints | None, *, max_addresses: int = MAX_ADDRESSES
) -> EndpointsPlan:
    """What makes the Service's Endpoints what they should be; those of a Service that is gone go with it.

    pods: those that the selector selects. Hands off a Service without selector or of type ExternalName.
    A plan for its own result is empty. Rule: spec "controllers" §3.2.
    """
    if service is None:
        return EndpointsPlan(delete=existing)
    if service.spec.type == "ExternalName" or not service.spec.selector:
        return EndpointsPlan()
    if existing is None and service.metadata.deletion_timestamp is not None:
        return EndpointsPlan()
    subsets, is_truncated = truncate_subsets(make_subsets(service, pods), max_addresses)
    write = EndpointsWrite(subsets, render_labels(service), is_truncated, existing)
    return EndpointsPlan() if existing is not None and _is_right(existing, write) else EndpointsPlan(write)


def make_subsets(service: Service, pods: Iterable[Pod]) -> tuple[EndpointSubset, ...]:
    """All endpoints of the Service in their canonical form, however many. Rule: spec "controllers" §3.2, §3.3."""
    includes_all = service.spec.publish_not_ready_addresses
    has_bare_addresses = service.spec.cluster_ip == "None" and not service.spec.ports
    family = choose_family(service)
    found: dict[tuple[EndpointPort, ...], tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    for pod in sorted(pods, key=lambda p: p.metadata.name):
        if not is_eligible(pod) or (pod.metadata.deletion_timestamp is not None and not includes_all):
            continue
        address = make_address(service, pod, family or family_of(_first_ip(pod)))
        resolved = resolve_ports(service, pod)
        if address is None or not (resolved or has_bare_addresses):
            continue
        ports = tuple(EndpointPort(p.name, p.port or 0, p.protocol, p.app_protocol) for p in resolved)
        ready, not_ready = found.setdefault(ports, ([], []))
        (ready if includes_all or pod.is_ready else not_ready).append(address)
    return canonicalize_subsets(EndpointSubset(tuple(a), tuple(b), ports) for ports, (a, b) in found.items())


def choose_family(service: Service) -> Family | None:
    """The primary family; None when the Service does not say, and each Pod's first address decides."""
    spec = service.spec
    if spec.ip_families:
        return Family(spec.ip_families[0])
    return family_of(spec.cluster_ip) if spec.cluster_ip not in ("", "None") else None


def make_address(service: Service, pod: Pod, family: Family) -> EndpointAddress | None:
    """The Pod's first address of the family, or None. A Pod without node names none: the server refuses an empty name.

    Rule: spec "controllers" §3.2, point 5.
    """
    endpoint = make_endpoint(service, pod, None, family)
    if endpoint is None:
        return None
    return EndpointAddress(endpoint.addresses[0], endpoint.hostname or "", endpoint.node_name, endpoint.target_ref)


def render_labels(service: Service) -> dict[str, str]:
    """The Service's labels and the mark of this loop.

    Rule: spec "controllers" §3.5.
    """
    labels = {key: value for key, value in service.metadata.labels.items() if key != LABEL_HEADLESS}
    labels[LABEL_MANAGED_BY] = MANAGED_BY
    if service.spec.cluster_ip in ("", "None"):
        labels[LABEL_HEADLESS] = ""
    return labels


def render_endpoints(service: Service, write: EndpointsWrite, trigger_time: str | None) -> Json:
    """The object to send. What others put on it (annotations, finalizers, owners) stays.

    Rule: spec "controllers" §3.5.
    """
    old = write.replaces.metadata if write.replaces is not None else ObjectMeta()
    own = (ANNOTATION_TRIGGER_TIME, ANNOTATION_OVER_CAPACITY)
    annotations = {key: value for key, value in old.annotations.items() if key not in own}
    if trigger_time is not None:
        annotations[ANNOTATION_TRIGGER_TIME] = trigger_time
    if write.is_truncated:
        annotations[ANNOTATION_OVER_CAPACITY] = TRUNCATED
    meta: Json = {
        "name": service.metadata.name,
        "namespace": service.metadata.namespace,
        "labels": dict(write.labels),
        "annotations": annotations,
    }
    if write.replaces is not None:
        meta["resourceVersion"] = old.resource_version
        meta["finalizers"] = list(old.finalizers)
        meta["ownerReferences"] = [
            {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name, "uid": ref.uid,
             "controller": ref.controller, "blockOwnerDeletion": ref.block_owner_deletion}
            for ref in old.owner_references
        ]  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {key: value for key, value in meta.items() if value},
        "subsets": [_render_subset(subset) for subset in write.subsets],
    }


def _is_right(existing: Endpoints, write: EndpointsWrite) -> bool:
    """A stored object in another order says the same. Unlike upstream's, a truncated one can be right, and is left."""
    annotation = existing.metadata.annotations.get(ANNOTATION_OVER_CAPACITY)
    if annotation != (TRUNCATED if write.is_truncated else None) or existing.metadata.labels != write.labels:
        return False
    return existing.subsets == write.subsets or canonicalize_subsets(existing.subsets) == write.subsets


def _first_ip(pod: Pod) -> str:
    return pod.status.pod_ip or pod.status.pod_ips[0].ip


def _render_subset(subset: EndpointSubset) -> Json:
    rendered: Json = {}
    for key, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
        if addresses:
            rendered[key] = [_render_address(address) for address in addresses]
    if subset.ports:
        rendered["ports"] = [_render_port(port) for port in subset.ports]
    return rendered


def _render_address(address: EndpointAddress) -> Json:
    rendered: Json = {"ip": address.ip}
    if address.hostname:
        rendered["hostname"] = address.hostname
    if address.node_name is not None:
        rendered["nodeName"] = address.node_name
    ref = address.target_ref
    if ref is not None:
        rendered["targetRef"] = _render_reference(ref)
    return rendered


def _render_reference(ref: ObjectReference) -> Json:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name, "uid": ref.uid}


def _render_port(port: EndpointPort) -> Json:
    rendered: Json = {"name": port.name, "port": port.port, "protocol": port.protocol}
    if port.app_protocol is not None:
        rendered["appProtocol"] = port.app_protocol
    return {key: value for key, value in rendered.items() if value != ""}
