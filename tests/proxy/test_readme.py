"""The page of the proxy says all that can be set."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from click import Option

from seaway.cli.proxy import command
from seaway.proxy.config import ProxyConfig

README = Path(__file__).parents[2] / "src" / "seaway" / "proxy" / "README.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in README.read_text().split("\n## Configuration\n")[1].split("\n## ")[0].splitlines()
    if line.startswith("| `")
]


def test_every_setting_has_a_row_and_every_row_is_a_setting() -> None:
    fields = [field.name for field in dataclasses.fields(ProxyConfig)]
    assert sorted(row[0].strip("`") for row in ROWS) == sorted(fields)
    assert all(row[3] for row in ROWS)


def test_every_flag_that_is_named_is_one() -> None:
    known = {opt for param in command.params if isinstance(param, Option) for opt in param.opts}
    named = {flag for row in ROWS for flag in re.findall(r"--[a-z-]+", row[1])} - {"--conntrack-"}
    assert named <= known
