"""The Node object and its Lease: what the agent says of its host.

Rule: spec "node" §1.2-1.9. A Node that exists keeps the user's labels, taints and podCIDR.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from seaway.api.machinery.scalars import measure_quantity
from seaway.node.events import Happening
from seaway.node.state import format_time

Json = dict[str, Any]

MAX_IMAGES, MAX_IMAGE_NAMES = 50, 5
"""Of `status.images`. Rule: spec "node" §1.6."""
LEASE_NAMESPACE = "kube-node-lease"
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i686": "386",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
"""From `uname -m` to the names that the API uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What was read of the host."""

    hostname: str
    machine: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str
    cpus: int
    memory_kib: int
    storage_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is left of the host at a moment. disk: where the agent keeps what Pods write."""

    memory_bytes: int
    disk_bytes: int
    disk_inodes: int
    pids: int


MIN_ROOM = Room(memory_bytes=100 << 20, disk_bytes=100 << 20, disk_inodes=1000, pids=500)
"""Below it there is pressure. Memory is upstream's default. Of the disk upstream wants a tenth, and evicts to get it;
here nothing is evicted, and a node is not closed for a disk that is well filled."""
PRESSURE_SECONDS = 300.0
"""How long a pressure is told after it was last seen, so that it does not flap: upstream's transition period."""


def find_pressures(room: Room) -> frozenset[str]:
    """The condition types that are True. Rule: spec "node" §1.7."""
    is_short = {
        "MemoryPressure": room.memory_bytes < MIN_ROOM.memory_bytes,
        "DiskPressure": room.disk_bytes < MIN_ROOM.disk_bytes or 0 <= room.disk_inodes < MIN_ROOM.disk_inodes,
        "PIDPressure": room.pids < MIN_ROOM.pids,
    }
    return frozenset(kind for kind, found in is_short.items() if found)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """What the configuration says of the Node. `addresses`: internal addresses, primary first.

    kubelet_port: of the node's own server; 0: there is none. taints: key, value, effect; of a Node that is new.
    reserved: quantities by resource that are not for Pods. sets_groups: programs get the groups that their Pod says.
    """

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str, str], ...] = ()
    reserved: tuple[tuple[str, str], ...] = ()
    max_pods: int = 110
    sets_groups: bool = False
    kubelet_version: str
    runtime_version: str
    kubelet_port: int = 0


def make_node(
    identity: NodeIdentity,
    facts: HostFacts,
    *,
    not_ready: str,
    wall_now: datetime,
    images: Images = (),
    pressures: frozenset[str] = frozenset(),
) -> Json:
    """The Node as it is created, status included. not_ready: why it is not, or ""."""
    spec: Json = {}
    if identity.pod_cidrs:
        spec = {"podCIDR": identity.pod_cidrs[0], "podCIDRs": list(identity.pod_cidrs)}
    if identity.taints:
        spec["taints"] = [
            {"key": key, "effect": effect} | ({"value": value} if value else {})
            for key, value, effect in identity.taints
        ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": identity.name, "labels": make_labels(identity, facts)},
        "spec": spec,
        "status": make_node_status(
            identity, facts, existing=None, not_ready=not_ready, wall_now=wall_now, images=images, pressures=pressures
        ),
    }


def make_labels(identity: NodeIdentity, facts: HostFacts) -> dict[str, str]:
    """The labels of the agent, and those of the configuration. Rule: spec "node" §1.3."""
    architecture = ARCHITECTURES.get(facts.machine, facts.machine)
    return {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": facts.hostname,
        "kubernetes.io/os": "linux",
        **dict(identity.labels),
    }


def make_node_patch(identity: NodeIdentity, facts: HostFacts, existing: Mapping[str, Any]) -> Json:
    """The merge patch of metadata and spec that an existing Node needs; empty when it needs none."""
    labels = existing["metadata"].get("labels") or {}
    missing = {key: value for key, value in make_labels(identity, facts).items() if labels.get(key) != value}
    patch: Json = {"metadata": {"labels": missing}} if missing else {}
    if identity.pod_cidrs and not (existing.get("spec") or {}).get("podCIDR"):
        patch["spec"] = {"podCIDR": identity.pod_cidrs[0], "podCIDRs": list(identity.pod_cidrs)}
    return patch


def make_capacity(identity: NodeIdentity, facts: HostFacts) -> dict[str, str]:
    """What the host has. Rule: spec "node" §1.5."""
    return {
        "cpu": str(facts.cpus),
        "ephemeral-storage": f"{facts.storage_bytes // 1024}Ki",
        "memory": f"{facts.memory_kib}Ki",
        "pods": str(identity.max_pods),
    }


