"""`seaway dns`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from seaway.cli.flags import kubeconfig_flag, report_to_stderr, split_list


@click.command("dns")
@kubeconfig_flag
@click.option("--listen", default="127.0.0.1:10053", show_default=True, help="ADDRESS:PORT, or several with commas.")
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option(
    "--upstreams", default="/etc/resolv.conf", show_default=True, help="Addresses with commas, or a resolv.conf."
)
@click.option("--allowed-sources", default="", help="CIDRs that may ask for names outside of the cluster.")
@click.option("--pods", default="insecure", show_default=True, help="Pod names: insecure, verified or disabled.")
def command(
    kubeconfig: Path, listen: str, cluster_domain: str, upstreams: str, allowed_sources: str, pods: str
) -> None:
    """Answer for the cluster names of a kubeconfig's API server, and forward the rest."""
    from seaway.app.pieces import run_with_client
    from seaway.app.plan import find_upstreams
    from seaway.dns.run import DnsConfig, run

    is_file = upstreams.startswith("/")
    try:
        config = DnsConfig(
            cluster_domain=cluster_domain,
            listen=tuple(_parse_listen(text) for text in split_list(listen)),
            upstreams=find_upstreams(Path(upstreams)) if is_file else split_list(upstreams),
            allowed_sources=split_list(allowed_sources),
            pods=pods,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(
        run_with_client(
            kubeconfig, "dns", lambda client, on_ready: run(config, client, on_ready=on_ready), report_to_stderr
        )
    )


def _parse_listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--listen {text}: ADDRESS:PORT needed, like 127.0.0.1:10053")
    return host.strip("[]"), int(port)
