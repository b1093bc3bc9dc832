"""EndpointSlice as readers see it. Rule: spec "service-api" §9.3, "controllers" §1.7."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, ObjectReference, Reader

LABEL_SERVICE_NAME = "kubernetes.io/service-name"
LABEL_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
LABEL_HEADLESS = "service.kubernetes.io/headless"


class EndpointPort(Reader, frozen=True):
    """`port` None means all ports."""

    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str | None = None


class EndpointConditions(Reader, frozen=True):
    """None is unknown: read it as the properties of `Endpoint` do."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Reader, frozen=True):
    name: str = ""


class ForNode(Reader, frozen=True):
    name: str = ""


class EndpointHints(Reader, frozen=True):
    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class Endpoint(Reader, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None

    @property
    def is_ready(self) -> bool:
        """Unset counts as ready."""
        return self.conditions.ready is not False

    @property
    def is_serving(self) -> bool:
        """Unset follows ready."""
        return self.is_ready if self.conditions.serving is None else self.conditions.serving

    @property
    def is_terminating(self) -> bool:
        """Unset counts as not terminating."""
        return self.conditions.terminating is True


class EndpointSlice(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None
