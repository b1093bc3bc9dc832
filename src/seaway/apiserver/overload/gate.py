"""Where requests wait for their turn: `fairness.py` decides, this wakes them.

Rule: spec "api-machinery" §11: watches, probes and `system:masters` do not come here at all.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from seaway.api.machinery.http import ANONYMOUS, Identity, Request
from seaway.apiserver.effects import Cancellable, Effects, Wakeup, resolve
from seaway.apiserver.overload.fairness import FairQueue, Phase, Ticket

BATCH = 16
"""Requests that are started together once requests line up: some 3 ms of work, so that a newcomer waits no longer. So
many may also come at once before they line up."""
MIXED_SECONDS = 1.0
"""After two clients were seen, how long requests that come at once line up: one client alone need not queue."""


def flow_of(request: Request, identity: Identity) -> str:
    """The client for which a request counts: its user; for an anonymous one the address that it comes from."""
    if identity.user == ANONYMOUS.user:
        return f"from {network_of(request.source)}"
    return identity.user


@functools.lru_cache(maxsize=4096)
def network_of(source: str) -> str:
    """The address; of IPv6 the /64, since one host has all of it. Other words stay as they are."""
    try:
        address = ipaddress.ip_address(source.split("%")[0])
    except ValueError:
        return source
    if address.version == 4:
        return source
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


class Gate:
    """The fair queue of one kind of requests, on the loop."""

    def __init__(self, effects: Effects, queue: FairQueue) -> None:
        self.queue = queue
        self.dispatched = 0
        self.refused: dict[Phase, int] = {Phase.FULL: 0, Phase.LATE: 0}
        self._effects = effects
        self._wakeups: dict[Ticket, Wakeup] = {}
        self._is_pumping = False
        self._timer: Cancellable | None = None
        self._last_flow = ""
        self._mixed_until = 0.0

    def enter(self, flow: str, now: float, *, backlog: int = 0) -> Ticket:
        """A ticket that is started, refused, or must `wait`. Whoever got one started must `leave`.

        backlog: requests that have come and were not looked at yet.
        """
        queue = self.queue
        if flow != self._last_flow:
            self._last_flow, self._mixed_until = flow, now + MIXED_SECONDS
        crowded = backlog >= BATCH and now < self._mixed_until
        ticket, refused = queue.arrive(flow, now, crowded=crowded)
        if ticket.phase is Phase.STARTED:
            self.dispatched += 1
            return ticket
        self._refuse(refused)
        return ticket

    async def wait(self, ticket: Ticket) -> None:
        """Until the ticket is started or refused."""
        wakeup = self._wakeups[ticket] = self._effects.new_wakeup()
        self._pump_soon()
        self._watch_clock()
        try:
            await wakeup
        except BaseException:
            self.leave(ticket)
            raise
        finally:
            self._wakeups.pop(ticket, None)

    def leave(self, ticket: Ticket) -> None:
        """The request is answered."""
        self.queue.leave(ticket)
        if self.queue.waiting:
            self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._is_pumping and self.queue.can_start:
            self._is_pumping = True
            self._effects.call_later(0.0, self._pump)

    def _pump(self) -> None:
        self._is_pumping = False
        for ticket in self.queue.start(BATCH):
            self.dispatched += 1
            self._wake(ticket)
        self._pump_soon()

    def _watch_clock(self) -> None:
        if self._timer is None and (deadline := self.queue.next_deadline) is not None:
            self._timer = self._effects.call_later(max(0.0, deadline - self._effects.monotonic()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._refuse(self.queue.expire(self._effects.monotonic()))
        self._watch_clock()

    def _refuse(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self.refused[ticket.phase] += 1
            self._wake(ticket)

    def _wake(self, ticket: Ticket) -> None:
        wakeup = self._wakeups.get(ticket)
        if wakeup is not None:
            resolve(wakeup)
