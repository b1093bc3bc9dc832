"""Runs inside namespaces of its own: the API in this process, the agent, and Pods that are real. One line per scenario.

`python -m tests.kernel.node_program DIRECTORY sandbox|host`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import CONFIG_MAPS, EVENTS, LEASES, NODES, PODS, SECRETS, SERVICES
from seaway.node.cgroups.plan import name_groups
from seaway.node.run import NodeConfig, remove_pods
from seaway.node.run import run as run_agent
from seaway.node.runtime.images.store import ImageStore
from seaway.testing.builders import make_pod, make_service
from seaway.testing.cluster import Cluster, open_cluster
from tests.node.runtime.images.archives import ImageMaker, make_busybox

NODE = "node-1"
NODE_IP = "192.0.2.10"
MAX_PIDS = 200
SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.uname().nodename.encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("", 80), Answer).serve_forever()
"""

Json = dict[str, Any]


class World:
    """One cluster and one agent that can be stopped and started."""

    node_ip = NODE_IP
    pod_cidr = "10.244.0.0/24"

    def __init__(self, cluster: Cluster, directory: Path, *, sandbox: bool) -> None:
        self.cluster = cluster
        self.client = cluster.client()
        self.data_dir = directory
        self.state_dir = directory / "node"
        self.sandbox = sandbox
        self.mounts = ""
        self._agent: asyncio.Task[None] | None = None

    async def start_agent(self) -> None:
        ready = asyncio.Event()
        config = NodeConfig(
            node_name=NODE, node_ip=self.node_ip, pod_cidr=self.pod_cidr, dns_ip="10.96.0.10",
            state_dir=self.state_dir, data_dir=self.data_dir, sandbox=self.sandbox, lease_renew_seconds=0.5,
            disk_seconds=0.5, pod_max_pids=MAX_PIDS,
        )  # fmt: skip
        identity = self.cluster.client(user=f"system:node:{NODE}", groups=("system:nodes",))
        self._agent = asyncio.create_task(run_agent(config, identity, on_ready=ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._agent, waiting}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._agent.done():
            self._agent.result()
        assert ready.is_set(), "the agent was not ready in 20 s"
        self.mounts = self.mounts or Path("/proc/self/mounts").read_text()

    async def stop_agent(self) -> None:
        assert self._agent is not None
        self._agent.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._agent

    async def create(self, name: str, command: list[str], *, container: Json | None = None, **spec: Any) -> None:
        main = {"name": "main", "image": "program", "command": command, **(container or {})}
        pod = make_pod(name, nodeName=NODE, containers=[main], **spec)
        pod.pop("status")
        await self.client.create(PODS, pod, "default")

    async def get(self, name: str) -> Json | None:
        with contextlib.suppress(NotFound):
            return await self.client.get(PODS, name, "default", as_type=dict)
        return None

    async def wait(self, name: str, check: Callable[[Json], bool], *, seconds: float = 15.0) -> Json:
        async def look() -> Json | None:
            pod = await self.get(name)
            return pod if pod is not None and check(pod) else None

        try:
            return await self.cluster.eventually(look, timeout_seconds=seconds)
        except TimeoutError:
            pod = await self.get(name) or {}
            events = [(e["reason"], e["message"]) for e in await self.read_events(name)]
            status = pod.get("status")
            raise AssertionError(
                f"Pod {name}: {json.dumps(status, indent=1)}\n{events}\n{self.read_log(pod)}"
            ) from None

    async def delete(self, name: str, *, grace: int | None = None) -> None:
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        await self.client.delete(PODS, name, "default", options=options)

    async def wait_gone(self, name: str, *, seconds: float = 15.0) -> None:
        async def look() -> bool:
            return await self.get(name) is None

        await self.cluster.eventually(look, timeout_seconds=seconds)

    async def read_events(self, name: str) -> list[Json]:
        page = await self.client.list(EVENTS, "default")
        events = [json.loads(bytes(item)) for item in page.items]
        return [event for event in events if event["involvedObject"]["name"] == name]

    async def wait_event(self, name: str, reason: str) -> Json:
        async def look() -> Json | None:
            return next((e for e in await self.read_events(name) if e["reason"] == reason), None)

        return await self.cluster.eventually(look)

    def read_log(self, pod: Json, *, attempt: int = 0, container: str = "main") -> str:
        path = self.state_dir / "logs" / pod["metadata"]["uid"] / container / f"{attempt}.log"
        if not path.exists():
            return ""
        return "\n".join(line.split(" ", 3)[3] for line in path.read_text().splitlines())

    async def run_to_end(
        self, name: str, script: str, *, container: Json | None = None, **spec: Any
    ) -> tuple[Json, str]:
        """A Pod that runs a shell script once; its last status and its log."""
        await self.create(name, ["sh", "-c", script], container=container, restartPolicy="Never", **spec)
        pod = await self.wait(name, lambda p: p["status"]["phase"] in ("Succeeded", "Failed"))
        return pod, self.read_log(pod)


def is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def find_waiting_reason(pod: Json) -> str:
    statuses = pod["status"].get("containerStatuses") or [{"state": {}}]
    return str(statuses[0]["state"].get("waiting", {}).get("reason"))


def fetch(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/", timeout=3) as reply:
        body: bytes = reply.read()
    return body.decode()


async def ask(address: str) -> str:
    """Not on the loop's thread: a probe of the agent's would keep the Pod's server, which takes one at a time."""
    return await asyncio.to_thread(fetch, address)


def list_links() -> set[str]:
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    return {link["ifname"] for link in links if link["ifname"].startswith("veth")}


def find_processes(word: str) -> list[int]:
    """Processes with the word in their command line."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and word.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.append(int(entry))
    return found


Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def the_node_is_registered(world: World) -> None:
    node = await world.client.get(NODES, NODE, as_type=dict)
    assert node["spec"]["podCIDR"] == "10.244.0.0/24"
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": NODE_IP}
    assert node["status"]["conditions"][-1]["type"] == "Ready" and node["status"]["conditions"][-1]["status"] == "True"
    lease = await world.client.get(LEASES, NODE, "kube-node-lease", as_type=dict)
    assert lease["spec"]["holderIdentity"] == NODE
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]

    async def renewed() -> bool:
        now = await world.client.get(LEASES, NODE, "kube-node-lease", as_type=dict)
        return bool(now["spec"]["renewTime"] > lease["spec"]["renewTime"])

    await world.cluster.eventually(renewed)
    assert (await world.wait_event(NODE, "NodeReady"))["message"] == f"Node {NODE} status is now: NodeReady"
    await world.client.patch(NODES, NODE, patch={"spec": {"unschedulable": True}})
    await world.wait_event(NODE, "NodeNotSchedulable")
    await world.client.patch(NODES, NODE, patch={"spec": {"unschedulable": None}})
    await world.wait_event(NODE, "NodeSchedulable")


@scenario
async def a_pod_serves_from_its_own_address(world: World) -> None:
    probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
    await world.create("web-1", ["python3", "-c", SERVER], container={"readinessProbe": probe})
    pod = await world.wait("web-1", is_ready)
    status = pod["status"]
    assert status["phase"] == "Running" and status["hostIP"] == NODE_IP
    assert status["podIP"] == status["podIPs"][0]["ip"] and status["podIP"].startswith("10.244.0.")
    assert await ask(status["podIP"]) == "web-1", "a Pod's host name is its name"
    assert status["containerStatuses"][0]["containerID"].startswith("process://")


@scenario
async def a_killed_program_turns_unready_and_starts_again(world: World) -> None:
    before = await world.wait("web-1", is_ready)
    seen: list[bool] = []

    async def watch() -> None:
        while True:
            pod = await world.get("web-1")
            seen.append(pod is not None and is_ready(pod))
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    [program] = [p for p in find_processes("http.server.BaseHTTPRequestHandler") if p != os.getpid()]
    os.kill(program, 9)
    after = await world.wait(
        "web-1", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1 and is_ready(p)
    )
    watching.cancel()
    assert False in seen
    container = after["status"]["containerStatuses"][0]
    assert container["lastState"]["terminated"]["exitCode"] == 137
    assert container["containerID"] != before["status"]["containerStatuses"][0]["containerID"]
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert await ask(after["status"]["podIP"]) == "web-1"


@scenario
async def a_new_agent_takes_over_what_runs(world: World) -> None:
    before = await world.wait("web-1", is_ready)
    await world.create("once", ["sh", "-c", "sleep 1; exit 7"], restartPolicy="Never")
    once = await world.wait("once", lambda p: p["status"]["phase"] == "Running")
    assert await ask(before["status"]["podIP"]) == "web-1"
    await world.stop_agent()
    assert fetch(before["status"]["podIP"]) == "web-1", "Pods run on without an agent"
    await asyncio.sleep(1.2)
    await world.start_agent()
    after = await world.wait("web-1", is_ready)
    assert after["status"] == before["status"], "nothing flaps"
    ended = await world.wait("once", lambda p: p["status"]["phase"] == "Failed")
    terminated = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert terminated["exitCode"] == 7, "the shim keeps exit codes"
    assert ended["metadata"]["uid"] == once["metadata"]["uid"]


def list_network() -> list[str]:
    """Addresses and routes of the host."""
    listed = [["ip", "-4", "-br", "address"], ["ip", "-4", "route"]]
    shown = "".join(subprocess.run(c, capture_output=True, text=True, check=True).stdout for c in listed)
    passing = ("UP", "DOWN", "UNKNOWN")
    return [" ".join(w.split("@")[0] for w in line.split() if w not in passing) for line in shown.splitlines()]


@scenario
async def a_new_agent_mends_what_an_interrupted_start_left(world: World) -> None:
    address = (await world.wait("web-1", is_ready))["status"]["podIP"]
    [link] = [line.split()[2] for line in list_network() if line.startswith(f"{address} dev")]
    before = list_network()
    for damage in (
        ["ip", "route", "del", f"{address}/32"],
        ["ip", "address", "del", "10.244.0.1/32", "dev", link],
        ["ip", "link", "set", link, "down"],
        ["ip", "link", "del", link],
        ["true"],
    ):
        await world.stop_agent()
        subprocess.run(damage, check=True)
        await world.start_agent()
        assert await ask(address) == "web-1", damage
        assert list_network() == before, damage
    assert (await world.wait("web-1", is_ready))["status"]["podIP"] == address


@scenario
async def a_deleted_pod_leaves_nothing(world: World) -> None:
    pod = await world.wait("web-1", is_ready)
    started = time.monotonic()
    await world.delete("web-1")
    await world.wait_gone("web-1")
    assert time.monotonic() - started < 10, "a program that ends on SIGTERM is not waited for"
    await world.delete("once")
    await world.wait_gone("once")

    async def clean() -> bool:
        return not list_links() and not (world.state_dir / "pods" / pod["metadata"]["uid"]).exists()

    await world.cluster.eventually(clean)
    assert not find_processes("http.server.BaseHTTPRequestHandler")
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert pod["status"]["podIP"] not in routes.replace("10.244.0.0/24", "")
    assert Path("/proc/self/mounts").read_text() == world.mounts, "a Pod's mounts are its own"


@scenario
async def the_host_stays_hidden(world: World) -> None:
    """`/run` holds nothing but the Pod's own account (`/var/run/secrets`)."""
    (world.data_dir / "admin.kubeconfig").write_text("secret")
    script = f"""
        cat {world.data_dir}/admin.kubeconfig && echo LEAK data
        ls {world.state_dir} && echo LEAK state
        ls /root/.ssh /root/.bashrc /root/.profile 2>/dev/null && echo LEAK root
        [ "$(ls -A /run)" = secrets ] || echo LEAK run
        cat /etc/shadow 2>/dev/null | grep : && echo LEAK shadow
        touch /usr/bin/x /etc/x 2>/dev/null && echo LEAK writable
        echo 1 > /proc/sys/kernel/printk 2>/dev/null && echo LEAK sysctl
        ls /proc/1/root/ 2>/dev/null && echo LEAK init
        ls -d /proc/[0-9]* | wc -l
        grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status
        id -u; python3 -c 'print("python works")'
    """
    pod, log = await world.run_to_end("hidden", script)
    assert "LEAK" not in log, log
    assert "python works" in log
    assert "NoNewPrivs:\t1" in log and "CapEff:\t0000000000000000" in log and "CapBnd:\t0000000000000000" in log
    assert ("\n0\n" if world.sandbox else "\n65534\n") in log
    assert pod["status"]["phase"] == "Succeeded", log


@scenario
async def names_and_resolver_are_the_pods_own(world: World) -> None:
    script = "hostname; cat /etc/hostname /etc/resolv.conf /etc/hosts /etc/nsswitch.conf"
    pod, log = await world.run_to_end(
        "named", script, hostname="db", subdomain="data", hostAliases=[{"ip": "192.0.2.1", "hostnames": ["a", "b"]}]
    )
    assert log.startswith("db\ndb\n")
    assert "search default.svc.cluster.local svc.cluster.local cluster.local" in log
    assert "\nnameserver 10.96.0.10\noptions ndots:5\n" in log
    assert "\n127.0.0.1\tlocalhost\n" in log and "hosts: files dns" in log
    assert f"\n{pod['status']['podIP']}\tdb.data.default.svc.cluster.local\tdb\n" in log
    assert "192.0.2.1\ta\tb" in log


@scenario
async def the_environment_names_services(world: World) -> None:
    port = {"port": 6379, "protocol": "TCP"}
    service = await world.client.create(
        SERVICES, make_service("redis-primary", ports=[port], clusterIP="10.96.0.11"), "default"
    )
    await world.client.create(
        CONFIG_MAPS,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
         "data": {"COLOR": "blue", "file.txt": "text"}},
        "default",
    )  # fmt: skip
    await world.client.create(
        SECRETS,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"},
         "data": {"password": "aHVudGVyMg=="}},
        "default",
    )  # fmt: skip
    env = [
        {"name": "ADDRESS", "value": "$(REDIS_PRIMARY_SERVICE_HOST):$(REDIS_PRIMARY_SERVICE_PORT)"},
        {"name": "OWN", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
    ]
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "all", "projected": {"sources": [
            {"secret": {"name": "keys"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}},
    ]  # fmt: skip
    mounts = [
        {"name": "scratch", "mountPath": "/scratch/deep"},
        {"name": "settings", "mountPath": "/etc/settings", "readOnly": True},
        {"name": "all", "mountPath": "/usr/share/projected"},
    ]
    script = (
        "env | sort; cat /etc/settings/file.txt; echo; cat /usr/share/projected/password; echo; "
        "echo hi > /scratch/deep/f && cat /scratch/deep/f; ls /usr/share | wc -l; ls -d /etc/passwd; "
        "echo $(ADDRESS)"
    )
    pod, log = await world.run_to_end(
        "env", script, container={"env": env, "envFrom": [{"configMapRef": {"name": "settings"}}],
                                  "volumeMounts": mounts}, volumes=volumes,
    )  # fmt: skip
    host = service["spec"]["clusterIP"]
    assert host == "10.96.0.11"
    redis = [line for line in log.splitlines() if line.startswith("REDIS_PRIMARY_")]
    assert redis == [
        f"REDIS_PRIMARY_PORT=tcp://{host}:6379",
        f"REDIS_PRIMARY_PORT_6379_TCP=tcp://{host}:6379",
        f"REDIS_PRIMARY_PORT_6379_TCP_ADDR={host}",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
        f"REDIS_PRIMARY_SERVICE_HOST={host}",
        "REDIS_PRIMARY_SERVICE_PORT=6379",
    ], log
    assert f"ADDRESS={host}:6379" in log and f"OWN={pod['status']['podIP']}" in log
    assert "SECRET=hunter2" in log and "COLOR=blue" in log
    assert log.splitlines()[-6:][:3] == ["text", "hunter2", "hi"] and int(log.splitlines()[-3]) > 5, log
    assert log.splitlines()[-1] == f"{host}:6379"


@scenario
async def init_containers_run_first_and_in_order(world: World) -> None:
    mount = [{"name": "shared", "mountPath": "/shared"}]
    init = [
        {
            "name": f"init-{n}",
            "image": "x",
            "command": ["sh", "-c", f"echo {n} >> /shared/order"],
            "volumeMounts": mount,
        }
        for n in (1, 2)
    ]
    pod, log = await world.run_to_end(
        "initial", "cat /shared/order", container={"volumeMounts": mount},
        initContainers=init, volumes=[{"name": "shared", "emptyDir": {}}],
    )  # fmt: skip
    assert log == "1\n2"
    assert [c["state"]["terminated"]["exitCode"] for c in pod["status"]["initContainerStatuses"]] == [0, 0]


@scenario
async def probes_decide(world: World) -> None:
    container = {
        "readinessProbe": {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/tmp/sick"]}, "periodSeconds": 1,
                          "failureThreshold": 1},
        "startupProbe": {"exec": {"command": ["true"]}},
    }  # fmt: skip
    script = "trap 'exit 0' TERM; sleep 1.5 & wait; touch /tmp/ready; sleep 2 & wait; touch /tmp/sick; sleep 60 & wait"
    await world.create("probed", ["sh", "-c", script], container=container)
    await world.wait("probed", lambda p: bool(p["status"].get("containerStatuses", [{}])[0].get("started")))
    assert not is_ready(await world.get("probed") or {})
    await world.wait("probed", is_ready)
    restarted = await world.wait("probed", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert restarted["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 0
    event = await world.wait_event("probed", "Killing")
    assert event["message"] == "Container main failed liveness probe, will be restarted"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{main}"
    await world.wait_event("probed", "Unhealthy")
    await world.delete("probed", grace=0)


HEALTH = """
import socket

def frame(kind, flags, stream, body=b""):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body

def field(name, value):
    return bytes([0x40, len(name)]) + name + bytes([len(value)]) + value

HEAD, TAIL = bytes([0x88]) + field(b"content-type", b"application/grpc"), field(b"grpc-status", b"0")
listener = socket.create_server(("", 50051))
while True:
    peer, _ = listener.accept()
    with peer, peer.makefile("rb") as asked:
        asked.read(24)
        peer.sendall(frame(4, 0, 0))
        while head := asked.read(9):
            asked.read(int.from_bytes(head[:3], "big"))
            if head[3] in (0, 1) and head[4] & 1:
                peer.sendall(frame(1, 4, 1, HEAD) + frame(0, 0, 1, bytes([0, 0, 0, 0, 2, 8, 1])) + frame(1, 5, 1, TAIL))
"""


@scenario
async def a_grpc_probe_decides(world: World) -> None:
    probe = {"grpc": {"port": 50051, "service": "web"}, "periodSeconds": 1}
    await world.create("health", ["python3", "-c", HEALTH], container={"readinessProbe": probe})
    await world.wait("health", is_ready)
    silent = {"grpc": {"port": 50052}, "periodSeconds": 1}
    await world.create("sick", ["sleep", "600"], container={"readinessProbe": silent})
    event = await world.wait_event("sick", "Unhealthy")
    assert event["message"].startswith("Readiness probe failed: timeout: failed to connect service"), event["message"]
    for name in ("health", "sick"):
        await world.delete(name, grace=0)


@scenario
async def another_image_replaces_the_run_and_nothing_else(world: World) -> None:
    beside = {"name": "beside", "image": "x", "command": ["sleep", "600"]}
    main = {"name": "main", "image": "program:1", "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"]}
    pod = make_pod("renewed", nodeName=NODE, restartPolicy="Never", containers=[main, beside])
    pod.pop("status")
    await world.client.create(PODS, pod, "default")
    before = await world.wait("renewed", is_ready)
    await world.client.patch(
        PODS, "renewed", "default", patch={"spec": {"containers": [{"name": "main", "image": "program:2"}]}},
        patch_type="application/strategic-merge-patch+json",
    )  # fmt: skip
    after = await world.wait("renewed", lambda p: is_ready(p) and container_of(p, "main")["restartCount"] == 1)
    assert container_of(after, "main")["image"] == "program:2"
    assert container_of(after, "main")["lastState"]["terminated"]["exitCode"] == 0
    assert container_of(after, "beside") == container_of(before, "beside")
    assert after["status"]["podIP"] == before["status"]["podIP"]
    event = await world.wait_event("renewed", "Killing")
    assert event["message"] == "Container main definition changed, will be restarted"
    await world.delete("renewed", grace=0)


def container_of(pod: Json, name: str) -> Json:
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    statuses = [status for kind in kinds for status in pod["status"].get(kind, ())]
    found: Json = next((status for status in statuses if status["name"] == name), {})
    return found


@scenario
async def a_debugger_joins_a_running_pod(world: World) -> None:
    await world.create("debugged", ["sleep", "600"])
    before = await world.wait("debugged", is_ready)
    shell = {"name": "shell", "image": "tools", "command": ["sh", "-c", "hostname; cat /etc/hosts; exit 4"]}
    await world.client.patch(
        PODS, "debugged", "default", patch={"spec": {"ephemeralContainers": [shell]}},
        patch_type="application/strategic-merge-patch+json", subresource="ephemeralcontainers",
    )  # fmt: skip
    pod = await world.wait("debugged", lambda p: "terminated" in container_of(p, "shell").get("state", {}))
    assert container_of(pod, "shell")["state"]["terminated"]["exitCode"] == 4
    log = world.read_log(pod, container="shell")
    assert log.startswith("debugged\n") and pod["status"]["podIP"] in log
    assert is_ready(pod) and container_of(pod, "main") == container_of(before, "main")
    event = next(e for e in await world.read_events("debugged") if "ephemeral" in e["involvedObject"]["fieldPath"])
    assert event["involvedObject"]["fieldPath"] == "spec.ephemeralContainers{shell}"
    nosy = {"name": "nosy", "image": "tools", "command": ["true"], "targetContainerName": "main"}
    await world.client.patch(
        PODS, "debugged", "default", patch={"spec": {"ephemeralContainers": [nosy]}},
        patch_type="application/strategic-merge-patch+json", subresource="ephemeralcontainers",
    )  # fmt: skip
    pod = await world.wait(
        "debugged", lambda p: "message" in container_of(p, "nosy").get("state", {}).get("waiting", {})
    )
    assert "containers do not share processes" in container_of(pod, "nosy")["state"]["waiting"]["message"]
    await world.delete("debugged", grace=0)


@scenario
async def hooks_and_the_order_of_the_end(world: World) -> None:
    order = Path(tempfile.mkdtemp())
    order.chmod(0o777)
    mount = [{"name": "shared", "mountPath": "/shared"}]
    slow = {"exec": {"command": ["sh", "-c", "sleep 0.5; echo main postStart >> /shared/order"]}}

    def make(name: str, *, hooks: Json, restart: str = "") -> Json:
        script = f"trap 'sleep 0.3; echo {name} signalled >> /shared/order; exit 0' TERM; sleep 600 & wait"
        extra = {"restartPolicy": restart} if restart else {}
        return {"name": name, "image": "x", "command": ["sh", "-c", script], "volumeMounts": mount,
                "lifecycle": hooks, **extra}  # fmt: skip

    def say(words: str) -> Json:
        return {"exec": {"command": ["sh", "-c", f"echo {words} >> /shared/order"]}}

    pod = make_pod(
        "ordered", nodeName=NODE, volumes=[{"name": "shared", "hostPath": {"path": str(order)}}],
        initContainers=[make("proxy", hooks={"preStop": say("proxy preStop")}, restart="Always")],
        containers=[
            make("main", hooks={"postStart": slow, "preStop": {"sleep": {"seconds": 1}}}),
            make("other", hooks={"postStart": say("other postStart")}),
        ],
    )  # fmt: skip
    pod.pop("status")
    (order / "order").write_text("")
    (order / "order").chmod(0o666)
    try:
        await world.client.create(PODS, pod, "default")
        await world.wait("ordered", is_ready)
        await world.cluster.eventually(lambda: _has_lines(order / "order", 2))
        await world.delete("ordered")
        await world.wait_gone("ordered")
        assert (order / "order").read_text().splitlines() == [
            "main postStart", "other postStart", "proxy preStop", "other signalled", "main signalled",
            "proxy signalled",
        ]  # fmt: skip
    finally:
        (order / "order").unlink()
        order.rmdir()


async def _has_lines(path: Path, count: int) -> bool:
    return len(path.read_text().splitlines()) >= count


@scenario
async def a_pod_names_its_stop_signal(world: World) -> None:
    script = "trap 'exit 5' USR1; trap '' TERM; sleep 600 & wait"
    await world.create(
        "signalled", ["sh", "-c", script], container={"lifecycle": {"stopSignal": "SIGUSR1"}}, os={"name": "linux"},
        restartPolicy="Never", activeDeadlineSeconds=1,
    )  # fmt: skip
    pod = await world.wait("signalled", lambda p: p["status"]["phase"] == "Failed")
    assert container_of(pod, "main")["state"]["terminated"]["exitCode"] == 5
    assert pod["status"]["reason"] == "DeadlineExceeded"
    await world.delete("signalled", grace=0)


@scenario
async def a_pod_that_does_not_fit_is_rejected(world: World) -> None:
    port = {"ports": [{"containerPort": 8080, "hostPort": 18080}]}
    await world.create("holder", ["sleep", "600"], container=port)
    await world.wait("holder", is_ready)
    await world.create("latecomer", ["sleep", "600"], container=port)
    pod = await world.wait("latecomer", lambda p: p["status"]["phase"] == "Failed")
    text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("NodePorts", f"Pod was rejected: {text}")
    assert "containerStatuses" not in pod["status"]
    assert (await world.wait_event("latecomer", "NodePorts"))["message"] == text
    await world.delete("latecomer")
    await world.wait_gone("latecomer")
    await world.create("elsewhere", ["sleep", "600"], nodeSelector={"planet": "mars"})
    await world.wait("elsewhere", lambda p: p["status"].get("reason") == "NodeAffinity")
    await world.delete("holder", grace=0)
    await world.wait_gone("holder")
    await world.create("successor", ["sleep", "600"], container=port)
    await world.wait("successor", is_ready)
    for name in ("elsewhere", "successor"):
        await world.delete(name, grace=0)


EATER = """
import os
kept = []
while True: kept.append(os.urandom(1 << 20))
"""


FORKER = """
import os, time
made = 0
try:
    while made < 400:
        if os.fork() == 0: time.sleep(600)
        made += 1
except OSError as error: print(made, error.errno)
"""


@scenario
async def resources_are_limits(world: World) -> None:
    limits = {"resources": {"limits": {"memory": "48Mi", "cpu": "500m"}, "requests": {"cpu": "100m"}}}
    if world.sandbox:
        await world.create("unlimited", ["sleep", "600"], container=limits)
        pod = await world.wait("unlimited", is_ready)
        event = await world.wait_event("unlimited", "NotHonoured")
        assert "(cpu=500m, memory=48Mi) are not enforced (programs are in no cgroups)" in event["message"]
        [status] = pod["status"]["containerStatuses"]
        assert "limits" not in status["resources"]
        await world.delete("unlimited", grace=0)
        return
    await world.create("eater", ["python3", "-c", EATER], container=limits, restartPolicy="Never")
    pod = await world.wait("eater", lambda p: p["status"]["phase"] == "Failed")
    [status] = pod["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

    await world.create("forker", ["python3", "-c", FORKER], restartPolicy="Never")
    pod = await world.wait("forker", lambda p: p["status"]["phase"] == "Succeeded")
    made, errno = world.read_log(pod).split()
    assert MAX_PIDS // 2 < int(made) < MAX_PIDS and errno == "11", "no more processes than the Pod may have"
    await world.delete("forker", grace=0)

    await world.create("limited", ["sleep", "600"], container=limits)
    pod = await world.wait("limited", is_ready)
    [status] = pod["status"]["containerStatuses"]
    assert status["resources"] == {
        "limits": {"memory": "48Mi", "cpu": "500m"}, "requests": {"memory": "48Mi", "cpu": "100m"},
    }  # fmt: skip
    assert status["allocatedResources"] == {"memory": "48Mi", "cpu": "100m"}
    groups = list_groups(pod["metadata"]["uid"])
    assert groups, "the Pod has groups"
    [program] = find_processes("sleep\x00600")
    assert 0 < int(Path(f"/proc/{program}/oom_score_adj").read_text()) < 1000, "it asked for some of the memory"
    names = ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max")
    files = [group / "main-0" / name for group in groups for name in names]
    text = "\n".join(file.read_text() for file in files if file.exists())
    assert str(48 << 20) in text and "50000" in text
    members = {line for group in groups for line in (group / "main-0" / "cgroup.procs").read_text().split()}
    assert len(members) == 1, f"the program and nobody else: {members}"

    await world.stop_agent()
    await world.start_agent()
    os.kill(find_processes("sleep\x00600")[0], 9)  # not for memory
    pod = await world.wait("limited", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "Error"
    for name in ("limited", "eater"):
        await world.delete(name, grace=0)
        await world.wait_gone(name)

    async def gone() -> bool:
        return not list_groups(pod["metadata"]["uid"])

    await world.cluster.eventually(gone)
    too_much = {"resources": {"requests": {"cpu": "4096"}}}
    await world.create("greedy", ["sleep", "600"], container=too_much)
    pod = await world.wait("greedy", lambda p: p["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "OutOfcpu"
    await world.delete("greedy")


@scenario
async def limits_hold_for_programs_of_images(world: World) -> None:
    """Whatever builds the container: crun where it is, else the shim. In a sandbox there are no limits for anybody."""
    if world.sandbox:
        return
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox is not installed; install the package busybox-static"
    image = "example.com/eater:1"
    maker = ImageMaker([make_busybox(Path(busybox).read_bytes(), ("sh",))], {"Env": ["PATH=/bin"]}, names=(image,))
    archive = maker.write_saved(world.data_dir / "eater.tar")
    ImageStore(world.data_dir / "images").import_archive(archive, machine=platform.machine())
    limits = {"image": image, "resources": {"limits": {"memory": "48Mi"}}}
    eat = "x=0123456789abcdef; while :; do x=$x$x; done"
    await world.create("boxed-eater", ["sh", "-c", eat], container=limits, restartPolicy="Never")
    pod = await world.wait("boxed-eater", lambda p: p["status"]["phase"] == "Failed")
    [status] = pod["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    await world.delete("boxed-eater", grace=0)
    await world.wait_gone("boxed-eater")


@scenario
async def who_takes_more_disk_than_said_is_evicted(world: World) -> None:
    volumes = [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]
    mounts = {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    fill = "head -c 3000000 /dev/zero > /cache/f; exec sleep 600"
    await world.create("hoarder", ["sh", "-c", fill], container=mounts, volumes=volumes)
    pod = await world.wait("hoarder", lambda p: p["status"]["phase"] == "Failed")
    text = 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", text)
    assert (await world.wait_event("hoarder", "Evicted"))["message"] == text
    await world.delete("hoarder")
    await world.wait_gone("hoarder")


@scenario
async def a_security_context_holds(world: World) -> None:
    await world.client.create(SECRETS, {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "hidden"},
    }, "default")  # fmt: skip
    volumes = [
        {"name": "shared", "emptyDir": {}},
        {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
    ]
    mounts = [{"name": "shared", "mountPath": "/shared"}, {"name": "key", "mountPath": "/key"}]
    who = {} if world.sandbox else {"runAsUser": 1000, "runAsGroup": 2000}
    security = {**who, "fsGroup": 3000, "supplementalGroups": [4000]}
    script = (
        "id -u; id -g; id -G; touch /shared/f; stat -c '%u %g %a' /shared /shared/f;"
        "stat -Lc '%g %a' /key/k; cat /key/k; echo; touch /tmp/f 2>&1; touch /opt/f 2>&1;"
        "touch /dev/shm/f && echo written; grep NoNewPrivs /proc/self/status;"
        "grep CapEff /proc/self/status"
    )
    container = {"volumeMounts": mounts, "securityContext": {"readOnlyRootFilesystem": True}}
    pod, log = await world.run_to_end("secured", script, container=container, securityContext=security, volumes=volumes)
    lines = log.splitlines()
    if world.sandbox:
        assert lines[0] == "0"
        said = (await world.wait_event("secured", "NotHonoured"))["message"]
        assert "fsGroup 3000" in said and "supplementalGroups" in said
    else:
        assert lines[:3] == ["1000", "2000", "2000 3000 4000"]
        assert lines[3:5] == ["0 3000 2777", "1000 3000 644"], "what is made in the volume is its group's"
        assert lines[5:7] == ["3000 440", "hidden"]
    assert log.count("Read-only file system") == 2 and "written" in log, log
    assert "NoNewPrivs:\t1" in log and "CapEff:\t0000000000000000" in log
    await world.delete("secured", grace=0)
    await world.wait_gone("secured")

    container = {"volumeMounts": mounts, "command": ["sleep", "600"]}
    await world.create("someone", [], container=container, securityContext=security, volumes=volumes)
    pod = await world.wait("someone", is_ready)
    await assert_hidden(world, pod["metadata"]["uid"])
    told = pod["status"]["containerStatuses"][0]["user"]["linux"]
    ids = (0, 0, [0]) if world.sandbox else (1000, 2000, [2000, 3000, 4000])
    assert (told["uid"], told["gid"], told["supplementalGroups"]) == ids
    await world.delete("someone", grace=0)

    own = {"sysctls": [{"name": "net.core.somaxconn", "value": "77"}, {"name": "kernel.shm_rmid_forced", "value": "1"}]}
    read = "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced"
    _, log = await world.run_to_end("tuned", read, securityContext=own)
    assert log.split() == ["77", "1"], log
    await world.delete("tuned", grace=0)

    breaking = {"runAsNonRoot": True, "runAsUser": 0}
    await world.create("breaking", ["true"], securityContext=breaking)
    await world.wait("breaking", lambda p: find_waiting_reason(p) == "CreateContainerConfigError")
    message = (await world.wait_event("breaking", "Failed"))["message"]
    assert message.startswith("Error: container's runAsUser breaks non-root policy (pod: \"breaking_default(")
    await world.delete("breaking", grace=0)


async def assert_hidden(world: World, uid: str) -> None:
    """The secret is in memory, and in no file of the disk."""
    [key] = world.state_dir.glob(f"memory/{uid}/key/k")
    assert key.read_text() == "hidden"
    kinds = [line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()
             if line.split()[1] == str(world.state_dir / "memory")]  # fmt: skip
    assert kinds == ["tmpfs"]
    for path in world.data_dir.rglob("*"):
        on_disk = path.is_file() and not path.is_relative_to(world.state_dir / "memory")
        assert not (on_disk and path.read_bytes() == b"hidden"), path


@scenario
async def capabilities_are_given_one_by_one(world: World) -> None:
    show = "grep CapEff /proc/self/status; ip addr add 192.0.2.99/32 dev lo && echo changed"
    added = {"securityContext": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}
    _, log = await world.run_to_end("scored", "cat /proc/self/oom_score_adj")
    assert log == "1000", "who asked for nothing goes first"
    await world.delete("scored", grace=0)
    _, log = await world.run_to_end("net-admin", show, container=added)
    assert "CapEff:\t0000000000001000" in log and "changed" in log, "what was added, and nothing else"
    named = {"securityContext": {"runAsUser": 0, "capabilities": {"drop": ["ALL"]}}}
    _, log = await world.run_to_end("dropped", show, container=named)
    assert "CapEff:\t0000000000000000" in log and "changed" not in log
    refused = {"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}
    await world.create("tracer", ["true"], container=refused)
    await world.wait_event("tracer", "Failed")
    for name in ("net-admin", "dropped", "tracer"):
        await world.delete(name, grace=0)


def list_groups(name: str) -> list[Path]:
    """The control groups of that name below an agent's."""
    return sorted(
        {*Path("/sys/fs/cgroup").glob(f"seaway-*/{name}"), *Path("/sys/fs/cgroup").glob(f"*/seaway-*/{name}")}
    )


@scenario
async def a_pod_that_is_deleted_in_the_middle_of_its_start_is_gone(world: World) -> None:
    waiting = {"postStart": {"exec": {"command": ["sh", "-c", "sleep 611"]}}}
    script = "trap 'exit 0' TERM; sleep 600 & wait"
    first = {"name": "first", "image": "x", "command": ["sh", "-c", script]}
    await world.create("hooking", ["sh", "-c", script], container={"lifecycle": waiting})
    await world.create("initializing", ["sleep", "600"], initContainers=[first])
    await world.create("unmade", ["sleep", "600"], volumes=[{"name": "v", "configMap": {"name": "absent"}}])
    await world.create("young", ["sleep", "600"])
    await world.delete("young", grace=1)
    await world.cluster.eventually(lambda: _find("sleep\x00611", is_there=True))
    await world.wait("initializing", lambda p: "running" in container_of(p, "first").get("state", {}))
    for name in ("hooking", "initializing", "unmade"):
        await world.delete(name)
    for name in ("hooking", "initializing", "unmade", "young"):
        await world.wait_gone(name)
    await world.cluster.eventually(lambda: _find("sleep\x00611", is_there=False))
    await world.cluster.eventually(_no_links)


async def _find(word: str, *, is_there: bool) -> bool:
    return bool(find_processes(word)) == is_there


async def _no_links() -> bool:
    return not list_links()


@scenario
async def readiness_is_probed_until_the_end(world: World) -> None:
    """A Pod that is being deleted is ready as long as its probe says so, and not a moment longer."""
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/tired"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "trap 'until [ -e /tmp/tired ]; do sleep 0.1; done; sleep 600' TERM; sleep 600 & wait"
    await world.create("fading", ["sh", "-c", script], container={"readinessProbe": probe, "livenessProbe": probe})
    await world.wait("fading", is_ready)
    await world.delete("fading", grace=30)
    pod = await world.wait("fading", lambda p: p["metadata"].get("deletionTimestamp"))
    assert is_ready(pod) and pod["status"]["phase"] == "Running"
    [program] = find_processes("/tmp/tired ]")[-1:]
    (Path(f"/proc/{program}/root") / "tmp" / "tired").touch()
    pod = await world.wait("fading", lambda p: not is_ready(p))
    assert pod["status"]["phase"] == "Running" and container_of(pod, "main")["restartCount"] == 0
    events = await world.read_events("fading")
    assert not [e for e in events if "liveness" in e["message"]], "liveness is not probed any more"
    await world.delete("fading", grace=1)
    await world.wait_gone("fading")


@scenario
async def a_probe_has_a_grace_of_its_own(world: World) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1,
             "terminationGracePeriodSeconds": 1}  # fmt: skip
    script = "trap '' TERM; while true; do sleep 0.1; done"
    await world.create(
        "ill", ["sh", "-c", script], container={"livenessProbe": probe}, terminationGracePeriodSeconds=600
    )
    pod = await world.wait("ill", lambda p: container_of(p, "main").get("restartCount") == 1)
    assert container_of(pod, "main")["lastState"]["terminated"]["exitCode"] == 137
    await world.delete("ill", grace=1)
    await world.wait_gone("ill")


@scenario
async def a_forced_deletion_ends_what_the_api_knows_no_more(world: World) -> None:
    script = "trap 'sleep 0.5; exit 0' TERM; sleep 613 & wait"
    await world.create("forced", ["sh", "-c", script])
    await world.wait("forced", is_ready)
    await world.delete("forced", grace=0)
    assert await world.get("forced") is None
    await world.create("forced", ["sleep", "600"])
    pod = await world.wait("forced", is_ready)
    assert container_of(pod, "main")["restartCount"] == 0, "another Pod of the same name"
    await world.cluster.eventually(lambda: _find("sleep\x00613", is_there=False))
    await world.delete("forced", grace=1)
    await world.wait_gone("forced")


@scenario
async def children_end_with_their_container(world: World) -> None:
    script = "(setsid sleep 614 &) ; (setsid sleep 614 &) ; sleep 600 & wait"
    await world.create("parent", ["sh", "-c", script])
    await world.wait("parent", is_ready)
    await world.cluster.eventually(lambda: _find("sleep\x00614", is_there=True))
    await world.delete("parent", grace=1)
    await world.wait_gone("parent")
    assert not find_processes("sleep\x00614")


@scenario
async def the_api_may_be_away(world: World) -> None:
    """Pods run on, are started again, and are reported when it is back. Nobody is missed, and nobody ended."""
    await world.create("alone", ["sh", "-c", "sleep 615"])
    before = await world.wait("alone", is_ready)
    await world.cluster.eventually(lambda: _find("sleep\x00615", is_there=True))
    world.cluster.cut()
    try:
        [program] = find_processes("sleep\x00615")
        os.kill(program, 9)
        await world.cluster.eventually(lambda: _find_another("sleep\x00615", program))
    finally:
        world.cluster.mend()
    after = await world.wait("alone", lambda p: is_ready(p) and container_of(p, "main")["restartCount"] == 1)
    assert container_of(after, "main")["lastState"]["terminated"]["exitCode"] == 137
    assert after["status"]["podIP"] == before["status"]["podIP"]
    await world.delete("alone", grace=1)
    await world.wait_gone("alone")


async def _find_another(word: str, pid: int) -> bool:
    return any(found != pid for found in find_processes(word))


@scenario
async def a_flood_of_words_fills_no_disk(world: World) -> None:
    await world.create("flood", ["sh", "-c", "yes 'many words, and always the same ones'"])
    pod = await world.wait("flood", is_ready)
    logs = world.state_dir / "logs" / pod["metadata"]["uid"] / "main"

    async def rotated() -> bool:
        return (logs / "0.log.1").exists()

    await world.cluster.eventually(rotated)
    assert sum(path.stat().st_size for path in logs.iterdir()) < 64 << 20
    await world.create("beside", ["sleep", "600"])
    await world.wait("beside", is_ready)
    for name in ("flood", "beside"):
        await world.delete(name, grace=1)
        await world.wait_gone(name)


@scenario
async def a_hook_that_fails_ends_its_container(world: World) -> None:
    hooks = {"postStart": {"exec": {"command": ["false"]}}}
    await world.create("unhooked", ["sleep", "600"], container={"lifecycle": hooks}, terminationGracePeriodSeconds=1)
    await world.wait("unhooked", lambda p: container_of(p, "main").get("restartCount") == 1)
    assert (await world.wait_event("unhooked", "FailedPostStartHook"))["message"] == "PostStartHook failed"
    await world.delete("unhooked", grace=0)


@scenario
async def a_program_that_crashes_is_held_back(world: World) -> None:
    await world.create("crash", ["sh", "-c", "echo last words > /dev/termination-log; exit 3"])
    pod = await world.wait("crash", lambda p: find_waiting_reason(p) == "CrashLoopBackOff")
    container = pod["status"]["containerStatuses"][0]
    uid = pod["metadata"]["uid"]
    text = f"back-off 10s restarting failed container=main pod=crash_default({uid})"
    assert container["state"]["waiting"]["message"] == text
    assert container["lastState"]["terminated"]["message"] == "last words\n"
    assert container["lastState"]["terminated"]["exitCode"] == 3 and container["restartCount"] == 1
    assert pod["status"]["phase"] == "Running"
    await world.wait_event("crash", "BackOff")
    await world.delete("crash", grace=0)


@scenario
async def what_cannot_run_says_why(world: World) -> None:
    await world.create("missing", ["/no/such/program"], restartPolicy="Never")
    pod = await world.wait("missing", lambda p: p["status"]["phase"] == "Failed")
    terminated = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")
    assert "/no/such/program" in terminated["message"]

    await world.create("imageless", [])
    await world.wait("imageless", lambda p: find_waiting_reason(p) == "ImagePullBackOff")
    assert 'Back-off pulling image "program"' in (await world.wait_event("imageless", "BackOff"))["message"]
    await world.create("unmounted", ["true"], volumes=[{"name": "v", "configMap": {"name": "absent"}}])
    event = await world.wait_event("unmounted", "FailedMount")
    assert event["message"] == 'MountVolume.SetUp failed for volume "v" : configmap "absent" not found'
    await world.create("greedy", ["true"], container={"securityContext": {"privileged": True}})
    await world.wait("greedy", lambda p: find_waiting_reason(p) == "CreateContainerConfigError")
    path = {"name": "v", "hostPath": {"path": str(world.data_dir)}}
    await world.create("curious", ["true"], volumes=[path])
    assert "may not see" in (await world.wait_event("curious", "FailedCreatePodSandBox"))["message"]
    if world.sandbox:
        await world.create("other-user", ["true"], container={"securityContext": {"runAsUser": 1000}})
        await world.wait("other-user", lambda p: find_waiting_reason(p) == "CreateContainerConfigError")
        assert "does not exist here" in (await world.wait_event("other-user", "Failed"))["message"]
    for name in ("missing", "imageless", "unmounted", "greedy", "curious", *(("other-user",) if world.sandbox else ())):
        await world.delete(name, grace=0)


@scenario
async def a_program_that_ignores_the_stop_signal_is_killed(world: World) -> None:
    script = "trap '' TERM; echo up; while true; do sleep 0.1; done"
    await world.create("stubborn", ["sh", "-c", script], container={"readinessProbe": {"exec": {"command": ["true"]}}})
    await world.wait("stubborn", is_ready)
    await world.delete("stubborn", grace=1)
    terminating = await world.get("stubborn")
    assert terminating is not None and is_ready(terminating), "deletion alone does not make a Pod unready"
    await world.wait_gone("stubborn")


@scenario
async def an_outside_change_of_the_status_is_put_right(world: World) -> None:
    await world.create("steady", ["sleep", "600"])
    await world.wait("steady", is_ready)
    conditions = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await world.client.patch(
        PODS, "steady", "default", patch=conditions, patch_type="application/strategic-merge-patch+json",
        subresource="status",
    )  # fmt: skip
    await world.wait("steady", is_ready)


@scenario
async def the_end_of_the_shim_ends_the_pods_and_they_start_again(world: World) -> None:
    before = await world.wait("steady", is_ready)
    [shim] = [p for p in find_processes("seaway.node.shim.run") if _is_session_leader_of_shim(p)]
    os.kill(shim, 9)
    after = await world.wait(
        "steady", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1 and is_ready(p)
    )
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert after["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"

    async def alone() -> bool:
        return len(find_processes("sleep\x00600")) == 1

    await world.cluster.eventually(alone)


def _is_session_leader_of_shim(pid: int) -> bool:
    """The shim itself and not a container's init, which has its PID namespace."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    return False


@scenario
async def removal_leaves_no_trace(world: World) -> None:
    await world.stop_agent()
    await remove_pods(world.state_dir)
    await remove_pods(world.state_dir)
    assert not list_links()
    group = name_groups(world.state_dir)
    assert not [*Path("/sys/fs/cgroup").glob(group), *Path("/sys/fs/cgroup").glob(f"*/{group}")]
    assert not world.state_dir.exists()
    assert str(world.state_dir) not in Path("/proc/self/mounts").read_text()
    assert not find_processes("seaway.node.shim.run")
    assert not find_processes("sleep\x00600")
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "10.244" not in routes


@contextlib.asynccontextmanager
async def open_world(directory: Path, *, sandbox: bool, kind: type[World] = World) -> AsyncIterator[World]:
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "addr", "add", f"{NODE_IP}/32", "dev", "lo"],
    ):
        subprocess.run(command, check=True)
    async with open_cluster(controllers=True) as cluster:
        world = kind(cluster, directory, sandbox=sandbox)
        try:
            await world.start_agent()
            yield world
        finally:
            with contextlib.suppress(Exception):
                await world.stop_agent()
            await remove_pods(world.state_dir)


async def main(directory: Path, *, sandbox: bool, only: list[str]) -> None:
    async with open_world(directory, sandbox=sandbox) as world:
        for name, function in SCENARIOS.items():
            if only and name not in only:
                continue
            error = ""
            try:
                await asyncio.wait_for(function(world), 60)
            except Exception:
                error = traceback.format_exc()
            print(json.dumps({"scenario": name, "error": error}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sandbox=sys.argv[2] == "sandbox", only=sys.argv[3:]))
