"""Tokens that the agent mounts. Rule: spec "node" §2.18."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from seaway.node.accounttokens import (
    HeldToken,
    WantedToken,
    account_of,
    find_wanted_tokens,
    make_token_request,
    read_token_answer,
)
from tests.node.manifests import NOW, decode_pod


def projected(*tokens: dict[str, Any]) -> dict[str, Any]:
    return {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", **t}} for t in tokens]}}


def test_each_token_is_wanted_once() -> None:
    pod = decode_pod(volumes=[projected({}, {"audience": "vault", "expirationSeconds": 600}), projected({})])
    assert find_wanted_tokens(pod) == (WantedToken("", 3600), WantedToken("vault", 600))
    assert find_wanted_tokens(decode_pod()) == ()


def test_the_request_binds_the_token_to_the_pod() -> None:
    pod = decode_pod()
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": "uid-1"}
    assert make_token_request(pod, WantedToken("", 3607))["spec"] == {
        "expirationSeconds": 3607,
        "boundObjectRef": reference,
    }
    assert make_token_request(pod, WantedToken("vault", 600))["spec"]["audiences"] == ["vault"]


def test_a_pod_without_an_account_runs_as_the_default_one() -> None:
    assert account_of(decode_pod()) == "default"
    assert account_of(decode_pod(serviceAccountName="robot")) == "robot"


@pytest.mark.parametrize(
    ("lifetime_seconds", "age_seconds", "is_due"),
    [
        pytest.param(3600, 2879, False, id="before four fifths of its life"),
        pytest.param(3600, 2880, True, id="at four fifths"),
        pytest.param(400_000, 86_399, False, id="a long one within a day"),
        pytest.param(400_000, 86_400, True, id="a long one after a day"),
    ],
)
def test_when_a_token_is_asked_for_anew(lifetime_seconds: int, age_seconds: int, is_due: bool) -> None:
    held = HeldToken("t", NOW, NOW + timedelta(seconds=lifetime_seconds))
    assert held.is_due(NOW + timedelta(seconds=age_seconds)) is is_due


def test_an_old_token_is_valid_to_its_end() -> None:
    held = HeldToken("secret", NOW, NOW + timedelta(seconds=10))
    assert held.is_valid(NOW + timedelta(seconds=9)) and not held.is_valid(NOW + timedelta(seconds=10))
    assert "secret" not in repr(held)


def test_the_answer_is_read() -> None:
    answer = {"status": {"token": "t", "expirationTimestamp": "2026-01-02T04:04:05Z"}}
    assert read_token_answer(answer, wall_now=NOW) == HeldToken("t", NOW, NOW + timedelta(hours=1))
