"""Health checks in a sandbox: what is checked lives inside, and so does who checks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.system.running import Up, seaway, until

A, B = "192.0.2.1", "192.0.2.2"
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(0)
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(self.server.server_address[0].encode())
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((sys.argv[1], 9376), Handler).serve_forever()
"""


def make_manifest() -> str:
    meta = {"name": "checked", "namespace": "default"}
    annotations = {"seaway.dev/check": "http:///healthz", "seaway.dev/check-interval": "250ms"}
    port = {"port": 80, "targetPort": 9376}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "annotations": annotations},
               "spec": {"ports": [port]}}  # fmt: skip
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "checked-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "checked"}},
        "ports": [{"name": "", "port": 9376}], "endpoints": [{"addresses": [A]}, {"addresses": [B]}],
    }  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, slice_]})


def serve(up: Up, address: str) -> subprocess.Popen[bytes]:
    """A server inside that answers; the process is its shell's."""
    server = subprocess.Popen(
        seaway("shell", "--data-dir", str(up.data_dir), "--", sys.executable, "-c", SERVER, address)
    )
    until(lambda: fetch(up, f"http://{address}:9376/healthz") == address, f"{address} serves")
    return server


def fetch(up: Up, url: str) -> str:
    return up.inside("curl", "-s", "--max-time", "5", url, check=False).stdout


def end(up: Up, server: subprocess.Popen[bytes], address: str) -> None:
    fetch(up, f"http://{address}:9376/die")
    server.wait(timeout=30)


def show(up: Up) -> list[Any]:
    return [endpoint["conditions"].get("ready", True) for endpoint in up.get("endpointslice", "checked-1")["endpoints"]]


@pytest.fixture
def addresses(up: Up) -> None:
    for address in (A, B):
        up.inside("ip", "addr", "add", f"{address}/32", "dev", "lo")


def test_a_program_that_dies_gets_no_traffic_and_one_that_is_back_does(up: Up, addresses: None) -> None:
    first, second = serve(up, A), serve(up, B)
    try:
        up.kubectl("apply", "-f", "-", stdin=make_manifest())
        until(lambda: show(up) == [True, True], "both are up")
        end(up, first, A)
        until(lambda: show(up) == [False, True], "one is down")
        vip = f"http://{up.cluster_ip('checked')}/"
        until(lambda: {fetch(up, vip) for _ in range(10)} == {B}, "the other one serves alone")
        assert "EndpointsDown" in up.kubectl("get", "events")
        first = serve(up, A)
        until(lambda: show(up) == [True, True], "both are up again")
    finally:
        for server, address in ((first, A), (second, B)):
            end(up, server, address)
