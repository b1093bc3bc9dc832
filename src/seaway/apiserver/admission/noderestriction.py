"""What a node may touch of the kinds that its role allows: its own Node, Pods and Lease, and what its Pods use.

Rule: spec "api-machinery" §10.4 (Node authorizer, NodeRestriction); design §12 (a Pod's status is written only by its
own node). The texts are upstream's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.rbac import Attributes
from seaway.apiserver.record import Record, decode_object

Json = Mapping[str, Any]
NODES_GROUP = "system:nodes"
READ_BY_USE = frozenset(("configmaps", "secrets", "serviceaccounts"))
"""Kinds that a node reads one by one, and only what its own Pods name."""
_NODE_PREFIX = "system:node:"
_NODE_LEASE_NAMESPACE = "kube-node-lease"
_MIRROR = "kubernetes.io/config.mirror"
_WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_READS = frozenset(("get", "list", "watch"))
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
# The labels under kubernetes.io and k8s.io that an agent may set on its own Node. Rule: upstream's list.
_OWN_LABELS = frozenset((
    "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os", "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
))  # fmt: skip
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_GUARDED_DOMAINS = ("kubernetes.io", "k8s.io")


@dataclass(frozen=True, slots=True)
class PodUses:
    """What a Pod names: (resource, name) pairs, and the audiences of the tokens that are mounted into it."""

    objects: frozenset[tuple[str, str]]
    audiences: frozenset[str]


def node_name_of(identity: Identity) -> str | None:
    """The node that speaks, or None for everybody else."""
    if identity.user.startswith(_NODE_PREFIX) and NODES_GROUP in identity.groups:
        return identity.user.removeprefix(_NODE_PREFIX)
    return None


def find_use_refusal(node: str, asked: Attributes, pods: Iterable[Record]) -> str | None:
    """Why the node may not read that object or get its token, or None. pods: at least those of the namespace."""
    if asked.subresource == "token" and asked.verb == "create":
        if not asked.name:
            return "can only create tokens for individual service accounts"
    elif asked.verb not in _READS:
        return "can only read resources of this type"
    elif asked.subresource:
        return "cannot read subresource"
    if not asked.name:
        return "No Object name found"
    if not asked.namespace:
        return "can only read namespaced object of this type"
    wanted = (asked.resource, asked.name)
    for pod in pods:
        if (
            pod.namespace == asked.namespace
            and pod.find_field("spec.nodeName") == node
            and wanted in find_pod_uses(pod.body).objects
        ):
            return None
    return f"no relationship found between node '{node}' and this object"


@functools.lru_cache(maxsize=1024)
def find_pod_uses(body: bytes) -> PodUses:
    """What the Pod's specification names. An unknown kind of volume counts by its `secretRef` and `secretName`."""
    spec = decode_object(body).get("spec") or {}
    objects = set(_find_container_uses(spec)) | {("serviceaccounts", spec.get("serviceAccountName") or "default")}
    objects |= {("secrets", entry.get("name", "")) for entry in spec.get("imagePullSecrets") or ()}
    audiences: set[str] = set()
    for volume in spec.get("volumes") or ():
        objects |= set(_find_volume_uses(volume))
        for part in (volume.get("projected") or {}).get("sources") or ():
            objects |= set(_find_volume_uses(part))
            if (token := part.get("serviceAccountToken")) is not None:
                audiences.add(token.get("audience") or "")
    return PodUses(frozenset(objects), frozenset(audiences))


def _find_container_uses(spec: Json) -> Iterator[tuple[str, str]]:
    for container in (c for field in _CONTAINERS for c in spec.get(field) or ()):
        sources = [*(container.get("envFrom") or ()), *(e.get("valueFrom") or {} for e in container.get("env") or ())]
        for source in sources:
            for field, plural in (
                ("secretRef", "secrets"), ("secretKeyRef", "secrets"),
                ("configMapRef", "configmaps"), ("configMapKeyRef", "configmaps"),
            ):  # fmt: skip
                if reference := source.get(field):
                    yield plural, reference.get("name", "")


def _find_volume_uses(volume: Json) -> Iterator[tuple[str, str]]:
    """Of a volume, or of a part of a projected one."""
    for kind, source in volume.items():
        if not isinstance(source, dict):
            continue
        if kind == "configMap":
            yield "configmaps", source.get("name", "")
        elif kind == "secret":
            yield "secrets", source.get("secretName") or source.get("name", "")
        else:
            for field in ("secretRef", "nodePublishSecretRef"):
                if isinstance(reference := source.get(field), dict):
                    yield "secrets", reference.get("name", "")
            if source.get("secretName"):
                yield "secrets", source["secretName"]


def find_write_refusal(node: str, asked: Attributes, old: Json | None, new: Json | None) -> str | None:
    """Why the node may not write that, or None. old: as stored; new: as it shall be; None where there is none."""
    if asked.verb not in _WRITES:
        return None
    match asked.resource:
        case "nodes":
            return _find_node_refusal(node, asked, old, new)
        case "pods":
            return _find_pod_refusal(node, asked, old, new)
        case "leases":
            return _find_lease_refusal(node, asked, new)
    return None


