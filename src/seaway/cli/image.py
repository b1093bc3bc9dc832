"""`seaway image`."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import click

from seaway.cli.flags import data_dir_flag


@click.group("image")
def command() -> None:
    """Images for Pods of this host: imported from archives, nothing is pulled."""


@command.command("import")
@data_dir_flag
@click.option("--name", default="", help="The name of the image, instead of those in the archive.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def import_file(data_dir: Path, name: str, file: Path) -> None:
    """Import the images of FILE: an OCI layout in a tar file, or what `docker save` and `podman save` write."""
    store = _open(data_dir)
    for image in store.import_archive(file, machine=platform.machine(), name=name):
        click.echo(f"{', '.join(image.names) or '<none>'} {image.id} {_format_size(image.size_bytes)}")


@command.command("ls")
@data_dir_flag
@click.option("-o", "--output", type=click.Choice(("table", "json", "name")), default="table", show_default=True)
def list_images(data_dir: Path, output: str) -> None:
    """List images and aliases."""
    index = _open(data_dir).read()
    rows: list[dict[str, Any]] = [
        {"names": list(image.names), "id": image.id, "sizeBytes": image.size_bytes} for image in index.images.values()
    ]
    rows += [
        {"names": [name], "id": alias.image, "command": list(alias.argv), "env": dict(alias.env)}
        for name, alias in sorted(index.aliases.items())
    ]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output == "name":
        for row in rows:
            for name in row["names"]:
                click.echo(name)
    else:
        _print_table([(name, _describe(row)) for row in rows for name in row["names"] or ["<none>"]])


@command.command("rm")
@data_dir_flag
@click.argument("names", nargs=-1, required=True)
def remove(data_dir: Path, names: tuple[str, ...]) -> None:
    """Remove NAMES: aliases, names of images, or IDs. Files go with the last name; what runs keeps running."""
    store = _open(data_dir)
    for name in names:
        click.echo(f"removed {store.remove(name)}")


@command.command("alias", context_settings={"ignore_unknown_options": True})
@data_dir_flag
@click.option("--env", "-e", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the program.")
@click.argument("mapping", metavar="REF=IMAGE|/PROGRAM")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def alias(data_dir: Path, variables: tuple[str, ...], mapping: str, args: tuple[str, ...]) -> None:
    """Let REF mean an imported image, or a program of this host with ARGS, which a container's `args` replace."""
    from seaway.node.runtime.images.values import Alias

    name, _, target = mapping.partition("=")
    if not name or not target:
        raise click.UsageError(f"{mapping}: REF=IMAGE or REF=/PROGRAM needed")
    pairs = [variable.partition("=") for variable in variables]
    if any(not name or not equals for name, equals, _ in pairs):
        raise click.UsageError("--env: NAME=VALUE needed")
    env = tuple((name, value) for name, _, value in pairs)
    if target.startswith("/"):
        if not os.access(target, os.X_OK):
            raise click.UsageError(f"{target}: no program that can be executed")
        made = Alias(argv=(target, *args), env=env)
    elif args or env:
        raise click.UsageError(f"{target}: arguments and variables are a program's; an image has its own")
    else:
        made = Alias(image=target)
    click.echo(f"{_open(data_dir).set_alias(name, made)} = {target}")


def _open(data_dir: Path) -> Any:
    from seaway.node.runtime.images.store import ImageStore

    return ImageStore(data_dir / "images")


def _describe(row: dict[str, Any]) -> str:
    if row.get("command"):
        return " ".join(row["command"])
    size = f" {_format_size(row['sizeBytes'])}" if "sizeBytes" in row else ""
    return f"{row['id'].removeprefix('sha256:')[:12]}{size}"


def _print_table(rows: list[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=4)
    for name, text in [("NAME", "IMAGE OR PROGRAM"), *rows]:
        click.echo(f"{name:<{width}}  {text}")


def _format_size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
