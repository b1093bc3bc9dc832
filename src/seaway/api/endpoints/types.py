"""Endpoints as readers see it. Rule: spec "service-api" §9.1."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, ObjectReference, Reader

LABEL_MANAGED_BY = "endpoints.kubernetes.io/managed-by"


class EndpointAddress(Reader, frozen=True):
    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Reader, frozen=True):
    name: str = ""
    port: int = 0
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(Reader, frozen=True):
    """Each address with each port; without ports, the addresses alone."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    subsets: tuple[EndpointSubset, ...] = ()
