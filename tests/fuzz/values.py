"""Texts, numbers and scalars: what a field of that name may well hold, and what none should."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from seaway.api.schema import Shape

NAMESPACES = ("default", "default", "default", "kube-system", "a", "b")
NAMES = ("a", "b", "c", "web", "web-1", "node-1", "x.y", "default")
ADDRESSES = ("10.96.0.1", "10.96.0.7", "10.96.0.200", "10.96.255.255", "fd10:96::7", "192.0.2.1", "10.244.0.5")
_PORTS = (80, 443, 53, 8080, 1, 65535)

# By field name: what makes objects pass, and meet.
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "name": (*NAMES, "", "http", "metrics"),
    "namespace": ("default", "a", "b", ""),
    "generateName": ("gen-", "web-"),
    "type": ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Opaque", "Normal", "Warning", "Ready",
             "RollingUpdate", "Recreate", "kubernetes.io/tls", "InternalIP"),
    "clusterIP": ("", "None", *ADDRESSES),
    "clusterIPs": (["None"], [], ["10.96.0.7"], ["10.96.0.9", "fd10:96::9"], ["fd10:96::9"]),
    "ipFamilies": (["IPv4"], ["IPv6"], ["IPv4", "IPv6"], []),
    "ipFamilyPolicy": ("SingleStack", "PreferDualStack", "RequireDualStack"),
    "externalName": ("example.com", ""),
    "externalIPs": ([], ["192.0.2.1"]),
    "externalTrafficPolicy": ("Local", "Cluster"),
    "internalTrafficPolicy": ("Local", "Cluster"),
    "sessionAffinity": ("None", "ClientIP"),
    "protocol": ("TCP", "UDP", "SCTP"),
    "port": _PORTS,
    "targetPort": (*_PORTS, "http"),
    "nodePort": (0, 30000, 30001, 30002, 30080, 32767),
    "healthCheckNodePort": (0, 30001, 30003),
    "containerPort": _PORTS,
    "addressType": ("IPv4", "IPv6", "FQDN"),
    "addresses": (["10.244.0.5"], ["10.244.0.6", "10.244.0.7"], ["fd00::5"], ["example.com"]),
    "ip": ADDRESSES,
    "podIP": ADDRESSES,
    "parentRef": ({"resource": "services", "namespace": "default", "name": "web"},),
    "finalizers": (["example.com/hold"], ["orphan"], ["foregroundDeletion"], [], ["kubernetes"]),
    "propagationPolicy": ("Foreground", "Background", "Orphan"),
    "gracePeriodSeconds": (0, 1, 30),
    "deletionTimestamp": ("2026-01-02T12:00:00Z",),
    "deletionGracePeriodSeconds": (0, 30),
    "generation": (0, 1, 7),
    "resourceVersion": ("", "0", "1", "12"),
    "labels": ({"app": "web"}, {"app": "a", "tier": "b"}, {"kubernetes.io/service-name": "web"}),
    "matchLabels": ({"app": "web"},),
    "selector": ({"app": "web"}, {}, {"matchLabels": {"app": "web"}}),
    "annotations": ({"example.com/note": "text"}, {}),
    "operator": ("In", "NotIn", "Exists", "DoesNotExist"),
    "replicas": (0, 1, 3),
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "phase": ("Pending", "Running", "Succeeded", "Failed", "Active", "Terminating"),
    "status": ("True", "False", "Unknown"),
    "image": ("program", "registry/program:1"),
    "nodeName": ("node-1", ""),
    "unschedulable": (True,),
    "kind": ("Role", "ClusterRole", "User", "Group", "ServiceAccount", "Pod", "Node", "Service"),
    "apiGroup": ("rbac.authorization.k8s.io", "", "discovery.k8s.io"),
    "apiVersion": ("v1", "apps/v1"),
    "uid": ("00000000-0000-4000-8000-000000000007", ""),
    "verbs": (["get"], ["*"], ["get", "list", "watch"]),
    "resources": (["pods"], ["*"], ["services", "pods/log"]),
    "apiGroups": ([""], ["*"]),
    "nonResourceURLs": (["/healthz"], ["*"], ["/a/*"]),
    "data": ({"key": "dGV4dA=="}, {"a.b": "text"}, {}),
    "stringData": ({"key": "text"},),
    "immutable": (True, False),
    "leaseDurationSeconds": (15, 1),
    "pathType": ("Prefix", "Exact", "ImplementationSpecific"),
    "path": ("/", "/a"),
    "policyTypes": (["Ingress"], ["Ingress", "Egress"]),
    "cidr": ("10.0.0.0/8", "fd00::/8"),
    "cidrs": (["10.112.0.0/16"], ["fd10:112::/112"]),
    "minAvailable": (1, "50%"),
    "maxUnavailable": (1, "25%"),
    "user": ("jane", "admin", "system:anonymous"),
    "verb": ("get", "list", "create"),
    "resource": ("services", "pods"),
    "token": ("", "a.b.c"),
    "audiences": (["https://kubernetes.default.svc"], []),
    "expirationSeconds": (3600, 600, 1),
    "controller": (True, False),
    "serviceAccountName": ("default",),
    "schedule": ("* * * * *",),
    "cpu": ("1", "100m"),
    "op": ("add", "remove", "replace", "move", "copy", "test"),
    "topologyKey": ("kubernetes.io/hostname",),
}  # fmt: skip

HOSTILE_TEXTS = (
    "", " ", "\x00", "a\x00b", "\n", "a\r\nX-Injected: 1", "\t", "..", ".", "a/b", "%2F", "%", "\\", '"', "'", "{}",
    "[]",
    "null", "true", "0", "-1", "1e9", "NaN", "é", "日本", "\u200b", "\u202e", "\U0001f600", "\ufeff", "\uffff", "\x7f",
    "a" * 64, "a" * 254, "a" * 5000, "-" * 63, "A", "a_b", "a..b", "-a", "a-", "$patch", "$(HOME)", "<b>&", "//",
    "\x85",
    "٣", "①", "ſ", "İ", "2026-13-45T99:99:99Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "2026-01-02T03:04:05+23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-02T03:04:60Z",
    "dGV4d", "=",
    "10.96.0.256", "::", "::ffff:10.96.0.7", "10.96.0.07", "fe80::1%eth0", "0x10", "1.2.3", "0.0.0.0/0", "::/129",
    "1Ei", "1e400",
    "9" * 30, "1" + "0" * 400 + "m", "--1", "1.5.5", "i", "1ii", "٣Gi", "kubernetes.io/metadata.name", "system:masters",
)  # fmt: skip
HOSTILE_NUMBERS = (
    0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**53 + 1, 2**63 - 1, 0.5, -0.0, 1e308, 65536, 99999, 1.0,
)  # fmt: skip
# Written as they are: what no encoder would write.
RAW = tuple(
    map(
        msgspec.Raw,
        (
            b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9223372036854775808", b"1" + b"0" * 5000, b"01",
            b"1.", b".5",
            b"0x10", b"1e-999999999", b"-", b"+1", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\xed\xa0\x80"',
            b'"\\u0000"',
            b'"\\x41"', b'"\n"', b"'a'", b"undefined", b"nul", b"True", b'{"a":1,"a":2}', b'{"":{"":{"":1}}}', b"{,}",
            b"[1,]",
            b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 5000, b"/*c*/1", b'"\\', b"1 2", b"",
            b"12345678901234567890.5",
        ),
    )
)  # fmt: skip


def plausible(rng: random.Random, field: str) -> Any:
    """What a field of that name may hold, or None when nothing is known of it. Shared: copy before changing."""
    values = PLAUSIBLE.get(field)
    return rng.choice(values) if values else None


def hostile(rng: random.Random) -> Any:
    """Any JSON value that is not wanted anywhere."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(HOSTILE_TEXTS)
    if draw < 0.55:
        return rng.choice(HOSTILE_NUMBERS)
    if draw < 0.7:
        return rng.choice(RAW)
    return rng.choice(
        (None, True, False, [], {}, [None], [[]], [{}], {"a": None}, {"": ""}, ["a", "a"], [1, "1"], {"a": {"b": []}})
    )


