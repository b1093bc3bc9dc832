"""What every answer must be, whatever was asked.

Rule: spec "api-machinery" §1.3 (codes), §1.4 (Status), §2.2 (headers and form); issue "robustness" (no 5xx unnamed).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from seaway.api.machinery.http import Request, Response
from seaway.api.machinery.yaml_codec import YamlError, parse_yaml
from tests.fuzz.named import find_named
from tests.fuzz.steps import POWERLESS, Send

SUCCESS = frozenset((200, 201, 202, 301, 304))
REASONS = frozenset(
    (
        (400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden"), (404, "NotFound"), (405, "MethodNotAllowed"),
        (406, "NotAcceptable"), (409, "AlreadyExists"), (409, "Conflict"), (410, "Expired"), (413,
        "RequestEntityTooLarge"),
        (415, "UnsupportedMediaType"), (422, "Invalid"), (429, "TooManyRequests"), (500, "InternalError"), (500,
        "ServerTimeout"),
        (500, ""), (503, "ServiceUnavailable"), (504, "Timeout"), (400, ""),
    )
)  # fmt: skip
TEXTS = {
    404: (b"404 page not found\n",),
    406: (b"",),  # OpenAPI in a form that is not served (§3.4)
    429: (b"Too many requests, please try again later.\n",),
}
_QUOTED = re.compile(r"""["'{\[].*|\d+""", re.DOTALL)
OPEN_TO_ALL = ("/healthz", "/livez", "/readyz", "/version", "/version/")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A rule that was broken. `rule` is the same for the same fault; `detail` says what was seen."""

    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with its value decoded; `value` is None where it is no JSON or YAML."""

    status: int
    headers: dict[str, str]
    body: bytes
    value: Any = None

    @property
    def is_object(self) -> bool:
        """It is JSON of one object in its own form."""
        return isinstance(self.value, dict) and "metadata" in self.value and self.value.get("kind") not in _FORMS

    @property
    def reason(self) -> str:
        return str(self.value.get("reason", "")) if isinstance(self.value, dict) else ""


_FORMS = ("Status", "Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def judge(send: Send, response: Response) -> tuple[Answer, list[Complaint]]:
    """The answer, and what is wrong with it. The body is whole; what a watch says is `judge_event`'s."""
    assert isinstance(response.body, bytes)
    headers = {name.lower(): value for name, value in response.headers}
    complaints = list(_judge_headers(response))
    body = response.body
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    value, problem = _decode(
        headers.get("content-type", ""), body, ends="\n" if send.request.path.startswith(("/api/", "/apis/")) else ""
    )
    answer = Answer(response.status, headers, body, value)
    if problem:
        complaints.append(Complaint("body is not what its Content-Type says", f"{problem}: {body[:200]!r}"))
    elif response.status >= 400:
        complaints += _judge_error(send.request, answer)
    elif response.status not in SUCCESS:
        complaints.append(Complaint("unknown success code", str(response.status)))
    if send.who in POWERLESS and response.status < 300 and send.request.path not in OPEN_TO_ALL:
        complaints.append(
            Complaint("answered somebody without rights", f"{send.who} {send.request.method} {send.request.path}")
        )
    return answer, complaints


def judge_event(line: bytes) -> tuple[Any, list[Complaint]]:
    """The event of a watch's line, and what is wrong with it."""
    try:
        event = msgspec.json.decode(line)
        kind, obj = event["type"], event["object"]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        return None, [Complaint("watch line is no event", f"{error!r}: {line[:200]!r}")]
    if kind == "ERROR":
        pair = (obj.get("code"), obj.get("reason", ""))
        ok = pair == (410, "Expired") or find_named("GET", *pair, obj.get("message", "")) is not None
        return event, [] if ok else [
            Complaint("watch ended with an unnamed error", line[:300].decode(errors="replace"))
        ]
    if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
        return event, [Complaint("unknown event type", str(kind))]
    return event, []


def _judge_headers(response: Response) -> Iterator[Complaint]:
    names = {name.lower() for name, _ in response.headers}
    for wanted in ("audit-id", "cache-control"):
        if wanted not in names:
            yield Complaint("header missing", wanted)
    for name, value in response.headers:
        if any(char in value for char in "\r\n\0"):
            yield Complaint("header holds control characters", f"{name}: {value!r}")


def _decode(content_type: str, body: bytes, *, ends: str) -> tuple[Any, str]:
    media = content_type.partition(";")[0]
    try:
        if media == "application/json" or media == "application/jwk-set+json":
            if not body:
                return None, ""
            if not body.endswith(ends.encode()):
                return None, "no newline at the end"
            return msgspec.json.decode(body), ""
        if media == "application/yaml":
            return parse_yaml(body)[0], ""
    except (msgspec.MsgspecError, YamlError, UnicodeDecodeError) as error:
        return None, repr(error)
    return None, ""


def _judge_error(request: Request, answer: Answer) -> Iterator[Complaint]:
    code, status = answer.status, answer.value
    seen = f"{code} {answer.body[:400].decode(errors='replace')}"
    if status is None:
        if answer.body not in TEXTS.get(code, ()):
            yield Complaint("error is neither a Status nor a text of the specification", seen)
        return
    if not isinstance(status, dict) or (status.get("kind"), status.get("apiVersion"), status.get("status")) != (
        "Status",
        "v1",
        "Failure",
    ):
        yield Complaint("error is no Status", seen)
        return
    message = status.get("message")
    if status.get("code") != code:
        yield Complaint("code of the Status is not the HTTP code", seen)
    if (code, answer.reason) not in REASONS:
        yield Complaint("code and reason do not go together", seen)
    if not isinstance(message, str) or not message:
        yield Complaint("Status without a message", seen)
    elif code >= 500 and find_named(request.method, code, answer.reason, message) is None:
        gist = _QUOTED.sub("…", message)[:50]
        yield Complaint(f"unnamed {code} {gist}", f"{request.method} {request.path}: {message[:300]}")
    details = status.get("details") or {}
    if (details.get("retryAfterSeconds", 0) > 0) is not ("retry-after" in answer.headers):
        yield Complaint("Retry-After does not agree with retryAfterSeconds", seen)
