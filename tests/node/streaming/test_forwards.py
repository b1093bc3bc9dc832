"""Which streams belong together, and which ports are meant. Rule: spec "node" §5.7."""

from __future__ import annotations

import pytest

from seaway.node.streaming.forwards.protocol import ForwardRefused, Pair, Pairing, parse_ports


def make_headers(kind: str, request: str | None = "0", port: str = "80") -> dict[str, str]:
    return {"streamtype": kind, "port": port} | ({"requestid": request} if request is not None else {})


def test_the_request_puts_streams_together_in_any_order() -> None:
    pairing = Pairing()
    assert pairing.take(1, make_headers("error", "0")) is None
    assert pairing.take(3, make_headers("data", "1", "81")) is None
    assert pairing.take(5, make_headers("error", "1", "81")) == Pair(81, 5, 3)
    assert pairing.take(7, make_headers("data", "0")) == Pair(80, 1, 7)


def test_an_old_client_names_no_request() -> None:
    pairing = Pairing()
    assert pairing.take(1, make_headers("error", None)) is None
    assert pairing.take(3, make_headers("data", None)) == Pair(80, 1, 3)


def test_a_stream_that_was_given_up_waits_for_nobody() -> None:
    pairing = Pairing()
    pairing.take(1, make_headers("error"))
    pairing.drop(1)
    assert pairing.take(3, make_headers("error")) is None


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        pytest.param({}, '"port" header is required', id="no port"),
        pytest.param(make_headers("data", port="x"), 'unable to parse "x" as a port', id="a port that is none"),
        pytest.param(make_headers("data", port="0"), 'port "0" must be > 0', id="port zero"),
        pytest.param(make_headers("data", port="65536"), "unable to parse", id="a port beyond all"),
        pytest.param({"port": "80"}, '"streamType" header is required', id="no type"),
        pytest.param(make_headers("other"), 'invalid stream type "other"', id="another type"),
    ],
)
def test_streams_that_are_refused(headers: dict[str, str], text: str) -> None:
    with pytest.raises(ForwardRefused, match=text):
        Pairing().take(1, headers)


def test_a_second_stream_of_a_kind_is_refused() -> None:
    pairing = Pairing()
    pairing.take(1, make_headers("data"))
    with pytest.raises(ForwardRefused, match="has its data stream"):
        pairing.take(3, make_headers("data"))


def test_ports_of_a_request_over_messages() -> None:
    assert parse_ports((("ports", "80,81"), ("port", "82"), ("x", "1"))) == (80, 81, 82)
    with pytest.raises(ForwardRefused, match='query parameter "port" is required'):
        parse_ports(())
    with pytest.raises(ForwardRefused, match="64 allowed"):
        parse_ports((("ports", ",".join(["80"] * 65)),))
