"""`seaway node env`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from seaway.cli.flags import data_dir_flag, kubeconfig_flag, loopback_map_flag, pod_network_flag

if TYPE_CHECKING:
    from seaway.net.loopback import LoopbackMap


@click.command("env")
@click.argument("pod")
@kubeconfig_flag
@click.option("-n", "--namespace", default="default", show_default=True, help="The Pod's namespace.")
@click.option("-c", "--container", default="", help="Variables of this container only.")
@click.option("--show-secrets", is_flag=True, help="Print values of Secrets, not only where they are from.")
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option("--dns-ip", default="10.96.0.10", show_default=True, help="Address of the DNS Service.")
@click.option(
    "--resolv-conf",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/resolv.conf"),
    show_default=True,
    help="The resolver file of the Pod's node.",
)
@pod_network_flag
@loopback_map_flag
@data_dir_flag
def command(
    pod: str,
    kubeconfig: Path,
    namespace: str,
    container: str,
    show_secrets: bool,
    cluster_domain: str,
    dns_ip: str,
    resolv_conf: Path,
    network: Literal["routed", "none"],
    loopback_map: LoopbackMap,
    data_dir: Path,
) -> None:
    """Show what a Pod's containers would find if they started now: variables, host name, resolv.conf, hosts."""
    from seaway.app.files import DataDir
    from seaway.app.pieces import connect
    from seaway.node.config import NodeConfig
    from seaway.node.showing.run import show_surroundings

    config = NodeConfig(
        node_name="", node_ip="127.0.0.1", cluster_domain=cluster_domain, dns_ip=dns_ip, resolv_conf=resolv_conf,
        state_dir=DataDir(data_dir).node_state, data_dir=data_dir,
        network=network, loopback=loopback_map if network == "none" else None,
    )  # fmt: skip

    async def show() -> str:
        client = connect(kubeconfig, user_agent="seaway-node-env")
        try:
            return await show_surroundings(
                config, client, namespace, pod, container=container, shows_secrets=show_secrets
            )
        finally:
            await client.close()

    click.echo(asyncio.run(show()), nl=False)
