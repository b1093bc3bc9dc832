"""Which lines of a log are told, and how. Rule: spec "node" §5.3."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.logs.select import (
    LogOptions,
    LogRefused,
    Teller,
    choose_run,
    find_tail,
    format_line_time,
    parse_log_options,
    split_lines,
)
from seaway.node.state import ContainerRun, ContainerState

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
FILE = (
    b"2026-01-01T12:00:00.000000001Z stdout F one\n"
    b"2026-01-01T12:00:10.000000000Z stderr P two \n"
    b"2026-01-01T12:00:11.000000000Z stderr F and a half\n"
    b"2026-01-01T12:00:20.500000000Z stdout F three\n"
)


def tell(options: LogOptions) -> bytes:
    teller = Teller(options)
    told = b""
    for line in FILE.splitlines(keepends=True):
        told += teller.tell(line)
        if teller.is_over:
            break
    return told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(LogOptions(), b"one\ntwo and a half\nthree\n", id="parts of a line are joined"),
        pytest.param(LogOptions(since=b"2026-01-01T12:00:11"), b"and a half\nthree\n", id="earlier lines are left out"),
        pytest.param(LogOptions(stream=b"stderr"), b"two and a half\n", id="one stream alone"),
        pytest.param(LogOptions(limit_bytes=6), b"one\ntw", id="the limit cuts inside of a line"),
        pytest.param(
            LogOptions(timestamps=True, stream=b"stderr"),
            b"2026-01-01T12:00:10.000000000Z two and a half\n",
            id="the time stands at the start of a line only",
        ),
    ],
)
def test_lines_that_are_told(options: LogOptions, told: bytes) -> None:
    assert tell(options) == told


@pytest.mark.parametrize(
    ("query", "options"),
    [
        pytest.param((), LogOptions(), id="nothing asked is everything told"),
        pytest.param((("tailLines", "0"),), LogOptions(tail_lines=0), id="no lines may be asked for"),
        pytest.param((("tail", "all"),), LogOptions(), id="the old word for everything"),
        pytest.param(
            (("follow", "true"), ("previous", "1"), ("timestamps", "T")),
            LogOptions(follow=True, previous=True, timestamps=True),
            id="yes as Go says it",
        ),
        pytest.param(
            (("sinceSeconds", "10"), ("sinceTime", "2026-01-01T13:00:25+01:00")),
            LogOptions(since=b"2026-01-01T12:00:25.000000000Z"),
            id="of two limits the later one wins",
        ),
    ],
)
def test_options_of_a_request(query: tuple[tuple[str, str], ...], options: LogOptions) -> None:
    assert parse_log_options(query, wall_now=NOW) == options


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param(("tailLines", "many"), 400, id="a number that is none cannot be decoded"),
        pytest.param(("follow", "perhaps"), 400, id="a truth that is none cannot be decoded"),
        pytest.param(("sinceTime", "yesterday"), 400, id="a time that is none cannot be decoded"),
        pytest.param(("sinceSeconds", "99999999999999"), 400, id="a time before all times cannot be decoded"),
        pytest.param(("tailLines", "-1"), 422, id="fewer than no lines are refused"),
        pytest.param(("limitBytes", "0"), 422, id="no bytes are refused"),
        pytest.param(("sinceSeconds", "0"), 422, id="no seconds are refused"),
    ],
)
def test_options_that_are_refused(query: tuple[str, str], status: int) -> None:
    with pytest.raises(LogRefused) as caught:
        parse_log_options((query,), wall_now=NOW)
    assert caught.value.status == status


def make_run(attempt: int, *, ended: bool = False) -> ContainerRun:
    return ContainerRun(
        uid="u", name="main", attempt=attempt, container_id=f"c{attempt}", started_at=NOW,
        finished_at=NOW if ended else None,
    )  # fmt: skip


RUNS = [
    pytest.param(ContainerState(name="main", current=make_run(1)), False, 1, id="the run of now"),
    pytest.param(
        ContainerState(name="main", current=make_run(1), previous=make_run(0, ended=True)),
        True,
        0,
        id="previous is the run before it",
    ),
    pytest.param(
        ContainerState(name="main", current=make_run(1, ended=True), waiting=("CrashLoopBackOff", "")),
        False,
        1,
        id="between two runs it is the last one",
    ),
    pytest.param(
        ContainerState(
            name="main", current=make_run(1, ended=True), previous=make_run(0), waiting=("CrashLoopBackOff", "")
        ),
        True,
        1,
        id="which is previous then as well",
    ),
]


@pytest.mark.parametrize(("own", "previous", "attempt"), RUNS)
def test_the_run_whose_log_is_meant(own: ContainerState, previous: bool, attempt: int) -> None:
    assert choose_run(own, previous=previous, pod="web", container="main").attempt == attempt


@pytest.mark.parametrize(
    ("own", "previous", "text"),
    [
        pytest.param(
            ContainerState(name="main", current=make_run(0)),
            True,
            'previous terminated container "main" in pod "web" not found',
            id="the first run has none before it",
        ),
        pytest.param(
            ContainerState(name="main", waiting=("ErrImageNeverPull", "no image")),
            False,
            'container "main" in pod "web" is waiting to start: image can\'t be pulled',
            id="an image that is missing is named",
        ),
        pytest.param(
            ContainerState(name="main"),
            False,
            'container "main" in pod "web" is waiting to start: ContainerCreating',
            id="what has not begun is being created",
        ),
    ],
)
def test_no_run_has_a_reason(own: ContainerState, previous: bool, text: str) -> None:
    with pytest.raises(LogRefused) as caught:
        choose_run(own, previous=previous, pod="web", container="main")
    assert (caught.value.status, caught.value.text) == (400, text)


@given(
    st.lists(st.binary(max_size=4).map(lambda b: b.replace(b"\n", b".")), max_size=8), st.integers(0, 10), st.booleans()
)
def test_the_tail_is_the_last_lines(lines: list[bytes], count: int, ends: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    all_lines = split_lines(data)
    assert b"".join(all_lines) == data
    start, found = find_tail(data, count)
    wanted = all_lines[len(all_lines) - min(count, len(all_lines)) :]
    assert (data[start:], found) == (b"".join(wanted), len(wanted))


def test_the_limit_in_time_is_written_as_lines_are() -> None:
    assert format_line_time(datetime(2026, 1, 2, 3, 4, 5, 6, UTC)) == b"2026-01-02T03:04:05.000006000Z"
