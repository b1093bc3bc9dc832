"""What becomes of the first packet of a connection, by walking it through a ruleset as Linux would.

    trace(ruleset, Packet("10.244.0.9", "10.96.0.10", port=80), host={"192.0.2.1"})
    == {Fate("10.244.0.5:8080"), Fate("10.244.0.6:8080")}

A draw gives every outcome that it can have. Statements that are not known are errors.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from seaway.proxy.nftables.elements import key_length
from seaway.proxy.nftables.objects import (
    ArrivesBy,
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
    Ruleset,
    SetMark,
    SetSpec,
    TranslateTo,
    Verdict,
    Vmap,
)
from seaway.proxy.nftables.render import PROTOCOL_NUMBERS, pack_address


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection. `mark` is what others put on it.

    arrives_by, leaves_by: names of links; what stays on the host leaves by `lo`.
    """

    source: str
    destination: str
    port: int
    protocol: str = "TCP"
    mark: int = 0
    arrives_by: str = ""
    leaves_by: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """Where the packet arrives, or how it ended. `mark` is what is left on it."""

    arrives: str = ""
    masqueraded: bool = False
    verdict: str = "accept"
    mark: int = 0


DROPPED = Fate(verdict="drop")
REJECTED = Fate(verdict="reject")


@dataclass(frozen=True, slots=True)
class _State:
    packet: Packet
    is_translated: bool = False
    is_masqueraded: bool = False


_NEXT, _RETURN, _ACCEPT = "next", "return", "accept"
_Outcome = tuple[_State, str]


def trace(ruleset: Ruleset, packet: Packet, *, host: Collection[str]) -> frozenset[Fate]:
    """Every fate that the packet can have. `host`: the addresses of the host that the ruleset is on.

    A packet from one of them is the host's own. Raises KeyError when a rule refers to nothing.
    """
    return frozenset(_Walk(ruleset, frozenset(host)).fates(_State(packet)))


