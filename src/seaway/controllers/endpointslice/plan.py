"""The EndpointSlices that a Service should have, and the writes that lead there.

Rule: spec "controllers" §1.2 to §1.11. Left out: hints (§2), which no traffic policy that is served today reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from seaway.api.endpointslice.types import (
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointPort,
    EndpointSlice,
)
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.endpoint import choose_families, is_eligible, make_endpoint, resolve_ports
from seaway.controllers.endpointslice.pack import EndpointKey, identify_endpoint, pack_endpoints
from seaway.net.family import Family

MANAGED_BY = "endpointslice-controller.k8s.io"
ANNOTATION_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
MAX_ENDPOINTS = 100
"""Per slice; upstream's `--max-endpoints-per-slice`."""

_RESERVED_LABELS = frozenset((LABEL_SERVICE_NAME, LABEL_MANAGED_BY, LABEL_HEADLESS))
_MAX_NAME = 253

Json: TypeAlias = dict[str, Any]
PortMap: TypeAlias = frozenset[EndpointPort]
Memo: TypeAlias = MutableMapping[tuple[str, Family], tuple[Pod, Service, Node | None, Endpoint | None]]


@dataclass(frozen=True, slots=True)
class SliceWrite:
    """One slice as it should be. `replaces`: the slice whose name it takes; None makes a new one.

    A recycled slice replaces one of other content, whatever its version.
    """

    address_type: str
    ports: tuple[EndpointPort, ...]
    endpoints: tuple[Endpoint, ...]
    labels: Mapping[str, str]
    replaces: EndpointSlice | None = None
    is_recycled: bool = False


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """The writes, to be applied in the order of the fields. `skipped` are Pods on nodes that do not exist."""

    create: tuple[SliceWrite, ...] = ()
    update: tuple[SliceWrite, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be written."""
        return not (self.create or self.update or self.delete)


def is_managed(slice_: EndpointSlice) -> bool:
    """The slice is this controller's to write."""
    return slice_.metadata.labels.get(LABEL_MANAGED_BY) == MANAGED_BY


def plan_slices(
    service: Service,
    pods: Iterable[Pod],
    nodes: Mapping[str, Node],
    existing: Iterable[EndpointSlice],
    *,
    max_endpoints: int = MAX_ENDPOINTS,
    memo: Memo | None = None,
) -> SlicePlan:
    """The writes that make the Service's slices what they should be; none for a Service without selector.

    pods: those that the selector selects. existing: the Service's slices that `is_managed`, none being deleted.
    memo: keeps endpoints of Pods that have not changed; it alone is modified.
    A plan for its own result is empty. Rule: spec "controllers" §1.2, §1.9.
    """
    if service.spec.type == "ExternalName" or not service.spec.selector:
        return SlicePlan()
    memo = {} if memo is None else memo
    slices = sorted(existing, key=lambda s: s.metadata.name)
    eligible, skipped = _choose_pods(service, pods, nodes)
    families = choose_families(service)
    served = {family.value for family in families}
    create: list[SliceWrite] = []
    update: list[SliceWrite] = []
    delete = [s for s in slices if s.address_type not in served]
    for family in families:
        ours = [s for s in slices if s.address_type == family.value]
        groups = _group_endpoints(service, eligible, nodes, family, memo)
        created, updated, deleted = _plan_family(service, family, groups, ours, max_endpoints)
        create += created
        update += updated
        delete += deleted
    create, recycled, delete = _recycle(service, create, delete)
    if service.metadata.deletion_timestamp is not None:
        create = []
    return SlicePlan(tuple(create), tuple(update + recycled), tuple(delete), skipped)


def render_labels(service: Service) -> dict[str, str]:
    """The labels of the Service's slices. Rule: spec "controllers" §1.8."""
    labels = _free_labels(service.metadata)
    labels[LABEL_SERVICE_NAME] = service.metadata.name
    labels[LABEL_MANAGED_BY] = MANAGED_BY
    if service.spec.cluster_ip in ("", "None"):
        labels[LABEL_HEADLESS] = ""
    return labels


def render_slice(service: Service, write: SliceWrite, trigger_time: str | None) -> Json:
    """The object to send. What others put on a slice (annotations, finalizers) stays, except when it is recycled.

    Rule: spec "controllers" §1.7, §1.11, §1.13.
    """
    meta: Json = {"namespace": service.metadata.namespace, "labels": dict(write.labels)}
    prefix = f"{service.metadata.name}-"
    meta["generateName"] = prefix if len(prefix) <= _MAX_NAME else service.metadata.name
    annotations: dict[str, str] = {}
    if write.replaces is not None:
        old = write.replaces.metadata
        meta["name"] = old.name
        if not write.is_recycled:
            meta["resourceVersion"] = old.resource_version
            annotations = {k: v for k, v in old.annotations.items() if k != ANNOTATION_TRIGGER_TIME}
            if old.finalizers:
                meta["finalizers"] = list(old.finalizers)
    if trigger_time is not None:
        annotations[ANNOTATION_TRIGGER_TIME] = trigger_time
    if annotations:
        meta["annotations"] = annotations
    meta["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": service.metadata.name,
            "uid": service.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": write.address_type,
        "ports": [_render_port(port) for port in write.ports],
        "endpoints": [_render_endpoint(endpoint) for endpoint in write.endpoints],
    }


def _choose_pods(service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node]) -> tuple[list[Pod], tuple[str, ...]]:
    """The Pods that become endpoints, by name, and a line for each that its missing node keeps out."""
    chosen: list[Pod] = []
    skipped: list[str] = []
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    for pod in sorted(pods, key=lambda p: p.metadata.name):
        if not is_eligible(pod):
            continue
        if pod.spec.node_name in nodes or service.spec.publish_not_ready_addresses:
            chosen.append(pod)
        else:
            node = pod.spec.node_name
            skipped.append(f"skipping Pod {pod.metadata.name} for Service {key}: Node {node} Not Found")
    return chosen, tuple(skipped)


