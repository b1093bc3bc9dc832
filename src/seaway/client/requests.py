"""A typed client over any transport: each call is one request value, one send, one decoded answer.

`send` is the only door: HTTPS, the unix socket and the in-process server implement `Transport` alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from seaway.api.machinery.errors import error_from_status
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import Resource

T = TypeVar("T")
Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_encoder = msgspec.json.Encoder()


class Transport(Protocol):
    """Sends one request. Raises `TransportError` when no answer was had."""

    async def send(self, request: Request) -> Response:
        """The answer; the body is bytes, or an iterator of chunks when the request was a watch."""

    async def close(self) -> None:
        """Release connections. Safe to repeat."""


class TransportError(Exception):
    """No answer: refused, reset, timed out, bad TLS. The message says which and whom."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """A decoded list. `items` are raw JSON, for the caller's type."""

    items: tuple[msgspec.Raw, ...]
    resource_version: str
    continue_token: str


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: tuple[msgspec.Raw, ...] = ()


class Client:
    """The API of one server with one identity. Writes take and answer dicts of the wire form.

    Every method raises an `ApiError` subclass for a refusal and `TransportError` for no answer.
    """

    def __init__(self, transport: Transport, *, user_agent: str = "seaway") -> None:
        self.transport = transport
        self._headers = {"user-agent": user_agent}

    async def get(self, resource: Resource, name: str, namespace: str = "", *, as_type: type[T]) -> T:
        """The object, decoded as `as_type` (a Reader, or dict)."""
        body = await self.send("GET", _path(resource, namespace, name))
        return msgspec.json.decode(body, type=as_type)

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> ListPage:
        """One page of the collection."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
            **{"continue": continue_token},
        )
        body = await self.send("GET", _path(resource, namespace), query=query)
        answer = msgspec.json.decode(body, type=_List)
        return ListPage(answer.items, answer.metadata.resource_version, answer.metadata.continue_)

    async def create(
        self,
        resource: Resource,
        obj: Mapping[str, Any],
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
    ) -> Json:
        """POST to the collection, or to a subresource of the named object (`binding`)."""
        path = _path(resource, namespace, name, subresource)
        return _decode(await self.send("POST", path, body=_encoder.encode(obj)))

    async def update(self, resource: Resource, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        """PUT the object at the name and namespace in its metadata."""
        meta = obj["metadata"]
        path = _path(resource, meta.get("namespace", ""), meta["name"], subresource)
        return _decode(await self.send("PUT", path, body=_encoder.encode(obj)))

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Json:
        """PATCH with one of the patch types above."""
        path = _path(resource, namespace, name, subresource)
        body = await self.send("PATCH", path, body=_encoder.encode(patch), content_type=patch_type)
        return _decode(body)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Mapping[str, Any] | None = None
    ) -> Json:
        """DELETE; options are the fields of DeleteOptions."""
        body = _encoder.encode(options) if options else b""
        return _decode(await self.send("DELETE", _path(resource, namespace, name), body=body))

    async def delete_collection(
        self, resource: Resource, namespace: str = "", *, options: Mapping[str, Any] | None = None
    ) -> None:
        """DELETE all objects of the collection; options are the fields of DeleteOptions."""
        body = _encoder.encode(options) if options else b""
        await self.send("DELETE", _path(resource, namespace), body=body)

    async def watch(
        self, resource: Resource, namespace: str = "", *, query: Sequence[tuple[str, str]]
    ) -> AsyncIterator[bytes]:
        """The chunks of a watch; the query is given whole, but for `watch` itself."""
        path = _path(resource, namespace)
        response = await self._send("GET", path, query=(*query, ("watch", "true")))
        assert not isinstance(response.body, bytes)
        return response.body

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """Any request whose answer comes to an end; `path` is percent-encoded."""
        response = await self._send(method, path, query=query, body=body, content_type=content_type, accept=accept)
        return await _read_all(response.body)

    async def close(self) -> None:
        """Release the transport."""
        await self.transport.close()

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Response:
        headers = {**self._headers, "accept": accept}
        if body:
            headers["content-type"] = content_type
        response = await self.transport.send(Request(method, path, tuple(query), headers, body))
        if response.status < 400:
            return response
        raise error_from_status(response.status, _decode_error(await _read_all(response.body)))


async def _read_all(body: bytes | AsyncIterator[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])


def _path(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    return quote(resource.path(namespace, name, subresource))


def _query(**parameters: str) -> list[tuple[str, str]]:
    return [(key, value) for key, value in parameters.items() if value]


def _decode(body: bytes) -> Json:
    decoded: Json = msgspec.json.decode(body)
    return decoded


def _decode_error(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode(errors="replace").strip()
