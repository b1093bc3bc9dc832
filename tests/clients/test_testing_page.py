"""The programs of docs/testing.md, run as a project of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.kubectl import find_kubectl

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
INI = """
[pytest]
addopts = --strict-markers
filterwarnings =
    error
    ignore:Kubernetes version:UserWarning
    ignore::pytest.PytestUnraisableExceptionWarning
"""
"""kr8s warns of servers that are newer than itself, and its blocking form leaves connections to the collector."""
HEADINGS = ("kubectl", "kubernetes", "kubernetes-asyncio", "lightkube", "kr8s", "kopf")


def test_there_is_a_section_with_a_program_for_each_client() -> None:
    sections = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    assert [name for name in HEADINGS if "```python" not in sections.get(name, "")] == []


def test_the_programs_of_the_page_pass(tmp_path: Path) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    if find_kubectl() is None:
        pytest.skip("kubectl is not installed; install the package kubernetes-client")
    for number, program in enumerate(programs):
        (tmp_path / f"test_{number}.py").write_text(program)
    (tmp_path / "pytest.ini").write_text(INI)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "seaway", "-p", "no:cacheprovider", str(tmp_path)]
    kubectl = Path(find_kubectl() or "").parent
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": f"{kubectl}:{os.environ['PATH']}"}
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{len(re.findall(r'^def test_', ''.join(programs), re.MULTILINE))} passed" in done.stdout
