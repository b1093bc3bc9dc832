"""What a kubelet would say of Pods and Nodes, as pure functions of the object. Rule: spec "node" §1, §5 (status)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
POD_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_DEPENDS_ON_READINESS = ("Ready", "ContainersReady")
CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"}
KUBELET_VERSION = "v1.36.0"


def make_running_status(pod: Json, *, ip: str, host_ip: str, ready: bool, now: str) -> Json:
    """The status of a Pod whose containers run. `now` as the wire writes times; pod is not modified.

    A condition that does not change keeps its time, and so does the start of a container.
    """
    old = pod.get("status", {})
    return {
        "phase": "Running",
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": old.get("startTime") or now,
        "conditions": [*_make_conditions(old, ready=ready, now=now), *_find_foreign_conditions(old)],
        "containerStatuses": [
            _make_container(container, old, ready=ready, state={"running": {"startedAt": old.get("startTime") or now}})
            for container in pod["spec"]["containers"]
        ],
    }


def make_finished_status(pod: Json, *, exit_code: int, now: str) -> Json:
    """The status of a Pod whose containers have all ended."""
    old = pod.get("status", {})
    started = old.get("startTime") or now
    reason = "Completed" if exit_code == 0 else "Error"
    ended = {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": now}
    conditions = _make_conditions(old, ready=False, now=now)
    for condition in conditions:
        if condition["type"] in _DEPENDS_ON_READINESS:
            condition["reason"] = "PodCompleted" if exit_code == 0 else "PodFailed"
    return {
        **old,
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "startTime": started,
        "conditions": [*conditions, *_find_foreign_conditions(old)],
        "containerStatuses": [
            _make_container(container, old, ready=False, state={"terminated": ended})
            for container in pod["spec"]["containers"]
        ],
    }


def make_node_status(*, ip: str, ready: bool | None, now: str) -> Json:
    """The status of a node. ready: None is what the control plane says of one that is lost."""
    answer = {True: "True", False: "False", None: "Unknown"}[ready]
    reason = {True: "KubeletReady", False: "KubeletNotReady", None: "NodeStatusUnknown"}[ready]
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    conditions = [
        {"type": kind, "status": "Unknown" if ready is None else "False", "reason": f"KubeletHasNo{kind}", **times}
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    return {
        "capacity": CAPACITY,
        "allocatable": CAPACITY,
        "addresses": [{"type": "InternalIP", "address": ip}],
        "conditions": [*conditions, {"type": "Ready", "status": answer, "reason": reason, **times}],
        "nodeInfo": {
            "kubeletVersion": KUBELET_VERSION,
            "operatingSystem": "linux",
            "architecture": "amd64",
            "osImage": "Seaway",
            "kernelVersion": "",
            "containerRuntimeVersion": "seaway://testing",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kubeProxyVersion": "",
        },
    }


def iterate_addresses(cidr: str) -> Iterator[str]:
    """The host addresses of the range, each once."""
    return (str(address) for address in ipaddress.ip_network(cidr).hosts())


def _make_conditions(old: Mapping[str, Any], *, ready: bool, now: str) -> list[Json]:
    before = {condition["type"]: condition for condition in old.get("conditions", ())}
    conditions: list[Json] = []
    for kind in POD_CONDITIONS:
        status = "True" if ready or kind not in _DEPENDS_ON_READINESS else "False"
        condition: Json = {"type": kind, "status": status, "lastTransitionTime": now}
        if status == "False":
            condition |= {"reason": "ContainersNotReady", "message": "containers with unready status"}
        if before.get(kind, {}).get("status") == status:
            condition["lastTransitionTime"] = before[kind].get("lastTransitionTime") or now
        conditions.append(condition)
    return conditions


def _find_foreign_conditions(old: Mapping[str, Any]) -> list[Json]:
    """Readiness gates are written by others, and stay."""
    return [condition for condition in old.get("conditions", ()) if condition["type"] not in POD_CONDITIONS]


def _make_container(container: Json, old: Mapping[str, Any], *, ready: bool, state: Json) -> Json:
    before: Json = next((c for c in old.get("containerStatuses", ()) if c["name"] == container["name"]), {})
    image = container.get("image", "")
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"seaway://{image}",
        "containerID": f"seaway://{container['name']}",
        "ready": ready,
        "started": "running" in state,
        "restartCount": before.get("restartCount", 0),
        "state": state,
    }
