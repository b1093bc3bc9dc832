"""Rule: client-go's leader election; spec "controllers" §0.2."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.lease.types import Lease
from seaway.client.election.lease import (
    Action,
    Create,
    Election,
    ElectionConfig,
    Event,
    Found,
    Get,
    Missing,
    Refused,
    Update,
    Woken,
    Written,
    next_deadline,
    render_release,
    step,
)
from seaway.net.errors import OperationalError

WALL = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
Json = dict[str, Any]


def make_config(identity: str = "me") -> ElectionConfig:
    return ElectionConfig(identity=identity, name="seaway-controllers")


def make_lease(holder: str, *, renewed: str = "r1", transitions: int = 3, lasts: int = 15) -> Found:
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseTransitions": transitions,
            "leaseDurationSeconds": lasts, "acquireTime": "a"}  # fmt: skip
    whole = {
        "metadata": {"name": "seaway-controllers", "resourceVersion": "7", "labels": {"kept": "yes"}},
        "spec": spec,
    }
    return Found(msgspec.convert(whole, Lease), whole)


def take(state: Election, event: Event, now: float) -> tuple[Election, Action]:
    return step(state, event, now, wall_now=WALL)


def lead(now: float = 0.0) -> Election:
    """A leader that began at `now`."""
    state, _ = take(Election(make_config()), Woken(0), now)
    state, _ = take(state, Missing(), now)
    return take(state, Written(make_lease("me").lease), now)[0]


def test_a_lease_that_is_not_there_is_created() -> None:
    state, action = take(Election(make_config()), Woken(0), 0)
    assert action == Get() and not state.is_leader
    state, action = take(state, Missing(), 0)
    moment = "2026-01-02T03:04:05.000678Z"
    assert action == Create(
        {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": moment, "acquireTime": moment,
         "leaseTransitions": 0}
    )  # fmt: skip
    assert not state.is_leader
    assert take(state, Written(make_lease("me").lease), 0)[0].is_leader


def test_who_is_refused_does_not_lead() -> None:
    state, _ = take(Election(make_config()), Woken(0), 0)
    state, _ = take(state, Missing(), 0)
    state, action = take(state, Refused(), 0)
    assert (state.is_leader, action) == (False, None)


def test_a_lease_of_another_is_left_alone_until_it_was_not_renewed_for_as_long_as_it_lasts() -> None:
    state, found = Election(make_config()), make_lease("other", lasts=15)
    assert take(state, found, 0)[1] is None
    state, _ = take(state, found, 0)
    assert take(state, found, 14.9)[1] is None
    assert isinstance(take(state, found, 15.0)[1], Update)


def test_a_renewal_begins_the_time_anew() -> None:
    state, _ = take(Election(make_config()), make_lease("other"), 0)
    state, _ = take(state, make_lease("other", renewed="r2"), 10)
    assert take(state, make_lease("other", renewed="r2"), 24)[1] is None
    assert take(state, make_lease("other", renewed="r2"), 25)[1] is not None


def test_the_time_that_a_lease_carries_does_not_count() -> None:
    assert take(Election(make_config()), make_lease("other", renewed="1999-01-01T00:00:00.000000Z"), 1000)[1] is None


def test_a_lease_that_was_given_back_is_taken_at_once_and_counted() -> None:
    _, action = take(Election(make_config()), make_lease("", transitions=3), 0)
    assert isinstance(action, Update)
    assert action.whole["spec"]["leaseTransitions"] == 4
    assert action.whole["metadata"] == make_lease("").whole["metadata"], "the version that was seen, and all labels"


def test_ones_own_lease_is_renewed_without_a_transition() -> None:
    _, action = take(lead(), make_lease("me", transitions=3), 2)
    assert isinstance(action, Update)
    assert action.whole["spec"]["leaseTransitions"] == 3
    assert action.whole["spec"]["acquireTime"] == "a"


def test_the_leader_stops_when_it_could_not_renew_in_time() -> None:
    state = lead()
    now = 0.0
    while state.is_leader:
        state, action = take(state, Refused(), now)
        now = next_deadline(state)
        state, action = take(state, Woken(1.0), now)
        assert action == Get()
    assert now == 10.0


def test_the_leader_stops_when_another_holds_the_lease() -> None:
    assert not take(lead(), make_lease("other"), 2)[0].is_leader


def test_the_time_of_a_leadership_counts_from_before_its_write() -> None:
    state, _ = take(lead(), Woken(0), 2)
    state, _ = take(state, make_lease("me"), 5)
    state, _ = take(state, Written(make_lease("me").lease), 8)
    assert state.leads_until == 12


@pytest.mark.parametrize(("jitter", "waits"), [(0.0, 2.0), (1.0, 2.4)])
def test_those_who_wait_do_not_look_all_at_once(jitter: float, waits: float) -> None:
    state, _ = take(Election(make_config()), Woken(jitter), 100)
    assert next_deadline(state) == pytest.approx(100 + waits)


def test_what_is_given_back_has_no_holder() -> None:
    given_back = render_release(make_config(), make_lease("me").whole, WALL)
    assert given_back is not None
    assert (given_back["spec"]["holderIdentity"], given_back["spec"]["leaseDurationSeconds"]) == ("", 1)
    assert given_back["spec"]["leaseTransitions"] == 3
    assert render_release(make_config(), make_lease("other").whole, WALL) is None


@pytest.mark.parametrize(
    ("lease", "renew", "retry"), [(10, 10.0, 2.0), (15, 2.4, 2.0), (15, 10.0, 0.0)],
    ids=["a lease no longer than its renewal", "no time for a second try", "no pause between tries"],
)  # fmt: skip
def test_times_that_allow_two_leaders_are_refused(lease: int, renew: float, retry: float) -> None:
    with pytest.raises(OperationalError, match=r"leader election: .* found"):
        ElectionConfig(identity="me", name="x", lease_seconds=lease, renew_seconds=renew, retry_seconds=retry)


@dataclass
class Server:
    """Keeps one lease; a write of an old version is refused."""

    version: int = 0
    spec: Json | None = None

    def answer(self, action: Action) -> Event:
        if isinstance(action, Get):
            if self.spec is None:
                return Missing()
            whole = {"metadata": {"resourceVersion": str(self.version)}, "spec": dict(self.spec)}
            return Found(msgspec.convert(whole, Lease), whole)
        if isinstance(action, Create):
            if self.spec is not None:
                return Refused()
            spec = action.spec
        else:
            assert isinstance(action, Update)
            if action.whole["metadata"]["resourceVersion"] != str(self.version):
                return Refused()
            spec = action.whole["spec"]
        self.version += 1
        self.spec = dict(spec)
        return Written(msgspec.convert({"spec": spec}, Lease))


@dataclass
class Peer:
    """A candidate whose requests take their time, get lost on the way there or back, or meet a stopped process."""

    state: Election
    skew: float
    awaiting: tuple[float, Event] | None = None
    asleep_until: float = 0.0


TROUBLE = st.tuples(st.integers(0, 2), st.sampled_from(["swift", "slow", "lost", "unheard", "stopped"]))


@given(st.lists(TROUBLE, max_size=60), st.lists(st.floats(-1000, 1000), min_size=3, max_size=3))
def test_there_are_never_two_leaders_whatever_is_lost_late_or_skewed(
    troubles: list[tuple[int, str]], skews: list[float]
) -> None:
    """A process acts on its leadership only while its own clock has not passed `leads_until`."""
    server = Server()
    peers = [Peer(Election(make_config(f"p{i}")), skew) for i, skew in enumerate(skews)]
    waiting = {i: [kind for who, kind in troubles if who == i] for i in range(3)}
    for tick in range(600):
        now = tick / 10
        for index, peer in enumerate(peers):
            if now < peer.asleep_until:
                continue
            turn(server, peer, now, waiting[index])
        leaders = [p for p in peers if p.state.leads_until is not None and now + p.skew < p.state.leads_until]
        assert len(leaders) <= 1
    quiet = max((peer.asleep_until for peer in peers), default=0)
    for tick in range(int(quiet * 10), int(quiet * 10) + 400):
        for peer in peers:
            turn(server, peer, tick / 10, [])
    assert sum(peer.state.is_leader for peer in peers) == 1, "somebody leads once all is well"


def turn(server: Server, peer: Peer, now: float, kinds: list[str]) -> None:
    local = now + peer.skew
    wall = WALL + timedelta(seconds=local)
    action: Action = None
    if peer.awaiting is not None:
        due, event = peer.awaiting
        if local < due:
            return
        peer.awaiting = None
        peer.state, action = step(peer.state, event, local, wall_now=wall)
    elif local >= next_deadline(peer.state):
        peer.state, action = step(peer.state, Woken(0.5), local, wall_now=wall)
    if action is None:
        return
    kind = kinds.pop() if kinds else "swift"
    if kind == "lost":
        peer.awaiting = (local + 1.0, Refused())
        return
    answer = server.answer(action)
    if kind == "unheard":
        answer = Refused()
    if kind == "stopped":
        peer.asleep_until = now + 20
    peer.awaiting = (local + (4.0 if kind in ("slow", "unheard") else 0.1), answer)
