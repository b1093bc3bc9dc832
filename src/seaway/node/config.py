"""What the agent is told: about its node, the cluster, and where it may keep things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seaway.net.loopback import LoopbackMap


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """The node's own HTTPS server. PEM files: its certificate with the key, and the CA that signs clients.

    clients: the names that may ask; the API server's, by kubeadm's name for it.
    """

    certificate: Path
    key: Path
    client_ca: Path
    port: int = 10250
    clients: tuple[str, ...] = ("kube-apiserver-kubelet-client",)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """node_ip: one address, or one per family with a comma, primary first. pod_cidr likewise.

    state_dir: Pods, logs, the shim's socket; inside data_dir, which no Pod can see.
    serving: None for no server. resolv_conf: what Pods inherit; None: nothing.
    pod_max_pids: processes and threads that one Pod may have; 0: as many as the host.
    mtu: the largest packet of Pods; 0: the uplink's.
    oci_runtime: what builds containers of images: `auto`, `none`, or a program's path.
    labels: kept true on the Node. taints: key, value and effect, set when it is registered. reserved: resources and
    quantities that Pods do not get.
    disk_seconds: how often Pods that have limits of disk are measured.
    sandbox: the agent runs in a user namespace with one mapped user, and Pods end with it.
    network: `routed`: Pods have namespaces and links. `none`: they are plain processes of the agent's user; loopback
    says where the cluster's addresses are then.
    """

    node_name: str
    node_ip: str
    pod_cidr: str = "10.244.0.0/24"
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    cluster_domain: str = "cluster.local"
    dns_ip: str = ""
    state_dir: Path
    data_dir: Path
    sandbox: bool = False
    version: str = "v1.36.0"
    hostname: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str, str], ...] = ()
    max_pods: int = 110
    pod_max_pids: int = 0
    reserved: tuple[tuple[str, str], ...] = ()
    lease_renew_seconds: float = 10.0
    lease_duration_seconds: int = 40
    status_seconds: float = 10.0
    disk_seconds: float = 10.0
    resolv_conf: Path | None = Path("/etc/resolv.conf")
    serving: ServingConfig | None = None
    mtu: int = 0
    oci_runtime: str = "auto"
    network: Literal["routed", "none"] = "routed"
    loopback: LoopbackMap | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when the fields do not go together."""
        if (self.network == "none") != (self.loopback is not None):
            raise ValueError(f"network {self.network}: loopback {self.loopback} found; none has a map, routed has not")

    @property
    def is_isolated(self) -> bool:
        """Pods have namespaces of their own."""
        return self.network != "none"

    def locate(self, address: str) -> str:
        """Where an address of the cluster is on this host: itself, or its loopback address."""
        return (self.loopback.to_loopback(address) if self.loopback is not None else None) or address

    def locate_all(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """Where each of them is, in their order."""
        return tuple(self.locate(address) for address in addresses)

    @property
    def has_users(self) -> bool:
        """Programs can be any user, in any group, and files anybody's; else there is one of each: the agent's."""
        return not self.sandbox and self.is_isolated

    @property
    def node_ips(self) -> tuple[str, ...]:
        return tuple(address.strip() for address in self.node_ip.split(","))
