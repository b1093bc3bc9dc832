"""Responses around a body: content type, pretty printing, YAML, gzip, warnings, Status.

Rule: spec "api-machinery" §1.4, §2.2, §4.6.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from seaway.api.machinery.errors import ApiError
from seaway.api.machinery.http import Request, Response
from seaway.apiserver.encoding import (
    GZIP_FROM_BYTES,
    PLAIN,
    accepts_gzip,
    compress,
    is_pretty,
    prettify,
)
from seaway.apiserver.negotiation import YAML, Accepted
from seaway.apiserver.record import decode_object, encode_object

_JSON_HEADERS = (("Content-Type", "application/json"),)
_YAML_HEADERS = (("Content-Type", "application/yaml"),)
_GZIP_HEADERS = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
MAX_WARNINGS_LENGTH = 4096
MAX_WARNING_LENGTH = 256


def make_answer(
    request: Request, status: int, body: bytes, form: Accepted = PLAIN, *, warnings: Iterable[str] = ()
) -> Response:
    """An answer of JSON text, in the form that was negotiated."""
    headers: tuple[tuple[str, str], ...] = _JSON_HEADERS
    if form.media == YAML:
        from seaway.api.machinery.yaml_codec import encode_yaml  # rare, and PyYAML has weight

        headers, body = _YAML_HEADERS, encode_yaml(decode_object(body), sort_keys=True)
    elif form.pretty or is_pretty(request):
        body = prettify(body) + b"\n"
    else:
        body += b"\n"
    if warnings:
        headers = (*headers, *make_warning_headers(warnings))
    if len(body) > GZIP_FROM_BYTES and accepts_gzip(request):
        headers, body = (*headers, *_GZIP_HEADERS), compress(body)
    return Response(status, headers, body)


def make_kept_answer(body: bytes, *, is_packed: bool) -> Response:
    """An answer of compact JSON whose body was finished, and compressed or not, before."""
    return Response(200, (*_JSON_HEADERS, *_GZIP_HEADERS) if is_packed else _JSON_HEADERS, body)


def is_packed(answer: Response) -> bool:
    """Whether its body was compressed."""
    return _GZIP_HEADERS[0] in answer.headers


def make_status(error: ApiError, request: Request) -> Response:
    """The Status of a refusal."""
    headers: tuple[tuple[str, str], ...] = ()
    if error.retry_after_seconds > 0:
        headers += (("Retry-After", str(error.retry_after_seconds)),)
    if error.status_code == 403:
        headers += (("X-Content-Type-Options", "nosniff"),)
    answer = make_answer(request, error.status_code, encode_object(error.to_status()), warnings=error.warnings)
    return Response(answer.status, answer.headers + headers, answer.body)


def make_text(
    status: int,
    body: bytes,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    content_type: str = "text/plain; charset=utf-8",
) -> Response:
    """An answer that is no API object."""
    return Response(status, (("Content-Type", content_type), ("X-Content-Type-Options", "nosniff"), *headers), body)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def make_warning_headers(warnings: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """One header each, without repetitions and control characters; all are cut when together they are too long."""
    texts = [text for text in dict.fromkeys(warnings) if not any(map(_is_control, text))]
    if sum(map(len, texts)) > MAX_WARNINGS_LENGTH:
        texts = [text[:MAX_WARNING_LENGTH] for text in texts][: MAX_WARNINGS_LENGTH // MAX_WARNING_LENGTH]
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return tuple(("Warning", f'299 - "{text}"') for text in escaped)
