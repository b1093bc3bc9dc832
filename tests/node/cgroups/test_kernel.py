"""Groups of version 2 on a tree of directories as the kernel would make it; version 1 is proved on the kernel itself
(`tests/kernel/node_program.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from seaway.node.cgroups.kernel import CgroupError, Groups
from seaway.node.cgroups.plan import Hierarchy, Limits, name_groups

STATE = Path("/var/lib/seaway/node")
FILES = ("cgroup.procs", "cgroup.subtree_control", "cpu.max", "cpu.weight", "memory.max", "memory.events", "pids.max")


def make_group(path: Path) -> Path:
    path.mkdir()
    for name in FILES:
        (path / name).touch()
    return path


def make_groups(root: Path) -> Groups:
    hierarchy = Hierarchy(2, tuple((name, str(root)) for name in ("cpu", "memory", "pids")))
    return Groups(hierarchy, STATE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_group(tmp_path / "cgroup")


def test_a_run_has_a_group_below_its_pods(root: Path) -> None:
    pod = make_group(make_group(root / name_groups(STATE)) / "uid-1")
    run = make_group(pod / "main-0")
    groups = make_groups(root)
    groups.prepare()
    groups.make_pod("uid-1", Limits(pids=5))
    procs = groups.make("uid-1", "main", 0, Limits(memory_bytes=1024, cpu=1000))
    assert not groups.missing and groups.list_pods() == {"uid-1"}
    assert procs == (str(run / "cgroup.procs"),)
    assert (run / "memory.max").read_text() == "1024" and (run / "cpu.max").read_text() == "100000 100000"
    assert (pod / "pids.max").read_text() == "5"
    for parent in (root, pod.parent, pod):
        assert (parent / "cgroup.subtree_control").read_text(), "controllers are handed down"
    assert not (run / "cgroup.subtree_control").read_text(), "a group with processes hands nothing down"


def test_what_was_killed_for_memory_is_counted(root: Path) -> None:
    run = make_group(make_group(make_group(root / name_groups(STATE)) / "uid-1") / "main-0")
    (run / "memory.events").write_text("oom 1\noom_kill 1\n")
    groups = make_groups(root)
    assert groups.count_oom_kills("uid-1", "main", 0) == 1
    assert groups.count_oom_kills("uid-1", "main", 1) == 0


def test_where_controllers_cannot_be_handed_down_nothing_is_made(root: Path) -> None:
    (root / "cgroup.subtree_control").unlink()
    groups = make_groups(root)
    groups.prepare()
    assert set(groups.missing) == {"cpu", "memory", "pids"}
    assert "cgroup.subtree_control" in groups.missing["memory"]
    assert groups.make("uid-1", "main", 0, Limits(memory_bytes=1024)) == ()


def test_a_file_that_the_kernel_does_not_have_is_named(root: Path) -> None:
    make_group(make_group(make_group(root / name_groups(STATE)) / "uid-1") / "main-0")
    (root / name_groups(STATE) / "uid-1" / "main-0" / "cpu.max").unlink()
    groups = make_groups(root)
    groups.prepare()
    with pytest.raises(CgroupError, match=r"cpu\.max: No such file"):
        groups.make("uid-1", "main", 0, Limits(cpu=1000))


def test_a_host_without_cgroups_says_so(tmp_path: Path) -> None:
    groups = Groups(Hierarchy(1, ()), STATE)
    groups.prepare()
    assert groups.missing["memory"] == "the host has no memory controller of cgroups"


def test_removal_takes_all_groups_and_repeats(tmp_path: Path) -> None:
    (tmp_path / name_groups(STATE) / "uid-1" / "main-0").mkdir(parents=True)
    groups = make_groups(tmp_path)
    groups.remove("uid-1", "main", 0)
    groups.remove("uid-1", "main", 0)
    assert not (tmp_path / name_groups(STATE) / "uid-1" / "main-0").exists()
    groups.remove_pod("uid-1")
    assert not groups.list_pods()
    groups.remove_all()
    groups.remove_all()
    assert not list(tmp_path.iterdir())
