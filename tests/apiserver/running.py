"""A server that listens on loopback and on a unix socket, and clients for it: polite ones and bare bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.credentials import Credentials, digest_token
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.overload.limits import ConnectionLimits
from seaway.apiserver.proxying.verb import Backends
from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import Ending, Serving, TcpListener, UnixListener, serve
from seaway.apiserver.serving.logfile import LogFile
from seaway.client.transport import HttpTransport
from seaway.store.contract import Store
from seaway.store.memory import MemoryStore
from tests.apiserver.certificates import Authority

WAIT_SECONDS = 20.0
"""For what must happen; nothing is told by how long it took."""
USERS = ("greedy", "polite")
CLUSTER_ADMINS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "test-users"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"} for name in USERS],
}


@dataclass
class Running:
    """The server, and ways to it."""

    serving: Serving
    server: ApiServer
    authority: Authority
    socket_path: Path

    @property
    def port(self) -> int:
        return self.serving.addresses[0][1]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def over_unix(self, **credentials: Path) -> HttpTransport:
        return HttpTransport("", unix_socket=self.socket_path, ca_file=self.authority.path, **credentials)

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.path))

    def session(self, *, user: str = "", token: str = "", connections: int = 100) -> aiohttp.ClientSession:
        context = self.context()
        if user:
            certificate, key = self.authority.issue(user, user, "system:masters")
            context.load_cert_chain(certificate, key)
        connector = aiohttp.TCPConnector(ssl=context, limit=connections)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return aiohttp.ClientSession(connector=connector, headers=headers)

    async def dial(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection over TLS: the test writes the bytes."""
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context(), **options)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the server is in that state; the test fails when it never is."""
        for _ in range(int(WAIT_SECONDS / 0.005)):
            if holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("the server never came to that state")


CREDENTIALS = Credentials(
    static_tokens={
        digest_token("good"): Identity("robot", ("system:masters",)),
        **{digest_token(name): Identity(name) for name in USERS},
    }
)
"""`good` is a member of system:masters; greedy and polite are users; nobody else is known."""


def running(
    tmp_path: Path,
    conversation: Callable[[Running], Awaitable[None]],
    *,
    credentials: Credentials = CREDENTIALS,
    front_proxy: tuple[Path | None, tuple[str, ...]] = (None, ()),
    store: Store | None = None,
    backends: Backends | None = None,
    config: ServerConfig | None = None,
    limits: ConnectionLimits | None = None,
    access_log: LogFile | None = None,
    end: Ending | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Hold the conversation with a fresh server on real sockets."""

    async def run() -> None:
        chosen = store or MemoryStore()
        server = await open_server(
            config or ServerConfig(), chosen, credentials=credentials, backends=backends, runs_loops=False
        )
        authority, path = Authority(tmp_path), tmp_path / "api.sock"
        inherited = socket.create_server(("127.0.0.1", 0))
        serving = await serve(
            server,
            tls=replace(authority.serving(), front_proxy_ca=front_proxy[0], front_proxy_names=front_proxy[1]),
            listen=(TcpListener("127.0.0.1", 0), UnixListener(path), inherited),
            limits=limits,
            access_log=access_log,
            end=end,
        )
        try:
            await asyncio.wait_for(conversation(Running(serving, server, authority, path)), 3 * WAIT_SECONDS)
        finally:
            await serving.close()
            await serving.close()
            await server.close()
            await chosen.close()
            await asyncio.sleep(0.01)  # lets the loop take its closed transports off the selector

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One answer with a length, or up to the end of the connection: status, headers (lower case), body."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers:
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), WAIT_SECONDS)
    else:
        body = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    return int(first.split(" ")[1]), headers, body


async def read_rest(reader: asyncio.StreamReader) -> bytes | None:
    """What comes until the end of the connection; None when it was broken off."""
    try:
        return await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    except (ConnectionError, ssl.SSLError):
        return None
