"""Which way Seaway can run here, found by trying: each trial makes what the way needs, in a child that then ends.

Rule: design.md §3. What is missing is named with its mend.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seaway.app.sandbox import make_namespaces
from seaway.net.errors import OperationalError
from seaway.net.family import Family

if TYPE_CHECKING:
    from pyroute2 import IPRoute

HOST, SANDBOX, NONE = "host", "sandbox", "none"
WAYS = (HOST, SANDBOX, NONE)
ALONE = "alone"
"""The API server without anything beside it; nobody can ask for it with --network."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The way, and why it is this one (what the better ways lacked)."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a trial lacked, and the mend."""

    missing: str
    mend: str

    def __str__(self) -> str:
        return f"{self.missing}; {self.mend}"


_FAMILY_NUMBERS = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}

Trial = Callable[[], Refusal | None]


def choose_way(wanted: str | None, trials: dict[str, Trial]) -> Choice:
    """The wanted way, else the first that can be had. Raises OperationalError when the wanted one cannot.

    trials: a way's trial, in order of preference; `none` needs none.
    """
    if wanted == NONE:
        return Choice(NONE, "asked for")
    refusals: list[str] = []
    for way in (wanted,) if wanted else (HOST, SANDBOX):
        refusal = trials[way]()
        if refusal is None:
            reason = "asked for" if wanted else "; ".join(refusals) or "root, and all that it needs was tried"
            return Choice(way, reason)
        refusals.append(f"{way}: {refusal}")
    if wanted:
        raise OperationalError(f"--network {refusals[0]}, or use another --network")
    return Choice(NONE, "; ".join(refusals))


def begin_trial(way: str) -> Trial:
    """Start trying a way in a child; what is returned waits for its end and says what was lacking."""
    if way == HOST:
        if os.geteuid() != 0:
            return lambda: Refusal(f"user {os.geteuid()} found, root needed", "run it with sudo")
        return _begin_in_child(_make_host_parts, "run it as root with CAP_NET_ADMIN and CAP_SYS_ADMIN")
    mend = "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0)"
    return _begin_in_child(_make_sandbox_parts, mend)


def begin_trials(wanted: str | None) -> dict[str, Trial]:
    """The likeliest way's trial is under way when this returns; another begins when it is asked for."""
    if wanted == NONE:
        return {}
    first = wanted or (HOST if os.geteuid() == 0 else SANDBOX)
    begun = begin_trial(first)
    return {way: begun if way == first else lambda way=way: begin_trial(way)() for way in (HOST, SANDBOX)}  # type: ignore[misc]


def find_overlaps(ranges: Sequence[str], routes: Iterable[tuple[str, str]]) -> list[str]:
    """Which ranges meet a route of the host. routes: (destination CIDR, link name), the default route left out."""
    found = []
    for text in ranges:
        wanted = ipaddress.ip_network(text)
        for destination, link in routes:
            network = ipaddress.ip_network(destination, strict=False)
            if network.version == wanted.version and network.overlaps(wanted):
                found.append(f"{text} overlaps the host's route to {destination} on {link}")
    return found


def check_ranges(ranges: Sequence[str]) -> None:
    """Raises OperationalError when a range is somebody else's on this host."""
    overlaps = find_overlaps(ranges, _list_foreign_routes())
    if overlaps:
        raise OperationalError(f"{overlaps[0]}; choose other ranges with --service-cidr and --cluster-cidr")


def find_primary_address(family: Family = Family.IPV4) -> str | None:
    """The host's address of the family on its default route, or None. Rule: spec "node" §1.4."""
    from pyroute2 import IPRoute

    number = _FAMILY_NUMBERS[family]
    with IPRoute() as route:
        for entry in route.get_default_routes(family=number):
            preferred = entry.get_attr("RTA_PREFSRC")
            if preferred:
                return str(preferred)
            for address in _list_addresses(route, family=number, index=entry.get_attr("RTA_OIF")):
                return address
        for address in _list_addresses(route, family=number):
            return address
    return None


def _list_addresses(route: IPRoute, **where: int | None) -> Iterator[str]:
    """Those that other machines may know."""
    for entry in route.get_addr(**where):
        text = str(entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))
        parsed = ipaddress.ip_address(text)
        if not parsed.is_loopback and not (parsed.version == 6 and parsed.is_link_local):
            yield text


def may_bind(address: str, port: int) -> bool:
    """Whether this user may listen there, for UDP as for TCP. What is taken may be bound, by another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return True


def check_node_place(address: str, ports: Sequence[int]) -> None:
    """The node's loopback address is this host's and nobody else's. Raises OperationalError."""
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an ended one has left is no hindrance
            try:
                trial.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise OperationalError(
                        f"none: {address}:{port} is in use, likely by another Seaway; stop it, or take another part of "
                        "loopback, like --loopback-map 10.96.0.0/14=127.32.0.0/14 --cluster-cidr 10.97.0.0/16"
                    ) from None
                raise OperationalError(
                    f"none: {address}:{port}: {os.strerror(error.errno or 0)}; 127.0.0.0/8 is needed, as Linux has it"
                ) from None


def has_ipv6() -> bool:
    """Whether new links of this host have IPv6."""
    try:
        return Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").read_text().strip() == "0"
    except OSError:
        return False


def _list_foreign_routes() -> list[tuple[str, str]]:
    from pyroute2 import IPRoute

    from seaway.node.network.kernel import PROTOCOL

    found = []
    with IPRoute() as route:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        for number in _FAMILY_NUMBERS.values():
            for entry in route.get_routes(family=number, table=254):
                destination = entry.get_attr("RTA_DST")
                if destination and entry["proto"] != PROTOCOL:
                    link = names.get(entry.get_attr("RTA_OIF"), "blackhole")
                    found.append((f"{destination}/{entry['dst_len']}", link))
    return found


def _make_host_parts() -> None:
    if find_primary_address() is None:
        raise _Lacking("no IPv4 address found, one needed for the node", "add one")
    _make_veth()
    _make_table()


def _make_sandbox_parts() -> None:
    make_namespaces()
    _make_veth()
    _make_table()


def _make_veth() -> None:
    from pyroute2 import IPRoute

    name = f"swtry{secrets.token_hex(3)}"
    with IPRoute() as route:
        route.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}p"})
        route.link("del", ifname=name)


def _make_table() -> None:
    from pyroute2.nftables.main import NFTables

    name = f"seaway-try-{secrets.token_hex(3)}"
    with NFTables(nfgen_family=2) as nft:
        nft.table("add", name=name)
        nft.table("del", name=name)


class _Lacking(Exception):
    """What a trial lacks, and a mend of its own."""


def _begin_in_child(trial: Callable[[], None], mend: str) -> Trial:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            trial()
            os._exit(0)
        except _Lacking as lacking:
            os.write(write, "\0".join(lacking.args).encode())
            os._exit(1)
        except BaseException as error:
            os.write(write, f"tried and refused ({type(error).__name__}: {error})".encode()[:1000])
            os._exit(1)
    os.close(write)

    def wait() -> Refusal | None:
        with os.fdopen(read, "rb") as file:
            words = file.read().decode(errors="replace")
        _, status = os.waitpid(pid, 0)
        missing, _, own_mend = words.partition("\0")
        return None if status == 0 else Refusal(missing, own_mend or mend)

    return wait
