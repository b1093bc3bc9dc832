"""Foreign names asked of upstreams: a socket, a source port and an id of its own for every query.

An answer counts only when it comes from the address asked, with the id and the question that were sent: everything
else is somebody's guess, and is ignored. Equal questions in flight are asked once, which also denies a guesser his
birthdays. A truncated reply over UDP is asked for again over TCP. Any rcode is an answer; only silence and errors
lead on to the next.

Rule: spec "discovery" A3.3. Left out: active health checks (failures in a row are remembered instead).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from dataclasses import dataclass

from seaway.dns.forwarding.cache import CacheKey, ReplyCache
from seaway.dns.forwarding.upstreams import Health, Upstream, note_failure, order_upstreams
from seaway.dns.message import AD, CD, QR, RD, TC, Message, WireError, decode_message, lower_question
from seaway.dns.wire import encode_upstream_query

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 2.0
DEADLINE_SECONDS = 5.0
MAX_UDP_BYTES = 4096
"""What a reply over UDP may have; more than is asked for, so that a careless upstream is still understood."""


class ForwardError(Exception):
    """No upstream answered. The message names each and what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to an upstream: name, type and class as on the wire, and the flags that are passed on."""

    question: bytes
    flags: int = RD
    dnssec_ok: bool = False

    @property
    def key(self) -> CacheKey:
        return CacheKey(lower_question(self.question), self.dnssec_ok, bool(self.flags & CD))


class Forwarder:
    """Asks upstreams in order of health and keeps what they said."""

    def __init__(
        self,
        upstreams: tuple[Upstream, ...],
        *,
        udp_bytes: int = 1232,
        attempt_seconds: float = ATTEMPT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._upstreams = upstreams
        self._udp_bytes = udp_bytes
        self._attempt_seconds = attempt_seconds
        self._deadline_seconds = deadline_seconds
        self._health = [Health() for _ in upstreams]
        self._cache = ReplyCache()
        self._in_flight: dict[tuple[CacheKey, int], asyncio.Task[Message]] = {}

    async def ask(self, ask: Ask) -> tuple[Message, int]:
        """The reply and the TTL that its records are to show. Raises ForwardError."""
        loop = asyncio.get_running_loop()
        key = ask.key
        found = self._cache.find(key, loop.time())
        if found is not None:
            return found
        flight = (key, ask.flags & (RD | AD))
        task = self._in_flight.get(flight)
        if task is None:
            task = self._in_flight[flight] = loop.create_task(self._ask_upstreams(ask))
            task.add_done_callback(lambda done: self._land(flight, done))
        message = await asyncio.shield(task)
        return message, self._cache.store(key, message, loop.time())

    async def close(self) -> None:
        """Give up what is in flight."""
        tasks = tuple(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _land(self, flight: tuple[CacheKey, int], task: asyncio.Task[Message]) -> None:
        del self._in_flight[flight]
        if not task.cancelled():
            task.exception()  # seen by those who wait; when they all have left, by nobody

    async def _ask_upstreams(self, ask: Ask) -> Message:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_seconds
        problems: list[str] = []
        for _ in range(2):  # each upstream twice, as CoreDNS
            for i in order_upstreams(self._health, loop.time()):
                if loop.time() >= deadline:
                    break
                try:
                    async with asyncio.timeout_at(min(deadline, loop.time() + self._attempt_seconds)):
                        message = await _exchange(self._upstreams[i], ask, self._udp_bytes)
                except (OSError, TimeoutError, EOFError, WireError) as error:
                    self._health[i] = note_failure(self._health[i], loop.time())
                    problems.append(f"{self._upstreams[i]}: {str(error) or 'no answer'}")
                else:
                    self._health[i] = Health()
                    return message
        raise ForwardError("; ".join(problems) or "no upstream is configured")


async def _exchange(upstream: Upstream, ask: Ask, udp_bytes: int) -> Message:
    if upstream.path:
        return await _ask_stream(upstream, ask, udp_bytes)
    message = await _ask_datagram(upstream, ask, udp_bytes)
    if message.flags & TC:
        with contextlib.suppress(OSError, EOFError, WireError):
            return await _ask_stream(upstream, ask, udp_bytes)
    return message


async def _ask_datagram(upstream: Upstream, ask: Ask, udp_bytes: int) -> Message:
    loop = asyncio.get_running_loop()
    query_id, query = _encode(ask, udp_bytes)
    family = socket.AF_INET6 if ":" in upstream.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((upstream.host, upstream.port))  # the kernel draws a random port, and drops other senders
        sock.send(query)
        while True:
            message = _accept(await loop.sock_recv(sock, MAX_UDP_BYTES), query_id, ask)
            if message is not None:
                return message


async def _ask_stream(upstream: Upstream, ask: Ask, udp_bytes: int) -> Message:
    """Over TCP, or over a unix socket with the same framing: one query, one reply, and the connection ends."""
    query_id, query = _encode(ask, udp_bytes)
    if upstream.path:
        reader, writer = await asyncio.open_unix_connection(upstream.path)
    else:
        reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            message = _accept(await reader.readexactly(size), query_id, ask)
            if message is not None:
                return message
    finally:
        writer.close()


def _encode(ask: Ask, udp_bytes: int) -> tuple[bytes, bytes]:
    query_id = secrets.token_bytes(2)
    number = int.from_bytes(query_id, "big")
    return query_id, encode_upstream_query(
        number, ask.question, flags=ask.flags, udp_bytes=udp_bytes, dnssec_ok=ask.dnssec_ok
    )


def _accept(wire: bytes, query_id: bytes, ask: Ask) -> Message | None:
    """The reply to the question, or None for anything else."""
    if wire[:2] != query_id:
        return None
    try:
        message = decode_message(wire)
    except WireError:
        return None
    same_length = message.question_end == 12 + len(ask.question)  # else its pointers would not fit our question
    if not message.flags & QR or not same_length or message.question != lower_question(ask.question):
        return None
    return message
