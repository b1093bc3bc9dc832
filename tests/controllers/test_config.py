"""Rule: spec "controllers" §0.2 (names in `--controllers`)."""

from __future__ import annotations

import pytest

from seaway.controllers.config import choose_loops
from seaway.controllers.run import ALIASES, LOOPS
from seaway.net.errors import OperationalError

NAMES = ("a", "b", "c")
CASES = {
    "the star means all": (("*",), ("a", "b", "c")),
    "the star leaves out what is off by default": (("*",), ("a", "b", "c")),
    "names alone mean only those": (("c", "a"), ("a", "c")),
    "a minus takes one from the star": (("*", "-b"), ("a", "c")),
    "a name that is given beats its minus": (("*", "-b", "b"), ("a", "b", "c")),
    "an alias is the loop's name": (("bee-controller",), ("b",)),
    "an alias is taken away like a name": (("*", "-bee-controller"), ("a", "c")),
    "what is off by default runs when it is named": (("*", "d"), ("a", "b", "c", "d")),
    "nothing given is nothing": ((), ()),
}


@pytest.mark.parametrize(("enabled", "chosen"), CASES.values(), ids=CASES.keys())
def test_which_loops_run(enabled: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    found = choose_loops(enabled, (*NAMES, "d"), aliases={"bee-controller": "b"}, off_by_default={"d"})
    assert found == chosen


def test_a_name_that_no_loop_has_is_said_with_those_that_there_are() -> None:
    with pytest.raises(OperationalError, match=r"--controllers: x, y found, a, b, c or \* allowed"):
        choose_loops(("-y", "x", "a"), NAMES, aliases={})


def test_no_name_of_a_loop_is_an_alias_of_another() -> None:
    spoken = [*LOOPS, *ALIASES]
    assert len(spoken) == len(set(spoken))
    assert len(ALIASES) == sum(len(loop.upstream) for loop in LOOPS.values())
