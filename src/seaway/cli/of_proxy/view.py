"""`seaway proxy render` and `seaway proxy diff`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seaway.cli.flags import host_name_default, kubeconfig_flag, split_list

if TYPE_CHECKING:
    from seaway.proxy.tracing.walk import Cluster

_OPTIONS = (
    kubeconfig_flag,
    click.option("--node-name", default=host_name_default, show_default="the host name", help="The Node of the proxy."),
    click.option("--cluster-cidr", default="", help="Addresses of Pods, as the proxy has them."),
    click.option("--service-cidr", default="", help="Addresses of Services, besides those of ServiceCIDRs."),
    click.option("--nodeport-addresses", default="", help="As the proxy has them.  [default: the primary]"),
    click.option("--masquerade-all", is_flag=True, help="As the proxy has it."),
    click.option("--masquerade-outgoing", is_flag=True, help="As the proxy has it."),
)


def _reading(function: Callable[[Cluster], None]) -> Callable[..., None]:
    """The options that say how a proxy sees the cluster; the verb gets the cluster as it sees it."""

    @functools.wraps(function)
    def call(
        kubeconfig: Path,
        node_name: str,
        cluster_cidr: str,
        service_cidr: str,
        nodeport_addresses: str,
        masquerade_all: bool,
        masquerade_outgoing: bool,
    ) -> None:
        from seaway.proxy.config import ProxyConfig

        config = ProxyConfig(
            node_name=node_name,
            cluster_cidrs=split_list(cluster_cidr),
            service_cidrs=split_list(service_cidr),
            node_port_addresses=split_list(nodeport_addresses) or None,
            masquerade_all=masquerade_all,
            masquerade_outgoing=masquerade_outgoing,
        )
        function(asyncio.run(_read(kubeconfig, config)))

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


async def _read(kubeconfig: Path, config: Any) -> Cluster:
    from seaway.app.pieces import connect
    from seaway.proxy.tracing.run import read_cluster

    client = connect(kubeconfig, user_agent="seaway-proxy-view")
    try:
        return await read_cluster(client, config)
    finally:
        await client.close()


@click.command("render")
@_reading
def render(cluster: Cluster) -> None:
    """Print the wanted rules in nft's language."""
    from seaway.proxy.showing.run import render_cluster

    click.echo(render_cluster(cluster), nl=False)


@click.command("diff")
@_reading
def diff(cluster: Cluster) -> None:
    """Print what a sync would change in this host's kernel, and exit with 1 if there is something."""
    from seaway.proxy.showing.run import diff_cluster

    found = diff_cluster(cluster)
    click.echo(found, nl=False)
    if found:
        raise click.exceptions.Exit(1)
