"""What `kubectl get -o wide` prints of the kinds around Services. Rule: spec "service-api" §11."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.clients.kubectl import Kubectl

Json = dict[str, Any]
AGE = "AGE"
"""Stands for a time since now."""
PATHS = [{"pathType": "Prefix", "path": "/", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]
POD: Json = {"containers": [{"name": "main", "image": "program"}], "readinessGates": [{"conditionType": "a.b/c"}]}

CASES: dict[str, tuple[Json, Json, str, list[str]]] = {
    "service": (
        {"apiVersion": "v1", "spec": {"type": "LoadBalancer", "clusterIP": "10.96.211.7",
                                      "selector": {"b": "2", "a": "1"}, "ports": [{"port": 80, "nodePort": 30711}]}},
        {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}, {"ip": "192.0.2.7"}]}},
        "NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE  SELECTOR",
        ["NAME", "LoadBalancer", "10.96.211.7", "192.0.2.7,lb.example.com", "80:30711/TCP", AGE, "a=1,b=2"],
    ),
    "endpoints": (
        {"apiVersion": "v1",
         "subsets": [{"addresses": [{"ip": f"192.0.2.{n}"} for n in range(1, 5)], "ports": [{"port": 80}]}]},
        {}, "NAME  ENDPOINTS  AGE", ["NAME", "192.0.2.1:80,192.0.2.2:80,192.0.2.3:80 + 1 more...", AGE],
    ),
    "endpointslice": (
        {"apiVersion": "discovery.k8s.io/v1", "addressType": "IPv6", "ports": [{"port": 80}, {"name": "b", "port": 81}],
         "endpoints": [{"addresses": ["2001:db8::1"]}, {"addresses": ["2001:db8::2"], "conditions": {"ready": False}}]},
        {}, "NAME  ADDRESSTYPE  PORTS  ENDPOINTS  AGE", ["NAME", "IPv6", "80,81", "2001:db8::1,2001:db8::2", AGE],
    ),
    "servicecidr": (
        {"apiVersion": "networking.k8s.io/v1", "spec": {"cidrs": ["10.98.7.0/24", "fd98:7::/112"]}},
        {}, "NAME  CIDRS  AGE", ["NAME", "10.98.7.0/24,fd98:7::/112", AGE],
    ),
    "ipaddress": (
        {"apiVersion": "networking.k8s.io/v1", "metadata": {"name": "10.96.211.9"},
         "spec": {"parentRef": {"group": "example.com", "resource": "things", "namespace": "a", "name": "b"}}},
        {}, "NAME  PARENTREF", ["10.96.211.9", "things.example.com/a/b"],
    ),
    "ingress": (
        {"apiVersion": "networking.k8s.io/v1",
         "spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["a.example.com"]}],
                  "rules": [{"host": "a.example.com", "http": {"paths": PATHS}}]}},
        {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}},
        "NAME  CLASS  HOSTS  ADDRESS  PORTS  AGE", ["NAME", "nginx", "a.example.com", "192.0.2.8", "80, 443", AGE],
    ),
    "ingressclass": (
        {"apiVersion": "networking.k8s.io/v1",
         "spec": {"controller": "example.com/one",
                  "parameters": {"apiGroup": "example.com", "kind": "Thing", "name": "x"}}},
        {}, "NAME  CONTROLLER  PARAMETERS  AGE", ["NAME", "example.com/one", "Thing.example.com/x", AGE],
    ),
    "namespace": ({"apiVersion": "v1"}, {}, "NAME  STATUS  AGE", ["NAME", "Active", AGE]),
    "node": (
        {"apiVersion": "v1", "metadata": {"labels": {"node-role.kubernetes.io/edge": ""}},
         "spec": {"unschedulable": True}},
        {"conditions": [{"type": "Ready", "status": "True"}],
         "addresses": [{"type": "InternalIP", "address": "192.0.2.9"}],
         "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "An OS", "kernelVersion": "6.18", "architecture": "amd64",
                      "containerRuntimeVersion": "one://1"}},
        "NAME  STATUS  ROLES  AGE  VERSION  INTERNAL-IP  EXTERNAL-IP  OS-IMAGE  KERNEL-VERSION  CONTAINER-RUNTIME",
        ["NAME", "Ready,SchedulingDisabled", "edge", AGE, "v1.36.0", "192.0.2.9", "<none>", "An OS", "6.18 (amd64)",
         "one://1"],
    ),
    "pod": (
        {"apiVersion": "v1", "spec": POD},
        {"phase": "Running", "podIP": "192.0.2.10", "podIPs": [{"ip": "192.0.2.10"}],
         "containerStatuses": [{"name": "main", "image": "program", "imageID": "", "ready": False, "restartCount": 2,
                                "state": {"terminated": {"exitCode": 137, "signal": 9}}}]},
        "NAME  READY  STATUS  RESTARTS  AGE  IP  NODE  NOMINATED NODE  READINESS GATES",
        ["NAME", "0/1", "Signal:9", "2", AGE, "192.0.2.10", "<none>", "<none>", "0/1"],
    ),
}  # fmt: skip
KINDS = {"service": "Service", "endpoints": "Endpoints", "endpointslice": "EndpointSlice", "servicecidr": "ServiceCIDR",
         "ipaddress": "IPAddress", "ingress": "Ingress", "ingressclass": "IngressClass", "namespace": "Namespace",
         "node": "Node", "pod": "Pod"}  # fmt: skip
CLUSTER_WIDE = frozenset(("servicecidr", "ipaddress", "ingressclass", "namespace", "node"))


@pytest.mark.parametrize("kind", CASES)
def test_get_wide(kubectl: Kubectl, kind: str) -> None:
    fields, status, head, row = CASES[kind]
    given = fields.get("metadata", {})
    name = given.get("name") or f"{kubectl.seaway.namespace}-wide"
    obj = {"kind": KINDS[kind], **fields, "metadata": {**given, "name": name}}
    try:
        kubectl("create", "-f", "-", stdin=json.dumps(obj))
        if status:
            patch = json.dumps({"status": status})
            kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)
        printed = kubectl("get", kind, name, "-o", "wide").lines
        assert len(printed) == 2
        shown_head, shown_row = (re.split(r"\s{2,}", line.rstrip()) for line in printed)
        assert shown_head == re.split(r"\s{2,}", head)
        wanted = [name if cell == "NAME" else cell for cell in row]
        assert [AGE if cell == AGE and re.fullmatch(r"\d+s", shown) else shown
                for cell, shown in zip(wanted, shown_row, strict=True)] == wanted  # fmt: skip
        narrow = kubectl("get", kind, name).lines[0].split()
        assert narrow == " ".join(NARROW.get(kind, shown_head)).split()
    finally:
        if kind in CLUSTER_WIDE:
            kubectl("delete", kind, name, "--wait=false", code=None)


NARROW = {
    "service": ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"],
    "node": ["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
    "pod": ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
}
"""Without the columns of wide output alone."""
