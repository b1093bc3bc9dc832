"""How elements and rules read, and how they are packed."""

from __future__ import annotations

import pytest

from seaway.net.family import Family
from seaway.net.netlink.messages import pack_nested, pack_string, parse_attributes, parse_messages
from seaway.proxy.forwarding import Target
from seaway.proxy.nftables.elements import decode_elements, encode_element, encode_interval
from seaway.proxy.nftables.objects import DROP, Comment, SetSpec, Type, Value, goto
from seaway.proxy.nftables.render import pack_key, pack_target
from seaway.proxy.nftables.text import format_element

KEY = (Type.ADDRESS, Type.PROTOCOL, Type.SERVICE)
V4, V6 = pack_key("10.96.0.1", "TCP", 80), pack_key("fd10::1", "UDP", 53)
ELEMENTS: list[tuple[bytes, Value, SetSpec, Family, str]] = [
    (V4, goto("pick-2"), SetSpec(KEY, is_verdict_map=True), Family.IPV4, "10.96.0.1 . tcp . 80 : goto pick-2"),
    (V4, DROP, SetSpec(KEY, is_verdict_map=True), Family.IPV4, "10.96.0.1 . tcp . 80 : drop"),
    (V6, pack_target(Target("fd10::2", 5353)), SetSpec(KEY, (Type.ADDRESS, Type.SERVICE)), Family.IPV6,
     "fd10::1 . udp . 53 : fd10::2 . 5353"),
    (b"\1\0\0\0", Comment("digest 1"), SetSpec((Type.MARK,)), Family.IPV4, '0x00000001 comment "digest 1"'),
    (b"\xc0\0\2\1", None, SetSpec((Type.ADDRESS,)), Family.IPV4, "192.0.2.1"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "spec", "family", "text"), ELEMENTS, ids=[e[-1] for e in ELEMENTS])
def test_an_element_reads_as_nft_lists_it_and_survives_packing(
    key: bytes, value: Value, spec: SetSpec, family: Family, text: str
) -> None:
    assert format_element(key, value, spec, family) == text
    message = bytes(4) + pack_nested(3, encode_element(key, value))
    assert list(decode_elements(message)) == [(key, value)]


def test_an_interval_reads_as_a_network() -> None:
    key = V4 + b"\x0a\0\0\0" + V4 + b"\x0a\xff\xff\xff"
    spec = SetSpec((*KEY, Type.ADDRESS), is_interval=True)
    assert format_element(key, None, spec, Family.IPV4) == "10.96.0.1 . tcp . 80 . 10.0.0.0/8"
    assert list(decode_elements(bytes(4) + pack_nested(3, encode_interval(key, None)))) == [(key, None)]


@pytest.mark.parametrize("cut", [3, 5, 13])
def test_a_torn_message_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="netlink"):
        parse_attributes(pack_string(1, "a longer text")[:-cut])


def test_a_torn_header_is_refused() -> None:
    with pytest.raises(ValueError, match="netlink message of 99 bytes, 16 are there"):
        list(parse_messages(b"\x63\0\0\0" + bytes(12)))
