"""Which endpoints get no new connections for a while, because they refused the last ones: a state machine.

An endpoint is *in* until `failures` connections in a row were refused or not answered in time; then it is *out* for
`seconds`, and *on trial* afterwards: the next connection decides. If that fails the endpoint is out for twice as long
as before (at most MAX_GROWTH times `seconds`); if it succeeds the endpoint is in, and the growth is forgotten.

1. At most half of the endpoints are out at once, so that one that is alone never is, and a fault that all share (a
   network that is gone) does not leave the rest with all of the load.
2. One that may not go out because of that stays in and is judged again by its next failure.
3. Time only ever brings endpoints back.
Rule: issue of the userspace plane, part 3; the numbers are Envoy's outlier detection's (5 failures, 30 s), the growth
is as in any back-off.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from seaway.proxy.connectionpolicy import EjectionRule
from seaway.proxy.forwarding import Target

MAX_GROWTH = 10
_NOBODY: frozenset[Target] = frozenset()


class Outcome(enum.Enum):
    """How an attempt to connect ended."""

    CONNECTED = "connected"
    REFUSED = "refused"
    TIMED_OUT = "timed-out"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Ejected:
    """An endpoint has just gone out."""

    target: Target
    failures: int
    """How many connections in a row it failed."""
    outcome: Outcome
    seconds: float


@dataclass(slots=True)
class _Record:
    failures: int = 0
    times_out: int = 0


class Ejections:
    """The endpoints of one port of a Service. `now` is monotonic seconds and never goes back."""

    def __init__(self, rule: EjectionRule, endpoints: Iterable[Target] = ()) -> None:
        self._rule = rule
        self._endpoints: frozenset[Target] = frozenset(endpoints)
        self._records: dict[Target, _Record] = {}
        self._out: dict[Target, float] = {}

    @property
    def max_out(self) -> int:
        """How many may be out at once."""
        return len(self._endpoints) // 2

    def set_rule(self, rule: EjectionRule) -> None:
        """From now on; who is out stays out for the time that it was told."""
        self._rule = rule

    def set_endpoints(self, endpoints: Iterable[Target], now: float) -> None:
        """Who left is forgotten. If now more than half are out, those come back whose time is over first."""
        self._endpoints = frozenset(endpoints)
        for target in [t for t in self._records if t not in self._endpoints]:
            del self._records[target]
            self._out.pop(target, None)
        self._expire(now)
        for target in sorted(self._out, key=lambda t: (self._out[t], t))[: max(0, len(self._out) - self.max_out)]:
            del self._out[target]

    def out(self, now: float) -> frozenset[Target]:
        """Who gets no new connections."""
        if not self._out:
            return _NOBODY
        self._expire(now)
        return frozenset(self._out)

    def next_deadline(self) -> float | None:
        """When the next one comes back; None: nobody is out."""
        return min(self._out.values(), default=None)

    def report(self, target: Target, outcome: Outcome, now: float) -> Ejected | None:
        """An attempt ended so; what follows from it. One to an endpoint that has left, or is out, changes nothing.

        A success of a connection that began before the endpoint went out does not bring it back.
        """
        self._expire(now)
        if target not in self._endpoints or target in self._out:
            return None
        if outcome is Outcome.CONNECTED:
            self._records.pop(target, None)
            return None
        record = self._records.setdefault(target, _Record())
        record.failures += 1
        if record.failures < self._rule.failures and not record.times_out:
            return None
        if len(self._out) >= self.max_out:
            return None
        seconds = self._rule.seconds * min(2**record.times_out, MAX_GROWTH)
        record.times_out = min(record.times_out + 1, MAX_GROWTH)  # no more is needed: 2**10 is beyond the limit
        self._out[target] = now + seconds
        return Ejected(target, record.failures, outcome, seconds)

    def _expire(self, now: float) -> None:
        """Who comes back is on trial: its record stays."""
        for target in [t for t, until in self._out.items() if until <= now]:
            del self._out[target]