class _Walk:
    def __init__(self, ruleset: Ruleset, host: frozenset[str]) -> None:
        self._ruleset = ruleset
        self._host = host

    def fates(self, state: _State) -> Iterator[Fate]:
        is_own = state.packet.source in self._host
        for entered, verdict in self._hook("output" if is_own else "prerouting", state):
            if verdict != _ACCEPT:
                yield Fate(verdict=verdict)
                continue
            to_host = entered.packet.destination in self._host
            path = ("postrouting", "input") if is_own and to_host else ("postrouting",)
            path = path if is_own else ("input",) if to_host else ("forward", "postrouting")
            yield from self._follow(path, entered)

    def _follow(self, path: tuple[str, ...], state: _State) -> Iterator[Fate]:
        if not path:
            packet = state.packet
            yield Fate(f"{packet.destination}:{packet.port}", state.is_masqueraded, mark=packet.mark)
            return
        for after, verdict in self._hook(path[0], state):
            if verdict == _ACCEPT:
                yield from self._follow(path[1:], after)
            else:
                yield Fate(verdict=verdict)

    def _hook(self, hook: str, state: _State) -> list[_Outcome]:
        """The outcomes of all base chains of the hook, by priority."""
        hooked = [(c.hook, name) for name, c in self._ruleset.structure.chains.items() if c.hook]
        chains = [(place.priority, name) for place, name in hooked if place.hook == hook]
        outcomes: list[_Outcome] = [(state, _ACCEPT)]
        for _, name in sorted(chains):
            passed: list[_Outcome] = []
            for before, verdict in outcomes:
                passed += self._chain(name, before) if verdict == _ACCEPT else [(before, verdict)]
            outcomes = [(s, _ACCEPT if v in (_RETURN, _ACCEPT) else v) for s, v in passed]
        return outcomes

    def _chain(self, name: str, state: _State) -> list[_Outcome]:
        pending, ended = [state], []
        for rule in self._ruleset.structure.chains[name].rules or ():
            outcomes = [o for s in pending for o in self._rule(rule, s)]
            pending = [s for s, verdict in outcomes if verdict == _NEXT]
            ended += [o for o in outcomes if o[1] != _NEXT]
        return ended + [(s, _RETURN) for s in pending]

    def _rule(self, rule: Rule, state: _State) -> list[_Outcome]:
        for index, statement in enumerate(rule):
            match statement:
                case Jump(chain):
                    rest = rule[index + 1 :]
                    outcomes: list[_Outcome] = []
                    for after, verdict in self._chain(chain, state):
                        outcomes += self._rule(rest, after) if verdict == _RETURN else [(after, verdict)]
                    return outcomes
                case Goto(chain):
                    return self._chain(chain, state)
                case GotoRandom(chains) | GotoInTurn(chains) | GotoByHash(chains, _):
                    return [o for chain in chains for o in self._chain(chain, state)]
                case Vmap(fields, name):
                    value = self._find(name, self._key(fields, state))
                    if not isinstance(value, Verdict):
                        return [(state, _NEXT)]
                    return self._chain(value.chain, state) if value.chain else [(state, "drop")]
                case TranslateTo(fields, name, _):
                    value = self._find(name, self._key(fields, state))
                    return [(_translate(state, value), _ACCEPT) if isinstance(value, bytes) else (state, _NEXT)]
                case Drop():
                    return [(state, "drop")]
                case Reject():
                    return [(state, "reject")]
                case Return():
                    return [(state, _RETURN)]
                case MasqueradeSource():
                    return [(replace(state, is_masqueraded=True), _ACCEPT)]
                case Remember():
                    pass  # `trace` is of one packet; who was remembered before it is in the ruleset's elements
                case SetMark(mask):
                    state = _with_mark(state, state.packet.mark | mask)
                case FlipMark(mask):
                    state = _with_mark(state, state.packet.mark ^ mask)
                case _:
                    if not self._matches(statement, state):
                        return [(state, _NEXT)]
        return [(state, _NEXT)]

    def _matches(self, statement: object, state: _State) -> bool:
        packet = state.packet
        match statement:
            case InSet(fields, name):
                return self._find(name, self._key(fields, state)) is not _MISSING
            case InNetwork(field, network, negate):
                address = packet.source if field is Field.SADDR else packet.destination
                return (ipaddress.ip_address(address) in ipaddress.ip_network(network)) is not negate
            case IsLocal(field):
                address = packet.source if field is Field.SADDR else packet.destination
                return address in self._host or ipaddress.ip_address(address).is_loopback
            case IsNew():
                return True
            case IsReply():
                return False
            case IsTranslated():
                return state.is_translated
            case ArrivesBy(link, negate, is_prefix):
                found = packet.arrives_by.startswith(link) if is_prefix else packet.arrives_by == link
                return found is not negate
            case LeavesBy(link, negate):
                leaves_by = "lo" if packet.destination in self._host else packet.leaves_by
                return (leaves_by == link) is not negate
            case IsMarked(mask):
                return packet.mark & mask != 0
            case _:
                raise AssertionError(f"a statement that the tracer does not know: {statement}")

    def _find(self, name: str, key: bytes) -> object:
        spec = self._ruleset.structure.sets[name]
        elements = self._ruleset.elements.get(name, {})
        if not spec.is_interval:
            return elements.get(key, _MISSING)
        half = len(key)
        return next((v for k, v in elements.items() if self._is_between(spec, k[:half], key, k[half:])), _MISSING)

    def _is_between(self, spec: SetSpec, first: bytes, key: bytes, last: bytes) -> bool:
        """Field by field."""
        offset = 0
        for kind in spec.key:
            end = offset + key_length((kind, kind), self._ruleset.family) // 2
            if not first[offset:end] <= key[offset:end] <= last[offset:end]:
                return False
            offset = end
        return True

    def _key(self, fields: tuple[Field, ...], state: _State) -> bytes:
        packet = state.packet
        packed = {
            Field.SADDR: lambda: pack_address(packet.source),
            Field.DADDR: lambda: pack_address(packet.destination),
            Field.L4PROTO: lambda: bytes((_PROTOCOLS[packet.protocol], 0, 0, 0)),
            Field.DPORT: lambda: packet.port.to_bytes(2, "big") + b"\0\0",
        }
        return b"".join(packed[field]() for field in fields)


_MISSING = object()
_PROTOCOLS = PROTOCOL_NUMBERS | {"ICMP": 1}


def _translate(state: _State, target: bytes) -> _State:
    if len(target) in (4, 16):  # of a range: the port is kept
        packet = replace(state.packet, destination=str(ipaddress.ip_address(target)))
        return replace(state, packet=packet, is_translated=True)
    address, port = str(ipaddress.ip_address(target[:-4])), int.from_bytes(target[-4:-2], "big")
    return replace(state, packet=replace(state.packet, destination=address, port=port), is_translated=True)


def _with_mark(state: _State, mark: int) -> _State:
    return replace(state, packet=replace(state.packet, mark=mark))
