"""Rule: spec "proxy" §7.1."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodePortAddresses, NodeView
from seaway.proxy.forwarding import ServiceForwarding, forward_service
from seaway.proxy.health.ports import HealthPort, answer_health_port, explain_failure, plan_health_ports
from seaway.proxy.health.serve import HealthPortServers
from seaway.telemetry.page import encode_answer
from seaway.testing.builders import make_service, make_slice

NODE = NodeView("node-1", "", ("192.0.2.1",))
LOCAL: dict[str, Any] = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}


def forward(*slices: dict[str, Any], **spec: Any) -> ServiceForwarding:
    wire = make_service(
        "web", **{"clusterIP": "10.96.0.10", "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.10"], **spec}
    )
    pieces = [msgspec.convert(piece, EndpointSlice) for piece in slices]
    found = forward_service(msgspec.convert(wire, Service), pieces, family=Family.IPV4, node=NODE)
    assert found is not None
    return found


def on_node(name: str, node: str, *addresses: str, **condition: Any) -> dict[str, Any]:
    return make_slice(name, "web", list(addresses), nodeName=node, **condition)


COUNTS = {
    "149 endpoints of this node count, those of others do not": (
        [on_node("a", "node-1", "10.244.0.2", "10.244.0.3"), on_node("b", "node-2", "10.244.1.2")], 2,
    ),
    "151 an address counts once over all ports": (
        [
            {**on_node("a", "node-1", "10.244.0.2"), "ports": [
                {"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}]},
        ], 1,
    ),
    "what is not ready does not count": (
        [on_node("a", "node-1", "10.244.0.2", conditions={"ready": False})], 0,
    ),
    "150 what terminates does not count, though it may still serve": (
        [on_node("a", "node-1", "10.244.0.2", conditions={"ready": False, "serving": True, "terminating": True})], 0,
    ),
    "no endpoints": ([], 0),
}  # fmt: skip


@pytest.mark.parametrize(("slices", "count"), COUNTS.values(), ids=COUNTS.keys())
def test_the_count(slices: list[dict[str, Any]], count: int) -> None:
    assert forward(*slices, **LOCAL).local_ready == count


ASKED = {
    "a load balancer under the Local policy has one": (LOCAL, 31000),
    "152 not under the Cluster policy": ({**LOCAL, "externalTrafficPolicy": "Cluster"}, 0),
    "not a Service of type NodePort": ({**LOCAL, "type": "NodePort"}, 0),
    "not without a number": ({**LOCAL, "healthCheckNodePort": 0}, 0),
    "not beyond 65535": ({**LOCAL, "healthCheckNodePort": 70000}, 0),
}


@pytest.mark.parametrize(("spec", "port"), ASKED.values(), ids=ASKED.keys())
def test_which_services_have_a_port(spec: dict[str, Any], port: int) -> None:
    assert forward(**spec).health_port == port


PLACES = {
    "all addresses of IPv4": (NodePortAddresses(is_all=True), Family.IPV4, ("0.0.0.0",)),
    "all addresses of IPv6": (NodePortAddresses(is_all=True), Family.IPV6, ("::",)),
    "each address that serves node ports": (
        NodePortAddresses(addresses=("192.0.2.1", "192.0.2.2")), Family.IPV4, ("192.0.2.1", "192.0.2.2"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("chosen", "family", "addresses"), PLACES.values(), ids=PLACES.keys())
def test_where_it_listens(chosen: NodePortAddresses, family: Family, addresses: tuple[str, ...]) -> None:
    planned = plan_health_ports([forward(**LOCAL), forward()], chosen, family)
    assert planned == {(family, "default/web"): HealthPort("default/web", family, 31000, addresses, 0)}


STATUS = {
    "an endpoint and a healthy proxy": (1, True, 200),
    "no endpoint": (0, True, 503),
    "the proxy is ill": (1, False, 503),
}


@pytest.mark.parametrize(("count", "is_healthy", "code"), STATUS.values(), ids=STATUS.keys())
def test_the_status(count: int, is_healthy: bool, code: int) -> None:
    assert answer_health_port("ns1/svc1", count, is_proxy_healthy=is_healthy).code == code


def test_the_answer_to_the_letter() -> None:
    head, _, body = encode_answer(answer_health_port("ns1/svc1", 1, is_proxy_healthy=True)).partition(b"\r\n\r\n")
    assert body == (
        b'{\n\t"service": {\n\t\t"namespace": "ns1",\n\t\t"name": "svc1"\n\t},\n'
        b'\t"localEndpoints": 1,\n\t"serviceProxyHealthy": true\n}'
    )
    for line in (
        b"Content-Type: application/json", b"X-Content-Type-Options: nosniff", b"X-Load-Balancing-Endpoint-Weight: 1",
    ):  # fmt: skip
        assert line in head.split(b"\r\n")


def test_the_note_of_a_failure() -> None:
    port = HealthPort("ns1/svc1", Family.IPV4, 31000, ("0.0.0.0",), 0)
    note = 'node node-1 failed to start healthcheck "ns1/svc1" on port 31000: Address already in use'
    assert explain_failure("node-1", port, "Address already in use") == note


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def get(port: int, request: bytes = b"POST /any/path HTTP/1.1\r\n\r\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


KEY = (Family.IPV4, "default/web")


def wanted(port: int, count: int = 1, address: str = "127.0.0.1") -> dict[tuple[Family, str], HealthPort]:
    return {KEY: HealthPort("default/web", Family.IPV4, port, (address,), count)}


def test_ports_open_follow_counts_move_and_close() -> None:
    async def play() -> None:
        servers = HealthPortServers(lambda: True, lambda port, reason: pytest.fail(reason))
        first, second = free_port(), free_port()
        await servers.follow(wanted(first))
        assert (await get(first)).startswith(b"HTTP/1.1 200 ")  # whatever the path and method
        await servers.follow(wanted(first, 0))
        assert (await get(first)).startswith(b"HTTP/1.1 503 ")
        await servers.follow(wanted(second))
        assert (await get(second)).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectionRefusedError):
            await get(first)
        await servers.close()
        with pytest.raises(ConnectionRefusedError):
            await get(second)

    asyncio.run(play())


def test_a_port_that_is_taken_is_told_once_and_opens_when_it_is_free() -> None:
    async def play() -> None:
        refused: list[str] = []
        servers = HealthPortServers(lambda: True, lambda port, reason: refused.append(f"{port.port} {reason}"))
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = int(other.getsockname()[1])
            both = {KEY: HealthPort("default/web", Family.IPV4, port, ("127.0.0.2", "127.0.0.1"), 1)}
            await servers.follow(both)
            await servers.follow(both)
            assert len(refused) == 1
            with pytest.raises(ConnectionRefusedError):  # one address that cannot be bound closes all
                await asyncio.open_connection("127.0.0.2", port)
        await servers.follow(both)
        assert (await get(port)).startswith(b"HTTP/1.1 200 ")
        await servers.close()

    asyncio.run(play())


def test_who_knows_no_http_learns_nothing() -> None:
    async def play() -> None:
        servers = HealthPortServers(lambda: True, lambda port, reason: pytest.fail(reason))
        port = free_port()
        await servers.follow(wanted(port))
        assert (await get(port, b"\x16\x03\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        await servers.close()

    asyncio.run(play())
