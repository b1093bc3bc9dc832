"""What the maps of upstream's tables name exists. Rule: spec "service-api" §12."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

from tests.apiserver.upstream_tables import others, services

ROOT = Path(__file__).parents[3]
MAPS = (services, others)
TESTS = {table: tests for found in MAPS for table, tests in found.TESTS.items()}


@lru_cache
def list_tests(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    functions = (node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


@pytest.mark.parametrize("table", TESTS)
def test_a_table_of_upstream_is_covered_by_tests_that_exist(table: str) -> None:
    assert TESTS[table]
    for test in TESTS[table]:
        file, _, function = test.partition("::")
        assert function in list_tests(file), test
    assert len(set(TESTS[table])) == len(TESTS[table])


def test_what_is_left_out_has_a_reason_and_is_not_claimed() -> None:
    without = {table: reason for found in MAPS for table, reason in found.WITHOUT.items()}
    assert all(without.values())
    assert not TESTS.keys() & without.keys()


def test_a_table_is_in_one_map() -> None:
    assert len(TESTS) == sum(len(found.TESTS) for found in MAPS)
