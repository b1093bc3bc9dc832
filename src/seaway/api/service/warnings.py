"""What a client is told about a Service that is taken all the same. Rule: spec "service-api" §3.5, §6."""

from __future__ import annotations

from seaway.api.machinery.addresses import warn_of_cidr, warn_of_ip
from seaway.api.machinery.strategy import Json
from seaway.api.service.validation import HINTS_ANNOTATION


def warn_of_service(obj: Json, old: Json | None = None) -> list[str]:
    """The warnings of a create or update, in the specified order, ours last. `old` does not matter."""
    spec = obj.get("spec") or {}
    kind = spec.get("type")
    external_ips = spec.get("externalIPs") or ()
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    warnings: list[str] = []
    if HINTS_ANNOTATION in ((obj.get("metadata") or {}).get("annotations") or {}):
        warnings.append(f"annotation {HINTS_ANNOTATION} is deprecated, "
                        "please use service.kubernetes.io/topology-mode instead")  # fmt: skip
    if spec.get("clusterIP") and spec["clusterIP"] != "None":
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            warnings += warn_of_ip(f"spec.clusterIPs[{index}]", address)
    if headless:
        warnings += _warn_of_ignored(spec)
    for index, address in enumerate(external_ips):
        warnings += warn_of_ip(f"spec.externalIPs[{index}]", address)
    if external_ips and not headless and kind != "ExternalName":
        warnings.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    warnings += warn_of_ip("spec.loadBalancerIP", spec.get("loadBalancerIP") or "")
    for index, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        warnings += warn_of_cidr(f"spec.loadBalancerSourceRanges[{index}]", cidr)
    if kind == "ExternalName" and external_ips:
        warnings.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        warnings.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        warnings.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    if headless and not spec.get("selector"):
        warnings += _warn_of_target_ports(spec)
    return warnings


def warn_of_service_status(obj: Json, old: Json | None = None) -> list[str]:
    """Of a write to `/status`: how addresses of the load balancer are spelt."""
    return warn_of_ingress(obj)


def warn_of_ingress(obj: Json) -> list[str]:
    """Oddly spelt addresses of a load balancer; the path is that of the entry."""
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    paths = [(f"status.loadBalancer.ingress[{index}]", entry.get("ip") or "") for index, entry in enumerate(entries)]
    return [warning for path, address in paths for warning in warn_of_ip(path, address)]


def _warn_of_target_ports(spec: Json) -> list[str]:
    """Beyond upstream: the concept page asks that the two be equal, and the wire takes any (§14, 77)."""
    return [
        f"spec.ports[{index}].targetPort: nothing translates ports of a headless Service without a selector; "
        f"clients use port {port['port']}, not {port['targetPort']}"
        for index, port in enumerate(spec.get("ports") or ())
        if port["targetPort"] != port["port"]
    ]


def _warn_of_ignored(spec: Json) -> list[str]:
    ignored = [name for name in ("loadBalancerIP", "externalIPs") if spec.get(name)]
    if spec.get("sessionAffinity", "None") != "None":
        ignored.append("SessionAffinity")
    return [f"spec.{name} is ignored for headless services" for name in ignored]
