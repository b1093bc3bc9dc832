"""Which node ports the ports of a Service get, for every short list of them.

The oracle says of each entry which number it claims; entries that claim one number must be allowed to share it.
Rule: spec "service-api" §3.2 (R33-R35), §3.3, §4.1, §4.5, §5.6.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
WEB = f"{SERVICES}/web"
PROTOCOLS = ("TCP", "UDP", "SCTP")
ONE, TWO = 30001, 30002
TAKEN = "provided port is already allocated"
SHAPES: dict[str, Json] = {
    "ClusterIP": {},
    "NodePort": {"type": "NodePort"},
    "LoadBalancer": {"type": "LoadBalancer"},
    "LoadBalancer that allocates none": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
    "ExternalName": {"type": "ExternalName", "externalName": "a.b"},
}
OF_EACH_SHAPE = pytest.mark.parametrize("shape", [pytest.param(name, id=f"of a {name}") for name in SHAPES])


@dataclass(frozen=True, slots=True)
class Port:
    """An entry of a list; number 0: no node port is named."""

    name: str
    port: int
    protocol: str
    number: int

    @property
    def wire(self) -> Json:
        named = {"nodePort": self.number} if self.number else {}
        return {"name": self.name, "port": self.port, "protocol": self.protocol, **named}


def lists_of_ports() -> Iterator[list[Port]]:
    """Pairs of any protocols, and triples of three."""
    single = list(itertools.product((53, 80), (0, ONE, TWO)))
    for protocols in itertools.product(PROTOCOLS[:2], repeat=2):
        for values in itertools.product(single, repeat=2):
            yield [Port("ab"[i], port, protocols[i], number) for i, (port, number) in enumerate(values)]
    for values in itertools.product(single, repeat=3):
        yield [Port("abc"[i], port, PROTOCOLS[i], number) for i, (port, number) in enumerate(values)]


def allocates(shape: str) -> bool:
    return shape in ("NodePort", "LoadBalancer")


def shared_by(ports: list[Port], port: int) -> int | str:
    """What entries of one port may share: the first number that one of them names, or a new one, told by a word."""
    return next((entry.number for entry in ports if entry.port == port and entry.number), f"new for {port}")


def claim(ports: list[Port], entry: Port, shape: str) -> int | str:
    if entry.number or not allocates(shape):
        return entry.number
    return shared_by(ports, entry.port)


def foretell_creation(ports: list[Port], shape: str) -> list[str] | list[int | str]:
    """The refusal, as lines; or the number of each entry: named, "new for ..." or 0."""
    claims = [claim(ports, entry, shape) for entry in ports]
    if shape not in ("ClusterIP", "ExternalName"):
        for index, number in enumerate(claims):
            may_share = {e.port for e, c in zip(ports[:index], claims, strict=False) if c == number}
            if (
                number
                and may_share
                and (may_share, number) != ({ports[index].port}, shared_by(ports, ports[index].port))
            ):
                return [f"spec.ports[{index}].nodePort: Invalid value: {number}: {TAKEN}"]
    errors = [
        f"spec.ports[{index}].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
        for index, entry in enumerate(ports)
        if entry.number and shape == "ClusterIP"
    ]
    pairs = [(entry.protocol, number) for entry, number in zip(ports, claims, strict=True)]
    errors += [
        f"spec.ports[{index}].nodePort: Duplicate value"
        for index, pair in enumerate(pairs)
        if pair[1] and pair in pairs[:index]
    ]
    keys = [(entry.protocol, entry.port) for entry in ports]
    errors += [f"spec.ports[{index}]: Duplicate value" for index, key in enumerate(keys) if key in keys[:index]]
    return errors or claims


def causes(reply: Reply) -> list[str]:
    """Duplicates without their values, which the oracle does not know."""
    lines = (f"{cause['field']}: {cause['message']}" for cause in reply.body["details"]["causes"])
    return [line.partition("Duplicate value")[0] + "Duplicate value" if "Duplicate" in line else line for line in lines]


def numbers(reply: Reply) -> list[int]:
    return [port.get("nodePort", 0) for port in reply.body["spec"]["ports"]]


def held(ask: Conversation) -> set[int]:
    return set(ask.server.state.allocator.held_ports())


def check_numbers(expected: list[int | str], found: list[int]) -> None:
    """New numbers: one for each word, in the range, and nobody else's."""
    meaning: dict[int | str, int] = {}
    for wanted, number in zip(expected, found, strict=True):
        assert meaning.setdefault(wanted, number) == number
        assert number == wanted if isinstance(wanted, int) else 30000 <= number <= 32767
    assert len(set(meaning.values())) == len(meaning), (expected, found)


async def check_the_same_again(ask: Conversation, ports: list[Port], manifest: Json, had: list[int]) -> None:
    """A PUT changes nothing; but an entry that shared a number which another names does not get it back (§4.1)."""
    reply = await ask("PUT", WEB, manifest)
    assert reply.status == 200, (ports, reply.body)
    named = {entry.number for entry in ports}
    for entry, before, after in zip(ports, had, numbers(reply), strict=True):
        if entry.number or before == 0 or before not in named:
            assert after == before, ports
        else:
            assert after not in (0, before), ports


