"""A slice as it is sent. Rule: spec "controllers" §1.7, §1.8, §1.11, §1.13."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from seaway.api.endpointslice.types import (
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
)
from seaway.api.endpointslice.weights import ANNOTATION_WEIGHTS
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.service.types import Service

MANAGED_BY = "endpointslice-controller.k8s.io"
ANNOTATION_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"

_RESERVED_LABELS = frozenset((LABEL_SERVICE_NAME, LABEL_MANAGED_BY, LABEL_HEADLESS))
_MAX_NAME = 253

Json: TypeAlias = dict[str, Any]


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
    weights: str | None = None
    """The annotation of weights; None: there is none."""
    is_recycled: bool = False


def render_labels(service: Service) -> dict[str, str]:
    """The labels of the Service's slices. Rule: spec "controllers" §1.8."""
    labels = list_free_labels(service.metadata)
    labels[LABEL_SERVICE_NAME] = service.metadata.name
    labels[LABEL_MANAGED_BY] = MANAGED_BY
    if service.spec.cluster_ip in ("", "None"):
        labels[LABEL_HEADLESS] = ""
    return labels


def list_free_labels(meta: ObjectMeta) -> dict[str, str]:
    """The labels that the Service has in common with its slices: all but those that the controller gives."""
    return {key: value for key, value in meta.labels.items() if key not in _RESERVED_LABELS}


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
    annotations.pop(ANNOTATION_WEIGHTS, None)
    if write.weights is not None:
        annotations[ANNOTATION_WEIGHTS] = write.weights
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
    if endpoint.hints is not None:
        rendered["hints"] = _render_hints(endpoint.hints)
    return rendered


def _render_hints(hints: EndpointHints) -> Json:
    rendered: Json = {}
    if hints.for_zones:
        rendered["forZones"] = [{"name": zone.name} for zone in hints.for_zones]
    if hints.for_nodes:
        rendered["forNodes"] = [{"name": node.name} for node in hints.for_nodes]
    return rendered