@dataclass(frozen=True, slots=True)
class _Group:
    """The endpoints of one set of resolved ports; those of Pods without an address of the family are missing."""

    ports: tuple[EndpointPort, ...]
    endpoints: dict[EndpointKey, Endpoint]


def _group_endpoints(
    service: Service, pods: Sequence[Pod], nodes: Mapping[str, Node], family: Family, memo: Memo
) -> dict[PortMap, _Group]:
    has_named_port = any(isinstance(port.target_port, str) for port in service.spec.ports)
    groups: dict[PortMap, _Group] = {}
    group: _Group | None = None
    for pod in pods:
        if group is None or has_named_port:
            ports = resolve_ports(service, pod)
            group = groups.setdefault(frozenset(ports), _Group(ports, {}))
        endpoint = _recall_endpoint(service, pod, nodes.get(pod.spec.node_name), family, memo)
        if endpoint is not None:
            group.endpoints[identify_endpoint(endpoint)] = endpoint
    return groups


def _recall_endpoint(service: Service, pod: Pod, node: Node | None, family: Family, memo: Memo) -> Endpoint | None:
    """The endpoint, made anew only when one of the (immutable) objects that it depends on is another."""
    key = (pod.metadata.name, family)
    known = memo.get(key)
    if known is not None and known[0] is pod and known[1] is service and known[2] is node:
        return known[3]
    endpoint = make_endpoint(service, pod, node, family)
    memo[key] = (pod, service, node, endpoint)
    return endpoint


