"""`seaway proxy`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from seaway.app.files import default_data_dir
from seaway.cli.flags import host_name_default, optional_kubeconfig_flag, report_to_stderr, split_list
from seaway.cli.of_proxy import trace, view


@click.group("proxy", invoke_without_command=True)
@click.pass_context
@optional_kubeconfig_flag
@click.option("--node-name", default=host_name_default, show_default="the host name", help="This host's Node.")
@click.option("--cluster-cidr", default="", help="Addresses of Pods: a, or a,b for two families.")
@click.option("--service-cidr", default="", help="Addresses of Services, besides those of ServiceCIDRs.")
@click.option(
    "--nodeport-addresses", default="", help="CIDRs of this host that serve node ports.  [default: the primary]"
)
@click.option("--masquerade-all", is_flag=True, help="Hide every client behind the node.")
@click.option("--masquerade-outgoing", is_flag=True, help="Hide Pods behind the node when they leave the cluster.")
@click.option("--serve-uplinks", is_flag=True, help="Forward on links to other machines, for the cluster only.")
@click.option(
    "--uplink-state",
    type=click.Path(path_type=Path, dir_okay=False),
    default=lambda: default_data_dir() / "uplinks.json",
    show_default="uplinks.json in the data directory",
    help="Where it is kept which links forward because of --serve-uplinks.",
)
@click.option("--replace", is_flag=True, help="Remove stock kube-proxy's nftables tables once the rules are in place.")
@click.option("--cleanup", is_flag=True, help="Undo what a proxy did to the kernel, and end.")
def command(
    context: click.Context,
    kubeconfig: Path | None,
    node_name: str,
    cluster_cidr: str,
    service_cidr: str,
    nodeport_addresses: str,
    masquerade_all: bool,
    masquerade_outgoing: bool,
    serve_uplinks: bool,
    uplink_state: Path,
    replace: bool,
    cleanup: bool,
) -> None:
    """Program this host's kernel for the Services of a kubeconfig's API server."""
    if context.invoked_subcommand is not None:
        return
    from seaway.app.pieces import run_with_client
    from seaway.proxy import run as proxy

    if cleanup:
        proxy.cleanup(uplink_state=uplink_state)
        return
    if kubeconfig is None:
        raise click.UsageError("Missing option '--kubeconfig'.")
    config = proxy.ProxyConfig(
        node_name=node_name,
        cluster_cidrs=split_list(cluster_cidr),
        service_cidrs=split_list(service_cidr),
        node_port_addresses=split_list(nodeport_addresses) or None,
        masquerade_all=masquerade_all,
        masquerade_outgoing=masquerade_outgoing,
        serves_uplinks=serve_uplinks,
        uplink_state=uplink_state,
        replaces=replace,
    )
    sys.exit(
        run_with_client(
            kubeconfig,
            "proxy",
            lambda client, on_ready: proxy.run(config, client, on_ready=on_ready),
            report_to_stderr,
        )
    )


@command.command("cleanup")
@click.pass_context
def cleanup_command(context: click.Context) -> None:
    """Undo what a proxy did to the kernel, and end."""
    from seaway.proxy import run as proxy

    assert context.parent is not None
    proxy.cleanup(uplink_state=context.parent.params["uplink_state"])


command.add_command(trace.command)
command.add_command(view.render)
command.add_command(view.diff)
