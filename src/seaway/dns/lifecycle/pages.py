"""What `/health` and `/ready` answer. Rule: spec "discovery" A4.2."""

from __future__ import annotations

from dataclasses import dataclass

from seaway.telemetry.page import Answer, read_request


@dataclass
class State:
    """How far the server is. Readiness does not go back, except for good when it is told to end."""

    is_synced: bool = False
    is_listening: bool = False
    is_leaving: bool = False

    @property
    def unready(self) -> tuple[str, ...]:
        """The parts that are not ready, by the names that CoreDNS gives them."""
        return () if self.is_synced and self.is_listening else ("kubernetes",)


def answer_health(header: bytes) -> Answer:
    """OK for as long as the process lives, also while it is leaving."""
    return _answer(header, "/health", 200, b"OK")


def answer_ready(header: bytes, state: State) -> Answer:
    """OK, or 503 with what is not ready."""
    if state.is_leaving:
        return _answer(header, "/ready", 503, b"Shutting down")
    waiting = state.unready
    return _answer(header, "/ready", 503 if waiting else 200, ",".join(sorted(waiting)).encode() or b"OK")


def _answer(header: bytes, path: str, code: int, body: bytes) -> Answer:
    request = read_request(header)
    if isinstance(request, Answer):
        return request
    if request.path != path:
        return Answer(404, b"404 page not found\n")
    if request.method not in ("GET", "HEAD"):
        return Answer(405, b"GET or HEAD allowed\n")
    return Answer(code, body, has_body=request.method == "GET")
