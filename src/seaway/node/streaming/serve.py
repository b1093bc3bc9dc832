"""Answers requests for streams: finds the Pod and the container, shakes hands, and hands over.

Rule: spec "node" §5.2, §5.3, §5.5 to §5.8 (texts and codes of refusals are the kubelet's).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import cast
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import CIMultiDict

from seaway.net.tunnels.transport import LeavesHttp, Taken, TunnelPeer
from seaway.node.logs.run import read_log
from seaway.node.logs.select import LogRefused, choose_run, parse_log_options
from seaway.node.podspec import PodManifest
from seaway.node.routes import Stream, StreamRequest
from seaway.node.runtime.contract import Runtime
from seaway.node.state import PodState
from seaway.node.streaming.forwards.protocol import ForwardRefused, parse_ports
from seaway.node.streaming.forwards.run import StreamForwarder, forward_messages
from seaway.node.streaming.protocol import (
    FORWARD_PROTOCOL,
    FORWARD_TUNNEL_PROTOCOL,
    MESSAGE_PROTOCOLS,
    STREAM_PROTOCOLS,
    Wanted,
    choose_protocol,
    parse_wanted,
)
from seaway.node.streaming.run import run_attach, run_exec
from seaway.node.streaming.transport import MAX_MESSAGE_BYTES, CommandPeer, MessageBytes, MessagePeer, StreamPeer

log = logging.getLogger(__name__)

FindPod = Callable[[str, str], tuple[PodManifest, PodState] | None]
RunFor = Callable[[CommandPeer], Awaitable[None]]
CLOSE_SECONDS = 2.0


class Refusal(Exception):
    """An answer instead of a stream."""

    def __init__(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class Streamer:
    """Logs, exec, attach and port-forward for the Pods of one agent."""

    def __init__(self, runtime: Runtime, find_pod: FindPod) -> None:
        self._runtime = runtime
        self._find_pod = find_pod

    async def answer(self, wire: web.BaseRequest, asked: StreamRequest) -> web.StreamResponse:
        """The whole conversation."""
        query = tuple(parse_qsl(wire.rel_url.raw_query_string, keep_blank_values=True))
        try:
            if asked.kind is Stream.LOGS:
                return await self._send_log(wire, asked, query)
            if asked.kind is Stream.FORWARD:
                return await self._forward(wire, asked, query)
            return await self._converse(wire, asked, query)
        except Refusal as refusal:
            return web.Response(status=refusal.status, text=refusal.text, headers=CIMultiDict(refusal.headers))
        except LogRefused as refused:
            return web.Response(status=refused.status, text=refused.text)

    # -- logs ----------------------------------------------------------------------------------------------------------

    async def _send_log(
        self, wire: web.BaseRequest, asked: StreamRequest, query: tuple[tuple[str, str], ...]
    ) -> web.StreamResponse:
        options = parse_log_options(query, wall_now=datetime.now(UTC))
        found = self._find_pod(asked.namespace, asked.pod)
        if found is None:
            raise Refusal(404, f'pod "{asked.pod}" does not exist')
        pod, state = found
        if pod.find_container(asked.container) is None:
            raise Refusal(404, f'container "{asked.container}" not found in pod "{asked.pod}"')
        run = choose_run(
            state.find(asked.container), previous=options.previous, pod=asked.pod, container=asked.container
        )

        def is_running() -> bool:
            now = self._find_pod(asked.namespace, asked.pod)
            return now is not None and now[0].uid == pod.uid and run.is_running and now[1].find(run.name).current == run

        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(wire)
        path = self._runtime.find_log(pod.uid, run.name, run.attempt)
        with contextlib.suppress(ConnectionError):
            try:
                async for piece in read_log(path, options, is_running=is_running):
                    await response.write(piece)
            except FileNotFoundError:
                await response.write(f"unable to retrieve container logs for {run.container_id}".encode())
            await response.write_eof()
        return response

    # -- exec, attach --------------------------------------------------------------------------------------------------

    async def _converse(
        self, wire: web.BaseRequest, asked: StreamRequest, query: tuple[tuple[str, str], ...]
    ) -> web.StreamResponse:
        wanted = parse_wanted(query)
        if wanted is None:
            raise Refusal(400, "you must specify at least 1 of stdin, stdout, stderr")
        container = self._find_running(asked)
        argv = tuple(value for name, value in query if name == "command")

        async def run(peer: CommandPeer) -> None:
            try:
                if asked.kind is Stream.EXEC:
                    await run_exec(self._runtime, container, argv, wanted, peer)
                else:
                    await run_attach(self._runtime, container, wanted, peer)
            except (ConnectionError, TimeoutError) as error:
                log.info("%s pod=%s/%s ended=%r", asked.kind.value, asked.namespace, asked.pod, str(error))

        if _wants(wire, "websocket"):
            return await _over_messages(wire, wanted, run)
        return await _over_streams(wire, wanted, run)

    def _find_running(self, asked: StreamRequest) -> str:
        """The ID of the container that runs. Raises Refusal."""
        pod, state = self._find(asked)
        own = state.find(asked.container)
        if pod.find_container(asked.container) is None or own.current is None or not own.is_running:
            raise Refusal(500, f'container not found ("{asked.container}")')
        return own.current.container_id

    def _find(self, asked: StreamRequest) -> tuple[PodManifest, PodState]:
        found = self._find_pod(asked.namespace, asked.pod)
        if found is None or (asked.uid and found[0].uid != asked.uid):
            raise Refusal(404, "pod does not exist")
        return found

    # -- port-forward --------------------------------------------------------------------------------------------------

    async def _forward(
        self, wire: web.BaseRequest, asked: StreamRequest, query: tuple[tuple[str, str], ...]
    ) -> web.StreamResponse:
        pod, _ = self._find(asked)
        text = f"{asked.namespace}/{asked.pod}"
        if not _wants(wire, "websocket"):
            tunnel, _ = await _open_streams(wire, (FORWARD_PROTOCOL,))
            await StreamForwarder(self._runtime, pod.uid, text, tunnel).run()
            return _leave(tunnel)
        offered = _list_offered(wire)
        if FORWARD_TUNNEL_PROTOCOL in offered:
            socket = await _open_socket(wire, FORWARD_TUNNEL_PROTOCOL)
            await StreamForwarder(self._runtime, pod.uid, text, MessageBytes(socket)).run()
            await _close(socket)
            return socket
        try:
            ports = parse_ports(query)
        except ForwardRefused as error:
            raise Refusal(400, str(error)) from None
        protocol = _choose_message_protocol(offered)
        socket = await _open_socket(wire, protocol)
        with contextlib.suppress(ConnectionError):
            await forward_messages(self._runtime, pod.uid, text, ports, socket, protocol or MESSAGE_PROTOCOLS[3])
        await _close(socket)
        return socket


async def _over_messages(wire: web.BaseRequest, wanted: Wanted, run: RunFor) -> web.StreamResponse:
    protocol = _choose_message_protocol(_list_offered(wire))
    socket = await _open_socket(wire, protocol)
    peer = MessagePeer(socket, protocol or "channel.k8s.io", wanted)
    with contextlib.suppress(ConnectionError):
        await peer.greet()
        await run(peer)
    await _close(socket)
    return socket


async def _over_streams(wire: web.BaseRequest, wanted: Wanted, run: RunFor) -> web.StreamResponse:
    tunnel, protocol = await _open_streams(wire, STREAM_PROTOCOLS)
    peer = StreamPeer(tunnel, protocol, wanted)
    try:
        await peer.open()
    except (TimeoutError, ConnectionError) as error:
        log.info("streams=missing error=%r", str(error) or "timed out waiting for client to create streams")
    else:
        await run(peer)
    return _leave(tunnel)


def _wants(wire: web.BaseRequest, protocol: str) -> bool:
    is_upgrade = "upgrade" in wire.headers.get("Connection", "").lower()
    return is_upgrade and wire.headers.get("Upgrade", "").lower() == protocol


def _list_offered(wire: web.BaseRequest) -> tuple[str, ...]:
    values = wire.headers.getall("Sec-WebSocket-Protocol", ())
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _choose_message_protocol(offered: tuple[str, ...]) -> str:
    """ "" for a client that offers none. Raises Refusal."""
    if not offered:
        return ""
    chosen = choose_protocol(offered, MESSAGE_PROTOCOLS)
    if chosen is None:
        raise Refusal(400, f"unable to upgrade: client supports {list(offered)}, server {list(MESSAGE_PROTOCOLS)}")
    return chosen


async def _open_socket(wire: web.BaseRequest, protocol: str) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=(protocol,) if protocol else (), compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_SECONDS
    )
    await socket.prepare(wire)
    return socket


async def _close(socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.close()


async def _open_streams(wire: web.BaseRequest, supported: tuple[str, ...]) -> tuple[TunnelPeer, str]:
    """The connection after its 101, and the protocol. Raises Refusal. Rule: spec "node" §5.8."""
    values = wire.headers.getall("X-Stream-Protocol-Version", ())
    offered = tuple(part.strip() for value in values for part in value.split(",") if part.strip())
    if not offered:
        text = "unable to upgrade: header X-Stream-Protocol-Version does not exist in request with %d headers"
        raise Refusal(400, text % len(wire.headers))
    chosen = choose_protocol(offered, supported)
    if chosen is None:
        accepted = tuple(("X-Accepted-Stream-Protocol-Versions", name) for name in supported)
        client, server = " ".join(offered), " ".join(supported)
        text = f"unable to upgrade: unable to negotiate protocol: client supports [{client}], server accepts [{server}]"
        raise Refusal(403, text, accepted)
    if not _wants(wire, "spdy/3.1"):
        raise Refusal(400, f"unable to upgrade: missing upgrade headers in request: {dict(wire.headers)}")
    headers = (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", chosen))
    tunnel = TunnelPeer(cast(LeavesHttp, wire.protocol), headers)
    await tunnel.open()
    return tunnel, chosen


def _leave(tunnel: TunnelPeer) -> web.StreamResponse:
    """Close what was a request's connection."""
    tunnel.close()
    return Taken()
