"""Runs inside namespaces of its own, as root: one API server, two nodes on one link, each with its agent and its proxy.

`python -m tests.kernel.node_two DIRECTORY [SCENARIO...]`. A line of JSON per scenario.

This process is in the namespace of the API server, which is also the third host on the link: the client from outside.
The server's certificate is for loopback, so each node has a relay to it on its own loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import traceback
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import Forbidden, NotFound
from seaway.api.registry import EVENTS, NODES, PODS, SERVICES
from seaway.client.kubeconfig import parse_kubeconfig
from seaway.client.requests import Client
from seaway.client.transport import open_client
from seaway.controllers.config import ControllersConfig
from seaway.controllers.run import run as run_controllers
from seaway.testing.builders import make_pod, make_service
from seaway.testing.cluster import first_of
from seaway.testing.netns import Namespace
from seaway.testing.server import SeawayServer
from tests.kernel.node_program import is_ready

Json = dict[str, Any]
PATIENCE_SECONDS = 30.0
NODE_GRACE_SECONDS = 15.0
OUTSIDE = "192.0.2.100"
WHO = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(f"{os.uname().nodename} {self.client_address[0]}".encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 80), Answer).serve_forever()
"""
ASK = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())
    except OSError:
        print("nobody")
"""
REMOVE = """
import asyncio, pathlib, sys
from seaway.node.run import remove_pods
asyncio.run(remove_pods(pathlib.Path(sys.argv[1])))
"""


class Node:
    """One host: a namespace with an agent and a proxy as processes."""

    def __init__(self, name: str, number: int, seaway: SeawayServer, directory: Path) -> None:
        self.name = name
        self.ip, self.pod_cidr = f"192.0.2.{number}", f"10.244.{number}.0/24"
        self.namespace = Namespace()
        self.data_dir = directory / name
        self.data_dir.mkdir()
        self.agent_user = seaway.make_user(f"system:node:{name}", ("system:nodes",))
        self._proxy_user = seaway.make_user("system:kube-proxy", ())
        self._api_port = seaway.port
        self._log = (directory / f"{name}.log").open("ab")
        self.agent: subprocess.Popen[bytes] | None = None
        self._proxy: subprocess.Popen[bytes] | None = None
        self._relay: asyncio.Server | None = None

    async def connect(self) -> None:
        """A cable to the bridge of the server's namespace, and the relay to the API."""
        link, run = f"to-{self.name}", self.namespace.run
        for argv in (
            ["ip", "link", "add", link, "type", "veth", "peer", "name", "lan", "netns", self.namespace.path],
            ["ip", "link", "set", link, "master", "bridge", "up"],
        ):
            subprocess.run(argv, check=True)
        run("ip", "address", "add", f"{self.ip}/24", "dev", "lan")
        run("ip", "link", "set", "lan", "up")
        run("ip", "route", "add", "default", "via", OUTSIDE)
        with self.namespace.entered():
            listening = socket.create_server(("127.0.0.1", self._api_port))
        self._relay = await asyncio.start_server(self._carry, sock=listening)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._api_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    def start_agent(self) -> None:
        self.agent = self._start(
            "node", "--kubeconfig", str(self.agent_user.kubeconfig), "--data-dir", str(self.data_dir),
            "--node-name", self.name, "--node-ip", self.ip, "--pod-cidr", self.pod_cidr,
        )  # fmt: skip

    def start_proxy(self) -> None:
        self._proxy = self._start(
            "proxy", "--kubeconfig", str(self._proxy_user.kubeconfig), "--node-name", self.name,
            "--cluster-cidr", "10.244.0.0/16", "--serve-uplinks",
            "--uplink-state", str(self.data_dir / "uplinks.json"),
        )  # fmt: skip

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.namespace.entered():
            return subprocess.Popen(
                [sys.executable, "-m", "seaway", *arguments], stdout=self._log, stderr=subprocess.STDOUT
            )

    def kill_agent(self) -> None:
        assert self.agent is not None and self.agent.poll() is None, "the agent ended by itself"
        self.agent.kill()
        self.agent.wait()

    def remove_pods(self) -> None:
        """In a process of its own: all of its threads are in the namespace."""
        self.namespace.run(sys.executable, "-c", REMOVE, str(self.data_dir / "node"))

    def list_routes(self) -> list[str]:
        return [line.strip() for line in self.namespace.run("ip", "route").splitlines()]

    async def close(self) -> None:
        for process in (self.agent, self._proxy):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self.remove_pods()
        if self._relay is not None:
            self._relay.close()
        self._log.close()
        self.namespace.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


