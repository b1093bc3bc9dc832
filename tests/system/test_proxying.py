"""What kubectl reaches through the API server: Services, Pods and the node, in the sandbox and on a host.

Rule: spec "service-api" §8; "node" §5.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seaway.pki.certificates import create_authority, issue_server
from tests.system.running import Up, free_port, open_host

SAYS_HOW_IT_WAS_ASKED = """
import http.server, json, ssl, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.headers.get("Transfer-Encoding") == "chunked":  # as kubectl sends
            while size := int(self.rfile.readline(), 16):
                sent += self.rfile.read(size).decode()
                self.rfile.readline()
            self.rfile.readline()
        tls = isinstance(self.connection, ssl.SSLSocket)
        told = {"method": self.command, "path": self.path, "tls": tls, "body": sent,
                "credentials": "Authorization" in self.headers}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass

plain, secure = (http.server.ThreadingHTTPServer(("", port), Handler) for port in (8080, 8443))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/program/tls.pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
plain.serve_forever()
"""


def make_manifests() -> list[dict[str, object]]:
    """A Pod that serves HTTP and HTTPS, its Service, and one whose endpoints are hand-made: the node, and no Pod."""
    now = datetime.now(UTC)
    pair = issue_server(create_authority("pod", wall_now=now), names=["pod"], addresses=[], wall_now=now)
    data = {"serve.py": SAYS_HOW_IT_WAS_ASKED, "tls.pem": (pair.key_pem + pair.certificate_pem).decode()}
    container = {
        "name": "main",
        "image": "x",
        "command": ["python3", "/program/serve.py"],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "https", "containerPort": 8443}],
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    }
    spec = {"containers": [container], "volumes": [{"name": "program", "secret": {"secretName": "program"}}]}
    ports = [{"name": "plain", "port": 80, "targetPort": "http"}, {"name": "tls", "port": 443, "targetPort": "https"}]
    away = {"addresses": [{"ip": "203.0.113.9"}], "ports": [{"port": 8080}]}
    meta = {"name": "web", "labels": {"app": "web"}}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "program"}, "stringData": data},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": "web"}, "ports": ports}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"}, "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "away"}, "subsets": [away]},
    ]


@pytest.fixture(scope="module", params=["sandbox", "host"])
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = Path(tmp_path_factory.mktemp(f"proxying-{request.param}"))
    if request.param == "sandbox":
        yield from started(Up(folder))
        return
    if os.geteuid() != 0:
        pytest.skip("the host way needs root; run the tests as root")
    with open_host("seaway-test-proxying", "seaway-test-proxying-outside") as prefix:
        yield from started(Up(folder, network="host", prefix=prefix, port=free_port()))


def started(up: Up) -> Iterator[Up]:
    up.start()
    try:
        items = {"apiVersion": "v1", "kind": "List", "items": make_manifests()}
        up.kubectl("apply", "-f", "-", stdin=json.dumps(items))
        up.wait_pods("web")
        yield up
    finally:
        code, _ = up.stop()
        up.run(sys.executable, "-m", "seaway", "down", "--data-dir", str(up.data_dir))
        assert code == 0


def raw(up: Up, path: str) -> str:
    return up.kubectl("get", "--raw", path, check=False)


BASE = "/api/v1/namespaces/default"


@pytest.mark.parametrize(
    ("where", "is_tls"),
    [
        ("services/http:web:80", False),
        ("services/web:plain", False),
        ("services/https:web:443", True),
        ("services/https:web:tls", True),
        ("pods/web", False),
        ("pods/web:8080", False),
        ("pods/https:web:8443", True),
    ],
)
def test_a_program_is_asked_by_service_and_by_pod(web: Up, where: str, is_tls: bool) -> None:
    told = json.loads(raw(web, f"{BASE}/{where}/proxy/deep/er?a=b"))
    assert told == {"method": "GET", "path": "/deep/er?a=b", "tls": is_tls, "body": "", "credentials": False}


def test_a_body_is_passed_on(web: Up) -> None:
    path = f"{BASE}/services/http:web:80/proxy/form"
    told = json.loads(web.kubectl("create", "--raw", path, "-f", "-", stdin="asked"))
    assert (told["method"], told["body"]) == ("POST", "asked")


def test_kubectl_proxy_leads_to_the_program(web: Up) -> None:
    program = web.run("sh", "-c", "command -v kubectl").stdout.strip()
    command = [*web.prefix, program, "--kubeconfig", str(web.kubeconfig), "proxy", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            address = proxy.stdout.readline().split()[-1]
            url = f"http://{address}{BASE}/services/web:plain/proxy/through"
            code = f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=30).read().decode())"
            assert json.loads(web.run(sys.executable, "-c", code).stdout)["path"] == "/through"
        finally:
            proxy.kill()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        pytest.param("services/away", "no endpoints available for service", id="hand-made endpoints are no Pods"),
        pytest.param("services/web", "no endpoints available for service", id="a port with a name must be named"),
        pytest.param("services/web:81", 'no service port 81 found for service "web"', id="a port it does not have"),
        pytest.param("services/none", 'services "none" not found', id="a Service that is not there"),
        pytest.param("pods/web:1", "connection refused", id="a port where nobody listens"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_the_reason(web: Up, where: str, words: str) -> None:
    assert words in raw(web, f"{BASE}/{where}/proxy/")


def test_the_node_tells_its_pods_its_health_its_configuration_and_its_numbers(web: Up) -> None:
    (node,) = web.get("nodes")["items"]
    name, port = node["metadata"]["name"], node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    assert port == 10250
    assert raw(web, f"/api/v1/nodes/{name}/proxy/healthz") == "ok"
    pods = json.loads(raw(web, f"/api/v1/nodes/{name}:{port}/proxy/pods"))
    assert (pods["kind"], [pod["metadata"]["name"] for pod in pods["items"]]) == ("PodList", ["web"])
    config = json.loads(raw(web, f"/api/v1/nodes/{name}/proxy/configz"))["kubeletconfig"]
    assert config["authentication"]["anonymous"] == {"enabled": False}
    lines = raw(web, f"/api/v1/nodes/{name}/proxy/metrics").splitlines()
    assert {"kubelet_running_pods 1", 'kubelet_running_containers{container_state="running"} 1'} <= set(lines)
    assert "(NotFound)" in raw(web, f"/api/v1/nodes/{name}/proxy/exec")


def test_nobody_else_is_told(web: Up) -> None:
    """Not who reaches the port without the API server's certificate, Pods included; not who has no right to."""
    (node,) = web.get("nodes")["items"]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    assert web.inside(sys.executable, "-c", ASK_AS_NOBODY, address).stdout.strip() == "401 Unauthorized"
    path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/pods"
    refused = web.kubectl("get", "--raw", path, "--as", "system:serviceaccount:default:default", check=False)
    assert 'cannot get resource "nodes/proxy"' in refused


ASK_AS_NOBODY = """
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    urllib.request.urlopen(f"https://{sys.argv[1]}:10250/pods", context=context, timeout=10)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""
