"""Looks at what the host's networks are, and keeps routes to the ranges of Services.

A route is needed where there is no other: a packet that the host itself sends meets the rules only once it has one.
The link that it names is never used: what has a Service gets another destination, and the rest is dropped.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from seaway.api.servicecidr.types import ServiceCIDR
from seaway.net.family import Family, family_of
from seaway.net.netlink.kernel import NETLINK_ROUTE, NetlinkSocket
from seaway.net.netlink.messages import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, pack_attribute, parse_attributes
from seaway.proxy.config import ProxyConfig, ServiceRoutes, networks_of
from seaway.proxy.kernel import list_interface_addresses
from seaway.proxy.proxier import PlaneError
from seaway.proxy.ranges.plan import Network, Ranges, Taken, choose_ranges, plan_routes

log = logging.getLogger(__name__)

PROTOCOL = 153
"""Of our routes, as of those to Pods: in the range that nobody has registered."""
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_TABLE_MAIN, _SCOPE_UNIVERSE, _UNICAST = 254, 0, 1
_ROUTE = struct.Struct("=8BI")
"""family, destination's and source's length, tos, table, protocol, scope, type; flags."""
_FAMILY_NUMBER = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


class RouteError(PlaneError):
    """A route to a range of Services could not be made or removed."""


class ServiceRanges:
    """The ranges of Services. Call `prepare`, bring the rules for `accepted` into the kernel, then `route`."""

    def __init__(
        self, config: ProxyConfig, families: Iterable[Family], *, is_complete: Callable[[], bool] = lambda: True
    ) -> None:
        """is_complete: whether every ServiceCIDR was told."""
        self._config = config
        self._families = tuple(families)
        self._is_complete = is_complete
        self._told: dict[str, tuple[str, ...]] = {}
        self._ranges = choose_ranges(config.service_cidrs, (), ())

    @property
    def accepted(self) -> tuple[str, ...]:
        """The ranges whose unknown addresses are refused, as of the last `prepare`."""
        return self._ranges.accepted

    def set_object(self, key: str, found: ServiceCIDR | None) -> bool:
        """The ServiceCIDR is now this; None: it is gone. Whether that matters. One that is to go counts until then."""
        before = self._told.pop(key, ())
        if found is not None:
            self._told[key] = found.spec.cidrs
        return before != self._told.get(key, ())

    def prepare(self) -> None:
        """Decide by how the host is now. Raises OSError; what was decided before holds then."""
        told = {cidr for cidrs in self._told.values() for cidr in cidrs} - set(self._config.service_cidrs)
        taken = tuple(self._list_taken()) if told else ()  # a host may have a great many routes
        ranges = choose_ranges(self._config.service_cidrs, told, taken)
        self._log(ranges)
        self._ranges = ranges

    def route(self) -> None:
        """Routes to what is accepted, and to nothing else. Raises RouteError."""
        routes = self._config.service_routes
        if routes is None:
            return
        for family in self._families:
            try:
                _keep_routes(family, routes, networks_of(self.accepted, family), is_complete=self._is_complete())
            except OSError as error:
                raise RouteError(f"routes of {family.value} to Services by link {routes.link}: {error}") from error

    def _list_taken(self) -> Iterator[Taken]:
        for cidr in self._config.cluster_cidrs:
            yield Taken(ipaddress.ip_network(cidr, strict=False), "addresses of Pods")
        for address in list_interface_addresses():
            yield Taken(ipaddress.ip_network(address), "an address of this host")
        for family in self._families:
            for route in list_routes(family):
                if route.protocol != PROTOCOL and route.destination.prefixlen:
                    yield Taken(route.destination, "which this host has a route to")

    def _log(self, ranges: Ranges) -> None:
        if ranges.accepted != self._ranges.accepted:
            log.info("service_ranges=%s", ",".join(ranges.accepted))
        for cidr, reason in ranges.refused:
            if (cidr, reason) not in self._ranges.refused:
                log.warning("service_range=%s refused=%r unknown_addresses=untouched", cidr, reason)


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table to somewhere, by one link; 0: by none, or by several."""

    destination: Network
    link: int
    protocol: int


def list_routes(family: Family) -> list[Route]:
    """The unicast routes of the main table. Raises OSError."""
    netlink = NetlinkSocket(NETLINK_ROUTE)
    try:
        return list(_read_routes(netlink, family))
    finally:
        netlink.close()


def _read_routes(netlink: NetlinkSocket, family: Family) -> Iterator[Route]:
    number = _FAMILY_NUMBER[family]
    width = 4 if family is Family.IPV4 else 16
    for message in netlink.dump(RTM_GETROUTE, _ROUTE.pack(number, 0, 0, 0, 0, 0, 0, 0, 0)):
        found, length, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(message.payload)
        if found != number or table != _TABLE_MAIN or kind != _UNICAST:
            continue
        attributes = parse_attributes(message.payload[_ROUTE.size :])
        link = struct.unpack("=I", attributes[_RTA_OIF])[0] if _RTA_OIF in attributes else 0
        address = ipaddress.ip_address(attributes.get(_RTA_DST, bytes(width)))
        yield Route(ipaddress.ip_network((address, length), strict=False), link, protocol)


def _keep_routes(family: Family, routes: ServiceRoutes, want: Iterable[str], *, is_complete: bool) -> None:
    netlink = NetlinkSocket(NETLINK_ROUTE)
    try:
        link = socket.if_nametoindex(routes.link)
        ours = (r for r in _read_routes(netlink, family) if r.protocol == PROTOCOL and r.link == link)
        plan = plan_routes((str(r.destination) for r in ours), want, is_complete=is_complete)
        source = next((a for a in routes.sources if family_of(a) is family), "")
        for destination in plan.remove:
            try:
                netlink.request(RTM_DELROUTE, _pack(family, destination, link), flags=NLM_F_ACK)
            except OSError as error:
                if error.errno != errno.ESRCH:  # it went with its link
                    raise
            log.info("route=%s removed", destination)
        for destination in plan.add:
            packed = _pack(family, destination, link, source)
            netlink.request(RTM_NEWROUTE, packed, flags=NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
            log.info("route=%s link=%s", destination, routes.link)
    finally:
        netlink.close()


def _pack(family: Family, destination: str, link: int, source: str = "") -> bytes:
    network = ipaddress.ip_network(destination)
    header = (_FAMILY_NUMBER[family], network.prefixlen, 0, 0, _TABLE_MAIN, PROTOCOL, _SCOPE_UNIVERSE, _UNICAST, 0)
    packed = _ROUTE.pack(*header) + pack_attribute(_RTA_DST, network.network_address.packed)
    packed += pack_attribute(_RTA_OIF, struct.pack("=I", link))
    return packed + pack_attribute(_RTA_PREFSRC, ipaddress.ip_address(source).packed) if source else packed
