"""A digest of what a whole table says, kept in the table itself: a restart that wants what it finds need not read it.

It is taken from what is rendered, not from what comes out: of Services (in whatever order their endpoints stand in
slots, which is history), of this node, of sets, chains and rules, and of the renderer itself, by its version. So a
start that finds its digest has rendered no element. It is a sum, so that a change of one Service is an addition and a
subtraction, whatever their number. It stands as the comment of the only element of the set `state`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from seaway import __version__
from seaway.proxy.forwarding import Forwarding, ServiceForwarding
from seaway.proxy.nftables.objects import Comment, Structure

STATE = "state"
STATE_KEY = b"\1\0\0\0"
FORMAT = 2
"""Counts the elements that equal forwardings may have been rendered to; a test tells when it must be counted up."""
_MODULUS = 1 << 128
_encode = msgspec.msgpack.Encoder().encode


def digest_service(service: ServiceForwarding) -> int:
    """A number for the elements that the Service is rendered to, in whatever slots its endpoints stand."""
    forwardings = [_describe(f) for f in service.forwardings]
    return _hash(_encode((service.service, service.cluster_ip, service.hairpins, service.range_hairpins, forwardings)))


def _describe(f: Forwarding) -> tuple[object, ...]:
    """All that is rendered of it. What may keep its flows (`serving`) is no element."""
    frontend, refusal = f.frontend, f.refusal
    return (
        (frontend.traffic_class.name, frontend.address, frontend.protocol, frontend.port, frontend.last_port),
        f.port_name,
        sorted(f.endpoints),
        None if f.outside is None else sorted(f.outside),
        (f.masquerade.name, refusal and refusal.name, f.affinity_seconds, f.balance.name),
        f.source_ranges,
        f.except_ports,
    )


def digest_rest(structure: Structure, node: Mapping[str, Iterable[bytes]]) -> int:
    """A number for sets, chains, rules, and the elements that follow from the node; and for who renders them."""
    sets = sorted(structure.sets.items(), key=lambda item: item[0])
    chains = sorted(structure.chains.items(), key=lambda item: item[0])
    elements = sorted((name, sorted(keys)) for name, keys in node.items())
    return _hash(repr((__version__, FORMAT, sets, chains, elements)).encode())


def write_digest(total: int) -> Comment:
    """The sum of such numbers as it stands in the table."""
    return Comment(f"digest {total % _MODULUS:032x}")


def _hash(packed: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest(), "big")