async def check_creation(ask: Conversation, ports: list[Port], shape: str) -> bool:
    """Whether it is taken."""
    expected = foretell_creation(ports, shape)
    manifest = make_service("web", **SHAPES[shape], ports=[entry.wire for entry in ports])
    reply = await ask("POST", SERVICES, manifest)
    if any(":" in str(line) for line in expected):
        assert (reply.status, causes(reply)) == (422, expected), ports
        assert held(ask) == set()
        return False
    assert reply.status == 201, (ports, reply.body)
    check_numbers(list(expected), numbers(reply))
    assert held(ask) == (set() if shape == "ExternalName" else set(numbers(reply)) - {0})
    await check_the_same_again(ask, ports, manifest, numbers(reply))
    assert (await ask("DELETE", WEB)).status == 200
    assert held(ask) == set()
    return True


@OF_EACH_SHAPE
def test_ports(shape: str) -> None:
    async def conversation(ask: Conversation) -> None:
        verdicts = [await check_creation(ask, ports, shape) for ports in lists_of_ports()]
        assert {True, False} == set(verdicts)

    talk(conversation)


# Updates.

STORED = [Port("a", 80, "TCP", ONE), Port("b", 81, "TCP", TWO)]
FRESH = 30003


def changed_ports() -> Iterator[list[Port]]:
    single = list(itertools.product("abc", (0, ONE, TWO, FRESH)))
    for count in (1, 2):
        for values in itertools.product(single, repeat=count):
            if len({name for name, _ in values}) < count:
                continue
            for last in PROTOCOLS[:count]:
                protocols = ["TCP"] * (count - 1) + [last]
                yield [Port(name, 90 + i, protocols[i], number) for i, (name, number) in enumerate(values)]


def is_twice(ports: list[Port]) -> bool:
    """A number is named twice for one protocol."""
    pairs = [(entry.protocol, entry.number) for entry in ports if entry.number]
    return len(set(pairs)) < len(pairs)


def foretell_update(ports: list[Port], before: str, after: str) -> str | list[int | str]:
    """The refusal; or the number of each entry."""
    named = [entry.number for entry in ports if entry.number]
    had = {entry.name: entry.number for entry in STORED}
    if is_twice(ports):
        return f"duplicate nodePort: {{TCP {named[0]}}}"
    copied = {entry.name: had.get(entry.name, 0) for entry in ports if allocates(before) and allocates(after)}
    return [
        entry.number or (copied.get(entry.name, 0) not in (0, *named) and copied[entry.name])
        or (f"new for {entry.name}" if allocates(after) else 0)
        for entry in ports
    ]  # fmt: skip


HOLDERS = [name for name in SHAPES if name not in ("ClusterIP", "ExternalName")]


@pytest.mark.parametrize("after", [pytest.param(name, id=f"to a {name}") for name in HOLDERS])
@pytest.mark.parametrize("before", [pytest.param(name, id=f"from a {name}") for name in HOLDERS])
def test_changed_ports(before: str, after: str) -> None:
    async def conversation(ask: Conversation) -> None:
        for ports in changed_ports():
            made = await ask("POST", SERVICES, make_service("web", **SHAPES[before], ports=[p.wire for p in STORED]))
            assert numbers(made) == [ONE, TWO]
            reply = await ask("PUT", WEB, make_service("web", **SHAPES[after], ports=[p.wire for p in ports]))
            expected = foretell_update(ports, before, after)
            if isinstance(expected, str):
                assert (reply.status, reply.message, reply.body.get("reason", "")) == (500, expected, ""), ports
                assert held(ask) == {ONE, TWO}
            else:
                assert reply.status == 200, (ports, reply.body)
                check_numbers([value or f"none for {index}" for index, value in enumerate(expected)]
                              if 0 not in expected else expected, numbers(reply))  # fmt: skip
                fresh = {n for n, e in zip(numbers(reply), expected, strict=True) if isinstance(e, str)}
                assert not fresh & {ONE, TWO}, "a number is given up only with the commit"
                assert held(ask) == set(numbers(reply)) - {0}
            await ask("DELETE", WEB)
            assert held(ask) == set()

    talk(conversation)


@pytest.mark.parametrize("after", [pytest.param(name, id=f"to {name}") for name in ("ClusterIP", "ExternalName")])
@pytest.mark.parametrize("before", [pytest.param(name, id=f"from a {name}") for name in HOLDERS])
def test_ports_that_lose_their_numbers_with_the_type(before: str, after: str) -> None:
    """§4.3: numbers that were there go without a word; a new one is the client's own, and refused where it may be."""

    async def conversation(ask: Conversation) -> None:
        for ports in changed_ports():
            await ask("POST", SERVICES, make_service("web", **SHAPES[before], ports=[p.wire for p in STORED]))
            reply = await ask("PUT", WEB, make_service("web", **SHAPES[after], ports=[p.wire for p in ports]))
            named = [entry.number for entry in ports]
            is_new = FRESH in named
            if is_new and (after == "ClusterIP" or is_twice(ports)):
                assert reply.status == 422, ports
                assert held(ask) == {ONE, TWO}
            else:
                assert reply.status == 200, (ports, reply.body)
                assert numbers(reply) == (named if is_new else [0] * len(ports))
                assert held(ask) == set()
            await ask("DELETE", WEB)

    talk(conversation)
