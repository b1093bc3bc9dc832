"""Runs inside namespaces of its own, as root: one API server, an agent, Pods, and packets. One line per scenario.

`python -m tests.kernel.node_network_program DIRECTORY [SCENARIO...]`
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import traceback
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.kernel.node_program import NODE, NODE_IP, SERVER, World, is_ready, open_world

Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}
DUAL_SCENARIOS: dict[str, Scenario] = {}
NODE_IP6 = "2001:db8::10"


class DualWorld(World):
    """A node of two families, IPv6 first; its ranges are given the other way round."""

    node_ip = f"{NODE_IP6},{NODE_IP}"
    pod_cidr = "10.244.0.0/24,fd10:244::/64"


PORT = 54323
ECHO = """
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 53))
while True:
    _, peer = s.recvfrom(100); s.sendto(os.uname().nodename.encode(), peer)
"""
WHO = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(self.client_address[0].encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("", 80), Answer).serve_forever()
"""


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


def list_rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


async def fetch(url: str, *, source: str = "") -> str:
    """The answer over HTTP; an empty source is the kernel's choice."""

    def ask() -> str:
        if source:
            host, _, port = url.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), 5, (source, 0)) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b""
                while piece := connection.recv(4096):
                    answer += piece
                return answer.rpartition(b"\r\n\r\n")[2].decode()
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(ask)


async def ask_udp(host: str, port: int, connection: socket.socket | None = None) -> str:
    def ask() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
            used = connection or fresh
            used.settimeout(5)
            used.sendto(b"?", (host, port))
            return used.recv(100).decode()

    return await asyncio.to_thread(ask)


async def create_server(
    world: World, name: str, program: str, port: int, host_port: int, **changes: Any
) -> dict[str, Any]:
    ports = [{"containerPort": port, "hostPort": host_port, **changes}]
    ready = {"exec": {"command": ["sh", "-c", "grep -qE ':(0050|0035) ' /proc/net/tcp /proc/net/tcp6 /proc/net/udp"]}}
    container = {"ports": ports, "readinessProbe": {**ready, "periodSeconds": 1}}
    await world.create(name, ["python3", "-c", program], container=container)
    return await world.wait(name, is_ready)


async def remove(world: World, *names: str) -> None:
    for name in names:
        await world.delete(name, grace=0)
    for name in names:
        await world.wait_gone(name)


async def wait_for_rules(world: World, check: Callable[[str], bool]) -> None:
    async def look() -> bool:
        return check(list_rules())

    await world.cluster.eventually(look)


