"""`seaway proxy trace`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from seaway.cli.of_proxy.settings import Asked, ProxyCommand, boolean_flag, proxy_flags
from seaway.cli.of_proxy.view import read_cluster


@click.command("trace", cls=ProxyCommand)
@click.argument("source")
@click.argument("destination")
@boolean_flag("kernel", "Also ask this host's kernel which rules such a packet meets.")
@click.option(
    "--timeout", default=10.0, show_default=True, help="Seconds to wait for a packet that is not this host's."
)
@click.option(
    "--in-interface",
    default="",
    help="The link that the packet comes in by, where Pods are known by links.  [default: that of the route to it]",
)
@proxy_flags
def command(
    source: str, destination: str, kernel: bool, timeout: float, in_interface: str, ask: Callable[[], Asked]
) -> None:
    """Say what becomes of a packet: seaway proxy trace 10.244.0.7 10.96.0.10:80/tcp"""
    from seaway.proxy.tracing.kernel import find_link, trace_packet
    from seaway.proxy.tracing.text import QuestionError, parse_question, render_walk
    from seaway.proxy.tracing.walk import explain

    try:
        question = parse_question(source, destination)
    except QuestionError as error:
        raise click.UsageError(str(error)) from None
    asked = ask()
    if asked.config.pod_links is not None:
        question = replace(question, link=in_interface or find_link(question.source))
    click.echo(render_walk(explain(question, read_cluster(asked)), asked.config.node_name))
    if kernel:
        is_sent, lines = trace_packet(question, timeout_seconds=timeout)
        click.echo(
            "\nThe kernel, of a packet that was sent from here:" if is_sent else "\nThe kernel, of the next one:"
        )
        for line in lines:
            click.echo(f" {line}")
