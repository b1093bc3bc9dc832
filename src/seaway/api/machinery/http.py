"""Requests, responses and identities as values: what the API server handles and a transport sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it comes, for routes that pass it on: header fields in order, repeats kept; the query undecoded.

    chunks: the body, read from the client only as it is asked for; None where there is none.
    """

    headers: tuple[tuple[str, str], ...]
    query: str = ""
    chunks: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `path` is as sent (percent-encoded); `query` is decoded, in order, repeats kept.

    Header names are lower-case. `source` is the address of the client, empty for one in this process.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    source: str = ""
    incoming: Incoming | None = None
    """Set where the body is not read before the request is handled: `body` is empty then."""

    def find_parameter(self, name: str) -> str | None:
        """The first value of the query parameter, or None when it is absent."""
        for key, value in self.query:
            if key == name:
                return value
        return None


class Messages(Protocol):
    """The peer of a connection that has left HTTP, message by message: text is str, binary is bytes."""

    async def send(self, message: str | bytes) -> None:
        """Waits while the peer is slow. Raises ConnectionError when it has gone."""

    async def receive(self) -> str | bytes | None:
        """The next message, None when the peer has closed."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The conversation that a request leads to. protocols: in the order of preference; empty: the client's first.

    listens: whether `receive` will be called. Otherwise what the client says is read and dropped.
    """

    converse: Callable[[Messages], Awaitable[None]]
    protocols: tuple[str, ...] = ()
    listens: bool = False


class Bytes(Protocol):
    """The peer of a connection that has left HTTP for a protocol that the server does not know."""

    async def open(self) -> None:
        """Send the 101. Before everything else."""

    async def read(self) -> bytes:
        """What has come, at least one byte; empty when the peer has gone."""

    async def write(self, data: bytes) -> None:
        """Waits while the peer is slow. Raises ConnectionError when it has gone."""


Tunnel = Callable[[Bytes], Awaitable[None]]


@runtime_checkable
class Lasting(Protocol):
    """A stream that tells when it is over, however it ends."""

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once."""


class BrokenStream(Exception):
    """The source of a stream failed in the middle: nobody's bug, but the reader must not take it for the whole."""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response. A stream body yields what must be flushed together (whole watch lines).

    upgrade: what follows a 101, which has no body. tunnel: the same, byte by byte; its headers are sent as they are.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | AsyncIterator[bytes] = b""
    upgrade: Upgrade | None = None
    tunnel: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `groups` is sorted; `system:authenticated` is added by the authenticator, not by callers."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))
