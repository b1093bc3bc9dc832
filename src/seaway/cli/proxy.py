"""`seaway proxy`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace as replaced
from pathlib import Path

import click

import seaway
from seaway.cli.flags import report_to_stderr
from seaway.cli.of_proxy import trace, view
from seaway.cli.of_proxy.settings import Asked, ProxyGroup, boolean_flag, proxy_flags, write_settings


@click.group("proxy", cls=ProxyGroup, invoke_without_command=True)
@click.version_option(seaway.__version__, prog_name="seaway proxy")
@click.pass_context
@proxy_flags
@click.option(
    "--write-config-to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the configuration with all defaults there, and end.",
)
@boolean_flag("replace", "Remove stock kube-proxy's nftables tables once the rules are in place.")
@boolean_flag("init-only", "Do what needs all of root's rights, and end; then CAP_NET_ADMIN is enough.")
@boolean_flag("cleanup", "Undo what a proxy did to the kernel, and end.")
def command(
    context: click.Context,
    ask: Callable[[], Asked],
    write_config_to: Path | None,
    replace: bool,
    init_only: bool,
    cleanup: bool,
) -> None:
    """Program this host's kernel for the Services of a kubeconfig's API server."""
    if context.invoked_subcommand is not None:
        return
    from seaway.app.calm import calmly
    from seaway.app.pieces import run_with_client
    from seaway.proxy import run as proxy

    if write_config_to is not None:
        write_settings(write_config_to, ask().values)
        return
    if cleanup:
        proxy.cleanup(uplink_state=context.params["uplink_state"])
        return
    asked = ask()
    if init_only:
        proxy.prepare_host(asked.config)
        return
    config = replaced(asked.config, replaces=replace)
    sys.exit(
        run_with_client(
            asked.kubeconfig,
            "proxy",
            calmly(lambda client, on_ready: proxy.run(config, client, on_ready=on_ready)),
            report_to_stderr,
            server=asked.server,
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
