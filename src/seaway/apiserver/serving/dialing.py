"""Connections to Pods and to the agents of nodes. One to an IP address is all that is made: no names are looked up.

A Pod's TLS is not verified, as upstream: who has its address is the Pod. An agent's is, and it is shown this server's
own certificate, which nobody else ever sees.
Rule: spec "service-api" §8.3, "node" §5.1 (one CA signs both sides).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from seaway.apiserver.proxying.http1 import MAX_HEAD_BYTES
from seaway.apiserver.proxying.targets import Target

DIAL_SECONDS = 30.0
"""Upstream's, for TCP and TLS together."""

Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[Target], Awaitable[Link]]


class NoCertificate(OSError):
    """A node's agent is wanted, and this server has nothing that it would be known by."""


async def dial_directly(
    target: Target, kubelet: ssl.SSLContext | None = None, *, locate: Callable[[str], str] = str
) -> Link:
    """A connection from where this process is. kubelet: for agents of nodes. Raises OSError.

    locate: where an address of the cluster is on this host; whoever answers is still known by the address itself.
    """
    context = find_context(target, kubelet)
    name = target.address if context is not None else None
    link = await asyncio.open_connection(
        locate(target.address), target.port, ssl=context, server_hostname=name, limit=MAX_HEAD_BYTES
    )
    opened = link[1].get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return link


async def secure(writer: asyncio.StreamWriter, target: Target, kubelet: ssl.SSLContext | None = None) -> None:
    """What TLS the target wants, on a connection that is made already. Raises OSError."""
    context = find_context(target, kubelet)
    if context is not None:
        await writer.start_tls(context, server_hostname=target.address)


def find_context(target: Target, kubelet: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """How TLS is spoken with the target; None: it is not. Raises NoCertificate."""
    if target.is_kubelet:
        if kubelet is None:
            raise NoCertificate("this server has no certificate that the agents of nodes know")
        return kubelet
    if not target.is_tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_kubelet_context(*, certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """For agents whose certificates the authority signed, each for its node's address; ours is shown to them."""
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
