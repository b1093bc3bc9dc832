"""Thousands of Services fit into a program's environment: the stack limit that lets them pass."""

from __future__ import annotations

import resource

import pytest

from seaway.node.shim.spawn import LARGE_STACK_BYTES, choose_stack_limit, measure_arguments

MIB = 1 << 20
NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("size", "soft", "hard", "wanted"),
    [
        pytest.param(1000, 8 * MIB, NONE, None, id="an ordinary environment leaves the limit alone"),
        pytest.param(4 * MIB, 8 * MIB, NONE, LARGE_STACK_BYTES, id="a large one raises it"),
        pytest.param(4 * MIB, 8 * MIB, 16 * MIB, 16 * MIB, id="up to the hard limit"),
        pytest.param(4 * MIB, 8 * MIB, 8 * MIB, None, id="which may leave no room"),
        pytest.param(4 * MIB, NONE, NONE, None, id="no limit needs no raise"),
        pytest.param(4 * MIB, 64 * MIB, NONE, None, id="a larger limit is never lowered"),
    ],
)
def test_the_stack_limit_for_arguments(size: int, soft: int, hard: int, wanted: int | None) -> None:
    assert choose_stack_limit(size, soft, hard) == wanted


def test_arguments_count_with_their_ends_and_pointers() -> None:
    assert measure_arguments(["ls"], {"A": "é"}) == (2 + 9) + (1 + 2 + 10)
