"""What a Job makes, counts and says. Rule: spec "controllers" §7.9."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.job.defaults import default_job
from seaway.api.pod.types import Pod
from seaway.controllers.workloads.job.ending import INDEX
from seaway.controllers.workloads.job.failure import judge_failure
from seaway.controllers.workloads.job.indexes import parse_indexes, render_indexes
from seaway.controllers.workloads.job.perindex import FAILURES
from seaway.controllers.workloads.job.plan import FINALIZER, find_expiry, is_finished, plan_job
from seaway.controllers.workloads.job.render import render_job_pod
from seaway.controllers.workloads.job.success import find_met_rule
from tests.controllers.workloads.test_podcontrol import NOW, ago

Json = dict[str, Any]


def make_job(status: Json | None = None, **spec: Any) -> Json:
    meta = {"name": "work", "namespace": "default", "uid": "u1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}}
    return default_job({"metadata": meta, "spec": {"template": template, **spec}, "status": status or {}})


def pod(
    name: str, phase: str = "Running", *, index: int | None = None, held: bool = True, ended: float = 0, code: int = 1,
    ending: bool = False, restarts: int = 0, failures: int = 0,
) -> Pod:  # fmt: skip
    meta: Json = {"name": name, "namespace": "default", "uid": name, "finalizers": [FINALIZER] if held else []}
    if index is not None:
        meta["annotations"] = {INDEX: str(index), FAILURES: str(failures)}
    if ending:
        meta["deletionTimestamp"] = ago(1)
    container: Json = {"name": "main", "restartCount": restarts}
    if phase in ("Succeeded", "Failed"):
        container["state"] = {"terminated": {"exitCode": code, "finishedAt": ago(ended)}}
    return msgspec.convert(
        {"metadata": meta, "spec": {}, "status": {"phase": phase, "containerStatuses": [container]}}, Pod
    )


@given(st.frozensets(st.integers(0, 60)))
def test_indexes_survive_their_text(indexes: frozenset[int]) -> None:
    assert parse_indexes(render_indexes(indexes), 61) == indexes


def test_three_in_a_row_are_a_range_and_nonsense_is_skipped() -> None:
    assert render_indexes([5, 0, 1, 2, 7, 8]) == "0-2,5,7,8"
    assert parse_indexes("0-2,x,9-,7-99", 10) == {0, 1, 2, 9, 7, 8}


def test_a_pod_is_named_first_then_let_go_then_counted() -> None:
    job, done = make_job(completions=2), pod("a", "Succeeded", ended=100)
    named = plan_job(job, [done], wall_now=NOW)
    assert named.status["uncountedTerminatedPods"] == {"succeeded": ["a"]} and not named.release
    assert "succeeded" not in named.status
    stored = {**job, "status": named.status}
    let_go = plan_job(stored, [done], wall_now=NOW)
    assert [p.metadata.name for p in let_go.release] == ["a"]
    assert let_go.status["uncountedTerminatedPods"] == {"succeeded": ["a"]}
    counted = plan_job(stored, [pod("a", "Succeeded", held=False, ended=100)], wall_now=NOW)
    assert counted.status["uncountedTerminatedPods"] == {} and counted.status["succeeded"] == 1
    assert plan_job({**job, "status": counted.status}, [], wall_now=NOW).status["succeeded"] == 1


@pytest.mark.parametrize(
    ("job", "pods", "wanted"),
    [
        pytest.param(make_job(completions=5, parallelism=2), [], 2, id="as many as run at once"),
        pytest.param(make_job(completions=2, parallelism=5), [pod("a")], 1, id="no more than are missing"),
        pytest.param(make_job(parallelism=3), [], 3, id="without a count, as many as run at once"),
        pytest.param(make_job(parallelism=3), [pod("a", "Succeeded")], 0, id="without a count, none after a success"),
        pytest.param(make_job(completions=2, suspend=True), [], 0, id="a suspended one makes none"),
        pytest.param(make_job(completions=1), [pod("a", "Failed", ended=9)], 0, id="none for 10 s after a failure"),
        pytest.param(make_job(completions=1), [pod("a", "Failed", ended=10)], 1, id="one 10 s after a failure"),
        pytest.param(
            make_job(completions=1), [pod("a", "Failed", ended=19), pod("b", "Failed", ended=90)], 0,
            id="twice as long after two",
        ),
        pytest.param(
            make_job(completions=2), [pod("a", "Failed", ended=5), pod("b", "Succeeded", ended=1)], 1,
            id="a success makes up for failures",
        ),
        pytest.param(make_job(completions=1), [pod("a", ending=True)], 1, id="what ends is replaced at once"),
        pytest.param(
            make_job(completions=1, podReplacementPolicy="Failed"), [pod("a", ending=True)], 0,
            id="or when it has ended, if the Job says so",
        ),
    ],
)  # fmt: skip
def test_how_many_are_made(job: Json, pods: list[Pod], wanted: int) -> None:
    before = copy.deepcopy((job, pods))
    assert len(plan_job(job, pods, wall_now=NOW).create) == wanted
    assert (job, pods) == before


def test_indexes_that_are_done_or_run_are_not_made() -> None:
    job = make_job({"completedIndexes": "0,3"}, completions=6, parallelism=3, completionMode="Indexed")
    assert plan_job(job, [pod("a", index=1)], wall_now=NOW).create == (2, 4)


def test_what_is_too_much_goes_uncounted() -> None:
    plan = plan_job(make_job(completions=5, parallelism=1), [pod("a"), pod("b")], wall_now=NOW)
    assert len(plan.remove) == 1 and plan.status["active"] == 1 and "failed" not in plan.status


def test_restarts_of_containers_count_against_the_limit_where_they_are_restarted() -> None:
    job = make_job(completions=1, backoffLimit=3)
    job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    assert plan_job(job, [pod("a", restarts=2)], wall_now=NOW).end == ()
    failing = plan_job(job, [pod("a", restarts=3)], wall_now=NOW)
    assert failing.status["conditions"][-1]["reason"] == "BackoffLimitExceeded" and len(failing.end) == 1


def test_the_end_is_told_when_every_pod_has_ended_and_is_counted() -> None:
    job = make_job(completions=1, backoffLimit=0, parallelism=1)
    first = plan_job(job, [pod("a", "Failed")], wall_now=NOW)
    assert [c["type"] for c in first.status["conditions"]] == ["FailureTarget"]
    last = plan_job({**job, "status": first.status}, [pod("a", "Failed", held=False)], wall_now=NOW)
    assert [c["type"] for c in last.status["conditions"]] == ["FailureTarget", "Failed"]
    assert last.status["failed"] == 1 and is_finished({"status": last.status})


def test_the_deadline_is_waited_for() -> None:
    job = make_job({"startTime": ago(20)}, activeDeadlineSeconds=30)
    assert plan_job(job, [pod("a")], wall_now=NOW).requeue_after_seconds == 10
    over = plan_job(job, [pod("a")], wall_now=NOW + timedelta(seconds=10))
    assert over.status["conditions"][-1]["reason"] == "DeadlineExceeded"


def test_a_finished_job_expires_when_it_says() -> None:
    ended = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": ago(20)}]}
    assert find_expiry(make_job(ended, ttlSecondsAfterFinished=30), NOW) == 10
    assert find_expiry(make_job(ended), NOW) is None


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"onExitCodes": {"operator": "In", "values": [3]}}, True),
        ({"onExitCodes": {"operator": "NotIn", "values": [3]}}, False),
        ({"onExitCodes": {"operator": "NotIn", "values": [4]}}, True),
        ({"onExitCodes": {"containerName": "side", "operator": "In", "values": [3]}}, False),
        ({"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}, False),
    ],
)
def test_which_rule_matches_a_failure(rule: Json, wanted: bool) -> None:
    job = make_job(podFailurePolicy={"rules": [{"action": "Ignore", **rule}]})
    assert (judge_failure(job, pod("a", "Failed", code=3)).action == "Ignore") is wanted


def test_a_pod_of_a_job_is_held_until_it_is_counted() -> None:
    made = render_job_pod(make_job(), {"uid": "u1"}, None)
    assert made["metadata"]["finalizers"] == [FINALIZER] and made["metadata"]["generateName"] == "work-"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["Indexed", "NonIndexed"]), st.data())
def test_each_pod_is_counted_once_however_writes_are_lost(
    completions: int, parallelism: int, mode: str, data: st.DataObject
) -> None:
    """Any prefix of a plan's writes may have happened when the next plan is made."""
    job = make_job(completions=completions, parallelism=parallelism, completionMode=mode, backoffLimit=100)
    live: dict[str, Pod] = {}
    failures = made = 0
    now = NOW
    for turn in range(100):

        def happens(turn: int = turn) -> bool:
            return turn > 30 or data.draw(st.booleans())

        if is_finished(job):
            break
        plan = plan_job(job, list(live.values()), wall_now=now)
        if happens():
            for gone in plan.release:
                live[gone.metadata.name] = msgspec.structs.replace(
                    gone, metadata=msgspec.structs.replace(gone.metadata, finalizers=())
                )
        if happens():
            job = {**job, "status": plan.status}
            for gone in plan.remove:
                del live[gone.metadata.name]
            for index in plan.create[: 1 if turn > 30 else data.draw(st.integers(0, 4))]:
                made += 1
                live[f"p{made}"] = pod(f"p{made}", index=index)
        for name, p in list(live.items()):
            if p.status.phase == "Running" and happens():
                phase = "Failed" if failures < 3 and turn <= 30 and data.draw(st.booleans()) else "Succeeded"
                failures += phase == "Failed"
                index = int(p.metadata.annotations[INDEX]) if p.metadata.annotations else None
                live[name] = pod(name, phase, index=index, ended=0)
        now += timedelta(seconds=60)
    else:
        raise AssertionError("it never ends")
    assert job["status"]["succeeded"] == completions
    assert job["status"].get("failed", 0) == failures
    assert job["status"]["conditions"][-1]["type"] == "Complete"


