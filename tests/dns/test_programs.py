"""Real name servers behind ours, and real resolvers before it.

Rule: spec "discovery" A3.6 (search lists, ndots), D3 1, 8 and 21; A5.2 (what resolvers of glibc and musl do).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiodns
import dns.asyncresolver
import dns.exception
import dns.resolver
import pytest

from seaway.dns.forwarding.config import Block, CacheConfig, RouteConfig
from seaway.dns.forwarding.forward import Forwarder
from seaway.dns.forwarding.upstreams import Upstream as Where
from tests.dns.forwarding.test_forward import addresses, ask
from tests.dns.test_relay import Scene, run
from tests.dns.test_run import free_port
from tests.dns.test_serve import ZONE

NAMES = {
    "kubernetes.default": "10.96.0.1",
    "web": "10.96.7.1",
    "web.demo": "10.96.7.1",
    "db-0.db": "10.244.1.10",
    "lonely.demo.svc": "10.96.7.4",
    "web.demo.svc.cluster.local": "10.96.7.1",
    "ext": "198.51.100.7",
    "www.example.com": "198.51.100.7",
}
"""What Pods of the namespace demo ask for, with the first address."""
SEARCH = [ZONE, "svc.cluster.local", "cluster.local"]


def needs(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None and not Path("/usr/sbin", program).exists(),
        reason=f"{program} is not installed (package {package})",
    )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="port 53 and a mount namespace need root")


# -- name servers ------------------------------------------------------------------------------------------------------

DNSMASQ = """\
no-daemon
keep-in-foreground
conf-file=
pid-file=
no-resolv
no-hosts
no-ping
bind-interfaces
listen-address=127.0.0.1
port={port}
user=
cache-size=0
local=/example.com/
address=/www.example.com/198.51.100.7
host-record=v6.example.com,2001:db8::7
"""
UNBOUND = """\
server:
  interface: 127.0.0.1
  port: {port}
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  num-threads: 1
  do-not-query-localhost: no
  local-zone: "example.com." static
  local-data: "www.example.com. 60 IN A 198.51.100.7"
  local-data: "v6.example.com. 60 IN AAAA 2001:db8::7"
  local-zone: "refused.test." refuse
