"""A test's Seaway with traffic: programs run as Pods, and clients of this process reach Services.

Rule: issue "the userspace data plane", 5.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from seaway.net.loopback import HOST
from seaway.testing.fixture import Seaway
from seaway.testing.loopback import claim_loopback
from seaway.testing.server import SeawayServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Pods run on Linux; run the tests there")

SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["HOSTNAME"].encode())
    def log_message(self, *_): pass
print("about to serve", flush=True)
http.server.HTTPServer((os.environ["POD_IP"], 8080), Answer).serve_forever()
"""
ECHO = """
import os, socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind((os.environ["POD_IP"], 5353))
    while True:
        data, peer = one.recvfrom(1500)
        one.sendto(data.upper(), peer)
"""
PORTS = [{"name": "http", "port": 80, "targetPort": 8080}]


@pytest.fixture(scope="module")
def server() -> Iterator[SeawayServer]:
    with SeawayServer(traffic=True) as opened:
        yield opened.server


@pytest.fixture
def seaway(server: SeawayServer, request: pytest.FixtureRequest) -> Iterator[Seaway]:
    with server.open_namespace(request.node.name) as opened:
        yield opened


def fetch(place: tuple[str, int]) -> str:
    with urllib.request.urlopen(f"http://{place[0]}:{place[1]}/", timeout=10) as reply:
        return str(reply.read().decode())


def run_servers(seaway: Seaway, *names: str) -> None:
    for name in names:
        seaway.run_pod(name, [sys.executable, "-c", SERVER], port=8080)


def test_a_service_leads_to_the_pods_that_run(seaway: Seaway) -> None:
    seaway.make_service("web", ports=PORTS)
    run_servers(seaway, "web-1", "web-2")
    seaway.wait_endpoints("web", {"web-1", "web-2"})
    place = seaway.address_of("svc/web", 80)
    assert place[0] == seaway.locate(seaway.get("service", "web")["spec"]["clusterIP"])
    assert place[0].startswith("127.")
    seen = set()
    while seen != {"web-1", "web-2"}:  # the draw is random, and the second may be a moment behind
        seen.add(fetch(place))


def test_a_pod_that_is_deleted_serves_no_more(seaway: Seaway) -> None:
    seaway.make_service("web", ports=PORTS)
    run_servers(seaway, "web-1", "web-2")
    direct = seaway.address_of("pod/web-1", 8080)
    assert fetch(direct) == "web-1"
    seaway.delete("pod", "web-1")
    seaway.wait_gone("pod", "web-1")
    seaway.wait_endpoints("web", {"web-2"})
    assert {fetch(seaway.address_of("svc/web")) for _ in range(10)} == {"web-2"}
    with pytest.raises(ConnectionRefusedError), socket.create_connection(direct, timeout=10):
        pass


def test_a_service_without_endpoints_refuses(seaway: Seaway) -> None:
    seaway.make_service("web", ports=PORTS)
    place = seaway.address_of("svc/web", 80, must_serve=False)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(place, timeout=10):
        pass
    with pytest.raises(TimeoutError, match=r"svc/web: nobody listens at 127\."):
        seaway.address_of("svc/web", 80, timeout_seconds=0.05)


def test_datagrams_are_served(seaway: Seaway) -> None:
    seaway.make_service("echo", ports=[{"port": 5353, "protocol": "UDP"}])
    seaway.run_pod("echo-1", [sys.executable, "-c", ECHO])
    seaway.wait_endpoints("echo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(seaway.address_of("svc/echo"))
        for _ in range(10):  # the program may bind a moment after it runs; a datagram is not kept for it
            try:
                client.send(b"hello")
                assert client.recv(100) == b"HELLO"
                return
            except (TimeoutError, ConnectionRefusedError):
                continue
    raise AssertionError("no answer")


def test_a_test_may_serve_for_a_pod_that_it_speaks_of(seaway: Seaway) -> None:
    seaway.make_service("web", ports=PORTS)
    pod = seaway.make_pod("web-1", ready=True)
    assert pod["spec"]["nodeName"] == "node-1"
    with socket.create_server((seaway.locate(pod["status"]["podIP"]), 8080)) as listening:
        seaway.wait_endpoints("web", {"web-1"})

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"from the test itself")

        thread = threading.Thread(target=answer)
        thread.start()
        with socket.create_connection(seaway.address_of("svc/web"), timeout=10) as client:
            assert client.recv(100) == b"from the test itself"
        thread.join()


