"""What is refused although RBAC allows it: creates where the namespace is missing or ending, and what is not a
node's own.

Rule: spec "api-machinery" §8.3 (namespaces), §10.4 (nodes); design §12 (Pod status is written only by its own node).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seaway.api.machinery.errors import ApiError, Forbidden, make_not_found
from seaway.api.machinery.http import Identity
from seaway.api.registry import Resource
from seaway.apiserver.rbac import Attributes, make_forbidden
from seaway.apiserver.record import Record

Json = Mapping[str, Any]
IMMORTAL_NAMESPACES = frozenset(("default", "kube-public", "kube-system"))
NODES_GROUP = "system:nodes"
_NODE_PREFIX = "system:node:"
_NODE_LEASE_NAMESPACE = "kube-node-lease"
_WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))


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


def node_name_of(identity: Identity) -> str | None:
    """The node that speaks, or None for everybody else."""
    if NODES_GROUP in identity.groups and identity.user.startswith(_NODE_PREFIX):
        return identity.user.removeprefix(_NODE_PREFIX)
    return None


def find_node_refusal(node: str, asked: Attributes, subject: Json | None, pods: Iterable[Record]) -> str | None:
    """Why the node may not do that, or None.

    subject: the object as stored, or as it shall be created; None where there is none.
    pods: all Pods, looked at only for the Secrets and ConfigMaps that they use.
    """
    if asked.resource in ("secrets", "configmaps"):
        return _find_reading_refusal(node, asked, pods)
    if asked.verb not in _WRITES:
        return None
    match asked.resource:
        case "nodes":
            name = asked.name or _name_of(subject)
            return None if name == node else f'node "{node}" is not allowed to modify node "{name}"'
        case "pods":
            if subject is None or subject.get("spec", {}).get("nodeName", "") == node:
                return None
            return f'node "{node}" can only touch pods with spec.nodeName set to itself'
        case "leases":
            if asked.namespace != _NODE_LEASE_NAMESPACE:
                return f"can only access leases in the {_NODE_LEASE_NAMESPACE!r} system namespace".replace("'", '"')
            name = asked.name or _name_of(subject)
            return None if name == node else "can only access node lease with the same name as the requesting node"
    return None


def _find_reading_refusal(node: str, asked: Attributes, pods: Iterable[Record]) -> str | None:
    """A node reads by name what its own Pods use, and lists nothing."""
    if asked.verb not in ("get", "list", "watch") or not asked.name or not asked.namespace:
        return f"no relationship found between node '{node}' and this object"
    quoted = f'"{asked.name}"'.encode()
    for pod in pods:
        if pod.find_field("spec.nodeName") == node and pod.namespace == asked.namespace and quoted in pod.body:
            return None
    return f"no relationship found between node '{node}' and this object"


def _name_of(subject: Json | None) -> str:
    return "" if subject is None else str(subject["metadata"].get("name", ""))
