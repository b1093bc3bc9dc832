"""`kubectl describe service` line by line, for every type: what it prints is what the server has.

Rule: spec "service-api" §1; the lines and their order are those of kubectl 1.32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_service
from seaway.testing.server import SeawayServer
from tests.clients.kubectl import Kubectl
from tests.clients.test_kubectl import covers

Json = dict[str, Any]
Lines = list[tuple[str, str]]
INGRESS = [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1", "ipMode": "Proxy"}, {"hostname": "lb.example.com"}]
HTTP = {"name": "http", "port": 80, "targetPort": 8080}
DNS = {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}
HEAD = ["Name", "Namespace", "Labels", "Annotations", "Selector", "Type"]
ADDRESSES = ["IP Family Policy", "IP Families", "IP", "IPs"]
PORT, NODE_PORT = ["Port", "TargetPort", "Endpoints"], ["Port", "TargetPort", "NodePort", "Endpoints"]
AFFINITY, INSIDE, OUTSIDE = ["Session Affinity"], ["Internal Traffic Policy"], ["External Traffic Policy"]
BALANCER = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerIP": "192.0.2.9",
            "loadBalancerSourceRanges": ["10.0.0.0/8", "192.168.0.0/16"]}  # fmt: skip
CASES: list[tuple[str, Json, list[str], Lines]] = [
    # what, spec, the labels in their order, some of the lines
    ("ClusterIP", {"ports": [HTTP], "sessionAffinity": "ClientIP"},
     [*HEAD, *ADDRESSES, *PORT, *AFFINITY, *INSIDE, "Events"],
     [("Selector", "app=web"), ("Type", "ClusterIP"), ("IP Family Policy", "SingleStack"), ("IP Families", "IPv4"),
      ("Port", "http  80/TCP"), ("TargetPort", "8080/TCP"), ("Endpoints", "{pod}:8080"),
      ("Session Affinity", "ClientIP"), ("Internal Traffic Policy", "Cluster")]),
    ("a ClusterIP that others reach at addresses of their own", {"externalIPs": ["198.51.100.32", "198.51.100.33"]},
     [*HEAD, *ADDRESSES, "External IPs", *PORT, *AFFINITY, *OUTSIDE, *INSIDE, "Events"],
     [("External IPs", "198.51.100.32,198.51.100.33"), ("Port", "<unset>  80/TCP"), ("Endpoints", "{pod}:80"),
      ("External Traffic Policy", "Cluster")]),
    ("headless", {"clusterIP": "None", "ports": [HTTP]},
     [*HEAD, *ADDRESSES, *PORT, *AFFINITY, *INSIDE, "Events"],
     [("IP", "None"), ("IPs", "None"), ("Endpoints", "{pod}:8080")]),
    ("headless without a selector", {"clusterIP": "None", "selector": {}},
     [*HEAD, *ADDRESSES, *PORT, *AFFINITY, *INSIDE, "Events"],
     [("Selector", "<none>"), ("IP Family Policy", "RequireDualStack"), ("IP Families", "IPv4,IPv6"),
      ("Endpoints", "<none>")]),
    ("NodePort", {"type": "NodePort", "ports": [{**HTTP, "nodePort": 30007}, {**DNS, "nodePort": 30008}],
                  "internalTrafficPolicy": "Local"},
     [*HEAD, *ADDRESSES, *NODE_PORT, *NODE_PORT, *AFFINITY, *OUTSIDE, *INSIDE, "Events"],
     [("NodePort", "http  30007/TCP"), ("Port", "dns  53/UDP"), ("TargetPort", "dns/UDP"),
      ("NodePort", "dns  30008/UDP"), ("Session Affinity", "None"), ("External Traffic Policy", "Cluster"),
      ("Internal Traffic Policy", "Local")]),
    ("LoadBalancer", {**BALANCER, "healthCheckNodePort": 30009, "ports": [{**HTTP, "nodePort": 30017}]},
     [*HEAD, *ADDRESSES, "Desired LoadBalancer IP", "LoadBalancer Ingress", *NODE_PORT, *AFFINITY, *OUTSIDE, *INSIDE,
      "HealthCheck NodePort", "LoadBalancer Source Ranges", "Events"],
     [("Desired LoadBalancer IP", "192.0.2.9"),
      ("LoadBalancer Ingress", "192.0.2.1 (VIP), 2001:db8::1 (Proxy), lb.example.com"),
      ("NodePort", "http  30017/TCP"), ("Endpoints", "{pod}:8080"), ("External Traffic Policy", "Local"),
      ("HealthCheck NodePort", "30009"), ("LoadBalancer Source Ranges", "10.0.0.0/8,192.168.0.0/16")]),
    ("ExternalName", {"type": "ExternalName", "externalName": "db.example.com", "ports": [], "selector": {}},
     [*HEAD, "IP Families", "IP", "IPs", "External Name", *AFFINITY, "Events"],
     [("Type", "ExternalName"), ("IP Families", "<none>"), ("IP", ""), ("IPs", "<none>"),
      ("External Name", "db.example.com"), ("Session Affinity", "None")]),
]  # fmt: skip
KNOWN = {label for _, _, labels, _ in CASES for label in labels}


@pytest.fixture(scope="module")
def server() -> Iterator[SeawayServer]:
    """One where Services may have external IPs."""
    server = SeawayServer(config=ServerConfig(external_ip_cidrs=("198.51.100.0/24",))).start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def kubectl(request: pytest.FixtureRequest, server: SeawayServer, kubectl_home: Path) -> Iterator[Kubectl]:
    with server.open_namespace(request.node.name) as seaway:
        yield Kubectl(seaway, kubectl_home, seaway.kubeconfig)


def read(shown: str) -> Lines:
    """Labels and values. What continues a value is left out; so is what a later kubectl may print besides."""
    found = [re.match(r"(\S[^:]*):\s*(.*?)\s*$", line) for line in shown.splitlines()]
    return [(match[1], match[2]) for match in found if match and match[1] in KNOWN]


def in_order(part: Lines, whole: Lines) -> bool:
    rest = iter(whole)
    return all(line in rest for line in part)


@covers("describe, with endpoints", "Service", since=(1, 32))
@pytest.mark.parametrize(("spec", "labels", "lines"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_describe_of_a_service_of_type(kubectl: Kubectl, spec: Json, labels: list[str], lines: Lines) -> None:
    seaway = kubectl.seaway
    made = make_service("web", meta={"labels": {"tier": "front"}, "annotations": {"a/b": "c"}}, **spec)
    del made["metadata"]["namespace"]
    seaway.apply(made)
    if made["spec"]["selector"]:
        ports = [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]
        seaway.make_pod(
            "web-1",
            labels={"app": "web"},
            ready=True,
            containers=[{"name": "main", "image": "program", "ports": ports}],
        )
        seaway.wait_endpoints("web", {"web-1"})
    if spec.get("type") == "LoadBalancer":
        status = json.dumps({"status": {"loadBalancer": {"ingress": INGRESS}}})
        kubectl("patch", "service", "web", "--subresource=status", "--type=merge", "-p", status)
    shown = read(kubectl("describe", "service", "web").stdout)
    pod = seaway.get("pod", "web-1")["status"]["podIP"] if made["spec"]["selector"] else ""
    assert [label for label, _ in shown] == labels
    stored = kubectl.get("service", "web")
    expected = [("Name", "web"), ("Namespace", seaway.namespace), ("Labels", "tier=front"), ("Annotations", "a/b: c"),
                *((label, value.format(pod=pod)) for label, value in lines)]  # fmt: skip
    assert in_order(expected, shown), shown
    assert dict(shown)["IP"] == stored["spec"].get("clusterIP", "")
    assert dict(shown)["IPs"] == ",".join(stored["spec"].get("clusterIPs", ["<none>"]))


@covers("describe, with endpoints", "Service", since=(1, 32))
def test_describe_of_a_service_shows_its_events_and_no_others(kubectl: Kubectl) -> None:
    about = kubectl.seaway.make_service("web")
    kubectl.seaway.make_service("other")
    assert kubectl("describe", "service", "other").lines[-1].split() == ["Events:", "<none>"]
    reference = {"kind": "Service", "apiVersion": "v1", "name": "web", "namespace": kubectl.seaway.namespace,
                 "uid": about["metadata"]["uid"]}  # fmt: skip
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"}, "involvedObject": reference,
             "type": "Warning", "reason": "SyncFailed", "message": "no address left", "count": 3,
             "firstTimestamp": "2026-01-02T00:00:00Z", "lastTimestamp": "2026-01-02T00:00:00Z",
             "source": {"component": "lb"}}  # fmt: skip
    kubectl("create", "-f", "-", stdin=json.dumps(event))
    shown = kubectl("describe", "service", "web").lines
    assert [line for line in shown if re.match(r"\s+Warning\s+SyncFailed\s.*\(x3.*\slb\s+no address left", line)], shown
    assert "SyncFailed" not in kubectl("describe", "service", "other").stdout
