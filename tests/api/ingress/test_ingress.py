"""Rule: spec "service-api" §10."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import INGRESSES
from tests.api.kindtable import Case, cases
from tests.api.manifests import BACKEND, create_texts, make_stored, update_texts

Json = dict[str, Any]
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
CLASS = "kubernetes.io/ingress.class"


def host(name: str) -> Json:
    return {"spec": {"rules": [{"host": name}]}}


def path(text: str, kind: str | None = "Exact", backend: Json | None = None) -> Json:
    entry = {"path": text, "backend": BACKEND if backend is None else backend}
    return {"spec": {"rules": [{"http": {"paths": [{**entry, "pathType": kind} if kind else entry]}}]}}


PATH = "spec.rules[0].http.paths[0]"
CREATE: list[Case] = [
    ("it leads somewhere", {"spec": {"defaultBackend": None}},
     ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
    ("a host is a name", host("10.0.0.1"),
     ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address']),
    ("in lower case", host("A.b"), [f'spec.rules[0].host: Invalid value: "A.b": {SUBDOMAIN}']),
    ("or a wildcard", host("*.example.com"), []),
    ("of one label", host("*.*.com"),
     ["spec.rules[0].host: Invalid value: \"*.*.com\": a wildcard DNS-1123 subdomain must start with '*.', followed "
      "by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with "
      "an alphanumeric character (e.g. '*.example.com', regex used for validation is "
      r"'\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]),
    ("a rule of HTTP has paths", {"spec": {"rules": [{"http": {"paths": []}}]}},
     ["spec.rules[0].http.paths: Required value"]),
    ("a path has a type, else nothing of it is judged", path("x", None, {}),
     [f"{PATH}.pathType: Required value: pathType must be specified"]),
    ("a known one", path("/", "Regex"),
     [f'{PATH}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"']),
    ("a path is absolute", path("x"), [f'{PATH}.path: Invalid value: "x": must be an absolute path']),
    ("a path is plain", path("/a//b/./c/%2f/.."),
     [f'{PATH}.path: Invalid value: "/a//b/./c/%2f/..": must not contain \'{part}\'' for part in ("//", "/./", "%2f")]
     + [f'{PATH}.path: Invalid value: "/a//b/./c/%2f/..": cannot end with \'/..\'']),
    ("implementations read paths in their own way", path("/a//b", "ImplementationSpecific"), []),
    ("but absolute ones", path("a", "ImplementationSpecific"),
     [f'{PATH}.path: Invalid value: "a": must be an absolute path']),
    ("a backend is something", path("/", backend={}),
     [f'{PATH}.backend: Invalid value: "": resource or service backend is required']),
    ("one thing", path("/", backend={**BACKEND, "resource": {"kind": "a", "name": "b"}}),
     [f'{PATH}.backend: Invalid value: "": cannot set both resource and service backends']),
    ("a service has a name and a port", path("/", backend={"service": {}}),
     [f"{PATH}.backend.service.name: Required value",
      f"{PATH}.backend: Required value: port name or number is required"]),
    ("one port", path("/", backend={"service": {"name": "a", "port": {"name": "b", "number": 1}}}),
     [f'{PATH}.backend: Invalid value: "": cannot set both port name & port number']),
    ("a port number", path("/", backend={"service": {"name": "a", "port": {"number": 70000}}}),
     [f"{PATH}.backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    ("a resource has kind and name", path("/", backend={"resource": {"apiGroup": "example.com"}}),
     [f"{PATH}.backend.resource.kind: Required value", f"{PATH}.backend.resource.name: Required value"]),
    ("certificates are for names", {"spec": {"tls": [{"hosts": ["a.b", "*.c"], "secretName": "X"}]}},
     [f'spec.tls[0].secretName: Invalid value: "X": {SUBDOMAIN}']),
    ("one class",
     {"spec": {"ingressClassName": "a"}, "metadata": {"annotations": {CLASS: "b"}}},
     [f'annotations.{CLASS}: Invalid value: "b": must match `ingressClassName` when both are specified']),
    ("a class is named", {"spec": {"ingressClassName": "A"}},
     [f'spec.ingressClassName: Invalid value: "A": {SUBDOMAIN}']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(INGRESSES, **changes) == texts


def test_the_annotation_is_judged_on_create_alone() -> None:
    changes = {"spec": {"ingressClassName": "a"}, "metadata": {"annotations": {CLASS: "b"}}}
    assert update_texts(INGRESSES, changes) == []


def test_a_bad_name_of_a_secret_may_stay() -> None:
    old = make_stored(INGRESSES, spec={"tls": [{"secretName": "X"}]})
    assert update_texts(INGRESSES, {"metadata": {"labels": {"a": "b"}}}, old=old) == []
    assert len(update_texts(INGRESSES, {"spec": {"tls": [{"secretName": "Y"}]}}, old=old)) == 1


STATUS: list[Case] = [
    ("an address and a name", {"ip": "192.0.2.1", "hostname": "lb.example.com"}, []),
    ("an address is one", {"ip": "x"},
     ['status.loadBalancer.ingress[0].ip: Invalid value: "x": '
      "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
    ("a name is none", {"hostname": "10.0.0.1"},
     ['status.loadBalancer.ingress[0].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address']),
]  # fmt: skip


@cases(STATUS)
def test_status(changes: Json, texts: list[str]) -> None:
    obj = {"status": {"loadBalancer": {"ingress": [changes]}}}
    assert [str(error) for error in INGRESSES.strategy.validate_status_update(obj, {})] == texts


def test_the_old_annotation_is_warned_of_on_create_without_a_class() -> None:
    warnings = INGRESSES.strategy.warnings
    old_style = make_stored(INGRESSES, metadata={"annotations": {CLASS: "a"}})
    assert warnings(old_style, None) == [
        f"annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    assert warnings(old_style, old_style) == []
    assert warnings({**old_style, "spec": {"ingressClassName": "a"}}, None) == []


def test_a_status_write_is_warned_of_odd_addresses_and_a_write_of_the_rest_is_not() -> None:
    odd = {**make_stored(INGRESSES), "status": {"loadBalancer": {"ingress": [{"ip": "FD::1"}]}}}
    assert INGRESSES.strategy.warnings(odd, odd) == []
    assert INGRESSES.strategy.status_warnings(odd, odd) == [
        'status.loadBalancer.ingress[0]: IPv6 address "FD::1" should be in RFC 5952 canonical format ("fd::1")'
    ]


def test_an_odd_address_of_the_status_may_stay() -> None:
    odd = {"status": {"loadBalancer": {"ingress": [{"ip": "010.0.0.1"}]}}}
    assert INGRESSES.strategy.validate_status_update(odd, odd) == []
    assert len(INGRESSES.strategy.validate_status_update(odd, {})) == 1
