"""How the API server treats Endpoints. Rule: spec "service-api" §0.1, §9.1."""

from __future__ import annotations

from seaway.api.endpoints.defaults import default_endpoints
from seaway.api.endpoints.validation import validate_endpoints, validate_endpoints_update
from seaway.api.machinery.addresses import warn_of_ip
from seaway.api.machinery.strategy import Json, Strategy

DEPRECATION = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
LABEL_MANAGED_BY = "endpoints.kubernetes.io/managed-by"


def warnings(obj: Json, old: Json | None) -> list[str]:
    """Of the kind itself, and of addresses in odd spelling unless the controller wrote them."""
    found = [DEPRECATION]
    if ((obj.get("metadata") or {}).get("labels") or {}).get(LABEL_MANAGED_BY) == "endpoint-controller":
        return found
    for index, subset in enumerate(obj.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                found += warn_of_ip(f"subsets[{index}].{field}[{position}].ip", address.get("ip") or "")
    return found


STRATEGY = Strategy(
    default=default_endpoints,
    validate_create=validate_endpoints,
    validate_update=validate_endpoints_update,
    warnings=warnings,
    creates_on_update=True,
)
