"""What an object uses, and what its containers must say. Rule: spec "service-api" §3.6; upstream's quota evaluators."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api import registry
from seaway.apiserver.quota.amounts import format_amounts, parse_amounts
from seaway.apiserver.quota.plan import plan_recount, plan_status
from seaway.apiserver.quota.scopes import is_in_scope
from seaway.apiserver.quota.usage import find_counted, find_unsaid, measure
from seaway.testing.builders import make_pod

Json = dict[str, Any]
PODS, CLAIMS = registry.PODS, registry.PERSISTENT_VOLUME_CLAIMS


def container(name: str = "c", *, requests: Json | None = None, limits: Json | None = None, **more: Any) -> Json:
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def asking(cpu: str, **more: Any) -> Json:
    return container(requests={"cpu": cpu}, **more)


def claim(**spec: Any) -> Json:
    return {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}, **spec}}


@pytest.mark.parametrize(
    ("pod", "name", "amount"),
    [
        pytest.param(make_pod(containers=[asking("1"), asking("500m")]), "cpu", "1500m", id="containers add up"),
        pytest.param(
            make_pod(containers=[asking("1")], initContainers=[asking("3"), asking("2")]), "requests.cpu", "3",
            id="init containers run one by one, and the largest counts if it is more",
        ),
        pytest.param(
            make_pod(containers=[asking("1")], initContainers=[asking("1", restartPolicy="Always"), asking("2")]),
            "cpu", "3",
            id="a sidecar runs beside the init containers after it",
        ),
        pytest.param(
            make_pod(containers=[asking("3")], initContainers=[asking("1", restartPolicy="Always"), asking("2")]),
            "cpu", "4",
            id="a sidecar runs beside the containers",
        ),
        pytest.param(make_pod(containers=[asking("1")], overhead={"cpu": "100m"}), "cpu", "1100m", id="overhead adds"),
        pytest.param(
            make_pod(containers=[container(limits={"memory": "1Gi"})], overhead={"memory": "1Gi"}),
            "limits.memory", "2Gi",
            id="overhead adds to limits that are there",
        ),
        pytest.param(
            make_pod(containers=[asking("1")], resources={"requests": {"cpu": "5"}}), "cpu", "5",
            id="what the Pod says for all goes before the sum",
        ),
        pytest.param(
            make_pod(containers=[container(requests={"example.com/gpu": "2"})]), "requests.example.com/gpu", "2",
            id="extended resources count as requests",
        ),
        pytest.param(
            make_pod(containers=[container(requests={"hugepages-2Mi": "4Mi"})]), "hugepages-2Mi", "4Mi",
            id="huge pages count under their name",
        ),
        pytest.param(make_pod(containers=[asking("1")], status={"phase": "Failed"}), "cpu", None, id="a failed Pod"),
        pytest.param(make_pod(status={"phase": "Failed"}), "pods", None, id="a Pod that has ended is no Pod"),
        pytest.param(make_pod(status={"phase": "Failed"}), "count/pods", "1", id="and still an object"),
    ],
)  # fmt: skip
def test_a_pod_uses(pod: Json, name: str, amount: str | None) -> None:
    assert format_amounts(measure(PODS, pod)).get(name) == amount


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(
            claim(),
            {"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "1Gi"},
            id="a claim and its storage",
        ),
        pytest.param(
            claim(storageClassName="fast"),
            {
                "count/persistentvolumeclaims": "1",
                "persistentvolumeclaims": "1",
                "requests.storage": "1Gi",
                "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
            },
            id="and of its class",
        ),
    ],
)
def test_a_claim_uses(obj: Json, expected: Json) -> None:
    assert format_amounts(measure(CLAIMS, obj)) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("services", registry.SERVICES),
        ("services.nodeports", registry.SERVICES),
        ("count/deployments.apps", registry.DEPLOYMENTS),
        ("count/endpointslices.discovery.k8s.io", registry.ENDPOINT_SLICES),
        ("count/serviceaccounts", registry.SERVICE_ACCOUNTS),
        ("fast.storageclass.storage.k8s.io/requests.storage", CLAIMS),
        ("requests.example.com/gpu", PODS),
        ("hugepages-2Mi", PODS),
        ("count/events", None),
        ("count/nodes", None),
        ("deployments", None),
        ("example.com/gpu", None),
    ],
)
def test_a_name_counts_objects_of(name: str, kind: registry.Resource | None) -> None:
    assert find_counted(name) is kind


@pytest.mark.parametrize(
    ("pod", "names", "text"),
    [
        pytest.param(make_pod(containers=[asking("1")]), ["cpu"], "", id="who asks has said it"),
        pytest.param(make_pod(containers=[asking("1")]), ["requests.cpu"], "", id="under either name"),
        pytest.param(
            make_pod(containers=[asking("1")]), ["limits.cpu"], "must specify limits.cpu for: c", id="limits apart"
        ),
        pytest.param(
            make_pod(containers=[container("b"), container("a")], initContainers=[container("i")]), ["memory", "cpu"],
            "must specify cpu for: a,b,i; memory for: a,b,i",
            id="all that is missing, sorted, init containers too",
        ),
        pytest.param(
            make_pod(containers=[container("a")], resources={"requests": {"cpu": "1"}}), ["cpu"], "",
            id="the Pod may say it for all",
        ),
        pytest.param(make_pod(containers=[container("a")]), ["pods", "ephemeral-storage"], "", id="nothing else"),
    ],
)  # fmt: skip
def test_a_pod_must_say(pod: Json, names: list[str], text: str) -> None:
    assert find_unsaid(pod, names) == text


def selector(scope: str, operator: str, *values: str) -> Json:
    return {"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": [*values]}]}}


HIGH, PLAIN = make_pod(priorityClassName="high"), make_pod()
FAR = {"podAffinityTerm": {"namespaces": ["x"]}, "weight": 1}


@pytest.mark.parametrize(
    ("spec", "pod", "counts"),
    [
        pytest.param({}, PLAIN, True, id="no scope: all"),
        pytest.param({"scopes": ["Terminating"]}, make_pod(activeDeadlineSeconds=0), True, id="a Pod with a deadline"),
        pytest.param({"scopes": ["Terminating"]}, PLAIN, False, id="a Pod without"),
        pytest.param({"scopes": ["NotTerminating"]}, PLAIN, True, id="not terminating"),
        pytest.param({"scopes": ["BestEffort"]}, PLAIN, True, id="a Pod that asks for nothing"),
        pytest.param({"scopes": ["BestEffort"]}, make_pod(containers=[asking("1")]), False, id="one that asks"),
        pytest.param({"scopes": ["NotBestEffort"]}, make_pod(containers=[asking("1")]), True, id="not best effort"),
        pytest.param({"scopes": ["BestEffort", "Terminating"]}, PLAIN, False, id="all scopes must hold"),
        pytest.param({"scopes": ["PriorityClass"]}, HIGH, True, id="a Pod with a priority class"),
        pytest.param({"scopes": ["PriorityClass"]}, PLAIN, False, id="a Pod with none"),
        pytest.param(selector("PriorityClass", "In", "high", "top"), HIGH, True, id="one of these classes"),
        pytest.param(selector("PriorityClass", "In", "low"), HIGH, False, id="another class"),
        pytest.param(selector("PriorityClass", "NotIn", "low"), PLAIN, True, id="no class is none of these"),
        pytest.param(selector("PriorityClass", "NotIn", "high"), HIGH, False, id="not that class"),
        pytest.param(selector("PriorityClass", "DoesNotExist"), PLAIN, True, id="no class at all"),
        pytest.param(
            {"scopes": ["CrossNamespacePodAffinity"]},
            make_pod(affinity={"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [FAR]}}), True,
            id="affinity to Pods of other namespaces",
        ),
        pytest.param({"scopes": ["CrossNamespacePodAffinity"]}, PLAIN, False, id="affinity to none"),
        pytest.param({"scopes": ["VolumeAttributesClass"]}, PLAIN, False, id="a scope of claims"),
    ],
)  # fmt: skip
def test_a_quota_with_scopes_counts(spec: Json, pod: Json, counts: bool) -> None:
    assert is_in_scope(spec, PODS, pod) is counts


def test_a_quota_with_scopes_counts_nothing_but_pods_and_claims() -> None:
    assert not is_in_scope({"scopes": ["NotTerminating"]}, registry.SERVICES, {"spec": {}})
    assert is_in_scope(selector("VolumeAttributesClass", "In", "gold"), CLAIMS, claim(volumeAttributesClassName="gold"))


def quota(hard: Json, status: Json | None = None) -> Json:
    return {"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": status or {}}


@pytest.mark.parametrize(
    ("found", "planned"),
    [
        pytest.param({}, {"hard": {"pods": "2"}}, id="first the limits, so that all later writers know"),
        pytest.param({"hard": {"pods": "2"}}, {"hard": {"pods": "2"}, "used": {"pods": "1"}}, id="then the numbers"),
        pytest.param({"hard": {"pods": "2"}, "used": {"pods": "1"}}, None, id="a counted quota stays"),
        pytest.param({"hard": {"pods": "9"}, "used": {"pods": "1"}}, {"hard": {"pods": "2"}, "used": {"pods": "1"}},
                     id="another limit for the same name needs no count"),
        pytest.param({"hard": {"cpu": "9"}, "used": {"cpu": "1"}}, {"hard": {"pods": "2"}},
                     id="other names begin anew"),
    ],
)  # fmt: skip
def test_the_status_of_a_quota_becomes(found: Json, planned: Json | None) -> None:
    assert plan_status(quota({"pods": "2"}, found), lambda: parse_amounts({"pods": "1"})) == planned


@pytest.mark.parametrize(
    ("told", "true", "mends"),
    [
        ({"memory": "1024Mi"}, {"memory": "1Gi"}, False),
        ({"memory": "1Gi"}, {"memory": "1G"}, True),
        ({}, {"memory": "0"}, True),
    ],
)
def test_a_recount_compares_amounts_and_not_how_they_are_written(told: Json, true: Json, mends: bool) -> None:
    held = quota({"memory": "2Gi"}, {"hard": {"memory": "2Gi"}, "used": told})
    assert (plan_recount(held, lambda: parse_amounts(true)) is not None) is mends
