"""What is spoken over a stream to a program. Rule: spec "node" §5.5, §5.6."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.streaming.protocol import (
    MESSAGE_PROTOCOLS,
    STREAM_PROTOCOLS,
    Channel,
    Ending,
    Resize,
    Wanted,
    choose_protocol,
    decode_message,
    encode_ending,
    encode_message,
    parse_sizes,
    parse_wanted,
)

ON_TERMINAL = Wanted(stdout=True, tty=True)
TWO_SIZES = '{"Width":1,"Height":2}\n{"Width":3,"Height":4}{"Wid'


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        pytest.param((("output", "1"), ("error", "true")), Wanted(stdout=True, stderr=True), id="both outputs"),
        pytest.param(
            (("output", "1"), ("error", "1"), ("tty", "1")), Wanted(stdout=True, tty=True), id="a terminal has one"
        ),
        pytest.param((("input", "1"), ("output", "0")), Wanted(stdin=True), id="no is no"),
        pytest.param((("tty", "1"),), None, id="a terminal alone is no stream"),
        pytest.param((), None, id="nothing is refused"),
    ],
)
def test_streams_that_are_asked_for(query: tuple[tuple[str, str], ...], wanted: Wanted | None) -> None:
    assert parse_wanted(query) == wanted


def test_the_client_opens_the_error_stream_always_and_the_size_with_a_terminal() -> None:
    assert Wanted(stdout=True).channels == (Channel.ERROR, Channel.STDOUT)
    assert Channel.RESIZE in Wanted(stdin=True, stdout=True, tty=True).channels


@given(st.sampled_from(MESSAGE_PROTOCOLS), st.sampled_from(Channel), st.binary(max_size=64))
def test_a_message_comes_as_it_was_sent(protocol: str, channel: Channel, data: bytes) -> None:
    assert decode_message(protocol, encode_message(protocol, channel, data)) == (channel, data)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        pytest.param("v5.channel.k8s.io", "text", id="text where bytes are spoken"),
        pytest.param("v5.channel.k8s.io", b"", id="a message without a channel"),
        pytest.param("v4.base64.channel.k8s.io", "x", id="a channel that is no number"),
        pytest.param("v4.base64.channel.k8s.io", "1*", id="what is no base64"),
    ],
)
def test_what_is_no_message_is_left_out(protocol: str, message: bytes | str) -> None:
    assert decode_message(protocol, message) is None


@pytest.mark.parametrize(
    ("data", "sizes", "rest"),
    [
        pytest.param('{"Width":80,"Height":24}', [Resize(24, 80)], "", id="one size"),
        pytest.param(
            '{"Width":1,"Height":2}\n{"Width":3,"Height":4}{"Wid',
            [Resize(2, 1), Resize(4, 3)],
            '{"Wid',
            id="a part waits",
        ),
        pytest.param('{"Width":-1,"Height":2}[]{"Width":70000,"Height":2}', [], "", id="what is no size"),
    ],
)
def test_sizes_of_a_terminal(data: str, sizes: list[Resize], rest: str) -> None:
    assert parse_sizes(data) == (sizes, rest)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        pytest.param(Ending(), {"metadata": {}, "status": "Success"}, id="success"),
        pytest.param(
            Ending(3),
            {
                "metadata": {},
                "status": "Failure",
                "message": "command terminated with non-zero exit code: 3",
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
            },
            id="an exit code",
        ),
        pytest.param(
            Ending(error="no such program"),
            {
                "metadata": {},
                "status": "Failure",
                "message": "Internal error occurred: error executing command in container: no such program",
                "reason": "InternalError",
                "details": {"causes": [{"message": "error executing command in container: no such program"}]},
                "code": 500,
            },
            id="a program that did not begin",
        ),
    ],
)
def test_the_error_stream_ends_with_a_status(ending: Ending, status: dict[str, object]) -> None:
    assert json.loads(encode_ending("v4.channel.k8s.io", ending)) == status


def test_older_clients_get_a_text_and_only_of_a_failure() -> None:
    assert encode_ending("channel.k8s.io", Ending()) == b""
    assert encode_ending("v2.channel.k8s.io", Ending(2)) == b"command terminated with non-zero exit code: 2"


def test_the_clients_order_decides() -> None:
    assert (
        choose_protocol(("v5.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io"), STREAM_PROTOCOLS)
        == "v3.channel.k8s.io"
    )
    assert choose_protocol(("v9",), STREAM_PROTOCOLS) is None
