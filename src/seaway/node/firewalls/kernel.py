"""Lists the chains and rules of every table in this network namespace."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from seaway.net.errors import OperationalError
from seaway.net.netlink.kernel import NETLINK_NETFILTER, NetlinkSocket
from seaway.net.netlink.messages import parse_attributes
from seaway.node.firewalls import legacy
from seaway.node.firewalls.decode import decode_tables
from seaway.node.firewalls.plan import OWN_PREFIX, ForeignTable

_SUBSYSTEM, _GETCHAIN, _GETRULE, _GETGEN = 10, 4, 7, 16
_EVERY_FAMILY = b"\0\0\0\0"

_LEGACY_GET_INFO, _LEGACY_GET_ENTRIES = 64, 65
_LEGACY = {
    4: (Path("/proc/thread-self/net/ip_tables_names"), socket.AF_INET, socket.IPPROTO_IP),
    6: (Path("/proc/thread-self/net/ip6_tables_names"), socket.AF_INET6, socket.IPPROTO_IPV6),
}
"""By IP version: the tables there are, and whom to ask. To ask for one that is not there would make it."""
MAX_LEGACY_BYTES = 4 << 20
"""About 20,000 rules."""
_libc = ctypes.CDLL(None, use_errno=True)


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


def read_legacy_tables() -> tuple[ForeignTable, ...]:
    """The filter tables of the old iptables, where it is in use. Raises FirewallError.

    It has no number that changes with it; what is read is small, and only there where somebody uses it.
    """
    return tuple(_read_legacy())


def _read_legacy() -> Iterator[ForeignTable]:
    for version, (names, family, level) in _LEGACY.items():
        try:
            if legacy.TABLE not in names.read_text("ascii").split():
                continue
        except OSError:
            continue  # the kernel has none, or they are not for us
        try:
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
                yield _read_legacy_table(sock, version, level)
        except (OSError, ValueError, struct.error) as error:
            raise FirewallError(f"table {legacy.TABLE} of iptables-legacy: {error}") from error


def _read_legacy_table(sock: socket.socket, version: int, level: int) -> ForeignTable:
    name = legacy.TABLE.encode().ljust(32, b"\0")
    info = legacy.decode_info(_ask(sock, level, _LEGACY_GET_INFO, name.ljust(legacy.INFO.size, b"\0")))
    if info.size > MAX_LEGACY_BYTES:
        raise ValueError(f"{info.size} bytes of rules found, {MAX_LEGACY_BYTES} are read")
    head = (name + struct.pack("=I", info.size)).ljust(legacy.ENTRIES_HEAD_BYTES, b"\0")
    entries = _ask(sock, level, _LEGACY_GET_ENTRIES, head + bytes(info.size))
    return legacy.decode_table(version, info, entries[legacy.ENTRIES_HEAD_BYTES :])


def _ask(sock: socket.socket, level: int, option: int, question: bytes) -> bytes:
    """`getsockopt` with a question in its buffer, which Python's own has no way to say."""
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint32(len(question))
    if _libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw
