"""Every statement as netlink bytes, byte by byte. That kernels take them and nft lists them back, kernel tests prove.

`golden.txt` has a line for each rule and family: what it does, then its messages in hex. After a change that is meant:
python -m tests.proxy.nftables.test_golden, and read the difference.
"""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from seaway.net.family import Family
from seaway.net.netlink.messages import pack_message
from seaway.proxy.nftables import objects
from seaway.proxy.nftables.elements import encode_element, encode_entry, encode_interval, encode_set
from seaway.proxy.nftables.expressions import RuleEncoder
from seaway.proxy.nftables.netlink import generic_header
from seaway.proxy.nftables.objects import (
    ArrivesBy,
    Comment,
    Drop,
    Field,
    FlipMark,
    Goto,
    GotoByHash,
    GotoInTurn,
    GotoRandom,
    InNetwork,
    InSet,
    IsLocal,
    IsMarked,
    IsNew,
    IsReply,
    IsTranslated,
    Jump,
    LeavesBy,
    MasqueradeSource,
    Reject,
    Remember,
    Return,
    Rule,
    SetMark,
    SetSpec,
    TranslateTo,
    TurnOnTrace,
    Type,
    Vmap,
    goto,
)

GOLDEN = Path(__file__).with_name("golden.txt")
ASKED = (Field.DADDR, Field.L4PROTO, Field.DPORT)
CLIENT = (Field.SADDR, *ASKED)
SERVICE = (Type.ADDRESS, Type.PROTOCOL, Type.SERVICE)
WIDE = {Family.IPV4: "10.0.0.0/8", Family.IPV6: "fd10::/32"}
ODD = {Family.IPV4: "10.0.0.0/11", Family.IPV6: "fd10::/29"}


def rules(family: Family) -> dict[str, Rule]:
    """A rule for every statement, and for every way to write it."""
    return {
        "in a set": (InSet(ASKED, "services"),),
        "remember": (Remember(CLIENT, "sticky-60-slot-0"),),
        "verdict map": (Vmap(ASKED, "services"),),
        "verdict map without an address": (Vmap(ASKED[1:], "node-ports"),),
        "in a network of whole bytes": (InNetwork(Field.SADDR, WIDE[family]),),
        "in a network of odd bits": (InNetwork(Field.DADDR, ODD[family]),),
        "not in a network": (InNetwork(Field.SADDR, WIDE[family], negate=True),),
        "to this host": (IsLocal(Field.DADDR),),
        "from this host": (IsLocal(Field.SADDR),),
        "new": (IsNew(),),
        "a reply": (IsReply(),),
        "translated": (IsTranslated(),),
        "by a link": (ArrivesBy("eth0"),),
        "out by a link": (LeavesBy("lo"),),
        "not out by a link": (LeavesBy("lo", negate=True),),
        "marked": (IsMarked(0x4000),),
        "set a mark": (SetMark(0x4000),),
        "flip a mark": (FlipMark(0x4000),),
        "turn on the trace": (TurnOnTrace(),),
        "translate": (TranslateTo(ASKED, "slot-0"),),
        "translate a node port": (TranslateTo(ASKED[1:], "node-port-slot-0"),),
        "masquerade": (MasqueradeSource(),),
        "at random": (GotoRandom(("slot-0", "slot-1")),),
        "in turn": (GotoInTurn(("slot-0", "slot-1", "slot-2")),),
        "by hash": (GotoByHash(("slot-0", "slot-1"), 0x5EA3A1),),
        "jump": (Jump("translate"),),
        "goto": (Goto("slot-0"),),
        "return": (Return(),),
        "drop": (Drop(),),
        "reject": (Reject(),),
        "two statements": (IsNew(), InSet(ASKED, "restricted"), Jump("check-source")),
    }


def sets() -> dict[str, SetSpec]:
    return {
        "set": SetSpec((Type.ADDRESS,)),
        "set of concatenations": SetSpec(SERVICE),
        "verdict map": SetSpec(SERVICE, is_verdict_map=True),
        "map": SetSpec(SERVICE, (Type.ADDRESS, Type.SERVICE)),
        "intervals": SetSpec((*SERVICE, Type.ADDRESS), is_interval=True),
        "filled by rules": SetSpec((Type.ADDRESS, *SERVICE), timeout_seconds=10800),
        "marks": SetSpec((Type.MARK,)),
        "counted": SetSpec(SERVICE, is_counted=True),
    }


def elements() -> dict[str, bytes]:
    key = bytes((10, 96, 0, 10, 6, 0, 0, 0, 0, 80, 0, 0))
    return {
        "element": encode_element(key, None),
        "element with a verdict": encode_element(key, goto("pick-2")),
        "element that drops": encode_element(key, objects.DROP),
        "element with data": encode_element(key, bytes((10, 244, 0, 5, 0x1F, 0x90, 0, 0))),
        "element with a comment": encode_element(b"\1\0\0\0", Comment("digest 0")),
        "element with an odd key": encode_element(b"\6", None),
        "element that ends": encode_entry(key, 59.5),
        "interval": encode_interval(key + bytes(4) + key + b"\xff" * 4, None),
    }


def render() -> str:
    lines = []
    for family in Family:
        for name, rule in rules(family).items():
            encoder = RuleEncoder(family, generic_header(family), "t")
            packed = b"".join(pack_message(kind, flags, 0, body) for kind, flags, body in encoder.encode("c", rule))
            lines.append(f"{family.value} rule, {name}: {packed.hex()}")
        for name, spec in sets().items():
            lines.append(f"{family.value} {name}: {encode_set(spec, family).hex()}")
    lines += [f"{name}: {packed.hex()}" for name, packed in elements().items()]
    return "\n".join(lines) + "\n"


def test_every_statement_is_here() -> None:
    used = {type(statement) for rule in rules(Family.IPV4).values() for statement in rule}
    assert used == set(typing.get_args(objects.Statement))


@pytest.mark.parametrize(
    "line", range(len(render().splitlines())), ids=[t.split(":")[0] for t in render().splitlines()]
)
def test_the_bytes_are_the_golden_ones(line: int) -> None:
    assert render().splitlines()[line] == GOLDEN.read_text().splitlines()[line]


def test_no_golden_line_is_left_over() -> None:
    assert len(GOLDEN.read_text().splitlines()) == len(render().splitlines())


if __name__ == "__main__":
    GOLDEN.write_text(render())
