"""`seaway status`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from seaway.app.files import DataDir, UpState, find_state, find_warnings
from seaway.cli.flags import data_dir_flag

READ_SECONDS = 5.0
"""For the API to say which Services there are."""


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
    """What runs, where, and whether it is ready; and where Services are, if they are served on loopback.

    Exit code 1 when nothing runs.
    """
    data = DataDir(data_dir.absolute())
    state = find_state(data)
    if state is None:
        click.echo(f"seaway: nothing runs on data directory {data_dir}; start it with seaway up", err=True)
        sys.exit(1)
    warnings = find_warnings(data)
    fields = msgspec.to_builtins(state) | ({"warnings": warnings} if warnings else {})
    if state.loopback_map:
        fields["services"] = _read_services(data, state)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())
    elif output == "yaml":
        click.echo(msgspec.yaml.encode(fields).decode(), nl=False)
    else:
        _print_table(fields)


def _print_table(fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if key not in ("warnings", "services") and value != "":
            click.echo(f"{key.replace('_', '-'):16}{' '.join(value) if isinstance(value, list | tuple) else value}")
    services = fields.get("services") or ()
    width = max((len(each["service"]) for each in services), default=0)
    for each in services:
        at = each["at"] or "(not on this host)"
        click.echo(f"{'service':16}{each['service']:{width}}  {each['frontend']} → {at}")
    for warning in fields.get("warnings", ()):
        click.echo(f"{'warning':16}{warning}")


def _read_services(data: DataDir, state: UpState) -> list[Any] | None:
    """Where each is reached; None, and a word on stderr: the API does not say."""
    import asyncio

    from seaway.api.machinery.errors import ApiError
    from seaway.app.reach import read_reached
    from seaway.client.requests import TransportError
    from seaway.net.loopback import LoopbackMap

    async def read() -> list[Any]:
        async with asyncio.timeout(READ_SECONDS):
            loopback = LoopbackMap.parse(state.loopback_map)
            found: list[Any] = msgspec.to_builtins(await read_reached(data, loopback, node_ip=state.node_ip))
            return found

    try:
        return asyncio.run(read())
    except (ApiError, TransportError, TimeoutError) as error:
        click.echo(f"seaway: status: Services are not known ({error or 'no answer'}); see {data.logs}", err=True)
        return None
