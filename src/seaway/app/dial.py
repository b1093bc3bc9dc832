"""The dial socket: how an API server outside of a sandbox reaches the Pods inside, and the node.

The caller names a Pod, or the Node, by its UID and a port, never an address: `UID PORT\\n`. The answer is `ok\\n`, and
the connection is theirs from then on, or `error TEXT\\n` and the end. The Pods are those that the API has for the node.
Rule: design §3, §12.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import NODES, PODS
from seaway.apiserver.proxying.targets import Target
from seaway.apiserver.serving.dialing import Link, secure
from seaway.client.requests import Client
from seaway.client.run import Informer, run_all

MAX_OPEN = 1024
ASK_SECONDS = 5.0
"""For the caller to say whom it wants: it is a process of this host."""
DIAL_SECONDS = 30.0
_PIECE_BYTES = 64 << 10
_LINE_BYTES = 512
_ASKED = re.compile(rb"([0-9A-Za-z-]{1,64}) ([0-9]{1,5})\n", re.ASCII)
_PEER_CREDENTIALS = struct.Struct("3i")

FindAddress = Callable[[str], str | None]


class DialError(OSError):
    """What the other side of the socket says of its try."""


def make_dialer(path: Path, kubelet: ssl.SSLContext | None = None) -> Callable[[Target], asyncio.Future[Link]]:
    """`Dial` through the socket at the path. kubelet: how TLS is spoken with the node's agent."""

    async def dial(target: Target) -> Link:
        reader, writer = await asyncio.open_unix_connection(path, limit=256 << 10)
        try:
            writer.write(f"{target.uid} {target.port}\n".encode())
            answer = (await reader.readline()).decode("utf-8", "replace").strip()
            if answer != "ok":
                raise DialError(answer.removeprefix("error ") or "the node's dial socket has closed")
            await secure(writer, target, kubelet)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    return lambda target: asyncio.ensure_future(dial(target))


async def run_dial_socket(path: Path, client: Client, node_name: str, node_ip: str) -> None:
    """Serve the socket for the node and its Pods until cancelled. node_ip: where its agent listens."""
    pods = Informer(client, PODS, Pod, field_selector=f"spec.nodeName={node_name}")
    nodes = Informer(client, NODES, Node, field_selector=f"metadata.name={node_name}")

    def find(uid: str) -> str | None:
        if any(node.metadata.uid == uid for node in nodes.objects.values()):
            return node_ip
        for pod in pods.objects.values():
            if pod.metadata.uid == uid and pod.status.pod_ips:
                return pod.status.pod_ips[0].ip
        return None

    async with asyncio.TaskGroup() as group:
        group.create_task(run_all(pods, nodes))
        group.create_task(serve_dial_socket(path, find))


async def serve_dial_socket(path: Path, find: FindAddress, *, on_ready: Callable[[], None] = lambda: None) -> None:
    """The socket alone. find: the address of the Pod or Node with the UID."""
    path.unlink(missing_ok=True)
    limit = asyncio.Semaphore(MAX_OPEN)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not limit.locked() and _is_trusted(writer):
                async with limit:
                    await _serve_one(reader, writer, find)
        except (OSError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # a side has gone, or we are going; Python 3.11's stream callback stumbles over a cancelled task
        finally:
            writer.close()

    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, path, limit=_LINE_BYTES)
    finally:
        os.umask(mask)
    on_ready()
    try:
        await server.serve_forever()
    finally:
        path.unlink(missing_ok=True)


def _is_trusted(writer: asyncio.StreamWriter) -> bool:
    """A process of this user, or root: inside of a sandbox both are the only user that is mapped."""
    peer = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    return _PEER_CREDENTIALS.unpack(raw)[1] in (0, os.geteuid())


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, find: FindAddress) -> None:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            asked = _ASKED.fullmatch(await reader.readline())
    except (TimeoutError, ValueError):
        return
    if asked is None:
        writer.write(b"error the UID of a Pod or the Node, and a port, are needed\n")
        return
    address, port = find(asked[1].decode()), int(asked[2])
    if address is None or not 0 < port < 65536:
        writer.write(b"error no Pod of this node, nor the node, has the UID and an address\n")
        return
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            pod_reader, pod_writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        writer.write(b"error i/o timeout\n")
        return
    except OSError as error:
        writer.write(f"error connect: {os.strerror(error.errno or 0).lower()}\n".encode())
        return
    writer.write(b"ok\n")
    try:
        await asyncio.gather(_pump(reader, pod_writer), _pump(pod_reader, writer))
    finally:
        pod_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's side has said all; the writer's side may still speak."""
    try:
        while data := await reader.read(_PIECE_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        writer.transport.abort()
