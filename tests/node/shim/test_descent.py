"""Rule: proc_pid_stat(5); issue "userspace data plane", 4 (nothing is left of a container)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.shim.descent import choose_descendants, parse_parent, read_parents


@pytest.mark.parametrize(
    ("stat", "parent"),
    [
        pytest.param(b"42 (sh) S 7 42 42 0 -1", 7, id="an ordinary name"),
        pytest.param(b"42 (a) b (c) S 1 ) R 9 42 42", 9, id="a name that looks like the rest"),
    ],
)
def test_the_parent(stat: bytes, parent: int) -> None:
    assert parse_parent(stat) == parent


@given(st.dictionaries(st.integers(2, 30), st.integers(1, 30)), st.sets(st.integers(1, 30), max_size=3))
def test_descendants_are_who_reaches_a_root_by_parents(parents: dict[int, int], roots: set[int]) -> None:
    def reaches(pid: int) -> bool:
        seen: set[int] = set()
        while pid in parents and pid not in seen:
            seen.add(pid)
            pid = parents[pid]
            if pid in roots:
                return True
        return False

    assert choose_descendants(roots, parents) == {pid for pid in parents if reaches(pid)}


def test_this_process_has_its_parent() -> None:
    assert read_parents()[os.getpid()] == os.getppid()
