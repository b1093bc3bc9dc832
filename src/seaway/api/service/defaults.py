"""What a Service has when the client does not say. Knows neither the cluster nor the stored object.

Rule: spec "service-api" §2.1, in its order.
"""

from __future__ import annotations

from seaway.api.machinery.strategy import Json

DEFAULT_AFFINITY_SECONDS = 10800  # three hours, the default of kube-apiserver


def is_headless(spec: Json) -> bool:
    """`None` is the one and only cluster IP, whatever the type."""
    return bool(spec.get("clusterIPs") == ["None"])


def is_externally_accessible(spec: Json) -> bool:
    """Node ports, a load balancer or external IPs lead here from outside the cluster."""
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_node_ports(spec: Json) -> bool:
    """The server must find a node port for each port that names none."""
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def needs_health_check_port(spec: Json) -> bool:
    """A load balancer asks each node whether it has endpoints of its own."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def default_service(obj: Json) -> Json:
    """The Service with the static defaults filled in. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    _default_affinity(spec)
    spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports", ()):
        _default_port(port)
    if is_externally_accessible(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        _default_ingress_mode(obj)
    return obj


def _default_affinity(spec: Json) -> None:
    """A left-over configuration is dropped without a word; an incomplete one is replaced as a whole."""
    if spec.setdefault("sessionAffinity", "None") == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client_ip.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": DEFAULT_AFFINITY_SECONDS}}


def _default_port(port: Json) -> None:
    port.setdefault("protocol", "TCP")
    port.setdefault("port", 0)
    port["targetPort"] = port.get("targetPort") or port["port"]


def _default_ingress_mode(obj: Json) -> None:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    for ingress in balancer.get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode") is None:
            ingress["ipMode"] = "VIP"
