"""Pods that really run: as root in the host way, and as an ordinary user in a user namespace.

Rule: spec "node" §2, §3.5, §4.1-4.4, §4.9, §10; design §11 (Pods, Sandbox), §12 (masking).
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

from seaway.testing.ordinary_user import as_ordinary_user
from tests.kernel.node_program import SCENARIOS

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
NAMESPACES = {
    "host": ["unshare", "-nmpf", "--mount-proc", "--kill-child"],
    "sandbox": ["unshare", "-Urnmpf", "--mount-proc", "--kill-child"],
}


@pytest.fixture(scope="module", params=sorted(NAMESPACES))
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What became of each scenario: "" when it held. One topology for all of them."""
    way = str(request.param)
    if way == "host" and os.geteuid() != 0:
        pytest.skip("the host way needs root")
    directory = tmp_path_factory.mktemp(f"node-{way}")
    program = [sys.executable, "-m", "tests.kernel.node_program", str(directory), way]
    argv = [*NAMESPACES[way], *program]
    if way == "sandbox":
        argv = as_ordinary_user(argv, home=directory, needed=[ROOT])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=240)
    results = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"scenario"')]
    found = {result["scenario"]: result["error"] for result in results}
    log = f"exit code {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    yield {name: found.get(name, f"did not run: {log}") for name in SCENARIOS} | {"": log if ended.returncode else ""}
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(outcomes: dict[str, str], name: str) -> None:
    assert not outcomes[name], outcomes[name]


def test_the_program_ends_well(outcomes: dict[str, str]) -> None:
    assert not outcomes[""], outcomes[""]
