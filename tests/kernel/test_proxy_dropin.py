"""kube-proxy's DaemonSet as kubeadm writes it, with `seaway proxy` in its place. Rule: spec "proxy" §10, §11.

The command line, the two files of its ConfigMap, the ServiceAccount, and what binds it to its role, are kubeadm's; the
API server is a process of its own that knows of no proxy. Only conntrack.maxPerCore is another, as it is in kind: the
limit of flows can be set in the first network namespace only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest

from seaway.api.machinery.errors import AlreadyExists, ApiError
from seaway.api.registry import (
    CLUSTER_ROLE_BINDINGS,
    ENDPOINT_SLICES,
    EVENTS_OF_GROUP,
    NAMESPACES,
    NODES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from seaway.app.pieces import connect
from seaway.client.requests import Client, TransportError
from seaway.proxy.run import cleanup
from seaway.testing.builders import make_node, make_service, make_slice
from seaway.testing.netns import EchoServers, Namespace, ask
from seaway.testing.netns import connect as connect_namespaces
from tests.proxy.settings.test_settings import KUBEADM
from tests.system.running import free_port, seaway, until

pytestmark = pytest.mark.kernel

NODE, NODE_NAME, VIP = "192.0.2.1", "node-1", "10.96.0.10"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBECONFIG = """apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority: {account}/ca.crt
    server: https://127.0.0.1:{port}
  name: default
contexts:
- context:
    cluster: default
    namespace: default
    user: default
  name: default
current-context: default
users:
- name: default
  user:
    tokenFile: {account}/token
"""
POD = f"""set -e
mount --make-rprivate /
mount -t tmpfs none /var/lib && mkdir /var/lib/kube-proxy && mount --bind "$FILES/kube-proxy" /var/lib/kube-proxy
mount -t tmpfs none /run && mkdir -p {ACCOUNT} && mount --bind "$FILES/account" {ACCOUNT}
exec "$@"
"""
"""What the kubelet mounts, in a mount namespace that ends with the process."""


@dataclass
class DropIn:
    """A node, an API server on its loopback, and the files of the DaemonSet's Pod."""

    namespace: Namespace
    folder: Path
    port: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def call(self, play: Callable[[Client], Any]) -> Any:
        """What the administrator gets."""

        async def run() -> Any:
            client = connect(self.folder / "api" / "admin.kubeconfig", user_agent="test")
            try:
                return await play(client)
            finally:
                await client.close()

        with self.namespace.entered():
            return asyncio.run(run())

    def spawn(self, *command: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "FILES": str(self.folder / "pod"), "KUBECONFIG": ""}
        with self.namespace.entered():
            process = subprocess.Popen(command, text=True, stderr=subprocess.PIPE, env=environment)
        self.processes.append(process)
        return process

    def start_proxy(self) -> subprocess.Popen[str]:
        """The container's command, as kubeadm has it."""
        container = seaway(
            "proxy", "--config=/var/lib/kube-proxy/config.conf", f"--hostname-override={NODE_NAME}"
        )  # fmt: skip
        process = self.spawn("unshare", "--mount", "sh", "-c", POD, "sh", *container)
        until(lambda: self.get(10249, "/healthz") == (200, "ok") or process.poll() is not None, "the proxy's pages")
        assert process.poll() is None, process.communicate()
        return process

    def get(self, port: int, path: str) -> tuple[int, str]:
        """Code and body; 0 when nobody answers."""
        with self.namespace.entered():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except OSError:
                return 0, ""

    def serves(self, address: str, port: int, name: str) -> bool:
        try:
            return ask(self.namespace, address, port, timeout_seconds=0.5)[0] == name
        except OSError:
            return False


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DropIn]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a network and a mount namespace; run as root or inside `unshare -Urnm`")
    with Namespace() as namespace, Namespace() as outside, EchoServers() as servers:
        connect_namespaces(namespace, "out", outside, "eth0")
        namespace.run("ip", "address", "add", f"{NODE}/24", "dev", "out")
        namespace.run("ip", "route", "add", "default", "dev", "out")
        servers.listen(namespace, "pod", 7070)
        servers.start()
        made = DropIn(namespace, tmp_path, free_port())
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.communicate()
            with namespace.entered():
                cleanup()


def write_pod(node: DropIn, token: str, config: bytes) -> None:
    """The ConfigMap's files, and the ServiceAccount's."""
    pod, api = node.folder / "pod", node.folder / "api"
    for name in ("kube-proxy", "account"):
        (pod / name).mkdir(parents=True, exist_ok=True)
    (pod / "kube-proxy" / "config.conf").write_bytes(config)
    (pod / "kube-proxy" / "kubeconfig.conf").write_text(KUBECONFIG.format(account=ACCOUNT, port=node.port))
    found = msgspec.yaml.decode((api / "admin.kubeconfig").read_bytes())
    authority = found["clusters"][0]["cluster"]["certificate-authority-data"]
    (pod / "account" / "ca.crt").write_bytes(base64.b64decode(authority))
    (pod / "account" / "token").write_text(token)


