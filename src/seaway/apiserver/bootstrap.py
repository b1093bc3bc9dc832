"""The objects that a server makes for itself: namespaces, RBAC roles and bindings.

Rule: spec "api-machinery" §8.3 (namespaces), §10.4 (roles). `seaway:dns` is a role of our own: upstream's lacks
EndpointSlices.
"""

from __future__ import annotations

from typing import Any

from seaway.api.registry import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Resource

Json = dict[str, Any]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
RBAC_GROUP = "rbac.authorization.k8s.io"
_CORE, _DISCOVERY, _LEASES, _NETWORKING = "", "discovery.k8s.io", "coordination.k8s.io", "networking.k8s.io"
_EVENT_GROUPS = ("", "events.k8s.io")
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_HEALTH = ("/livez", "/readyz", "/healthz", "/version", "/version/")
_DISCOVERY_PATHS = (*_HEALTH, "/openapi", "/openapi/*", "/api", "/api/*", "/apis", "/apis/*")


def _rule(verbs: tuple[str, ...], groups: tuple[str, ...], *resources: str) -> Json:
    return {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}


def _paths(*paths: str) -> Json:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_EVENTS = _rule(("create", "patch", "update"), _EVENT_GROUPS, "events")
_VIEWED = ("configmaps", "endpoints", "events", "namespaces", "pods", "pods/log", "serviceaccounts", "services")
_EDITED = ("configmaps", "pods", "secrets", "serviceaccounts", "services")
_VIEW = [
    _rule(_READ, (_CORE,), *_VIEWED, "services/status", "pods/status", "namespaces/status"),
    _rule(_READ, (_DISCOVERY,), "endpointslices"),
]
_EDIT = [
    *_VIEW,
    _rule(_WRITE, (_CORE,), *_EDITED),
    _rule(_READ, (_CORE,), "secrets"),
    _rule(_ALL, (_LEASES,), "leases"),
]

ROLE_RULES: dict[str, list[Json]] = {
    "cluster-admin": [_rule(("*",), ("*",), "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "admin": [*_EDIT, _rule(_ALL, (RBAC_GROUP,), "rolebindings", "roles")],
    "edit": _EDIT,
    "view": _VIEW,
    "system:discovery": [_paths(*_DISCOVERY_PATHS)],
    "system:public-info-viewer": [_paths(*_HEALTH)],
    "system:basic-user": [
        _rule(("create",), ("authorization.k8s.io",), "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _rule(("create",), ("authentication.k8s.io",), "selfsubjectreviews"),
    ],
    "system:monitoring": [
        _paths("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*")
    ],
    "system:node-proxier": [
        _rule(("list", "watch"), (_CORE,), "endpoints", "services"),
        _rule(_READ, (_CORE,), "nodes"),
        _rule(("list", "watch"), (_DISCOVERY,), "endpointslices"),
        _rule(("list", "watch"), (_NETWORKING,), "servicecidrs"),
        _EVENTS,
    ],
    "system:kube-dns": [_rule(("list", "watch"), (_CORE,), "endpoints", "services")],
    "seaway:dns": [
        _rule(_READ, (_CORE,), "endpoints", "namespaces", "nodes", "pods", "services"),
        _rule(_READ, (_DISCOVERY,), "endpointslices"),
        _EVENTS,
    ],
    # One process runs all loops with one identity, so this role is the sum of upstream's system:controller:* roles.
    "system:kube-controller-manager": [
        _rule(_READ, ("*",), "*"),
        _rule(("delete", "deletecollection", "patch", "update"), ("*",), "*"),
        _rule(("create",), (_DISCOVERY,), "endpointslices", "endpointslices/restricted"),
        _rule(("create",), (_CORE,), "endpoints", "endpoints/restricted", "pods/binding", "pods/eviction", "bindings"),
        _rule(("create",), (_CORE,), "configmaps", "pods", "serviceaccounts", "serviceaccounts/token", "secrets"),
        _rule(("create",), (_LEASES,), "leases"),
        _rule(("create",), (_NETWORKING,), "ipaddresses", "servicecidrs"),
        _rule(("create",), ("authentication.k8s.io",), "tokenreviews"),
        _rule(("create",), ("authorization.k8s.io",), "subjectaccessreviews"),
        _EVENTS,
    ],
    "system:node": [
        _rule(_READ, (_CORE,), "services", "pods", "nodes"),
        _rule(_READ, (_DISCOVERY,), "endpointslices"),
        _rule(("create", "patch", "update"), (_CORE,), "nodes", "nodes/status"),
        _rule(("patch", "update"), (_CORE,), "pods/status"),
        _rule(("delete",), (_CORE,), "pods"),
        _rule(("create",), (_CORE,), "pods/eviction", "serviceaccounts/token"),
        _rule(("get", "list", "watch"), (_CORE,), "configmaps", "secrets"),
        _rule(("get",), (_CORE,), "namespaces", "serviceaccounts"),
        _rule(("create", "delete", "get", "patch", "update"), (_LEASES,), "leases"),
        _EVENTS,
    ],
}

_GROUPS, _USERS = "Group", "User"
BINDINGS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "cluster-admin": ("cluster-admin", ((_GROUPS, "system:masters"),)),
    "system:discovery": ("system:discovery", ((_GROUPS, "system:authenticated"),)),
    "system:public-info-viewer": (
        "system:public-info-viewer",
        ((_GROUPS, "system:authenticated"), (_GROUPS, "system:unauthenticated")),
    ),
    "system:basic-user": ("system:basic-user", ((_GROUPS, "system:authenticated"),)),
    "system:monitoring": ("system:monitoring", ((_GROUPS, "system:monitoring"),)),
    "system:node-proxier": ("system:node-proxier", ((_USERS, "system:kube-proxy"),)),
    "system:kube-controller-manager": (
        "system:kube-controller-manager",
        ((_USERS, "system:kube-controller-manager"),),
    ),
    "system:node": ("system:node", ((_GROUPS, "system:nodes"),)),
    "seaway:dns": ("seaway:dns", ((_USERS, "seaway:dns"),)),
}


def make_rbac_objects() -> list[tuple[Resource, Json]]:
    """Every bootstrap role and binding, sorted by kind and name."""
    objects: list[tuple[Resource, Json]] = []
    for name in sorted(ROLE_RULES):
        objects.append((CLUSTER_ROLES, {**_head("ClusterRole", name), "rules": ROLE_RULES[name]}))
    for name in sorted(BINDINGS):
        role, subjects = BINDINGS[name]
        listed = [{"kind": kind, "apiGroup": RBAC_GROUP, "name": subject} for kind, subject in subjects]
        reference = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role}
        binding = {**_head("ClusterRoleBinding", name), "subjects": listed, "roleRef": reference}
        objects.append((CLUSTER_ROLE_BINDINGS, binding))
    return objects


def make_namespace(name: str) -> Json:
    """A Namespace as a client would create it."""
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def _head(kind: str, name: str) -> Json:
    return {
        "kind": kind,
        "apiVersion": f"{RBAC_GROUP}/v1",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
    }
