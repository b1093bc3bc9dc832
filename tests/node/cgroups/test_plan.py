"""Rule: spec "node" §2.5, §2.9; cgroups(7)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.pod.scheduling import ResourceRequirements
from seaway.node.cgroups.plan import (
    MAX_SHARES,
    MIN_SHARES,
    Hierarchy,
    Limits,
    choose_oom_score,
    count_oom_kills,
    count_shares,
    count_weight,
    find_hierarchy,
    find_unified_mounts,
    name_group,
    name_groups,
    plan_limits,
    plan_writes,
)

FULL = Limits(memory_bytes=64 << 20, cpu=500, cpu_requested=250, pids=10)
WRITES = {
    1: {
        "cpu.shares": "256", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000",
        "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864", "pids.max": "10",
    },
    2: {
        "cpu.weight": "10", "cpu.max": "50000 100000", "memory.max": "67108864", "memory.swap.max": "0",
        "memory.oom.group": "1", "pids.max": "10",
    },
}  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_each_limit_has_its_files(version: int) -> None:
    writes = plan_writes(FULL, version)
    assert {write.file: write.text for write in writes} == WRITES[version]
    assert all(write.file.startswith(write.controller) for write in writes)


@pytest.mark.parametrize(("version", "file", "text"), [(1, "cpu.shares", "2"), (2, "cpu.weight", "1")])
def test_who_asks_for_nothing_is_last_in_the_queue_and_has_no_limit(version: int, file: str, text: str) -> None:
    assert [(write.file, write.text) for write in plan_writes(Limits(), version)] == [(file, text)]


def test_the_smallest_quota_is_the_kernels() -> None:
    assert "1000 100000" in [write.text for write in plan_writes(Limits(cpu=1), 2)]


def test_a_limit_without_a_request_is_one() -> None:
    resources = ResourceRequirements(limits={"cpu": "1500m", "memory": "1Mi"})
    assert plan_limits(resources, pids=7) == Limits(1 << 20, 1500, 1500, 7)
    asked = ResourceRequirements(requests={"cpu": "100m", "memory": "1Mi"}, limits={"cpu": "1"})
    assert plan_limits(asked) == Limits(0, 1000, 100, 0)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_who_asks_for_more_never_has_a_smaller_part(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert MIN_SHARES <= count_shares(small) <= count_shares(large) <= MAX_SHARES
    assert 1 <= count_weight(count_shares(small)) <= count_weight(count_shares(large)) <= 10000


V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HIERARCHIES: dict[str, tuple[str, dict[str, str], Hierarchy]] = {
    "version 2 has all at one place": (
        V2, {"/sys/fs/cgroup": "cpuset cpu io memory pids"},
        Hierarchy(2, (("cpu", "/sys/fs/cgroup"), ("memory", "/sys/fs/cgroup"), ("pids", "/sys/fs/cgroup"))),
    ),
    "version 1 has a place for each": (
        V1, {"/sys/fs/cgroup/unified": ""},
        Hierarchy(1, (("cpu", "/sys/fs/cgroup/cpu,cpuacct"), ("memory", "/sys/fs/cgroup/memory"))),
    ),
    "a controller that version 2 has counts": (
        V1, {"/sys/fs/cgroup/unified": "memory"}, Hierarchy(2, (("memory", "/sys/fs/cgroup/unified"),))
    ),
    "a host without": ("nonsense\n22 1 0:20 / /proc rw - proc proc rw\n", {}, Hierarchy(1, ())),
}  # fmt: skip


@pytest.mark.parametrize(("mounts", "unified", "expected"), HIERARCHIES.values(), ids=HIERARCHIES)
def test_hierarchies(mounts: str, unified: dict[str, str], expected: Hierarchy) -> None:
    assert find_hierarchy(mounts, unified) == expected
    assert set(unified) == set(find_unified_mounts(mounts))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("low 0\noom 3\noom_kill 2\noom_group_kill 1\n", 2, id="version 2"),
        pytest.param("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1, id="version 1"),
        pytest.param("", 0, id="a group that is gone"),
    ],
)
def test_kills_are_counted(text: str, count: int) -> None:
    assert count_oom_kills(text) == count


def test_two_agents_have_two_groups_and_two_runs_have_two() -> None:
    assert name_groups(Path("/a")) != name_groups(Path("/b"))
    assert name_group("main", 0) != name_group("main", 1)


@pytest.mark.parametrize(
    ("qos_class", "requested", "score"),
    [
        pytest.param("Guaranteed", 1 << 30, -997, id="who has what it asked for goes last"),
        pytest.param("BestEffort", 0, 1000, id="who asked for nothing goes first"),
        pytest.param("Burstable", 1 << 30, 750, id="who asked for a quarter of the memory is between"),
        pytest.param("Burstable", 0, 999, id="but after those who asked for nothing"),
        pytest.param("Burstable", 4 << 30, 3, id="and before those who are guaranteed"),
    ],
)
def test_who_goes_first_when_the_host_is_out_of_memory(qos_class: str, requested: int, score: int) -> None:
    assert choose_oom_score(qos_class, requested=requested, available=4 << 30) == score
