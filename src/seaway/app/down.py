"""`seaway down`: stops what runs on a data directory, then removes what outlives it on a host."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from seaway.app import files
from seaway.app.preflight import HOST, NONE, SANDBOX
from seaway.net.errors import OperationalError

STOP_SECONDS = 10.0


def take_down(data_dir: Path) -> Iterator[str]:
    """One line for each thing that was ended or removed. Safe to repeat. Raises OperationalError."""
    data = files.DataDir(data_dir.absolute())
    state = files.find_state(data)
    if state is not None:
        _stop(state.pid)
        yield f"stopped  seaway up (process {state.pid})"
    way = files.find_last_way(data)
    if way == HOST:
        if os.geteuid() != 0:
            raise OperationalError(f"data directory {data_dir}: it ran on the host; run seaway down as root")
        yield from _remove_from_host(data)
    elif way == NONE and data.node_state.exists():
        yield from _remove_pods(data, "Pods")
    elif way != SANDBOX and data.node_state.exists():  # `seaway node` alone
        yield from _remove_pods(data)
    elif way is None and state is None:
        yield f"nothing  ran on data directory {data_dir}"
    if data.node_state.exists():
        shutil.rmtree(data.node_state)
        yield f"removed  {data.node_state}"


def _remove_from_host(data: files.DataDir) -> Iterator[str]:
    from seaway.proxy.run import cleanup

    yield from _remove_pods(data)
    cleanup(uplink_state=data.uplink_state)
    yield "removed  nftables table seaway; forwarding on links is what it was"


def _remove_pods(data: files.DataDir, what: str = "Pods, links, routes and host ports") -> Iterator[str]:
    from seaway.node.run import remove_pods

    asyncio.run(remove_pods(data.node_state))
    yield f"removed  {what}"


def _stop(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        if not select.select([fd], [], [], STOP_SECONDS)[0]:
            raise OperationalError(f"seaway up (process {pid}): still there after {STOP_SECONDS:g} s; end it by hand")
    except PermissionError as error:
        raise OperationalError(f"seaway up (process {pid}): another user's; run seaway down as that user") from error
    finally:
        os.close(fd)
