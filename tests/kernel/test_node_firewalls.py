"""The host's own firewalls, by their real programs: each blocks Pods, is told, and the mend told lets them through.

A client's namespace, a host that forwards, and a Pod's namespace. The warning's mend is given to the shell as it is
printed. firewalld runs with a D-Bus of its own. Rule: issue of the node, 6; spec "node" §4.4.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seaway.node.firewalls.kernel import read_legacy_tables, read_tables
from seaway.node.firewalls.plan import Block, find_blocks
from seaway.testing.netns import EchoServers, Namespace, ask, connect

pytestmark = pytest.mark.kernel

RANGES = (ipaddress.ip_network("10.244.1.0/24"), ipaddress.ip_network("fd10:244:1::/64"))
ENDS = {4: ("192.0.2.2", "10.244.1.5"), 6: ("2001:db8::2", "fd10:244:1::5")}
"""The client's address and the Pod's."""
GATEWAYS = {4: ("192.0.2.1", "10.244.1.1"), 6: ("2001:db8::1", "fd10:244:1::1")}
PORT = 8080


@dataclass(frozen=True, slots=True)
class World:
    """`host` forwards between `client` and `pod`; both answer on the port. `ufw`: a copy of its configuration."""

    client: Namespace
    host: Namespace
    pod: Namespace
    ufw: Path

    def run(self, script: str) -> str:
        """On the host, where the files that ufw writes are copies."""
        private = f'[ ! -d "{self.ufw}" ] || mount --bind "{self.ufw}" /etc/ufw; mount -t tmpfs tmpfs /run\n'
        return self.host.run("unshare", "-m", "sh", "-ec", private + script)

    def find_blocks(self) -> tuple[Block, ...]:
        with self.host.entered():
            return find_blocks((*read_tables(), *read_legacy_tables()), RANGES)

    def is_open(self, version: int) -> bool:
        """A client reaches the Pod, and the Pod a client; each is asked again while links come up."""
        client, pod = ENDS[version]
        pairs = ((self.client, pod), (self.pod, client))
        return all(any(_answers(namespace, address) for _ in range(20)) for namespace, address in pairs)

    def is_closed(self, version: int) -> bool:
        """Neither gets an answer."""
        client, pod = ENDS[version]
        return not _answers(self.client, pod) and not _answers(self.pod, client)


def _answers(client: Namespace, address: str) -> bool:
    try:
        return bool(ask(client, address, PORT, udp=True, timeout_seconds=0.5))
    except OSError:
        return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with contextlib.ExitStack() as stack:
        client, host, pod = (stack.enter_context(Namespace()) for _ in range(3))
        for namespace in (client, host, pod):
            namespace.write_sysctl("net/ipv6/conf/default/accept_dad", "0")
        for peer, link, place in ((client, "up0", 0), (pod, "pod0", 1)):
            connect(host, link, peer, "eth0")
            for gateway, address in ((GATEWAYS[version][place], ENDS[version][place]) for version in (4, 6)):
                length = 24 if "." in address else 64
                host.run("ip", "addr", "add", f"{gateway}/{length}", "dev", link)
                peer.run("ip", "addr", "add", f"{address}/{length}", "dev", "eth0")
                peer.run("ip", "route", "add", "default", "via", gateway)
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            host.write_sysctl(name, "1")
        servers = stack.enter_context(EchoServers())
        servers.listen(client, "client", PORT)
        servers.listen(pod, "pod", PORT)
        servers.start()
        if Path("/etc/ufw").is_dir():
            shutil.copytree("/etc/ufw", tmp_path / "ufw")
        yield World(client, host, pod, tmp_path / "ufw")


# What dockerd 27 makes at its start, in its order. Rule: `iptables-save` beside a running dockerd.
DOCKER = """
iptables -P FORWARD DROP
for chain in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables -N $chain; done
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
iptables -A DOCKER-USER -j RETURN
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A DOCKER -i docker0 -j RETURN
"""
REJECTING = "{0} -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; {0} -A FORWARD -j REJECT"
OWN = """
nft add table inet mine
nft 'add chain inet mine fw { type filter hook forward priority 10; policy drop; }'
nft add rule inet mine fw ct state established accept
"""

FIREWALLS = [
    pytest.param("iptables", DOCKER, [("ip", "filter", "FORWARD")], "iptables -I FORWARD", id="docker"),
    pytest.param("ufw", "ufw --force enable", [("ip", "filter", "FORWARD"), ("ip6", "filter", "FORWARD")],
                 "ufw route allow", id="ufw"),
    pytest.param("iptables", REJECTING.format("iptables"), [("ip", "filter", "FORWARD")], "iptables -I FORWARD",
                 id="iptables-services: accept by policy, and REJECT at the end"),
    pytest.param("ip6tables", REJECTING.format("ip6tables"), [("ip6", "filter", "FORWARD")], "ip6tables -I FORWARD",
                 id="the same for IPv6"),
    pytest.param("iptables-legacy", DOCKER.replace("iptables", "iptables-legacy"), [("ip", "filter", "FORWARD")],
                 "iptables-legacy -I FORWARD", id="docker, by the old iptables"),
    pytest.param("ip6tables-legacy", REJECTING.format("ip6tables-legacy"), [("ip6", "filter", "FORWARD")],
                 "ip6tables-legacy -I FORWARD", id="REJECT at the end, by the old iptables, for IPv6"),
    pytest.param("nft", OWN, [("inet", "mine", "fw"), ("inet", "mine", "fw")], "nft insert rule inet mine fw",
                 id="a table by hand, of both families"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "script", "places", "mend"), FIREWALLS)
def test_a_firewall_blocks_is_told_and_its_mend_helps(
    world: World, program: str, script: str, places: list[tuple[str, str, str]], mend: str
) -> None:
    _need(program)
    assert world.is_open(4) and world.is_open(6), "before"
    world.run(script)
    blocks = world.find_blocks()
    assert [(block.family, block.table, block.chain) for block in blocks] == places
    for block in blocks:
        assert world.is_closed(block.network.version), "the block is real"
        whose = " of iptables-legacy" if "legacy" in program else ""
        assert f"table {block.family} {block.table}{whose}, chain {block.chain}" in block.message
        command = block.message.partition("run: ")[2]
        assert command.startswith(mend)
        world.run(command)
        assert world.is_open(block.network.version), "the mend helps as it is printed"
        assert block not in world.find_blocks(), "and is seen"
    assert world.find_blocks() == ()


@pytest.mark.parametrize("program", ["iptables", "iptables-legacy", "ip6tables", "ip6tables-legacy"])
def test_tables_that_drop_nothing_are_not_in_the_way_and_none_is_made_by_looking(world: World, program: str) -> None:
    _need(program)
    assert world.find_blocks() == ()
    assert not world.run("cat /proc/self/net/ip_tables_names /proc/self/net/ip6_tables_names 2>&- || :").split()
    world.run(f"{program} -A FORWARD -i docker0 -j DROP; {program} -A INPUT -j DROP; {program} -P OUTPUT DROP")
    assert world.find_blocks() == ()
    world.run(f"{program} -P FORWARD DROP")
    assert len(world.find_blocks()) == 1


FIREWALLD = """
mount -t tmpfs tmpfs /run; mkdir /run/dbus; mount --bind "$0" /etc/firewalld
dbus-daemon --system --nopidfile --fork
exec firewalld --nofork --nopid
"""


@contextlib.contextmanager
def running_firewalld(world: World, config: Path) -> Iterator[Callable[[str], str]]:
    """Gives what runs a line of the shell beside it. It ends with the process that holds its namespaces."""
    shutil.copytree("/etc/firewalld", config)
    with world.host.entered():
        holder = subprocess.Popen(
            ["unshare", "-mpf", "--kill-child", "sh", "-ec", FIREWALLD, str(config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield lambda line: world.host.run("nsenter", "-t", str(holder.pid), "-m", "sh", "-c", line)
    finally:
        holder.kill()
        holder.wait()


def test_firewalld_blocks_is_told_and_its_mend_helps(world: World, tmp_path: Path) -> None:
    _need("firewalld")
    _need("dbus-daemon")
    with running_firewalld(world, tmp_path / "firewalld") as run:
        run("for i in $(seq 100); do firewall-cmd --state && exit; sleep 0.2; done; exit 1")
        run("firewall-cmd --zone=public --add-interface=up0")
        blocks = world.find_blocks()
        assert [(block.table, block.network) for block in blocks] == [("firewalld", network) for network in RANGES]
        for block in blocks:
            version = block.network.version
            assert not _answers(world.client, ENDS[version][1]), "the block is real"
            run(block.message.partition("run: ")[2])
            assert world.is_open(version), "the mend helps as it is printed"
        assert world.find_blocks() == ()


def _need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if "legacy" in program:
        with Namespace() as trial:
            try:
                trial.run(program, "-S")
            except RuntimeError as error:
                pytest.skip(f"the kernel has no old iptables: {error}")
