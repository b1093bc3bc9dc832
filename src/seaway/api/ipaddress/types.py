"""What others read of an IPAddress. Rule: spec "service-api" §5.4."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader

LABEL_FAMILY = "ipaddress.kubernetes.io/ip-family"
LABEL_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGED_BY = "ipallocator.k8s.io"
"""Who took the address for a Service; other addresses are left alone by all loops."""


class ParentReference(Reader, frozen=True):
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""


class IPAddressSpec(Reader, frozen=True):
    parent_ref: ParentReference = ParentReference()


class IPAddress(Reader, frozen=True):
    """An address that is taken: its name."""

    metadata: ObjectMeta = ObjectMeta()
    spec: IPAddressSpec = IPAddressSpec()
