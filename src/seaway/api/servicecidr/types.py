"""What others read of a ServiceCIDR. Rule: spec "service-api" §5.3, §5.5."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = "Ready"
DEFAULT_NAME = "kubernetes"
"""The object that says what the server was told of at its start."""


class Condition(Reader, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class ServiceCIDRSpec(Reader, frozen=True):
    cidrs: tuple[str, ...] = ()


class ServiceCIDRStatus(Reader, frozen=True):
    conditions: tuple[Condition, ...] = ()


class ServiceCIDR(Reader, frozen=True):
    """Ranges that cluster IPs are taken from: at most one per family."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceCIDRSpec = ServiceCIDRSpec()
    status: ServiceCIDRStatus = ServiceCIDRStatus()

    @property
    def is_deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def ready(self) -> Condition | None:
        return next((condition for condition in self.status.conditions if condition.type == READY), None)

    @property
    def is_drawn_from(self) -> bool:
        """New addresses may be taken: it stays, and nobody has said that it is not ready."""
        return not self.is_deleting and (self.ready is None or self.ready.status == "True")
