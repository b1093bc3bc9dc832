"""`seaway proxy trace`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seaway.cli.flags import host_name_default, kubeconfig_flag, split_list

if TYPE_CHECKING:
    from seaway.proxy.config import ProxyConfig
    from seaway.proxy.tracing.walk import Cluster


@click.command("trace")
@click.argument("source")
@click.argument("destination")
@kubeconfig_flag
@click.option("--node-name", default=host_name_default, show_default="the host name", help="The Node that handles it.")
@click.option("--cluster-cidr", default="", help="Addresses of Pods, as the proxy has them.")
@click.option("--service-cidr", default="", help="Addresses of Services, besides those of ServiceCIDRs.")
@click.option("--nodeport-addresses", default="", help="As the proxy has them.  [default: the primary]")
@click.option("--masquerade-all", is_flag=True, help="As the proxy has it.")
@click.option("--kernel", is_flag=True, help="Also ask this host's kernel which rules such a packet meets.")
@click.option(
    "--timeout", default=10.0, show_default=True, help="Seconds to wait for a packet that is not this host's."
)
def command(
    source: str,
    destination: str,
    kubeconfig: Path,
    node_name: str,
    cluster_cidr: str,
    service_cidr: str,
    nodeport_addresses: str,
    masquerade_all: bool,
    kernel: bool,
    timeout: float,
) -> None:
    """Say what becomes of a packet: seaway proxy trace 10.244.0.7 10.96.0.10:80/tcp"""
    from seaway.proxy.config import ProxyConfig
    from seaway.proxy.tracing.kernel import trace_packet
    from seaway.proxy.tracing.text import QuestionError, parse_question, render_walk
    from seaway.proxy.tracing.walk import explain

    try:
        question = parse_question(source, destination)
        config = ProxyConfig(
            node_name=node_name,
            cluster_cidrs=split_list(cluster_cidr),
            service_cidrs=split_list(service_cidr),
            node_port_addresses=split_list(nodeport_addresses) or None,
            masquerade_all=masquerade_all,
        )
    except QuestionError as error:
        raise click.UsageError(str(error)) from None
    cluster = asyncio.run(_read_cluster(kubeconfig, config))
    click.echo(render_walk(explain(question, cluster), node_name))
    if kernel:
        is_sent, lines = trace_packet(question, timeout_seconds=timeout)
        click.echo(
            "\nThe kernel, of a packet that was sent from here:" if is_sent else "\nThe kernel, of the next one:"
        )
        for line in lines:
            click.echo(f" {line}")


async def _read_cluster(kubeconfig: Path, config: ProxyConfig) -> Cluster:
    from seaway.app.pieces import connect
    from seaway.proxy.tracing.run import read_cluster

    client = connect(kubeconfig, user_agent="seaway-proxy-trace")
    try:
        return await read_cluster(client, config)
    finally:
        await client.close()
