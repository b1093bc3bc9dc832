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
from tests.system import plain_killed_program, plain_pods_program

ROOT = Path(__file__).parents[2]
PROGRAMS = {"pods": plain_pods_program, "killed": plain_killed_program}
NAMES = [(program, name) for program, module in PROGRAMS.items() for name in module.SCENARIOS]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], str]]:
    """What became of each scenario of each program: "" when it held; of a program as a whole under the name ""."""
    found = {}
    for program, module in PROGRAMS.items():
        directory = tmp_path_factory.mktemp(program)
        argv = [sys.executable, "-m", module.__name__, str(directory)]
        argv = as_ordinary_user(argv, home=directory, needed=[ROOT])
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=240)
        log = f"exit code {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
        found |= {(program, name): f"did not run: {log}" for name in module.SCENARIOS}
        results = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"scenario"')]
        found |= {(program, result["scenario"]): result["error"] for result in results}
        found[program, ""] = log if ended.returncode else ""
        shutil.rmtree(directory, ignore_errors=True)
    yield found


@pytest.mark.parametrize(("program", "name"), NAMES)
def test_scenario(outcomes: dict[tuple[str, str], str], program: str, name: str) -> None:
    assert not outcomes[program, name], outcomes[program, name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_ends_well(outcomes: dict[tuple[str, str], str], program: str) -> None:
    assert not outcomes[program, ""], outcomes[program, ""]
