"""`seaway proxy`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from seaway.app.files import IN_CLUSTER_TOKEN, default_data_dir
from seaway.cli.flags import host_name_default, optional_kubeconfig_flag, report_to_stderr, split_list
from seaway.cli.of_proxy import trace, view
from seaway.cli.of_proxy.settings import read_settings, settings_flags, write_settings


@click.group("proxy", invoke_without_command=True)
@click.pass_context
@optional_kubeconfig_flag
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False),
              help="A KubeProxyConfiguration; flags of the same fields are ignored then.")  # fmt: skip
@click.option("--write-config-to", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the configuration with all defaults there, and end.")  # fmt: skip
@click.option(
    "--hostname-override", "--node-name", "node_name", default="", help="This host's Node.  [default: the host name]"
)
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
@settings_flags
@click.option("--replace", is_flag=True, help="Remove stock kube-proxy's nftables tables once the rules are in place.")
@click.option("--cleanup", is_flag=True, help="Undo what a proxy did to the kernel, and end.")
def command(
    context: click.Context,
    kubeconfig: Path | None,
    config_file: Path | None,
    write_config_to: Path | None,
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
    given: dict[str, Any],
) -> None:
    """Program this host's kernel for the Services of a kubeconfig's API server."""
    if context.invoked_subcommand is not None:
        return
    from seaway.app.pieces import run_with_client
    from seaway.proxy import run as proxy
    from seaway.proxy.settings.apply import make_proxy_settings, plan_sysctls

    if cleanup:
        proxy.cleanup(uplink_state=uplink_state)
        return
    flags = {
        "clusterCIDR": cluster_cidr,
        "nodePortAddresses": list(split_list(nodeport_addresses)) or None,
        "nftables.masqueradeAll": masquerade_all,
    }
    values = read_settings(config_file, given | flags)
    if write_config_to is not None:
        write_settings(write_config_to, values)
        return
    settings = make_proxy_settings(values)
    if config_file is not None and kubeconfig is None and values["clientConnection.kubeconfig"]:
        kubeconfig = Path(values["clientConnection.kubeconfig"])
    must_do = config_file is not None or any(path.startswith("conntrack.") for path in given)
    config = proxy.ProxyConfig(
        **settings,
        node_name=(node_name or values["hostnameOverride"] or host_name_default()).strip().lower(),
        host_name=host_name_default(),
        service_cidrs=split_list(service_cidr),
        masquerade_outgoing=masquerade_outgoing,
        serves_uplinks=serve_uplinks,
        uplink_state=uplink_state,
        sysctls=plan_sysctls(values, os.cpu_count() or 1),
        sysctls_must_do=must_do,
        configuration_file=config_file,
        replaces=replace,
    )
    if kubeconfig is None and not IN_CLUSTER_TOKEN.exists():
        raise click.UsageError("Missing option '--kubeconfig'.")
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
