"""Which streams and channels belong to which connection into the Pod. Rule: spec "node" §5.7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_PORTS = 64
"""Of one request over messages."""


class ForwardRefused(Exception):
    """A stream that cannot be part of a connection; the text is for the log."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both streams of one connection."""

    port: int
    error: int
    data: int


@dataclass(slots=True)
class Pairing:
    """Puts streams together by what their headers say. Waiting streams count: there is a limit on them."""

    _waiting: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def take(self, stream: int, headers: Mapping[str, str]) -> Pair | None:
        """The connection that the stream completes. Raises ForwardRefused."""
        port, kind = parse_stream(headers)
        request = headers.get("requestid") or str(stream - 2 if kind == "data" else stream)
        waiting = self._waiting.setdefault(request, {})
        if kind in waiting:
            raise ForwardRefused(f"request {request} has its {kind} stream")
        waiting[kind] = (stream, port)
        if len(waiting) < 2:
            return None
        del self._waiting[request]
        return Pair(port, waiting["error"][0], waiting["data"][0])

    def drop(self, stream: int) -> None:
        """The stream was reset, or has waited too long."""
        for request, waiting in list(self._waiting.items()):
            if any(number == stream for number, _ in waiting.values()):
                del self._waiting[request]


def parse_stream(headers: Mapping[str, str]) -> tuple[int, str]:
    """The port and the stream's kind. Raises ForwardRefused with upstream's texts."""
    text = headers.get("port", "")
    if not text:
        raise ForwardRefused('"port" header is required')
    port = _parse_port(text)
    kind = headers.get("streamtype", "")
    if not kind:
        raise ForwardRefused('"streamType" header is required')
    if kind not in ("error", "data"):
        raise ForwardRefused(f'invalid stream type "{kind}"')
    return port, kind


def parse_ports(query: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """The ports of a request over messages, repeated or with commas. Raises ForwardRefused."""
    texts = [part for name, value in query if name in ("port", "ports") for part in value.split(",") if part]
    if not texts:
        raise ForwardRefused('query parameter "port" is required')
    if len(texts) > MAX_PORTS:
        raise ForwardRefused(f"{len(texts)} ports found, {MAX_PORTS} allowed")
    return tuple(_parse_port(text) for text in texts)


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise ForwardRefused(f'unable to parse "{text}" as a port: a number up to 65535 expected')
    if int(text) == 0:
        raise ForwardRefused(f'port "{text}" must be > 0')
    return int(text)


def describe_failure(port: int, container: str, reason: str) -> bytes:
    """What the error stream says of a connection that was not made, or broke."""
    return f"error forwarding port {port} to pod {container}, uid : {reason}".encode()
