"""Whom a client asked for before the kernel led its connection to a listener.

Rule: include/uapi/linux/netfilter_ipv4.h (SO_ORIGINAL_DST), netfilter_ipv6/ip6_tables.h (IP6T_SO_ORIGINAL_DST).
"""

from __future__ import annotations

import socket
import struct

from seaway.proxy.forwarding import Target

_SO_ORIGINAL_DST = 80
_IPV6_BYTES, _IPV4_BYTES = 28, 16


def find_asked(connection: socket.socket) -> Target | None:
    """The address and port that the client asked for; None: it asked for the listener itself, past all rules.

    Such a client is to be refused: no rule saw whether it may connect.
    """
    is_ipv6 = connection.family == socket.AF_INET6
    level, size = (socket.IPPROTO_IPV6, _IPV6_BYTES) if is_ipv6 else (socket.IPPROTO_IP, _IPV4_BYTES)
    try:
        raw = connection.getsockopt(level, _SO_ORIGINAL_DST, size)
        own = connection.getsockname()[:2]
    except OSError:
        return None  # not tracked, hence not translated, or gone already
    (port,) = struct.unpack_from("!H", raw, 2)
    packed = raw[8:24] if is_ipv6 else raw[4:8]
    asked = Target(socket.inet_ntop(connection.family, packed), port)
    return None if asked == Target(*own) else asked
