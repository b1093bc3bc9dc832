"""Two hosts, each with its own agent and proxy, and one API server that both reach: nothing assumes that there is one.

The hosts are network namespaces with a link between them. Routes from one host's Pods to the other's are the
administrator's here, as with any network plugin that has none of its own.
Rule: spec "node" §1 (registration), §10; "proxy" §2.1 (local endpoints); issue of the node agent ("for one host").
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seaway.client.kubeconfig import Connection, parse_kubeconfig, render_kubeconfig
from tests.system.running import EXAMPLES, free_port, ip, is_ready, seaway, until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="two hosts are network namespaces; run the tests as root"),
]

NODES = {"node-a": ("seaway-test-a", "192.0.2.10", "10.244.0"), "node-b": ("seaway-test-b", "192.0.2.11", "10.244.1")}
NODE_GRACE_SECONDS = 4.0
NODE_PORT = 30880
IDENTITIES = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    **{name: (f"system:node:{name}", "system:nodes") for name in NODES},
}
SERVER = """
import http.server, json, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = json.dumps({"pod": os.uname().nodename, "client": self.client_address[0]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(told))); self.end_headers()
        self.wfile.write(told)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""


@dataclass
class Cluster:
    """The processes, by what they are, and where their words go."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str, namespace: str = "") -> None:
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*prefix, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(20)

    def words(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kubeconfig(self, name: str) -> Path:
        return self.folder / f"{name}.kubeconfig"

    def kubectl(self, *arguments: str, who: str = "tcp-admin", stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig(who)), *arguments]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=60)

    def get(self, *arguments: str) -> Any:
        done = self.kubectl("get", *arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def apply(self, *objects: dict[str, Any]) -> None:
        done = self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )
        assert done.returncode == 0, done.stderr

    def start_node(self, name: str) -> None:
        namespace, address, pods = NODES[name]
        state = self.folder / name
        common = ("--kubeconfig", str(self.kubeconfig(name)))
        self.start(
            f"agent of {name}",
            *seaway("node", *common, "--node-name", name, "--node-ip", address, "--pod-cidr", f"{pods}.0/24"),
            *("--data-dir", str(state), "--resolv-conf", ""),
            namespace=namespace,
        )

    def start_proxy(self, name: str) -> None:
        namespace = NODES[name][0]
        self.start(
            f"proxy of {name}",
            *seaway("proxy", "--kubeconfig", str(self.kubeconfig("proxy")), "--hostname-override", name),
            *("--cluster-cidr", "10.244.0.0/16", "--service-cidr", "10.96.0.0/16", "--serve-uplinks"),
            *("--uplink-state", str(self.folder / f"{name}-uplinks.json"), "--conntrack-max-per-core", "0"),
            *("--nodeport-addresses", "192.0.2.0/24"),
            namespace=namespace,
        )

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["metadata"]["name"]: node for node in self.get("nodes")["items"]}

    def pods(self) -> dict[str, list[dict[str, Any]]]:
        """Ready Pods of the Deployment, by node."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in NODES}
        for pod in self.get("pods", "-l", "app=web")["items"]:
            if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
                found[pod["spec"]["nodeName"]].append(pod)
        return found

    def ask(self, url: str, count: int, *, source: str) -> dict[str, int]:
        """Who answered, how often; source: the node that asks."""
        command = ["ip", "netns", "exec", NODES[source][0], sys.executable, str(EXAMPLES / "node_side.py")]
        done = subprocess.run([*command, "fetch", url, str(count)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told: dict[str, int] = json.loads(done.stdout)
        return told


@contextlib.contextmanager
def open_hosts() -> Iterator[None]:
    namespaces = [namespace for namespace, *_ in NODES.values()]
    for namespace in namespaces:
        ip("netns", "add", namespace)
    try:
        ip("link", "add", "up0", "netns", namespaces[0], "type", "veth", "peer", "name", "up0", "netns", namespaces[1])
        for name, (namespace, address, _) in NODES.items():
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", "up0")
            for link in ("up0", "lo"):
                ip("-n", namespace, "link", "set", link, "up")
            ip("netns", "exec", namespace, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
            (other,) = (found for found in NODES if found != name)
            _, peer, pods = NODES[other]
            ip("-n", namespace, "route", "add", "default", "via", peer)
            ip("-n", namespace, "route", "add", f"{pods}.0/24", "via", peer)
        yield
    finally:
        for namespace in namespaces:
            ip("netns", "del", namespace)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(Path(tmp_path_factory.mktemp("two-nodes")))
    data, port = made.folder / "api", free_port()
    tokens = made.folder / "tokens.csv"
    tokens.write_text("".join(f"token-{n},{user},{n},{group}\n" for n, (user, group) in IDENTITIES.items()))
    with open_hosts():
        try:
            made.start(
                "apiserver",
                *seaway("apiserver", "--data-dir", str(data), "--secure-port", str(port)),
                *("--token-auth-file", str(tokens)),
            )
            until(lambda: (data / "admin.kubeconfig").exists() and (data / "api.sock").exists(), "the API server")
            admin = parse_kubeconfig((data / "admin.kubeconfig").read_text())
            for name in IDENTITIES:
                connection = Connection(
                    server="", ca_pem=admin.ca_pem, token=f"token-{name}", unix_socket=str(data / "api.sock")
                )
                made.kubeconfig(name).write_text(render_kubeconfig(connection, user=name))
                over_tcp = Connection(server=admin.server, ca_pem=admin.ca_pem, token=f"token-{name}")
                made.kubeconfig(f"tcp-{name}").write_text(render_kubeconfig(over_tcp, user=name))
            ca = made.folder / "ca.crt"
            ca.write_text(admin.ca_pem)
            made.start(
                "controllers",
                *seaway("controllers", "--kubeconfig", str(made.kubeconfig("admin")), "--root-ca-file", str(ca)),
                *("--node-grace-seconds", str(NODE_GRACE_SECONDS), "--leader-elect=false"),
            )
            for name in NODES:
                made.start_node(name)
                made.start_proxy(name)
            until(lambda: {name for name, node in made.nodes().items() if is_ready(node)} == set(NODES), "both nodes")
            made.apply(*make_objects())
            until(lambda: sum(map(len, made.pods().values())) == 4, "four Pods")
            yield made
        except BaseException:
            for name in made.processes:
                print(f"--- {name}\n{made.words(name)[-3000:]}")
            raise
        finally:
            made.kubectl("delete", "deployment,service", "--all", "--wait=true", "--timeout=30s")
            made.kubectl("wait", "--for=delete", "pods", "--all", "--timeout=30s")
            for name in tuple(made.processes):
                made.stop(name)
            for name, (namespace, *_) in NODES.items():
                down = ["ip", "netns", "exec", namespace, *seaway("down", "--data-dir", str(made.folder / name))]
                done = subprocess.run(down, capture_output=True, text=True, timeout=60)
                assert done.stdout.startswith("removed  Pods"), (done.stdout, done.stderr)
                assert "veth" not in ip("-n", namespace, "link").replace("@", ""), "no link of a Pod is left"
        assert not find_processes_of(made.folder), "no process is left"


def find_processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder, of whatever is still there."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace")
            if str(folder) in words:
                found.append(words.replace("\0", " "))
    return found


def make_objects() -> list[dict[str, Any]]:
    container = {
        "name": "main",
        "image": "program",
        "command": ["python3", "-c", SERVER],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
    }
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    spec = {"replicas": 4, "selector": {"matchLabels": labels}, "template": template}
    ports = [{"port": 80, "targetPort": "http"}]
    local = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "ports": [{**ports[0], "nodePort": NODE_PORT}],
        "selector": labels,
    }
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": ports},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "local"}, "spec": local},
    ]


