"""The agent is killed, with SIGKILL, at each step of what it does: no Pod is lost, none doubled, nothing is left.

Rule: spec "node" §3.5, §10 (8); issue "node agent", faults.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.node_killed import SCENARIOS

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each scenario: "" when it held. They share one host, in their order."""
    if os.geteuid() != 0:
        pytest.skip("the node agent as a command needs root")
    argv = ["unshare", "-nmpf", "--mount-proc", "--kill-child", sys.executable, "-m", "tests.kernel.node_killed"]
    ended = subprocess.run(
        [*argv, str(tmp_path_factory.mktemp("killed"))],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, timeout=400,
    )  # fmt: skip
    results = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"scenario"')]
    found = {result["scenario"]: result["error"] for result in results}
    log = f"exit code {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    return {name: found.get(name, f"did not run: {log}") for name in SCENARIOS} | {"": log if ended.returncode else ""}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(outcomes: dict[str, str], name: str) -> None:
    if outcomes[name].startswith("skipped: "):
        pytest.skip(outcomes[name].removeprefix("skipped: "))
    assert not outcomes[name], outcomes[name]


def test_the_program_ends_well(outcomes: dict[str, str]) -> None:
    assert not outcomes[""], outcomes[""]
