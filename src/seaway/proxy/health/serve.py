"""Listens on the health-check ports of Services, and for those who ask after the proxy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from seaway.net.errors import OperationalError
from seaway.proxy.health.ports import HealthPort, Key, answer_health_port
from seaway.telemetry.page import Answer, Request, read_request
from seaway.telemetry.serve import PageServer, open_pages

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
MAX_HEALTH_PORTS = 10_000
"""Each costs a socket; those beyond are refused as if they could not be bound."""
Refuse = Callable[[HealthPort, str], None]


class HealthPortServers:
    """The open ports. What cannot be bound is told once in the same words, and tried again each time."""

    def __init__(self, is_proxy_healthy: Callable[[], bool], on_refused: Refuse) -> None:
        self._is_proxy_healthy = is_proxy_healthy
        self._on_refused = on_refused
        self._wanted: dict[Key, HealthPort] = {}
        self._open: dict[Key, tuple[PageServer, ...]] = {}
        self._refused: dict[Key, str] = {}

    async def follow(self, wanted: Mapping[Key, HealthPort]) -> None:
        """Listen on these and no others. Counts are taken at once; a port that moved is closed and opened."""
        before, self._wanted = self._wanted, dict(wanted)
        for key in list(self._open):
            if key not in wanted or wanted[key].place != before[key].place:
                await self._close(key)
        for key in self._refused.keys() - wanted.keys():
            del self._refused[key]
        for key, port in wanted.items():
            if key not in self._open:
                await self._try(key, port)

    async def close(self) -> None:
        """Listen on nothing."""
        await self.follow({})

    async def _try(self, key: Key, port: HealthPort) -> None:
        servers: list[PageServer] = []
        try:
            if len(self._open) >= MAX_HEALTH_PORTS:
                raise OSError(None, f"more than {MAX_HEALTH_PORTS} health-check ports")
            for address in port.addresses:
                servers.append(await open_pages(address, port.port, partial(self._answer, key)))
        except OSError as error:
            for server in servers:
                await server.close()
            reason = error.strerror or str(error)
            if self._refused.get(key) != reason:
                self._refused[key] = reason
                log.warning("health_port=%d service=%s error=%r", port.port, port.service, reason)
                self._on_refused(port, reason)
            return
        self._refused.pop(key, None)
        self._open[key] = tuple(servers)

    async def _close(self, key: Key) -> None:
        for server in self._open.pop(key):
            await server.close()

    def _answer(self, key: Key, header: bytes) -> Answer:
        request = read_request(header)
        if isinstance(request, Answer):
            return request
        port = self._wanted.get(key)
        if port is None:  # it is being closed
            return Answer(503, b"")
        return answer_health_port(port.service, port.local_ready, is_proxy_healthy=self._is_proxy_healthy())


async def run_page(
    host: str,
    port: int,
    answer: Callable[[Request], Answer | Awaitable[Answer]],
    *,
    name: str,
    is_fatal: bool,
    on_refused: Callable[[], Awaitable[None]],
) -> None:
    """Answer until cancelled. An address that is not free is tried again every five seconds.

    is_fatal: it is an OperationalError instead. on_refused: called for the first failure.
    Rule: spec "proxy" §7.2, §7.3 (bind failure).
    """

    def reply(header: bytes) -> Answer | Awaitable[Answer]:
        request = read_request(header)
        return request if isinstance(request, Answer) else answer(request)

    server = PageServer(reply)
    try:
        has_failed = False
        while True:
            try:
                await server.open(host, port)
                break
            except OSError as error:
                text = f"{name} on {host}:{port}: {error.strerror}; give another address, or none"
                if not has_failed:
                    has_failed = True
                    log.warning("%s", text)
                    await on_refused()
                if is_fatal:
                    raise OperationalError(text) from error
                await asyncio.sleep(RETRY_SECONDS)
        log.info("%s address=%s:%d", name, host, server.port)
        await asyncio.Event().wait()
    finally:
        await server.close()
