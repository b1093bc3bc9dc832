"""What replies say to the options of queries. Rule: spec "discovery" A2.5; RFC 5001, 7828, 7830, 8467."""

from __future__ import annotations

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.edns import encode_options, encode_padding, read_option_codes
from seaway.dns.message import WireError
from seaway.dns.respond import Deferred, Responder
from tests.dns.fixture import CONFIG, SERIAL, endpoints, headless, make_index

NSID = dns.edns.GenericOption(dns.edns.OptionType(3), b"")
KEEPALIVE = dns.edns.GenericOption(dns.edns.OptionType(11), b"")
PADDING = dns.edns.GenericOption(dns.edns.OptionType(12), bytes(20))


def ask(*options: dns.edns.Option, name: str = "web", payload: int = 1232, over_tcp: bool = False,
        over_tls: bool = False, version: int = 0) -> tuple[int, dict[int, bytes], dns.message.Message]:  # fmt: skip
    """The length of the reply, its options, and the reply."""
    index = make_index()
    index.apply_service(None, headless("many"), wall_seconds=SERIAL)
    many = [(f"10.9.{i // 250}.{i % 250}", None, True) for i in range(5000)]
    index.apply_slice(None, endpoints("many", *many), wall_seconds=SERIAL)
    responder = Responder(index, CONFIG, nsid=b"dns-0")
    query = dns.message.make_query(f"{name}.demo.svc.cluster.local", "A", use_edns=version, payload=payload,
                                   options=list(options))  # fmt: skip
    out = responder.respond(query.to_wire(), over_tcp=over_tcp, over_tls=over_tls)
    if isinstance(out, Deferred):
        out = responder.fail(out, dns.rcode.SERVFAIL)  # type: ignore[arg-type]
    assert isinstance(out, bytes)
    reply = dns.message.from_wire(out)
    assert not responder.kept_udp, "letters of an option are no letters of a name"
    return len(out), {int(each.otype): each.to_wire() or b"" for each in reply.options}, reply


def test_the_server_tells_its_name_to_those_who_ask() -> None:
    assert ask(NSID)[1] == {3: b"dns-0"}
    assert ask(NSID, name="nosuch")[1] == {3: b"dns-0"}
    assert ask(PADDING)[1] == {}


def test_a_server_without_a_name_tells_none() -> None:
    assert encode_options({3}, nsid=b"", idle_seconds=None) == b""


def test_keepalive_is_told_in_tenths_of_seconds_and_on_streams_alone() -> None:
    assert ask(KEEPALIVE, over_tcp=True)[1] == {11: (100).to_bytes(2, "big")}
    assert ask(KEEPALIVE)[1] == {}


@pytest.mark.parametrize("name", ["web", "nosuch", "ext", "db"])
def test_replies_on_encrypted_streams_are_padded_to_whole_blocks(name: str) -> None:
    size, options, _ = ask(PADDING, NSID, name=name, over_tcp=True, over_tls=True)
    assert (size % 468, set(options), options[12].strip(b"\0")) == (0, {3, 12}, b"")


@pytest.mark.parametrize("over_tcp", [False, True])
def test_padding_is_for_encrypted_streams_alone(over_tcp: bool) -> None:
    assert ask(PADDING, over_tcp=over_tcp)[1] == {}


def test_options_have_their_room_in_a_reply_that_is_truncated() -> None:
    size, options, reply = ask(NSID, name="many", payload=512)
    assert (size <= 512, options, len(reply.answer[0])) == (True, {3: b"dns-0"}, (512 - 45 - 11 - 9) // 16)
    size, options, reply = ask(NSID, PADDING, name="many", over_tcp=True, over_tls=True)
    assert size <= 65_535
    assert len(reply.answer[0]) == (65_535 - 45 - 11 - 9) // 16


def test_another_version_of_edns_has_no_options() -> None:
    assert ask(NSID, version=1)[1] == {}


@given(st.integers(0, 70_000), st.integers(512, 65_535))
def test_padding_fills_a_block_or_what_is_left(used: int, limit: int) -> None:
    padding = encode_padding(used, limit)
    total = used + len(padding)
    assert not padding or total <= limit
    assert total % 468 == 0 or limit - total < 468 or not padding
    assert bool(padding) == (used + 4 <= limit)


@given(st.lists(st.tuples(st.integers(0, 65_535), st.binary(max_size=20)), max_size=5), st.integers(0, 3))
def test_the_codes_of_all_options_are_read_and_a_cut_is_an_error(found: list[tuple[int, bytes]], cut: int) -> None:
    wire = b"".join(code.to_bytes(2, "big") + len(text).to_bytes(2, "big") + text for code, text in found)
    if cut and found:
        with pytest.raises(WireError):
            read_option_codes(wire, 0, len(wire) - min(cut, len(found[-1][1]) + 3))
    else:
        assert read_option_codes(wire, 0, len(wire)) == {code for code, _ in found}