@pytest.mark.parametrize(
    ("rules", "completed", "met"),
    [
        ([{"succeededIndexes": "0,2"}], {0}, None),
        ([{"succeededIndexes": "0,2"}], {0, 2}, 0),
        ([{"succeededIndexes": "0-3", "succeededCount": 2}], {3}, None),
        ([{"succeededIndexes": "0-3", "succeededCount": 2}], {1, 3}, 0),
        ([{"succeededIndexes": "0-3", "succeededCount": 2}], {1, 5}, None),
        ([{"succeededCount": 1}], {4}, 0),
        ([{"succeededIndexes": "9"}, {"succeededCount": 2}], {1, 2}, 1),
        ([{"succeededIndexes": "77"}], {1}, None),
        ([], {1}, None),
    ],
    ids=["all of the named indexes are wanted", "and suffice", "a number counts among the named", "and suffices there",
         "others do not count", "a number alone counts all", "the first rule that is met is named",
         "an index that there is not is never done", "without a rule nothing is met"],
)  # fmt: skip
def test_a_job_may_have_done_enough_before_all(rules: list[Json], completed: set[int], met: int | None) -> None:
    spec = {"completions": 10, "successPolicy": {"rules": rules}}
    assert find_met_rule(spec, frozenset(completed)) == met


