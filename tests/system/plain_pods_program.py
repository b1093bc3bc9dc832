"""Runs as an ordinary user, without a namespace: the API in this process, the agent, and Pods that are plain children.

`python -m tests.system.plain_pods_program DIRECTORY [SCENARIO...]`. A line of JSON per scenario.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.net.loopback import LoopbackMap
from seaway.node.run import NodeConfig, remove_pods
from seaway.node.run import run as run_agent
from seaway.node.runtime.plain.run import find_leftovers
from seaway.testing.cluster import open_cluster
from tests.kernel.node_program import NODE, World, fetch, is_ready

Json = dict[str, Any]
MAP = LoopbackMap()
SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["HOSTNAME"].encode())
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["POD_IP"], 8080), Answer).serve_forever()
"""
DAEMON = (
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(WORD)\n    os._exit(0)\n"
)
"""Leaves a process behind in another session, whose parent has ended."""


class PlainWorld(World):
    """The same, without namespaces. Its range is of this process: tests may run beside each other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        second, third = 128 + os.getpid() // 250 % 100, os.getpid() % 250
        self.pod_cidr = f"10.{second}.{third}.0/24"
        self.node_ip = f"10.{second}.{third}.254"
        self.runtime: Any = None

    async def start_agent(self) -> None:
        ready = asyncio.Event()
        config = NodeConfig(
            node_name=NODE, node_ip=self.node_ip, pod_cidr=self.pod_cidr, dns_ip="10.96.0.10", resolv_conf=None,
            state_dir=self.state_dir, data_dir=self.data_dir, network="none", loopback=MAP, lease_renew_seconds=0.5,
        )  # fmt: skip
        identity = self.cluster.client(user=f"system:node:{NODE}", groups=("system:nodes",))
        self._agent = asyncio.create_task(run_agent(config, identity, on_ready=ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._agent, waiting}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._agent.done():
            self._agent.result()
        assert ready.is_set(), "the agent was not ready in 20 s"

    def list_programs(self, word: str) -> list[int]:
        """Processes of Pods with the word in their command line."""
        return [pid for pid in find_leftovers(self.state_dir) if word.encode() in read_command(pid)]

    async def wait_processes(self, word: str, count: int) -> list[int]:
        async def look() -> list[int] | None:
            found = self.list_programs(word)
            return found or [0] if len(found) == count else None

        return await self.cluster.eventually(look)

    def find_shim(self) -> int:
        [pid] = [
            int(name)
            for name in os.listdir("/proc")
            if name.isdigit()
            and (command := read_command(int(name))).find(b"seaway.node.shim.run") >= 0
            and str(self.state_dir).encode() in command
            and os.getpgid(int(name)) == _parent_session(int(name))
        ]
        return pid


def _parent_session(pid: int) -> int:
    """The group of the shim is that of its launcher, which has ended; keepers lead groups of their own."""
    group = os.getpgid(pid)
    return group if group != pid else -1


def read_command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes()
    return b""


def place_of(pod: Json) -> str:
    place = MAP.to_loopback(pod["status"]["podIP"])
    assert place is not None
    return place


Scenario = Callable[[PlainWorld], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def a_pod_serves_on_its_loopback_address(world: PlainWorld) -> None:
    """The API tells of the address that it would have anywhere, and probes ask where it is."""
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    await world.create("web-1", ["python3", "-c", SERVER], container={"readinessProbe": probe})
    pod = await world.wait("web-1", is_ready)
    assert pod["status"]["podIP"].startswith(world.pod_cidr.removesuffix("0/24"))
    assert pod["status"]["hostIP"] == world.node_ip
    assert fetch(f"{place_of(pod)}:8080") == "web-1"


@scenario
async def two_pods_serve_on_one_port(world: PlainWorld) -> None:
    await world.create("web-2", ["python3", "-c", SERVER], container={"readinessProbe": {"tcpSocket": {"port": 8080}}})
    pod = await world.wait("web-2", is_ready)
    assert fetch(f"{place_of(pod)}:8080") == "web-2"
    assert fetch(f"{place_of(await world.wait('web-1', is_ready))}:8080") == "web-1"


async def main(directory: Path, only: list[str]) -> None:
    async with open_cluster(controllers=True) as cluster:
        world = PlainWorld(cluster, directory, sandbox=False)
        try:
            await world.start_agent()
            for name, function in SCENARIOS.items():
                if only and name not in only:
                    continue
                error = ""
                try:
                    await asyncio.wait_for(function(world), 60)
                except Exception:
                    error = traceback.format_exc()
                print(json.dumps({"scenario": name, "error": error}), flush=True)
        finally:
            with contextlib.suppress(Exception):
                await world.stop_agent()
            await remove_pods(world.state_dir)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