@scenario
async def one_number_leads_to_three_pods_by_address_and_protocol(world: World) -> None:
    """Upstream's conformance test of host ports, and what is left when the Pods are gone."""
    await create_server(world, "of-loopback", SERVER, 80, PORT, hostIP="127.0.0.1")
    await create_server(world, "of-node", SERVER, 80, PORT, hostIP=NODE_IP)
    await create_server(world, "of-udp", ECHO, 53, PORT, hostIP=NODE_IP, protocol="UDP")
    assert await fetch(f"http://127.0.0.1:{PORT}", source=NODE_IP) == "of-loopback"
    assert await fetch(f"http://127.0.0.1:{PORT}") == "of-loopback"
    assert await fetch(f"http://{NODE_IP}:{PORT}") == "of-node"
    assert await ask_udp(NODE_IP, PORT) == "of-udp"
    rules = list_rules()
    checked = subprocess.run(["nft", "-c", "-f", "-"], input=rules, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    await remove(world, "of-loopback", "of-node", "of-udp")
    await wait_for_rules(world, lambda rules: "seaway-node" not in rules)


@scenario
async def other_pods_and_the_pod_itself_come_in_by_the_nodes_port(world: World) -> None:
    server = await create_server(world, "who", WHO, 80, 8080)
    url = f"http://{NODE_IP}:8080"
    ask = f"python3 -c \"import urllib.request as u; print(u.urlopen('{url}', timeout=2).read().decode())\""
    ask_self = ask.replace("8080", "8083")
    client, log = await world.run_to_end("asker", ask)
    assert log == client["status"]["podIP"], "the address of another Pod is kept"
    assert server["status"]["podIP"] != client["status"]["podIP"]
    script = f"python3 -c '{WHO}' & for i in $(seq 50); do {ask_self} && break; sleep 0.1; done; kill %1"
    hairpin = {"ports": [{"containerPort": 80, "hostPort": 8083}]}
    pod, log = await world.run_to_end("itself", script, container=hairpin)
    assert log.splitlines()[-1:] and log.splitlines()[-1] != pod["status"]["podIP"], f"it would answer itself: {log}"
    await remove(world, "who", "asker", "itself")


@scenario
async def an_agent_that_comes_back_restores_the_ports(world: World) -> None:
    await create_server(world, "kept", SERVER, 80, 8081)
    await world.stop_agent()
    assert await fetch(f"http://{NODE_IP}:8081") == "kept", "ports serve while no agent runs"
    subprocess.run(["nft", "delete", "table", "ip", "seaway-node"], check=True)
    await world.start_agent()
    await wait_for_rules(world, lambda rules: "8081" in rules)
    assert await fetch(f"http://{NODE_IP}:8081") == "kept"
    await world.stop_agent()
    await world.delete("kept", grace=0)
    await world.start_agent()
    await wait_for_rules(world, lambda rules: "seaway-node" not in rules)


@scenario
async def a_flow_of_datagrams_follows_the_port_to_its_next_pod(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.bind((NODE_IP, 0))
        await create_server(world, "first", ECHO, 53, 5353, protocol="UDP")
        assert await ask_udp(NODE_IP, 5353, flow) == "first"
        await remove(world, "first")
        await create_server(world, "second", ECHO, 53, 5353, protocol="UDP")
        assert await ask_udp(NODE_IP, 5353, flow) == "second"
        await remove(world, "second")


@scenario
async def packets_of_pods_are_as_large_as_the_uplink_takes(world: World) -> None:
    await world.stop_agent()
    commands = (
        "ip link add uplink type veth peer name outside",
        "ip link set uplink mtu 1400 up",
        "ip link set outside up",
        "ip route add default dev uplink",
    )
    for command in commands:
        subprocess.run(command.split(), check=True)
    await world.start_agent()
    _, log = await world.run_to_end("sized", "cat /sys/class/net/eth0/mtu")
    assert log == "1400"
    subprocess.run(["ip", "link", "del", "uplink"], check=True)
    await remove(world, "sized")


@scenario
async def a_volume_in_memory_is_shared_bounded_and_gone_with_its_pod(world: World) -> None:
    volume = {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    mount = {"volumeMounts": [{"name": "m", "mountPath": "/m"}], "image": "x"}
    first = {**mount, "name": "first", "command": ["sh", "-c", "echo shared > /m/f; chmod 666 /m/f"]}
    script = "cat /m/f; grep ' /m tmpfs ' /proc/mounts | wc -l; head -c 2000000 /dev/zero > /m/g || echo full"
    pod, log = await world.run_to_end("memory", script, container=mount, volumes=[volume], initContainers=[first])
    lines = log.splitlines()
    assert lines[:2] == ["shared", "1"] and lines[-1] == "full", log

    async def is_unmounted() -> bool:
        return pod["metadata"]["uid"] not in Path("/proc/self/mounts").read_text()

    await world.cluster.eventually(is_unmounted)
    await remove(world, "memory")


FIREWALLS = {
    "own chain": "table inet mine { chain fw { type filter hook forward priority 0; policy drop;\n"
                 "ct state established accept\n}\n}",
    "reject at the end": "table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10;\n"
                         "ct state established accept\ncounter reject with icmpx type admin-prohibited\n}\n}",
}  # fmt: skip


@scenario
async def a_firewall_that_drops_forwarded_packets_is_told_with_its_mend(world: World) -> None:
    """Nothing of it is changed; the command that the event names lets the packets through."""
    await create_server(world, "walled", SERVER, 80, 8084)
    server = (await world.get("walled") or {})["status"]["podIP"]
    ask = (
        f"timeout 3 python3 -c \"import urllib.request as u; u.urlopen('http://{server}', timeout=1)\" && echo reached"
    )
    for number, rules in enumerate(FIREWALLS.values()):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
        name = rules.split()[2]

        async def find_warning(table: str = name) -> str:
            warnings = read_warnings(world)
            return next((text for text in warnings if f"table inet {table}, " in text), "")

        message = await world.cluster.eventually(find_warning, timeout_seconds=20)

        async def find_event(text: str = message) -> Any:
            return next((event for event in await world.read_events(NODE) if event["message"] == text), None)

        event = await world.cluster.eventually(find_event)
        found = (event["reason"], event["type"], event["involvedObject"]["kind"])
        assert found == ("ForwardingBlocked", "Warning", "Node")
        _, log = await world.run_to_end(f"blocked-{number}", ask)
        assert "reached" not in log
        if name == "mine":
            for command in message.partition("run: ")[2].split("; "):
                subprocess.run(command.split(), check=True)
            await wait_for_no_warning(world)
            _, log = await world.run_to_end(f"open-{number}", ask)
            assert "reached" in log, "the mend that was told is one"
            await remove(world, f"open-{number}")
        subprocess.run(["nft", "delete", "table", "inet", name], check=True)
        await wait_for_no_warning(world)
        await remove(world, f"blocked-{number}")
    await remove(world, "walled")


def read_warnings(world: World) -> list[str]:
    path = world.state_dir / "warnings.json"
    return list(json.loads(path.read_text())) if path.exists() else []


async def wait_for_no_warning(world: World) -> None:
    async def look() -> bool:
        return not read_warnings(world)

    await world.cluster.eventually(look, timeout_seconds=20)


@scenario
async def removal_takes_the_ports_away(world: World) -> None:
    from seaway.node.run import remove_pods

    await create_server(world, "last", SERVER, 80, 8082)
    assert "8082" in list_rules()
    await world.stop_agent()
    await remove_pods(world.state_dir)
    assert "seaway-node" not in list_rules()


def dual_scenario(function: Scenario) -> Scenario:
    DUAL_SCENARIOS[function.__name__] = function
    return function


SERVER6 = SERVER.replace("http.server.HTTPServer((", "import socket\nclass Six(http.server.HTTPServer):\n"
                         "    address_family = socket.AF_INET6\nSix((").replace('("", 80)', '("::", 80)')  # fmt: skip


@dual_scenario
async def pods_of_two_families_are_reached_by_both(world: World) -> None:
    """Addresses are usable at once (no duplicate address detection), ports of the node lead to both."""
    server = await create_server(world, "both", SERVER6, 80, 8090)
    addresses = [entry["ip"] for entry in server["status"]["podIPs"]]
    assert addresses == ["fd10:244::2", "10.244.0.2"] and server["status"]["podIP"] == addresses[0]
    assert [entry["ip"] for entry in server["status"]["hostIPs"]] == [NODE_IP6, NODE_IP]
    for host in (f"[{addresses[0]}]:80", f"{addresses[1]}:80", f"[{NODE_IP6}]:8090", f"{NODE_IP}:8090"):
        assert await fetch(f"http://{host}") == "both", host
    flags = "ip -6 -o addr show dev eth0 scope global; cat /proc/sys/net/ipv6/conf/eth0/forwarding"
    urls = [f"http://[{addresses[0]}]", f"http://{addresses[1]}", f"http://[{NODE_IP6}]:8090", f"http://{NODE_IP}:8090"]
    program = f"import urllib.request as u; [print(u.urlopen(it, timeout=3).read().decode()) for it in {urls}]"
    _, log = await world.run_to_end("asks", f'python3 -c "{program}"; {flags}; echo $IPS',
                                    container={"env": [{"name": "IPS", "valueFrom": {
                                        "fieldRef": {"fieldPath": "status.podIPs"}}}]})  # fmt: skip
    lines = log.splitlines()
    assert lines[:4] == ["both"] * 4, log
    assert "tentative" not in log and "nodad" in log, log
    assert lines[-1] == "fd10:244::3,10.244.0.3"
    routes = subprocess.run(["ip", "-6", "route"], capture_output=True, text=True, check=True).stdout
    assert "blackhole fd10:244::/64" in routes and "fd10:244::2 dev veth" in routes
    await remove(world, "both", "asks")


@dual_scenario
async def removal_of_two_families_leaves_no_trace(world: World) -> None:
    from seaway.node.run import remove_pods

    await create_server(world, "last", SERVER6, 80, 8091)
    await world.stop_agent()
    await remove_pods(world.state_dir)
    routes = subprocess.run(["ip", "-6", "route"], capture_output=True, text=True, check=True).stdout
    assert "fd10:244" not in routes and "seaway-node" not in list_rules()


async def main(directory: Path, only: list[str]) -> None:
    await run_scenarios(directory / "one", World, SCENARIOS, only)
    subprocess.run(["ip", "addr", "add", f"{NODE_IP6}/128", "dev", "lo"], check=True)
    subprocess.run(["ip", "addr", "del", f"{NODE_IP}/32", "dev", "lo"], check=False)  # it is added anew
    await run_scenarios(directory / "two", DualWorld, DUAL_SCENARIOS, only)


async def run_scenarios(directory: Path, kind: type[World], scenarios: dict[str, Scenario], only: list[str]) -> None:
    if only and not set(only) & scenarios.keys():
        return
    async with open_world(directory, sandbox=False, kind=kind) as world:
        for name, function in scenarios.items():
            if only and name not in only:
                continue
            error = ""
            try:
                await asyncio.wait_for(function(world), 60)
            except Exception:
                error = traceback.format_exc()
            print(json.dumps({"scenario": name, "error": error}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
