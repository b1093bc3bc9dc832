"""Makes and removes the links, addresses and routes of Pods. Every call can be repeated.

pyroute2 runs an event loop of its own inside each call, so calls are made from a thread that has none.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from seaway.net.errors import OperationalError
from seaway.net.kernel import CLONE_NEWNET, setns
from seaway.node.network.plan import Address, Attachment, HostNetwork, Network

log = logging.getLogger(__name__)

POD_LINK = "eth0"
ALIAS = "seaway:"
"""Begins the alias of every link that is ours; what does not carry it is never touched."""
PROTOCOL = 153
"""The protocol number of our routes: in the range that nobody has registered."""
_RT_SCOPE_LINK, _RT_TABLE_MAIN = 253, 254
_IFF_LOOPBACK = 8
_IFF_UP = 1


class NetworkError(OperationalError):
    """A link, address or route could not be made."""


@contextlib.contextmanager
def _allow(*codes: int) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise


@contextlib.contextmanager
def _inside(netns: str) -> Iterator[None]:
    """This thread in another network namespace.

    Not pyroute2's way, which forks a child and ends it with SIGTERM: the child shares the event loop's wake-up
    descriptor, so that the loop would take the signal for its own.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(target, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
        os.close(target)


def attach_pod(want: Attachment, netns: str) -> None:
    """Connect the network namespace at path `netns`. What exists already is kept. Raises NetworkError."""
    try:
        with IPRoute() as host:
            index = _ensure_link(host, want, netns)
            _configure_pod(want, netns)
            _configure_host(host, want, index)
    except (NetlinkError, OSError) as error:
        raise NetworkError(f"Pod {want.uid}: link {want.link}: {error}") from error


def _ensure_link(host: Any, want: Attachment, netns: str) -> int:
    found = host.link_lookup(ifname=want.link)
    if found and not _has_pod_end(netns):  # it leads elsewhere
        host.link("del", index=found[0])
        found = []
    if not found:
        handle = os.open(netns, os.O_RDONLY)
        try:
            host.link(
                "add", ifname=want.link, kind="veth", mtu=want.mtu,
                peer={"ifname": POD_LINK, "net_ns_fd": handle, "mtu": want.mtu},
            )  # fmt: skip
        finally:
            os.close(handle)
        found = host.link_lookup(ifname=want.link)
    host.link("set", index=found[0], ifalias=ALIAS + want.uid)
    return int(found[0])


def _has_pod_end(netns: str) -> bool:
    with _inside(netns), IPRoute() as pod:
        return bool(pod.link_lookup(ifname=POD_LINK))


def _configure_pod(want: Attachment, netns: str) -> None:
    with _inside(netns), IPRoute() as pod:
        index = pod.link_lookup(ifname=POD_LINK)[0]
        for address in want.addresses:
            flags = {"flags": 0x02} if address.version == 6 else {}  # no duplicate address detection: usable at once
            with _allow(errno.EEXIST):
                pod.addr("add", index=index, address=str(address), prefixlen=address.max_prefixlen, **flags)
        pod.link("set", index=index, state="up")
        for gateway, address in zip(want.gateways, want.addresses, strict=True):
            family = {"family": 10 if gateway.version == 6 else 2}
            with _allow(errno.EEXIST):
                pod.route("add", dst=f"{gateway}/{gateway.max_prefixlen}", oif=index, scope=_RT_SCOPE_LINK, **family)
            with _allow(errno.EEXIST):
                pod.route("add", dst="default", gateway=str(gateway), prefsrc=str(address), oif=index, **family)


def _configure_host(host: Any, want: Attachment, index: int) -> None:
    for path, value in want.host_sysctls:
        _write_sysctl(path, value)
    for gateway in want.gateways:
        flags = {"flags": 0x02} if gateway.version == 6 else {}
        with _allow(errno.EEXIST):
            host.addr("add", index=index, address=str(gateway), prefixlen=gateway.max_prefixlen, **flags)
    host.link("set", index=index, state="up")
    for address in want.addresses:
        route = {"dst": f"{address}/{address.max_prefixlen}", "oif": index, "proto": PROTOCOL}
        if address.version == 4:
            route["scope"] = _RT_SCOPE_LINK
        else:
            route["family"] = 10
        host.route("replace", **route)


def _write_sysctl(path: str, value: str) -> None:
    try:
        Path("/proc/sys", path).write_text(value)
    except OSError as error:
        log.warning("sysctl path=%s value=%s error=%s", path, value, error)


def read_network() -> HostNetwork:
    """What there is of the Pod network. Raises NetworkError."""
    try:
        with IPRoute() as host:
            names = {
                link["index"]: str(link.get_attr("IFLA_IFNAME"))
                for link in host.get_links()
                if str(link.get_attr("IFLA_IFALIAS") or "").startswith(ALIAS) and link["flags"] & _IFF_UP
            }
            addresses: dict[str, set[Address]] = {name: set() for name in names.values()}
            for entry in host.get_addr():
                if entry["index"] in names:
                    text = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
                    addresses[names[entry["index"]]].add(ipaddress.ip_address(text))
            routes = {
                (ipaddress.ip_address(entry.get_attr("RTA_DST")), names[entry.get_attr("RTA_OIF")])
                for family in (socket.AF_INET, socket.AF_INET6)
                for entry in host.get_routes(family=family, table=_RT_TABLE_MAIN)
                if entry["proto"] == PROTOCOL and entry.get_attr("RTA_OIF") in names
            }
    except (NetlinkError, OSError) as error:
        raise NetworkError(f"Pod network: {error}") from error
    return HostNetwork({name: frozenset(found) for name, found in addresses.items()}, frozenset(routes))


def find_uplink_mtu() -> int | None:
    """The smallest MTU of the links that default routes lead to; None without such a route. Raises NetworkError."""
    try:
        with IPRoute() as host:
            links = {
                link["index"]: int(link.get_attr("IFLA_MTU"))
                for link in host.get_links()
                if not link["flags"] & _IFF_LOOPBACK  # where a host without a way out sends what it cannot reach
            }
            found = [
                links[entry.get_attr("RTA_OIF")]
                for family in (socket.AF_INET, socket.AF_INET6)
                for entry in host.get_routes(family=family, table=_RT_TABLE_MAIN)
                if not entry["dst_len"] and entry.get_attr("RTA_OIF") in links
            ]
    except (NetlinkError, OSError) as error:
        raise NetworkError(f"uplink: {error}") from error
    return min(found, default=None)


def detach_pod(link: str) -> None:
    """Remove the Pod's link, and with it its addresses and routes. Nothing happens when it is gone."""
    with IPRoute() as host:
        for index in host.link_lookup(ifname=link):
            with _allow(errno.ENODEV):
                host.link("del", index=index)


def ensure_blackholes(networks: Iterable[Network]) -> None:
    """What is sent to an address of the node's range that no Pod has goes nowhere, not out of the default route."""
    with IPRoute() as host:
        for network in networks:
            family = 10 if network.version == 6 else 2
            with _allow(errno.EEXIST):
                host.route("add", dst=str(network), type="blackhole", proto=PROTOCOL, family=family)


def find_links() -> tuple[str, ...]:
    """The names of all links that are ours, sorted."""
    with IPRoute() as host:
        return tuple(
            sorted(
                link.get_attr("IFLA_IFNAME")
                for link in host.get_links()
                if str(link.get_attr("IFLA_IFALIAS") or "").startswith(ALIAS)
            )
        )


def remove_everything(networks: Iterable[Network]) -> None:
    """Remove every link and route that is ours in this network namespace."""
    for link in find_links():
        detach_pod(link)
    with IPRoute() as host:
        for network in networks:
            family = 10 if network.version == 6 else 2
            with _allow(errno.ESRCH, errno.ENOENT):
                host.route("del", dst=str(network), type="blackhole", proto=PROTOCOL, family=family)
