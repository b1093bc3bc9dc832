"""What an EndpointSlice has when the client does not say. Rule: spec "service-api" §2.1, §9.3."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json


def default_endpoint_slice(obj: Json) -> Json:
    """Named, protocolled ports; both lists present. An absent port number stays absent: it means all. Changes `obj`."""
    for key in ("endpoints", "ports"):
        if obj.get(key) is None:
            obj[key] = []
    for port in obj["ports"]:
        if port.get("name") is None:
            port["name"] = ""
        port["protocol"] = port.get("protocol") or "TCP"
    for endpoint in obj["endpoints"]:
        if endpoint.get("conditions") is None:
            endpoint["conditions"] = {}
    return obj
