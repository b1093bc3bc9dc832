"""Watches over WebSockets, and what else may come over them. Rule: spec "api-machinery" §7.5, §10.1."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.http import Identity, Messages, Request, Response, Upgrade
from seaway.apiserver.upgrade import (
    TOKEN_PROTOCOL,
    is_valid_origin,
    list_protocols,
    wants_websocket,
)
from tests.apiserver.conversation import CONFIG_MAPS
from tests.apiserver.running import WAIT_SECONDS, Running, running

ORIGIN = "https://dashboard.example"


async def make(server: Running, name: str) -> None:
    obj = {"metadata": {"name": name}}
    async with server.session(token="good") as session, session.post(f"{server.url}{CONFIG_MAPS}", json=obj) as answer:
        assert answer.status == 201


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_each_event_is_one_text_message_and_what_the_client_says_is_ignored(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def conversation(server: Running) -> None:
        await make(server, "a")
        await make(server, "b")
        async with server.session(token="good") as session:
            async with session.ws_connect(f"{server.url}{CONFIG_MAPS}?watch=1", origin=ORIGIN) as watch:
                names = []
                for _ in range(2):
                    message = await watch.receive(WAIT_SECONDS)
                    assert message.type is aiohttp.WSMsgType.TEXT and not message.data.endswith("\n")
                    names.append(json.loads(message.data)["object"]["metadata"]["name"])
                assert names == ["a", "b"]
                await watch.send_str("hello?")
                await watch.send_bytes(b"\x00anybody?")
                await make(server, "c")
                event = json.loads((await watch.receive(WAIT_SECONDS)).data)
                assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "c")
                closing = asyncio.ensure_future(server.serving.close())
                assert (await watch.receive(WAIT_SECONDS)).type is aiohttp.WSMsgType.CLOSE
            await closing

    running(tmp_path, conversation, loop_factory=loop_factory)


def test_a_client_that_closes_is_forgotten(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            async with session.ws_connect(f"{server.url}{CONFIG_MAPS}?watch=1", origin=ORIGIN):
                await server.until(lambda: len(server.server.state.streams) == 1)
            await server.until(lambda: not server.server.state.streams)

    running(tmp_path, conversation)


def test_a_watch_from_nowhere_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            for origin in (None, "", "nonsense"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                    await session.ws_connect(f"{server.url}{CONFIG_MAPS}?watch=1", origin=origin)
                assert raised.value.status == 403
        assert not server.server.state.streams

    running(tmp_path, conversation)


def test_refusals_before_the_watch_are_ordinary_answers(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session() as nobody:
            with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                await nobody.ws_connect(f"{server.url}{CONFIG_MAPS}?watch=1", origin=ORIGIN)
            assert raised.value.status == 403
        async with server.session(token="good") as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                await session.ws_connect(f"{server.url}{CONFIG_MAPS}?watch=1&labelSelector=,,", origin=ORIGIN)
            assert raised.value.status == 400

    running(tmp_path, conversation)


def test_a_token_among_the_subprotocols_counts_and_is_not_said_back(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        token = TOKEN_PROTOCOL + base64.urlsafe_b64encode(b"good").decode().rstrip("=")
        async with server.session() as session:
            target = f"{server.url}{CONFIG_MAPS}?watch=1"
            async with session.ws_connect(target, origin=ORIGIN, protocols=(token, "watch.example")) as watch:
                assert watch.protocol == "watch.example"
            wrong = TOKEN_PROTOCOL + base64.urlsafe_b64encode(b"bad").decode().rstrip("=")
            with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                await session.ws_connect(target, origin=ORIGIN, protocols=(wrong, "watch.example"))
            assert raised.value.status == 401

    running(tmp_path, conversation)


def test_a_verb_may_hold_a_conversation_of_its_own(tmp_path: Path) -> None:
    """The seam for exec, attach and port-forward: subprotocols by the verb's preference, messages both ways."""

    async def conversation(server: Running) -> None:
        async def echo(peer: Messages) -> None:
            while (message := await peer.receive()) is not None:
                await peer.send(message)

        async def handle(request: Request, identity: Identity) -> Response:
            return Response(101, upgrade=Upgrade(echo, ("v5.channel.k8s.io", "v4.channel.k8s.io"), listens=True))

        server.server.handle = handle  # type: ignore[method-assign]
        async with server.session(token="good") as session:
            offered = ("v4.channel.k8s.io", "v5.channel.k8s.io")
            async with session.ws_connect(f"{server.url}/exec", protocols=offered) as peer:
                assert peer.protocol == "v5.channel.k8s.io"
                await peer.send_bytes(b"\x00in")
                assert (await peer.receive(WAIT_SECONDS)).data == b"\x00in"
                await peer.send_str("text")
                assert (await peer.receive(WAIT_SECONDS)).data == "text"

    running(tmp_path, conversation)


# Pure parts.


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        pytest.param({"upgrade": "websocket", "connection": "Upgrade"}, True, id="as browsers ask"),
        pytest.param({"upgrade": "WebSocket", "connection": "keep-alive, upgrade"}, True, id="among other words"),
        pytest.param({"upgrade": "SPDY/3.1", "connection": "upgrade"}, False, id="another protocol"),
        pytest.param({"upgrade": "websocket"}, False, id="no upgrade of the connection"),
        pytest.param({}, False, id="nothing at all"),
    ],
)
def test_which_requests_ask_for_a_websocket(headers: dict[str, str], wanted: bool) -> None:
    assert wants_websocket(headers) is wanted


@pytest.mark.parametrize(
    ("origin", "is_valid"),
    [
        ("https://a.example", True),
        ("http://localhost:8001", True),
        ("http://[::1]:80", True),
        ("", False),
        ("null", False),
        ("a.example", False),
        ("https://", False),
        ("https://a:b", False),
        ("https://[::1", False),
    ],
)
def test_which_origins_are_urls(origin: str, is_valid: bool) -> None:
    assert is_valid_origin(origin) is is_valid


@given(st.text(max_size=200))
def test_law_any_origin_and_any_subprotocols_are_looked_at_without_harm(text: str) -> None:
    assert is_valid_origin(text) in (True, False)
    headers = {"sec-websocket-protocol": f"x,{TOKEN_PROTOCOL}{text}"}
    assert not any(name.startswith(TOKEN_PROTOCOL) for name in list_protocols(headers))
