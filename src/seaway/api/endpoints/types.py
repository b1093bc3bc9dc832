"""Endpoints as readers see it. Rule: spec "service-api" §9.1."""

from __future__ import annotations

import msgspec

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


class PackedEndpoints(Reader, frozen=True):
    """Endpoints for a cache that is compared now and again: subsets stay as they were sent, a quarter of the size."""

    metadata: ObjectMeta = ObjectMeta()
    subsets: msgspec.Raw = msgspec.Raw(b"[]")

    def __post_init__(self) -> None:
        """What was decoded is a view of the whole message, which it would keep."""
        msgspec.structs.force_setattr(self, "subsets", self.subsets.copy())

    def unpack(self) -> Endpoints:
        """The whole object."""
        return Endpoints(self.metadata, _decode_subsets(self.subsets) or ())


_decode_subsets = msgspec.json.Decoder(tuple[EndpointSubset, ...] | None).decode
