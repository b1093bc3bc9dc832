"""Rule: spec "api-machinery" §11 (health checks); RFC 9112."""

from __future__ import annotations

import pytest

from seaway.telemetry.health import answer_health
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import Answer, answer_request, encode_answer

WELL: dict[str, str | None] = {"ping": None, "informer-sync": None}
ILL: dict[str, str | None] = {"ping": None, "informer-sync": "pods: 403"}

HEALTH = {
    "all well is one word": ("/healthz", WELL, False, (200, "ok")),
    "a look at each check": (
        "/readyz", WELL, True, (200, "[+]ping ok\n[+]informer-sync ok\nreadyz check passed\n"),
    ),
    "what fails is named, and its reason is not": (
        "/readyz", ILL, False,
        (500, "[+]ping ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n"),
    ),
    "what is not ready yet is alive": ("/livez", ILL, False, (200, "ok")),
    "one check alone": ("/readyz/ping", ILL, False, (200, "ok")),
    "one failing check alone": (
        "/readyz/informer-sync", ILL, False, (500, "internal server error: reason withheld\n"),
    ),
    "a check that is not there": ("/readyz/x", WELL, False, None),
    "no health check": ("/", WELL, False, None),
}  # fmt: skip


@pytest.mark.parametrize(("path", "checks", "verbose", "answer"), HEALTH.values(), ids=HEALTH.keys())
def test_health(path: str, checks: dict[str, str | None], verbose: bool, answer: tuple[int, str] | None) -> None:
    assert answer_health(path, checks, verbose=verbose) == answer


REQUESTS = {
    "metrics": (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200, b"# TYPE a counter"),
    "health": (b"GET /healthz?verbose HTTP/1.1\r\n\r\n", 200, b"[+]ping ok"),
    "another path": (b"GET /secret HTTP/1.1\r\n\r\n", 404, b"404 page not found"),
    "another method": (b"POST /metrics HTTP/1.1\r\n\r\n", 405, b"GET or HEAD allowed"),
    "no path": (b"GET http://[ HTTP/1.1\r\n\r\n", 400, b"not an HTTP/1.1 request"),
    "a path that is none": (b"GET //[ HTTP/1.1\r\n\r\n", 400, b"not a path"),
    "too many parameters": (b"GET /healthz?" + b"a=1&" * 20 + b" HTTP/1.1\r\n\r\n", 400, b"not a path"),
    "another protocol": (b"\x16\x03\x01\r\n\r\n", 400, b"not an HTTP/1.1 request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 400, b"not an HTTP/1.1 request"),
}


@pytest.mark.parametrize(("header", "code", "part"), REQUESTS.values(), ids=REQUESTS.keys())
def test_requests(header: bytes, code: int, part: bytes) -> None:
    metrics = Metrics()
    metrics.counter("a", "A.")
    answer = answer_request(header, metrics, lambda: WELL)
    assert answer.code == code
    assert part in answer.body


def test_head_learns_the_length_alone() -> None:
    answer = answer_request(b"HEAD /healthz HTTP/1.1\r\n\r\n", Metrics(), lambda: WELL)
    head, _, body = encode_answer(answer).partition(b"\r\n\r\n")
    assert b"Content-Length: 2" in head
    assert body == b""


def test_an_answer_ends_the_connection_and_says_what_is_allowed() -> None:
    assert encode_answer(Answer(405, b"no\n")) == (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"
        b"X-Content-Type-Options: nosniff\r\nConnection: close\r\nAllow: GET, HEAD\r\n\r\nno\n"
    )
