"""When a finding is said, and that it is said once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.service.types import Service
from seaway.controllers.diagnosis.findings import CLASS_SERVED, ENDPOINTS_FOUND, Finding
from seaway.controllers.diagnosis.plan import plan_report, render_patch
from seaway.testing.builders import make_service

Json = dict[str, Any]
NOW, THEN = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
NO_POD = Finding(ENDPOINTS_FOUND, "NoPodSelected", "no Pod has app=web")
NO_LB = Finding(CLASS_SERVED, "NoLoadBalancerController", "nobody")


def service(*conditions: Json, **spec: Any) -> Service:
    raw = make_service("web", meta={"uid": "u"}, **spec)
    return msgspec.convert({**raw, "status": {"conditions": list(conditions)}}, Service)


def condition(finding: Finding = NO_POD, status: str = "False", at: str = THEN, **changes: str) -> Json:
    return {"type": finding.condition, "status": status, "reason": finding.reason, "message": finding.message,
            "lastTransitionTime": at, **changes}  # fmt: skip


FOREIGN = {"type": "example.com/Mine", "status": "True"}
MENDED = {"status": "True", "reason": "Found", "message": ""}
CASES: dict[str, tuple[Service, list[Finding], float, list[Json], list[Finding], float | None]] = {
    "a new finding waits": (service(), [NO_POD], 0.0, [], [], 10.0),
    "it waits the rest of its time": (service(), [NO_POD], 7.0, [], [], 3.0),
    "then it is said": (service(), [NO_POD], 10.0, [condition(at=NOW)], [NO_POD], None),
    "a load balancer has longer": (
        service(type="LoadBalancer", loadBalancerClass="a/b"), [NO_LB], 10.0, [], [], 20.0
    ),
    "what is said is not said again": (service(condition()), [NO_POD], 99.0, [], [], None),
    "not even after a restart": (service(condition()), [NO_POD], 0.0, [], [], None),
    "other words are said at once, and the time of the change stands": (
        service(condition(message="old")), [NO_POD], 0.0, [condition()], [NO_POD], None
    ),
    "another reason too": (service(condition(reason="Old")), [NO_POD], 0.0, [condition()], [NO_POD], None),
    "a mended Service says so at once": (service(condition()), [], 0.0, [condition(at=NOW, **MENDED)], [], None),
    "once": (service(condition(**MENDED)), [], 0.0, [], [], None),
    "a Service that never had a finding has no condition": (service(), [], 99.0, [], [], None),
    "a mended one that fails again waits again": (service(condition(**MENDED)), [NO_POD], 0.0, [], [], 10.0),
    "and is said again": (service(condition(**MENDED)), [NO_POD], 10.0, [condition(at=NOW)], [NO_POD], None),
    "without selector the condition goes": (
        service(condition(), selector={}), [], 0.0, [{"type": ENDPOINTS_FOUND, "$patch": "delete"}], [], None
    ),
    "conditions of others are not touched": (service(FOREIGN), [], 99.0, [], [], None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_said(case: tuple[Service, list[Finding], float, list[Json], list[Finding], float | None]) -> None:
    svc, findings, stood, conditions, events, again = case
    plan = plan_report(svc, findings, {f.condition: 100.0 for f in findings}, now=100.0 + stood, wall_now=NOW)
    assert (list(plan.conditions), list(plan.events), plan.requeue_after_seconds) == (conditions, events, again)
    after = {c.type: msgspec.to_builtins(c) for c in svc.status.conditions} | {c["type"]: c for c in conditions}
    kept = [c for c in after.values() if "$patch" not in c]
    settled = msgspec.structs.replace(svc, status=msgspec.convert({"conditions": kept}, type(svc.status)))
    assert plan_report(settled, findings, {}, now=0.0, wall_now=NOW).is_empty, "a plan for its own result is empty"


def test_the_patch_names_own_conditions_and_the_very_service() -> None:
    svc = service(FOREIGN)
    plan = plan_report(svc, [NO_POD], {ENDPOINTS_FOUND: 0.0}, now=10.0, wall_now=NOW)
    assert render_patch(svc, plan) == {"metadata": {"uid": "u"}, "status": {"conditions": [condition(at=NOW)]}}
