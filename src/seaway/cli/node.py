"""`seaway node`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from seaway.cli.flags import data_dir_flag, host_name_default, kubeconfig_flag, report_to_stderr, split_list


@click.command("node")
@kubeconfig_flag
@data_dir_flag
@click.option("--node-name", default=host_name_default, show_default="the host name", help="This host's Node.")
@click.option("--node-ip", required=True, help="This host's address: a, or a,b for two families.")
@click.option("--pod-cidr", default="10.244.0.0/24", show_default=True, help="Addresses of this host's Pods.")
@click.option("--cluster-cidr", default="10.244.0.0/16", show_default=True, help="Addresses inside of the cluster.")
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option("--dns-ip", default="10.96.0.10", show_default=True, help="Address of the DNS Service.")
def command(
    kubeconfig: Path,
    data_dir: Path,
    node_name: str,
    node_ip: str,
    pod_cidr: str,
    cluster_cidr: str,
    cluster_domain: str,
    dns_ip: str,
) -> None:
    """Register this host with the API server of a kubeconfig, and run its Pods."""
    from seaway.app.files import prepare
    from seaway.app.pieces import run_with_client
    from seaway.node.run import NodeConfig, run

    data = prepare(data_dir)
    config = NodeConfig(
        node_name=node_name,
        node_ip=node_ip,
        pod_cidr=pod_cidr,
        cluster_cidrs=split_list(cluster_cidr),
        cluster_domain=cluster_domain,
        dns_ip=dns_ip,
        state_dir=data.node_state,
        data_dir=data.root,
    )
    sys.exit(
        run_with_client(
            kubeconfig, "node", lambda client, on_ready: run(config, client, on_ready=on_ready), report_to_stderr
        )
    )