def _plan_family(
    service: Service,
    family: Family,
    groups: Mapping[PortMap, _Group],
    existing: Sequence[EndpointSlice],
    max_endpoints: int,
) -> tuple[list[SliceWrite], list[SliceWrite], list[EndpointSlice]]:
    """What to create, update and delete among the slices of one address type."""
    labels = render_labels(service)
    free_labels = _free_labels(service.metadata)
    owned: dict[PortMap, list[EndpointSlice]] = {}
    delete: list[EndpointSlice] = []
    for slice_ in existing:
        ports = frozenset(slice_.ports or ())
        if _is_owned(service, slice_) and ports in groups:
            owned.setdefault(ports, []).append(slice_)
        else:
            delete.append(slice_)
    create: list[SliceWrite] = []
    update: list[SliceWrite] = []
    has_unchanged = False
    for key, group in sorted(groups.items(), key=lambda item: _sort_ports(item[1].ports)):
        packing = pack_endpoints(
            owned.get(key, ()),
            group.endpoints,
            max_endpoints=max_endpoints,
            needs_rewrite=lambda slice_: _free_labels(slice_.metadata) != free_labels,
        )
        create += [SliceWrite(family.value, group.ports, found, labels) for found in packing.create]
        update += [SliceWrite(family.value, group.ports, found, labels, slice_) for slice_, found in packing.update]
        delete += packing.delete
        has_unchanged = has_unchanged or bool(packing.unchanged)
    if not (create or update or has_unchanged):
        if len(delete) == 1 and _is_owned(service, delete[0]) and _is_placeholder(delete[0], labels):
            delete = []
        else:
            create.append(SliceWrite(family.value, (), (), labels))
    return create, update, delete


def _recycle(
    service: Service, create: Sequence[SliceWrite], delete: Sequence[EndpointSlice]
) -> tuple[list[SliceWrite], list[SliceWrite], list[EndpointSlice]]:
    """One update instead of a delete and a create. Slices of another owner are being collected, and are left alone.

    Rule: spec "controllers" §1.11.
    """
    creating, recycled, deleting = list(create), list[SliceWrite](), list[EndpointSlice]()
    for slice_ in delete:
        if creating and creating[-1].address_type == slice_.address_type and _is_owned(service, slice_):
            new = creating.pop()
            recycled.append(
                SliceWrite(new.address_type, new.ports, new.endpoints, new.labels, replaces=slice_, is_recycled=True)
            )
        else:
            deleting.append(slice_)
    return creating, recycled, deleting


def _is_owned(service: Service, slice_: EndpointSlice) -> bool:
    return any(
        ref.uid == service.metadata.uid and ref.kind == "Service" and ref.api_version == "v1"
        for ref in slice_.metadata.owner_references
    )


def _is_placeholder(slice_: EndpointSlice, labels: Mapping[str, str]) -> bool:
    return not slice_.ports and not slice_.endpoints and slice_.metadata.labels == labels


def _free_labels(meta: ObjectMeta) -> dict[str, str]:
    return {key: value for key, value in meta.labels.items() if key not in _RESERVED_LABELS}


def _sort_ports(ports: Iterable[EndpointPort]) -> list[tuple[str, str, int]]:
    return sorted((port.name, port.protocol, port.port or 0) for port in ports)


def _render_port(port: EndpointPort) -> Json:
    rendered: Json = {"name": port.name, "protocol": port.protocol, "port": port.port}
    if port.app_protocol is not None:
        rendered["appProtocol"] = port.app_protocol
    return rendered


def _render_endpoint(endpoint: Endpoint) -> Json:
    conditions = endpoint.conditions
    rendered: Json = {
        "addresses": list(endpoint.addresses),
        "conditions": {
            "ready": conditions.ready,
            "serving": conditions.serving,
            "terminating": conditions.terminating,
        },
    }
    ref = endpoint.target_ref
    if ref is not None:
        rendered["targetRef"] = {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name, "uid": ref.uid}
    for key, value in (
        ("hostname", endpoint.hostname),
        ("nodeName", endpoint.node_name),
        ("zone", endpoint.zone),
    ):
        if value is not None:
            rendered[key] = value
    return rendered
