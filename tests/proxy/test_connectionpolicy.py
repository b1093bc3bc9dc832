"""What a Service asks of the userspace plane. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.proxy.connectionpolicy import (
    DEFAULT,
    ConnectionPolicy,
    EjectionRule,
    asks_userspace,
    list_userspace_only,
    parse_policy,
)

UNDERSTOOD: dict[str, tuple[dict[str, str], ConnectionPolicy]] = {
    "nothing asked": ({}, DEFAULT),
    "the plane alone changes no policy": ({"plane": "userspace"}, DEFAULT),
    "version 1 of the header": ({"proxy-protocol": "v1"}, ConnectionPolicy(proxy_protocol="v1")),
    "version 2 of the header": ({"proxy-protocol": "v2"}, ConnectionPolicy(proxy_protocol="v2")),
    "an age": ({"max-connection-age": "1h30m"}, ConnectionPolicy(max_age_seconds=5400.0)),
    "a time to connect": ({"connect-timeout": "250ms"}, ConnectionPolicy(connect_timeout_seconds=0.25)),
    "no retries": ({"connect-retries": "0"}, ConnectionPolicy(connect_retries=0)),
    "as many retries as there may be": ({"connect-retries": "10"}, ConnectionPolicy(connect_retries=10)),
    "no ejection": ({"ejection": "off"}, DEFAULT),
    "ejection": ({"ejection": "failures=3,for=1m"}, ConnectionPolicy(ejection=EjectionRule(3, 60.0))),
    "ejection in the other order": (
        {"ejection": "for=1m, failures=3"}, ConnectionPolicy(ejection=EjectionRule(3, 60.0)),
    ),
    "failures alone": ({"ejection": "failures=1"}, ConnectionPolicy(ejection=EjectionRule(1, 30.0))),
    "a time alone": ({"ejection": "for=500ms"}, ConnectionPolicy(ejection=EjectionRule(5, 0.5))),
}  # fmt: skip


def annotate(values: dict[str, str]) -> dict[str, str]:
    return {f"seaway.dev/{name}": value for name, value in values.items()}


@pytest.mark.parametrize(("values", "policy"), UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_what_is_asked_for(values: dict[str, str], policy: ConnectionPolicy) -> None:
    assert parse_policy(annotate(values)) == (policy, ())


AGE = "a duration from 1s to 168h allowed; connections have no limit"
TIMEOUT = "a duration from 10ms to 2m allowed; 5s is used"
RETRIES = "a number from 0 to 10 allowed; 2 is used"
EJECTION = "off, or such as failures=5,for=30s allowed; nothing is ejected"
REFUSED: dict[str, tuple[str, str, str]] = {
    "another plane": ("plane", "ebpf", "userspace allowed; the proxy's own plane serves it"),
    "a plane in capitals": ("plane", "Userspace", "userspace allowed; the proxy's own plane serves it"),
    "version 3": ("proxy-protocol", "v3", "v1 or v2 allowed; no header is sent"),
    "an age that is none": ("max-connection-age", "old", AGE),
    "an age without a unit": ("max-connection-age", "30", AGE),
    "an empty age": ("max-connection-age", "", AGE),
    "an age below a second": ("max-connection-age", "999ms", AGE),
    "a negative age": ("max-connection-age", "-5m", AGE),
    "an age beyond a week": ("max-connection-age", "169h", AGE),
    "a time to connect that is none": ("connect-timeout", "now", TIMEOUT),
    "no time to connect": ("connect-timeout", "0", TIMEOUT),
    "more time than the kernel tries": ("connect-timeout", "3m", TIMEOUT),
    "retries that are no number": ("connect-retries", "few", RETRIES),
    "too many retries": ("connect-retries", "11", RETRIES),
    "retries below none": ("connect-retries", "-1", RETRIES),
    "retries in other digits": ("connect-retries", "٣", RETRIES),
    "a leading zero": ("connect-retries", "02", RETRIES),
    "more digits than a number has": ("connect-retries", "1" * 99, RETRIES),
    "ejection switched on": ("ejection", "on", EJECTION),
    "ejection after no failure": ("ejection", "failures=0", EJECTION),
    "ejection for no time": ("ejection", "for=0s", EJECTION),
    "ejection with an unknown part": ("ejection", "failures=5,until=noon", EJECTION),
    "ejection with a part twice": ("ejection", "failures=5,failures=6", EJECTION),
    "an empty ejection": ("ejection", "", EJECTION),
}


@pytest.mark.parametrize(("name", "value", "allowed"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_understood_is_left_out_and_told(name: str, value: str, allowed: str) -> None:
    policy, problems = parse_policy(annotate({name: value}))
    assert policy == DEFAULT
    assert problems == (f"seaway.dev/{name}: {value[:40]!r} found, {allowed}",)


def test_each_has_a_sentence_of_its_own_and_the_rest_counts() -> None:
    policy, problems = parse_policy(annotate({"ejection": "?", "connect-retries": "?", "proxy-protocol": "v2"}))
    assert policy == ConnectionPolicy(proxy_protocol="v2")
    assert [problem.partition(":")[0] for problem in problems] == ["seaway.dev/connect-retries", "seaway.dev/ejection"]


def test_the_plane_is_asked_for_by_its_name() -> None:
    assert asks_userspace(annotate({"plane": "userspace"}))
    assert not asks_userspace(annotate({"plane": "nftables"}))
    assert not asks_userspace({})


def test_what_another_plane_cannot_do_is_listed() -> None:
    asked = annotate({"plane": "userspace", "ejection": "off", "connect-timeout": "1s", "balance": "hash"})
    assert list_userspace_only(asked) == ("seaway.dev/connect-timeout", "seaway.dev/ejection")


@given(st.dictionaries(st.sampled_from(("plane", *("proxy-protocol", "max-connection-age", "connect-timeout"),
                                        "connect-retries", "ejection")), st.text(max_size=200)))  # fmt: skip
def test_whatever_is_written_is_read_or_told_shortly(values: dict[str, str]) -> None:
    _, problems = parse_policy(annotate(values))
    assert len(problems) <= len(values)
    assert all(len(problem) < 400 for problem in problems)
