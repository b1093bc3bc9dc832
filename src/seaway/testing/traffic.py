"""Real traffic for a test's Seaway: Pods run as plain programs of this host, and Services are served on loopback.

The node agent and the proxy are those of `seaway up --network none`, in the thread of the server; only the Pods are
processes. Each server has a part of loopback of its own, so that many run beside each other. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from seaway.apiserver.config import ServerConfig
from seaway.apiserver.serving.dialing import dial_directly, make_kubelet_context
from seaway.apiserver.serving.forwarding import HttpBackends
from seaway.net.loopback import LoopbackMap
from seaway.node.config import NodeConfig, ServingConfig
from seaway.node.run import end_pods
from seaway.node.run import run as run_node
from seaway.pki.certificates import Pair, issue_server
from seaway.proxy.config import ProxyConfig
from seaway.proxy.run import run as run_proxy
from seaway.testing.cluster import MASTERS, Cluster, first_of
from seaway.testing.credentials import get_authority, get_client, write_private
from seaway.testing.loopback import NODE_IP, POD_CIDR, REAL_POD_CIDR, SERVICE_CIDR, Claim, claim_loopback
from seaway.testing.nodes import REAL_NODE

_KUBELET_CLIENT = "kube-apiserver-kubelet-client"


class Traffic:
    """Of one server. `folder`: what Pods have of files, removed by the server. Not reused after `end`."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError when no part of loopback is left."""
        self._state_dir = folder / "node"
        self._folder = folder
        self._claim: Claim = claim_loopback()
        self._certificate, self._key = folder / "kubelet.crt", folder / "kubelet.key"
        self._client_certificate, self._client_key = folder / "kubelet-client.crt", folder / "kubelet-client.key"
        client = get_client(_KUBELET_CLIENT, ())
        for path, pem in (
            (self._certificate, _get_kubelet().certificate_pem),
            (self._key, _get_kubelet().key_pem),
            (self._client_certificate, client.certificate_pem),
            (self._client_key, client.key_pem),
        ):
            write_private(path, pem)

    @property
    def loopback(self) -> LoopbackMap:
        """Where addresses of this cluster are."""
        return self._claim.map

    def locate(self, address: str) -> str:
        """Where an address of this cluster is bound and dialled; others are where they say."""
        return self.loopback.to_loopback(address) or address

    @property
    def node_address(self) -> str:
        """Where the node is: the API server listens there too, so that Pods reach the Service `kubernetes`."""
        return self.locate(NODE_IP)

    def complete(self, config: ServerConfig, port: int) -> ServerConfig:
        """The API server's, with its own Service. port: where it listens."""
        return replace(config, advertise_address=NODE_IP, secure_port=port)

    def make_backends(self) -> HttpBackends:
        """The API server's way to Pods and to their agent: logs, exec, port-forward and proxy."""
        context = make_kubelet_context(
            certificate=self._client_certificate, key=self._client_key, authority=self._folder / "ca.crt"
        )
        return HttpBackends(functools.partial(dial_directly, kubelet=context, locate=self.locate))

    @contextlib.asynccontextmanager
    async def run(self, cluster: Cluster) -> AsyncIterator[None]:
        """Inside the block Pods are started and Services served. Pods outlive it, until `end`."""
        node = cluster.client(user=f"system:node:{REAL_NODE}", groups=("system:nodes",))
        proxy = cluster.client(user="system:kube-proxy", groups=(MASTERS,))
        has_node, has_proxy = asyncio.Event(), asyncio.Event()
        tasks = (
            asyncio.create_task(run_node(self._node_config(), node, on_ready=has_node.set)),
            asyncio.create_task(run_proxy(self._proxy_config(), proxy, on_ready=has_proxy.set)),
        )
        cluster.tasks += tasks
        try:
            for task, ready in zip(tasks, (has_node, has_proxy), strict=True):
                await first_of(task, ready)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self) -> None:
        """End the Pods, and let others have this part of loopback. Safe to repeat."""
        try:
            if self._state_dir.exists():
                await end_pods(self._state_dir)
        finally:
            self._claim.close()

    def _node_config(self) -> NodeConfig:
        return NodeConfig(
            node_name=REAL_NODE,
            node_ip=NODE_IP,
            pod_cidr=REAL_POD_CIDR,
            cluster_cidrs=(POD_CIDR, SERVICE_CIDR),
            state_dir=self._state_dir,
            data_dir=self._folder,
            network="none",
            loopback=self.loopback,
            resolv_conf=None,
            serving=ServingConfig(
                certificate=self._certificate,
                key=self._key,
                client_ca=self._folder / "ca.crt",
                clients=(_KUBELET_CLIENT,),
            ),
        )

    def _proxy_config(self) -> ProxyConfig:
        return ProxyConfig(
            node_name=REAL_NODE,
            cluster_cidrs=(POD_CIDR,),
            service_cidrs=(SERVICE_CIDR,),
            plane="userspace",
            loopback=self.loopback,
            sysctls={},
        )


@functools.cache
def _get_kubelet() -> Pair:
    """The certificate of every agent of this process."""
    return issue_server(get_authority(), names=(REAL_NODE,), addresses=(NODE_IP,), wall_now=datetime.now(UTC))


def is_listening(address: str, port: int, *, is_udp: bool = False) -> bool:
    """Somebody listens there. Nothing is sent: whoever it is does not notice."""
    wanted = f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"
    with open("/proc/net/udp" if is_udp else "/proc/net/tcp", encoding="ascii") as table:
        rows = (line.split() for line in table)
        return any(row[1] == wanted and (is_udp or row[3] == _LISTEN) for row in rows)


_LISTEN = "0A"
"""The state in /proc/net/tcp. Rule: linux/include/net/tcp_states.h."""
