"""Two families: addresses of both for Pods, Services and the node, in the sandbox and on a host.

Rule: spec "node" §4 (podCIDRs, podIPs), "service-api" §2.3, "proxy" §1 (a table per family).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.system.running import EXAMPLES, HOST_IP, HOST_IP6, OUTSIDE_IP6, Up, free_port, open_host, seaway, until

FLAGS = ("--service-cidr", "10.96.0.0/16,fd10:96::/112", "--cluster-cidr", "10.244.0.0/16,fd10:244::/56")
OUTSIDE = "seaway-test-dual-outside"
FAMILIES = ("IPv4", "IPv6")
SAYS_WHOM_IT_SAW = """
import http.server, json, os, socket

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = self.client_address[0].removeprefix("::ffff:")
        body = json.dumps({"pod": seen, "env": dict(os.environ)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and of the other family, where that is not switched off

    def server_bind(self):
        http.server.socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

Server(("::", 8080), Handler).serve_forever()
"""


def make_manifests() -> list[dict[str, object]]:
    meta = {"name": "both", "labels": {"app": "both"}}
    container = {
        "name": "main",
        "image": "x",
        "command": ["python3", "/program/serve.py"],
        "env": [{"name": "POD_IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}],
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    spec = {"containers": [container], "volumes": [{"name": "program", "configMap": {"name": "program"}}]}
    port = {"port": 80, "targetPort": 8080}
    both = {"type": "NodePort", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": "both"},
            "ports": [{**port, "nodePort": 30080}]}  # fmt: skip
    six = {"ipFamilies": ["IPv6"], "selector": {"app": "both"}, "ports": [port]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "program"},
         "data": {"serve.py": SAYS_WHOM_IT_SAW}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": both},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "six"}, "spec": six},
    ]  # fmt: skip


@pytest.fixture(scope="module", params=["sandbox", "host"])
def dual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = Path(tmp_path_factory.mktemp(f"dual-{request.param}"))
    if request.param == "sandbox":
        yield from started(Up(folder))
        return
    if os.geteuid() != 0:
        pytest.skip("the host way needs root; run the tests as root")
    with open_host("seaway-test-dual", OUTSIDE, has_ipv6=True) as prefix:
        yield from started(Up(folder, network="host", prefix=prefix, port=free_port()))


def started(up: Up) -> Iterator[Up]:
    if up.network == "host" and not FORCE_FORWARDING.exists():
        up.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")  # as the page on limits says
    up.start(*FLAGS)
    try:
        items = {"apiVersion": "v1", "kind": "List", "items": make_manifests()}
        up.kubectl("apply", "-f", "-", stdin=json.dumps(items))
        for name in ("00-programs.yaml", "08-client.yaml"):
            up.kubectl("apply", "-f", str(EXAMPLES / name))
        up.wait_pods("both", "client")
        yield up
    finally:
        code, _ = up.stop()
        up.run(*seaway("down", "--data-dir", str(up.data_dir)))
        assert code == 0
    if up.network == "host":
        assert "153" not in up.run("ip", "-6", "route").stdout, "nothing is left"


def list_pod_ips(up: Up, pod: str) -> list[str]:
    return [entry["ip"] for entry in up.get("pod", pod)["status"]["podIPs"]]


def vip(up: Up, index: int) -> str:
    address = str(up.get("service", "both")["spec"]["clusterIPs"][index])
    return f"[{address}]" if ":" in address else address


def from_a_pod(up: Up, url: str) -> set[str]:
    client = up.get("pod", "client")["status"]["podIP"]
    return set(up.ask("get", f"http://{client}:8000/fetch?url={url}&count=3"))


def test_node_pods_and_services_have_an_address_of_each_family(dual: Up) -> None:
    (node,) = dual.get("nodes")["items"]
    assert node["spec"]["podCIDRs"] == ["10.244.0.0/24", "fd10:244::/64"]
    node_ips = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
    pod = dual.get("pod", "both")["status"]
    service = dual.get("service", "both")["spec"]
    pod_ips = [entry["ip"] for entry in pod["podIPs"]]
    for addresses in (node_ips, pod_ips, [entry["ip"] for entry in pod["hostIPs"]], service["clusterIPs"]):
        assert [ip_address(address).version for address in addresses] == [4, 6]
    assert service["ipFamilies"] == list(FAMILIES)
    assert ip_address(pod_ips[1]) in ip_network("fd10:244::/64")
    assert pod["podIP"] == pod_ips[0]


@pytest.mark.parametrize("family", [0, 1], ids=FAMILIES)
def test_the_service_is_reached_by_each_address_from_the_node_and_from_pods(dual: Up, family: int) -> None:
    url = f"http://{vip(dual, family)}/"
    until(lambda: from_a_pod(dual, url) == {list_pod_ips(dual, "client")[family]}, "a Pod reaches it, as itself")
    (seen,) = set(dual.ask("fetch", url, "3"))
    assert ip_address(seen).version == (4, 6)[family]
    pod = list_pod_ips(dual, "both")[family]
    direct = f"http://{f'[{pod}]' if family else pod}:8080/"
    assert from_a_pod(dual, direct) == {list_pod_ips(dual, "client")[family]}
    assert dual.ask("get", direct)["env"]["POD_IPS"] == ",".join(list_pod_ips(dual, "both"))


def test_a_pod_reaches_itself_through_both_addresses(dual: Up) -> None:
    """Its source is replaced, or the answer would never pass the rules."""
    code = "import json, sys, urllib.request; print(json.load(urllib.request.urlopen(sys.argv[1], timeout=5))['pod'])"
    pid = find_program(dual)
    for family in (0, 1):
        asked = dual.inside("nsenter", "-t", pid, "-n", sys.executable, "-c", code, f"http://{vip(dual, family)}/")
        assert ip_address(asked.stdout.strip()).version == (4, 6)[family]


def find_program(up: Up) -> str:
    """The process of Pod `both`, as the node sees it."""
    code = (
        "import pathlib\n"
        "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    if b'/program/serve.py' in path.read_bytes():\n"
        "        print(path.parent.name)\n"
        "        break\n"
    )
    return up.inside(sys.executable, "-c", code).stdout.strip()


def test_names_have_both_addresses(dual: Up) -> None:
    name = "both.default.svc.cluster.local."
    answers = {kind: dual.ask("dns", "10.96.0.10", name, kind) for kind in ("A", "AAAA")}
    clusters: list[str] = dual.get("service", "both")["spec"]["clusterIPs"]
    assert [lines[0].split()[-1] for lines in answers.values()] == clusters
    assert from_a_pod(dual, "http://both/") <= set(list_pod_ips(dual, "client"))


def test_a_service_of_ipv6_alone_is_served(dual: Up) -> None:
    assert from_a_pod(dual, "http://six/") == {list_pod_ips(dual, "client")[1]}


@pytest.mark.parametrize("address", ["10.96.250.250", "fd10:96::fafa"])
def test_an_address_that_no_service_has_is_refused(dual: Up, address: str) -> None:
    assert dual.inside(sys.executable, "-c", ASK, address).stdout.strip() == "EPERM"


ASK = """
import errno, socket, sys
asked = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
try:
    asked.sendto(b"?", (sys.argv[1], 80))
    print("sent")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("family", [0, 1], ids=FAMILIES)
def test_a_node_port_is_served_at_both_addresses_of_the_node(dual: Up, family: int) -> None:
    (node,) = dual.get("nodes")["items"]
    address = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"][family]
    url = f"http://{f'[{address}]' if family else address}:30080/"
    (seen,) = set(dual.ask("fetch", url, "3"))
    assert ip_address(seen).version == (4, 6)[family]


SAYS_WHO_ASKED = """
import json, socket
with socket.create_server(("::", 7070), family=socket.AF_INET6) as server:
    print("listening", flush=True)
    while True:
        connection, peer = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + json.dumps({"pod": peer[0]}).encode())
"""


def test_a_pod_reaches_another_machine_which_sees_the_host(dual: Up) -> None:
    if dual.network != "host":
        pytest.skip("a sandbox has no other machines")
    if not FORCE_FORWARDING.exists():
        pytest.skip(BEFORE_617)
    command = ["ip", "netns", "exec", OUTSIDE, sys.executable, "-c", SAYS_WHO_ASKED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == "listening\n"
            assert from_a_pod(dual, f"http://[{OUTSIDE_IP6}]:7070/") == {HOST_IP6}
        finally:
            server.kill()


FORCE_FORWARDING = Path("/proc/sys/net/ipv6/conf/default/force_forwarding")
BEFORE_617 = "before Linux 6.17 IPv6 has no forwarding switch per link, and the one for all is left alone"


@pytest.mark.parametrize("address", [HOST_IP, f"[{HOST_IP6}]"], ids=FAMILIES)
def test_another_machine_reaches_the_node_port(dual: Up, address: str) -> None:
    if dual.network != "host":
        pytest.skip("a sandbox has no other machines")
    if ":" in address and not FORCE_FORWARDING.exists():
        pytest.skip(BEFORE_617)
    command = [sys.executable, str(EXAMPLES / "node_side.py"), "get", f"http://{address}:30080/"]
    done = subprocess.run(["ip", "netns", "exec", OUTSIDE, *command], capture_output=True, text=True, timeout=60)
    told: dict[str, Any] = json.loads(done.stdout or "{}")
    assert "pod" in told, done.stderr
