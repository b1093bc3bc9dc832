"""A Service that asks for user space, in a sandbox whose other Services are the kernel's. Rule: docs/userspace.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.system.running import Up, seaway, until

A, B = "192.0.2.1", "192.0.2.2"
SERVER = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        first = self.rfile.readline().strip()
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + first)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((sys.argv[1], 9376), Handler).serve_forever()
"""
ASKED = {
    "seaway.dev/plane": "userspace",
    "seaway.dev/proxy-protocol": "v1",
    "seaway.dev/balance": "round-robin",
    "seaway.dev/ejection": "failures=1,for=1h",
}


def make_manifest() -> str:
    meta = {"name": "asked", "namespace": "default"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "annotations": ASKED},
               "spec": {"ports": [{"port": 80, "targetPort": 9376}]}}  # fmt: skip
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "asked-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "asked"}},
        "ports": [{"name": "", "port": 9376}], "endpoints": [{"addresses": [A]}, {"addresses": [B]}],
    }  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, slice_]})


def fetch(up: Up, url: str) -> str:
    return up.inside("curl", "-s", "--max-time", "5", url, check=False).stdout


@pytest.fixture
def server(up: Up) -> Iterator[None]:
    """One of the two endpoints serves; at the other's address nobody listens."""
    for address in (A, B):
        up.inside("ip", "addr", "add", f"{address}/32", "dev", "lo")
    command = seaway("shell", "--data-dir", str(up.data_dir), "--", sys.executable, "-c", SERVER, A)
    with subprocess.Popen(command) as running:
        until(lambda: fetch(up, f"http://{A}:9376/") == "GET / HTTP/1.1", "the endpoint serves")
        yield
        running.terminate()


def test_a_service_gets_what_only_user_space_can_and_goes_back(up: Up, server: None) -> None:
    up.kubectl("apply", "-f", "-", stdin=make_manifest())
    vip = up.cluster_ip("asked")
    until(lambda: fetch(up, f"http://{vip}/").startswith("PROXY TCP4 "), "the endpoint is told who asks")
    said = {fetch(up, f"http://{vip}/") for _ in range(6)}
    assert all(line.startswith("PROXY TCP4 ") and line.split()[3] == vip for line in said), said
    until(lambda: "EndpointEjected" in up.kubectl("get", "events"), "the endpoint that refuses is told of")
    metrics = fetch(up, "http://127.0.0.1:10249/metrics")
    assert 'seaway_proxy_userspace_ejected_endpoints{namespace="default",service="asked",port="80"} 1' in metrics

    up.kubectl("annotate", "service", "asked", "seaway.dev/plane-")
    until(lambda: fetch(up, f"http://{vip}/") == "GET / HTTP/1.1", "the kernel serves it again")
    until(lambda: "NeedsUserspacePlane" in up.kubectl("get", "events"), "what has no effect any more is told")
