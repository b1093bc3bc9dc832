"""`seaway proxy render` and `seaway proxy diff`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from seaway.cli.of_proxy.settings import Asked, ProxyCommand, proxy_flags

if TYPE_CHECKING:
    from seaway.proxy.tracing.walk import Cluster


def read_cluster(asked: Asked) -> Cluster:
    """The cluster as the proxy sees it. Raises OperationalError."""
    from seaway.app.pieces import find_client
    from seaway.proxy.tracing.run import read_cluster

    async def read() -> Cluster:
        client = find_client(asked.kubeconfig, user_agent="seaway-proxy-view", server=asked.server)
        try:
            return await read_cluster(client, asked.config)
        finally:
            await client.close()

    return asyncio.run(read())


@click.command("render", cls=ProxyCommand)
@proxy_flags
def render(ask: Callable[[], Asked]) -> None:
    """Print the wanted rules in nft's language."""
    from seaway.proxy.showing.run import render_cluster

    click.echo(render_cluster(read_cluster(ask())), nl=False)


@click.command("diff", cls=ProxyCommand)
@proxy_flags
def diff(ask: Callable[[], Asked]) -> None:
    """Print what a sync would change in this host's kernel, and exit with 1 if there is something."""
    from seaway.proxy.showing.run import diff_cluster

    found = diff_cluster(read_cluster(ask()))
    click.echo(found, nl=False)
    if found:
        raise click.exceptions.Exit(1)
