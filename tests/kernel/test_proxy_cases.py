"""Flows that change under way, processes in the way, segments out of the window: real packets, scenario by scenario.

Rule: spec "proxy" §13; §2.4 (policies without anything external), §6.3 (INVALID), §1.5 (addresses of an endpoint).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.net.family import Family
from seaway.proxy.flows.plan import choose_stale
from seaway.proxy.kernel import delete_flows, list_flows, list_interface_addresses
from seaway.proxy.proxier import SyncReport
from seaway.testing.builders import make_slice
from seaway.testing.netns import Namespace, ask
from tests.kernel.test_proxy import (
    CLIENT_POD,
    EXTERNAL,
    NODE,
    NODE6,
    OUTSIDE,
    PODS,
    PODS6,
    REMOTE,
    VIP,
    Running,
    World,
    proxy,
    world,
)

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel
UDP = [{"name": "u", "port": 8080, "protocol": "UDP"}]
TERMINATING = {"ready": False, "serving": True, "terminating": True}


def put(proxy: Running, endpoints: list[dict[str, Any]], *, ports: Any = None, name: str = "hand-made") -> None:
    """A slice as it is written."""
    wire = make_slice(name, "web", [], ports=ports) | {"endpoints": endpoints}
    proxy.proxier.set_slice(f"default/{name}", msgspec.convert(wire, EndpointSlice))


def end_stale(world: World, report: SyncReport) -> None:
    """As the proxy does after a sync that touched flows."""
    if (wanted := report.flows.get(Family.IPV4)) is not None:
        with world.node.entered():
            delete_flows(choose_stale(list_flows(Family.IPV4), wanted, list_interface_addresses()))


@contextlib.contextmanager
def udp_client(namespace: Namespace, address: str, port: int) -> Iterator[socket.socket]:
    """A client that keeps its source port."""
    with namespace.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(2)
        client.connect((address, port))
        yield client


def talk(client: socket.socket) -> str:
    """Who answers."""
    client.send(b"?")
    return client.recv(100).decode().split()[0]


@pytest.mark.parametrize("udp", [False, True], ids=["TCP", "UDP"])
@pytest.mark.parametrize(("address", "pods"), [(NODE, PODS), (NODE6, PODS6)], ids=["IPv4", "IPv6"])
def test_scenario_58_a_node_port_wins_over_a_process_that_listens_on_it(
    proxy: Running, world: World, address: str, pods: tuple[str, ...], udp: bool
) -> None:
    assert ask(world.outside, address, 7070, udp=udp)[0] == "node", "the process listens"
    kind = "UDP" if udp else "TCP"
    proxy.serve(type="NodePort", ports=[{"port": 80, "protocol": kind, "nodePort": 7070}])
    proxy.endpoints([pods[0]], ports=[{"name": "", "port": 8080, "protocol": kind}])
    proxy.sync()
    for client in (world.outside, world.pods[CLIENT_POD]):
        assert ask(client, address, 7070, udp=udp)[0] == f"{PODS[0]}:8080"
    assert ask(world.outside, address, 7070, udp=not udp)[0] == "node", "the other protocol is the process's"


def test_scenario_105_a_connection_to_a_terminating_endpoint_goes_on_when_a_ready_one_appears(
    proxy: Running, world: World
) -> None:
    proxy.serve()
    old = {"addresses": [PODS[0]], "conditions": TERMINATING, "nodeName": "node-1"}
    with world.pods[PODS[0]].entered():
        server = socket.create_server((PODS[0], 0))
    with world.pods[CLIENT_POD].entered():
        client = socket.socket()
    with server, client:
        server.settimeout(5)
        client.settimeout(5)
        put(proxy, [old], ports=[{"name": "", "port": server.getsockname()[1], "protocol": "TCP"}], name="old")
        proxy.sync()
        client.connect((VIP, 80))
        accepted, _ = server.accept()
        with accepted:
            proxy.endpoints([PODS[1]])
            end_stale(world, proxy.sync())
            client.sendall(b"still there")
            assert accepted.recv(100) == b"still there"
            accepted.sendall(b"and back")
            assert client.recv(100) == b"and back"
            assert proxy.draw(world.pods[CLIENT_POD], VIP, 80, times=20).keys() == {f"{PODS[1]}:8080"}


PLACES = {
    "cluster IP": (CLIENT_POD, VIP, 53),
    "node port": (OUTSIDE, NODE, 30053),
    "load balancer": (OUTSIDE, EXTERNAL, 53),
}


@pytest.mark.parametrize("place", PLACES)
def test_scenario_127_a_udp_client_that_sent_before_there_was_an_endpoint_is_served_afterwards(
    proxy: Running, world: World, place: str
) -> None:
    """What was refused leaves no flow behind; what passed before the Service came leaves one, which has to end."""
    source, address, port = PLACES[place]
    with udp_client(world.outside if source == OUTSIDE else world.pods[source], address, port) as client:
        client.send(b"before the Service")
        with contextlib.suppress(ConnectionRefusedError, TimeoutError):
            client.settimeout(0.3)
            client.recv(100)
        client.settimeout(2)
        proxy.serve(
            type="LoadBalancer",
            ports=[{"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053}],
            status={"loadBalancer": {"ingress": [{"ip": EXTERNAL}]}},
        )
        end_stale(world, proxy.sync())
        proxy.endpoints([PODS[0]], ports=UDP)
        end_stale(world, proxy.sync())
        assert talk(client) == f"{PODS[0]}:8080"
        proxy.endpoints([], ports=UDP)
        proxy.sync()
    with udp_client(world.outside if source == OUTSIDE else world.pods[source], address, port) as client:
        with pytest.raises(ConnectionRefusedError):
            talk(client)
        proxy.endpoints([PODS[1]], ports=UDP)
        proxy.sync()
        assert talk(client) == f"{PODS[1]}:8080", "no flow stood in the way: none was ended"


def test_scenario_130_under_the_local_policy_a_udp_client_moves_to_the_pod_that_replaces_the_old_one(
    proxy: Running, world: World
) -> None:
    proxy.serve(internalTrafficPolicy="Local", ports=[{"name": "u", "port": 53, "protocol": "UDP"}])
    proxy.endpoints([PODS[0]], ports=UDP)
    proxy.endpoints([REMOTE], ports=UDP, node_name="node-2")
    proxy.sync()
    with udp_client(world.pods[CLIENT_POD], VIP, 53) as client:
        assert talk(client) == f"{PODS[0]}:8080"
        proxy.endpoints([PODS[1]], ports=UDP)
        report = proxy.sync()
        assert talk(client) == f"{PODS[0]}:8080", "the flow keeps the Pod that went"
        end_stale(world, report)
        assert {talk(client) for _ in range(5)} == {f"{PODS[1]}:8080"}


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF


def read_sequences(sock: socket.socket) -> tuple[int, int]:
    """Of what the socket would send and get next: the kernel tells it under TCP_REPAIR (linux/tcp.h)."""
    repair, queue, sequence, receiving, sending, off_without_probe = 19, 20, 21, 1, 2, -1
    sock.setsockopt(socket.IPPROTO_TCP, repair, 1)
    found: list[int] = []
    for which in (sending, receiving):
        sock.setsockopt(socket.IPPROTO_TCP, queue, which)
        found.append(sock.getsockopt(socket.IPPROTO_TCP, sequence) & 0xFFFFFFFF)
    sock.setsockopt(socket.IPPROTO_TCP, repair, off_without_probe)
    return found[0], found[1]


def inject(namespace: Namespace, connection: socket.socket, *, offset: int) -> None:
    """A segment of this connection with data, `offset` away from what comes next."""
    (source, sport), (target, dport) = connection.getsockname(), connection.getpeername()
    following, acknowledged = read_sequences(connection)
    sequence = following + offset & 0xFFFFFFFF
    payload = b"boom"
    header = struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledged, 5 << 4, 0x18, 4096, 0, 0) + payload
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!HH", 6, len(header))
    header = header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(header, (target, 0))


WINDOWS = {
    "long past, as things are": (-100_000, "0", True),
    "far ahead, when conntrack is told to be liberal": (50_000_000, "1", True),
    "far ahead, as things are: that is how it fails": (50_000_000, "0", False),
}


@pytest.mark.parametrize(("offset", "is_liberal", "survives"), WINDOWS.values(), ids=WINDOWS.keys())
def test_scenario_134_a_segment_out_of_the_window_does_not_reset_a_masqueraded_connection(
    proxy: Running, world: World, offset: int, is_liberal: str, survives: bool
) -> None:
    """One that conntrack calls INVALID is not translated back: the node gets it itself, knows nothing, and resets."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release < (6, 1) and is_liberal == "0":
        pytest.skip("before Linux 6.1 every such segment is INVALID")
    proxy.serve(type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}])
    with world.pods[PODS[0]].entered():
        server = socket.create_server((PODS[0], 0))
    proxy.endpoints([PODS[0]], ports=[{"name": "", "port": server.getsockname()[1], "protocol": "TCP"}])
    proxy.sync()
    with world.outside.entered():
        client = socket.socket()
    world.node.write_sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", is_liberal)
    try:
        with server, client:
            server.settimeout(5)
            client.settimeout(5)
            client.connect((NODE, 30080))
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(5)
                assert accepted.getpeername()[0] != OUTSIDE, "masqueraded"
                accepted.sendall(b"before")
                assert client.recv(100) == b"before"
                inject(world.pods[PODS[0]], accepted, offset=offset)
                if not survives:
                    with pytest.raises(ConnectionResetError):
                        accepted.recv(100)
                    return
                accepted.sendall(b"after")
                assert client.recv(100) == b"after"
                client.sendall(b"and back")
                assert accepted.recv(100) == b"and back"
    finally:
        world.node.write_sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "0")


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_the_local_external_policy_does_nothing_where_nothing_is_external(
    proxy: Running, world: World, kind: str
) -> None:
    """Rule: spec "proxy" §2.4, row "eTP Local but nothing external": all endpoints, wherever the client is."""
    proxy.serve(type=kind, externalTrafficPolicy="Local")
    proxy.endpoints([PODS[0]])
    proxy.endpoints([REMOTE], node_name="node-2")
    proxy.sync()
    both = {f"{PODS[0]}:8080", f"{REMOTE}:8080"}
    for client in (world.pods[CLIENT_POD], world.node):
        assert proxy.draw(client, VIP, 80, times=40).keys() == both
    proxy.endpoints([])
    proxy.sync()
    assert proxy.draw(world.pods[CLIENT_POD], VIP, 80, times=10).keys() == {f"{REMOTE}:8080"}, "nobody is dropped"
    for family in Family:
        assert all(f.outside is None for s in proxy.proxier.forwardings(family) for f in s.forwardings)


def test_every_address_of_an_endpoint_is_used(proxy: Running, world: World) -> None:
    """A slice that somebody wrote by hand; both addresses get traffic, in the same measure as other endpoints."""
    proxy.serve()
    put(proxy, [{"addresses": [PODS[0], PODS[1]], "nodeName": "node-1"}, {"addresses": [REMOTE]}])
    proxy.sync()
    shares = proxy.draw(world.pods[CLIENT_POD], VIP, 80, times=150)
    assert shares.keys() == {f"{PODS[0]}:8080", f"{PODS[1]}:8080", f"{REMOTE}:8080"}
    assert min(shares.values()) > 20  # 50 each are expected
    assert ask(world.pods[PODS[1]], VIP, 80), "and may ask themselves"
