"""Rule: spec "node" §2.2, §2.4, §2.6, §2.9-2.12."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seaway.node.lifecycle import (
    BackOff,
    CreateSandbox,
    Finish,
    PodPlan,
    ProcessUser,
    RemoveSandbox,
    ReplaceContainer,
    StartContainer,
    StopContainer,
    choose_groups,
    choose_phase,
    choose_stop_signal,
    choose_user,
    find_refusal,
    format_duration,
    make_back_off_message,
    merges_groups,
    plan_pod,
    take_back_off,
    take_start,
    will_restart,
)
from seaway.node.runtime.images.values import Image
from seaway.node.state import ContainerState, PodState, Sandbox
from tests.node.manifests import NOW, decode_pod, ended, make_run, make_state, running

DELETED = {"deletionTimestamp": "2026-01-02T03:05:00Z", "deletionGracePeriodSeconds": 30}
INIT = {"initContainers": [{"name": "first"}, {"name": "second"}]}
SIDECAR = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
TWO = {"containers": [{"name": "main"}, {"name": "other"}]}
DEBUGGER: dict[str, Any] = {"ephemeralContainers": [{"name": "shell", "image": "tools"}]}
HOOKED: dict[str, Any] = {
    "containers": [{"name": "main", "lifecycle": {"postStart": {"sleep": {"seconds": 1}}}}, {"name": "other"}]
}


def of_image(own: ContainerState, image: str) -> ContainerState:
    assert own.current is not None
    return replace(own, current=replace(own.current, image=image))


PLANS: dict[str, tuple[dict[str, Any], PodState, tuple[Any, ...]]] = {
    "a new Pod gets its sandbox first": ({}, PodState(), (CreateSandbox(),)),
    "then all its containers": (TWO, make_state(), (StartContainer("main"), StartContainer("other"))),
    "one that runs is left alone": (TWO, make_state(running()), (StartContainer("other"),)),
    "a Pod as it should be has no plan": ({}, make_state(running()), ()),
    "init containers one at a time": (INIT, make_state(), (StartContainer("first"),)),
    "a running init container is waited for": (INIT, make_state(running("first")), ()),
    "the next after its success": (INIT, make_state(ended(0, "first")), (StartContainer("second"),)),
    "a failed init container is tried again": (INIT, make_state(ended(1, "first")), (StartContainer("first"),)),
    "the containers after all of them": (
        INIT, make_state(ended(0, "first"), ended(0, "second")), (StartContainer("main"),)),
    "a sidecar must be started first": (SIDECAR, make_state(running("proxy", started=False)), ()),
    "then the containers start": (SIDECAR, make_state(running("proxy")), (StartContainer("main"),)),
    "a sidecar that ended starts again": (
        SIDECAR, make_state(ended(0, "proxy"), running()), (StartContainer("proxy"),)),
    "the first restart is immediate": ({}, make_state(ended(1)), (StartContainer("main"),)),
    "the second waits": ({}, make_state(ended(1, back_off_seconds=10.0)), (BackOff("main"),)),
    "and says so once": (
        {}, make_state(ended(1, back_off_seconds=10.0, waiting=("CrashLoopBackOff", ""))), ()),
    "OnFailure lets success be": ({"restartPolicy": "OnFailure", **TWO}, make_state(ended(0), running("other")), ()),
    "a Pod that is over loses its sandbox": ({"restartPolicy": "Never"}, make_state(ended(1)), (RemoveSandbox(),)),
    "and is finished": ({"restartPolicy": "Never"}, make_state(ended(1), sandbox=False), (Finish(),)),
    "deletion stops all at once": (
        {"meta": DELETED, **TWO}, make_state(running(), running("other")),
        (StopContainer("main", "Stopping container main"), StopContainer("other", "Stopping container other"))),
    "sidecars are signalled last, and in reverse": (
        {"meta": DELETED, "initContainers": [{"name": "proxy", "restartPolicy": "Always"},
                                             {"name": "logger", "restartPolicy": "Always"}]},
        make_state(running(), running("proxy"), running("logger")),
        (StopContainer("main", "Stopping container main"),
         StopContainer("logger", "Stopping container logger", ("main",)),
         StopContainer("proxy", "Stopping container proxy", ("main", "logger")))),
    "at once when the others have ended": (
        {"meta": DELETED, **SIDECAR}, make_state(ended(0), running("proxy")),
        (StopContainer("proxy", "Stopping container proxy"),)),
    "a debugger stops with the rest": (
        {"meta": DELETED, **DEBUGGER}, make_state(ended(0), running("shell")),
        (StopContainer("shell", "Stopping container shell"),)),
    "a debugger starts beside what runs": (DEBUGGER, make_state(running()), (StartContainer("shell"),)),
    "and before what has still to start": (DEBUGGER, make_state(), (StartContainer("shell"), StartContainer("main"))),
    "a debugger runs once": (DEBUGGER, make_state(running(), ended(1, "shell")), ()),
    "another image replaces a run": (
        {}, make_state(of_image(running(), "old")),
        (ReplaceContainer("main", "Container main definition changed, will be restarted"),)),
    "which is said once": ({}, make_state(replace(of_image(running(), "old"), stopping=True)), ()),
    "the same image does not": ({}, make_state(of_image(running(), "program")), ()),
    "a replaced run is followed by another, whatever the policy": (
        {"restartPolicy": "Never", **TWO},
        make_state(replace(of_image(ended(143), "old"), replaced=True), running("other")), (StartContainer("main"),)),
    "another image has no back-off": (
        {}, make_state(of_image(ended(1, back_off_seconds=300.0), "old")), (StartContainer("main"),)),
    "a sidecar is replaced too": (
        {"initContainers": [{"name": "proxy", "image": "new", "restartPolicy": "Always"}]},
        make_state(of_image(running("proxy"), "old"), running()),
        (ReplaceContainer("proxy", "Container proxy definition changed, will be restarted"),)),
    "an init container that ended well is not": (
        {"initContainers": [{"name": "first", "image": "new"}]},
        make_state(of_image(ended(0, "first"), "old"), running()), ()),
    "a postStart hook is waited for before the next container": (HOOKED, make_state(), (StartContainer("main"),)),
    "as long as it runs": (HOOKED, make_state(replace(running(), in_post_start=True)), ()),
    "the next comes after it": (HOOKED, make_state(running()), (StartContainer("other"),)),
    "a deleted Pod restarts nothing": ({"meta": DELETED}, make_state(ended(1)), (RemoveSandbox(),)),
    "the network goes after the containers": (
        {"meta": DELETED}, make_state(replace(running(), stopping=True)), ()),
    "a Pod that is gone from the API is stopped": (
        {}, replace(make_state(running()), removed=True), (StopContainer("main", "Stopping container main"),)),
    "a Pod past its deadline is stopped": (
        {"activeDeadlineSeconds": 0}, make_state(running()), (StopContainer("main", "Stopping container main"),)),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "state", "expected"), PLANS.values(), ids=PLANS)
def test_plans(changes: dict[str, Any], state: PodState, expected: tuple[Any, ...]) -> None:
    assert plan_pod(decode_pod(**changes), state, wall_now=NOW).actions == expected


def test_a_wait_ends_with_the_back_off() -> None:
    own = ended(1, back_off_seconds=10.0, waiting=("CrashLoopBackOff", ""))
    assert plan_pod(decode_pod(), make_state(own), wall_now=NOW) == PodPlan((), NOW + timedelta(seconds=10))
    later = NOW + timedelta(seconds=10)
    assert plan_pod(decode_pod(), make_state(own), wall_now=later).actions == (StartContainer("main"),)


def test_the_back_off_doubles_to_five_minutes_and_resets() -> None:
    own = ContainerState(name="main")
    assert take_back_off(own, wall_now=NOW).back_off_seconds == 0, "the first start costs nothing"
    own, delays = ended(1), []
    for _ in range(7):
        own = take_back_off(own, wall_now=NOW)
        delays.append(own.back_off_seconds)
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    rested = replace(own, backed_off_at=NOW - timedelta(seconds=601))
    assert take_back_off(rested, wall_now=NOW).back_off_seconds == 10


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (160, "2m40s"), (300, "5m0s")])
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    message = make_back_off_message(decode_pod(), ended(1, back_off_seconds=seconds))
    assert message == f"back-off {text} restarting failed container=main pod=web-1_default(uid-1)"


PHASES: dict[str, tuple[dict[str, Any], PodState, str]] = {
    "nothing has run": ({}, make_state(), "Pending"),
    "one of two has not run": (TWO, make_state(running()), "Pending"),
    "all run": (TWO, make_state(running(), running("other")), "Running"),
    "one runs and one crashes": (TWO, make_state(running(), ended(1, "other")), "Running"),
    "all have ended but will restart": ({}, make_state(ended(0)), "Running"),
    "all ended well": ({"restartPolicy": "Never"}, make_state(ended(0)), "Succeeded"),
    "one ended badly": ({"restartPolicy": "Never", **TWO}, make_state(ended(0), ended(2, "other")), "Failed"),
    "failures restart": ({"restartPolicy": "OnFailure"}, make_state(ended(2)), "Running"),
    "an init container runs": (INIT, make_state(running("first")), "Pending"),
    "an init container failed for good": ({"restartPolicy": "Never", **INIT}, make_state(ended(1, "first")), "Failed"),
    "a sidecar keeps no Pod alive": (
        {"restartPolicy": "Never", **SIDECAR}, make_state(ended(0), running("proxy")), "Succeeded"),
    "a deleted Pod that still runs": ({"meta": DELETED}, make_state(running()), "Running"),
    "a deleted Pod whose containers ended well": ({"meta": DELETED}, make_state(ended(0)), "Succeeded"),
    "a deleted Pod killed by its signal": ({"meta": DELETED}, make_state(ended(143)), "Failed"),
    "a deleted Pod that never ran": ({"meta": DELETED}, make_state(sandbox=False), "Failed"),
    "a debugger says nothing of the phase": (
        {"restartPolicy": "Never", **DEBUGGER}, make_state(ended(0), ended(1, "shell")), "Succeeded"),
    "nor keeps a Pod alive": (
        {"restartPolicy": "Never", **DEBUGGER}, make_state(ended(0), running("shell")), "Succeeded"),
    "a replaced run is no end": (
        {"restartPolicy": "Never"}, make_state(replace(ended(143), replaced=True)), "Running"),
    "a terminal phase stays": ({"status": {"phase": "Succeeded"}}, make_state(), "Succeeded"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "state", "expected"), PHASES.values(), ids=PHASES)
def test_phases(changes: dict[str, Any], state: PodState, expected: str) -> None:
    assert choose_phase(decode_pod(**changes), state) == expected


def host_port(ip: str) -> dict[str, Any]:
    return {"name": "main", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]}


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"runtimeClassName": "gvisor"}, "runtimeClassName"),
        ({"hostPID": True}, "hostPID"),
        ({"hostNetwork": True}, ""),
        ({"containers": [host_port("::1")]}, "hostIP ::1"),
        ({"containers": [host_port("0:0::1")]}, "hostIP ::1"),
        ({"containers": [host_port("::1")], "hostNetwork": True}, ""),
        ({"containers": [host_port("127.0.0.1")]}, ""),
        ({"containers": [{"name": "main", "restartPolicyRules": [{"action": "RestartAllContainers"}]}]}, "Restart"),
    ],
)
def test_refusals(spec: dict[str, Any], word: str) -> None:
    found = find_refusal(decode_pod(**spec))
    assert word in found and bool(found) == bool(word)


BREACH = 'container\'s runAsUser breaks non-root policy (pod: "web-1_default(uid-1)", container: main)'


@pytest.mark.parametrize(
    ("context", "sandboxed", "expected"),
    [
        pytest.param({}, False, ProcessUser(None, None), id="the runtime's default"),
        pytest.param({"runAsUser": 1000, "runAsGroup": 5}, False, ProcessUser(1000, 5), id="as it says"),
        pytest.param({"runAsUser": 0}, True, ProcessUser(0, None), id="0 exists in a sandbox"),
        pytest.param({"runAsUser": 1000}, True, "user 1000 does not exist here", id="others do not"),
        pytest.param({"runAsNonRoot": True}, False, ProcessUser(None, None), id="the default is not root"),
        pytest.param({"runAsNonRoot": True, "runAsUser": 0}, False, BREACH, id="root is root"),
        pytest.param({"runAsNonRoot": True}, True, "container has runAsNonRoot", id="a sandbox has only root"),
    ],
)
def test_users(context: dict[str, Any], sandboxed: bool, expected: ProcessUser | str) -> None:
    pod = decode_pod(securityContext=context)
    found = choose_user(pod, pod.spec.containers[0], sandboxed=sandboxed)
    assert found == expected if isinstance(expected, ProcessUser) else str(found).startswith(expected)


@pytest.mark.parametrize(
    ("context", "groups", "merges"),
    [
        pytest.param({}, (), True, id="none, and what an image says"),
        pytest.param({"supplementalGroups": [6, 4]}, (4, 6), True, id="those that the Pod says"),
        pytest.param({"fsGroup": 5, "supplementalGroups": [6, 5]}, (5, 6), True, id="the owner of the volumes is one"),
        pytest.param({"supplementalGroupsPolicy": "Strict", "fsGroup": 0}, (0,), False, id="Strict: and no others"),
    ],
)
def test_groups(context: dict[str, Any], groups: tuple[int, ...], merges: bool) -> None:
    pod = decode_pod(securityContext=context)
    assert (choose_groups(pod), merges_groups(pod)) == (groups, merges)


def test_a_container_overrides_its_pod() -> None:
    pod = decode_pod(
        securityContext={"runAsUser": 1}, containers=[{"name": "main", "securityContext": {"runAsUser": 2}}]
    )
    assert choose_user(pod, pod.spec.containers[0], sandboxed=False) == ProcessUser(2, None)


PROBE = {"tcpSocket": {"port": 80}}


@pytest.mark.parametrize(
    ("probes", "exit_code", "started", "ready"),
    [
        pytest.param({}, None, True, True, id="without probes a run is ready at once"),
        pytest.param({"livenessProbe": PROBE}, None, True, True, id="liveness says nothing of readiness"),
        pytest.param({"readinessProbe": PROBE}, None, True, False, id="a readiness probe must pass first"),
        pytest.param({"startupProbe": PROBE}, None, False, False, id="a startup probe must pass before anything"),
        pytest.param({}, 128, False, False, id="what could not begin is neither"),
    ],
)
def test_a_begun_run(probes: dict[str, Any], exit_code: int | None, started: bool, ready: bool) -> None:
    container = decode_pod(containers=[{"name": "main", **probes}]).spec.containers[0]
    before = ended(1, waiting=("CrashLoopBackOff", ""), retry_at=NOW, stopping=True)
    run = make_run(attempt=1, exit_code=exit_code)
    after = take_start(container, before, run, wall_now=NOW)
    assert (after.current, after.previous) == (run, before.current)
    assert (after.started, after.ready, after.stopping, after.waiting, after.retry_at) == (
        started, ready, False, None, None,
    )  # fmt: skip
    assert after.back_off_seconds == 10.0


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        pytest.param(make_state(ended(0, "first")), set(), id="init containers run again before the others have begun"),
        pytest.param(make_state(ended(0, "first"), ended(1)), {"first", "main"}, id="but not after"),
    ],
)
def test_a_new_sandbox(state: PodState, kept: set[str]) -> None:
    after = replace(state, retry_at=NOW).with_sandbox(decode_pod(**INIT), Sandbox("uid-1", ("10.244.0.9",)))
    assert (set(after.containers), after.pod_ips, after.retry_at) == (kept, ("10.244.0.9",), None)


def rule(operator: str, *values: int) -> dict[str, Any]:
    return {"action": "Restart", "exitCodes": {"operator": operator, "values": list(values)}}


@pytest.mark.parametrize(
    ("policy", "own", "rules", "exit_code", "expected"),
    [
        pytest.param("Never", "", [], 1, False, id="the Pod's policy"),
        pytest.param("Never", "Always", [], 0, True, id="the container's own comes before it"),
        pytest.param("Always", "Never", [], 1, False, id="in both directions"),
        pytest.param("Never", "OnFailure", [], 0, False, id="a success is no failure"),
        pytest.param("Never", "Never", [rule("In", 42)], 42, True, id="a rule comes before both"),
        pytest.param("Never", "Never", [rule("In", 42)], 41, False, id="where it applies"),
        pytest.param("Never", "Never", [rule("NotIn", 0, 1)], 2, True, id="any code but those"),
        pytest.param("Always", "Never", [rule("NotIn", 0, 1)], 1, False, id="and then the policy counts"),
    ],
)
def test_who_is_started_again(
    policy: str, own: str, rules: list[dict[str, Any]], exit_code: int, expected: bool
) -> None:
    main = {"name": "main", "restartPolicyRules": rules} | ({"restartPolicy": own} if own else {})
    pod = decode_pod(restartPolicy=policy, containers=[main])
    assert will_restart(pod, pod.spec.containers[0], ended(exit_code)) is expected


def test_an_init_container_may_have_a_policy_of_its_own() -> None:
    pod = decode_pod(initContainers=[{"name": "first", "restartPolicy": "Never"}])
    assert choose_phase(pod, make_state(ended(1, "first"))) == "Failed"


def test_the_row_of_waits_begins_again_with_another_image() -> None:
    own = of_image(ended(1, back_off_seconds=160.0), "old")
    container = decode_pod().spec.containers[0]
    assert take_start(container, own, make_run(attempt=1), wall_now=NOW).back_off_seconds == 10.0


@pytest.mark.parametrize(
    ("pod", "image", "expected"),
    [
        pytest.param({}, "", "", id="nobody says one"),
        pytest.param({}, "SIGQUIT", "SIGQUIT", id="the image's"),
        pytest.param({"stopSignal": "SIGUSR1"}, "SIGQUIT", "SIGUSR1", id="the Pod's comes before it"),
    ],
)
def test_the_stop_signal(pod: dict[str, Any], image: str, expected: str) -> None:
    container = decode_pod(containers=[{"name": "main", "lifecycle": pod}]).spec.containers[0]
    assert choose_stop_signal(container, Image(stop_signal=image)) == expected
    assert choose_stop_signal(container, None) == pod.get("stopSignal", "")
