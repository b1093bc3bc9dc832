"""Rules as netlink expressions. Rule: include/uapi/linux/netfilter/nf_tables.h, and what `nft --debug=netlink` prints.

Registers are laid out as nft lays them out (a field of four bytes takes a 32-bit register, counted from the first of
the 128-bit register 1), so that nft lists the rules as it would list its own.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from seaway.net.family import Family
from seaway.net.netlink.messages import NLM_F_APPEND, NLM_F_CREATE, pack_attribute, pack_nested, pack_string, pack_u32
from seaway.proxy.nftables.elements import (
    DATA_TYPE_VERDICT,
    PROTOCOL_FAMILY,
    SET_ANONYMOUS,
    SET_CONSTANT,
    SET_MAP,
    VERDICT_GOTO,
    VERDICT_JUMP,
    VERDICT_RETURN,
    encode_element,
    in_parts,
    pack_byte_order_note,
    pack_verdict,
    type_length,
)
from seaway.proxy.nftables.objects import (
    FIELD_TYPES,
    ArrivesBy,
    Draw,
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
    Statement,
    TranslateTo,
    TurnOnTrace,
    Verdict,
    Vmap,
)

NEWRULE, NEWSET, NEWSETELEM = 6, 9, 12
TYPE_INTEGER = 4  # nft's number for a plain number
_NETWORK, _TRANSPORT = 1, 2
_META_MARK, _META_IIFNAME, _META_OIFNAME, _META_TRACE, _META_L4PROTO = 3, 6, 7, 12, 16
_LINK_NAME_BYTES = 16  # IFNAMSIZ
_DYNSET_UPDATE = 1
_NUMBER_INCREMENT, _NUMBER_RANDOM = 0, 1
_CT_STATE, _CT_STATUS = 0, 2
_CT_STATE_NEW, _CT_STATE_REPLY, _CT_STATUS_DNAT = 8, 2 | 4, 0x20


def _register(slot: int) -> int:
    """The number of the 32-bit register `slot`, as nft writes it: aligned ones by their 128-bit names."""
    return 1 + slot // 4 if slot % 4 == 0 else 8 + slot


def _expression(name: str, *attributes: bytes) -> bytes:
    return pack_nested(1, pack_string(1, name), pack_nested(2, *attributes))


def _data(kind: int, value: bytes) -> bytes:
    return pack_nested(kind, pack_attribute(1, value))


def _host_u32(value: int) -> bytes:
    return struct.pack("=I", value)


class RuleEncoder:
    """The rules of one batch of one table: anonymous maps are numbered within it."""

    def __init__(self, family: Family, header: bytes, table: str) -> None:
        self._family = family
        self._header = header
        self._table = table
        self._anonymous = 0

    def encode(self, chain: str, rule: Rule) -> Iterator[tuple[int, int, bytes]]:
        """The messages that append the rule, its anonymous maps first."""
        expressions: list[bytes] = []
        for statement in rule:
            if isinstance(statement, Draw):
                self._anonymous += 1
                yield from self._anonymous_map(statement)
            expressions.extend(self._statement(statement))
        attributes = pack_string(1, self._table) + pack_string(2, chain) + pack_nested(4, *expressions)
        yield (NEWRULE, NLM_F_CREATE | NLM_F_APPEND, self._header + attributes)

    def _anonymous_map(self, draw: Draw) -> Iterator[tuple[int, int, bytes]]:
        name = pack_string(1, self._table) + pack_string(2, "__map%d")
        described = [
            pack_u32(3, SET_ANONYMOUS | SET_CONSTANT | SET_MAP),
            pack_u32(4, TYPE_INTEGER),
            pack_u32(5, 4),
            pack_u32(6, DATA_TYPE_VERDICT),
            pack_u32(7, 0),
            pack_nested(9, pack_u32(1, len(draw.chains))),
            pack_u32(10, self._anonymous),
            pack_byte_order_note(1),
        ]
        yield (NEWSET, NLM_F_CREATE, self._header + name + b"".join(described))
        elements = tuple((_host_u32(i), Verdict(chain)) for i, chain in enumerate(draw.chains))
        for part in in_parts(elements):
            packed = b"".join(encode_element(key, value) for key, value in part)
            body = name + pack_u32(4, self._anonymous) + pack_nested(3, packed)
            yield (NEWSETELEM, NLM_F_CREATE, self._header + body)

    def _statement(self, statement: Statement) -> list[bytes]:
        match statement:
            case InSet(fields, name):
                return [*self._load(fields), _expression("lookup", pack_string(1, name), pack_u32(2, 1))]
            case Remember(fields, name):
                update = (pack_string(1, name), pack_u32(4, 1), pack_u32(3, _DYNSET_UPDATE))
                return [*self._load(fields), _expression("dynset", *update)]
            case Vmap(fields, name):
                return [
                    *self._load(fields),
                    _expression("lookup", pack_string(1, name), pack_u32(2, 1), pack_u32(3, 0)),
                ]
            case TranslateTo(fields, name, keeps_port):
                return [*self._load(fields), *self._translate(name, keeps_port)]
            case GotoRandom(chains):
                return [_number(len(chains), _NUMBER_RANDOM), self._find_chain()]
            case GotoInTurn(chains):
                return [_number(len(chains), _NUMBER_INCREMENT), self._find_chain()]
            case GotoByHash(chains, seed):
                length = self._family.bits // 8
                source, number = pack_u32(1, 2), pack_u32(2, 1)  # nft loads what it hashes into the register 2
                settings = (pack_u32(3, length), pack_u32(4, len(chains)), pack_u32(5, seed), pack_u32(7, 0))
                return [
                    self._load_field(Field.SADDR, 2),
                    _expression("hash", source, number, *settings),
                    self._find_chain(),
                ]
            case InNetwork(field, network, negate):
                return self._in_network(field, network, negate)
            case IsLocal(field):
                flag = 1 if field is Field.SADDR else 2
                return [
                    _expression("fib", pack_u32(1, 1), pack_u32(2, 3), pack_u32(3, flag)),
                    _compare(_host_u32(2), equal=True),
                ]
            case IsNew():
                return _test_bit(_expression("ct", pack_u32(2, _CT_STATE), pack_u32(1, 1)), _CT_STATE_NEW)
            case IsReply():
                return _test_bit(_expression("ct", pack_u32(2, _CT_STATE), pack_u32(1, 1)), _CT_STATE_REPLY)
            case IsTranslated():
                return _test_bit(_expression("ct", pack_u32(2, _CT_STATUS), pack_u32(1, 1)), _CT_STATUS_DNAT)
            case ArrivesBy(link, negate, is_prefix):
                return _compare_link(_META_IIFNAME, link, equal=not negate, is_prefix=is_prefix)
            case LeavesBy(link, negate):
                return _compare_link(_META_OIFNAME, link, equal=not negate)
            case IsMarked(mask):
                return _test_bit(_expression("meta", pack_u32(2, _META_MARK), pack_u32(1, 1)), mask)
            case SetMark(mask):
                return _change_mark(~mask & 0xFFFFFFFF, mask)
            case FlipMark(mask):
                return _change_mark(0xFFFFFFFF, mask)
            case TurnOnTrace():
                one = _expression("immediate", pack_u32(1, 1), _data(2, b"\1"))
                return [one, _expression("meta", pack_u32(2, _META_TRACE), pack_u32(3, 1))]
            case Reject():
                # ICMP port unreachable has another code in each family.
                code = b"\x03" if self._family is Family.IPV4 else b"\x04"
                return [_expression("reject", pack_u32(1, 0), pack_attribute(2, code))]
            case _:
                return [_encode_action(statement)]

    def _find_chain(self) -> bytes:
        """Where the anonymous map of this rule says, by the number in the first register."""
        name = pack_string(1, "__map%d")
        return _expression("lookup", name, pack_u32(2, 1), pack_u32(3, 0), pack_u32(4, self._anonymous))

    def _load(self, fields: tuple[Field, ...]) -> Iterator[bytes]:
        """The fields into registers from the first on, each at the next free 32 bits."""
        slot = 0
        for field in fields:
            yield self._load_field(field, _register(slot))
            slot += (type_length(FIELD_TYPES[field], self._family) + 3) // 4

    def _load_field(self, field: Field, register: int) -> bytes:
        if field is Field.L4PROTO:
            return _expression("meta", pack_u32(2, _META_L4PROTO), pack_u32(1, register))
        if field is Field.DPORT:
            return _payload(register, _TRANSPORT, 2, 2)
        return _payload(register, _NETWORK, self._address_offset(field), self._family.bits // 8)

    def _address_offset(self, field: Field) -> int:
        source = 12 if self._family is Family.IPV4 else 8
        return source if field is Field.SADDR else source + self._family.bits // 8

    def _translate(self, name: str, keeps_port: bool) -> Iterator[bytes]:
        port_register = _register(self._family.bits // 32)
        yield _expression("lookup", pack_string(1, name), pack_u32(2, 1), pack_u32(3, 1))
        yield _expression(
            "nat",
            pack_u32(1, 1),
            pack_u32(2, PROTOCOL_FAMILY[self._family]),
            pack_u32(3, 1),
            *(() if keeps_port else (pack_u32(5, port_register),)),
        )

    def _in_network(self, field: Field, network: str, negate: bool) -> list[bytes]:
        """As nft does: whole bytes are loaded and compared, odd lengths are masked."""
        parsed = ipaddress.ip_network(network)
        offset, address = self._address_offset(field), parsed.network_address.packed
        whole, odd = divmod(parsed.prefixlen, 8)
        if not odd and whole:
            return [_payload(1, _NETWORK, offset, whole), _compare(address[:whole], equal=not negate)]
        mask = _bitwise(parsed.netmask.packed, bytes(len(address)))
        return [_payload(1, _NETWORK, offset, len(address)), mask, _compare(address, equal=not negate)]


def _number(modulus: int, kind: int) -> bytes:
    return _expression("numgen", pack_u32(1, 1), pack_u32(2, modulus), pack_u32(3, kind), pack_u32(4, 0))


def _payload(register: int, base: int, offset: int, length: int) -> bytes:
    return _expression("payload", pack_u32(1, register), pack_u32(2, base), pack_u32(3, offset), pack_u32(4, length))


def _compare(value: bytes, *, equal: bool) -> bytes:
    return _expression("cmp", pack_u32(1, 1), pack_u32(2, 0 if equal else 1), _data(3, value))


def _compare_link(key: int, link: str, *, equal: bool, is_prefix: bool = False) -> list[bytes]:
    """Of a prefix only its own bytes are compared."""
    name = link.encode() if is_prefix else link.encode().ljust(_LINK_NAME_BYTES, b"\0")
    return [_expression("meta", pack_u32(2, key), pack_u32(1, 1)), _compare(name, equal=equal)]


def _bitwise(mask: bytes, xor: bytes) -> bytes:
    return _expression("bitwise", pack_u32(1, 1), pack_u32(2, 1), pack_u32(3, len(mask)), _data(4, mask), _data(5, xor))


def _test_bit(load: bytes, bit: int) -> list[bytes]:
    return [load, _bitwise(_host_u32(bit), _host_u32(0)), _compare(_host_u32(0), equal=False)]


def _change_mark(mask: int, xor: int) -> list[bytes]:
    return [
        _expression("meta", pack_u32(2, _META_MARK), pack_u32(1, 1)),
        _bitwise(_host_u32(mask), _host_u32(xor)),
        _expression("meta", pack_u32(2, _META_MARK), pack_u32(3, 1)),
    ]


def _encode_action(statement: Statement) -> bytes:
    match statement:
        case Jump(chain):
            verdict = pack_verdict(VERDICT_JUMP, chain)
        case Goto(chain):
            verdict = pack_verdict(VERDICT_GOTO, chain)
        case Return():
            verdict = pack_verdict(VERDICT_RETURN)
        case Drop():
            verdict = pack_verdict(0)
        case MasqueradeSource():
            return _expression("masq", pack_u32(1, 0x10))  # fully-random
        case _:
            raise AssertionError(statement)
    return _expression("immediate", pack_u32(1, 0), pack_nested(2, verdict))
