"""The command line: a file per verb, loaded on use."""

from __future__ import annotations

import importlib
import sys

import click

import seaway

VERBS = {
    "up": "Run everything: one command, a real Service, real packets.",
    "down": "End the Pods and remove every trace of Seaway from this host.",
    "status": "What runs, where, and whether it is ready.",
    "shell": "A shell where Services can be reached.",
    "image": "Images for Pods of this host: import, alias, ls, rm.",
    "kubeconfig": "Print the administrator's kubeconfig.",
    "apiserver": "The API server by itself.",
    "controllers": "The control loops by themselves, against any Kubernetes API server.",
    "proxy": "The service proxy by itself, against any Kubernetes API server.",
    "dns": "Cluster DNS by itself, against any Kubernetes API server.",
    "node": "The node agent by itself, against any Kubernetes API server.",
}


class _Verbs(click.Group):
    """Lists every verb, imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"seaway.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(seaway.__version__, prog_name="seaway")
def group() -> None:
    """Kubernetes Services, with or without Kubernetes."""


def main() -> None:
    """The entry point: an operational error is one line on stderr and exit code 1."""
    from seaway.net.errors import OperationalError

    try:
        group(prog_name="seaway")
    except OperationalError as error:
        click.echo(f"seaway: {error}", err=True)
        sys.exit(1)
