"""Every numbered scenario of spec "proxy" §13 has a test whose id carries its number, or a reason why it has none."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRA = ("5a", "32a", "32b", "32c", "147a")
SCENARIOS = {str(number) for number in range(1, 156)} | set(EXTRA)
WITHOUT_TEST = {
    "96": "there is no gate that turns external IPs off: whoever does not want them forbids them at the API server",
}
"""Scenarios that cannot be had here, and why."""
_FUNCTION = re.compile(r"::test_scenarios?((?:_[0-9]+[a-z]?)+)_")
_PARAMETER = re.compile(r"\[([0-9]+[a-z]?) [A-Za-z]")


def test_every_scenario_has_a_test() -> None:
    found = collect()
    assert len(SCENARIOS) == 160
    assert sorted(SCENARIOS - found - WITHOUT_TEST.keys(), key=_number) == []
    assert not WITHOUT_TEST.keys() & found, "it has a test now"
    assert not found - SCENARIOS, "no such scenario"


def collect() -> set[str]:
    """The numbers that ids of tests carry."""
    places = [
        "tests/proxy",
        *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "tests/kernel").glob("test_proxy*.py"))),
    ]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: set[str] = set()
    for line in done.stdout.splitlines():
        if match := _FUNCTION.search(line):
            found.update(match[1].strip("_").split("_"))
        if match := _PARAMETER.search(line):
            found.add(match[1])
    return found


def _number(text: str) -> tuple[int, str]:
    digits = text.rstrip("abc")
    return int(digits), text
