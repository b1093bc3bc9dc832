"""Trouble on order: the next matching requests are refused or late, watches are cut; and what was asked is recorded.

It stands between the sockets and the API server, so the control loops of the fixture and its helpers feel none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from seaway.api.machinery.errors import (
    ApiError,
    BadRequest,
    Expired,
    Forbidden,
    InternalError,
    Invalid,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
    make_conflict,
)
from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.registry import Resource
from seaway.apiserver.answers import make_status
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.record import encode_object
from seaway.apiserver.routes import Route, route_request

MAX_RECORDED = 10_000
_CLASSES: dict[int, type[ApiError]] = {
    cls.code: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, Expired, Invalid, TooManyRequests, InternalError,
        ServiceUnavailable, Timeout,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that came over the wire, and the status of its answer. `verb` is authorization's."""

    verb: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    user: str
    user_agent: str
    content_type: str
    status: int
    resource: str
    """The plural; with `/` and the subresource where there is one."""


@dataclass(slots=True)
class Fault:
    """What meets the next `times` requests that match; everything that is not said matches.

    status: of the refusal; None lets the request through after the delay.
    """

    status: int | None
    times: int = 1
    verb: str | None = None
    resource: Resource | None = None
    subresource: str | None = None
    name: str | None = None
    namespace: str | None = None
    user: str | None = None
    message: str = ""
    retry_after_seconds: int | None = None
    delay_seconds: float = 0.0
    met: list[Recorded] = field(default_factory=list)
    """The requests that it has met so far."""

    @property
    def is_spent(self) -> bool:
        """It will meet no more requests."""
        return self.times <= 0

    def matches(self, route: Route, identity: Identity) -> bool:
        """Whether the request is one that is meant."""
        wanted = (
            (self.verb, route.verb),
            (self.subresource, route.subresource),
            (self.name, route.name),
            (self.namespace, route.namespace),
            (self.user, identity.user),
        )
        if any(want is not None and want != have for want, have in wanted):
            return False
        resource = self.resource
        return resource is None or (resource.group, resource.plural) == (route.group, route.plural)

    def make_error(self, route: Route) -> ApiError:
        """The refusal, as the API server itself words it where it has words. Rule: spec "api-machinery" §1.4."""
        assert self.status is not None
        if self.status == 409:
            return make_conflict(route.plural, route.group, route.name, self.message or None)
        text = self.message or f"the test asked for a {self.status}"
        details: dict[str, Any] = {"name": route.name, "kind": route.plural}
        wait = 1 if self.status == 429 and self.retry_after_seconds is None else self.retry_after_seconds
        if wait:
            details["retryAfterSeconds"] = wait
        return _CLASSES.get(self.status, ApiError)(text, details, code=self.status)


class Interposed:
    """An `ApiServer` for `serve`, with the faults, the record and the tests' users before it; all else is the server's.

    find_user: whom a token of the test stands for, None for tokens of others.
    """

    def __init__(self, server: ApiServer, faults: Faults, find_user: Callable[[str], Identity | None]) -> None:
        self._server = server
        self._faults = faults
        self._find_user = find_user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def find_identity(self, token: str) -> Identity | None:
        """Whom a bearer token stands for, None when it is not good."""
        return self._find_user(token) or self._server.find_identity(token)

    async def handle(self, request: Request, identity: Identity, *arguments: Any, **options: Any) -> Response:
        """The server's answer, or what was ordered."""
        route = _find_route(request)
        fault = self._faults.take(route, identity)
        if fault is not None and fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
        if fault is not None and fault.status is not None:
            response = _refuse(request, route, fault)
        else:
            response = await self._server.handle(request, identity, *arguments, **options)
        recorded = _record(request, route, identity, response)
        self._faults.recorded.append(recorded)
        if fault is not None:
            fault.met.append(recorded)
        if isinstance(response.body, bytes):
            return response
        return Response(response.status, response.headers, self._faults.guard(response.body, recorded))


class Faults:
    """What is ordered, what was asked, and the watches that are open. Orders may come from any thread."""

    def __init__(self) -> None:
        self.recorded: deque[Recorded] = deque(maxlen=MAX_RECORDED)
        self._ordered: list[Fault] = []
        self._open: dict[asyncio.Future[bytes], Recorded] = {}

    def order(self, fault: Fault) -> Fault:
        """Orders are taken in the order in which they were given."""
        self._ordered.append(fault)
        return fault

    def clear(self, faults: Iterable[Fault]) -> None:
        """Forget orders that were not met."""
        for fault in faults:
            fault.times = 0

    def take(self, route: Route, identity: Identity) -> Fault | None:
        """The fault that meets this request, used up once."""
        for fault in self._ordered:
            if not fault.is_spent and fault.matches(route, identity):
                fault.times -= 1
                self._ordered = [other for other in self._ordered if not other.is_spent]
                return fault
        return None

    def cut_watches(self, last: bytes, resource: Resource | None) -> int:
        """End the open watches of the kind, or all, after a last line. On the server's loop. Returns how many."""
        plural = resource.plural if resource is not None else None
        cut = [ending for ending, recorded in self._open.items() if plural in (None, recorded.resource)]
        for ending in cut:
            if not ending.done():
                ending.set_result(last)
        return len(cut)

    async def guard(self, chunks: AsyncIterator[bytes], recorded: Recorded) -> AsyncIterator[bytes]:
        """The chunks, until there are no more or the watch is cut."""
        ending: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[ending] = recorded
        following: asyncio.Future[bytes] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(chunks))
                await asyncio.wait((following, ending), return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    if ending.result():
                        yield ending.result()
                    return
                try:
                    chunk = following.result()
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            del self._open[ending]
            if following is not None and not following.done():
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                    await following
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()


def make_error_event(error: ApiError) -> bytes:
    """The line that ends a watch. Rule: spec "api-machinery" §0.7."""
    return encode_object({"type": "ERROR", "object": error.to_status()}) + b"\n"


def _refuse(request: Request, route: Route, fault: Fault) -> Response:
    error = fault.make_error(route)
    if route.verb != "watch" or fault.status != 410:
        return make_status(error, request)
    return Response(200, (("Content-Type", "application/json"),), _one_line(make_error_event(error)))


async def _one_line(line: bytes) -> AsyncIterator[bytes]:
    yield line


def _find_route(request: Request) -> Route:
    try:
        return route_request(request)
    except ApiError:
        return Route(request.path)


def _record(request: Request, route: Route, identity: Identity, response: Response) -> Recorded:
    return Recorded(
        verb=route.verb,
        method=request.method,
        path=request.path,
        query=request.query,
        user=identity.user,
        user_agent=request.headers.get("user-agent", ""),
        content_type=request.headers.get("content-type", ""),
        status=response.status,
        resource=f"{route.plural}/{route.subresource}" if route.subresource else route.plural,
    )
