"""What objects get from classes. Rule: spec "service-api" §10 (DefaultIngressClass); upstream's Priority admission."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api import registry
from seaway.api.machinery.errors import Forbidden
from seaway.apiserver.admission.classes import admit_priority, choose_ingress_class
from tests.api.manifests import make_manifest
from tests.apiserver.conversation import Conversation, talk

Json = dict[str, Any]
OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def make_class(name: str, created: str = OLD, *, default: str = "true") -> Json:
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": {DEFAULT: default}}}


@pytest.mark.parametrize(
    ("classes", "chosen"),
    [
        pytest.param([], None, id="no class"),
        pytest.param([make_class("a", default="false"), {"metadata": {"name": "b", "creationTimestamp": OLD}}], None,
                     id="no default"),
        pytest.param([make_class("a")], "a", id="the default"),
        pytest.param([make_class("a"), make_class("b", NEW)], "b", id="of several the newest"),
        pytest.param([make_class("b"), make_class("a")], "a", id="of equally new ones the first by name"),
    ],
)  # fmt: skip
def test_an_ingress_without_a_class_gets_the_default(classes: list[Json], chosen: str | None) -> None:
    ingress: Json = {"metadata": {}, "spec": {"rules": []}}
    before = copy.deepcopy(ingress)
    assert choose_ingress_class(ingress, classes)["spec"].get("ingressClassName") == chosen
    assert ingress == before


@pytest.mark.parametrize(
    "ingress",
    [
        {"metadata": {}, "spec": {"ingressClassName": "mine"}},
        {"metadata": {}, "spec": {"ingressClassName": ""}},
        {"metadata": {"annotations": {"kubernetes.io/ingress.class": "mine"}}, "spec": {}},
    ],
    ids=["a class", "no class on purpose", "the old annotation"],
)
def test_an_ingress_that_says_something_keeps_it(ingress: Json) -> None:
    assert choose_ingress_class(ingress, [make_class("a")]) == ingress


PRIORITIES: list[Json] = [
    {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"},
    {"metadata": {"name": "low"}, "value": -5},
]
USUAL: Json = {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}


@pytest.mark.parametrize(
    ("spec", "classes", "wanted"),
    [
        pytest.param({"priority": 0}, PRIORITIES, {"priority": 0}, id="no class, no default"),
        pytest.param({"priorityClassName": "high", "priority": 0}, PRIORITIES,
                     {"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"}, id="a class"),
        pytest.param({"priorityClassName": "low", "preemptionPolicy": "x"}, PRIORITIES,
                     {"priorityClassName": "low", "priority": -5, "preemptionPolicy": "x"}, id="a class of no policy"),
        pytest.param({"priority": 0}, [*PRIORITIES, USUAL],
                     {"priorityClassName": "usual", "priority": 7, "preemptionPolicy": None}, id="the default of all"),
        pytest.param({"priorityClassName": "high", "priority": 1000}, PRIORITIES,
                     {"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"}, id="said twice"),
    ],
)  # fmt: skip
def test_a_pod_has_the_priority_of_its_class(spec: Json, classes: list[Json], wanted: Json) -> None:
    pod = {"metadata": {"name": "web"}, "spec": spec}
    before = copy.deepcopy(pod)
    assert admit_priority(pod, classes)["spec"] == wanted
    assert pod == before


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"priorityClassName": "high", "priority": 5},
         "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed "
         "1000 from the given PriorityClass name"),
    ],
)  # fmt: skip
def test_a_pod_may_not_make_up_a_priority(spec: Json, why: str) -> None:
    with pytest.raises(Forbidden) as refused:
        admit_priority({"metadata": {"name": "web"}, "spec": spec}, PRIORITIES)
    assert refused.value.message == f'pods "web" is forbidden: {why}'


def test_the_server_knows_its_classes() -> None:
    async def conversation(ask: Conversation) -> None:
        listed = await ask("GET", registry.PRIORITY_CLASSES.path())
        assert {item["metadata"]["name"]: item["value"] for item in listed.body["items"]} == {
            "system-cluster-critical": 2_000_000_000,
            "system-node-critical": 2_000_001_000,
        }
        pods, ingresses = registry.PODS.path("default"), registry.INGRESSES.path("default")
        pod = make_manifest(registry.PODS, spec={"priorityClassName": "system-node-critical"})
        assert (await ask("POST", pods, pod)).body["spec"]["priority"] == 2_000_001_000
        made = make_manifest(registry.INGRESS_CLASSES, metadata={"annotations": {DEFAULT: "true"}})
        await ask("POST", registry.INGRESS_CLASSES.path(), made)
        created = await ask("POST", ingresses, make_manifest(registry.INGRESSES))
        assert created.body["spec"]["ingressClassName"] == "web"

    talk(conversation)
