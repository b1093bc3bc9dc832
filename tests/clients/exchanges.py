"""What Go clients send, request by request: method, path, query, headers, and protobuf bodies made from the schema.

Rule: spec "api-machinery" §2.2 (Accept headers in the wild), §7.6, §13 (start-up requests, as recorded).
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from seaway.api.schema import find_definition
from seaway.testing.fixture import Seaway
from tests.wire.protobuf_encoder import encode_body

Json = dict[str, Any]
PROTOBUF = "application/vnd.kubernetes.protobuf"
OLD_TYPED = "application/json, */*"
TYPED = f"{PROTOBUF},application/json"
"""Typed clients from 1.32 on that were told nothing; their bodies are protobuf."""
COMPONENT = f"{PROTOBUF}, */*"
METADATA = ",".join(f"{media};as=PartialObjectMetadata;g=meta.k8s.io;v=v1" for media in (PROTOBUF, "application/json"))
METADATA_LIST = METADATA.replace("Metadata;", "MetadataList;")
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
WATCH_LIST: Mapping[str, str] = {
    "allowWatchBookmarks": "true",
    "resourceVersionMatch": "NotOlderThan",
    "sendInitialEvents": "true",
    "timeout": "8m20s",
    "timeoutSeconds": "500",
    "watch": "true",
}
"""An informer of client-go 1.35 and later."""
LIST: Mapping[str, str] = {"limit": "500", "resourceVersion": "0"}
"""An informer of client-go before."""
BOOKMARK = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Json]]:
        """Of a watch that has ended: type and object."""
        return [(event["type"], event["object"]) for event in map(json.loads, self.body.splitlines())]


class GoClient:
    """Sends what a Go program sends, over one connection that it keeps, with the headers that it always has."""

    def __init__(self, seaway: Seaway, agent: str, accept: str, *, token: str = "") -> None:
        context = ssl.create_default_context(cadata=seaway.ca_pem)
        self._connection = http.client.HTTPSConnection("127.0.0.1", seaway.server.port, context=context, timeout=30)
        self._headers = {
            "User-Agent": agent,
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {token or seaway.token}",
        }

    def __enter__(self) -> GoClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        body: Json | bytes | None = None,
        accept: str = "",
        media: str = PROTOBUF,
    ) -> Answer:
        """The answer, read to its end. A body that is an object goes as protobuf, unless media says otherwise."""
        headers = {**self._headers, **({"Accept": accept} if accept else {})}
        payload = body
        if body is not None:
            headers["Content-Type"] = media
            if not isinstance(body, bytes):
                payload = encode(body) if media == PROTOBUF else json.dumps(body).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        self._connection.request(method, target, payload, headers)
        answer = self._connection.getresponse()
        read = self._read_initial(answer) if dict(query).get("sendInitialEvents") else answer.read()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, read)

    def _read_initial(self, answer: http.client.HTTPResponse) -> bytes:
        """What a WatchList says until its bookmark; then nobody listens any more. An error is read whole."""
        lines = b""
        while line := answer.readline():
            lines += line
            if BOOKMARK.encode() in line:
                break
        self._connection.close()
        return lines


def encode(obj: Json) -> bytes:
    """The object's protobuf body, envelope included."""
    group, _, version = obj["apiVersion"].rpartition("/")
    definition = find_definition(group, version, obj["kind"])
    assert definition is not None, obj["kind"]
    return encode_body(obj, definition)