def text(rng: random.Random) -> str:
    """A text, hostile more often than not."""
    return rng.choice(HOSTILE_TEXTS) if rng.random() < 0.6 else rng.choice(NAMES)


_BY_SHAPE: dict[Shape, tuple[Any, ...]] = {
    Shape.STRING: ("a", "web", "", "example.com/a"),
    Shape.BOOLEAN: (True, False),
    Shape.INT32: (0, 1, 2, 80, -1, 2**31 - 1),
    Shape.INT64: (0, 1, 2, 30, -1, 2**63 - 1),
    Shape.DOUBLE: (0.5, 1.0, -1.5),
    Shape.BYTES: ("dGV4dA==", "", "AAEC"),
    Shape.TIME: ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+02:00", "1969-12-31T23:59:59Z"),
    Shape.MICRO_TIME: ("2026-01-02T03:04:05.000006Z", "1969-12-31T23:59:59.999999Z"),
    Shape.QUANTITY: ("1", "100m", "1Gi", "-3", "1500n", "12e6", "0.1", 5),
    Shape.INT_OR_STRING: (80, "http", "25%", 0),
    Shape.FIELDS: ({"f:metadata": {"f:labels": {".": {}}}}, {}),
    Shape.RAW: ({"a": 1}, "text", [1]),
}


def scalar(rng: random.Random, shape: Shape, field: str) -> Any:
    """A value of the shape; one that the field's name suggests, when it fits often enough."""
    if shape in (Shape.STRING, Shape.INT32, Shape.INT64, Shape.BOOLEAN, Shape.INT_OR_STRING) and rng.random() < 0.85:
        suggested = plausible(rng, field)
        if suggested is not None and not isinstance(suggested, list | dict):
            return suggested
    return rng.choice(_BY_SHAPE[shape])
