"""The page for users says what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from seaway.api.registry import ENDPOINT_SLICES, SERVICES
from seaway.controllers.healthcheck import check, plan, run, targets
from seaway.controllers.healthcheck.check import parse_check
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import open_cluster

PAGE = (Path(__file__).parents[3] / "docs" / "health-checks.md").read_text()


def test_its_example_is_taken_by_the_server_and_asks_for_a_check() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    service, slice_ = yaml.safe_load_all(block)

    async def main() -> Any:
        async with open_cluster() as cluster:
            await cluster.client().create(ENDPOINT_SLICES, slice_, "default")
            return await cluster.client().create(SERVICES, service, "default")

    assert parse_check(run_virtually(main())["metadata"]["annotations"]).check is not None


CHECKS = re.findall(r"^    seaway.dev/check: (\S+)", PAGE, re.MULTILINE)


@pytest.mark.parametrize("text", CHECKS)
def test_its_examples_of_checks_are_checks(text: str) -> None:
    assert parse_check({"seaway.dev/check": text}).errors == ()


def test_there_are_examples_of_every_kind() -> None:
    assert {text.split(":")[0] for text in CHECKS} == set(check.KINDS)


FOUND = re.findall(r"^\| `(seaway\S+)` \| *(.*?) *\| *(.*?) *\|$", PAGE, re.MULTILINE)
ROWS = {name: (default, allowed) for name, default, allowed in FOUND}


def test_its_table_has_each_annotation_with_its_bounds() -> None:
    assert set(ROWS) == {"seaway.dev/check", *check.OPTIONS}
    for name, text in (
        (check.ANNOTATION_INTERVAL, check.INTERVAL_ALLOWED), (check.ANNOTATION_TIMEOUT, check.TIMEOUT_ALLOWED),
        (check.ANNOTATION_RISE, check.ROW_ALLOWED), (check.ANNOTATION_FALL, check.ROW_ALLOWED),
    ):  # fmt: skip
        assert ROWS[name][1].replace("`", "").startswith(text)
    defaults = {name: re.findall(r"`(\w+)`", row[0])[0] for name, row in ROWS.items() if name != "seaway.dev/check"}
    written = parse_check({"seaway.dev/check": "tcp", **defaults})
    assert written == parse_check({"seaway.dev/check": "tcp"}) and written.check is not None


def test_its_bounds_are_those_that_are_held() -> None:
    for name, inside, outside in (
        (check.ANNOTATION_INTERVAL, ("250ms", "60m"), ("249ms", "61m")),
        (check.ANNOTATION_TIMEOUT, ("10ms", "10s"), ("9ms", "11s")),
        (check.ANNOTATION_RISE, ("1", "20"), ("0", "21")),
        (check.ANNOTATION_FALL, ("1", "20"), ("0", "21")),
    ):
        base = {"seaway.dev/check": "tcp", **({check.ANNOTATION_INTERVAL: "60s"} if "timeout" in name else {})}
        found = [
            bool(parse_check({**base, name: value, **_short_timeout(name, value)}).errors)
            for value in (*inside, *outside)
        ]
        assert found == [False, False, True, True]


def _short_timeout(name: str, value: str) -> dict[str, str]:
    return {check.ANNOTATION_TIMEOUT: "10ms"} if name == check.ANNOTATION_INTERVAL else {}


def test_its_events_are_those_that_the_code_makes() -> None:
    table = PAGE.split("## Events")[1].split("\n## ")[0]
    reasons = {
        node.args[index].value
        for node in ast.walk(ast.parse(Path(plan.__file__).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for index in [{"_complain": 0, "Happening": 1}.get(node.func.id)]
        if index is not None and isinstance(node.args[index], ast.Constant)
    }
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == reasons
    assert plan.COMPONENT in table


def test_its_limits_are_those_of_the_code() -> None:
    limits = PAGE.split("## Limits")[1].replace(",", "")
    for words in (
        f"{targets.MAX_TARGETS} targets of a Service {targets.MAX_ALL_TARGETS} of all",
        f"{targets.MAX_RATE:.0f} tries a second of a Service and {targets.MAX_ALL_RATE:.0f} of all",
        f"{run.MAX_AT_ONCE_OF_SERVICE} tries of a Service and {run.MAX_AT_ONCE} of all at once",
    ):
        assert words in limits
    assert f"{1 / run.PAUSE_SECONDS:.0f} writes a second" in limits
