"""The Node object and its Lease: what the agent says of its host.

Rule: spec "node" §1.2-1.9. A Node that exists keeps the user's labels, taints and podCIDR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from seaway.node.state import format_time

Json = dict[str, Any]

MAX_PODS = 110
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
class NodeIdentity:
    """What the configuration says of the Node. `addresses`: internal addresses, primary first.

    kubelet_port: of the node's own server; 0: there is none.
    """

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()
    kubelet_version: str
    runtime_version: str
    kubelet_port: int = 0


def make_node(identity: NodeIdentity, facts: HostFacts, *, not_ready: str, wall_now: datetime) -> Json:
    """The Node as it is created, status included. not_ready: why it is not, or ""."""
    spec: Json = {}
    if identity.pod_cidrs:
        spec = {"podCIDR": identity.pod_cidrs[0], "podCIDRs": list(identity.pod_cidrs)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": identity.name, "labels": make_labels(identity, facts)},
        "spec": spec,
        "status": make_node_status(identity, facts, existing=None, not_ready=not_ready, wall_now=wall_now),
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


def make_capacity(facts: HostFacts) -> dict[str, str]:
    """What the host has; all of it is allocatable. Rule: spec "node" §1.5."""
    return {
        "cpu": str(facts.cpus),
        "ephemeral-storage": f"{facts.storage_bytes // 1024}Ki",
        "memory": f"{facts.memory_kib}Ki",
        "pods": str(MAX_PODS),
    }


def make_node_status(
    identity: NodeIdentity, facts: HostFacts, *, existing: Mapping[str, Any] | None, not_ready: str, wall_now: datetime
) -> Json:
    """The status. existing: the Node's status, whose transition times and foreign conditions are kept."""
    capacity = make_capacity(facts)
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in identity.addresses),
            {"type": "Hostname", "address": facts.hostname},
        ],
        "allocatable": capacity,
        "capacity": capacity,
        "conditions": _make_conditions(existing or {}, not_ready, format_time(wall_now)),
        "declaredFeatures": list(DECLARED_FEATURES),
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
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def _make_conditions(existing: Mapping[str, Any], not_ready: str, now: str) -> list[Json]:
    wanted = [(kind, "False", reason, message) for kind, reason, message in _PRESSURES]
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
