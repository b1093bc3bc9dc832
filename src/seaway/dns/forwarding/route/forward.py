"""One route: a question is tried at its upstreams until one answers, and those that fail are watched.

Any rcode is an answer, SERVFAIL too; only silence and errors lead on to the next upstream, unless `failover` names the
rcode. The first error starts checks of that upstream (`. NS` by default), which go on until it answers anything.

Rule: spec "discovery" A3.3.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from seaway.dns.forwarding.config import RouteConfig
from seaway.dns.forwarding.counts import ForwardingCounts
from seaway.dns.forwarding.route.ask import Ask
from seaway.dns.forwarding.route.order import choose_upstreams, is_down, order_upstreams
from seaway.dns.forwarding.route.transport import Channel, MismatchError
from seaway.dns.message import RCODE_MASK, RD, Message, encode_question
from seaway.dns.records import RCode, RRType

log = logging.getLogger(__name__)

CHECK_TIMEOUT_SECONDS = 1.0
FIRST_UDP_BYTES = 1232


class ForwardError(Exception):
    """No upstream answered. The message names each and what was wrong with it; `rcode` is what the client gets."""

    def __init__(self, text: str, rcode: RCode = RCode.SERVFAIL) -> None:
        super().__init__(text)
        self.rcode = rcode


class Route:
    """The upstreams of one route."""

    def __init__(
        self, config: RouteConfig, *, udp_bytes: int = FIRST_UDP_BYTES, counts: ForwardingCounts | None = None
    ) -> None:
        self.config = config
        self._channels = [Channel(upstream, config, udp_bytes=udp_bytes) for upstream in config.upstreams]
        self._failures = [0] * len(self._channels)
        self._checks: dict[int, asyncio.Task[None]] = {}
        self._counts = counts or ForwardingCounts()
        self._turn = 0
        self._in_flight = 0

    @property
    def failures(self) -> tuple[int, ...]:
        """Checks that failed in a row, per upstream."""
        return tuple(self._failures)

    async def ask(self, ask: Ask) -> Message:
        """The reply. Raises ForwardError: REFUSED when too many are in flight, else after the last attempt."""
        limit = self.config.max_concurrent
        if limit and self._in_flight >= limit:
            self._counts.concurrent_rejects.inc()
            raise ForwardError(f"concurrent queries exceeded maximum {limit}", RCode.REFUSED)
        self._in_flight += 1
        try:
            return await self._try_upstreams(ask)
        finally:
            self._in_flight -= 1

    async def close(self) -> None:
        """End the checks and the connections."""
        checks = tuple(self._checks.values())
        for task in checks:
            task.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    async def _try_upstreams(self, ask: Ask) -> Message:
        config, loop = self.config, asyncio.get_running_loop()
        deadline = loop.time() + config.deadline_seconds
        attempts = config.max_attempts or 2 * len(self._channels)
        problems: list[str] = []
        rcode = RCode.SERVFAIL
        unwanted: dict[int, Message] = {}
        order = order_upstreams(len(self._channels), config.policy, turn=self._turn, draw=secrets.randbelow)
        self._turn += 1
        while attempts > 0 and loop.time() < deadline:
            chosen = [i for i in self._choose(order) if i not in unwanted]
            for i in chosen[:attempts]:
                attempts -= 1
                if loop.time() >= deadline:
                    break
                try:
                    message = await self._attempt(i, ask, min(deadline, loop.time() + config.attempt_seconds))
                except (OSError, TimeoutError, EOFError) as error:
                    rcode = RCode.FORMERR if isinstance(error, MismatchError) else rcode
                    problems.append(f"{self._channels[i].name}: {str(error) or 'no answer'}")
                    self._watch(i)
                    continue
                if message.flags & RCODE_MASK not in config.failover:
                    return message
                unwanted[i] = message
            if not chosen:
                break
        if unwanted:
            return unwanted[next(reversed(unwanted))]
        raise ForwardError("; ".join(dict.fromkeys(problems)) or "no healthy proxies", rcode)

    def _choose(self, order: tuple[int, ...]) -> tuple[int, ...]:
        config = self.config
        if not any(self._failures):
            return order
        if all(is_down(failures, max_fails=config.max_fails) for failures in self._failures):
            self._counts.broken.inc()
        return choose_upstreams(
            order, self._failures, max_fails=config.max_fails, fails_fast=config.fails_fast, draw=secrets.randbelow
        )

    async def _attempt(self, i: int, ask: Ask, deadline: float) -> Message:
        channel, loop = self._channels[i], asyncio.get_running_loop()
        started, opened, reused = loop.time(), channel.opened, channel.reused
        try:
            message = await channel.exchange(ask, deadline)
        finally:
            if channel.opened != opened or channel.reused != reused:
                self._counts.note_connections(channel.upstream, channel.opened - opened, channel.reused - reused)
        self._counts.note_exchange(channel.name, message.flags & RCODE_MASK, loop.time() - started)
        return message

    # -- checks --------------------------------------------------------------------------------------------------------

    def _watch(self, i: int) -> None:
        if self.config.max_fails and i not in self._checks:
            task = asyncio.get_running_loop().create_task(self._check_until_well(i))
            self._checks[i] = task
            task.add_done_callback(lambda _: self._checks.pop(i, None))

    async def _check_until_well(self, i: int) -> None:
        """Ask every interval until the upstream answers anything at all."""
        config, channel, loop = self.config, self._channels[i], asyncio.get_running_loop()
        ask = Ask(encode_question(config.check_name, RRType.NS), RD if config.check_recursive else 0)
        while True:
            try:
                await channel.exchange(ask, loop.time() + CHECK_TIMEOUT_SECONDS)
            except (OSError, TimeoutError, EOFError) as error:
                self._failures[i] += 1
                self._counts.check_failures.inc("forward", str(channel.upstream))
                if self._failures[i] == config.max_fails + 1:
                    log.warning("upstream=%s state=down error=%r", channel.upstream, str(error) or "no answer")
            else:
                if is_down(self._failures[i], max_fails=config.max_fails):
                    log.info("upstream=%s state=up", channel.upstream)
                self._failures[i] = 0
                return
            await asyncio.sleep(config.check_seconds)
