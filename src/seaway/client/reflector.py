"""List and watch as a state machine: what to ask the server next, and how long to wait after a failure.

Enters: what happened to the last request (`Started`, `Listed`, `Progressed`, `WatchEnded`, `Failed`, `Woken`). Leaves:
the one thing to do now (`List`, `Watch`), or None when the answer in flight, or the deadline, comes next.

1. A watch starts at the revision of the list, or of the last event or bookmark: nothing is seen twice, nothing is lost.
2. Only `EXPIRED` leads from watching back to listing. Every other end of a watch resumes where it was.
3. A first list takes what the server has at hand ("0"); a relist asks for the most recent state, so that it cannot go
   back in time.
4. Delays grow with each failure and start anew once a watch has delivered something or has lived for a while.

Rule: spec "api-machinery" §7.3, §7.4, §7.6. Left out: streaming lists (sendInitialEvents); a list
costs one request more.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TypeAlias

WATCH_SECONDS = 300.0
"""What a watch asks for at least; client-go draws from this to twice this."""
SHORT_WATCH_SECONDS = 1.0
"""A watch that ends sooner, without an event, counts as a failure (spec §7.4)."""
HEALTHY_WATCH_SECONDS = 10.0
"""A quiet watch that lived this long ends a series of failures."""
FIRST_DELAY_SECONDS = 0.8
MAX_DELAY_SECONDS = 30.0
QUICK_DELAYS_SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4)
"""Before the first full delay when nobody answers: a server on this host is back within a second of its restart."""


class Phase(enum.Enum):
    """What is in flight, or being waited for."""

    IDLE = "idle"
    LISTING = "listing"
    WATCHING = "watching"
    WAITING_TO_LIST = "waiting to list"
    WAITING_TO_WATCH = "waiting to watch"


class Failure(enum.Enum):
    """Why a request failed, as far as the next step depends on it."""

    EXPIRED = "expired"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Started:
    """The reflector begins."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page arrived. An empty `continue_token` means that it was the last."""

    resource_version: str
    continue_token: str
    jitter: float


@dataclass(frozen=True, slots=True)
class Progressed:
    """The watch delivered an event or a bookmark."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEnded:
    """The server closed the watch properly."""

    jitter: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The list or the watch failed. `retry_after_seconds` is the server's wish, 0 when it has none."""

    failure: Failure
    jitter: float
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Woken:
    """The deadline passed."""

    jitter: float


Event: TypeAlias = Started | Listed | Progressed | WatchEnded | Failed | Woken


@dataclass(frozen=True, slots=True)
class List:
    """Ask for a page. `resource_version` is "0" (what is at hand), or "" (the most recent state)."""

    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch from the revision, for at most the time."""

    resource_version: str
    timeout_seconds: int


Action: TypeAlias = List | Watch


@dataclass(frozen=True, slots=True)
class Reflector:
    """The state. `resource_version` is the last one seen, "" before the first list and while it is unusable."""

    phase: Phase = Phase.IDLE
    resource_version: str = ""
    is_relist: bool = False
    failures: int = 0
    watching_since: float = 0.0
    has_progressed: bool = False
    deadline: float | None = None


def next_deadline(state: Reflector) -> float | None:
    """When `Woken` is due, in the clock of `now`; None while a request is in flight."""
    return state.deadline


def step(state: Reflector, event: Event, now: float) -> tuple[Reflector, Action | None]:
    """The next state, and what to ask the server now (None: nothing, an answer or the deadline comes first).

    now: monotonic seconds. `jitter` in the events is drawn from [0, 1) by the caller.
    """
    match event:
        case Started():
            return _list(state)
        case Woken(jitter):
            return _list(state) if state.phase is Phase.WAITING_TO_LIST else _watch(state, now, jitter)
        case Listed(resource_version, continue_token, jitter):
            if continue_token:
                return state, List("", continue_token)
            return _watch(replace(state, resource_version=resource_version, is_relist=True), now, jitter)
        case Progressed(resource_version):
            return replace(state, resource_version=resource_version, has_progressed=True, failures=0), None
        case WatchEnded(jitter):
            if not state.has_progressed and now - state.watching_since < SHORT_WATCH_SECONDS:
                return _back_off(state, Failed(Failure.UNREACHABLE, jitter), now)
            return _watch(replace(state, failures=0), now, jitter)
        case Failed():
            return _fail(state, event, now)


def choose_delay(failures: int, event: Failed) -> float:
    """Seconds to wait after this many failures before it: doubling from 0.8 to 30, then spread up to twice that."""
    quick = QUICK_DELAYS_SECONDS if event.failure is Failure.UNREACHABLE else ()
    if failures < len(quick):
        delay = quick[failures]
    else:
        delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - len(quick), 16), MAX_DELAY_SECONDS)
    return max(delay * (1.0 + event.jitter), event.retry_after_seconds)


def _list(state: Reflector) -> tuple[Reflector, Action]:
    listing = replace(state, phase=Phase.LISTING, deadline=None)
    return listing, List("" if state.is_relist else "0")


def _watch(state: Reflector, now: float, jitter: float) -> tuple[Reflector, Action]:
    watching = replace(state, phase=Phase.WATCHING, watching_since=now, has_progressed=False, deadline=None)
    return watching, Watch(state.resource_version, int(WATCH_SECONDS * (1.0 + jitter)))


def _fail(state: Reflector, event: Failed, now: float) -> tuple[Reflector, Action | None]:
    if state.phase is Phase.WATCHING and now - state.watching_since >= HEALTHY_WATCH_SECONDS:
        state = replace(state, failures=0)
    if event.failure is not Failure.EXPIRED:
        return _back_off(state, event, now)
    relisting = replace(state, phase=Phase.LISTING, resource_version="", is_relist=True)
    if state.failures == 0:
        listing, action = _list(relisting)
        return replace(listing, failures=1), action
    return _back_off(relisting, event, now)


def _back_off(state: Reflector, event: Failed, now: float) -> tuple[Reflector, None]:
    phase = Phase.WAITING_TO_WATCH if state.phase is Phase.WATCHING else Phase.WAITING_TO_LIST
    delay = choose_delay(state.failures, event)
    return replace(state, phase=phase, failures=state.failures + 1, deadline=now + delay), None
