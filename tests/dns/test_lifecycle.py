"""The whole piece from a Corefile on: pages, readiness, lameduck, reloads, hosts files.

Rule: spec "discovery" A4.1, A4.2, D3 19 and 20.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from seaway.client.requests import Client
from seaway.dns.lifecycle.pages import State, answer_health, answer_ready
from seaway.dns.objects import ANNOTATION_TRIGGER_TIME
from seaway.dns.run import Source, run
from seaway.dns.serve import DnsError
from seaway.dns.settings.run import ConfigFile
from seaway.dns.settings.words import SettingsError
from seaway.testing.builders import make_slice
from tests.dns.test_run import NAMESPACE, SLICE, Server, ask, ask_until, free_port, service, version
from tests.dns.upstream import serve_upstream

WEB = "web.default.svc.cluster.local"


class Piece:
    """`seaway dns --corefile`, in this process."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.api = Server({"namespaces": [NAMESPACE], "services": [service("10.96.0.5")], "endpointslices": [SLICE]})
        self.path = folder / "Corefile"
        self.port = port
        # The pages are on an address of their own, whose ports nobody else uses.
        self.pages = f"127.8.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF or 1}"
        self.health, self.ready_port, self.metrics = 8080, 8181, 9153
        self.ready = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def write(self, lines: str = "", *, lameduck: str = "0s", kubernetes: str = "") -> None:
        self.path.write_text(
            f".:{self.port} {{\n errors\n health {self.pages}:{self.health} {{\n  lameduck {lameduck}\n }}\n"
            f" ready {self.pages}:{self.ready_port}\n prometheus {self.pages}:{self.metrics}\n"
            " kubernetes cluster.local in-addr.arpa ip6.arpa {\n  startup_timeout 0s\n"
            f" {kubernetes}\n }}\n{lines}\n}}\n"
        )

    def start(self) -> None:
        file = ConfigFile(self.path, hosts=["127.0.0.1"])
        config, checksum = file.load()
        work = run(config, Client(self.api), on_ready=self.ready.set, source=Source(file.load, checksum))
        self.task = asyncio.create_task(work)

    async def wait_ready(self) -> None:
        """Until it is; what ends it before is raised."""
        assert self.task is not None
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait((ready, self.task), return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            ready.cancel()
            await self.task

    async def page(self, port: int, path: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection(self.pages, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        header, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(header.split()[1]), body.decode()

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def started(folder: Path, lines: str = "", *, is_synced: bool = True, **options: str) -> AsyncIterator[Piece]:
    piece = Piece(folder, port=free_port())
    piece.write(lines, **options)
    if is_synced:
        piece.api.opened.set()
    piece.start()
    try:
        async with asyncio.timeout(30):
            if is_synced:
                await piece.wait_ready()
            yield piece
    finally:
        await piece.stop()


async def until(is_true: Callable[[], bool]) -> None:
    while not is_true():  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.005)


def heard(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in record.message for record in caplog.records)


# -- pages -------------------------------------------------------------------------------------------------------------


def test_health_is_there_from_the_start_and_readiness_when_all_lists_are(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path, is_synced=False) as piece:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    assert await piece.page(piece.health, "/health") == (200, "OK")
                    break
                await asyncio.sleep(0)
            assert await piece.page(piece.ready_port, "/ready") == (503, "kubernetes")
            piece.api.opened.set()
            await piece.ready.wait()
            assert await piece.page(piece.ready_port, "/ready") == (200, "OK")
            assert await piece.page(piece.health, "/other") == (404, "404 page not found\n")
            code, text = await piece.page(piece.metrics, "/metrics")
            assert code == 200
            assert "coredns_forward_max_concurrent_rejects_total 0\n" in text

    asyncio.run(main())


@pytest.mark.parametrize(
    ("state", "code", "body"),
    [
        (State(), 503, b"kubernetes"),
        (State(is_synced=True), 503, b"kubernetes"),
        (State(is_synced=True, is_listening=True), 200, b"OK"),
        (State(is_synced=True, is_listening=True, is_leaving=True), 503, b"Shutting down"),
    ],
)
def test_what_ready_says(state: State, code: int, body: bytes) -> None:
    found = answer_ready(b"GET /ready HTTP/1.1\r\n\r\n", state)
    assert (found.code, found.body) == (code, body)
    assert answer_health(b"GET /health HTTP/1.1\r\n\r\n").code == 200
    assert answer_health(b"POST /health HTTP/1.1\r\n\r\n").code == 405
    assert answer_health(b"nonsense\r\n\r\n").code == 400


def test_sockets_wait_for_the_first_lists_or_for_the_timeout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with started(tmp_path, is_synced=False, kubernetes="startup_timeout 50ms") as piece:
            await until(lambda: heard(caplog, "starting server with unsynced Kubernetes API"))
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    assert (await ask(piece.port, WEB)).rcode() == dns.rcode.SERVFAIL
                    break

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def test_with_a_timeout_sockets_open_as_soon_as_the_lists_are_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path, kubernetes="startup_timeout 1h") as piece:
            assert (await ask(piece.port, WEB)).answer

    asyncio.run(main())


# -- the end -----------------------------------------------------------------------------------------------------------


def test_d3_20_a_lame_duck_answers_until_its_time_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with started(tmp_path, lameduck="1h") as piece:
            assert piece.task is not None
            piece.task.cancel()
            await until(lambda: heard(caplog, "Going into lameduck mode for 3600s"))
            assert (await ask(piece.port, WEB)).answer[0][0].address == "10.96.0.5"
            assert await piece.page(piece.health, "/health") == (200, "OK")
            assert await piece.page(piece.ready_port, "/ready") == (503, "Shutting down")
            piece.api.tell("services", "MODIFIED", service("10.96.0.6", 11))
            while (await ask(piece.port, WEB)).answer[0][0].address != "10.96.0.6":
                pass  # changes are still followed

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def test_d3_20_after_it_the_port_is_free(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path, lameduck="10ms") as piece:
            await piece.stop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", piece.port))

    asyncio.run(main())


def test_d3_10_a_loop_ends_the_server_with_the_way_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with serve_upstream() as upstream:
            piece = Piece(tmp_path, port=free_port())
            upstream.pass_to = "127.0.0.1", piece.port
            piece.write(f" loop\n forward . 127.0.0.1:{upstream.port}")
            piece.api.opened.set()
            piece.start()
            assert piece.task is not None
            async with asyncio.timeout(20):
                with pytest.raises(DnsError, match=r'detected for zone "\.", see docs/dns.md#loops'):
                    await piece.task

    asyncio.run(main())


# -- reloads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_d3_19_a_reload_loses_no_query(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    """Queries go on all the time, of both kinds, while the configuration is changed ten times."""

    async def main() -> None:
        async with serve_upstream() as upstream:
            forward = f" forward . 127.0.0.1:{upstream.port}\n"
            async with started(tmp_path, forward) as piece:
                await until(lambda: heard(caplog, "Running configuration"))
                asked = answered = 0
                is_over = False

                async def go_on(name: str) -> None:
                    nonlocal asked, answered
                    while not is_over:
                        asked += 1
                        reply = await ask(piece.port, name)
                        answered += bool(reply.answer)

                clients = [asyncio.create_task(go_on(name)) for name in (WEB, "www.example.com") * 4]
                for i in range(10):
                    piece.write(forward + f" cache {i + 10}\n")
                    os.kill(os.getpid(), number)
                    await until(lambda i=i: count(caplog, "Reloading complete") > i)  # type: ignore[misc]
                is_over = True
                await asyncio.gather(*clients)
                assert asked == answered > 50
                assert (await ask(piece.port, "www.example.com")).answer[0].ttl == 19

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def test_d3_19_a_query_that_waits_for_an_upstream_outlives_two_reloads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over UDP and over TCP, and also when the second reload drops the upstream that the first one kept."""

    async def main() -> None:
        held: list[bytes] = []

        def hold(wire: bytes, protocol: str) -> list[bytes]:
            held.append(wire)
            return [] if len(held) <= 2 else [wire]

        async with serve_upstream(hold) as upstream:
            forward = f" forward . 127.0.0.1:{upstream.port}\n"
            async with started(tmp_path, forward) as piece:
                await until(lambda: heard(caplog, "Running configuration"))
                udp = asyncio.create_task(ask(piece.port, "www.example.com"))
                tcp = asyncio.create_task(ask_tcp(piece.port, "alias.example.com"))
                await upstream.was_asked(2)
                for i, lines in enumerate((forward + " log\n loadbalance\n", " forward . 127.0.0.1:1\n")):
                    piece.write(lines)
                    os.kill(os.getpid(), signal.SIGHUP)
                    await until(lambda i=i: count(caplog, "Reloading complete") > i)  # type: ignore[misc]
                assert not udp.done() and not tcp.done()
                for reply in await asyncio.gather(udp, tcp):
                    assert reply.answer

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def count(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.message for record in caplog.records)


async def ask_tcp(port: int, name: str) -> dns.message.Message:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire = dns.message.make_query(name, "A").to_wire()
    writer.write(len(wire).to_bytes(2, "big") + wire)
    size = int.from_bytes(await reader.readexactly(2), "big")
    reply = dns.message.from_wire(await reader.readexactly(size))
    writer.close()
    return reply


def test_d3_19_a_broken_file_leaves_the_configuration_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with started(tmp_path, " hosts {\n  10.0.0.1 node-1\n  fallthrough\n }") as piece:
            await until(lambda: heard(caplog, "Running configuration"))
            piece.write(" cachet 30")
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: heard(caplog, "the running configuration is kept"))
            (line,) = [record.message for record in caplog.records if "is kept" in record.message]
            assert f"{piece.path}:12: unknown directive 'cachet'" in line
            assert (await ask(piece.port, "node-1")).answer[0][0].address == "10.0.0.1"
            _, text = await piece.page(piece.metrics, "/metrics")
            assert "coredns_reload_failed_total 1\n" in text
            piece.write(" hosts {\n  10.0.0.2 node-1\n  fallthrough\n }")
            os.kill(os.getpid(), signal.SIGHUP)
            while (await ask(piece.port, "node-1")).answer[0][0].address != "10.0.0.2":
                pass

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def test_what_needs_a_restart_is_said_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with started(tmp_path) as piece:
            await until(lambda: heard(caplog, "Running configuration"))
            port, piece.port = piece.port, free_port()
            piece.write(kubernetes="ttl 77")
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: heard(caplog, "Reloading complete"))
            assert heard(caplog, "listen has changed, which needs a restart")
            assert (await ask(port, WEB)).answer[0].ttl == 77

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def test_the_checksum_is_of_everything_that_was_read(tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text(
        ".:53 {\n kubernetes cluster.local\n import *.override\n forward . ./resolv.conf\n}"
    )
    (tmp_path / "a.override").write_text("log\n")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    file = ConfigFile(tmp_path / "Corefile", hosts=["127.0.0.1"])
    seen = [file.load()[1], file.load()[1]]
    for name, text in (
        ("a.override", "errors\n"),
        ("resolv.conf", "nameserver 192.0.2.2\n"),
        ("b.override", "ready\n"),
    ):
        (tmp_path / name).write_text(text)
        seen.append(file.load()[1])
    assert len(set(seen)) == 4 and seen[0] == seen[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file"), (b"\xff\xfe", "no text in UTF-8")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: bytes | None, said: str) -> None:
    path = tmp_path / "Corefile"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SettingsError, match=f"{path}:1: .*{said}"):
        ConfigFile(path, hosts=["127.0.0.1"]).load()


# -- hosts files -------------------------------------------------------------------------------------------------------


def test_a_hosts_file_is_followed(tmp_path: Path) -> None:
    """Also for a name of the cluster whose answer is kept already."""

    async def main() -> None:
        hosts = tmp_path / "hosts"
        lines = f" hosts {hosts} {{\n  reload 10ms\n  fallthrough\n }}"
        async with started(tmp_path, lines) as piece:
            assert (await ask(piece.port, WEB)).answer[0][0].address == "10.96.0.5"
            hosts.write_text(f"10.0.0.7 node-1 {WEB}\n")
            for name in ("node-1", WEB):
                while [each.address for rrset in (await ask(piece.port, name)).answer for each in rrset] != [
                    "10.0.0.7"
                ]:
                    pass
            hosts.unlink()
            while (await ask(piece.port, WEB)).answer[0][0].address != "10.96.0.5":
                pass

    asyncio.run(main())


def test_the_page_tells_queries_and_how_long_changes_took(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path) as piece:
            await ask(piece.port, WEB)
            changed = make_slice("web-1", "web", ["10.244.0.6"])
            changed["metadata"]["annotations"] = {ANNOTATION_TRIGGER_TIME: "2026-01-01T00:00:00Z"}
            piece.api.tell("endpointslices", "MODIFIED", version(changed, 12))
            await ask_until(piece.port, f"10-244-0-6.{WEB}", "10.244.0.6")
            code, text = await piece.page(piece.metrics, "/metrics")
            lines = text.splitlines()
            where = f'server="dns://:{piece.port}",zone=".",view=""'
            assert code == 200
            assert any(line.startswith(f"coredns_dns_requests_total{{{where},") for line in lines)
            assert any(line.startswith(f'coredns_dns_responses_total{{{where},rcode="NOERROR"') for line in lines)
            kind = 'service_kind="cluster_ip"'
            assert f"coredns_kubernetes_dns_programming_duration_seconds_count{{{kind}}} 1" in lines
            assert any(line.startswith('coredns_reload_version_info{hash="sha512",value="') for line in lines)
            assert any(line.startswith("coredns_build_info{version=") for line in lines)

    asyncio.run(main())