def names(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def test_each_host_is_a_node_with_its_own_address_and_range(cluster: Cluster) -> None:
    for name, (_, address, pods) in NODES.items():
        node = cluster.nodes()[name]
        assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": address}
        assert node["spec"]["podCIDR"] == f"{pods}.0/24"
        lease = cluster.get("lease", name, "-n", "kube-node-lease")
        assert lease["spec"]["holderIdentity"] == name


def test_pods_are_spread_and_have_addresses_of_their_node(cluster: Cluster) -> None:
    for name, pods in cluster.pods().items():
        _, address, prefix = NODES[name]
        assert len(pods) == 2
        for pod in pods:
            assert pod["status"]["hostIP"] == address
            assert pod["status"]["podIP"].startswith(f"{prefix}.")


@pytest.mark.parametrize("source", NODES)
def test_a_cluster_ip_leads_to_pods_of_both_nodes_from_either(cluster: Cluster, source: str) -> None:
    vip = cluster.get("service", "web")["spec"]["clusterIP"]
    everybody = {name for pods in cluster.pods().values() for name in names(pods)}
    assert (
        set(until(lambda: all_of(cluster.ask(f"http://{vip}/", 40, source=source), everybody), "all Pods")) == everybody
    )


def all_of(shares: dict[str, int], wanted: set[str]) -> dict[str, int]:
    """The shares, if everybody has one and nothing failed."""
    return shares if set(shares) == wanted else {}


@pytest.mark.parametrize("asked", NODES)
def test_a_node_port_of_the_local_policy_leads_to_pods_of_the_node_that_was_asked(cluster: Cluster, asked: str) -> None:
    (source,) = (name for name in NODES if name != asked)
    own = names(cluster.pods()[asked])
    address = NODES[asked][1]
    shares = until(
        lambda: all_of(cluster.ask(f"http://{address}:{NODE_PORT}/", 20, source=source), own), "its own Pods"
    )
    assert set(shares) == own


def test_a_pod_reaches_one_of_the_other_node_by_its_own_address(cluster: Cluster) -> None:
    asks, answers = (cluster.pods()[name][0] for name in NODES)
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    namespace = NODES["node-a"][0]
    pid = find_process(asks["metadata"]["name"])
    command = [
        "nsenter",
        "-t",
        str(pid),
        "-n",
        sys.executable,
        "-c",
        code,
        f"http://{answers['status']['podIP']}:8080/",
    ]
    done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"pod": answers["metadata"]["name"], "client": asks["status"]["podIP"]}, (
        "the source keeps its address"
    )


