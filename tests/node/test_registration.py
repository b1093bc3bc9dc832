"""Rule: spec "node" §1.2-1.9."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seaway.node.registration import (
    HostFacts,
    NodeIdentity,
    Room,
    find_happenings,
    find_pressures,
    is_status_current,
    make_lease,
    make_node,
    make_node_patch,
    make_node_status,
    renew_lease,
)
from tests.node.manifests import NOW

FACTS = HostFacts(
    hostname="host", machine="aarch64", kernel="6.1", os_image="Debian", machine_id="m", system_uuid="s", boot_id="b",
    cpus=2, memory_kib=16384256, storage_bytes=1 << 30,
)  # fmt: skip
IDENTITY = NodeIdentity(
    name="node-1", addresses=("192.0.2.1", "fd00::1"), pod_cidrs=("10.244.0.0/24",), kubelet_version="v1.36.0",
    runtime_version="process://1", labels=(("topology.kubernetes.io/zone", "a"),),
)  # fmt: skip


def test_a_new_node() -> None:
    node = make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW)
    assert node["spec"] == {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}
    assert node["metadata"]["labels"]["kubernetes.io/arch"] == "arm64"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "a"
    status = node["status"]
    assert [a["type"] for a in status["addresses"]] == ["InternalIP", "InternalIP", "Hostname"]
    assert [c["type"] for c in status["conditions"]] == ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
    assert status["capacity"] == {"cpu": "2", "ephemeral-storage": "1048576Ki", "memory": "16384256Ki", "pods": "110"}
    assert status["nodeInfo"]["kubeletVersion"] == "v1.36.0"
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}


def test_a_node_tells_where_its_server_listens_and_corrects_what_it_told() -> None:
    before = make_node_status(IDENTITY, FACTS, existing=None, not_ready="", wall_now=NOW)
    serving = replace(IDENTITY, kubelet_port=10250)
    after = make_node_status(serving, FACTS, existing=before, not_ready="", wall_now=NOW)
    assert after["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert not is_status_current(before, after)


def test_a_node_tells_whether_it_keeps_groups_strictly() -> None:
    told = make_node_status(replace(IDENTITY, sets_groups=True), FACTS, existing=None, not_ready="", wall_now=NOW)
    assert told["features"] == {"supplementalGroupsPolicy": True}
    assert "features" not in make_node_status(IDENTITY, FACTS, existing=None, not_ready="", wall_now=NOW)


def test_an_existing_node_keeps_what_is_not_ours() -> None:
    node = make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW)
    node["metadata"]["labels"]["mine"] = "x"
    assert make_node_patch(IDENTITY, FACTS, node) == {}
    node["metadata"]["labels"].pop("kubernetes.io/os")
    node["spec"] = {"unschedulable": True, "podCIDR": "10.9.0.0/24"}
    assert make_node_patch(IDENTITY, FACTS, node) == {"metadata": {"labels": {"kubernetes.io/os": "linux"}}}
    node["spec"] = {}
    assert make_node_patch(IDENTITY, FACTS, node)["spec"]["podCIDR"] == "10.244.0.0/24"


def test_a_status_that_the_controller_wrote_over_is_not_current() -> None:
    status = make_node_status(IDENTITY, FACTS, existing=None, not_ready="", wall_now=NOW)
    later = NOW + timedelta(seconds=60)
    foreign = {"type": "NetworkUnavailable", "status": "False"}
    existing = {**status, "conditions": [foreign, *status["conditions"]], "volumesInUse": []}
    wanted = make_node_status(IDENTITY, FACTS, existing=existing, not_ready="", wall_now=later)
    assert is_status_current(existing, wanted) and foreign in wanted["conditions"]
    assert wanted["conditions"][-1]["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    unknown = [{**c, "status": "Unknown", "reason": "NodeStatusUnknown"} for c in status["conditions"]]
    over = make_node_status(IDENTITY, FACTS, existing={**status, "conditions": unknown}, not_ready="", wall_now=later)
    assert not is_status_current({**status, "conditions": unknown}, over)
    assert over["conditions"][-1]["lastTransitionTime"] == "2026-01-02T03:05:05Z"


def test_a_node_that_is_not_ready_says_why() -> None:
    status = make_node_status(IDENTITY, FACTS, existing=None, not_ready="container runtime is down", wall_now=NOW)
    ready = status["conditions"][-1]
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "False", "KubeletNotReady", "container runtime is down",
    )  # fmt: skip


def test_the_lease() -> None:
    lease = make_lease("node-1", "uid", duration_seconds=40, wall_now=NOW)
    assert lease["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "uid"}
    ]
    assert lease["spec"]["renewTime"] == "2026-01-02T03:04:05.000000Z"
    stored = {**lease, "metadata": {**lease["metadata"], "resourceVersion": "7"}}
    renewed = renew_lease(stored, "node-1", duration_seconds=40, wall_now=NOW + timedelta(milliseconds=1500))
    assert renewed["metadata"] == stored["metadata"]
    assert renewed["spec"]["renewTime"] == "2026-01-02T03:04:06.500000Z"


def test_a_new_node_has_the_taints_and_an_old_one_keeps_its_own() -> None:
    tainted = replace(IDENTITY, taints=(("dedicated", "web", "NoSchedule"), ("fragile", "", "NoExecute")))
    node = make_node(tainted, FACTS, not_ready="", wall_now=NOW)
    assert node["spec"]["taints"] == [
        {"key": "dedicated", "value": "web", "effect": "NoSchedule"}, {"key": "fragile", "effect": "NoExecute"},
    ]  # fmt: skip
    assert make_node_patch(tainted, FACTS, make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW)) == {}


@pytest.mark.parametrize(
    ("reserved", "expected"),
    [
        pytest.param((("cpu", "250m"),), {"cpu": "1750m"}, id="a part of a cpu"),
        pytest.param((("cpu", "1"), ("memory", "1Gi")), {"cpu": "1", "memory": "15335680Ki"}, id="several resources"),
        pytest.param((("cpu", "3"),), {"cpu": "0"}, id="never below nothing"),
        pytest.param((("ephemeral-storage", "1Mi"),), {"ephemeral-storage": "1047552Ki"}, id="of the disk"),
    ],
)
def test_what_is_reserved_is_not_for_pods(reserved: tuple[tuple[str, str], ...], expected: dict[str, str]) -> None:
    status = make_node(replace(IDENTITY, reserved=reserved), FACTS, not_ready="", wall_now=NOW)["status"]
    assert status["allocatable"] == {**status["capacity"], **expected}


def test_the_largest_images_are_told() -> None:
    images = [(size, tuple(f"{size}-{n}" for n in range(7))) for size in range(60)]
    status = make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW, images=images)["status"]
    assert [image["sizeBytes"] for image in status["images"]] == list(range(59, 9, -1))
    assert status["images"][0]["names"] == [f"59-{n}" for n in range(5)]
    assert "images" not in make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW)["status"]
    empty = make_node_status(IDENTITY, FACTS, existing=status, not_ready="", wall_now=NOW)
    assert empty["images"] == [], "what was told is taken back"


def make_seen(*, ready: str = "True", boot: str = "b", unschedulable: bool = False) -> dict[str, Any]:
    node = make_node(replace(IDENTITY), replace(FACTS, boot_id=boot), not_ready="", wall_now=NOW)
    node["status"]["conditions"][-1]["status"] = ready
    return {**node, "spec": {"unschedulable": unschedulable}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, make_seen(), [("Normal", "NodeReady")], id="a new Node is ready"),
        pytest.param(make_seen(), make_seen(), [], id="nothing changed"),
        pytest.param(make_seen(), make_seen(ready="False"), [("Normal", "NodeNotReady")], id="not ready any more"),
        pytest.param(make_seen(ready="Unknown"), make_seen(), [("Normal", "NodeReady")], id="back again"),
        pytest.param(make_seen(), make_seen(boot="c"), [("Warning", "Rebooted")], id="another boot"),
        pytest.param(
            make_seen(), make_seen(unschedulable=True), [("Normal", "NodeNotSchedulable")], id="cordoned"),
        pytest.param(
            make_seen(unschedulable=True), make_seen(), [("Normal", "NodeSchedulable")], id="and released"),
    ],
)  # fmt: skip
def test_what_is_told_of_a_node(before: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = find_happenings("node-1", before, after)
    assert [(happening.kind, happening.reason) for happening in found] == expected
    assert all("node-1" in happening.message.lower() for happening in found)


PLENTY = Room(memory_bytes=1 << 40, disk_bytes=1 << 40, disk_inodes=1 << 20, pids=1 << 20)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, set(), id="room for everything"),
        pytest.param({"memory_bytes": 99 << 20}, {"MemoryPressure"}, id="memory"),
        pytest.param({"disk_bytes": 1 << 20}, {"DiskPressure"}, id="disk"),
        pytest.param({"disk_inodes": 5}, {"DiskPressure"}, id="files"),
        pytest.param({"pids": 10}, {"PIDPressure"}, id="processes"),
    ],
)
def test_pressures(change: dict[str, int], expected: set[str]) -> None:
    pressures = find_pressures(replace(PLENTY, **change))
    assert pressures == expected
    before = make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW)
    after = make_node(IDENTITY, FACTS, not_ready="", wall_now=NOW, pressures=pressures)
    told = {c["type"]: (c["status"], c["reason"], c["message"]) for c in after["status"]["conditions"]}
    assert told["Ready"][0] == "True", "pressure keeps new Pods away, and is no failure"
    assert {kind for kind, (status, *_) in told.items() if status == "True"} == {*expected, "Ready"}
    happened = [happening.reason for happening in find_happenings("node-1", before, after)]
    assert len(happened) == len(expected)
    if expected == {"DiskPressure"}:
        assert told["DiskPressure"] == ("True", "KubeletHasDiskPressure", "kubelet has disk pressure")
        assert happened == ["NodeHasDiskPressure"]
        back = find_happenings("node-1", after, before)
        assert [happening.message for happening in back] == ["Node node-1 status is now: NodeHasNoDiskPressure"]
