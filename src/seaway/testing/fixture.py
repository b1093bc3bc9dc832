"""What a test holds: a Seaway, seen from one namespace. `Seaway` blocks, `AsyncSeaway` is awaited; both can the same.

Helpers act in process as an administrator, past the faults that a test orders: the trouble is the operator's alone.
They are in layers, each a file: `view.py`, `objects.py`, `nodes.py`, `waiting.py`, `running.py`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, TypeVar

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import NAMESPACES, PODS
from seaway.testing.manifests import find_kind
from seaway.testing.objects import FORCE
from seaway.testing.running import RunHelpers
from seaway.testing.view import View, on_server

P = ParamSpec("P")
T = TypeVar("T")


class AsyncSeaway(RunHelpers):
    """A Seaway for `async` tests, on any asyncio loop."""

    async def restart(self) -> None:
        """Stop the server and start it again over the same objects, at the same address."""
        await asyncio.to_thread(self.server.restart)

    @on_server
    async def cut_watches(self, kind: str = "", *, expired: bool = False) -> int:
        """End the open watches of the kind, or all, as a server does that shuts down. Returns how many there were.

        expired: with the 410 event after which a client must list again.
        """
        return await self.server.cut_watches(find_kind(kind) if kind else None, expired=expired)

    @on_server
    async def close(self) -> None:
        """Forget orders that were not met, users and what was made; the namespace goes, its Pods at once."""
        self.server.faults.clear(self._ordered)
        client = self.server.client()
        for resource, name in reversed(self._made):
            await _ignore_missing(client.delete(resource, name, options=FORCE if resource is PODS else None))
        await client.delete_collection(PODS, self.namespace, options=FORCE)
        await _ignore_missing(client.delete(NAMESPACES, self.namespace))
        for user in self._users:
            self.server.forget_user(user)


def _blocking(
    method: Callable[Concatenate[AsyncSeaway, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Seaway, P], T]:
    """The method for tests that are no coroutines."""

    @functools.wraps(method)
    def wait(self: Seaway, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.server.wait(method, self.as_async(), *args, **kwargs)

    return wait


class Seaway(View):
    """A Seaway for tests that are no coroutines. What a method does is said at its twin of `AsyncSeaway`."""

    def __init__(self, awaited: AsyncSeaway) -> None:
        super().__init__(awaited.server, awaited.namespace, awaited.admin)
        self._awaited = awaited
        self._ordered = awaited._ordered
        self._users = awaited._users

    def as_async(self) -> AsyncSeaway:
        """The same Seaway, to be awaited."""
        return self._awaited

    def restart(self) -> None:
        """Stop the server and start it again over the same objects, at the same address."""
        self.server.restart()

    def locate(self, address: str) -> str:
        """Where an address of an object, such as a Pod's, is bound and dialled on this host."""
        return self._awaited.locate(address)

    def outage(self) -> AbstractContextManager[None]:
        """Inside the block connections are refused."""
        return self.server.outage()

    create = _blocking(AsyncSeaway.create)
    apply = _blocking(AsyncSeaway.apply)
    get = _blocking(AsyncSeaway.get)
    list = _blocking(AsyncSeaway.list)
    patch = _blocking(AsyncSeaway.patch)
    delete = _blocking(AsyncSeaway.delete)
    events = _blocking(AsyncSeaway.events)
    make_node = _blocking(AsyncSeaway.make_node)
    node_ready = _blocking(AsyncSeaway.node_ready)
    node_not_ready = _blocking(AsyncSeaway.node_not_ready)
    node_lost = _blocking(AsyncSeaway.node_lost)
    make_service = _blocking(AsyncSeaway.make_service)
    make_pod = _blocking(AsyncSeaway.make_pod)
    pod_ready = _blocking(AsyncSeaway.pod_ready)
    pod_not_ready = _blocking(AsyncSeaway.pod_not_ready)
    pod_finished = _blocking(AsyncSeaway.pod_finished)
    pod_terminating = _blocking(AsyncSeaway.pod_terminating)
    pod_gone = _blocking(AsyncSeaway.pod_gone)
    wait_endpoints = _blocking(AsyncSeaway.wait_endpoints)
    wait_for = _blocking(AsyncSeaway.wait_for)
    wait_gone = _blocking(AsyncSeaway.wait_gone)
    wait_event = _blocking(AsyncSeaway.wait_event)
    run_pod = _blocking(AsyncSeaway.run_pod)
    pod_log = _blocking(AsyncSeaway.pod_log)
    address_of = _blocking(AsyncSeaway.address_of)
    cut_watches = _blocking(AsyncSeaway.cut_watches)
    close = _blocking(AsyncSeaway.close)


async def _ignore_missing(work: Awaitable[object]) -> None:
    try:
        await work
    except NotFound:
        return
