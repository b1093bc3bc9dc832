"""Objects as lines that read like a sentence. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Any

from seaway.api.endpointslice.types import Endpoint, EndpointPort, EndpointSlice

Json = dict[str, Any]
MANY = 12
"""More endpoints than this are told by their first and last address."""


def tell_slices(slices: Sequence[EndpointSlice]) -> list[str]:
    """A line for each slice, and one below it for each endpoint, sorted by address."""
    lines: list[str] = []
    for slice_ in slices:
        ports = ", ".join(_tell_port(port) for port in slice_.ports or ()) or "no ports"
        endpoints = sorted((_tell_endpoint(e) for e in slice_.endpoints or ()), key=_by_address)
        head = f"{slice_.metadata.name} {slice_.address_type} {ports}"
        if not endpoints:
            lines.append(f"{head}: empty")
        elif len(endpoints) > MANY:
            lines.append(f"{head}: {len(endpoints)} endpoints, {endpoints[0]} … {endpoints[-1]}")
        else:
            lines += [f"{head}:", *(f"  {line}" for line in endpoints)]
    return lines or ["none"]


def tell_endpoints(obj: Json) -> list[str]:
    """A line for each subset."""
    lines = []
    for subset in obj.get("subsets") or ():
        ports = ", ".join(f"{p.get('name') or ''}:{p['port']}/{p['protocol']}" for p in subset.get("ports") or ())
        ready = " ".join(a["ip"] for a in subset.get("addresses") or ()) or "none"
        waiting = " ".join(a["ip"] for a in subset.get("notReadyAddresses") or ())
        lines.append(f"{ports or 'no ports'}: ready {ready}" + (f", not ready {waiting}" if waiting else ""))
    return lines or ["no subsets"]


def tell_pods(pods: Sequence[Json]) -> list[str]:
    """A line for each Pod; where it is only if its name is not made up, for then it does not matter which it is."""
    return [_tell_pod(pod) for pod in pods] or ["none"]


def walk(obj: Any, path: str) -> str:
    """The value at `status.conditions[Ready].status`: a part in brackets is a type, a name or a place in the list."""
    for part in re.findall(r"[^.\[\]]+|\[[^\]]+\]", path):
        if obj is None:
            break
        if part.startswith("["):
            obj = _pick(obj, part[1:-1])
        else:
            obj = obj.get(part.replace("~1", "."))
    if obj is None:
        return "none"
    return obj if obj and isinstance(obj, str) else json.dumps(obj, sort_keys=True)


def _pick(items: Any, wanted: str) -> Any:
    if isinstance(items, dict):
        return items.get(wanted)
    if wanted.isdigit():
        return items[int(wanted)] if int(wanted) < len(items) else None
    return next((item for item in items if wanted in (item.get("type"), item.get("name"), item.get("key"))), None)


def _tell_pod(pod: Json) -> str:
    status = pod.get("status") or {}
    ready = next((c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"), "False")
    state = status.get("phase", "Pending") + (", ready" if ready == "True" else "")
    if pod["metadata"].get("deletionTimestamp"):
        state += ", terminating"
    node = pod["spec"].get("nodeName") if "generateName" not in pod["metadata"] else None
    image = pod["spec"]["containers"][0]["image"]
    return f"{pod['metadata']['name']}: {state}{f', on {node}' if node else ''}, {image}"


def _tell_port(port: EndpointPort) -> str:
    return f"{port.name or ''}:{port.port}/{port.protocol}"


def _tell_endpoint(endpoint: Endpoint) -> str:
    conditions = endpoint.conditions
    state = "ready" if endpoint.is_ready else "not ready"
    if conditions is not None and conditions.terminating:
        state += ", terminating" + (", serving" if conditions.serving else "")
    parts = [endpoint.addresses[0], state]
    if endpoint.target_ref is not None:
        parts.append(endpoint.target_ref.name)
    if endpoint.hints is not None:
        zones = [zone.name for zone in endpoint.hints.for_zones or ()]
        parts.append(f"for zone {' '.join(zones)}" if zones else "no zone")
    return ", ".join(parts)


def _by_address(line: str) -> tuple[int, str]:
    try:
        return int(ipaddress.ip_address(line.partition(",")[0])), line
    except ValueError:
        return 0, line
