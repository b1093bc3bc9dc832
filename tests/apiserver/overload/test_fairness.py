"""Whose turn it is. Rule: spec "api-machinery" §11 (in flight), §1.4 (429)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.http import ANONYMOUS, Identity, Request
from seaway.apiserver.overload.fairness import FairQueue, Phase, Ticket
from seaway.apiserver.overload.gate import BATCH, MIXED_SECONDS, Gate, flow_of
from tests.apiserver.conversation import ManualEffects


def make_queue(seats: int = 1, *, max_waiting: int = 10) -> FairQueue:
    return FairQueue(seats, max_waiting=max_waiting, wait_seconds=15)


def arrive(queue: FairQueue, *flows: str, now: float = 0.0) -> list[Ticket]:
    return [queue.arrive(flow, now)[0] for flow in flows]


def test_whoever_finds_a_free_seat_starts_at_once() -> None:
    first, second = arrive(make_queue(2), "a", "a")
    assert first.phase is second.phase is Phase.STARTED


def test_lines_are_served_in_turn_whatever_their_length() -> None:
    queue = make_queue(1)
    (running,) = arrive(queue, "greedy")
    waiting = arrive(queue, "greedy", "greedy", "greedy", "polite", "third")
    served = []
    for _ in waiting:
        queue.leave(running)
        (running,) = queue.start(9)
        served.append(running.flow)
    assert served == ["greedy", "polite", "third", "greedy", "greedy"]


def test_nobody_overtakes_those_who_wait_for_a_seat() -> None:
    queue = make_queue(1)
    (running,) = arrive(queue, "a")
    (waiting,) = arrive(queue, "b")
    queue.leave(running)
    (late,) = arrive(queue, "c")
    assert late.phase is Phase.WAITING
    assert queue.start(9) == [waiting]


def test_a_crowd_lines_up_though_there_are_seats() -> None:
    queue = make_queue(100)
    ticket, _ = queue.arrive("a", 0.0, crowded=True)
    assert ticket.phase is Phase.WAITING and queue.can_start
    assert queue.start(16) == [ticket]


def test_a_full_queue_refuses_the_newest_of_the_longest_line() -> None:
    queue = make_queue(0, max_waiting=3)
    greedy = arrive(queue, "greedy", "greedy", "greedy")
    polite, refused = queue.arrive("polite", 0.0)
    assert refused == [greedy[-1]] and greedy[-1].phase is Phase.FULL
    assert polite.phase is Phase.WAITING and queue.waiting == 3
    more, refused = queue.arrive("greedy", 0.0)
    assert refused == [more] and more.phase is Phase.FULL


def test_a_queue_without_any_room_refuses_everybody() -> None:
    ticket, refused = make_queue(0, max_waiting=0).arrive("a", 0.0)
    assert refused == [ticket] and ticket.phase is Phase.FULL


def test_whoever_waited_too_long_is_refused_and_the_rest_stay() -> None:
    queue = make_queue(0)
    (early,) = arrive(queue, "a", now=1.0)
    (late,) = arrive(queue, "b", now=2.0)
    assert queue.next_deadline == 16.0
    assert queue.expire(15.9) == []
    assert queue.expire(16.0) == [early] and early.phase is Phase.LATE
    assert late.phase is Phase.WAITING and queue.next_deadline == 17.0


def test_a_client_that_goes_while_it_waits_leaves_no_trace() -> None:
    queue = make_queue(0)
    (ticket,) = arrive(queue, "a")
    queue.leave(ticket)
    queue.leave(ticket)
    assert queue.waiting == 0 and queue.next_deadline is None and queue.start(9) == []


FLOWS = st.sampled_from("abcde")
STEPS = st.one_of(
    st.tuples(st.just("arrive"), FLOWS, st.booleans()),
    st.tuples(st.just("leave"), st.integers(0, 30)),
    st.tuples(st.just("start"), st.integers(1, 5)),
    st.tuples(st.just("pass"), st.integers(0, 8)),
)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4), st.integers(0, 6), st.lists(STEPS, max_size=120))
def test_law_seats_and_waiting_are_bounded_and_every_ticket_is_decided_in_time(
    seats: int, max_waiting: int, steps: list[tuple[object, ...]]
) -> None:
    queue = FairQueue(seats, max_waiting=max_waiting, wait_seconds=15)
    tickets: list[Ticket] = []
    now = 0.0
    for step in steps:
        match step:
            case ("arrive", str(flow), bool(crowded)):
                tickets.append(queue.arrive(flow, now, crowded=crowded)[0])
            case ("leave", int(index)) if tickets:
                queue.leave(tickets[index % len(tickets)])
            case ("start", int(limit)):
                assert len(queue.start(limit)) <= limit
            case ("pass", int(seconds)):
                now += seconds
                queue.expire(now)
        waiting = [ticket for ticket in tickets if ticket.phase is Phase.WAITING]
        assert queue.waiting == len(waiting) <= max_waiting
        assert queue.running == sum(ticket.phase is Phase.STARTED for ticket in tickets) <= seats
        assert all(now - ticket.since < 15 for ticket in waiting)
        assert (queue.next_deadline is None) == (not waiting)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(FLOWS, st.integers(1, 12), min_size=1), st.integers(1, 5))
def test_law_a_waiting_line_is_served_after_at_most_one_start_of_every_other(
    waiting: dict[str, int], limit: int
) -> None:
    queue = FairQueue(1000, max_waiting=1000)
    for flow, count in waiting.items():
        for _ in range(count):
            queue.arrive(flow, 0.0, crowded=True)
    served: list[str] = []
    while started := queue.start(limit):
        served += [ticket.flow for ticket in started]
    assert len(served) == sum(waiting.values())
    left = dict(waiting)
    last_seen: dict[str, int] = dict.fromkeys(waiting, -1)
    for at, flow in enumerate(served):
        between = served[last_seen[flow] + 1 : at]
        assert len(between) == len(set(between)), f"{flow} waited while another was served twice"
        last_seen[flow] = at
        left[flow] -= 1
    assert not any(left.values())


# The gate: who waits is woken.


def test_the_gate_starts_a_batch_in_each_turn_and_alternates_between_clients() -> None:
    async def run() -> None:
        effects = ManualEffects()
        gate = Gate(effects, FairQueue(400, max_waiting=800))
        gate.enter("polite", 0.0)
        served: list[str] = []

        async def ask(flow: str) -> None:
            ticket = gate.enter(flow, effects.now, backlog=BATCH)
            if ticket.phase is Phase.WAITING:
                await gate.wait(ticket)
            served.append(flow)
            gate.leave(ticket)

        tasks = [asyncio.ensure_future(ask("greedy")) for _ in range(100)]
        tasks.append(asyncio.ensure_future(ask("polite")))
        await asyncio.sleep(0)
        assert served == []
        await effects.advance(0)
        await asyncio.gather(*tasks)
        assert served.index("polite") < BATCH and len(served) == 101
        assert not gate.queue.waiting and gate.queue.running == 1

    asyncio.run(run())


def test_a_client_that_is_alone_does_not_line_up() -> None:
    async def run() -> None:
        effects = ManualEffects()
        gate = Gate(effects, FairQueue(400, max_waiting=800))
        gate.enter("only", 0.0)
        assert gate.enter("only", MIXED_SECONDS, backlog=500).phase is Phase.STARTED
        assert gate.enter("second", MIXED_SECONDS, backlog=500).phase is Phase.WAITING

    asyncio.run(run())


def test_a_request_that_waited_its_time_is_refused_and_a_cancelled_one_gives_its_place_up() -> None:
    async def run() -> None:
        effects = ManualEffects()
        gate = Gate(effects, FairQueue(0, max_waiting=10))
        late, gone = gate.enter("a", 0.0), gate.enter("b", 0.0)
        waiting, leaving = asyncio.ensure_future(gate.wait(late)), asyncio.ensure_future(gate.wait(gone))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert gate.queue.waiting == 1
        await effects.advance(15)
        await waiting
        assert late.phase is Phase.LATE and gate.refused[Phase.LATE] == 1 and not gate.queue.waiting

    asyncio.run(run())


@pytest.mark.parametrize(
    ("user", "source", "flow"),
    [
        pytest.param("ann", "192.0.2.1", "ann", id="a user is one client from wherever"),
        pytest.param("", "192.0.2.1", "from 192.0.2.1", id="anonymous clients count by their address"),
        pytest.param("", "2001:db8:1:2:3:4:5:6", "from 2001:db8:1:2::/64", id="a host of IPv6 has a whole network"),
        pytest.param("", "::ffff:192.0.2.1", "from 192.0.2.1", id="an address of IPv4 stays one"),
        pytest.param("", "fe80::1%eth0", "from fe80::/64", id="a zone is no part of it"),
        pytest.param("", "", "from ", id="those of the unix socket are one"),
    ],
)
def test_the_flow_of_a_request(user: str, source: str, flow: str) -> None:
    identity = Identity(user) if user else ANONYMOUS
    assert flow_of(Request("GET", "/", source=source), identity) == flow
