"""How the API server treats EndpointSlices. Rule: spec "service-api" §0.1, §9.3."""

from __future__ import annotations

from typing import Any

from seaway.api.endpointslice.defaults import default_endpoint_slice
from seaway.api.endpointslice.types import LABEL_MANAGED_BY
from seaway.api.endpointslice.validation import validate_endpoint_slice, validate_endpoint_slice_update
from seaway.api.machinery.addresses import warn_of_ip
from seaway.api.machinery.strategy import Context, Json, Strategy

OWN_CONTROLLERS = frozenset(("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"))
_HOSTNAME_KEY = "kubernetes.io/hostname"


def prepare_create(obj: Json, context: Context) -> Json:
    """Without the topology of the API version before."""
    for endpoint in obj["endpoints"]:
        endpoint.pop("deprecatedTopology", None)
    return obj


def prepare_update(obj: Json, old: Json, context: Context) -> Json:
    """Endpoints that changed lose their old topology, but a node name that was known by it stays known."""
    before = old.get("endpoints") or []
    if obj["endpoints"] == before:
        return obj
    known = {(endpoint.get("deprecatedTopology") or {}).get(_HOSTNAME_KEY) for endpoint in before} - {None}
    for endpoint in obj["endpoints"]:
        node = (endpoint.pop("deprecatedTopology", None) or {}).get(_HOSTNAME_KEY)
        if endpoint.get("nodeName") is None and node in known:
            endpoint["nodeName"] = node
    return obj


def has_changed(obj: Json, old: Json) -> bool:
    """Anything but metadata, or the labels: annotations do not count."""

    def counted(of: Json) -> Any:
        labels = (of.get("metadata") or {}).get("labels") or {}
        return of.get("addressType"), of.get("endpoints") or [], of.get("ports") or [], labels

    return bool(counted(obj) != counted(old))


def is_by_controller(obj: Json) -> bool:
    """A controller of the cluster says that it wrote the slice."""
    labels = (obj.get("metadata") or {}).get("labels") or {}
    return labels.get(LABEL_MANAGED_BY) in OWN_CONTROLLERS


def warnings(obj: Json, old: Json | None) -> list[str]:
    """Of domain names (on create), and of addresses in odd spelling unless a controller of ours wrote them."""
    found = []
    if old is None and obj.get("addressType") == "FQDN":
        found.append("spec.addressType: FQDN endpoints are deprecated")
    if is_by_controller(obj) or obj.get("addressType") == "FQDN":
        return found
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        for position, address in enumerate(endpoint.get("addresses") or ()):
            found += warn_of_ip(f"endpoints[{index}].addresses[{position}]", address)
    return found


STRATEGY = Strategy(
    default=default_endpoint_slice,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate_create=validate_endpoint_slice,
    validate_update=validate_endpoint_slice_update,
    warnings=warnings,
    has_generation=True,
    spec_changed=has_changed,
)
