"""What a container's resources are in the files of the kernel's control groups, of either version.

Each container has a group below its Pod's, and the Pod's lies below one of the agent's. A program enters its group
before it is executed; the container's init stays outside, so that the kernel never kills it for what the program took.
Rule: spec "node" §2.5 (OOMKilled), §2.9 (resources); KEP-2254 (shares as a weight); cgroups(7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seaway.api.pod.resources import CPU, MEMORY, measure_all
from seaway.api.pod.scheduling import ResourceRequirements

CONTROLLERS = ("cpu", "memory", "pids")
PERIOD_MICROS = 100_000
"""Over which processor time is counted: the kernel's default, and kubelet's."""
MIN_QUOTA_MICROS = 1000
"""What the kernel takes at least."""
MIN_SHARES, MAX_SHARES = 2, 262_144
OOM_EXIT_CODE = 137


@dataclass(frozen=True, slots=True)
class Limits:
    """0: no limit. cpu in thousandths of a processor; `cpu_requested` is its part when processors are scarce."""

    memory_bytes: int = 0
    cpu: int = 0
    cpu_requested: int = 0
    pids: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """A text for a file of a group. is_optional: kernels without the file do without."""

    controller: str
    file: str
    text: str
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where each controller's groups begin; in version 2, at one place. No place: the host has none."""

    version: int
    roots: tuple[tuple[str, str], ...]


def plan_limits(resources: ResourceRequirements, *, pids: int = 0) -> Limits:
    """Of a container, or of a whole Pod. A limit without a request is one."""
    limits = measure_all(resources.limits)
    requests = limits | measure_all(resources.requests)
    return Limits(limits.get(MEMORY, 0), limits.get(CPU, 0), requests.get(CPU, 0), pids)


def count_shares(millis: int) -> int:
    """A processor is 1024 shares; who asks for nothing has the fewest."""
    return min(max(millis * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def count_weight(shares: int) -> int:
    """The same part in version 2, where weights go from 1 to 10000. Rule: KEP-2254."""
    return 1 + (shares - MIN_SHARES) * 9999 // (MAX_SHARES - MIN_SHARES)


def plan_writes(limits: Limits, version: int) -> tuple[Write, ...]:
    """In the order in which the kernel takes them."""
    return _plan_writes_v2(limits) if version == 2 else _plan_writes_v1(limits)


def _plan_writes_v2(limits: Limits) -> tuple[Write, ...]:
    writes = [Write("cpu", "cpu.weight", str(count_weight(count_shares(limits.cpu_requested))))]
    if limits.cpu:
        writes.append(Write("cpu", "cpu.max", f"{_count_quota(limits.cpu)} {PERIOD_MICROS}"))
    if limits.memory_bytes:
        writes.append(Write("memory", "memory.max", str(limits.memory_bytes)))
        # memory that is limited is not swapped out; what is out of memory ends as a whole: both as kubelet does
        writes.append(Write("memory", "memory.swap.max", "0", is_optional=True))
        writes.append(Write("memory", "memory.oom.group", "1", is_optional=True))
    if limits.pids:
        writes.append(Write("pids", "pids.max", str(limits.pids)))
    return tuple(writes)


def _plan_writes_v1(limits: Limits) -> tuple[Write, ...]:
    writes = [Write("cpu", "cpu.shares", str(count_shares(limits.cpu_requested)))]
    if limits.cpu:
        writes.append(Write("cpu", "cpu.cfs_period_us", str(PERIOD_MICROS)))
        writes.append(Write("cpu", "cpu.cfs_quota_us", str(_count_quota(limits.cpu))))
    if limits.memory_bytes:
        writes.append(Write("memory", "memory.limit_in_bytes", str(limits.memory_bytes)))
        writes.append(Write("memory", "memory.memsw.limit_in_bytes", str(limits.memory_bytes), is_optional=True))
    if limits.pids:
        writes.append(Write("pids", "pids.max", str(limits.pids)))
    return tuple(writes)


def _count_quota(millis: int) -> int:
    return max(millis * PERIOD_MICROS // 1000, MIN_QUOTA_MICROS)


def name_groups(state_dir: Path) -> str:
    """The group of an agent's Pods. Two agents of one host have two."""
    return f"seaway-{hashlib.sha256(str(state_dir).encode()).hexdigest()[:8]}"


def name_group(container: str, attempt: int) -> str:
    """Of one run, below its Pod's."""
    return f"{container}-{attempt}"


def find_hierarchy(mountinfo: str, unified: Mapping[str, str]) -> Hierarchy:
    """From /proc/self/mountinfo. unified: for each mount point of version 2, the controllers that it has.

    Version 2 where it has one of ours: the kernel binds a controller to one version at a time.
    """
    mounts = [_read_mount(line) for line in mountinfo.splitlines()]
    for kind, point, _ in mounts:
        offered = unified.get(point, "").split() if kind == "cgroup2" else []
        ours = tuple((name, point) for name in CONTROLLERS if name in offered)
        if ours:
            return Hierarchy(2, ours)
    found: dict[str, str] = {}
    for kind, point, options in mounts:
        for name in CONTROLLERS if kind == "cgroup" else ():
            if name in options:
                found.setdefault(name, point)
    return Hierarchy(1, tuple(sorted(found.items())))


def find_unified_mounts(mountinfo: str) -> tuple[str, ...]:
    """Where version 2 is mounted."""
    return tuple(point for kind, point, _ in map(_read_mount, mountinfo.splitlines()) if kind == "cgroup2")


def _read_mount(line: str) -> tuple[str, str, tuple[str, ...]]:
    """File system, mount point, options of the file system. Rule: proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if len(left) < 5 or len(right) < 3:
        return "", "", ()
    return right[0], left[4].replace("\\040", " "), tuple(right[2].split(","))


def count_oom_kills(text: str) -> int:
    """From `memory.events` (version 2) or `memory.oom_control` (version 1)."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.isdecimal():
            return int(number)
    return 0


OOM_FILES = {1: "memory.oom_control", 2: "memory.events"}

GUARANTEED_SCORE, BEST_EFFORT_SCORE = -997, 1000


def choose_oom_score(qos_class: str, *, requested: int, available: int) -> int:
    """Who goes first when the host itself is out of memory: who asked for the least of it, in bytes.

    Rule: upstream's oom_score_adj by QoS class; proc_pid_oom_score_adj(5).
    """
    if qos_class == "Guaranteed":
        return GUARANTEED_SCORE
    if qos_class == "BestEffort" or available <= 0:
        return BEST_EFFORT_SCORE
    score = BEST_EFFORT_SCORE - BEST_EFFORT_SCORE * requested // available
    return min(max(score, BEST_EFFORT_SCORE + GUARANTEED_SCORE), BEST_EFFORT_SCORE - 1)
