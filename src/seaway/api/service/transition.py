"""What an update takes over from the stored Service, and what a change of type gives up.

`take_over_allocated` runs before allocation, `wipe_by_type` after it and before validation.
Rule: spec "service-api" §2.4, §4.1, §4.2, §4.3.
"""

from __future__ import annotations

from seaway.api.machinery.addresses import find_family
from seaway.api.machinery.strategy import Json
from seaway.api.service.defaults import (
    is_externally_accessible,
    is_headless,
    needs_health_check_port,
    needs_node_ports,
)

_POINTERS = frozenset(("ipFamilyPolicy", "allocateLoadBalancerNodePorts", "loadBalancerClass"))
"""On the wire, `""` and `false` are present here and absent elsewhere."""


def default_on_read(spec: Json, *, primary: str) -> Json:
    """The spec with what Services of older servers lack. A new object; nothing inside is changed.

    primary: the cluster's first family.
    """
    spec = dict(spec)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if spec.get("type") == "ExternalName":
        spec.pop("internalTrafficPolicy", None)
    elif not spec.get("ipFamilies"):
        other = "IPv6" if primary == "IPv4" else "IPv4"
        families = [family.value for ip in spec.get("clusterIPs") or () if (family := find_family(ip))]
        if not is_headless(spec):
            spec["ipFamilies"] = families or [primary]
        else:
            spec["ipFamilies"] = [primary] if spec.get("selector") else [primary, other]
        spec.setdefault("ipFamilyPolicy", "SingleStack" if len(spec["ipFamilies"]) == 1 else "RequireDualStack")
    return spec


def show_service(obj: Json, primary_family: str) -> Json | None:
    """The Service as the main resource shows it, or None: as it is stored, which nearly all are.

    Rule: spec "service-api" §2.4, §4.7.
    """
    spec = obj.get("spec") or {}
    hides = "internalTrafficPolicy" in spec if spec.get("type") == "ExternalName" else not spec.get("ipFamilies")
    if not hides and (spec.get("clusterIPs") or not spec.get("clusterIP")):
        return None
    return {**obj, "spec": default_on_read(spec, primary=primary_family)}


def take_over_allocated(spec: Json, old: Json) -> None:
    """Copy what the server had allocated and the client left out, so that sending a manifest again changes nothing.

    Changes `spec`, not `old`.
    """
    if "ExternalName" not in (spec.get("type"), old.get("type")):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if not spec.get("clusterIPs") and old.get("clusterIPs"):
            spec["clusterIPs"] = list(old["clusterIPs"])
    if needs_node_ports(spec) and needs_node_ports(old):
        _take_over_node_ports(spec, old)
    number = old.get("healthCheckNodePort")
    if number and needs_health_check_port(spec) and needs_health_check_port(old):
        spec["healthCheckNodePort"] = spec.get("healthCheckNodePort") or number
    _sync_cluster_ips(spec, old)


def _take_over_node_ports(spec: Json, old: Json) -> None:
    """By name; ports of several protocols (DNS over TCP and UDP) keep the number that they share."""
    named = {port.get("nodePort") for port in spec.get("ports") or ()}
    had = {port.get("name") or "": port.get("nodePort") for port in old.get("ports") or ()}
    taken: set[tuple[str, int]] = set()
    for port in spec.get("ports") or ():
        number = had.get(port.get("name") or "")
        if port.get("nodePort") or not number or number in named:
            continue
        key = (port.get("protocol") or "TCP", number)
        if key not in taken:  # two ports of one name are wrong, and validation says so
            port["nodePort"] = number
            taken.add(key)


def _sync_cluster_ips(spec: Json, old: Json) -> None:
    """Clients that know only clusterIP change it alone; the list follows."""
    before, after = old.get("clusterIPs") or [], spec.get("clusterIPs") or []
    if (spec.get("clusterIP") or "") == (old.get("clusterIP") or ""):
        if before and not after and spec.get("clusterIP"):
            spec["clusterIPs"] = list(before)
    elif after == before:
        spec.pop("clusterIPs", None)
        if spec.get("clusterIP"):
            spec["clusterIPs"] = [spec["clusterIP"]]


def wipe_by_type(obj: Json, old: Json) -> None:
    """Drop what the new type has no use for, unless the client changed it: then validation refuses it.

    Changes `obj`, not `old`.
    """
    spec, before = obj["spec"], old.get("spec") or {}
    kind, was = spec.get("type"), before.get("type")
    if kind == "ExternalName" and was != "ExternalName":
        if _same(spec, before, "clusterIP") and _same(spec, before, "clusterIPs"):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        _drop_unchanged(spec, before, "ipFamilies", "ipFamilyPolicy")
    if was in ("NodePort", "LoadBalancer") and kind in ("ClusterIP", "ExternalName"):
        _drop_node_ports(spec, before)
    if needs_health_check_port(before) and not needs_health_check_port(spec):
        _drop_unchanged(spec, before, "healthCheckNodePort")
    if was == "LoadBalancer" and kind != "LoadBalancer":
        _drop_unchanged(spec, before, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(before) and not is_externally_accessible(spec):
        _drop_unchanged(spec, before, "externalTrafficPolicy")
    if kind != "LoadBalancer":
        obj["status"] = {**(obj.get("status") or {}), "loadBalancer": {}}


def _drop_node_ports(spec: Json, before: Json) -> None:
    ports = spec.get("ports") or ()
    had = {port.get("nodePort") for port in before.get("ports") or ()}
    if {port["nodePort"] for port in ports if port.get("nodePort")} <= had:
        for port in ports:
            port.pop("nodePort", None)


def _drop_unchanged(spec: Json, before: Json, *fields: str) -> None:
    for field in fields:
        if _same(spec, before, field):
            spec.pop(field, None)


def _same(spec: Json, before: Json, field: str) -> bool:
    """Absent and empty are the same thing, but for fields that tell them apart."""
    value, was = spec.get(field), before.get(field)
    return bool(value == was) if field in _POINTERS else (value or None) == (was or None)
