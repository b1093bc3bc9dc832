"""One watch of everything, kind by kind: what it told must add up to what a LIST shows.

Rule: spec "api-machinery" §7.3 (revision order, no gaps, no duplicates), §6.1, trap 8 (revisions only grow).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from seaway.api.machinery.http import Request
from seaway.apiserver.handler import ApiServer
from tests.fuzz.oracle import Complaint, judge_event
from tests.fuzz.steps import WHO
from tests.fuzz.surface import Endpoint

Json = dict[str, Any]
_ADMIN = WHO["admin"]


async def read_now(stream: AsyncIterator[bytes]) -> tuple[list[bytes], bool]:
    """The lines that are there now, and whether the stream has ended. Never waits for more."""
    lines: list[bytes] = []
    while True:
        task = asyncio.ensure_future(anext(stream, b""))
        for _ in range(3):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return lines, False
        chunk = task.result()
        if not chunk:
            return lines, True
        lines += chunk.splitlines()


class Witness:
    """Follows one resource as a reflector does."""

    def __init__(self, server: ApiServer, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._server = server
        self._objects: dict[tuple[str, str], Json] = {}
        self._revision = 0
        self._stream: AsyncIterator[bytes] | None = None

    async def start(self) -> None:
        """List, then watch from there."""
        listed, self._revision = await self.list()
        self._objects = listed
        await self._watch()

    async def list(self) -> tuple[dict[tuple[str, str], Json], int]:
        """Everything of the kind, by namespace and name, and the revision of the list."""
        response = await self._server.handle(Request("GET", self.endpoint.path()), _ADMIN)
        assert response.status == 200, response
        assert isinstance(response.body, bytes)
        body = msgspec.json.decode(response.body)
        return {_key(item): _bare(item) for item in body["items"]}, int(body["metadata"]["resourceVersion"])

    async def check(self) -> list[Complaint]:
        """Catch up, and compare with the list."""
        complaints = await self._catch_up()
        listed, revision = await self.list()
        label = self.endpoint.label
        if revision < self._revision:
            complaints.append(Complaint("LIST is older than the watch", f"{label}: {revision} < {self._revision}"))
        if listed != self._objects:
            complaints += _describe_difference(label, listed, self._objects)
            self._objects = listed
        return complaints

    async def close(self) -> None:
        """End the watch."""
        if self._stream is not None:
            await self._stream.aclose()  # type: ignore[attr-defined]

    async def _watch(self) -> None:
        query = (("watch", "1"), ("resourceVersion", str(self._revision)), ("timeoutSeconds", "100000"))
        response = await self._server.handle(Request("GET", self.endpoint.path(), query), _ADMIN)
        assert response.status == 200, response
        assert not isinstance(response.body, bytes)
        self._stream = response.body

    async def _catch_up(self) -> list[Complaint]:
        complaints: list[Complaint] = []
        while True:
            assert self._stream is not None
            lines, ended = await read_now(self._stream)
            for line in lines:
                event, found = judge_event(line)
                complaints += found
                if event is None:
                    continue
                if event["type"] == "ERROR":  # history is shorter than the time between two checks
                    self._objects, self._revision = await self.list()
                else:
                    complaints += self._apply(event["type"], event["object"])
            if not ended:
                return complaints
            await self._watch()

    def _apply(self, kind: str, obj: Json) -> Iterator[Complaint]:
        key, revision = _key(obj), int(obj["metadata"]["resourceVersion"])
        where = f"{self.endpoint.label} {'/'.join(key)} {kind} at {revision} after {self._revision}"
        if revision <= self._revision:
            yield Complaint("revisions of a watch do not grow", where)
        self._revision = revision
        if (kind == "ADDED") is (key in self._objects):
            yield Complaint("watch event does not fit what was there", where)
        known = self._objects.get(key, obj)["metadata"].get("uid")
        if obj["metadata"].get("uid") != known:
            yield Complaint("an object has become another without going first", where)
        if kind == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = _bare(obj)


def _key(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _bare(obj: Json) -> Json:
    """Items of lists may have kind and apiVersion or not."""
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


def _describe_difference(label: str, listed: dict[Any, Json], watched: dict[Any, Json]) -> Iterator[Complaint]:
    for key in sorted(listed.keys() | watched.keys()):
        if listed.get(key) != watched.get(key):
            yield Complaint(
                "LIST differs from the replay of its watch",
                f"{label} {key}: {listed.get(key)} / {watched.get(key)}"[:600],
            )
