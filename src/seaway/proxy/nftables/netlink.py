"""Commands as netlink batches, and the kernel's answers as values. Rule: include/uapi/linux/netfilter/nf_tables.h."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seaway.net.family import Family
from seaway.net.netlink.messages import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    pack_message,
    pack_nested,
    pack_string,
    pack_u32,
    parse_attributes,
)
from seaway.proxy.nftables.diff import (
    AddChain,
    AddElements,
    AddSet,
    AddTable,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    Forget,
    Remind,
    ReplaceElements,
    SetRules,
    Transaction,
)
from seaway.proxy.nftables.digest import STATE
from seaway.proxy.nftables.elements import (
    ELEMENTS_PER_MESSAGE,
    PROTOCOL_FAMILY,
    decode_text,
    encode_element,
    encode_entry,
    encode_interval,
    encode_set,
    in_parts,
)
from seaway.proxy.nftables.expressions import RuleEncoder
from seaway.proxy.nftables.objects import Chain, Hook, SetSpec, Value

SUBSYSTEM = 10
NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE = 0, 2, 3, 5, 6, 8
NEWSET, DELSET, NEWSETELEM, DELSETELEM = 9, 11, 12, 14
GETTABLE, GETCHAIN, GETRULE, GETSET, GETSETELEM, GETGEN, TRACE = 1, 4, 7, 10, 13, 16, 17
_OWNED = 2
BATCH_BEGIN, BATCH_END = 0x10, 0x11

HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}

SEND_LIMIT = 180_000
"""Bytes of one batch, unless a single chain needs more: below the stock send buffer of 212,992."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One atomic send. `subjects[i]` is what the message with sequence number `first + i` is about."""

    packed: bytes
    first: int
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """Messages that must not be parted: (type, flags, payload) each."""

    subject: str
    messages: tuple[tuple[int, int, bytes], ...]

    @property
    def size(self) -> int:
        return sum(len(payload) + 16 for _, _, payload in self.messages)


def encode_transaction(
    transaction: Transaction, *, family: Family, table: str, first_sequence: int = 1, limit: int = SEND_LIMIT
) -> Iterator[Batch]:
    """The batches to send, in order; one, if everything fits.

    New chains of a table that serves go in a batch before the verdicts that lead there: a packet runs by the rules of
    the generation in which it came, but looks into maps as they are, and would find the chain empty.
    Removed chains go in a batch of their own: kernels before 6.2 notice late that a map no longer names a chain.
    Of several batches the first takes the digest away and the last writes it: what was interrupted has none.
    """
    encoder = _Encoder(family, table)
    digest = tuple(command for command in transaction.switch if _writes_digest(command))
    switch = tuple(command for command in transaction.switch if not _writes_digest(command))
    phases = [encoder.units(commands) for commands in (transaction.prepare, switch, transaction.clean)]
    parts = [[*phases[0], *phases[1], *encoder.units(digest), *phases[2]]]
    is_new = any(isinstance(command, AddTable) for command in transaction.prepare)
    adds_chains = not is_new and any(isinstance(command, AddChain) for command in transaction.prepare)
    deletes_chains = any(isinstance(command, DeleteChain) for command in transaction.clean)
    if adds_chains or deletes_chains or sum(u.size for u in parts[0]) > limit:
        taken, written = _part_digest(digest)
        phases = [encoder.units(taken) + phases[0], phases[1], phases[2] + encoder.units(written)]
        first = [phases[0]] if adds_chains else []
        rest = [phases[1]] if adds_chains else [phases[0] + phases[1]]
        parts = [*first, *rest, phases[2]] if deletes_chains else [*first, rest[0] + phases[2]]
        if any(sum(u.size for u in part) > limit for part in parts):
            parts = phases
    sequence = first_sequence
    for part in parts:
        for units in _cut(part, limit):
            batch = _pack_batch(units, sequence)
            sequence += len(batch.subjects)
            yield batch


def _part_digest(commands: tuple[Command, ...]) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
    """What takes the old digest away, and what writes the new one."""
    taken: list[Command] = []
    written: list[Command] = []
    for command in commands:
        if isinstance(command, ReplaceElements):
            taken.append(DeleteElements(command.set, command.spec, command.before))
            written.append(AddElements(command.set, command.spec, command.after))
        else:
            written.append(command)
    return tuple(taken), tuple(written)


def _writes_digest(command: Command) -> bool:
    return isinstance(command, ReplaceElements | AddElements) and command.set == STATE


def _cut(units: list[_Unit], limit: int) -> Iterator[list[_Unit]]:
    piece: list[_Unit] = []
    size = 0
    for unit in units:
        if piece and size + unit.size > limit:
            yield piece
            piece, size = [], 0
        piece.append(unit)
        size += unit.size
    if piece:
        yield piece


def _pack_batch(units: list[_Unit], sequence: int) -> Batch:
    flat = [(unit.subject, *message) for unit in units for message in unit.messages]
    packed = [pack_message(BATCH_BEGIN, NLM_F_REQUEST, sequence, _BATCH_HEADER)]
    for index, (_, kind, flags, payload) in enumerate(flat, 1):
        ack = NLM_F_ACK if index == len(flat) else 0
        packed.append(pack_message(SUBSYSTEM << 8 | kind, NLM_F_REQUEST | flags | ack, sequence + index, payload))
    packed.append(pack_message(BATCH_END, NLM_F_REQUEST, sequence + len(flat) + 1, _BATCH_HEADER))
    return Batch(b"".join(packed), sequence, ("batch", *(subject for subject, *_ in flat), "batch"))


_BATCH_HEADER = struct.pack(">BBH", 0, 0, SUBSYSTEM)