class World:
    def __init__(self, client: Client, a: Node, b: Node) -> None:
        self.client, self.a, self.b = client, a, b

    async def wait(self, look: Callable[[], Awaitable[Any]], what: str) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    if found := await look():
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {PATIENCE_SECONDS:g} s") from None

    async def create(self, name: str, node: Node | None, argv: list[str], **spec: Any) -> None:
        labels = spec.pop("labels", {})
        container = {"name": "main", "image": "program", "command": argv, **spec.pop("container", {})}
        placed: Json = {"nodeName": node.name} if node is not None else {}
        pod = make_pod(name, labels=labels, containers=[container], **placed, **spec)
        pod.pop("status")
        await self.client.create(PODS, pod, "default")

    async def serve(self, name: str, node: Node | None, **spec: Any) -> Json:
        """A Pod that answers with its name and the address that it sees; returned when it is ready."""
        probe = {"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}}
        await self.create(name, node, ["python3", "-c", WHO], container=probe, **spec)
        return await self.wait_pod(name, is_ready)

    async def wait_pod(self, name: str, check: Callable[[Json], bool]) -> Json:
        last: Json = {}

        async def look() -> Json | None:
            nonlocal last
            last = await self.client.get(PODS, name, "default", as_type=dict)
            return last if check(last) else None

        try:
            pod: Json = await self.wait(look, f"Pod {name}")
            return pod
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(last.get('status'), indent=1)}") from None

    async def ask_from(self, node: Node, name: str, url: str, count: int = 1) -> tuple[Json, list[str]]:
        """The answers that a Pod on the node gets, and the Pod."""
        await self.create(name, node, ["python3", "-c", ASK, url, str(count)], restartPolicy="Never")
        pod = await self.wait_pod(name, lambda p: p["status"]["phase"] in ("Succeeded", "Failed"))
        path = node.data_dir / "node" / "logs" / pod["metadata"]["uid"] / "main" / "0.log"
        answers = [line.split(" ", 3)[3] for line in path.read_text().splitlines()]
        await self.remove(name)
        return pod, answers

    async def remove(self, *names: str) -> None:
        for name in names:
            await self.client.delete(PODS, name, "default", options={"gracePeriodSeconds": 0})

    async def wait_node(self, node: Node, status: str) -> None:
        async def look() -> bool:
            with contextlib.suppress(NotFound):
                found = await self.client.get(NODES, node.name, as_type=dict)
                conditions = found["status"].get("conditions", ())
                return any(c["type"] == "Ready" and c["status"] == status for c in conditions)
            return False

        await self.wait(look, f"node {node.name} is Ready={status}")

    async def wait_route(self, node: Node, route: str, *, is_there: bool = True) -> None:
        async def look() -> bool:
            return any(line.startswith(route) for line in node.list_routes()) == is_there

        await self.wait(look, f"{node.name}: route {route}, there: {is_there}")

    async def wait_answers(self, url: str, expected: set[str]) -> None:
        """From outside: until the last answers are these and no others."""

        async def look() -> bool:
            return {await fetch(url) for _ in range(4)} == expected

        await self.wait(look, f"{url} answers {expected}; it was {await fetch(url)}")


async def fetch(url: str) -> str:
    def ask() -> str:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return str(answer.read().decode())
        except OSError:
            return "nobody"

    return await asyncio.to_thread(ask)


Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def each_node_has_a_route_to_the_pods_of_the_other(world: World) -> None:
    await world.wait_route(world.a, "10.244.2.0/24 via 192.0.2.2 dev lan")
    await world.wait_route(world.b, "10.244.1.0/24 via 192.0.2.1 dev lan")
    assert not any("10.244.1.0/24 via" in line for line in world.a.list_routes()), "none to itself"


@scenario
async def a_pod_reaches_a_pod_of_the_other_node_and_its_address_is_kept(world: World) -> None:
    server = await world.serve("far", world.b)
    client, answers = await world.ask_from(world.a, "near", f"http://{server['status']['podIP']}/", 3)
    assert answers == [f"far {client['status']['podIP']}"] * 3, answers
    assert client["status"]["hostIP"] == world.a.ip and server["status"]["hostIP"] == world.b.ip
    await world.remove("far")


