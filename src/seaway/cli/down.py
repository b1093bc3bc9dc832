"""`seaway down`."""

from __future__ import annotations

from pathlib import Path

import click

from seaway.cli.flags import data_dir_flag


@click.command("down")
@data_dir_flag
def command(data_dir: Path) -> None:
    """Stop what runs on the data directory, end its Pods, remove its links, routes and tables. Data stays."""
    from seaway.app.down import take_down

    for line in take_down(data_dir):
        click.echo(line)
