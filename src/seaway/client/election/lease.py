"""Leader election by a Lease, as a state machine: what to ask of the server next, and whether this process leads.

Enters: what the server said to the last request (`Found`, `Missing`, `Written`, `Refused`), or that the time has come
(`Woken`). Leaves: one request (`Get`, `Create`, `Update`), or None when the deadline comes next.

1. Only this process's clock counts: a lease of another has ended when it was not seen to change for as long as it
   lasts, whatever time it carries. A skewed clock elsewhere harms nobody.
2. A leader that could not renew for `renew_seconds` leads no more, though its lease still stands for a while: it has
   stopped before another begins. Hence `renew_seconds < lease_seconds`.
3. A lease is taken and renewed by writing the version that was seen; of two who try at once, one is refused.
4. A lease that was given back (no holder) is taken at once.

Rule: client-go's leader election (lease 15 s, renewal within 10 s, every 2 s); spec "controllers" §0.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from seaway.api.lease.types import Lease
from seaway.net.errors import OperationalError

JITTER = 1.2
"""Those who wait look again after up to this many times `retry_seconds` more, so that they do not all look at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionConfig:
    """Who stands for which lease. Raises OperationalError for times that would allow two leaders."""

    identity: str
    name: str
    namespace: str = "kube-system"
    lease_seconds: int = 15
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.lease_seconds <= self.renew_seconds:
            found = f"lease of {self.lease_seconds:g} s and renewal within {self.renew_seconds:g} s found"
            raise OperationalError(f"leader election: {found}; the lease must be the longer of the two")
        if self.renew_seconds <= JITTER * self.retry_seconds or self.retry_seconds <= 0:
            found = f"renewal within {self.renew_seconds:g} s and tries every {self.retry_seconds:g} s found"
            raise OperationalError(
                f"leader election: {found}; between tries less than 1/{JITTER} of the first, above 0"
            )


@dataclass(frozen=True, slots=True)
class Woken:
    """The deadline has come, or the election begins. jitter: 0 to 1."""

    jitter: float


@dataclass(frozen=True, slots=True)
class Found:
    """The lease as the server has it, and the whole of it, to be written back."""

    lease: Lease
    whole: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such lease."""


@dataclass(frozen=True, slots=True)
class Written:
    """The server took what was written, and answers with it."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Refused:
    """No answer, a conflict, or no right to do it."""


Event: TypeAlias = Woken | Found | Missing | Written | Refused


@dataclass(frozen=True, slots=True)
class Get:
    """Ask for the lease."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create the lease with this spec."""

    spec: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """Write the lease, as it was seen but for the spec."""

    whole: dict[str, Any]


Action: TypeAlias = Get | Create | Update | None


@dataclass(frozen=True, slots=True)
class Election:
    """`renewed_at`: when the attempt began whose write gave or kept the leadership; None: this process does not lead.

    `seen_at`: when the record of another was last seen to change. Times are monotonic seconds.
    """

    config: ElectionConfig
    renewed_at: float | None = None
    seen: Lease | None = None
    seen_at: float = float("-inf")
    tried_at: float = float("-inf")
    wakes_at: float = float("-inf")

    @property
    def is_leader(self) -> bool:
        """This process holds the lease, as far as it knows; see `leads_until`."""
        return self.renewed_at is not None

    @property
    def leads_until(self) -> float | None:
        """When the leadership ends unless it is renewed before; None for one who does not lead."""
        return None if self.renewed_at is None else self.renewed_at + self.config.renew_seconds

    @property
    def holder(self) -> str:
        """Who leads as far as is known; "" when nobody does."""
        return self.seen.spec.holder_identity if self.seen is not None else ""


def next_deadline(state: Election) -> float:
    """When to wake, unless an answer is awaited."""
    return state.wakes_at


def step(state: Election, event: Event, now: float, *, wall_now: datetime) -> tuple[Election, Action]:
    """The next state and the request to make now. wall_now: what the lease will say, for people only."""
    config = state.config
    match event:
        case Woken(jitter):
            if state.leads_until is not None and now >= state.leads_until:
                state = replace(state, renewed_at=None)
            until = state.leads_until
            if until is not None:
                wakes_at = min(now + config.retry_seconds, until)
            else:
                wakes_at = now + config.retry_seconds * (1 + (JITTER - 1) * jitter)
            return replace(state, tried_at=now, wakes_at=wakes_at), Get()
        case Missing():
            return state, Create(_render_spec(state, None, wall_now))
        case Found(lease, whole):
            state = _observe(state, lease, now)
            if not _may_take(state, lease, now):
                return replace(state, renewed_at=None), None
            return state, Update({**whole, "spec": {**whole.get("spec", {}), **_render_spec(state, lease, wall_now)}})
        case Written(lease):
            return replace(_observe(state, lease, now), renewed_at=state.tried_at), None
        case Refused():
            return state, None


def render_release(config: ElectionConfig, whole: dict[str, Any], wall_now: datetime) -> dict[str, Any] | None:
    """The lease given back, so that another takes it at once; None when this process does not hold it."""
    spec = whole.get("spec", {})
    if spec.get("holderIdentity") != config.identity:
        return None
    moment = _micro_time(wall_now)
    given = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": moment, "acquireTime": moment}
    return {**whole, "spec": {**spec, **given}}


def _observe(state: Election, lease: Lease, now: float) -> Election:
    if state.seen is not None and state.seen.spec == lease.spec:
        return replace(state, seen=lease)
    return replace(state, seen=lease, seen_at=now)


def _may_take(state: Election, lease: Lease, now: float) -> bool:
    holder = lease.spec.holder_identity
    lasts_seconds = lease.spec.lease_duration_seconds or state.config.lease_seconds
    return holder in ("", state.config.identity) or now >= state.seen_at + lasts_seconds


def _render_spec(state: Election, lease: Lease | None, wall_now: datetime) -> dict[str, Any]:
    config, moment = state.config, _micro_time(wall_now)
    spec = {"holderIdentity": config.identity, "leaseDurationSeconds": config.lease_seconds, "renewTime": moment}
    if lease is None:
        return {**spec, "acquireTime": moment, "leaseTransitions": 0}
    if lease.spec.holder_identity == config.identity:
        return spec
    return {**spec, "acquireTime": moment, "leaseTransitions": lease.spec.lease_transitions + 1}


def _micro_time(wall_now: datetime) -> str:
    return wall_now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
