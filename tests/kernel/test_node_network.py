"""What the network of Pods does beyond routes: ports of the node, other firewalls, two nodes.

Rule: spec "node" §4.1, §4.5. The scenarios run in namespaces of their own: tests/kernel/node_network_program.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.node_network_program import DUAL_SCENARIOS, SCENARIOS

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What became of each scenario: "" when it held."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which("nft") is None:
        pytest.skip("needs the nft program to look at the rules")
    directory = tmp_path_factory.mktemp("node-network")
    argv = ["unshare", "-nmpf", "--mount-proc", "--kill-child", sys.executable, "-m",
            "tests.kernel.node_network_program", str(directory)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=240)
    results = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"scenario"')]
    found = {result["scenario"]: result["error"] for result in results}
    log = f"exit code {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    yield {name: found.get(name, f"did not run: {log}") for name in (*SCENARIOS, *DUAL_SCENARIOS)}


@pytest.mark.parametrize("name", [*SCENARIOS, *DUAL_SCENARIOS])
def test_scenario(outcomes: dict[str, str], name: str) -> None:
    assert not outcomes[name], outcomes[name]
