"""The waiting side of the lifecycle: pages, changed files, summaries of errors, and the search for a loop.

Each is a coroutine that runs until it is cancelled, or raises DnsError when the server must end. Rule: spec "discovery"
A3.5 (loop), A4.1, A4.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import SystemRandom

from seaway.dns.config import Lifecycle
from seaway.dns.forwarding.hosts import parse_hosts
from seaway.dns.forwarding.serve import Relay, Zone
from seaway.dns.lifecycle.pages import State, answer_health, answer_ready
from seaway.dns.message import RD, encode_question
from seaway.dns.records import render_name
from seaway.dns.serve import DnsError
from seaway.dns.settings.words import SettingsError
from seaway.dns.wire import encode_upstream_query
from seaway.telemetry.exposition import CONTENT_TYPE, Family, collect_process, render_families
from seaway.telemetry.merging import merge_families
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import Answer, answer_request, read_request
from seaway.telemetry.serve import PageServer, Reply, open_pages

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 16 << 20
MAX_SUMMARY_SECONDS = 30.0
PROBE_SECONDS = 2.0
PROBE_TRIES = 15
"""With PROBE_SECONDS the 30 s that CoreDNS tries."""
HINFO = 13
CollectOthers = Callable[[], Awaitable[list[list[Family]]]]


@contextlib.asynccontextmanager
async def serve_pages(
    lifecycle: Lifecycle, state: State, metrics: Metrics, collect_others: CollectOthers | None = None
) -> AsyncIterator[None]:
    """Answer on the addresses that the lifecycle names while the block runs. Raises DnsError.

    collect_others: what other processes have counted, to be added up on the page.
    """

    async def answer_metrics(header: bytes) -> Answer:
        request = read_request(header)
        if isinstance(request, Answer) or request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return answer_request(header, metrics, lambda: _checks(state))
        others = await collect_others() if collect_others is not None else ()
        families = merge_families([[*metrics.collect(), *collect_process()], *others])
        return Answer(200, render_families(families), CONTENT_TYPE, request.method == "GET")

    pages: list[tuple[str, tuple[str, int] | None, Reply]] = [
        ("health", lifecycle.health, answer_health),
        ("ready", lifecycle.ready, lambda header: answer_ready(header, state)),
        ("metrics", lifecycle.metrics, answer_metrics),
    ]
    opened: list[PageServer] = []
    try:
        for name, address, answer in pages:
            if address is None:
                continue
            try:
                opened.append(await open_pages(*address, answer))
            except OSError as error:
                host, port = address
                raise DnsError(f"dns: {name} on {host}:{port}: {error.strerror}; give another address") from None
        yield
    finally:
        for server in opened:
            await server.close()


def _checks(state: State) -> dict[str, str | None]:
    return {"ping": None, "informer-sync": None if state.is_synced else "the first lists have not arrived"}


Stamp = tuple[int, int]


def load_hosts(zone: Zone) -> Stamp | None:
    """Make the table of a zone from its file and its lines; the file's stamp. One that is not there has no names."""
    config = zone.block.hosts
    if config is None or not config.path:
        return None
    found = read_stamp(Path(config.path))
    lines = config.inline + tuple(read_text(Path(config.path)).splitlines() if found else ())
    zone.hosts = parse_hosts(lines)
    log.info("hosts path=%s names=%d", config.path, len(zone.hosts.addresses))
    return found


async def watch_hosts(zone: Zone, seen: Stamp | None, on_change: Callable[[], None]) -> None:
    """Keep the table of a zone like its file. seen: the stamp that it was made from."""
    config = zone.block.hosts
    assert config is not None
    while config.reload_seconds:
        await asyncio.sleep(config.reload_seconds)
        if read_stamp(Path(config.path)) != seen:
            seen = load_hosts(zone)
            on_change()


def read_stamp(path: Path) -> Stamp | None:
    """What differs when a file has changed; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_text(path: Path) -> str:
    """The file's text, or none of it when it cannot be read or is no text."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError as error:
        log.warning("file=%s error=%r", path, error.strerror)
        return ""


async def tell_summaries(relay: Callable[[], Relay]) -> None:
    """Log summaries of errors when they are due, also when no further error comes."""
    while True:
        await asyncio.sleep(1.0)
        for zone in relay().zones:
            zone.tell_errors(asyncio.get_running_loop().time())


async def watch_config(
    load: Callable[[], Awaitable[bool]], lifecycle: Lifecycle, wake: asyncio.Event, on_failure: Callable[[], None]
) -> None:
    """Load the configuration again after each interval and each signal; a broken one is complained of, and no more.

    load: False when nothing has changed.
    """
    while True:
        wait = lifecycle.reload_seconds + SystemRandom().uniform(-1, 1) * lifecycle.reload_jitter_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait if lifecycle.reload_seconds else None):
                await wake.wait()
        wake.clear()
        try:
            await load()
        except (SettingsError, OSError) as error:
            on_failure()
            log.error("plugin/reload: the running configuration is kept: %s", error)


async def find_loop(relay: Callable[[], Relay], address: tuple[str, int]) -> None:
    """Ask this server for a name that nobody else can know; whoever brings it back is our own upstream.

    Each try has a name of its own, so that a second arrival is a loop and not a repeat. Returns after the first answer.
    Raises DnsError.
    """
    for zone in relay().zones:
        if not zone.block.routes:
            continue
        for _ in range(PROBE_TRIES):
            name = (secrets.token_hex(16).encode(), secrets.token_hex(16).encode(), *zone.block.zone)
            question = encode_question(name, HINFO)
            sources = relay().expect_probe(question)
            is_answered = await _send_probe(question, address, sources)
            if len(sources) > 1:
                host, port = address
                raise DnsError(
                    f'Loop ({sources[1]} -> {host}:{port}) detected for zone "{render_name(zone.block.zone)}",'
                    " see docs/dns.md#loops: an upstream sends its queries here. "
                    f'Query: "HINFO {render_name(name)}"'
                )
            if is_answered:
                break
    relay().expect_probe(b"")


async def _send_probe(question: bytes, address: tuple[str, int], sources: list[str]) -> bool:
    """True when an answer came; False after a while, or as soon as the query came from a second source."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(address)
            sock.send(encode_upstream_query(secrets.randbits(16), question, flags=RD, udp_bytes=512, dnssec_ok=False))
            receive = asyncio.ensure_future(loop.sock_recv(sock, 4096))
            deadline = loop.time() + PROBE_SECONDS
            while not receive.done() and len(sources) < 2 and loop.time() < deadline:
                await asyncio.wait((receive,), timeout=0.05)
            if not receive.done():
                receive.cancel()
            await asyncio.gather(receive, return_exceptions=True)
            return not receive.cancelled() and receive.exception() is None
        except OSError:
            await asyncio.sleep(PROBE_SECONDS)
            return False