def _find_node_refusal(node: str, asked: Attributes, old: Json | None, new: Json | None) -> str | None:
    name = asked.name or _name_of(new)
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if new is None:
        return None
    labels = _find_guarded_labels(_meta(old, "labels"), _meta(new, "labels"))
    if old is None:
        return f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}' if labels else None
    if _taints(old) != _taints(new):
        return f'node "{node}" is not allowed to modify taints'
    if labels:
        return f'node "{node}" is not allowed to modify labels: {", ".join(labels)}'
    if (_meta(old, "ownerReferences") or []) != (_meta(new, "ownerReferences") or []):
        return f'node "{node}" is not allowed to modify ownerReferences'
    return None


def _find_guarded_labels(old: Json | None, new: Json | None) -> list[str]:
    """The labels that differ and are not an agent's to set, sorted."""
    before, after = old or {}, new or {}
    changed = {key for key in (*before, *after) if before.get(key) != after.get(key)}
    return sorted(key for key in changed if not _is_free_label(key))


def _is_free_label(key: str) -> bool:
    domain, slash, _ = key.partition("/")
    if not slash or not _is_under(domain, _GUARDED_DOMAINS):
        return True
    return key in _OWN_LABELS or _is_under(domain, _OWN_PREFIXES)


def _is_under(domain: str, parents: Iterable[str]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _find_pod_refusal(node: str, asked: Attributes, old: Json | None, new: Json | None) -> str | None:
    own = f'node "{node}"'
    if asked.verb == "create" and not asked.subresource:
        if _MIRROR not in (_meta(new, "annotations") or {}):
            return f'pod does not have "{_MIRROR}" annotation, {own} can only create mirror pods'
        if _node_of(new) != node:
            return f"{own} can only create pods with spec.nodeName set to itself"
        uses = find_mirror_uses(new)
        return f"{own} can not create pods that reference {uses}" if uses else None
    if _node_of(old) == node:
        if asked.subresource == "status" and new is not None and _meta(old, "labels") != _meta(new, "labels"):
            return f"{own} cannot update labels through pod status"
        return None
    if asked.subresource == "eviction":
        return f"{own} can only evict pods with spec.nodeName set to itself"
    if asked.subresource == "status":
        return f"{own} can only update pod status for pods with spec.nodeName set to itself"
    act = "delete" if asked.verb in ("delete", "deletecollection") else "update"
    return f"{own} can only {act} pods with spec.nodeName set to itself"


def find_mirror_uses(pod: Json | None) -> str:
    """What a mirror Pod names and may not: else a node would read any Secret by mirroring a Pod that uses it."""
    spec = (pod or {}).get("spec") or {}
    volumes = spec.get("volumes") or ()
    parts = [*volumes, *(p for v in volumes for p in (v.get("projected") or {}).get("sources") or ())]
    found = {plural for plural, _ in _find_container_uses(spec)}
    found |= {plural for part in parts for plural, _ in _find_volume_uses(part)}
    found |= {"service account tokens" for part in parts if part.get("serviceAccountToken") is not None}
    found |= {"secrets"} if spec.get("imagePullSecrets") else set()
    return sorted(found)[0] if found else ""


def _find_lease_refusal(node: str, asked: Attributes, new: Json | None) -> str | None:
    if asked.namespace != _NODE_LEASE_NAMESPACE:
        return f'can only access leases in the "{_NODE_LEASE_NAMESPACE}" system namespace'
    name = asked.name or _name_of(new)
    return None if name == node else "can only access node lease with the same name as the requesting node"


def find_token_refusal(node: str, request: Json, pod: Record | None) -> str | None:
    """Why the node may not have that token, or None: only for a Pod that it runs. pod: the one that is named.

    The request is valid, so a Pod that is named exists and has the UID.
    """
    spec = request.get("spec") or {}
    reference = spec.get("boundObjectRef") or {}
    if reference.get("kind") != "Pod" or not reference.get("name"):
        return "node requested token not bound to a pod"
    if not reference.get("uid"):
        return "node requested token with a pod binding without a uid"
    if pod is None or pod.find_field("spec.nodeName") != node:
        return "node requested token bound to a pod scheduled on a different node"
    audiences = find_pod_uses(pod.body).audiences
    for audience in spec.get("audiences") or ("",):
        if audience not in audiences:
            who = f"{node} is not authorized to request this audience"
            return f'audience "{audience}" not found in pod spec volume, {who}'
    return None


def _taints(node: Json) -> Any:
    return (node.get("spec") or {}).get("taints") or []


def _node_of(pod: Json | None) -> str:
    return str(((pod or {}).get("spec") or {}).get("nodeName") or "")


def _meta(obj: Json | None, field: str) -> Any:
    return None if obj is None else obj["metadata"].get(field)


def _name_of(obj: Json | None) -> str:
    return "" if obj is None else str(obj["metadata"].get("name", ""))
