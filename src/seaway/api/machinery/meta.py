"""Metadata as readers see it. Unknown fields are ignored; absent ones have their zero value."""

from __future__ import annotations

import msgspec

_CAPITALS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "uid": "UID",
    "dns": "DNS",
}


def wire_name(field_name: str) -> str:
    """The API's spelling of a snake_case name: `cluster_ips` is `clusterIPs`, `ip_families` is `ipFamilies`."""
    first, *rest = field_name.split("_")
    return first + "".join(_CAPITALS.get(part, part.capitalize()) for part in rest)


class Reader(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """Base of what components decode objects into: narrow, frozen, camelCase only on the wire."""


class OwnerReference(Reader, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Reader, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class ObjectReference(Reader, frozen=True):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


def object_key(meta: ObjectMeta) -> str:
    """`namespace/name`, or `name` for an object of cluster scope."""
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
