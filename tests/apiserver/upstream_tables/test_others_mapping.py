"""What the map of upstream's tables names exists. Rule: spec "service-api" §12."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

from tests.apiserver.upstream_tables.others import TESTS, WITHOUT

ROOT = Path(__file__).parents[3]


@lru_cache
def list_tests(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("table", TESTS)
def test_a_table_of_upstream_is_covered_by_tests_that_exist(table: str) -> None:
    assert TESTS[table]
    for test in TESTS[table]:
        file, _, function = test.partition("::")
        assert function in list_tests(file), test


def test_what_is_left_out_has_a_reason_and_is_not_claimed() -> None:
    assert all(WITHOUT.values())
    assert not TESTS.keys() & WITHOUT.keys()
