"""A server of a few lines around the wire documents alone: no store, no pipeline, one namespace of objects in a dict.

It shows what real clients make of discovery, OpenAPI, codecs, patches and tables without anything else in between.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from seaway.api.machinery.codec import decode_body, prune_patched
from seaway.api.machinery.errors import ApiError, NotFound, make_not_found
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import Resource, find_resource
from seaway.apiserver.documents import discovery, openapi
from seaway.apiserver.negotiation import negotiate
from seaway.apiserver.patch import apply_patch
from seaway.apiserver.reading.tables import render_table

Json = dict[str, Any]
Key = tuple[Resource, str, str]


class TinyServer:
    """Objects by key, and the requests seen (`METHOD path?query`)."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self.requests: list[str] = []
        self.revision = 0

    def handle(self, request: Request) -> Response:
        try:
            found = discovery.answer(request, address="127.0.0.1:1") or openapi.answer(request)
            return found or self._handle_object(request)
        except ApiError as error:
            return _send(error.status_code, error.to_status())

    def _handle_object(self, request: Request) -> Response:
        resource, namespace, name = _route(request.path)
        key = (resource, namespace, name)
        if request.method == "GET":
            return self._get(request, key)
        validation = request.find_parameter("fieldValidation") or ""
        media = request.headers.get("content-type", "")
        if request.method == "POST":
            obj = decode_body(resource, media, request.body, field_validation=validation).obj
            return self._store((resource, namespace, obj["metadata"]["name"]), obj, 201)
        if request.method == "PATCH":
            patched = apply_patch(media, request.body, self._find(key), resource)
            return self._store(key, prune_patched(resource, patched, field_validation=validation).obj, 200)
        return _send(200, self.objects.pop(key))

    def _get(self, request: Request, key: Key) -> Response:
        resource, _, name = key
        accepted = negotiate(request.headers.get("accept", ""), is_list=not name, is_watch=False)
        objects = [self._find(key)] if name else [obj for k, obj in self.objects.items() if k[:2] == key[:2]]
        meta = {"resourceVersion": str(self.revision)}
        if accepted.kind == "table":
            now = datetime.now(UTC)
            table = render_table(
                resource, objects, version=accepted.version, include_object="", wall_now=now, list_meta=meta
            )
            return _send(200, table)
        if name:
            return _send(200, objects[0])
        return _send(
            200,
            {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": objects},
        )

    def _find(self, key: Key) -> Json:
        if key not in self.objects:
            raise make_not_found(key[0].plural, key[0].group, key[2])
        return self.objects[key]

    def _store(self, key: Key, obj: Json, code: int) -> Response:
        self.revision += 1
        meta = {**obj["metadata"], "namespace": key[1], "resourceVersion": str(self.revision), "uid": "1"}
        self.objects[key] = {**obj, "metadata": meta}
        return _send(code, self.objects[key])


def _route(path: str) -> tuple[Resource, str, str]:
    parts = path.strip("/").split("/")
    group, version, *rest = ("", *parts[1:]) if parts[0] == "api" else parts[1:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = find_resource(group, version, rest[0]) if rest else None
    if resource is None:
        raise NotFound("the server could not find the requested resource", {})
    return resource, namespace, rest[1] if len(rest) > 1 else ""


def _send(code: int, value: Json) -> Response:
    return Response(code, (("Content-Type", "application/json"),), json.dumps(value).encode() + b"\n")


@contextmanager
def serve_tiny() -> Iterator[tuple[TinyServer, str]]:
    """The server on loopback, and its URL."""
    tiny = TinyServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = tuple(parse_qsl(url.query, keep_blank_values=True))
            tiny.requests.append(f"{self.command} {self.path}")
            response = tiny.handle(Request(self.command, url.path, query, headers, body))
            assert isinstance(response.body, bytes)
            self.send_response(response.status)
            for name, value in response.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield tiny, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
