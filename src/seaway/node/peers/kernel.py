"""Reads, sets and removes the routes to the Pods of other nodes. Calls are made from a thread without an event loop."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from seaway.node.network.kernel import ALIAS, PROTOCOL, NetworkError
from seaway.node.peers.plan import LinkAddress, PeerRoute, RouteChanges

_RT_TABLE_MAIN = 254
_IFF_UP, _IFF_LOOPBACK = 1, 8
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def read_links() -> tuple[LinkAddress, ...]:
    """The addresses of this host on links that lead to others. Raises NetworkError."""
    try:
        with IPRoute() as host:
            names = {
                link["index"]: str(link.get_attr("IFLA_IFNAME"))
                for link in host.get_links()
                if link["flags"] & _IFF_UP
                and not link["flags"] & _IFF_LOOPBACK
                and not str(link.get_attr("IFLA_IFALIAS") or "").startswith(ALIAS)
            }
            found = [
                LinkAddress(names[entry["index"]], ipaddress.ip_interface(f"{text}/{entry['prefixlen']}"))
                for entry in host.get_addr()
                if entry["index"] in names and (text := entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))
            ]
    except (NetlinkError, OSError) as error:
        raise NetworkError(f"addresses of the host: {error}") from error
    return tuple(found)


def read_routes() -> frozenset[PeerRoute]:
    """Those of ours that go over another host. Raises NetworkError."""
    try:
        with IPRoute() as host:
            return frozenset(
                PeerRoute(f"{entry.get_attr('RTA_DST')}/{entry['dst_len']}", str(entry.get_attr("RTA_GATEWAY")))
                for family in _FAMILIES
                for entry in host.get_routes(family=family, table=_RT_TABLE_MAIN)
                if entry["proto"] == PROTOCOL and entry.get_attr("RTA_GATEWAY") and entry.get_attr("RTA_DST")
            )
    except (NetlinkError, OSError) as error:
        raise NetworkError(f"routes to other nodes: {error}") from error


def apply(changes: RouteChanges) -> None:
    """Change the routes. The administrator's to a range stay. What is gone is no error. Raises NetworkError."""
    ours = {route.network for route in read_routes()}
    with IPRoute() as host:
        for route in changes.removed:
            _change(host, "del", route, errno.ESRCH, errno.ENOENT)
        for route in changes.set:
            _change(host, "replace" if route.network in ours else "add", route, errno.EEXIST)


def _change(host: Any, verb: str, route: PeerRoute, *allowed: int) -> None:
    try:
        host.route(verb, dst=route.network, gateway=route.via, proto=PROTOCOL, family=_family_of(route))
    except NetlinkError as error:
        if error.code not in allowed:
            raise NetworkError(f"route to {route.network} via {route.via}: {error}") from error


def _family_of(route: PeerRoute) -> int:
    return int(_FAMILIES[1] if ":" in route.network else _FAMILIES[0])


def find_closed(links: Iterable[str]) -> tuple[str, ...]:
    """Those of the links from which the kernel forwards nothing, so that other nodes do not reach Pods here.

    Nothing is changed: a link that forwards makes a router of the host, and the proxy guards those that it opens.
    """
    return tuple(link for link in links if _read_sysctl(f"net/ipv4/conf/{link}/forwarding") == "0")


def _read_sysctl(path: str) -> str:
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError:
        return ""


def remove_routes() -> None:
    """Remove all of them. Raises NetworkError."""
    apply(RouteChanges(removed=tuple(sorted(read_routes()))))
