"""What is said of a Service that leads nowhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.diagnosis.findings import (
    CLASS_SERVED,
    ENDPOINTS_FOUND,
    Finding,
    Surroundings,
    diagnose,
    has_endpoints,
)
from seaway.testing.builders import make_pod, make_service

Json = dict[str, Any]


def service(**spec: Any) -> Service:
    return msgspec.convert(make_service("web", **spec), Service)


def pod(name: str = "a", ports: str = "", phase: str = "Running", **labels: str) -> Pod:
    """ports: words of `name/protocol`."""
    found = [(*word.split("/"), "TCP")[:2] for word in ports.split()]
    container = {"name": "main", "ports": [{"name": n, "protocol": p, "containerPort": 80} for n, p in found]}
    raw = make_pod(name, labels=labels or {"app": "web"}, containers=[container], status={"phase": phase})
    return msgspec.convert(raw, Pod)


SELECTORS: dict[str, tuple[list[Pod], Surroundings, str]] = {
    "the nearest match is named with its number": (
        [], Surroundings([pod(app="webb")] * 3), "no Pod has app=web; 3 Pods have app=webb"
    ),
    "one Pod": ([], Surroundings([pod(app="webb")]), "no Pod has app=web; 1 Pod has app=webb"),
    "Pods that have ended are no endpoints": (
        [pod(phase="Succeeded"), pod(phase="Failed")], Surroundings(), "no Pod has app=web but 2 Pods that have ended"
    ),
    "one Pod that has ended": ([pod(phase="Failed")], Surroundings(), "no Pod has app=web but 1 Pod that has ended"),
    "Pods that have ended are no match either": (
        [], Surroundings([pod(app="webb", phase="Succeeded"), pod(app="db")]), "no Pod has app=web"
    ),
    "Pods of another namespace": (
        [], Surroundings([pod(app="db")], {"shop": 2, "test": 1}),
        "no Pod has app=web; 2 Pods of namespace shop have"
    ),
    "a match in the namespace is nearer": (
        [], Surroundings([pod(app="webb")], {"shop": 2}), "no Pod has app=web; 1 Pod has app=webb"
    ),
    "an empty namespace": ([], Surroundings(), "no Pod has app=web; namespace default has no Pods"),
    "nothing is near": ([], Surroundings([pod(app="database")]), "no Pod has app=web"),
}  # fmt: skip


@pytest.mark.parametrize("case", SELECTORS.values(), ids=SELECTORS)
def test_a_selector_that_matches_no_pod(case: tuple[list[Pod], Surroundings, str]) -> None:
    selected, around, message = case
    assert diagnose(service(), selected, around) == (Finding(ENDPOINTS_FOUND, "NoPodSelected", message),)
    assert not has_endpoints(service(), selected)


def test_a_selector_of_several_labels_is_told_whole() -> None:
    around = Surroundings([pod(app="web", tier="back")])
    found = diagnose(service(selector={"tier": "front", "app": "web"}), [], around)
    assert found[0].message == "no Pod has app=web,tier=front; 1 Pod has app=web,tier=back"


NO_PORT = "no selected Pod has a TCP port named http"
PORTS = {
    "a slip": (["htpp metrics", "metrics"], f"{NO_PORT}; 1 Pod has htpp"),
    "the nearest name": (["httq metrics", "httq"], f"{NO_PORT}; 2 Pods have httq"),
    "another protocol": (["http/UDP", "http/UDP"], f"{NO_PORT}; 2 Pods have http for UDP"),
    "other names": (["metrics admin"], f"{NO_PORT}; they have admin, metrics"),
    "names of the protocol alone": (["metrics admin/UDP"], f"{NO_PORT}; they have metrics"),
    "no names": (["", ""], f"{NO_PORT}; no TCP port of theirs has a name"),
}


@pytest.mark.parametrize("case", PORTS.values(), ids=PORTS)
def test_a_named_port_that_no_pod_has(case: tuple[list[str], str]) -> None:
    svc = service(ports=[{"port": 80, "targetPort": "http"}])
    selected = [pod(f"p{n}", ports) for n, ports in enumerate(case[0])]
    assert diagnose(svc, selected, Surroundings()) == (Finding(ENDPOINTS_FOUND, "TargetPortNotFound", case[1]),)
    assert not has_endpoints(svc, selected)


def test_each_missing_port_is_told() -> None:
    ports = [{"name": n, "port": p, "targetPort": n} for n, p in (("http", 80), ("metrics", 90), ("admin", 91))]
    found = diagnose(service(ports=ports), [pod("a", "metrics")], Surroundings())
    assert found[0].message == (
        "no selected Pod has a TCP port named http; they have metrics. "
        "no selected Pod has a TCP port named admin; they have metrics"
    )


GOOD: dict[str, tuple[Json, list[Pod]]] = {
    "a Pod by number": ({}, [pod()]),
    "one Pod with the named port is enough": (
        {"ports": [{"port": 80, "targetPort": "http"}]}, [pod("a"), pod("b", "http")]
    ),
    "no ports": ({"ports": [], "clusterIP": "None"}, [pod()]),
    "no selector": ({"selector": {}}, []),
    "an external name": ({"type": "ExternalName", "externalName": "example.com"}, []),
    "a load balancer without class": ({"type": "LoadBalancer"}, [pod()]),
    "a class that a type of another kind has left": ({"type": "ClusterIP", "loadBalancerClass": "a/b"}, [pod()]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_nothing_is_said_of(case: tuple[Json, list[Pod]]) -> None:
    assert diagnose(service(**case[0]), case[1], Surroundings()) == ()


def balancer(**more: Any) -> Service:
    raw = make_service("web", type="LoadBalancer", loadBalancerClass="example.com/vip")
    return msgspec.convert({**raw, **more}, Service)


CLASSES = {
    "nobody serves any": ({}, "no load-balancer controller has answered for class example.com/vip"),
    "a like one is served": (
        {"example.com/vips": 2},
        "no load-balancer controller has answered for class example.com/vip; "
        "2 Services have an address of class example.com/vips",
    ),
    "another is served": (
        {"metallb": 1},
        "no load-balancer controller has answered for class example.com/vip; classes with an address: metallb",
    ),
    "the class itself is served for others": (
        {"example.com/vip": 3},
        "no load-balancer controller has answered for class example.com/vip; classes with an address: example.com/vip",
    ),
}


@pytest.mark.parametrize("case", CLASSES.values(), ids=CLASSES)
def test_a_class_that_nobody_serves(case: tuple[dict[str, int], str]) -> None:
    found = diagnose(balancer(), [pod()], Surroundings(served_classes=case[0]))
    assert found == (Finding(CLASS_SERVED, "NoLoadBalancerController", case[1]),)


def test_a_class_is_served_when_a_controller_has_answered_or_taken_it_up() -> None:
    answered = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    taken = {"name": "web", "namespace": "default", "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}
    assert diagnose(balancer(status=answered), [pod()], Surroundings()) == ()
    assert diagnose(balancer(metadata=taken), [pod()], Surroundings()) == ()


def test_both_findings_stand_side_by_side() -> None:
    found = diagnose(balancer(), [], Surroundings())
    assert [finding.condition for finding in found] == [ENDPOINTS_FOUND, CLASS_SERVED]


def test_a_message_fits_an_event() -> None:
    found = diagnose(service(selector={f"k{n}": "v" * 60 for n in range(40)}), [], Surroundings())
    assert len(found[0].message) == 1024


def test_a_sidecar_has_ports_too() -> None:
    raw = make_pod("a", labels={"app": "web"})
    raw["spec"]["initContainers"] = [
        {"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "htpp", "containerPort": 80}]},
        {"name": "setup", "ports": [{"name": "htttp", "containerPort": 80}]},
    ]
    svc = service(ports=[{"port": 80, "targetPort": "http"}])
    found = diagnose(svc, [msgspec.convert(raw, Pod)], Surroundings())
    assert [finding.message for finding in found] == [f"{NO_PORT}; 1 Pod has htpp"]
