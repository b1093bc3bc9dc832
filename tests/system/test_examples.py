"""Every manifest of examples/ is applied with kubectl and carries traffic."""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.system.running import EXAMPLES, Up, until

APPS = {"my-app-1", "my-app-2", "my-app-3"}


@pytest.fixture(scope="module")
def applied(up: Up) -> Up:
    up.kubectl("apply", "-f", str(EXAMPLES))
    up.wait_pods(*APPS, "nginx", "two-ports", "client", "discovery")
    return up


def test_a_selector_service_spreads_over_its_pods(applied: Up) -> None:
    shares = applied.ask("fetch", f"http://{applied.cluster_ip('my-service')}/", "60")
    assert set(shares) == APPS
    assert min(shares.values()) >= 5


def test_a_pod_reaches_the_service_by_name(applied: Up) -> None:
    client = applied.get("pod", "client")["status"]["podIP"]
    shares = applied.ask("get", f"http://{client}:8000/fetch?url=http://my-service/&count=30")
    assert set(shares) == APPS


def test_a_named_target_port_is_found_in_the_pod(applied: Up) -> None:
    answer = applied.ask("get", f"http://{applied.cluster_ip('nginx-service')}/")
    assert (answer["pod"], answer["port"]) == ("nginx", 8080)


@pytest.mark.parametrize(("port", "target"), [(80, 9376), (443, 9377)])
def test_each_of_two_ports_has_its_own_target(applied: Up, port: int, target: int) -> None:
    answer = applied.ask("get", f"http://{applied.cluster_ip('my-two-ports')}:{port}/")
    assert (answer["pod"], answer["port"]) == ("two-ports", target)


def test_both_addresses_of_a_hand_made_endpoint_are_served(applied: Up) -> None:
    program = shlex.join([sys.executable, "-c", OUTSIDE])
    applied.inside(
        "sh", "-c", f"for a in 10.4.5.6 10.1.2.3; do ip addr add $a/32 dev lo; done; {program} >/dev/null 2>&1 &"
    )
    vip = f"http://{applied.cluster_ip('my-database')}/"
    until(lambda: not any(who.startswith("error") for who in applied.ask("fetch", vip, "1")), "the outside answers")
    assert set(applied.ask("fetch", vip, "40")) == {"10.4.5.6", "10.1.2.3"}


# Two servers outside of any Pod, each of which says the address that it was asked on.
OUTSIDE = """
import http.server, json, os, threading
os.setsid()
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"pod": self.server.server_address[0]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
for a in ("10.4.5.6", "10.1.2.3"):
    threading.Thread(target=http.server.ThreadingHTTPServer((a, 9376), H).serve_forever).start()
"""


def test_a_node_port_is_served_at_the_nodes_address(applied: Up) -> None:
    node = applied.get("nodes")["items"][0]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    assert set(applied.ask("fetch", f"http://{address}:30007/", "60")) == APPS
    assert applied.get("service", "my-node-port")["spec"]["ports"][0]["nodePort"] == 30007


def test_a_headless_name_answers_with_the_pods_addresses(applied: Up) -> None:
    pods = {applied.get("pod", name)["status"]["podIP"] for name in APPS}
    client = applied.get("pod", "client")["status"]["podIP"]
    assert set(applied.ask("get", f"http://{client}:8000/lookup?name=my-headless")) == pods


def test_an_external_name_is_an_alias(applied: Up) -> None:
    records = applied.ask("dns", "10.96.0.10", "my-external.default.svc.cluster.local.", "CNAME")
    assert [r.split()[-2:] for r in records] == [["CNAME", "my.database.example.com."]]


def test_the_list_looks_as_on_a_kubernetes_cluster(applied: Up) -> None:
    table = applied.kubectl("get", "svc,endpointslices,pods", "-A")
    assert "service/my-service" in table
    assert "endpointslice.discovery.k8s.io/my-database-1" in table
    row = next(line for line in table.splitlines() if "pod/my-app-1" in line).split()
    assert row[:4] == ["default", "pod/my-app-1", "1/1", "Running"]


def test_a_pod_has_the_variables_of_earlier_services(applied: Up) -> None:
    client = applied.get("pod", "client")["status"]["podIP"]
    variables = applied.ask("get", f"http://{client}:8000/env?prefix=MY_SERVICE_")
    assert variables["MY_SERVICE_SERVICE_HOST"] == applied.cluster_ip("my-service")
    assert variables["MY_SERVICE_SERVICE_PORT"] == "80"


def read_discovery(up: Up) -> dict[str, str]:
    """What the Pod discovery printed last of each Service."""
    return dict(line.split(": ", 1) for line in up.kubectl("logs", "discovery").splitlines())


def test_a_pod_prints_both_ways_to_services_of_its_own_and_of_another_namespace(applied: Up) -> None:
    mine = applied.cluster_ip("my-service")
    theirs = applied.get("service", "their-service", "-n", "elsewhere")["spec"]["clusterIP"]
    until(lambda: len(read_discovery(applied)) == 3, "the Pod has looked for all three")
    printed = read_discovery(applied)
    assert printed["my-service"] == f"environment {mine}:80, DNS {mine}"
    assert printed["their-service.elsewhere"] == f"environment none, DNS {theirs}"


def test_a_service_that_is_newer_than_the_pod_is_found_by_name_and_has_no_variables(applied: Up) -> None:
    nowhere = "environment none, DNS none"
    until(lambda: read_discovery(applied).get("my-late-service") == nowhere, "the Service is not there yet")
    applied.kubectl("create", "service", "clusterip", "my-late-service", "--tcp=80")
    found = f"environment none, DNS {applied.cluster_ip('my-late-service')}"
    until(lambda: read_discovery(applied)["my-late-service"] == found, f"the Pod prints {found}")
    variables = applied.kubectl("exec", "discovery", "--", "env")
    assert "MY_SERVICE_SERVICE_HOST=" in variables
    assert "MY_LATE_SERVICE" not in variables
