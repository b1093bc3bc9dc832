"""`seaway up`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from seaway.app.options import UpOptions
from seaway.app.preflight import WAYS
from seaway.cli.flags import data_dir_flag, external_ip_flag, loopback_map_flag, range_flag, service_cidr_flag


@click.command("up")
@data_dir_flag
@click.option(
    "--network", type=click.Choice(WAYS), default=None, help="How to run; the default is the best that works here."
)
@loopback_map_flag
@click.option("--node-name", default="", help="This host's name in the cluster.  [default: the host name]")
@service_cidr_flag
@range_flag("--cluster-cidr", "cluster_cidrs", "10.244.0.0/16", "Addresses of Pods")
@external_ip_flag
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option("--dns-ip", default="", help="Address of the DNS Service.  [default: the tenth of --service-cidr]")
@click.option("--secure-port", type=click.IntRange(1, 65535), default=6443, show_default=True, help="Port of the API.")
@click.option("--bind-address", default="127.0.0.1", show_default=True, help="Address of the API on this host.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Written once everything is ready, removed at the end.",
)
def command(**flags: Any) -> None:
    """Run everything until Ctrl-C: API server, controllers, proxy, DNS and node agent."""
    from seaway.app.up import run_up

    sys.exit(run_up(UpOptions(**flags), say=lambda line: click.echo(line, err=False)))
