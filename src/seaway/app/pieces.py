"""The daemons as functions that run until told to stop: what `seaway up` forks and what the stand-alone verbs call.

Each takes its configuration and a client, and knows nothing of the others. `report` says `ready` once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from seaway.api.machinery.errors import ApiError
from seaway.app.files import IN_CLUSTER_TOKEN
from seaway.client.kubeconfig import Connection, parse_kubeconfig
from seaway.client.requests import Client, TransportError
from seaway.client.transport import open_client
from seaway.net.errors import OperationalError

Report = Callable[[str], None]
Ready = Callable[[], None]

log = logging.getLogger("seaway")

API_POLL_SECONDS = 0.01
API_POLL_LONGEST_SECONDS = 2.0


def run_daemon(start: Callable[[Ready], Awaitable[None]], report: Report) -> int:
    """Run the coroutine on a loop of its own until it ends or SIGTERM (or SIGINT) cancels it. Returns the exit code."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    )

    def on_ready() -> None:
        report("ready")

    try:
        with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
            runner.run(_until_stopped(start(on_ready)))
    except (OperationalError, OSError) as error:
        report(f"fatal {error}")
        return 1
    return 0


async def _until_stopped(work: Awaitable[None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:  # again, as from a process group and a supervisor: what is being cleaned up goes on
            stopping = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise RuntimeError("the daemon's work was cancelled, and nobody asked for it") from None
    else:
        if not stopping:
            raise RuntimeError("the daemon's work came to an end, and nobody asked for it")


def find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the faster event loop, where it is installed; None else."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def connect(kubeconfig: Path, *, user_agent: str, server: str = "") -> Client:
    """A client of the kubeconfig's current context. server: another URL. Raises OperationalError."""
    try:
        text = kubeconfig.read_text()
    except OSError as error:
        raise OperationalError(f"kubeconfig {kubeconfig}: {error.strerror}; give another with --kubeconfig") from error
    connection = parse_kubeconfig(
        text, read_file=lambda name: (kubeconfig.parent / name).read_text(), subject=str(kubeconfig)
    )
    beside = str(kubeconfig.parent / connection.token_file) if connection.token_file else ""
    found = replace(connection, server=server or connection.server, token_file=beside)
    return open_client(found, user_agent=user_agent)


async def wait_for_api(client: Client) -> None:
    """Until the API server answers that it is ready; forever, with growing pauses (a piece may start first).

    What goes on failing is said once in each of its forms.
    """
    pause = API_POLL_SECONDS
    said = ""
    while True:
        try:
            await client.send("GET", "/readyz")
        except (TransportError, ApiError) as error:
            if pause == API_POLL_LONGEST_SECONDS and said != str(error):
                said = str(error)
                log.warning("api=unreachable error=%r", said)
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, API_POLL_LONGEST_SECONDS)
        else:
            return


def connect_in_cluster(
    *,
    user_agent: str,
    server: str = "",
    token_file: Path = IN_CLUSTER_TOKEN,
    environment: Mapping[str, str] = os.environ,
) -> Client:
    """A client of the cluster whose Pod this process is in, as its service account. Raises OperationalError.

    server: another URL than that of the environment. The token is read again as its file is renewed.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    try:
        ca_pem, token = (token_file.parent / "ca.crt").read_text(), token_file.read_text().strip()
    except OSError as error:
        raise OperationalError(f"service account {token_file}: {error.strerror}; give --kubeconfig") from error
    if not server and (not host or not port):
        raise OperationalError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give --kubeconfig")
    found = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    connection = Connection(server=server or found, ca_pem=ca_pem, token=token, token_file=str(token_file))
    return open_client(connection, user_agent=user_agent)


def find_client(kubeconfig: Path | None, *, user_agent: str, server: str = "") -> Client:
    """A client of the kubeconfig; None: of the cluster whose Pod this process is in. Raises OperationalError."""
    if kubeconfig is None:
        return connect_in_cluster(user_agent=user_agent, server=server)
    return connect(kubeconfig, user_agent=user_agent, server=server)


def run_with_client(
    kubeconfig: Path | None,
    name: str,
    start: Callable[[Client, Ready], Awaitable[None]],
    report: Report,
    *,
    server: str = "",
) -> int:
    """A daemon that is an ordinary API client: connect, wait for the server, run. None: as the Pod that it is in.

    server: another URL than the one that is found.
    """

    async def run(on_ready: Ready) -> None:
        client = find_client(kubeconfig, user_agent=f"seaway-{name}", server=server)
        try:
            await wait_for_api(client)
            await start(client, on_ready)
        finally:
            await client.close()

    return run_daemon(run, report)
