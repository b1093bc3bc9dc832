"""Two nodes on one link, one API server: Pods, Services and policies across both; one node lost; each keeps to its own.

Rule: spec "node" §4.1, §4.6; issue "node agent" ("let nothing here assume that there is only one").
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.node_two import SCENARIOS

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each scenario: "" when it held. They share the two nodes, in their order."""
    if os.geteuid() != 0:
        pytest.skip("two nodes need root")
    argv = ["unshare", "-nmpf", "--mount-proc", "--kill-child", sys.executable, "-m", "tests.kernel.node_two"]
    ended = subprocess.run(
        [*argv, str(tmp_path_factory.mktemp("two"))],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, timeout=600,
    )  # fmt: skip
    results = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"scenario"')]
    found = {result["scenario"]: result["error"] for result in results}
    log = f"exit code {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    return {name: found.get(name, f"did not run: {log}") for name in SCENARIOS} | {"": log if ended.returncode else ""}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(outcomes: dict[str, str], name: str) -> None:
    assert not outcomes[name], outcomes[name]


def test_the_program_ends_well(outcomes: dict[str, str]) -> None:
    assert not outcomes[""], outcomes[""]
