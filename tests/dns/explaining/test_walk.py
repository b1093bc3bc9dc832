"""Names as a Pod's resolver asks for them. Rule: spec "discovery" A0.5, A3.6, D4; resolv.conf(5)."""

from __future__ import annotations

import pytest

from seaway.dns.explaining.text import render_walk
from seaway.dns.explaining.walk import Walk, find_ndots, list_candidates, walk
from tests.dns.fixture import CONFIG, TYPES, make_index

SEARCH = ("demo.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")


@pytest.mark.parametrize(
    ("text", "ndots", "expected"),
    [
        pytest.param("web", 5, [*(f"web.{each}" for each in SEARCH), "web"], id="few dots: the search list first"),
        pytest.param("a.b", 1, ["a.b", *(f"a.b.{each}" for each in SEARCH)], id="enough dots: as it is first"),
        pytest.param("web.", 5, ["web"], id="a trailing dot: as it is alone"),
        pytest.param("cluster.local.", 1, ["cluster.local"], id="whatever the dots are"),
    ],
)
def test_the_candidates_of_a_name(text: str, ndots: int, expected: list[str]) -> None:
    assert list(list_candidates(text, SEARCH, ndots)) == expected


def test_a_root_in_the_search_list_is_the_name_itself() -> None:
    assert list_candidates("web", (".",), 5) == ("web",)


@pytest.mark.parametrize(
    ("options", "ndots"),
    [((), 1), (("ndots:5",), 5), (("edns0", "ndots:2"), 2), (("ndots:99",), 15), (("ndots:x", "ndots"), 1)],
)
def test_ndots(options: tuple[str, ...], ndots: int) -> None:
    assert find_ndots(options) == ndots


def go(text: str, qtype: str = "A") -> Walk:
    return walk(text, TYPES[qtype], SEARCH, 5, make_index(), CONFIG)


@pytest.mark.parametrize(
    ("text", "qtype", "steps"),
    [
        ("web", "A", ["NOERROR"]),
        ("kubernetes.default", "A", ["NXDOMAIN", "NOERROR"]),
        ("kubernetes.default.svc", "A", ["NXDOMAIN", "NXDOMAIN", "NOERROR"]),
        ("db-0.db", "A", ["NOERROR"]),
        ("_mysql._tcp.db.demo.svc", "SRV", ["NXDOMAIN", "NXDOMAIN", "NOERROR"]),
        ("kubernetes.default.svc.cluster.local", "A", ["NXDOMAIN"] * 3 + ["FORWARDED", "NOERROR"]),
        ("www.example.com", "A", ["NXDOMAIN"] * 3 + ["FORWARDED"] * 2),
        ("db", "AAAA", ["NODATA", "NXDOMAIN", "NXDOMAIN", "FORWARDED", "FORWARDED"]),
    ],
)
def test_a_walk_ends_at_the_first_candidate_with_records(text: str, qtype: str, steps: list[str]) -> None:
    found = go(text, qtype)
    assert [each.status for each in found.candidates] == steps
    assert found.answered == (len(steps) - 1 if steps[-1] == "NOERROR" else None)


def test_d3_21_what_a_pod_asks_before_its_answer_never_exists() -> None:
    """Rule: spec "discovery" A3.6: musl would end at anything else."""
    for text in ("kubernetes.default", "web", "db-0.db", "www.example.com"):
        found = go(text)
        assert found.musl_ends is None
        ours = [each.status for each in found.candidates if each.zone == "cluster.local."]
        assert set(ours[: found.answered]) <= {"NXDOMAIN"}


def test_musl_ends_where_a_name_has_no_such_address() -> None:
    found = go("db", "AAAA")
    assert (found.musl_ends, found.answered) == (0, None)


def test_a_candidate_that_is_too_long_is_left_out() -> None:
    found = walk("x" * 60, 1, ["y" * 60 + ".example" * 25], 5, make_index(), CONFIG)
    assert [each.name for each in found.candidates] == ["x" * 60 + "."]


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="not a domain name"):
        go("a..b")


def test_the_text_of_a_walk() -> None:
    assert render_walk(go("kubernetes.default")).splitlines()[:4] == [
        "  1. kubernetes.default.demo.svc.cluster.local.  NXDOMAIN",
        "  2. kubernetes.default.svc.cluster.local.       NOERROR  <- answered",
        "",
        "kubernetes.default.svc.cluster.local. A: NOERROR",
    ]
    text = render_walk(go("www.example.com"))
    assert "none of them has such records here; an upstream is asked for www.example.com.corp.example., www" in text
    assert "1. db.demo.svc.cluster.local.  NODATA  (musl ends here)" in render_walk(go("db", "AAAA"))