@scenario
async def pods_without_a_node_are_spread_over_both(world: World) -> None:
    pods = [await world.serve(f"spread-{number}", None, labels={"app": "spread"}) for number in range(2)]
    await world.client.create(SERVICES, make_service("spread"), "default")
    third = await world.serve("spread-2", None, labels={"app": "spread"})
    fourth = await world.serve("spread-3", None, labels={"app": "spread"})
    nodes = {pod["spec"]["nodeName"] for pod in (*pods, third, fourth)}
    assert nodes == {"a", "b"}, nodes
    await world.remove(*(f"spread-{number}" for number in range(4)))


async def create_service(world: World, name: str, **spec: Any) -> Json:
    """A Service of one Pod on each node, `NAME-a` and `NAME-b`."""
    for node in (world.a, world.b):
        await world.serve(f"{name}-{node.name}", node, labels={"app": name})
    return await world.client.create(SERVICES, make_service(name, **spec), "default")


@scenario
async def a_service_is_served_by_the_pods_of_both_nodes_and_addresses_are_kept(world: World) -> None:
    service = await create_service(world, "both")
    url = f"http://{service['spec']['clusterIP']}/"

    for attempt in range(5):
        client, answers = await world.ask_from(world.a, f"asks-both-{attempt}", url, 40)
        if "nobody" not in answers:  # the proxy has not heard of it yet
            break
    ip = client["status"]["podIP"]
    assert set(answers) == {f"both-a {ip}", f"both-b {ip}"}, answers
    await world.remove("both-a", "both-b")


@scenario
async def a_node_port_leads_to_the_other_node_and_traffic_policy_local_keeps_it_at_home(world: World) -> None:
    port = 30080
    ports = [{"port": 80, "nodePort": port, "protocol": "TCP"}]
    await world.serve("door-b", world.b, labels={"app": "door"})
    await world.client.create(SERVICES, make_service("door", type="NodePort", ports=ports), "default")
    await world.wait_answers(f"http://{world.a.ip}:{port}/", {f"door-b {world.a.ip}"})
    patch = {"spec": {"externalTrafficPolicy": "Local"}}
    await world.client.patch(SERVICES, "door", "default", patch=patch)
    await world.wait_answers(f"http://{world.b.ip}:{port}/", {f"door-b {OUTSIDE}"})
    await world.wait_answers(f"http://{world.a.ip}:{port}/", {"nobody"})
    await world.remove("door-b")


@scenario
async def internal_traffic_policy_local_stays_on_the_node(world: World) -> None:
    service = await create_service(world, "home", internalTrafficPolicy="Local")
    url = f"http://{service['spec']['clusterIP']}/"
    for node in (world.a, world.b):
        for attempt in range(5):
            client, answers = await world.ask_from(node, f"asks-home-{node.name}-{attempt}", url, 20)
            if "nobody" not in answers:
                break
        assert set(answers) == {f"home-{node.name} {client['status']['podIP']}"}, answers
    await world.remove("home-a", "home-b")


@scenario
async def a_node_may_not_write_what_is_another_nodes(world: World) -> None:
    await world.serve("foreign", world.b)
    identity = open_client(parse_kubeconfig(world.a.agent_user.kubeconfig.read_text()))
    status = {"status": {"message": "mine"}}
    writes: dict[str, Callable[[], Awaitable[Any]]] = {
        "Node": lambda: identity.patch(NODES, "b", patch={"metadata": {"labels": {"mine": "yes"}}}),
        "Node status": lambda: identity.patch(NODES, "b", patch=status, subresource="status"),
        "Pod status": lambda: identity.patch(PODS, "foreign", "default", patch=status, subresource="status"),
        "Pod": lambda: identity.delete(PODS, "foreign", "default"),
    }
    try:
        for what, write in writes.items():
            try:
                await write()
            except Forbidden:
                continue
            raise AssertionError(f"{what} of node b was written by node a")
        await identity.patch(NODES, "a", patch={"metadata": {"labels": {"mine": "yes"}}})
    finally:
        await identity.close()
    await world.remove("foreign")


@scenario
async def a_route_that_somebody_removed_comes_back(world: World) -> None:
    world.a.namespace.run("ip", "route", "del", "10.244.2.0/24")
    await world.wait_route(world.a, "10.244.2.0/24 via 192.0.2.2 dev lan")


