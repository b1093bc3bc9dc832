"""API objects as narrow as DNS needs them: 100,000 endpoints take 25 MB, and 77 MB with every field.

Attribute names are those of `seaway.api.*.types`, so `msgspec.convert(service, Service, from_attributes=True)`
narrows. What is not read here is not kept, hence two objects that differ in `metadata.resource_version` alone mean
the same answers.
"""

from __future__ import annotations

import msgspec

from seaway.api.endpointslice.types import LABEL_SERVICE_NAME
from seaway.api.machinery.meta import Reader
from seaway.api.service.served import SERVED_AT


class Meta(Reader, frozen=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class ServiceAnnotations(Reader, frozen=True):
    served_at: str = msgspec.field(default="", name=SERVED_AT)


class ServiceMeta(Meta, frozen=True):
    annotations: ServiceAnnotations = ServiceAnnotations()


class ServicePort(Reader, frozen=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0


class ServiceSpec(Reader, frozen=True):
    type: str = "ClusterIP"
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""


class Service(Reader, frozen=True):
    metadata: ServiceMeta = ServiceMeta()
    spec: ServiceSpec = ServiceSpec()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The cluster IPs; empty for a headless Service, an ExternalName, and before allocation."""
        if self.is_external or self.is_headless:
            return ()
        return tuple(address for address in self.spec.cluster_ips or (self.spec.cluster_ip,) if address)

    @property
    def is_external(self) -> bool:
        """A name for something elsewhere."""
        return self.spec.type == "ExternalName"

    @property
    def is_headless(self) -> bool:
        """No virtual IP: the name stands for the endpoints."""
        return not self.is_external and (self.spec.cluster_ips or (self.spec.cluster_ip,))[0] == "None"


class SliceLabels(Reader, frozen=True):
    service_name: str = msgspec.field(default="", name=LABEL_SERVICE_NAME)


ANNOTATION_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


class SliceAnnotations(Reader, frozen=True):
    trigger_time: str = msgspec.field(default="", name=ANNOTATION_TRIGGER_TIME)


class SliceMeta(Reader, frozen=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    labels: SliceLabels = SliceLabels()
    annotations: SliceAnnotations = SliceAnnotations()


class EndpointPort(Reader, frozen=True):
    name: str = ""
    protocol: str = "TCP"
    port: int | None = None


class EndpointConditions(Reader, frozen=True):
    ready: bool | None = None


class Endpoint(Reader, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None

    @property
    def pod_name(self) -> str:
        """Of the Pod behind it; "" where that is not known (`DetailedEndpoint` knows)."""
        return ""


class EndpointSlice(Reader, frozen=True):
    metadata: SliceMeta = SliceMeta()
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None

    @property
    def published(self) -> tuple[Endpoint, ...]:
        """The endpoints that have names: ready, or of unknown readiness; none of a slice of host names.

        Rule: spec "discovery" A1.5 (the controller writes ready for publishNotReadyAddresses), A1.4 (FQDN slices).
        """
        if self.address_type == "FQDN":
            return ()
        return tuple(endpoint for endpoint in self.endpoints or () if endpoint.conditions.ready is not False)


class DetailedConditions(EndpointConditions, frozen=True):
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Reader, frozen=True):
    kind: str = ""
    name: str = ""


class DetailedEndpoint(Endpoint, frozen=True):
    conditions: DetailedConditions = DetailedConditions()
    target_ref: TargetRef | None = None

    @property
    def pod_name(self) -> str:
        """Of the Pod, or whatever else the endpoint stands for; "" for hand-made ones."""
        return self.target_ref.name if self.target_ref is not None else ""


class DetailedSlice(EndpointSlice, frozen=True):
    """With what endpoint names of Pods, and explanations, need; decoded only where one of them is asked for."""

    endpoints: tuple[DetailedEndpoint, ...] | None = None


class DetailedSpec(ServiceSpec, frozen=True):
    selector: dict[str, str] | None = None


class DetailedService(Service, frozen=True):
    """With what explanations need."""

    spec: DetailedSpec = DetailedSpec()


class Namespace(Reader, frozen=True):
    metadata: Meta = Meta()


class PodStatus(Reader, frozen=True):
    phase: str = ""
    pod_ip: str = ""


class Pod(Reader, frozen=True):
    metadata: Meta = Meta()
    status: PodStatus = PodStatus()
