"""Pods without namespaces, run for an ordinary user who can make none. Rule: issue "userspace data plane", 4."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seaway.testing.ordinary_user import as_ordinary_user
from tests.system import plain_killed_program, plain_pods_program

ROOT = Path(__file__).parents[2]
PROGRAMS = {"pods": plain_pods_program, "killed": plain_killed_program}
PATIENCE_SECONDS = 240
NAMES = [(program, name) for program, module in PROGRAMS.items() for name in module.SCENARIOS]


def start(module: str, directory: Path) -> tuple[subprocess.Popen[str], Path]:
    """The program, for a user without rights, who owns the directory."""
    argv = as_ordinary_user([sys.executable, "-m", module, str(directory)], home=directory, needed=[ROOT])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=ROOT), directory


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], str]]:
    """What became of each scenario of each program: "" when it held; of a program as a whole under the name ""."""
    running = {name: start(module.__name__, tmp_path_factory.mktemp(name)) for name, module in PROGRAMS.items()}
    found = {}
    for program, (process, directory) in running.items():
        try:
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends its Pods
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        log = f"exit code {process.returncode}\n{output[-2000:]}\n{errors[-6000:]}"
        found |= {(program, name): f"did not run: {log}" for name in PROGRAMS[program].SCENARIOS}
        results = [json.loads(line) for line in output.splitlines() if line.startswith('{"scenario"')]
        found |= {(program, result["scenario"]): result["error"] for result in results}
        found[program, ""] = log if process.returncode else ""
        shutil.rmtree(directory, ignore_errors=True)
    yield found


@pytest.mark.parametrize(("program", "name"), NAMES)
def test_scenario(outcomes: dict[tuple[str, str], str], program: str, name: str) -> None:
    assert not outcomes[program, name], outcomes[program, name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_ends_well(outcomes: dict[tuple[str, str], str], program: str) -> None:
    assert not outcomes[program, ""], outcomes[program, ""]
