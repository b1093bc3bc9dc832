"""Waiting for what control loops make of a test's objects; what was there is said when it does not come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from seaway.api.registry import ENDPOINT_SLICES
from seaway.testing.manifests import find_kind
from seaway.testing.nodes import NodeHelpers
from seaway.testing.objects import Json, Objects
from seaway.testing.view import on_server

PATIENCE_SECONDS = 10.0


class WaitHelpers(NodeHelpers):
    """Each waits for one thing, and raises TimeoutError."""

    @on_server
    async def wait_endpoints(
        self,
        service: str,
        endpoints: int | Collection[str] = 1,
        *,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> tuple[str, ...]:
        """The ready addresses of the Service, sorted, once they are so many, or are just these (names of Pods, or IPs).

        Raises TimeoutError with what was there.
        """
        found: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

        async def look() -> bool:
            nonlocal found
            found = await self._find_endpoints(service)
            addresses, names = found
            if isinstance(endpoints, int):
                return len(addresses) == endpoints
            return set(endpoints) in (set(addresses), set(names))

        await self._until(
            look, lambda: f"endpoints of {service}: {endpoints} wanted, {found[0]} found", timeout_seconds
        )
        return found[0]

    @on_server
    async def wait_for(
        self,
        kind: str,
        name: str,
        check: Callable[[Json], object] = bool,
        *,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> Json:
        """The object, once it exists and the check of it is true. The check runs on the server's thread, and is short.

        Raises TimeoutError with what was there.
        """
        resource = find_kind(kind)
        found: Json | None = None

        async def look() -> bool:
            nonlocal found
            found = await self._find(resource, name)
            return found is not None and bool(check(found))

        await self._until(look, lambda: f"{kind} {name}: {'not found' if found is None else found}", timeout_seconds)
        assert found is not None
        return found

    @on_server
    async def wait_gone(self, kind: str, name: str, *, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when there is no such object. Raises TimeoutError."""
        resource = find_kind(kind)

        async def look() -> bool:
            return await self._find(resource, name) is None

        await self._until(look, lambda: f"{kind} {name}: still there", timeout_seconds)

    @on_server
    async def wait_event(self, reason: str, about: str = "", *, timeout_seconds: float = PATIENCE_SECONDS) -> Json:
        """The first Event with that reason, about that object. Raises TimeoutError with the reasons seen."""
        seen: Objects = []

        async def look() -> bool:
            seen[:] = await self.events(about)
            return any(event.get("reason") == reason for event in seen)

        await self._until(look, lambda: f"event {reason}: only {[e.get('reason') for e in seen]}", timeout_seconds)
        return next(event for event in seen if event.get("reason") == reason)

    # The parts. Only on the server's loop.

    async def _find_endpoints(self, service: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ready addresses, and the names of the Pods behind them."""
        slices = await self._list(ENDPOINT_SLICES, label_selector=f"kubernetes.io/service-name={service}")
        ready = [
            endpoint
            for one in slices
            for endpoint in one.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready") is not False
        ]
        addresses = sorted({address for endpoint in ready for address in endpoint["addresses"]})
        return tuple(addresses), tuple(sorted({e.get("targetRef", {}).get("name", "") for e in ready}))

    async def _until(self, look: Callable[[], Awaitable[bool]], say: Callable[[], str], timeout_seconds: float) -> None:
        try:
            await self.server.cluster.eventually(look, timeout_seconds=timeout_seconds)
        except TimeoutError:
            raise TimeoutError(f"{say()}; not within {timeout_seconds:g} s") from None
