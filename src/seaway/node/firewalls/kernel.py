"""Lists the chains and rules of every table in this network namespace."""

from __future__ import annotations

from seaway.net.errors import OperationalError
from seaway.net.netlink.kernel import NETLINK_NETFILTER, NetlinkSocket
from seaway.net.netlink.messages import parse_attributes
from seaway.node.firewalls.decode import decode_tables
from seaway.node.firewalls.plan import OWN_PREFIX, ForeignTable

_SUBSYSTEM, _GETCHAIN, _GETRULE, _GETGEN = 10, 4, 7, 16
_EVERY_FAMILY = b"\0\0\0\0"


class FirewallError(OperationalError):
    """The kernel does not list its rules."""


def read_generation() -> int:
    """Changes with every change of any table; cheap to ask for. Raises FirewallError."""
    link = NetlinkSocket(NETLINK_NETFILTER)
    try:
        [answer] = link.request(_SUBSYSTEM << 8 | _GETGEN, _EVERY_FAMILY)
        return int.from_bytes(parse_attributes(answer.payload[4:])[1], "big")
    except (OSError, ValueError) as error:
        raise FirewallError(f"nftables: {error}") from error
    finally:
        link.close()


def read_tables() -> tuple[ForeignTable, ...]:
    """The tables with a chain at the forward hook. Raises FirewallError.

    Rules are listed only when a table of somebody else has such a chain: the proxy's own need no look.
    """
    link = NetlinkSocket(NETLINK_NETFILTER)
    try:
        chains = [message.payload for message in link.dump(_SUBSYSTEM << 8 | _GETCHAIN, _EVERY_FAMILY)]
        found = decode_tables(chains, ())
        if all(table.name.startswith(OWN_PREFIX) for table in found):
            return found
        rules = [message.payload for message in link.dump(_SUBSYSTEM << 8 | _GETRULE, _EVERY_FAMILY)]
        return decode_tables(chains, rules)
    except (OSError, ValueError) as error:
        raise FirewallError(f"nftables: {error}") from error
    finally:
        link.close()
