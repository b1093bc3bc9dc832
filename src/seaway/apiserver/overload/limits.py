"""How much one client, and all clients together, may hold of the server.

Rule: spec "api-machinery" §11, §1.2 (`timeout`), §1.4 (413, 429, 504); each constant says where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from seaway.api.machinery.duration import DurationError, parse_duration
from seaway.api.machinery.errors import BadRequest, Timeout
from seaway.api.machinery.http import Request
from seaway.apiserver.routes import Route, route_request

MAX_BODY_BYTES = 3 << 20
MAX_LINE_BYTES = 64 << 10
"""Of the request line: label selectors of clients grow long."""
MAX_FIELD_BYTES = 32 << 10
"""Of one header field: tokens and impersonated groups are a few KiB."""
MAX_FIELDS = 128
MAX_HEADER_BYTES = 256 << 10
"""Of line and fields together, as long as the header is not complete. Go allows 1 MiB."""

REQUEST_SECONDS = 60.0
WRITE_SECONDS = 34.0
"""Both upstream's; lists, collection deletes and other reads have the longer one."""
LONG_RUNNING_SUBRESOURCES = frozenset(("exec", "attach", "portforward", "proxy", "log"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What connections may take. A unix socket's are counted apart from those of TCP."""

    connections: int = 10_000
    connections_per_source: int = 5_000
    """Half of all: one address never shuts out the others. A thousand watches behind one address are usual."""
    handshake_seconds: float = 10.0
    header_seconds: float = 32.0
    """Upstream's: from the first byte of a header, or from the connection, to its end."""
    idle_seconds: float = 120.0
    """More than the 90 s after which client-go drops an idle connection, so that the client closes first."""
    body_seconds: float = 30.0
    stall_seconds: float = 30.0
    """How long a reader may leave a full buffer standing."""
    buffer_bytes: int = 256 << 10
    """What is written ahead of a reader before writing waits for it."""


class Verdict(Enum):
    """Of a new connection. The words are label values."""

    ADMITTED = "admitted"
    TOO_MANY = "total"
    TOO_MANY_OF_SOURCE = "source"


class ConnectionCounts:
    """Connections by the address that they come from."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._by_source: dict[str, int] = {}
        self.total = 0

    def admit(self, source: str) -> Verdict:
        """Count the connection, if there is room for it."""
        if self.total >= self._limits.connections:
            return Verdict.TOO_MANY
        count = self._by_source.get(source, 0)
        if count >= self._limits.connections_per_source:
            return Verdict.TOO_MANY_OF_SOURCE
        self._by_source[source] = count + 1
        self.total += 1
        return Verdict.ADMITTED

    def release(self, source: str) -> None:
        """A connection that was admitted has ended."""
        self.total -= 1
        count = self._by_source[source] - 1
        if count:
            self._by_source[source] = count
        else:
            del self._by_source[source]


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long a request may take. A write is not broken off at the end: half of it may be on disk already."""

    seconds: float
    is_write: bool

    @property
    def error(self) -> Timeout:
        """What its client hears. Rule: §1.4; the storage layer's words for a write, the outer filter's for the rest."""
        if self.is_write:
            return Timeout("Timeout: request did not complete within requested timeout - context deadline exceeded", {})
        return Timeout("Timeout: request did not complete within the allotted timeout", {})


def find_time_limit(request: Request) -> TimeLimit | None:
    """The limit of the request, None for one that runs as long as it likes. Raises BadRequest."""
    try:
        route = route_request(request)
    except BadRequest:
        return TimeLimit(REQUEST_SECONDS, is_write=False)  # its refusal is told where all are
    if is_long_running(route):
        return None
    is_write = route.verb in ("create", "update", "patch", "delete")
    limit = WRITE_SECONDS if is_write else REQUEST_SECONDS
    asked = parse_timeout(request)
    return TimeLimit(min(limit, asked) if asked else limit, is_write)


def parse_timeout(request: Request) -> float:
    """The seconds that the client allows, 0 when it does not say. Raises BadRequest."""
    asked = request.find_parameter("timeout")
    try:
        return parse_duration(asked) if asked else 0.0
    except DurationError as error:
        raise BadRequest(f"invalid timeout specified in the request URL - {error}") from None


def is_long_running(route: Route) -> bool:
    """Watches, and streams to and from Pods: no time limit, no place in the queues."""
    if route.subresource:
        return route.subresource.split("/")[0] in LONG_RUNNING_SUBRESOURCES
    return route.verb == "watch" and route.is_resource
