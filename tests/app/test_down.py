"""What `seaway down` ends, by how the directory was run last. Rule: design.md §3 ("what stopping means")."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seaway.app import down, files
from seaway.app.preflight import HOST, NONE, SANDBOX
from seaway.proxy import run as proxy


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories whose Pods were ended; nothing of the host is touched."""
    found: list[Path] = []

    async def end(state_dir: Path) -> None:
        found.append(state_dir)

    monkeypatch.setattr("seaway.node.run.remove_pods", end)
    monkeypatch.setattr(proxy, "cleanup", lambda **options: None)
    return found


@pytest.mark.parametrize(
    ("way", "ends"),
    [
        pytest.param(HOST, True, id="on the host"),
        pytest.param(NONE, True, id="without a network"),
        pytest.param(None, True, id="the agent alone, which `up` knows nothing of"),
        pytest.param(SANDBOX, False, id="in a sandbox, which took its Pods along"),
    ],
)
def test_pods_that_outlive_their_agent_are_ended_before_their_files_go(
    tmp_path: Path, ended: list[Path], way: str | None, ends: bool
) -> None:
    if way == HOST and os.geteuid() != 0:
        pytest.skip("what ran on the host is removed by root alone")
    data = files.prepare(tmp_path)
    data.node_state.mkdir()
    if way is not None:
        files.note_way(data, way)
    lines = list(down.take_down(tmp_path))
    assert ended == ([data.node_state] if ends else [])
    assert not data.node_state.exists()
    assert lines[-1] == f"removed  {data.node_state}"


def test_of_a_directory_where_nothing_ran_it_says_so(tmp_path: Path, ended: list[Path]) -> None:
    files.prepare(tmp_path)
    assert list(down.take_down(tmp_path)) == [f"nothing  ran on data directory {tmp_path}"]
    assert not ended
