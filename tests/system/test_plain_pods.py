"""Pods without namespaces, run for an ordinary user who can make none. Rule: issue "userspace data plane", 4."""

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
from tests.system.plain_pods_program import SCENARIOS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What became of each scenario: "" when it held."""
    directory = tmp_path_factory.mktemp("plain")
    program = [sys.executable, "-m", "tests.system.plain_pods_program", str(directory)]
    argv = as_ordinary_user(program, home=directory, needed=[ROOT])
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
