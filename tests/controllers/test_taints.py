"""Rule: spec "controllers" §6.2; upstream's meaning of tolerations."""

from __future__ import annotations

import pytest

from seaway.api.node.types import Taint
from seaway.api.pod.scheduling import Toleration
from seaway.controllers.taints import NO_EXECUTE, NO_SCHEDULE, find_untolerated, tolerates

TAINT = Taint(key="k", value="v", effect=NO_EXECUTE)
CASES = {
    "key, value and effect are the same": (Toleration(key="k", value="v", effect=NO_EXECUTE), True),
    "no effect is any": (Toleration(key="k", value="v"), True),
    "another effect": (Toleration(key="k", value="v", effect=NO_SCHEDULE), False),
    "another value": (Toleration(key="k", value="w"), False),
    "any value, if it exists": (Toleration(key="k", operator="Exists"), True),
    "another key": (Toleration(key="j", operator="Exists"), False),
    "any key, if it exists": (Toleration(operator="Exists"), True),
    "any key of one effect": (Toleration(operator="Exists", effect=NO_SCHEDULE), False),
    "no key and no operator is nothing": (Toleration(value="v"), False),
    "an empty operator is Equal": (Toleration(key="k", operator="", value="v"), True),
    "an operator that nobody knows": (Toleration(key="k", operator="Near", value="v"), False),
}


@pytest.mark.parametrize(("toleration", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_toleration_covers(toleration: Toleration, expected: bool) -> None:
    assert tolerates(toleration, TAINT) is expected


def test_only_the_effects_that_are_asked_for_count() -> None:
    taints = [TAINT, Taint(key="k", effect=NO_SCHEDULE)]
    assert find_untolerated(taints, (), (NO_SCHEDULE,)) == (taints[1],)
    assert find_untolerated(taints, (Toleration(operator="Exists"),), (NO_SCHEDULE, NO_EXECUTE)) == ()
