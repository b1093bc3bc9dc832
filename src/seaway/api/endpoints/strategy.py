"""How the API server treats Endpoints. Rule: spec "service-api" §0.1, §9.1."""

from __future__ import annotations

from seaway.api.endpoints.defaults import default_endpoints
from seaway.api.endpoints.types import LABEL_MANAGED_BY
from seaway.api.endpoints.validation import validate_endpoints, validate_endpoints_update
from seaway.api.machinery.addresses import warn_of_ip
from seaway.api.machinery.strategy import Json, Strategy

DEPRECATION = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
MAX_ADVISED_ADDRESSES = 1000
"""Where the endpoints controller of upstream cuts; the server takes any number."""


def is_by_controller(obj: Json) -> bool:
    """The controller of the cluster says that it wrote the object."""
    return ((obj.get("metadata") or {}).get("labels") or {}).get(LABEL_MANAGED_BY) == "endpoint-controller"


def warnings(obj: Json, old: Json | None) -> list[str]:
    """Of the kind itself; and unless the controller wrote it, of addresses in odd spelling, and of too many."""
    found = [DEPRECATION]
    if is_by_controller(obj):
        return found
    for index, subset in enumerate(obj.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                found += warn_of_ip(f"subsets[{index}].{field}[{position}].ip", address.get("ip") or "")
    return found + _warn_of_size(obj)


def _warn_of_size(obj: Json) -> list[str]:
    """Beyond upstream: the concept page says that more cannot be written, and the wire takes them (§14, 35)."""
    fields = ("addresses", "notReadyAddresses")
    count = sum(len(subset.get(field) or ()) for subset in obj.get("subsets") or () for field in fields)
    if count <= MAX_ADVISED_ADDRESSES:
        return []
    return [f"subsets: {count} addresses; an Endpoints object should have no more than {MAX_ADVISED_ADDRESSES}, "
            "EndpointSlices hold any number"]  # fmt: skip


STRATEGY = Strategy(
    default=default_endpoints,
    validate_create=validate_endpoints,
    validate_update=validate_endpoints_update,
    warnings=warnings,
    creates_on_update=True,
)
