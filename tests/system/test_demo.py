"""`make demo` holds in each way to run, as root and as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seaway.testing.ordinary_user import as_ordinary_user
from tests.system.running import EXAMPLES, ROOT, seaway

DEMO = [sys.executable, str(EXAMPLES / "demo.py")]


@pytest.mark.parametrize(
    ("way", "user"),
    [
        pytest.param("", "root", id="by itself as root"),
        pytest.param("", "ordinary", id="by itself as an ordinary user"),
        pytest.param("host", "root", id="host"),
        pytest.param("none", "ordinary", id="none as an ordinary user"),
    ],
)
def test_the_demo_ends_with_all_of_it_held(way: str, user: str, tmp_path: Path) -> None:
    if way == "host" and os.geteuid() != 0:
        pytest.skip("the host way needs root; run the tests as root")
    demo = [*DEMO, way] if way else DEMO
    command = as_ordinary_user(demo, home=tmp_path, needed=[ROOT]) if user == "ordinary" else demo
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 after its removal" in done.stdout
    assert "all of it held" in done.stdout
    assert done.stderr == ""


def test_an_ordinary_user_is_told_what_the_host_way_needs(tmp_path: Path) -> None:
    command = seaway("up", "--network", "host", "--data-dir", str(tmp_path / "data"))
    done = subprocess.run(as_ordinary_user(command, home=tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        "seaway: --network host: user 65534 found, root needed; run it with sudo, or use another --network\n"
    )