async def fill(admin: Client) -> str:
    """What kubeadm makes for kube-proxy, a node, and a Service that is there already; the account's token."""
    with contextlib.suppress(AlreadyExists):
        await admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kube-proxy"}}
    await admin.create(SERVICE_ACCOUNTS, account, "kube-system")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kubeadm:node-proxier"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
        "subjects": [{"kind": "ServiceAccount", "name": "kube-proxy", "namespace": "kube-system"}],
    }
    await admin.create(CLUSTER_ROLE_BINDINGS, binding)
    made = await admin.create(NODES, make_node(NODE_NAME))
    status = {"addresses": [{"type": "InternalIP", "address": NODE}]}
    await admin.update(NODES, {**made, "status": status}, subresource="status")
    ports = [{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"}]
    await admin.create(SERVICES, make_service("web", clusterIP=VIP, type="NodePort", ports=ports), "default")
    targets = [{"name": "http", "port": 7070, "protocol": "TCP"}]
    piece = make_slice("web-1", "web", [NODE], ports=targets, nodeName=NODE_NAME)
    await admin.create(ENDPOINT_SLICES, piece, "default")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = "/api/v1/namespaces/kube-system/serviceaccounts/kube-proxy/token"
    answer = await admin.send("POST", path, body=json.dumps(request).encode())
    return str(json.loads(answer)["status"]["token"])


async def reasons(admin: Client) -> list[tuple[str, str]]:
    found = (msgspec.json.decode(item) for item in (await admin.list(EVENTS_OF_GROUP, "default")).items)
    return [(event["reason"], event["reportingController"]) for event in found]


def test_the_daemon_set_of_kubeadm_runs_with_seaway_in_the_place_of_kube_proxy(node: DropIn) -> None:
    api = node.folder / "api"
    server = node.spawn(*seaway("apiserver", "--data-dir", str(api), "--secure-port", str(node.port)))

    def is_up() -> bool:
        assert server.poll() is None, server.communicate()
        return (api / "admin.kubeconfig").exists() and node.call(is_ready)

    async def is_ready(admin: Client) -> bool:
        with contextlib.suppress(ApiError, TransportError):
            return bool(await admin.send("GET", "/readyz"))
        return False

    until(is_up, "the API server")
    config = KUBEADM.replace(b"maxPerCore: null", b"maxPerCore: 0")
    write_pod(node, node.call(fill), config)

    process = node.start_proxy()
    until(lambda: node.serves(VIP, 80, "pod"), "the cluster IP is served")
    until(lambda: node.serves(NODE, 30080, "pod"), "the node port is served")
    code, body = node.get(10256, "/healthz")
    assert (code, json.loads(body)["nodeEligible"]) == (200, True)
    assert node.get(10249, "/proxyMode") == (200, "nftables")
    page = node.get(10249, "/metrics")[1]
    assert 'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}' in page
    counted = 'seaway_proxy_service_connections_total{namespace="default",service="web",port="http"} '
    (line,) = [line for line in page.splitlines() if line.startswith(counted)]
    assert int(line.removeprefix(counted)) >= 2
    configz = json.loads(node.get(10249, "/configz")[1])["kubeproxy.config.k8s.io"]
    assert configz["clusterCIDR"] == "10.244.0.0/16"
    until(lambda: ("Starting", "kube-proxy") in node.call(reasons), "the event")

    masquerading = config.replace(b"masqueradeAll: false", b"masqueradeAll: true", 1)
    (node.folder / "pod" / "kube-proxy" / "config.conf").write_bytes(masquerading)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "content of the proxy server's configuration file was updated" in said
    assert "warning=" not in said
    assert node.serves(VIP, 80, "pod"), "rules outlive the proxy"
    assert chain(node)[0].startswith("ip saddr != 10.244.0.0/16 ip daddr @cluster-ips")

    process = node.start_proxy()
    until(lambda: chain(node)[0].startswith("ip daddr @cluster-ips"), "the new configuration")
    assert node.serves(VIP, 80, "pod")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert node.serves(VIP, 80, "pod")


def chain(node: DropIn) -> list[str]:
    """The rules of the chain that decides who is masqueraded; the first says who."""
    listed = node.namespace.run("nft", "list", "chain", "ip", "seaway", "translate").splitlines()
    return [line.strip() for line in listed[2:-2]]
