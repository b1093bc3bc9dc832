"""From the header of an HTTP request to the bytes of its answer. Rule: RFC 9112 (as much as is needed here)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from seaway.telemetry.exposition import CONTENT_TYPE, collect_process, render_families
from seaway.telemetry.health import answer_health
from seaway.telemetry.metrics import Metrics

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `has_body` is False for HEAD, which learns only the length."""

    code: int
    body: bytes
    content_type: str = TEXT
    has_body: bool = True
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    method: str
    path: str
    query: Mapping[str, str]


def read_request(header: bytes) -> Request | Answer:
    """The request whose header this is; what cannot be read is answered with 400."""
    method, _, rest = header.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    target, _, version = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not target.startswith("/"):
        return Answer(400, b"not an HTTP/1.1 request\n")
    try:
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True, max_num_fields=16))
    except ValueError:
        return Answer(400, b"not a path\n")
    return Request(method, url.path, query)


def answer_request(header: bytes, metrics: Metrics, checks: Callable[[], Mapping[str, str | None]]) -> Answer:
    """The answer to the request whose header this is; what it cannot read is 400."""
    request = read_request(header)
    if isinstance(request, Answer):
        return request
    if request.method not in ("GET", "HEAD"):
        return Answer(405, b"GET or HEAD allowed\n")
    has_body = request.method == "GET"
    if request.path == "/metrics":
        return Answer(200, render_metrics(metrics), CONTENT_TYPE, has_body)
    found = answer_health(request.path, checks(), verbose="verbose" in request.query)
    code, text = found or (404, "404 page not found\n")
    return Answer(code, text.encode(), TEXT, has_body)


def render_metrics(metrics: Metrics) -> bytes:
    """All that is counted, and what the process uses."""
    return render_families([*metrics.collect(), *collect_process()])


def encode_answer(answer: Answer) -> bytes:
    """The bytes to send, after which the connection ends."""
    lines = [
        f"HTTP/1.1 {answer.code} {HTTPStatus(answer.code).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    if answer.code == 405:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode() + (answer.body if answer.has_body else b"")


BAD_REQUEST = encode_answer(Answer(400, b"no header of a request within the limits\n"))
