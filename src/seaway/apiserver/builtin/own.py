"""As whom the server writes what it makes for itself."""

from __future__ import annotations

from seaway.api.machinery.http import Identity
from seaway.api.registry import Resource
from seaway.apiserver.access.rbac import MASTERS, Attributes
from seaway.apiserver.writing.writes import Target

_SELF = Identity("system:apiserver", (MASTERS,))
_MANAGER = "kube-apiserver"
"""Upstream's name for itself in managedFields, which people and tools know."""


def own_target(resource: Resource, namespace: str, name: str, subresource: str = "") -> Target:
    """The object that a write of the server's own is about. name: empty for a create."""
    verb = "update" if name else "create"
    attributes = Attributes(verb, resource.group, resource.plural, subresource, namespace, name)
    return Target(resource, namespace, name, _SELF, attributes, subresource, manager=_MANAGER)
