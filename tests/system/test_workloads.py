"""A Deployment with real kubectl, real Pods and real packets. Rule: spec "controllers" §7.4, §7.5."""

from __future__ import annotations

import json

from tests.system.running import Up, until

PROGRAM = """
import http.server, json, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"pod": os.environ.get("GREETING", "none")}).encode())
http.server.ThreadingHTTPServer(("", 8000), H).serve_forever()
"""
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "hello"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "hello"}},
        "template": {
            "metadata": {"labels": {"app": "hello"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "hello",
                        "image": "python:3-alpine",
                        "command": ["python3", "-c", PROGRAM],
                        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
                    }
                ],
            },
        },
    },
}


def greetings(up: Up) -> set[str]:
    return set(up.ask("fetch", f"http://{up.cluster_ip('hello')}/", "20"))


def test_a_deployment_is_rolled_out_scaled_changed_and_undone(up: Up) -> None:
    up.kubectl("apply", "-f", "-", stdin=json.dumps(DEPLOYMENT))
    said = up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    assert said.endswith('deployment "hello" successfully rolled out\n')
    up.kubectl("expose", "deployment", "hello", "--port", "80", "--target-port", "8000")
    until(lambda: greetings(up) == {"none"}, "the Service answers")
    up.kubectl("scale", "deployment", "hello", "--replicas=5")
    up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    up.kubectl("set", "env", "deployment/hello", "GREETING=hi")
    up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    until(lambda: greetings(up) == {"hi"}, "only the new Pods answer")
    history = up.kubectl("rollout", "history", "deployment/hello").splitlines()
    assert [line.split()[0] for line in history if line[:1].isdigit()] == ["1", "2"]
    up.kubectl("rollout", "undo", "deployment/hello")
    up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    until(lambda: greetings(up) == {"none"}, "the old template is back")
    up.kubectl("rollout", "restart", "deployment/hello")
    up.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    assert len(up.get("pods", "-l", "app=hello")["items"]) >= 5
    up.kubectl("delete", "deployment", "hello")
    until(lambda: not up.get("pods", "-l", "app=hello")["items"], "the Pods are gone")
