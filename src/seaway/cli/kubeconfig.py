"""`seaway kubeconfig`."""

from __future__ import annotations

from pathlib import Path

import click

from seaway.app.files import DataDir
from seaway.cli.flags import data_dir_flag
from seaway.net.errors import OperationalError


@click.command("kubeconfig")
@data_dir_flag
@click.option("--path", "only_path", is_flag=True, help="Print where the file is instead of what is in it.")
def command(data_dir: Path, only_path: bool) -> None:
    """Print the administrator's kubeconfig (or, with --path, where it is)."""
    path = DataDir(data_dir.absolute()).admin_kubeconfig
    if not path.exists():
        raise OperationalError(f"data directory {data_dir}: no admin.kubeconfig found; start Seaway first (seaway up)")
    click.echo(path if only_path else path.read_text(), nl=only_path)
