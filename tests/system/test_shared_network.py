"""Who shares a network with whom: containers of a Pod, Pods of a node, Pods on the node's own network.

What upstream's conformance tests of the network need of a node and no other scenario shows (spec "node" §7.3).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.running import Up, until

SERVER = """
import pathlib, socket, socketserver, threading
pathlib.Path("/shared/from-main").write_text("written")

class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(10)
        self.request.sendall(f"{socket.gethostname()} {self.client_address[0]}".encode())

class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(f"{socket.gethostname()} {self.client_address[0]}".encode(), self.client_address)

socketserver.TCPServer.allow_reuse_address = True
streams = socketserver.ThreadingTCPServer(("", 8080), Stream)
threading.Thread(target=streams.serve_forever, daemon=True).start()
socketserver.ThreadingUDPServer(("", 8080), Datagram).serve_forever()
"""
# Datagrams leave by one port, so that they are one flow.
ASK = """
import socket, sys
kind, host, port = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as asking:
    asking.settimeout(2)
    if kind == "udp":
        asking.bind(("", 5555))
    asking.connect((host, int(port)))
    asking.send(b"?")
    print(asking.recv(100).decode())
"""
SLEEP = ["sleep", "600"]


def make_pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    each = [{"image": "x", **container} for container in containers]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": each, **spec},
    }


def make_manifests() -> list[dict[str, Any]]:
    mounts = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    server = make_pod(
        "server",
        {"name": "main", "command": ["python3", "-c", SERVER], "readinessProbe": probe, **mounts},
        {"name": "beside", "command": SLEEP, **mounts},
        {"name": "short", "command": ["sh", "-c", "sleep 1; exit 0"]},
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    ports = [{"name": kind.lower(), "port": 80, "targetPort": 8080, "protocol": kind} for kind in ("TCP", "UDP")]
    # The Pod is not ready while one of its containers has ended.
    spec = {"selector": {"app": "server"}, "ports": ports, "publishNotReadyAddresses": True}
    return [
        server,
        make_pod("asker", {"name": "main", "command": SLEEP}),
        make_pod("on-the-node", {"name": "main", "command": SLEEP}, hostNetwork=True),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"}, "spec": spec},
    ]


@pytest.fixture(scope="module")
def shared(up: Up) -> Up:
    up.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": make_manifests()}))
    until(lambda: get_container(up, "main").get("ready") and get_container(up, "beside").get("ready"), "the server")
    up.wait_pods("asker", "on-the-node")
    return up


def get_container(up: Up, name: str) -> dict[str, Any]:
    """The status of a container of the Pod `server`; empty until there is one."""
    statuses = up.get("pod", "server")["status"].get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == name), {})


def ask(up: Up, pod: str, kind: str, host: str, port: int, *, container: str = "main") -> str:
    """Who answered the Pod, and whom that one saw; on failure kubectl's errors."""
    command = ("exec", pod, "-c", container, "--", "python3", "-c", ASK, kind, host, str(port))
    return up.kubectl(*command, check=False).strip()


def get_ip(up: Up, pod: str) -> str:
    return str(up.get("pod", pod)["status"]["podIP"])


def test_containers_of_a_pod_share_its_network_and_its_volume(shared: Up) -> None:
    for kind in ("tcp", "udp"):
        assert ask(shared, "server", kind, "127.0.0.1", 8080, container="beside") == "server 127.0.0.1"
    assert shared.kubectl("exec", "server", "-c", "beside", "--", "cat", "/shared/from-main") == "written"


def test_one_container_ends_and_starts_again_while_the_other_runs_on(shared: Up) -> None:
    before = get_container(shared, "main")
    until(lambda: get_container(shared, "short")["restartCount"] >= 2, "the container that ends starts again")
    short = get_container(shared, "short")
    assert short["lastState"]["terminated"]["exitCode"] == 0
    assert get_container(shared, "main") == before
    assert shared.get("pod", "server")["status"]["phase"] == "Running"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_pods_reach_each_other_by_tcp_and_udp_and_keep_their_addresses(shared: Up, kind: str) -> None:
    assert ask(shared, "asker", kind, get_ip(shared, "server"), 8080) == f"server {get_ip(shared, 'asker')}"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_pod_on_the_nodes_network_has_its_address_and_reaches_pods_by_tcp_and_udp(shared: Up, kind: str) -> None:
    status = shared.get("pod", "on-the-node")["status"]
    assert status["podIP"] == status["hostIP"]
    assert ask(shared, "on-the-node", kind, get_ip(shared, "server"), 8080).startswith("server ")


def test_one_port_serves_tcp_and_udp_until_udp_is_taken_away(shared: Up) -> None:
    vip, served = shared.cluster_ip("server"), f"server {get_ip(shared, 'asker')}"
    for kind in ("tcp", "udp"):
        until(lambda kind=kind: ask(shared, "asker", kind, vip, 80) == served, f"{kind} is served")
    shared.kubectl("patch", "service", "server", "--type=json", "-p", '[{"op": "remove", "path": "/spec/ports/1"}]')
    until(lambda: ask(shared, "asker", "udp", vip, 80) != served, "the flow of datagrams ends")
    assert ask(shared, "asker", "tcp", vip, 80) == served
    assert ask(shared, "asker", "udp", vip, 80) != served