def find_process(pod: str) -> int:
    wanted = f"HOSTNAME={pod}".encode()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if wanted in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                return int(entry)
    raise AssertionError(f"Pod {pod} has no process")


@pytest.mark.parametrize(
    ("what", "patch"),
    [
        (("node", "node-b"), '{"metadata": {"labels": {"a": "b"}}}'),
        (("node", "node-b", "--subresource=status"), '{"status": {"capacity": {"pods": "1"}}}'),
    ],
)
def test_an_agent_may_not_write_the_other_node(cluster: Cluster, what: tuple[str, ...], patch: str) -> None:
    done = cluster.kubectl("patch", *what, "--type=merge", "-p", patch, who="tcp-node-a")
    assert done.returncode == 1
    assert 'nodes "node-b" is forbidden' in done.stderr, done.stderr


def test_an_agent_may_not_touch_the_pods_of_the_other(cluster: Cluster) -> None:
    pod = cluster.pods()["node-b"][0]["metadata"]["name"]
    patch = '{"status": {"phase": "Failed"}}'
    for command in (("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch), ("delete", "pod", pod)):
        done = cluster.kubectl(*command, who="tcp-node-a")
        assert done.returncode == 1
        assert "orbidden" in done.stderr, done.stderr


def test_a_node_whose_agent_is_killed_is_given_up_the_other_goes_on_and_it_comes_back(cluster: Cluster) -> None:
    vip = cluster.get("service", "web")["spec"]["clusterIP"]
    before = cluster.pods()
    cluster.stop("agent of node-b", signal.SIGKILL)
    until(lambda: not is_ready(cluster.nodes()["node-b"]), "node-b is noticed")
    staying = names(before["node-a"])
    until(lambda: all_of(cluster.ask(f"http://{vip}/", 20, source="node-a"), staying), "only node-a serves")
    address = before["node-b"][0]["status"]["podIP"]
    assert cluster.ask(f"http://{address}:8080/", 1, source="node-a") == {before["node-b"][0]["metadata"]["name"]: 1}, (
        "its Pods run on"
    )
    cluster.start_node("node-b")
    until(lambda: is_ready(cluster.nodes()["node-b"]), "node-b is back")
    everybody = staying | names(before["node-b"])
    until(lambda: all_of(cluster.ask(f"http://{vip}/", 40, source="node-a"), everybody), "both serve")
    after = cluster.pods()
    assert {p["metadata"]["uid"]: p["status"]["podIP"] for pods in after.values() for p in pods} == {
        p["metadata"]["uid"]: p["status"]["podIP"] for pods in before.values() for p in pods
    }, "no Pod was lost, none doubled"