def test_a_job_that_has_done_enough_lets_the_rest_go_and_completes() -> None:
    job = make_job(
        completions=3, parallelism=3, completionMode="Indexed", successPolicy={"rules": [{"succeededIndexes": "0"}]}
    )
    running = [pod("b", index=1), pod("c", index=2)]
    plan = plan_job(job, [pod("a", "Succeeded", index=0, ended=30), *running], wall_now=NOW)
    (told,) = plan.status["conditions"]
    assert (told["type"], told["reason"], told["message"]) == (
        "SuccessCriteriaMet", "SuccessPolicy", "Matched rules at index 0",
    )  # fmt: skip
    assert {p.metadata.name for p in plan.remove} == {"b", "c"} and plan.create == ()
    after = plan_job({**job, "status": plan.status}, [], wall_now=NOW)
    assert [c["type"] for c in after.status["conditions"]] == ["SuccessCriteriaMet", "Complete"]


PER_INDEX: Json = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1}


def test_an_index_that_failed_waits_for_itself_alone_and_its_next_pod_knows() -> None:
    job = make_job(**PER_INDEX)
    just_now = plan_job(job, [pod("a", "Failed", index=0, ended=4)], wall_now=NOW)
    assert just_now.create == (1, 2) and just_now.requeue_after_seconds == pytest.approx(6, abs=1)
    later = plan_job(job, [pod("a", "Failed", index=0, ended=30)], wall_now=NOW)
    assert later.create == (0, 1, 2) and later.failures == {0: 1}
    body = render_job_pod(job, {}, 0, failures=1)
    assert body["metadata"]["annotations"] == {INDEX: "0", FAILURES: "1"}


def test_an_index_beyond_its_limit_is_given_up_and_the_others_go_on() -> None:
    job = make_job(**PER_INDEX)
    plan = plan_job(job, [pod("a", "Failed", index=0, failures=1, ended=99), pod("b", index=1)], wall_now=NOW)
    assert (plan.create, plan.status["failedIndexes"], plan.status.get("conditions")) == ((2,), "0", None)


def test_a_job_with_failed_indexes_fails_when_the_others_are_done() -> None:
    job = make_job({"failedIndexes": "0", "completedIndexes": "1,2", "succeeded": 2}, **PER_INDEX)
    (told,) = plan_job(job, [], wall_now=NOW).status["conditions"][:1]
    assert (told["type"], told["reason"], told["message"]) == (
        "FailureTarget",
        "FailedIndexes",
        "Job has failed indexes",
    )


def test_too_many_failed_indexes_end_a_job_at_once() -> None:
    job = make_job({"failedIndexes": "0,1"}, **PER_INDEX, maxFailedIndexes=1)
    plan = plan_job(job, [pod("c", index=2)], wall_now=NOW)
    assert plan.status["conditions"][0]["reason"] == "MaxFailedIndexesExceeded"
    assert [p.metadata.name for p in plan.end] == ["c"]


def test_a_rule_gives_an_index_up_at_once_and_an_ignored_failure_is_none() -> None:
    def judge(action: str) -> Json:
        rule = {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}
        job = make_job(**PER_INDEX, podFailurePolicy={"rules": [rule]})
        plan = plan_job(job, [pod("a", "Failed", index=0, ended=99, code=42)], wall_now=NOW)
        return {"failed": plan.status["failedIndexes"], "create": plan.create, "failures": plan.failures}

    assert judge("FailIndex") == {"failed": "0", "create": (1, 2), "failures": {0: 1}}
    assert judge("Ignore") == {"failed": "", "create": (0, 1, 2), "failures": {0: 0}}
