"""Rule: spec "node" §2.5, §2.7, §3.1, §3.4, §3.5."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from seaway.node.podspec import PodManifest
from seaway.node.state import PodState, Sandbox, recover_state
from seaway.node.status import differs_from_reported, make_pod_status, make_status_patch
from tests.node.manifests import NOW, decode_pod, ended, make_run, make_state, running


def status_of(pod: PodManifest, state: PodState, **changes: Any) -> dict[str, Any]:
    return make_pod_status(pod, state, host_ips=("192.0.2.1",), **{"written": None, "wall_now": NOW, **changes})


def conditions_of(pod: PodManifest, state: PodState) -> dict[str, tuple[str, str, str]]:
    found = status_of(pod, state)["conditions"]
    return {c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in found}


def test_a_running_pod_in_one_consistent_write() -> None:
    status = status_of(decode_pod(), make_state(running()))
    stamp = "2026-01-02T03:04:05Z"
    assert status["phase"] == "Running" and status["podIP"] == "10.244.0.2" and status["hostIP"] == "192.0.2.1"
    assert status["podIPs"] == [{"ip": "10.244.0.2"}] and status["hostIPs"] == [{"ip": "192.0.2.1"}]
    assert [c["type"] for c in status["conditions"]] == [
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    ]  # fmt: skip
    assert all(c["status"] == "True" and c["lastTransitionTime"] == stamp for c in status["conditions"])
    assert status["containerStatuses"] == [
        {
            "name": "main", "image": "program", "imageID": "", "ready": True, "restartCount": 0, "started": True,
            "state": {"running": {"startedAt": "2026-01-02T03:03:05Z"}}, "lastState": {},
            "containerID": "process://main-0",
        }
    ]  # fmt: skip
    assert status["observedGeneration"] == 1


CONDITIONS: dict[str, tuple[dict[str, Any], PodState, str, tuple[str, str, str]]] = {
    "an unready container": (
        {}, make_state(running(ready=False)), "Ready",
        ("False", "ContainersNotReady", "containers with unready status: [main]")),
    "a Pod that ended well": (
        {"restartPolicy": "Never"}, make_state(ended(0)), "ContainersReady", ("False", "PodCompleted", "")),
    "a Pod that failed": ({"restartPolicy": "Never"}, make_state(ended(1)), "Ready", ("False", "PodFailed", "")),
    "init containers to come": (
        {"initContainers": [{"name": "a"}, {"name": "b"}]}, make_state(), "Initialized",
        ("False", "ContainersNotInitialized", "containers with incomplete status: [a b]")),
    "a gate that nobody opened": (
        {"readinessGates": [{"conditionType": "x/y"}]}, make_state(running()), "Ready",
        ("False", "ReadinessGatesNotReady",
         'corresponding condition of pod readiness gate "x/y" does not exist.')),
    "a gate that is open": (
        {"readinessGates": [{"conditionType": "x/y"}], "status": {"conditions": [{"type": "x/y", "status": "True"}]}},
        make_state(running()), "Ready", ("True", "", "")),
    "deletion keeps a ready Pod ready": (
        {"meta": {"deletionTimestamp": "2026-01-02T03:05:00Z"}}, make_state(running()), "Ready", ("True", "", "")),
    "no sandbox": ({}, make_state(sandbox=False), "PodReadyToStartContainers", ("False", "", "")),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "state", "kind", "expected"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions(changes: dict[str, Any], state: PodState, kind: str, expected: tuple[str, str, str]) -> None:
    assert conditions_of(decode_pod(**changes), state)[kind] == expected


def container_of(state: PodState, **changes: Any) -> dict[str, Any]:
    return dict(status_of(decode_pod(**changes), state)["containerStatuses"][0])


def test_container_states() -> None:
    assert container_of(make_state())["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert container_of(make_state(), initContainers=[{"name": "a"}])["state"]["waiting"]["reason"] == "PodInitializing"
    over = container_of(make_state(ended(3)), restartPolicy="Never")["state"]["terminated"]
    assert (over["exitCode"], over["reason"]) == (3, "Error")
    assert container_of(make_state(ended(0)), restartPolicy="Never")["state"]["terminated"]["reason"] == "Completed"
    held = container_of(make_state(ended(3, waiting=("CrashLoopBackOff", "text"))))
    assert held["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "text"}}
    assert held["lastState"]["terminated"]["exitCode"] == 3
    unstarted = container_of(make_state(running(started=False)))
    assert (unstarted["started"], unstarted["ready"]) == (False, False)
    again = replace(running(), current=make_run(attempt=2), previous=make_run(attempt=1, exit_code=1))
    assert container_of(make_state(again))["restartCount"] == 2


OVER = {"meta": {"deletionTimestamp": "2026-01-02T03:05:00Z"}, "containers": [{"name": "main"}, {"name": "other"}]}
DEADLINE = ("DeadlineExceeded", "late")


@pytest.mark.parametrize(
    ("changes", "state", "expected"),
    [
        pytest.param({"status": {"phase": "Running"}}, replace(make_state(running()), failed=DEADLINE),
                     ("Running", None), id="a Pod that failed is not over while it runs"),
        pytest.param({"status": {"phase": "Running"}}, replace(make_state(ended(143)), failed=DEADLINE),
                     ("Failed", "DeadlineExceeded"), id="but when all has ended"),
        pytest.param(
            {"restartPolicy": "Never", "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
             "status": {"phase": "Running"}},
            make_state(ended(0), running("proxy")), ("Running", None), id="nor is one whose sidecars still end"),
        pytest.param({"restartPolicy": "Never"}, make_state(ended(0)), ("Succeeded", None), id="one that ended well"),
    ],
)  # fmt: skip
def test_the_phase_is_terminal_when_nothing_runs(
    changes: dict[str, Any], state: PodState, expected: tuple[str, str | None]
) -> None:
    status = status_of(decode_pod(**changes), state)
    assert (status["phase"], status.get("reason")) == expected


def test_what_never_began_has_failed_in_the_end() -> None:
    pod = decode_pod(**OVER)
    before = status_of(pod, make_state(ended(0)))["containerStatuses"]
    assert [list(c["state"]) for c in before] == [["terminated"], ["waiting"]], "not before the sandbox is gone"
    after = status_of(pod, make_state(ended(0), sandbox=False))
    assert after["phase"] == "Failed"
    assert after["containerStatuses"][1]["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    unborn = status_of(pod, make_state(sandbox=False))["containerStatuses"]
    assert [list(c["state"]) for c in unborn] == [["waiting"], ["waiting"]], "a Pod that never ran has no past"


def test_debuggers_have_statuses_of_their_own() -> None:
    pod = decode_pod(ephemeralContainers=[{"name": "z"}, {"name": "a"}])
    status = status_of(pod, make_state(running(), running("z"), ended(1, "a")))
    assert [(c["name"], c["ready"]) for c in status["ephemeralContainerStatuses"]] == [("a", False), ("z", False)]
    assert [c["name"] for c in status["containerStatuses"]] == ["main"]
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
    found = recover_state(report_of(pod, status), Sandbox("uid-1"), [make_run(), make_run("z")])
    assert found.find("z").is_running and not found.find("a").is_running


def report_of(pod: PodManifest, status: dict[str, Any]) -> PodManifest:
    return msgspec.convert({**msgspec.to_builtins(pod), "status": status}, PodManifest)


def test_conditions_of_others_are_not_written() -> None:
    others = [{"type": "DisruptionTarget", "status": "True"}, {"type": "example.com/gate", "status": "True"}]
    status = status_of(decode_pod(status={"conditions": others}), make_state(running()))
    patch = make_status_patch("uid-1", status, None)
    assert not {c["type"] for c in patch["status"]["conditions"]} & {"DisruptionTarget", "example.com/gate"}


def test_conditions_tell_of_which_generation_they_speak() -> None:
    status = status_of(decode_pod(meta={"generation": 4}), make_state(running()))
    assert {c["observedGeneration"] for c in status["conditions"]} == {4} == {status["observedGeneration"]}


def test_statuses_come_by_name_and_those_of_init_containers_as_declared() -> None:
    pod = decode_pod(containers=[{"name": "b"}, {"name": "a"}], initContainers=[{"name": "second"}, {"name": "first"}])
    status = status_of(pod, make_state())
    assert [c["name"] for c in status["containerStatuses"]] == ["a", "b"]
    assert [c["name"] for c in status["initContainerStatuses"]] == ["second", "first"]


def test_a_run_is_reported_with_the_image_that_it_has() -> None:
    own = replace(running(), current=replace(make_run(), image="program:1"))
    assert container_of(make_state(own))["image"] == "program:1"


def test_last_words_of_many_containers_are_cut() -> None:
    names = [f"c{number}" for number in range(8)]
    pod = decode_pod(restartPolicy="Never", containers=[{"name": name, "image": "x"} for name in names])
    wordy = [
        replace(ended(1, name), current=replace(make_run(name, exit_code=1), message="é" * 2048)) for name in names
    ]
    statuses = status_of(pod, make_state(*wordy))["containerStatuses"]
    words = [each["state"]["terminated"]["message"] for each in statuses]
    assert {len(text.encode()) for text in words} == {12 * 1024 // 8}


LIMITED = {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}


@pytest.mark.parametrize(
    ("exit_code", "applied", "told"),
    [
        pytest.param(None, LIMITED, LIMITED, id="what a run was started with"),
        pytest.param(None, {"requests": {"cpu": "500m"}}, {"requests": {"cpu": "500m"}}, id="limits that do not hold"),
        pytest.param(0, LIMITED, None, id="a run that has ended has none"),
    ],
)
def test_resources(exit_code: int | None, applied: dict[str, Any], told: dict[str, Any] | None) -> None:
    pod = decode_pod(containers=[{"name": "main", "image": "program", "resources": LIMITED}])
    run = replace(make_run(exit_code=exit_code), resources=applied)
    [status] = status_of(pod, make_state(replace(running(), current=run)))["containerStatuses"]
    assert status.get("resources") == told
    assert status["allocatedResources"] == {"cpu": "500m"}


def test_the_stop_signal_of_a_run_is_told() -> None:
    run = replace(make_run(), stop_signal="SIGUSR1")
    [status] = status_of(decode_pod(), make_state(replace(running(), current=run)))["containerStatuses"]
    assert status["stopSignal"] == "SIGUSR1"


def test_a_run_that_the_kernel_ended_for_memory_says_so() -> None:
    pod = decode_pod(restartPolicy="Never")
    run = replace(make_run(exit_code=137), reason="OOMKilled")
    [status] = status_of(pod, make_state(replace(running(), current=run)))["containerStatuses"]
    ended_ = status["state"]["terminated"]
    assert (ended_["reason"], ended_["exitCode"]) == ("OOMKilled", 137)


def test_times_change_only_with_the_status() -> None:
    pod, later = decode_pod(), NOW + timedelta(seconds=60)
    first = status_of(pod, make_state(running(ready=False)))
    again = status_of(pod, make_state(running(ready=False)), written=first, wall_now=later)
    assert again == first, "an equal state gives an equal body"
    ready = status_of(pod, make_state(running()), written=first, wall_now=later)
    times = {c["type"]: c["lastTransitionTime"] for c in ready["conditions"]}
    assert times["Ready"] == "2026-01-02T03:05:05Z" and times["PodScheduled"] == "2026-01-02T03:04:05Z"


def test_the_patch_carries_the_uid_and_replaces_changed_addresses() -> None:
    status = status_of(decode_pod(), make_state(running()))
    patch = make_status_patch("uid-1", status, {**status, "podIPs": [{"ip": "10.244.0.9"}], "reason": "Old"})
    assert patch["metadata"] == {"uid": "uid-1"}
    assert patch["status"]["podIPs"] == [{"ip": "10.244.0.2"}, {"$patch": "replace"}]
    assert patch["status"]["reason"] is None and "message" not in patch["status"]
    assert make_status_patch("uid-1", status, status)["status"]["podIPs"] == [{"ip": "10.244.0.2"}]


def test_somebody_elses_change_is_seen() -> None:
    status = status_of(decode_pod(), make_state(running()))
    same = {"phase": "Running", "conditions": status["conditions"]}
    assert not differs_from_reported(decode_pod(status=same), status)
    spoiled = [{**c, "status": "False"} if c["type"] == "Ready" else c for c in status["conditions"]]
    assert differs_from_reported(decode_pod(status={**same, "conditions": spoiled}), status)


def report(state: PodState, **spec: Any) -> PodManifest:
    """The Pod as the API has it after the state was written."""
    return decode_pod(**spec, status=status_of(decode_pod(**spec), state))


def test_a_new_agent_finds_what_runs() -> None:
    probe = {"containers": [{"name": "main", "readinessProbe": {"exec": {"command": ["x"]}}}]}
    before = make_state(running())
    pod = report(before, **probe)
    after = recover_state(pod, Sandbox("uid-1", ("10.244.0.2",)), [make_run()])
    assert status_of(pod, after, wall_now=NOW + timedelta(seconds=9)) == status_of(pod, before), "nothing flaps"
    other = recover_state(pod, Sandbox("uid-1"), [make_run(attempt=1)])
    assert not other.find("main").ready, "another run has still to show that it is ready"


def test_a_run_that_vanished_has_ended_unknown() -> None:
    pod = report(make_state(running()))
    own = recover_state(pod, None, ()).find("main")
    assert own.current is not None and not own.is_running
    assert (own.current.exit_code, own.current.reason, own.next_attempt) == (137, "ContainerStatusUnknown", 1)


def test_a_pod_that_never_ran_has_no_past() -> None:
    pod = report(make_state(sandbox=False))
    assert recover_state(msgspec.convert(msgspec.to_builtins(pod), PodManifest), None, ()).find("main").current is None


def test_a_pod_that_was_not_taken() -> None:
    failed = ("NodePorts", "Predicate NodePorts failed: taken")
    status = status_of(decode_pod(), replace(make_state(sandbox=False), failed=failed, is_rejected=True))
    assert status == {
        "phase": "Failed", "reason": "NodePorts", "message": "Pod was rejected: Predicate NodePorts failed: taken",
        "startTime": "2026-01-02T03:04:05Z", "observedGeneration": 1, "conditions": [],
    }  # fmt: skip
