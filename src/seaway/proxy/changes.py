"""What changed since the last sync, by Service.

Rule: spec "proxy" §1.6, and §1.5 on relabelled slices, done better: the old owner is looked at too.
"""

from __future__ import annotations

from seaway.api.endpointslice.types import LABEL_HEADLESS, LABEL_SERVICE_NAME, EndpointSlice
from seaway.api.service.types import Service


class Changes:
    """The Services and slices of the cluster, and the keys of Services that are to be forwarded anew."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self._slices: dict[str, EndpointSlice] = {}
        self._by_service: dict[str, dict[str, EndpointSlice]] = {}
        self._pending: set[str] = set()

    def set_service(self, key: str, service: Service | None) -> None:
        """The Service is now this; None: it is gone."""
        before = self.services.pop(key, None)
        if service is not None:
            self.services[key] = service
        if before is None or service is None or _is_other_service(before, service):
            self._pending.add(key)

    def set_slice(self, key: str, piece: EndpointSlice | None) -> None:
        """The slice is now this; None: it is gone. Both the Service it had and the one it has are looked at."""
        before = self._slices.pop(key, None)
        owner_before, owner = _owner(before), _owner(piece)
        if piece is not None:
            self._slices[key] = piece
        if owner_before and owner_before != owner:
            del self._by_service[owner_before][key]
            if not self._by_service[owner_before]:
                del self._by_service[owner_before]
            self._pending.add(owner_before)
        if owner and piece is not None:
            self._by_service.setdefault(owner, {})[key] = piece
            if before is None or owner_before != owner or _is_other_slice(before, piece):
                self._pending.add(owner)
        elif owner_before and piece is None:
            self._pending.add(owner_before)

    def slices_of(self, service: str) -> tuple[EndpointSlice, ...]:
        """The slices that name the Service."""
        return tuple(self._by_service.get(service, {}).values())

    def mark_all(self) -> None:
        """Everything is to be forwarded anew (this node changed)."""
        self._pending.update(self.services)

    def take(self) -> tuple[str, ...]:
        """The pending keys, sorted; none is pending afterwards."""
        taken = tuple(sorted(self._pending))
        self._pending.clear()
        return taken


def _owner(piece: EndpointSlice | None) -> str:
    """The key of the Service that the slice belongs to; empty when to none, or when the slice is of a headless one."""
    if piece is None or LABEL_HEADLESS in piece.metadata.labels:
        return ""
    name = piece.metadata.labels.get(LABEL_SERVICE_NAME, "")
    return f"{piece.metadata.namespace}/{name}" if name else ""


def _is_other_service(before: Service, after: Service) -> bool:
    """Metadata counts only where it matters: labels choose the proxy, the age settles claims."""
    return (
        before.spec != after.spec
        or before.status != after.status
        or before.metadata.labels != after.metadata.labels
        or _ours(before.metadata.annotations) != _ours(after.metadata.annotations)
        or before.metadata.creation_timestamp != after.metadata.creation_timestamp
    )


def _ours(annotations: dict[str, str]) -> dict[str, str]:
    """Those that say how a Service is to be forwarded."""
    return {key: value for key, value in annotations.items() if key.startswith("seaway.dev/")}


def _is_other_slice(before: EndpointSlice, after: EndpointSlice) -> bool:
    return (
        (before.endpoints, before.ports, before.address_type) != (after.endpoints, after.ports, after.address_type)
        or _ours(before.metadata.annotations) != _ours(after.metadata.annotations)
    )  # fmt: skip
