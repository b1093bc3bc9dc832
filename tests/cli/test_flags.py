"""What flags mean, where a verb gets more than a string."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from seaway.cli.flags import election_flags, ipam_flags, parse_address
from seaway.client.election.lease import ElectionConfig
from seaway.controllers.nodeipam.plan import IpamConfig

ADDRESSES = {
    "127.0.0.1:10257": ("127.0.0.1", 10257),
    "[::1]:10257": ("::1", 10257),
    ":0": ("::", 0),
    "0.0.0.0:80": ("0.0.0.0", 80),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=ADDRESSES.keys())
def test_an_address_with_its_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "10257x", "127.0.0.1", "::1:80", "a:99999", "a:-1"])
def test_no_address_with_a_port_says_what_is_allowed(text: str) -> None:
    with pytest.raises(click.BadParameter, match="found, an address and a port such as"):
        parse_address(text)


def elect(*arguments: str) -> tuple[list[ElectionConfig | None], str]:
    found: list[ElectionConfig | None] = []

    @click.command()
    @election_flags("my-lease")
    def command(election: ElectionConfig | None) -> None:
        found.append(election)

    return found, CliRunner().invoke(command, arguments).output


def test_a_daemon_stands_for_a_lease_unless_it_is_told_that_it_is_alone() -> None:
    (election,), _ = elect()
    assert election is not None
    assert (election.name, election.namespace) == ("my-lease", "kube-system")
    assert (election.lease_seconds, election.renew_seconds, election.retry_seconds) == (15, 10, 2)
    assert elect("--leader-elect=false")[0] == [None]


def test_no_two_processes_have_one_identity() -> None:
    identities = {election.identity for _ in range(2) for election in elect()[0] if election is not None}
    assert len(identities) == 2


def test_times_that_allow_two_leaders_are_one_clear_error() -> None:
    found, output = elect("--leader-elect-lease-duration=5s")
    assert not found
    assert "lease of 5 s and renewal within 10 s found; the lease must be the longer of the two" in output


def give_ranges(*arguments: str) -> tuple[list[IpamConfig | None], str]:
    found: list[IpamConfig | None] = []

    @click.command()
    @ipam_flags
    def command(ipam: IpamConfig | None) -> None:
        found.append(ipam)

    return found, CliRunner().invoke(command, arguments).output


def test_nodes_are_given_ranges_only_when_that_is_asked_for() -> None:
    assert give_ranges("--cluster-cidr=10.244.0.0/16")[0] == [None]
    ((ipam,), _) = give_ranges("--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16", "--node-cidr-mask-size=26")
    assert ipam is not None
    assert [(str(network), size) for network, size in ipam.ranges] == [("10.244.0.0/16", 26)]


def test_ranges_that_cannot_be_cut_are_one_clear_error() -> None:
    found, output = give_ranges("--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16", "--node-cidr-mask-size=8")
    assert not found
    assert "--node-cidr-mask-size: /8 of 10.244.0.0/16 found, /16 to /32 allowed" in output
