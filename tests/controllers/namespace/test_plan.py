"""Rule: spec "controllers" §7.1, §7.2."""

from __future__ import annotations

import msgspec
import pytest

from seaway.api.configmap.types import ConfigMap
from seaway.api.namespace.objects import ROOT_CA_DESCRIPTION
from seaway.api.namespace.types import Namespace
from seaway.controllers.namespace.plan import (
    Content,
    find_unexplained,
    merge_conditions,
    plan_defaults,
    plan_termination,
)

ACTIVE = msgspec.convert({"metadata": {"name": "shop"}, "status": {"phase": "Active"}}, Namespace)
ENDING = msgspec.convert(
    {"metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Terminating"}},
    Namespace,
)


def config_map(ca_pem: str, description: str = ROOT_CA_DESCRIPTION) -> ConfigMap:
    annotations = {"kubernetes.io/description": description}
    return msgspec.convert({"metadata": {"annotations": annotations}, "data": {"ca.crt": ca_pem}}, ConfigMap)


DEFAULTS = [
    ("an empty namespace lacks both", ACTIVE, False, None, (True, True, False)),
    ("a complete one lacks nothing", ACTIVE, True, config_map("CA"), (False, False, False)),
    ("a changed bundle is put right", ACTIVE, True, config_map("other"), (False, False, True)),
    ("an emptied description is put right", ACTIVE, True, config_map("CA", ""), (False, False, True)),
    ("another description is left", ACTIVE, True, config_map("CA", "mine"), (False, False, False)),
    ("an ending namespace gets nothing", ENDING, False, None, (False, False, False)),
]


@pytest.mark.parametrize(
    ("namespace", "has_account", "existing", "writes"), [c[1:] for c in DEFAULTS], ids=[c[0] for c in DEFAULTS]
)
def test_defaults(
    namespace: Namespace, has_account: bool, existing: ConfigMap | None, writes: tuple[bool, bool, bool]
) -> None:
    plan = plan_defaults(namespace, has_service_account=has_account, config_map=existing, ca_pem="CA")
    found = (plan.create_service_account, plan.create_config_map, plan.update_config_map)
    assert tuple(obj is not None for obj in found) == writes


PODS, SERVICES = Content("pods", 2, grace_seconds=30), Content("services", 1)
STEPS = [
    ("an empty namespace may go", [Content("pods", 0)], (), True, None),
    ("pods go before the rest", [SERVICES, PODS], ("pods",), False, 30),
    ("pods that are ending are waited for", [Content("pods", 2, terminating=2), SERVICES], (), False, 1),
    (
        "then the rest goes",
        [Content("pods", 0), SERVICES, Content("leases.x", 1)],
        ("leases.x", "services"),
        False,
        None,
    ),
    ("a finalizer is waited for", [Content("services", 1, 1, {"f": 1})], (), False, 8),
]


@pytest.mark.parametrize(
    ("contents", "delete", "is_empty", "requeue"), [c[1:] for c in STEPS], ids=[c[0] for c in STEPS]
)
def test_termination(contents: list[Content], delete: tuple[str, ...], is_empty: bool, requeue: float | None) -> None:
    plan = plan_termination(contents)
    assert (plan.delete, plan.is_empty, plan.requeue_after_seconds) == (delete, is_empty, requeue)


def test_conditions_say_what_is_left() -> None:
    plan = plan_termination([SERVICES, Content("leases.x", 2, 2, {"b": 1, "a": 1})], ["services: no"])
    assert [(c["type"], c["status"], c["reason"], c["message"]) for c in plan.conditions] == [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
         "All legacy kube types successfully parsed"),
        ("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed",
         "Failed to delete all resource types, 1 remaining: services: no"),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain",
         "Some resources are remaining: leases.x has 2 resource instances, services. has 1 resource instances"),
        ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
         "Some content in the namespace has finalizers remaining: "
         "a in 1 resource instances, b in 1 resource instances"),
    ]  # fmt: skip


def test_while_pods_remain_nothing_else_is_counted() -> None:
    remaining = {c["type"]: c["status"] for c in plan_termination([PODS, SERVICES]).conditions}
    assert remaining["NamespaceContentRemaining"] == "False"


def test_a_condition_keeps_its_time_while_its_status_lasts() -> None:
    wanted = [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}]
    existing = [{"type": "A", "status": "True", "lastTransitionTime": "then"}, {"type": "B", "status": "True"}]
    assert [c["lastTransitionTime"] for c in merge_conditions(existing, wanted, "now")] == ["then", "now"]


def test_a_group_that_does_not_answer_holds_the_namespace_and_is_told() -> None:
    plan = plan_termination([], unknown=["metrics.k8s.io/v1beta1: its server does not answer"])
    assert not plan.is_empty
    assert plan.stuck == "metrics.k8s.io/v1beta1: its server does not answer"
    told = next(c for c in plan.conditions if c["type"] == "NamespaceDeletionDiscoveryFailure")
    assert (told["status"], told["reason"]) == ("True", "DiscoveryFailed")


UNEXPLAINED = {
    "a kind that was deleted and is still there": (Content("services", 1, gvr="/v1, Resource=services"), True),
    "a finalizer explains it": (Content("services", 1, 1, {"f": 1}), False),
    "Pods take their time": (Content("pods", 1, 1), False),
    "nothing is left": (Content("services", 0), False),
}


@pytest.mark.parametrize(("content", "is_told"), UNEXPLAINED.values(), ids=UNEXPLAINED.keys())
def test_what_remains_without_a_reason_is_told(content: Content, is_told: bool) -> None:
    text = "unexpected items still remain in namespace: shop for gvr: /v1, Resource=services"
    assert find_unexplained("shop", [content]) == ((text,) if is_told else ())
