"""Headers against somebody else's reader of them: haproxy says whom it saw. Loopback only."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seaway.proxy.userspace.proxyprotocol import Ends, Peer, Version, encode_header

CONFIGURATION = """
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
frontend said
    bind fd@{fd} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
"""
FOUR = Ends(Peer("10.244.0.7", 40000), Peer("10.96.0.10", 80))
SIX = Ends(Peer("fd10:244::7", 40000), Peer("fd10:96::a", 443))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where haproxy listens: on a socket that is there before it is."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("needs haproxy (apt install haproxy)")
    file: Path = tmp_path_factory.mktemp("haproxy") / "haproxy.cfg"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file.write_text(CONFIGURATION.format(fd=listener.fileno()))
        with subprocess.Popen(
            [program, "-db", "-q", "-f", str(file)], pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL
        ) as running:
            yield listener.getsockname()
            running.kill()


def ask(address: tuple[str, int], header: bytes) -> list[str]:
    """Client and destination, as haproxy saw them."""
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(header + b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while data := sock.recv(4096):
            answer += data
        own = sock.getsockname()
    said = answer.partition(b"\r\n\r\n")[2].decode().split()
    return ["own" if said[:2] == [own[0], str(own[1])] else " ".join(said[:2]), " ".join(said[2:])]


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("ends", [FOUR, SIX], ids=["IPv4", "IPv6"])
def test_haproxy_reads_who_the_client_is_and_whom_it_asked(
    address: tuple[str, int], version: Version, ends: Ends
) -> None:
    wanted = [f"{peer.address} {peer.port}" for peer in ends]
    assert ask(address, encode_header(version, ends)) == wanted


@pytest.mark.parametrize("version", Version)
def test_where_the_ends_are_not_known_haproxy_takes_the_connections_own(
    address: tuple[str, int], version: Version
) -> None:
    assert ask(address, encode_header(version, None))[0] == "own"
