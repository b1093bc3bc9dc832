"""`seaway shell`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from seaway.app.files import DataDir, find_state
from seaway.cli.flags import data_dir_flag
from seaway.net.errors import OperationalError


@click.command("shell", context_settings={"ignore_unknown_options": True})
@data_dir_flag
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
def command(data_dir: Path, program: tuple[str, ...]) -> None:
    """A shell (or PROGRAM) where Services can be reached, with KUBECONFIG and the cluster's DNS set."""
    from seaway.app.enter import run_inside

    data = DataDir(data_dir.absolute())
    state = find_state(data)
    if state is None:
        raise OperationalError(f"data directory {data_dir}: nothing runs on it; start it with seaway up")
    if not state.ready:
        raise OperationalError("seaway up: not ready yet; wait for its ready line")
    sys.exit(run_inside(data, state, program or (os.environ.get("SHELL", "/bin/sh"),)))
