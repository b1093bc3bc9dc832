"""`seaway node`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from seaway.cli.flags import (
    data_dir_flag,
    host_name_default,
    loopback_map_flag,
    oci_runtime_flag,
    optional_kubeconfig_flag,
    pod_network_flag,
    report_to_stderr,
    split_list,
)
from seaway.cli.of_node import env

if TYPE_CHECKING:
    from seaway.net.loopback import LoopbackMap

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group("node", invoke_without_command=True)
@click.pass_context
@optional_kubeconfig_flag
@data_dir_flag
@click.option("--node-name", default=host_name_default, show_default="the host name", help="This host's Node.")
@click.option("--node-ip", help="This host's address: a, or a,b for two families.  [required]")
@click.option("--pod-cidr", default="10.244.0.0/24", show_default=True, help="Addresses of this host's Pods.")
@click.option("--cluster-cidr", default="10.244.0.0/16", show_default=True, help="Addresses inside of the cluster.")
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option("--dns-ip", default="10.96.0.10", show_default=True, help="Address of the DNS Service.")
@click.option("--node-labels", default="", metavar="KEY=VALUE,...", help="Labels of the Node, such as zone and region.")
@click.option(
    "--register-with-taints", default="", metavar="KEY=VALUE:EFFECT,...", help="Taints of the Node when it is made."
)
@click.option("--max-pods", type=click.IntRange(1, 10000), default=110, show_default=True, help="Pods on this host.")
@click.option(
    "--pod-max-pids",
    type=click.IntRange(0, 4194304),
    default=0,
    show_default=True,
    help="Processes and threads that one Pod may have; 0 for as many as the host has.",
)
@click.option(
    "--system-reserved", default="", metavar="cpu=QUANTITY,...", help="What Pods do not get: cpu, memory, storage."
)
@click.option(
    "--mtu", type=click.IntRange(0, 65535), default=0, help="The largest packet of Pods.  [default: the uplink's]"
)
@oci_runtime_flag
@pod_network_flag
@loopback_map_flag
@click.option(
    "--resolv-conf",
    default="/etc/resolv.conf",
    show_default=True,
    help='What Pods inherit of this host\'s resolver; "": nothing.',
)
@click.option(
    "--kubelet-port",
    type=click.IntRange(1, 65535),
    default=10250,
    show_default=True,
    help="Port of the node's own server.",
)
@click.option(
    "--client-ca-file",
    type=_FILE,
    default=None,
    help="CA of the API server's certificate towards nodes; with the next two there is a server.",
)
@click.option("--tls-cert-file", type=_FILE, default=None, help="Certificate of the node's own server.")
@click.option("--tls-private-key-file", type=_FILE, default=None, help="Key of that certificate.")
def command(
    context: click.Context,
    kubeconfig: Path | None,
    data_dir: Path,
    node_name: str,
    node_ip: str | None,
    pod_cidr: str,
    cluster_cidr: str,
    cluster_domain: str,
    dns_ip: str,
    node_labels: str,
    register_with_taints: str,
    max_pods: int,
    pod_max_pids: int,
    system_reserved: str,
    mtu: int,
    oci_runtime: str,
    network: Literal["routed", "none"],
    loopback_map: LoopbackMap,
    resolv_conf: str,
    kubelet_port: int,
    client_ca_file: Path | None,
    tls_cert_file: Path | None,
    tls_private_key_file: Path | None,
) -> None:
    """Register this host with the API server of a kubeconfig, and run its Pods."""
    if context.invoked_subcommand is not None:
        return
    if kubeconfig is None or not node_ip:
        raise click.UsageError("--kubeconfig and --node-ip are needed.")
    from seaway.app.files import prepare
    from seaway.app.pieces import run_with_client
    from seaway.node.config import ServingConfig
    from seaway.node.run import NodeConfig, run

    serving = None
    if client_ca_file and tls_cert_file and tls_private_key_file:
        serving = ServingConfig(
            certificate=tls_cert_file, key=tls_private_key_file, client_ca=client_ca_file, port=kubelet_port
        )
    elif client_ca_file or tls_cert_file or tls_private_key_file:
        raise click.UsageError("--client-ca-file, --tls-cert-file and --tls-private-key-file go together.")

    labels = tuple(_split_pair("--node-labels", text) for text in split_list(node_labels))
    taints = tuple(_parse_taint(text) for text in split_list(register_with_taints))
    reserved = tuple(_parse_reserved(text) for text in split_list(system_reserved))
    data = prepare(data_dir)
    config = NodeConfig(
        node_name=node_name,
        node_ip=node_ip,
        pod_cidr=pod_cidr,
        cluster_cidrs=split_list(cluster_cidr),
        cluster_domain=cluster_domain,
        dns_ip=dns_ip,
        labels=labels,
        taints=taints,
        max_pods=max_pods,
        pod_max_pids=pod_max_pids,
        reserved=reserved,
        state_dir=data.node_state,
        data_dir=data.root,
        resolv_conf=Path(resolv_conf) if resolv_conf else None,
        serving=serving,
        mtu=mtu,
        oci_runtime=oci_runtime,
        network=network,
        loopback=loopback_map if network == "none" else None,
    )
    sys.exit(
        run_with_client(
            kubeconfig, "node", lambda client, on_ready: run(config, client, on_ready=on_ready), report_to_stderr
        )
    )


_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RESERVABLE = ("cpu", "memory", "ephemeral-storage")


def _split_pair(flag: str, text: str) -> tuple[str, str]:
    """KEY=VALUE. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"{flag}: {text} found, KEY=VALUE allowed.")
    return key, value


def _parse_taint(text: str) -> tuple[str, str, str]:
    """KEY=VALUE:EFFECT or KEY:EFFECT. Raises UsageError."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    if not key or effect not in _EFFECTS:
        raise click.UsageError(f"--register-with-taints: {text} found, KEY=VALUE:{'|'.join(_EFFECTS)} allowed.")
    return key, value, effect


def _parse_reserved(text: str) -> tuple[str, str]:
    """RESOURCE=QUANTITY. Raises UsageError."""
    from seaway.api.machinery.scalars import ScalarError, measure_quantity

    name, quantity = _split_pair("--system-reserved", text)
    try:
        measure_quantity(quantity)
    except ScalarError as error:
        raise click.UsageError(f"--system-reserved: {error}.") from None
    if name not in _RESERVABLE:
        raise click.UsageError(f"--system-reserved: {name} found, {', '.join(_RESERVABLE)} allowed.")
    return name, quantity


command.add_command(env.command)
