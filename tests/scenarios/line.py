"""Between the loops and the server: what they write is recorded, and may fail on its way."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from seaway.api.machinery.errors import ApiError, ServiceUnavailable, TooManyRequests, make_conflict
from seaway.api.machinery.http import Request, Response
from seaway.client.requests import Transport, TransportError

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_UNTOLD = ("/events", "/leases")
"""What is written all the time, and decides nothing about objects."""


@dataclass(frozen=True, slots=True)
class Killed:
    """The loops end at this write, counted from 1: before it is carried out, or after."""

    number: int
    after: bool


class Trouble:
    """What befalls the writes of all loops, and what became of each."""

    def __init__(self, kill: Killed | None) -> None:
        self.log: list[str] = []
        self.count = 0
        self.has_killed = False
        self._kill = kill
        self._failures: list[str] = []
        self.forbidden: set[str] = set()
        """What roles did not allow: the server's texts."""

    def fail(self, count: int, code: str) -> None:
        """The next writes end so. `lost`: not carried out; `answer lost`: carried out, and nobody hears of it."""
        self._failures += [code] * count

    def take(self) -> str:
        """The failure that awaits the next write, "" for none."""
        return self._failures.pop(0) if self._failures else ""

    def is_due(self, *, after: bool) -> bool:
        """Whether the loops die now."""
        if self._kill is None or self._kill.after is not after or self._kill.number != self.count:
            return False
        self.has_killed = True
        return True


class Line:
    """A transport of loops. Dead, it carries nothing more: so ends a process that is killed."""

    def __init__(self, inner: Transport, trouble: Trouble) -> None:
        self._inner, self._trouble = inner, trouble
        self.is_dead = False

    async def send(self, request: Request) -> Response:
        """The server's answer, or the trouble that was meant for it."""
        if self.is_dead:
            raise TransportError("killed")
        if request.method not in _VERBS or any(part in request.path for part in _UNTOLD):
            return await self._pass(request)
        trouble, what = self._trouble, _tell(request)
        trouble.count += 1
        if trouble.is_due(after=False):
            await self._die()
        failure = trouble.take()
        if failure and failure != "answer lost":
            trouble.log.append(f"{what}: {failure}")
            raise _make_error(failure)
        answer = await self._pass(request)
        if answer.status >= 400:
            trouble.log.append(f"{what}: {answer.status}")
            return answer
        if failure:
            trouble.log.append(f"{what}: {failure}")
            raise TransportError("the answer was lost")
        trouble.log.append(what)
        if trouble.is_due(after=True):
            await self._die()
        return answer

    async def _pass(self, request: Request) -> Response:
        answer = await self._inner.send(request)
        if answer.status == 403 and isinstance(answer.body, bytes):
            text = json.loads(answer.body)["message"]
            if " cannot " in text:  # a namespace that ends says 403, too
                self._trouble.forbidden.add(f"{request.method} {text}")
        return answer

    async def _die(self) -> None:
        self.is_dead = True
        await asyncio.sleep(0)
        raise TransportError("killed")

    async def close(self) -> None:
        """The line itself holds nothing."""
        await self._inner.close()


def _make_error(code: str) -> ApiError | TransportError:
    errors: dict[str, ApiError | TransportError] = {
        "409": make_conflict("objects", "", "x", None),
        "429": TooManyRequests("too many requests", {"retryAfterSeconds": 1}),
        "503": ServiceUnavailable("away"),
    }
    return errors.get(code) or TransportError("lost")


def _tell(request: Request) -> str:
    """`update endpointslices web-abc12`, `patch nodes n1 status`."""
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    return " ".join((_VERBS[request.method], *parts))
