"""What somebody probably meant."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.controllers.diagnosis.nearest import find_nearest_labels, find_nearest_name, measure_distance

DISTANCES = {
    "equal texts": ("web", "web", 0),
    "a letter too many": ("web", "webb", 1),
    "a letter too few": ("front", "frnt", 1),
    "another letter": ("web", "wep", 1),
    "another case": ("web", "Web", 1),
    "two slips in six letters": ("server", "sevrer", 2),
    "two slips in three letters are another word": ("web", "wxy", None),
    "a part of the other": ("web", "web-frontend", 4),
    "the other as a part": ("shop-web", "web", 4),
    "a part of two letters means nothing": ("db", "dbase-store", None),
    "other words": ("web", "database", None),
    "nothing": ("", "web", None),
}


@pytest.mark.parametrize("case", DISTANCES.values(), ids=DISTANCES)
def test_distance(case: tuple[str, str, int | None]) -> None:
    assert measure_distance(case[0], case[1]) == case[2]


def levenshtein(a: str, b: str) -> int:
    """The oracle: the textbook's, slowly."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        new = [i]
        for j, right in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (left != right)))
        row = new
    return row[-1]


_TEXTS = st.text("ab", max_size=10)


@given(_TEXTS, _TEXTS)
def test_slips_are_counted_as_the_textbook_counts(a: str, b: str) -> None:
    distance, limit = levenshtein(a, b), max(1, min(3, len(a) // 3))
    if distance <= limit:
        assert measure_distance(a, b) == distance
    else:
        assert measure_distance(a, b) in (None, 4)


def test_the_nearest_name_is_the_first_of_several() -> None:
    assert find_nearest_name("http", ["htpq", "httq", "metrics"]) == "httq"
    assert find_nearest_name("http", ["httpb", "httpa"]) == "httpa"
    assert find_nearest_name("http", ["metrics"]) is None
    assert find_nearest_name("http", []) is None


WEBB, BACK = {"app": "webb"}, {"app": "web", "tier": "back"}
LABELS = {
    "a like value": ({"app": "web"}, [WEBB] * 3 + [{"app": "db"}], ((("app", "webb"),), 3)),
    "a like key": ({"app": "web"}, [{"ap": "web"}], ((("ap", "web"),), 1)),
    "more slips count less than fewer Pods": (
        {"app": "server"}, [{"app": "sevrer"}] * 5 + [{"app": "serve"}], ((("app", "serve"),), 1)
    ),
    "of equally like ones those of most Pods": (
        {"app": "web"}, [{"app": "wep"}] + [WEBB] * 2, ((("app", "webb"),), 2)
    ),
    "of equally many the first": ({"app": "web"}, [{"app": "wex"}, {"app": "wep"}], ((("app", "wep"),), 1)),
    "any value, when another label agrees": (
        {"app": "web", "tier": "front"}, [BACK] * 2, ((("app", "web"), ("tier", "back")), 2)
    ),
    "a missing label is no counterpart": ({"app": "web", "tier": "front"}, [{"app": "web"}], None),
    "other labels of the Pods do not matter": (
        {"app": "web"}, [{**WEBB, "pod-hash": "1"}, {**WEBB, "pod-hash": "2"}], ((("app", "webb"),), 2)
    ),
    "nothing is like it": ({"app": "web"}, [{"app": "database"}, {}], None),
    "no Pods": ({"app": "web"}, [], None),
}  # fmt: skip


@pytest.mark.parametrize("case", LABELS.values(), ids=LABELS)
def test_nearest_labels(case: tuple[dict[str, str], list[dict[str, str]], object]) -> None:
    selector, pods, wanted = case
    for order in itertools.islice(itertools.permutations(pods), 6):
        assert find_nearest_labels(selector, order) == wanted
