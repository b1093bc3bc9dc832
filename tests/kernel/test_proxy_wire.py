"""A refusal on the wire: ICMP port unreachable for every protocol, and never a reset. Rule: spec "proxy" §2.5."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from seaway.net.family import Family
from seaway.testing.netns import Namespace
from tests.kernel.sctp import make_init
from tests.kernel.test_proxy import (
    CLIENT_POD,
    EXTERNAL,
    NODE,
    NODE6,
    REMOTE,
    VIP,
    VIP6,
    Running,
    World,
    proxy,
    world,
)

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel
KINDS = {"TCP": 6, "UDP": 17, "SCTP": 132}
UNREACHABLE = {Family.IPV4: (3, 3), Family.IPV6: (1, 4)}
"""Type and code of port unreachable. Rule: RFC 792, RFC 4443 §3.1."""
CASES = [
    (kind, family, source)
    for kind in KINDS
    for family in Family
    for source in ("a Pod, to the cluster IP", "outside, to a node port")
]
SOURCE_PORT = 23456


@pytest.fixture
def unlimited(world: World) -> Iterator[None]:
    """The node does not ration its ICMPv6 errors; those of IPv4 are not rationed anyway."""
    world.node.write_sysctl("net/ipv6/icmp/ratelimit", "0")
    yield
    world.node.write_sysctl("net/ipv6/icmp/ratelimit", "1000")


def is_refusal(received: bytes, family: Family, kind: str, asked: tuple[str, int]) -> tuple[int, int] | None:
    """(type, code) of an ICMP error about our packet; None: something else."""
    number = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
    icmp = received[(received[0] & 15) * 4 :] if family is Family.IPV4 else received
    quoted = icmp[8:]
    if family is Family.IPV4:
        protocol, target, body = quoted[9:10], quoted[16:20], quoted[(quoted[:1] or b"\5")[0] % 16 * 4 :]
    else:
        protocol, target, body = quoted[6:7], quoted[24:40], quoted[40:]
    if protocol != bytes((KINDS[kind],)) or target != socket.inet_pton(number, asked[0]):
        return None
    return (icmp[0], icmp[1]) if body[2:4] == struct.pack("!H", asked[1]) else None


@contextlib.contextmanager
def sent(client: Namespace, kind: str, family: Family, asked: tuple[str, int]) -> Iterator[None]:
    """One first packet of the kind is under way; for SCTP by hand, as kernels often have none."""
    number = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
    shape = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM, "SCTP": socket.SOCK_RAW}[kind]
    with client.entered():
        sock = socket.socket(number, shape, KINDS[kind])
    with sock:
        sock.setblocking(False)
        sock.connect_ex((asked[0], 0 if kind == "SCTP" else asked[1]))
        if kind != "TCP":
            sock.send(make_init(SOURCE_PORT, asked[1]) if kind == "SCTP" else b"?")
        yield


def first_error(
    client: Namespace, kind: str, family: Family, asked: tuple[str, int], *, seconds: float
) -> tuple[int, int] | None:
    """What ICMP says of the packet; None: nothing, so long."""
    number, icmp = (socket.AF_INET, 1) if family is Family.IPV4 else (socket.AF_INET6, 58)
    with client.entered():
        listener = socket.socket(number, socket.SOCK_RAW, icmp)
    with listener, sent(client, kind, family, asked):
        while select.select([listener], [], [], seconds)[0]:
            if (found := is_refusal(listener.recv(2048), family, kind, asked)) is not None:
                return found
    return None


@pytest.mark.parametrize(("kind", "family", "source"), CASES, ids=[f"{k} {f.value} from {s}" for k, f, s in CASES])
def test_who_has_no_endpoint_is_told_port_unreachable(
    proxy: Running, world: World, unlimited: None, kind: str, family: Family, source: str
) -> None:
    proxy.serve(type="NodePort", ports=[{"port": 80, "protocol": kind, "nodePort": 30080}])
    proxy.sync()
    is_v4 = family is Family.IPV4
    if source.startswith("a Pod"):
        client, asked = world.pods[CLIENT_POD], (VIP if is_v4 else VIP6, 80)
    else:
        client, asked = world.outside, (NODE if is_v4 else NODE6, 30080)
    resets = open_reset_listener(client, family)
    with resets:
        assert first_error(client, kind, family, asked, seconds=5) == UNREACHABLE[family]
        assert not received_reset(resets, family, asked[1]), "ICMP, also for TCP"


def open_reset_listener(client: Namespace, family: Family) -> socket.socket:
    number = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
    with client.entered():
        return socket.socket(number, socket.SOCK_RAW, KINDS["TCP"])


def received_reset(listener: socket.socket, family: Family, port: int) -> bool:
    """A reset from that port is among what has come."""
    while select.select([listener], [], [], 0)[0]:
        packet = listener.recv(2048)
        tcp = packet[(packet[0] & 15) * 4 :] if family is Family.IPV4 else packet
        if tcp[:2] == struct.pack("!H", port) and tcp[13] & 4:
            return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_whom_only_another_node_could_serve_hears_nothing(proxy: Running, world: World, kind: str) -> None:
    """DROP is silence, while a Pod, whom the Local policy does not concern, is served."""
    proxy.serve(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        ports=[{"port": 80, "protocol": kind, "nodePort": 30080}],
        status={"loadBalancer": {"ingress": [{"ip": EXTERNAL}]}},
    )
    proxy.endpoints([REMOTE], ports=[{"name": "", "port": 8080, "protocol": kind}], node_name="node-2")
    proxy.sync()
    for asked in ((NODE, 30080), (EXTERNAL, 80)):
        assert first_error(world.outside, kind, Family.IPV4, asked, seconds=0.5) is None