@scenario
async def a_node_that_is_no_peer_any_more_loses_its_route_and_one_that_lies_gets_none(world: World) -> None:
    for name, cidr, ip in (("c", "10.244.3.0/24", "192.0.2.3"), ("liar", "0.0.0.0/0", OUTSIDE)):
        spec = {"podCIDR": cidr, "podCIDRs": [cidr]}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
        await world.client.create(NODES, node)
        status = {"status": {"addresses": [{"type": "InternalIP", "address": ip}]}}
        await world.client.patch(NODES, name, patch=status, subresource="status")
    await world.wait_route(world.a, "10.244.3.0/24 via 192.0.2.3")

    async def find_event() -> bool:
        page = await world.client.list(EVENTS, "default")
        events = [json.loads(bytes(item)) for item in page.items]
        return any(e["reason"] == "PeerUnreachable" and "node liar" in e["message"] for e in events)

    await world.wait(find_event, "an event about the range that is not the cluster's")
    assert not [line for line in world.a.list_routes() if line.startswith(("0.0.0.0", "default")) and "153" in line]
    await world.client.delete(NODES, "c")
    await world.client.delete(NODES, "liar")
    await world.wait_route(world.a, "10.244.3.0/24", is_there=False)


@scenario
async def a_node_without_its_agent_is_not_ready_and_the_other_serves_on(world: World) -> None:
    on_a = await world.serve("stays", world.a)
    on_b = await world.serve("lost", world.b)
    world.b.kill_agent()
    await world.wait_node(world.b, "Unknown")
    await world.wait_pod("lost", lambda pod: not is_ready(pod))
    assert is_ready(await world.client.get(PODS, "stays", "default", as_type=dict))
    _, answers = await world.ask_from(world.a, "asks-lost", f"http://{on_b['status']['podIP']}/")
    assert answers[0].startswith("lost "), "the Pod and the routes are there without the agent"
    world.b.start_agent()
    await world.wait_node(world.b, "True")
    again = await world.wait_pod("lost", is_ready)
    assert again["status"]["podIP"] == on_b["status"]["podIP"]
    assert again["status"]["containerStatuses"][0]["restartCount"] == 0
    assert on_a["status"]["podIP"] != on_b["status"]["podIP"]
    await world.remove("stays", "lost")


@scenario
async def removal_takes_the_routes_to_others_away(world: World) -> None:
    """Last: node b has no agent after it."""
    world.b.kill_agent()
    world.b.remove_pods()
    assert not [line for line in world.b.list_routes() if "10.244" in line], world.b.list_routes()


@contextlib.asynccontextmanager
async def open_world(directory: Path) -> AsyncIterator[World]:
    for command in ("ip link set lo up", "ip link add bridge type bridge", "ip link set bridge up",
                    f"ip address add {OUTSIDE}/24 dev bridge"):  # fmt: skip
        subprocess.run(command.split(), check=True)
    async with SeawayServer(controllers=("-*",)) as seaway, contextlib.AsyncExitStack() as stack:
        client = open_client(parse_kubeconfig(seaway.kubeconfig.read_text()))
        stack.push_async_callback(client.close)
        ready = asyncio.Event()
        config = ControllersConfig(node_grace_seconds=NODE_GRACE_SECONDS, ca_pem=seaway.server.ca_pem)
        loops = asyncio.create_task(run_controllers(config, client, on_ready=ready.set))
        stack.callback(loops.cancel)
        await first_of(loops, ready)
        nodes = []
        for number, name in enumerate(("a", "b"), start=1):
            node = await asyncio.to_thread(Node, name, number, seaway.server, directory)
            stack.push_async_callback(node.close)
            await node.connect()
            node.start_proxy()
            node.start_agent()
            nodes.append(node)
        world = World(client, *nodes)
        for node in nodes:
            await world.wait_node(node, "True")
        yield world


async def main(directory: Path, only: list[str]) -> None:
    async with open_world(directory) as world:
        for name, function in SCENARIOS.items():
            if only and name not in only:
                continue
            error = ""
            try:
                await asyncio.wait_for(function(world), 120)
            except Exception:
                logs = "".join((directory / f"{node}.log").read_text()[-2000:] for node in ("a", "b"))
                error = traceback.format_exc() + logs
            print(json.dumps({"scenario": name, "error": error}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