def subtract_reserved(capacity: Mapping[str, str], reserved: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What Pods get, never below nothing. Rule: spec "node" §1.5."""
    left = dict(capacity)
    for name, quantity in reserved:
        nanos = max(0, measure_quantity(capacity[name]) - measure_quantity(quantity))
        if name == "cpu":
            milli = nanos // 10**6
            left[name] = str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
        else:
            left[name] = f"{nanos // 10**9 // 1024}Ki"
    return left


Images = Sequence[tuple[int, tuple[str, ...]]]
"""Size in bytes and names of each."""


def make_node_status(
    identity: NodeIdentity,
    facts: HostFacts,
    *,
    existing: Mapping[str, Any] | None,
    not_ready: str,
    wall_now: datetime,
    images: Images = (),
    pressures: frozenset[str] = frozenset(),
) -> Json:
    """The status. existing: the Node's status, whose transition times and foreign conditions are kept."""
    capacity = make_capacity(identity, facts)
    listed = [
        {"names": list(names[:MAX_IMAGE_NAMES]), "sizeBytes": size}
        for size, names in sorted(images, key=lambda image: (-image[0], image[1]))[:MAX_IMAGES]
    ]
    return {
        **({"images": listed} if listed or "images" in (existing or {}) else {}),
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in identity.addresses),
            {"type": "Hostname", "address": facts.hostname},
        ],
        "allocatable": subtract_reserved(capacity, identity.reserved),
        "capacity": capacity,
        "conditions": _make_conditions(existing or {}, not_ready, format_time(wall_now), pressures),
        "declaredFeatures": list(DECLARED_FEATURES),
        **({"features": {"supplementalGroupsPolicy": True}} if identity.sets_groups else {}),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": identity.kubelet_port}},
        "nodeInfo": {
            "architecture": ARCHITECTURES.get(facts.machine, facts.machine),
            "bootID": facts.boot_id,
            "containerRuntimeVersion": identity.runtime_version,
            "kernelVersion": facts.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": identity.kubelet_version,
            "machineID": facts.machine_id,
            "operatingSystem": "linux",
            "osImage": facts.os_image,
            "systemUUID": facts.system_uuid,
        },
    }


DECLARED_FEATURES = ("ExtendWebSocketsToKubelet",)
"""What API servers may count on: WebSockets of clients are this node's to answer. Rule: spec "node" §5.4."""
_PRESSURES = (
    ("MemoryPressure", "HasSufficientMemory", "has sufficient memory available",
     "HasInsufficientMemory", "has insufficient memory available"),
    ("DiskPressure", "HasNoDiskPressure", "has no disk pressure", "HasDiskPressure", "has disk pressure"),
    ("PIDPressure", "HasSufficientPID", "has sufficient PID available",
     "HasInsufficientPID", "has insufficient PID available"),
)  # fmt: skip
"""Reason and message of a condition that is False, and of one that is True, after `Kubelet` and `kubelet`."""


def _make_conditions(existing: Mapping[str, Any], not_ready: str, now: str, pressures: frozenset[str]) -> list[Json]:
    wanted = []
    for kind, good, words, bad, complaint in _PRESSURES:
        status, reason, message = ("True", bad, complaint) if kind in pressures else ("False", good, words)
        wanted.append((kind, status, f"Kubelet{reason}", f"kubelet {message}"))
    if not_ready:
        wanted.append(("Ready", "False", "KubeletNotReady", not_ready))
    else:
        wanted.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    before = {c["type"]: c for c in existing.get("conditions") or ()}
    conditions = [
        {
            "type": kind,
            "status": status,
            "lastHeartbeatTime": now,
            "lastTransitionTime": _keep_transition(before.get(kind), status, now),
            "reason": reason,
            "message": message,
        }
        for kind, status, reason, message in wanted
    ]
    own = {kind for kind, *_ in wanted}
    return [*(dict(c) for kind, c in before.items() if kind not in own), *conditions]


def _keep_transition(before: Mapping[str, Any] | None, status: str, now: str) -> str:
    if before is not None and before.get("status") == status:
        return str(before.get("lastTransitionTime") or now)
    return now


def find_happenings(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Happening, ...]:
    """What changed between two states of the Node that is told as an event. before: empty for a Node that is new.

    Rule: spec "node" §1.6 (Rebooted), §1.7 (Ready), §1.10 (cordon).
    """
    found = []
    boots = [str(((node.get("status") or {}).get("nodeInfo") or {}).get("bootID") or "") for node in (before, after)]
    if all(boots) and boots[0] != boots[1]:
        found.append(Happening("Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {boots[1]}"))
    for kind, good, _, bad, _ in _PRESSURES:
        pressed = [_is_true(node, kind) for node in (before, after)]
        if pressed[1] is not None and bool(pressed[0]) != pressed[1]:
            found.append(_tell(name, f"Node{bad if pressed[1] else good}"))
    ready = [_is_true(node, "Ready") for node in (before, after)]
    if ready[1] is not None and ready[0] != ready[1]:
        found.append(_tell(name, "NodeReady" if ready[1] else "NodeNotReady"))
    cordoned = [bool((node.get("spec") or {}).get("unschedulable")) for node in (before, after)]
    if before and cordoned[0] != cordoned[1]:
        found.append(_tell(name, "NodeNotSchedulable" if cordoned[1] else "NodeSchedulable"))
    return tuple(found)


def _tell(name: str, reason: str) -> Happening:
    return Happening("Normal", reason, f"Node {name} status is now: {reason}")


def _is_true(node: Mapping[str, Any], kind: str) -> bool | None:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((c.get("status") == "True" for c in conditions if c.get("type") == kind), None)


def is_status_current(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """The written status says what is wanted, heartbeats aside."""
    return all(_without_times(existing.get(key)) == _without_times(value) for key, value in wanted.items())


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [
            {k: v for k, v in item.items() if k not in ("lastHeartbeatTime", "lastTransitionTime")}
            if isinstance(item, dict)
            else item
            for item in value
        ]
    return value


def make_lease(name: str, node_uid: str, *, duration_seconds: int, wall_now: datetime) -> Json:
    """The Lease as it is created. Rule: spec "node" §1.8."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": duration_seconds,
            "renewTime": format_micro_time(wall_now),
        },
    }


def renew_lease(lease: Mapping[str, Any], name: str, *, duration_seconds: int, wall_now: datetime) -> Json:
    """The Lease with a new renewTime, ready for a PUT."""
    spec = {
        **(lease.get("spec") or {}),
        "holderIdentity": name,
        "leaseDurationSeconds": duration_seconds,
        "renewTime": format_micro_time(wall_now),
    }
    return {**lease, "spec": spec}


def format_micro_time(moment: datetime) -> str:
    """MicroTime: six digits of the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
