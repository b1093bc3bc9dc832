"""What an Endpoints object has when the client does not say. Rule: spec "service-api" §2.1."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json


def default_endpoints(obj: Json) -> Json:
    """Ports speak TCP. Subsets are neither repacked nor sorted. Changes `obj`."""
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port["protocol"] = port.get("protocol") or "TCP"
    return obj
