"""Whose turn it is when there is more work than the server can do at once.

A flow is one client. Each flow waits in a line of its own, and the lines are served in turn: one start each. So what a
client gets does not depend on how many connections it opens. Time is an argument; the caller keeps the clock.

1. At most `seats` tickets are started and have not left.
2. At most `max_waiting` tickets wait. When one more comes, the newest of the longest line is refused: that is the
   newcomer, unless its own line is shorter.
3. A line that waits is served after at most one start of every other line.
4. Nobody waits longer than `wait_seconds`: `expire` refuses who does.

Not taken: upstream's shuffle sharding, which bounds the number of lines by letting clients share some; here the number
of waiting tickets bounds it already.
Rule: spec "api-machinery" §11 (in flight), §1.4 (429).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from enum import Enum

WAIT_SECONDS = 15.0
"""Upstream's: a quarter of the 60 s that a request has."""


class Phase(Enum):
    """Of a ticket. Refused for want of room is `FULL`, for having waited too long `LATE`."""

    WAITING = "waiting"
    STARTED = "started"
    FULL = "queue-full"
    LATE = "time-out"
    GONE = "gone"


class Ticket:
    """One request's place. `since` is when it came."""

    __slots__ = ("flow", "phase", "since")

    def __init__(self, flow: str, since: float) -> None:
        self.flow = flow
        self.since = since
        self.phase = Phase.WAITING


_NOBODY: tuple[Ticket, ...] = ()


class FairQueue:
    """The seats and the lines of one kind of requests."""

    def __init__(self, seats: int, *, max_waiting: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self.seats = seats
        self.max_waiting = max_waiting
        self.wait_seconds = wait_seconds
        self.running = 0
        self.waiting = 0
        self._lines: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._arrivals: deque[Ticket] = deque()

    def arrive(self, flow: str, now: float, *, crowded: bool = False) -> tuple[Ticket, Sequence[Ticket]]:
        """A ticket, started when there is a seat and nobody waits; and those that are refused for it.

        crowded: there is a seat, but more requests have come than can be answered at once, so all shall line up.
        """
        ticket = Ticket(flow, now)
        if not self.waiting and not crowded and self.running < self.seats:
            ticket.phase = Phase.STARTED
            self.running += 1
            return ticket, _NOBODY
        line = self._lines.get(flow)
        refused: list[Ticket] = []
        if self.waiting >= self.max_waiting:
            longest = max(self._lines.values(), key=len, default=())
            if not isinstance(longest, deque) or len(longest) <= (len(line) if line else 0) + 1:
                ticket.phase = Phase.FULL
                return ticket, [ticket]
            refused.append(longest[-1])
            self._remove(longest[-1], Phase.FULL)
        if line is None:
            line = self._lines[flow] = deque()
        line.append(ticket)
        self._arrivals.append(ticket)
        self.waiting += 1
        return ticket, refused

    def start(self, limit: int) -> list[Ticket]:
        """Start up to `limit` waiting tickets for which there are seats: the next of each line in turn."""
        started: list[Ticket] = []
        while self._lines and len(started) < limit and self.running < self.seats:
            flow, line = self._lines.popitem(last=False)
            ticket = line.popleft()
            if line:
                self._lines[flow] = line
            self.waiting -= 1
            ticket.phase = Phase.STARTED
            self.running += 1
            started.append(ticket)
        self._forget_served()
        return started

    def leave(self, ticket: Ticket) -> None:
        """The request is answered, or its client has gone while it waited. Safe to repeat."""
        if ticket.phase is Phase.STARTED:
            self.running -= 1
            ticket.phase = Phase.GONE
        elif ticket.phase is Phase.WAITING:
            self._remove(ticket, Phase.GONE)

    def expire(self, now: float) -> list[Ticket]:
        """Refuse those that have waited too long."""
        late: list[Ticket] = []
        while self._arrivals and self._arrivals[0].since + self.wait_seconds <= now:
            ticket = self._arrivals.popleft()
            if ticket.phase is Phase.WAITING:
                self._remove(ticket, Phase.LATE)
                late.append(ticket)
        return late

    @property
    def next_deadline(self) -> float | None:
        """When `expire` has something to do, None while nobody waits."""
        self._forget_served()
        return self._arrivals[0].since + self.wait_seconds if self._arrivals else None

    @property
    def can_start(self) -> bool:
        """Somebody waits and there is a seat."""
        return self.waiting > 0 and self.running < self.seats

    def _remove(self, ticket: Ticket, phase: Phase) -> None:
        ticket.phase = phase
        line = self._lines[ticket.flow]
        line.remove(ticket)
        if not line:
            del self._lines[ticket.flow]
        self.waiting -= 1
        self._forget_served()

    def _forget_served(self) -> None:
        arrivals = self._arrivals
        while arrivals and arrivals[0].phase is not Phase.WAITING:
            arrivals.popleft()