def test_pods_of_workloads_run_too(seaway: Seaway) -> None:
    seaway.make_service("web", ports=PORTS)
    container = {
        "name": "main",
        "image": "host",
        "command": [sys.executable, "-c", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    seaway.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    seaway.wait_endpoints("web", 2)
    assert fetch(seaway.address_of("svc/web")).startswith("web-")


def test_a_program_that_ends_at_once_says_why(seaway: Seaway) -> None:
    with pytest.raises(RuntimeError, match="Pod bad: the program ended; it printed: 'no such thing"):
        seaway.run_pod("bad", [sys.executable, "-c", "print('no such thing'); raise SystemExit(3)"], port=8080)


def test_what_a_program_prints_can_be_read(seaway: Seaway) -> None:
    run_servers(seaway, "web-1")
    assert seaway.pod_log("web-1") == "about to serve\n"


def test_a_program_finds_services_by_variables_that_work(seaway: Seaway) -> None:
    seaway.make_service("web", ports=PORTS)
    run_servers(seaway, "web-1")
    place = seaway.address_of("svc/web")
    asking = "import os, urllib.request as u; e = os.environ; print(u.urlopen('http://%s:%s/' % (" \
        "e['WEB_SERVICE_HOST'], e['WEB_SERVICE_PORT'])).read().decode(), flush=True)"  # fmt: skip
    seaway.run_pod("asker", [sys.executable, "-c", f"{asking}; import time; time.sleep(60)"])
    assert place[0].startswith("127.")
    while not (printed := seaway.pod_log("asker")):
        seaway.get("pod", "asker")  # another round trip: the program is about to print
    assert printed == "web-1\n"


def test_a_program_speaks_with_the_api_as_its_service_account(seaway: Seaway) -> None:
    """As an operator in its Pod: the kubeconfig that it finds leads to the Service `kubernetes`."""
    seaway.apply("""
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: readers}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
        subjects: [{kind: ServiceAccount, name: default}]
        """)
    seaway.make_service("web")
    program = """
import kubernetes, time
kubernetes.config.load_kube_config()
api = kubernetes.client.CoreV1Api()
print([service.metadata.name for service in api.list_namespaced_service("NAMESPACE").items], flush=True)
try:
    api.delete_namespaced_service("web", "NAMESPACE")
except kubernetes.client.ApiException as error:
    print(error.status, flush=True)
"""
    seaway.run_pod("operator", [sys.executable, "-c", program.replace("NAMESPACE", seaway.namespace)])
    seaway.wait_for("pod", "operator", lambda pod: pod["status"]["phase"] == "Succeeded", timeout_seconds=30)
    assert seaway.pod_log("operator") == "['web']\n403\n"


def test_pods_outlive_a_restart_of_the_server() -> None:
    with SeawayServer(traffic=True) as seaway:
        seaway.make_service("web", ports=PORTS)
        run_servers(seaway, "web-1")
        before = seaway.get("pod", "web-1")["status"]["containerStatuses"][0]["containerID"]
        seaway.restart()
        assert fetch(seaway.address_of("svc/web")) == "web-1"
        assert seaway.get("pod", "web-1")["status"]["containerStatuses"][0]["containerID"] == before


def test_nothing_is_left_of_a_server_with_traffic() -> None:
    def count_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with SeawayServer(traffic=True):
        pass  # what is made once per process
    threads, descriptors = threading.active_count(), count_descriptors()
    with SeawayServer(traffic=True) as seaway:
        seaway.make_service("web", ports=PORTS)
        run_servers(seaway, "web-1")
        place, folder = seaway.address_of("svc/web"), seaway.server.folder
        assert fetch(place) == "web-1"
    with pytest.raises(ConnectionRefusedError), socket.create_connection(place, timeout=10):
        pass
    assert not folder.exists()
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _mentions(pid, folder)]
    assert (threading.active_count(), count_descriptors()) == (threads, descriptors)


def _mentions(pid: str, folder: Path) -> bool:
    try:
        return (
            str(folder).encode()
            in Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        )
    except OSError:
        return False


def test_without_traffic_nothing_is_run_or_served() -> None:
    with SeawayServer() as seaway:
        seaway.make_service("web")
        for ask in (lambda: seaway.run_pod("web-1", ["true"]), lambda: seaway.address_of("svc/web")):
            with pytest.raises(RuntimeError, match="ask for it: traffic=True"):
                ask()


def test_two_servers_have_parts_of_loopback_that_do_not_meet() -> None:
    with claim_loopback() as one, claim_loopback() as two:
        assert not one.map.onto.overlaps(two.map.onto)
        assert not any(claim.map.onto.overlaps(HOST) for claim in (one, two))


@pytest.mark.parametrize(
    ("target", "port", "words"),
    [
        pytest.param("svc/web", 81, r"port 81 found, one of \[80\] allowed", id="a port that the Service has not"),
        pytest.param("pod/web-1", None, "no port given, one needed", id="a Pod without a port"),
    ],
)
def test_a_wrong_target_is_said(seaway: Seaway, target: str, port: int | None, words: str) -> None:
    seaway.make_service("web", ports=PORTS)
    with pytest.raises(ValueError, match=words):
        seaway.address_of(target, port)
