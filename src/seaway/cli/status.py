"""`seaway status`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from seaway.app.files import DataDir, find_image_runtime, find_state, find_warnings
from seaway.cli.flags import data_dir_flag


@click.command("status")
@data_dir_flag
@click.option(
    "-o",
    "output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def command(data_dir: Path, output: str) -> None:
    """What runs, where, and whether it is ready. Exit code 1 when nothing runs."""
    data = DataDir(data_dir.absolute())
    state = find_state(data)
    if state is None:
        click.echo(f"seaway: nothing runs on data directory {data_dir}; start it with seaway up", err=True)
        sys.exit(1)
    warnings = find_warnings(data)
    images = find_image_runtime(data)
    fields = msgspec.to_builtins(state) | ({"images": images} if images else {})
    fields |= {"warnings": warnings} if warnings else {}
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())
    elif output == "yaml":
        click.echo(msgspec.yaml.encode(fields).decode(), nl=False)
    else:
        for key, value in fields.items():
            if key == "warnings":
                continue
            click.echo(f"{key.replace('_', '-'):16}{' '.join(value) if isinstance(value, list | tuple) else value}")
        for warning in warnings:
            click.echo(f"{'warning':16}{warning}")