"""
BIG = "".join(f'  local-data: "big.example.com. 60 IN A 198.51.{i // 250}.{i % 250}"\n' for i in range(300))


@contextlib.asynccontextmanager
async def served_by(program: str, folder: Path) -> AsyncIterator[Where]:
    """The program, answering on a port of loopback."""
    port = free_port()
    path = folder / "conf"
    text = {"unbound": UNBOUND + BIG, "dnsmasq": DNSMASQ.replace("no-daemon\n", "").replace("conf-file=\n", "")}[
        program
    ]
    path.write_text(text.format(port=port, folder=folder))
    found = shutil.which(program) or f"/usr/sbin/{program}"
    command = [found, "-d", "-c", str(path)] if program == "unbound" else [found, "-k", "-C", str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.01)  # it takes a while to start
            assert process.returncode is None, f"{program} has ended with {process.returncode}"
        yield Where("127.0.0.1", port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("force_tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    "program",
    [
        pytest.param("unbound", marks=needs("unbound", "unbound")),
        pytest.param("dnsmasq", marks=needs("dnsmasq", "dnsmasq-base")),
    ],
)
def test_d3_1_what_a_real_upstream_says_is_passed_on(program: str, force_tcp: bool, tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), served_by(program, tmp_path) as where:
            config = RouteConfig((where,), force_tcp=force_tcp, random_case=True)
            forwarder = Forwarder(Block(routes=(config,), cache=CacheConfig()))
            message, _ = await forwarder.ask(ask())
            assert addresses(message.wire) == ["198.51.100.7"]
            missing, _ = await forwarder.ask(ask("nx.example.com"))
            assert missing.flags & 15 == 3
            replies = await asyncio.gather(*(forwarder.ask(ask(f"x{i}.example.com")) for i in range(50)))
            assert {message.flags & 15 for message, _ in replies} == {3}
            await forwarder.close()

    asyncio.run(main())


@needs("unbound", "unbound")
def test_d3_8_a_real_upstream_truncates_and_is_asked_over_tcp(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), served_by("unbound", tmp_path) as where:
            forwarder = Forwarder(Block(routes=(RouteConfig((where,)),)))
            message, _ = await forwarder.ask(ask("big.example.com"))
            assert len(addresses(message.wire)) == 300
            refused, _ = await forwarder.ask(ask("www.refused.test"))
            assert refused.flags & 15 == 5
            await forwarder.close()

    asyncio.run(main())


@needs("unbound", "unbound")
def test_d3_4_a_real_upstream_that_dies_is_passed_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), served_by("unbound", tmp_path) as second:
            folder = tmp_path / "first"
            folder.mkdir()
            async with served_by("unbound", folder) as first:
                config = RouteConfig((first, second), force_tcp=True, max_fails=1, check_seconds=0.01)
                forwarder = Forwarder(Block(routes=(config,)))
                await forwarder.ask(ask())
            for i in range(20):
                message, _ = await forwarder.ask(ask(f"x{i}.example.com"))
                assert message.flags & 15 == 3
            await forwarder.close()

    asyncio.run(main())


# -- resolvers ---------------------------------------------------------------------------------------------------------


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    return out.decode()


@needs("kdig", "knot-dnsutils")
@pytest.mark.parametrize("protocol", ["+notcp", "+tcp", "+tcp +keepopen"])
def test_kdig(protocol: str) -> None:
    async def body(scene: Scene) -> None:
        host, port = scene.server.addresses[0]
        command = ("kdig", f"@{host}", "-p", str(port), "+short", *protocol.split())
        out = await output_of(*command, f"ext.{ZONE}", f"web.{ZONE}", "-x", "10.96.7.1")
        assert out.split() == ["www.example.com.", "198.51.100.7", "10.96.7.1", f"web.{ZONE}."]

    run(body)


def test_dnspython_walks_the_search_list() -> None:
    async def body(scene: Scene) -> None:
        resolver = dns.asyncresolver.Resolver(configure=False)
        host, resolver.port = scene.server.addresses[0]
        resolver.nameservers = [host]
        resolver.search = [dns.name.from_text(suffix) for suffix in SEARCH]
        resolver.ndots = 5
        for name, address in NAMES.items():
            assert [each.address for each in await resolver.resolve(name, "A", search=True)] == [address]
        with pytest.raises(dns.resolver.NXDOMAIN):
            await resolver.resolve("nosuch", "A", search=True)
        with pytest.raises(dns.resolver.NoAnswer):
            await resolver.resolve(f"web.{ZONE}", "AAAA")

    run(body)


def test_aiodns_walks_the_search_list() -> None:
    async def body(scene: Scene) -> None:
        host, port = scene.server.addresses[0]
        resolver = aiodns.DNSResolver([f"{host}:{port}"], domains=SEARCH, ndots=5)
        for name, address in NAMES.items():
            found = await resolver.getaddrinfo(name, family=2)  # AF_INET
            assert {node.addr[0] for node in found.nodes} == {address.encode()}, name
        with pytest.raises(aiodns.error.DNSError):
            await resolver.getaddrinfo(f"nosuch.{ZONE}", family=2)
        await resolver.close()

    run(body)


async def resolve_as_pod(folder: Path, host: str, *command: str) -> str:
    """The output of a program for which /etc/resolv.conf is that of a Pod."""
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {host}\nsearch {' '.join(SEARCH)}\noptions ndots:5 timeout:5 attempts:1\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return await output_of("unshare", "--mount", "sh", "-c", script, str(path), *command)


def own_address() -> str:
    """An address of loopback for this process alone, since resolvers know no port but 53."""
    number = os.getpid()
    return f"127.53.{number >> 8 & 0xFF}.{number & 0xFF or 1}"


@needs_root
@needs("getent", "libc-bin")
@needs("unshare", "util-linux")
def test_d3_21_glibc_resolves_as_a_pod_does(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        host = own_address()
        for name, address in NAMES.items():
            out = await resolve_as_pod(tmp_path, host, "getent", "ahosts", name)
            assert {line.split()[0] for line in out.splitlines()} == {address} | (
                {"2001:db8::7"} if address.startswith("198") else set()
            ), name
        assert await resolve_as_pod(tmp_path, host, "getent", "ahosts", "nosuch") == ""
        reverse = await resolve_as_pod(tmp_path, host, "getent", "hosts", "10.96.7.1")
        assert reverse.split() == ["10.96.7.1", f"web.{ZONE}"]

    run(body, listen=(own_address(), 53))


LOOKUP = """\
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct addrinfo hint = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
        char text[64] = "none";
        if (getaddrinfo(argv[i], 0, &hint, &found) == 0)
            inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof text);
        puts(text);
    }
}
"""


@needs_root
@needs("musl-gcc", "musl-tools")
@needs("unshare", "util-linux")
def test_d3_21_musl_resolves_as_a_pod_does(tmp_path: Path) -> None:
    """musl stops its walk at NODATA and SERVFAIL, so every intermediate name must be NXDOMAIN."""

    async def body(scene: Scene) -> None:
        source, program = tmp_path / "lookup.c", tmp_path / "lookup"
        source.write_text(LOOKUP)
        await output_of("musl-gcc", "-static", "-o", str(program), str(source))
        out = await resolve_as_pod(tmp_path, own_address(), str(program), *NAMES, "nosuch")
        assert out.split() == [*NAMES.values(), "none"]

    run(body, listen=(own_address(), 53))
