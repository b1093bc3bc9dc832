"""The words in which the roles of this server are written: groups, verbs, and rules of them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

CORE, APPS, BATCH, POLICY = "", "apps", "batch", "policy"
COORDINATION, DISCOVERY, NETWORKING = "coordination.k8s.io", "discovery.k8s.io", "networking.k8s.io"
AUTHENTICATION, AUTHORIZATION, RBAC = "authentication.k8s.io", "authorization.k8s.io", "rbac.authorization.k8s.io"
ANY = "*"
GET, LIST_WATCH, READ = ("get",), ("list", "watch"), ("get", "list", "watch")
CREATE, UPDATE = ("create",), ("update",)
WRITE = ("create", "delete", "deletecollection", "patch", "update")
ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def rule(verbs: tuple[str, ...], group: str, *resources: str, names: tuple[str, ...] = ()) -> Json:
    """A PolicyRule over resources of one group."""
    made: Json = {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources)}
    return {**made, "resourceNames": list(names)} if names else made


def paths(*urls: str) -> Json:
    """A PolicyRule that allows to GET the paths."""
    return {"verbs": ["get"], "nonResourceURLs": list(urls)}


EVENTS = {"verbs": ["create", "patch", "update"], "apiGroups": [CORE, "events.k8s.io"], "resources": ["events"]}
"""To say what happened, by either of the two APIs of Events."""