class _Encoder:
    """Commands of one table. Counts the anonymous maps, whose numbers must differ within a batch."""

    def __init__(self, family: Family, table: str) -> None:
        self._table = table
        self._header = generic_header(family)
        self._rules = RuleEncoder(family, self._header, table)
        self._family = family

    def units(self, commands: Iterable[Command]) -> list[_Unit]:
        return [unit for command in commands for unit in self._encode(command)]

    def _encode(self, command: Command) -> Iterator[_Unit]:
        match command:
            case AddTable(owned):
                flags = pack_u32(2, _OWNED if owned else 0)
                yield self._one("table", NEWTABLE, NLM_F_CREATE, pack_string(1, self._table) + flags)
            case DeleteTable():
                yield self._one("table", DELTABLE, 0, pack_string(1, self._table))
            case AddSet(name, spec):
                yield self._one(f"set {name}", NEWSET, NLM_F_CREATE, self._set(name, spec))
            case DeleteSet(name):
                yield self._one(f"set {name}", DELSET, 0, pack_string(1, self._table) + pack_string(2, name))
            case AddChain(name, hook):
                yield self._one(f"chain {name}", NEWCHAIN, NLM_F_CREATE, self._chain(name, hook))
            case DeleteChain(name):
                yield self._one(f"chain {name}", DELCHAIN, 0, pack_string(1, self._table) + pack_string(3, name))
            case SetRules(name, chain, flush):
                yield from self._set_rules(name, chain, flush)
            case AddElements(name, spec, elements):
                for part in in_parts(elements):
                    yield _Unit(f"elements of {name}", (self._elements(NEWSETELEM, name, spec, part),))
            case DeleteElements(name, spec, elements):
                for part in in_parts(elements):
                    yield _Unit(f"elements of {name}", (self._elements(DELSETELEM, name, spec, part),))
            case ReplaceElements(name, spec, before, after):
                for old, new in zip(in_parts(before), in_parts(after), strict=True):
                    messages = (
                        self._elements(DELSETELEM, name, spec, old),
                        self._elements(NEWSETELEM, name, spec, new),
                    )
                    yield _Unit(f"elements of {name}", messages)

            case Forget(name, keys):
                for part in in_parts(tuple((key, None) for key in keys)):
                    packed = b"".join(encode_element(key, None) for key, _ in part)
                    yield self._one(f"what {name} remembers", DELSETELEM, 0, self._in_set(name, packed))
            case Remind(name, entries):
                for piece in _in_pieces(entries):
                    packed = b"".join(encode_entry(key, left_seconds) for key, left_seconds in piece)
                    yield self._one(f"what {name} remembers", NEWSETELEM, NLM_F_CREATE, self._in_set(name, packed))

    def _in_set(self, name: str, packed: bytes) -> bytes:
        return pack_string(1, self._table) + pack_string(2, name) + pack_nested(3, packed)

    def _one(self, subject: str, kind: int, flags: int, attributes: bytes) -> _Unit:
        return _Unit(subject, ((kind, flags, self._header + attributes),))

    def _set(self, name: str, spec: SetSpec) -> bytes:
        return pack_string(1, self._table) + pack_string(2, name) + encode_set(spec, self._family)

    def _chain(self, name: str, hook: Hook | None) -> bytes:
        attributes = pack_string(1, self._table) + pack_string(3, name)
        if hook is None:
            return attributes
        place = pack_nested(4, pack_u32(1, HOOKS[hook.hook]), pack_u32(2, hook.priority & 0xFFFFFFFF))
        return attributes + place + pack_u32(5, 1) + pack_string(7, hook.type)

    def _set_rules(self, name: str, chain: Chain, flush: bool) -> Iterator[_Unit]:
        """A chain that is new, and that no packet enters by itself, may be filled in several batches: nobody goes there
        yet. A draw among sticky slots has a rule for each of them.
        """
        rules = [tuple(self._rules.encode(name, rule)) for rule in chain.rules or ()]
        subject = f"rules of {name}"
        if not flush and chain.hook is None:
            yield from (_Unit(subject, messages) for messages in rules)
            return
        emptied = ((DELRULE, 0, self._header + pack_string(1, self._table) + pack_string(2, name)),) if flush else ()
        yield _Unit(subject, sum(rules, emptied))

    def _elements(
        self, kind: int, name: str, spec: SetSpec, elements: tuple[tuple[bytes, Value], ...]
    ) -> tuple[int, int, bytes]:
        pack = encode_interval if spec.is_interval else encode_element
        packed = b"".join([pack(key, value) for key, value in elements])
        flags = NLM_F_CREATE | NLM_F_EXCL if kind == NEWSETELEM else 0
        return (kind, flags, self._header + self._in_set(name, packed))


def _in_pieces(entries: tuple[tuple[bytes, float], ...]) -> Iterator[tuple[tuple[bytes, float], ...]]:
    for start in range(0, len(entries), ELEMENTS_PER_MESSAGE):
        yield entries[start : start + ELEMENTS_PER_MESSAGE]


def generic_header(family: Family | None) -> bytes:
    """The header that every netfilter message starts with."""
    return struct.pack(">BBH", 0 if family is None else PROTOCOL_FAMILY[family], 0, 0)


def decode_chain(payload: bytes) -> tuple[str, str, Hook | None]:
    """(table, chain, hook) of a NEWCHAIN message."""
    attributes = parse_attributes(payload[4:])
    table, name = decode_text(attributes[1]), decode_text(attributes[3])
    if 4 not in attributes:
        return table, name, None
    place = parse_attributes(attributes[4])
    number = int.from_bytes(place[1], "big")
    priority = int.from_bytes(place[2], "big", signed=True)
    hook = next((h for h, n in HOOKS.items() if n == number), str(number))
    return table, name, Hook(decode_text(attributes[7]), hook, priority)


def decode_generation(payload: bytes) -> int:
    """The number of the ruleset, of a NEWGEN message."""
    return int.from_bytes(parse_attributes(payload[4:])[1], "big")


def encode_reference(family: Family, table: str, *, set_name: str = "", elements: bytes = b"") -> bytes:
    """The payload of a request about the table, or about one of its sets."""
    attributes = pack_string(1, table) + (pack_string(2, set_name) if set_name else b"")
    return generic_header(family) + attributes + (pack_nested(3, elements) if elements else b"")
