"""The verb of a proxy: whom the request is for, and what is sent there.

Rule: spec "service-api" §8; "api-machinery" §9.5.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from seaway.api.machinery.errors import BadRequest, ServiceUnavailable
from seaway.api.machinery.http import Request, Response
from seaway.apiserver.proxying.headers import (
    Fields,
    find_field,
    make_request_fields,
    split_path,
    wants_upgrade,
)
from seaway.apiserver.proxying.links import Links
from seaway.apiserver.proxying.targets import Target, choose_target
from seaway.apiserver.routes import PROXY
from seaway.apiserver.verbs import Call

METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request for a backend. target: path and query. chunks: None where there is no body."""

    method: str
    target: str
    fields: Fields
    chunks: AsyncIterator[bytes] | None
    is_upgrade: bool
    links: Links


class Backends(Protocol):
    """What reaches Pods."""

    async def exchange(self, target: Target, outgoing: Outgoing) -> Response:
        """The backend's answer, its body as it comes. Raises ServiceUnavailable when there is none."""


def is_proxied(subresource: str) -> bool:
    """Whether requests of the subresource are passed on."""
    return subresource == PROXY


async def answer_proxy(call: Call) -> Response:
    """Pass the request on. Raises ApiError.

    The Pod is chosen and dialled without a pause between: what the objects say is true when the connection is made.
    """
    request, route, state = call.request, call.route, call.state
    if request.find_parameter("dryRun") is not None:
        raise BadRequest("dryRun is not supported")
    target = choose_target(
        call.resource,
        call.namespace,
        route.name,
        find=state.find,
        pick=lambda count: int(state.effects.random() * count),
    )
    fields, query, chunks = take_incoming(request)
    prefix, path = split_path(request.path, 6 + 1 if call.namespace else 4 + 1)
    is_upgrade = wants_upgrade(fields)
    if not path and request.method in ("GET", "HEAD") and not is_upgrade:
        return Response(301, (("Location", f"{prefix}/{'?' if query else ''}{query}"),))
    if state.backends is None:
        raise ServiceUnavailable("error trying to reach service: this server has no way to Pods")
    path = path or "/"
    uri = prefix + path
    outgoing = Outgoing(
        request.method,
        f"{path}?{query}" if query else path,
        make_request_fields(fields, source=request.source, uri=uri, is_upgrade=is_upgrade),
        chunks,
        is_upgrade,
        Links(prefix, target.host, find_field(fields, "host") or ""),
    )
    return await state.backends.exchange(target, outgoing)


def take_incoming(request: Request) -> tuple[Fields, str, AsyncIterator[bytes] | None]:
    """The request as the client sent it; one from inside of this process is put together again."""
    if request.incoming is not None:
        return request.incoming.headers, request.incoming.query, request.incoming.chunks
    fields = dict(request.headers)
    if request.body:
        fields["content-length"] = str(len(request.body))
    fields.setdefault("host", "localhost")
    return tuple(fields.items()), urlencode(request.query), _iterate(request.body) if request.body else None


async def _iterate(body: bytes) -> AsyncIterator[bytes]:
    yield body
