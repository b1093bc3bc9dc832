"""A whole Seaway for tests: API server and control loops over the store in memory, TLS on a free loopback port.

    with SeawayServer() as seaway:
        seaway.apply(manifest)
        subprocess.run(["kubectl", "--kubeconfig", seaway.kubeconfig, "get", "services"])

Everything runs in a thread with a loop of its own. Nothing needs root, and nothing is left: the files are in one
directory below the system's temporary one, which `close` removes, with the sockets and the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from seaway.api.machinery.errors import Expired
from seaway.api.machinery.http import Identity
from seaway.api.registry import NAMESPACES, SERVICE_ACCOUNTS, Resource
from seaway.apiserver.access.credentials import Credentials
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.serve import Serving, serve
from seaway.client.requests import Client
from seaway.pki.issuer import TokenIssuer
from seaway.store.memory import MemoryStore
from seaway.testing.cluster import Cluster, open_cluster
from seaway.testing.credentials import ADMIN, HOST, User, Users, get_authority, get_token_key, write_tls_files
from seaway.testing.faults import Faults, Interposed, make_error_event
from seaway.testing.fixture import AsyncSeaway, Seaway
from seaway.testing.kubelet import iterate_addresses
from seaway.testing.loop import LoopThread
from seaway.testing.loopback import PLAYED_NODE_CIDR, PLAYED_POD_CIDR

if TYPE_CHECKING:
    from seaway.testing.traffic import Traffic

P = ParamSpec("P")
T = TypeVar("T")
NODE_GRACE_SECONDS = 1e8
"""Nobody sends heartbeats for the nodes of a test, and they must not be lost for that."""
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")


class SeawayServer:
    """One server. `start` and `close`, or a block: `with` gives a `Seaway`, `async with` an `AsyncSeaway`.

    controllers: names of control loops, as `seaway controllers --enable` takes them; () for none.
    config: of the API server. pod_cidr, node_cidr: what Pods and Nodes get their addresses from.
    traffic: Pods run as programs of this host, and Services are served on loopback (`traffic.py`).
    """

    def __init__(
        self,
        *,
        controllers: tuple[str, ...] = ("*",),
        config: ServerConfig | None = None,
        pod_cidr: str = "",
        node_cidr: str = "",
        traffic: bool = False,
    ) -> None:
        self.faults = Faults()
        self.has_traffic = traffic
        self.pod_addresses = iterate_addresses(pod_cidr or (PLAYED_POD_CIDR if traffic else "10.244.0.0/16"))
        self.node_addresses = iterate_addresses(node_cidr or (PLAYED_NODE_CIDR if traffic else "192.0.2.0/24"))
        self._traffic: Traffic | None = None
        self._controllers = controllers
        self._config = config or ServerConfig()
        self._loop = LoopThread("seaway-testing")
        self._store = MemoryStore()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._reserved: socket.socket | None = None
        self._running: contextlib.AsyncExitStack | None = None
        self._cluster: Cluster | None = None
        self._serving: Serving | None = None
        self._users: Users | None = None
        self._namespaces = 0

    # Life.

    def start(self) -> SeawayServer:
        """Returns when requests are answered and the control loops follow. Raises what made it impossible."""
        self._loop.start()
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="seaway-", ignore_cleanup_errors=True)
            self._reserved = _reserve_port()
            self._users = Users(self.url, self.folder)
            write_tls_files(self.folder)
            if self.has_traffic:
                from seaway.testing.traffic import Traffic  # brings the agent and the proxy; only who uses it pays

                self._traffic = Traffic(self.folder)
            self._loop.wait(self._open)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop, and remove every trace. Safe to repeat."""
        if self._running is not None:
            self._loop.wait(self._shut)
        if self._traffic is not None:
            traffic, self._traffic = self._traffic, None
            self._loop.wait(traffic.end)
        self._loop.close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Seaway:
        return self.start().in_namespace("default")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> AsyncSeaway:
        await asyncio.to_thread(self.start)
        return self.in_namespace("default").as_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    # Where it is, and who may speak to it.

    @property
    def port(self) -> int:
        """The port on loopback: the same through restarts."""
        if self._reserved is None:
            raise RuntimeError("the Seaway of this test does not run: it was not started, or was closed")
        return int(self._reserved.getsockname()[1])

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return f"https://{HOST}:{self.port}"

    @property
    def ca_pem(self) -> str:
        """The certificate of the authority, PEM."""
        return get_authority().certificate_pem.decode()

    @property
    def traffic(self) -> Traffic:
        """What runs Pods and serves Services. Raises RuntimeError where nothing does."""
        if self._traffic is None:
            raise RuntimeError("this Seaway has no traffic; ask for it: traffic=True")
        return self._traffic

    @property
    def folder(self) -> Path:
        """Where its files are until it closes; `ca.crt` is one of them."""
        assert self._folder is not None
        return Path(self._folder.name)

    def make_user(
        self, name: str, groups: tuple[str, ...] = (), namespace: str = "default", *, has_certificate: bool = True
    ) -> User:
        """Credentials that RBAC judges by the name and the groups."""
        assert self._users is not None
        return self._users.make(name, groups, namespace, has_certificate=has_certificate)

    def forget_user(self, user: User) -> None:
        """The user's token ends, and the kubeconfig file goes."""
        if self._users is not None:
            self._users.forget(user)

    # Namespaces.

    def in_namespace(self, name: str) -> Seaway:
        """The server, seen from a namespace that exists, as its administrator."""
        return Seaway(AsyncSeaway(self, name, self.make_user(*ADMIN, name)))

    @contextlib.contextmanager
    def open_namespace(self, hint: str = "") -> Iterator[Seaway]:
        """A fresh namespace with its default ServiceAccount. At the end it is deleted, and what was made through it.

        hint: becomes part of the name, as far as it can.
        """
        seaway = self.in_namespace(self._choose_name(hint))
        self.wait(self._make_namespace, seaway.namespace)
        try:
            yield seaway
        finally:
            seaway.close()

    def _choose_name(self, hint: str) -> str:
        self._namespaces += 1
        words = _NOT_A_NAME.sub("-", hint.lower()).strip("-")[:40].strip("-")
        return f"test-{self._namespaces}-{words}" if words else f"test-{self._namespaces}"

    async def _make_namespace(self, name: str) -> None:
        client = self.client()
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if "namespace" in self._controllers or ("*" in self._controllers and "-namespace" not in self._controllers):
            await self.cluster.eventually(lambda: self._find_service_account(name))

    async def _find_service_account(self, namespace: str) -> bool:
        return bool((await self.client().list(SERVICE_ACCOUNTS, namespace)).items)

    # Trouble.

    def restart(self) -> None:
        """Stop and start again over the same objects, at the same address: clients lose connections and watches."""
        self.wait(self._shut)
        self.wait(self._open)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Inside the block connections are refused; objects stay as they are."""
        self.wait(self._shut)
        try:
            yield
        finally:
            self.wait(self._open)

    async def cut_watches(self, resource: Resource | None = None, *, expired: bool = False) -> int:
        """End the watches that are open on the wire, of a kind or all; returns how many. On the server's loop.

        expired: with the 410 event after which a client must list again.
        """
        last = make_error_event(Expired("The resourceVersion for the provided watch is too old.")) if expired else b""
        return self.faults.cut_watches(last, resource)

    # The inside.

    def wait(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a coroutine function on the server's loop; the calling thread waits for it."""
        return self._loop.wait(work, *args, **kwargs)

    async def run(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a coroutine of any asyncio loop."""
        return await self._loop.run(work, *args, **kwargs)

    @property
    def cluster(self) -> Cluster:
        """The server in process. Raises RuntimeError while it is stopped."""
        if self._cluster is None:
            raise RuntimeError("the Seaway of this test is stopped")
        return self._cluster

    def client(self) -> Client:
        """An administrator in process, whom no fault concerns. Only for the server's loop."""
        return self.cluster.direct_client()

    async def _open(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self._cluster = cluster = await stack.enter_async_context(
                open_cluster(
                    config=self._traffic.complete(self._config, self.port) if self._traffic else self._config,
                    store=self._store,
                    credentials=self._credentials(),
                    backends=self._traffic.make_backends() if self._traffic is not None else None,
                )
            )
            if self._controllers:
                await cluster.start_controllers(
                    enabled=self._controllers, node_grace_seconds=NODE_GRACE_SECONDS, ca_pem=self.ca_pem
                )
            if self._traffic is not None:
                await stack.enter_async_context(self._traffic.run(cluster))
            self._serving = await stack.enter_async_context(self._serve(cluster.server))
            self._running = stack.pop_all()

    async def _shut(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()
        self._cluster = self._serving = None

    @contextlib.asynccontextmanager
    async def _serve(self, server: ApiServer) -> AsyncIterator[Serving]:
        interposed = cast(ApiServer, Interposed(server, self.faults, self._find_user))
        addresses = (HOST, self._traffic.node_address) if self._traffic is not None else (HOST,)
        listening = [_listen(address, self.port) for address in addresses]
        tls = write_tls_files(self.folder)
        serving = await serve(interposed, tls=tls, listen=listening)
        try:
            yield serving
        finally:
            transports = [connection.transport for connection in getattr(serving._http, "connections", ())]
            await serving.close()
            for transport in transports:
                if transport is not None:
                    transport.abort()  # a client that keeps the connection would hold the loop open: it answers no TLS

    def _find_user(self, token: str) -> Identity | None:
        assert self._users is not None
        return self._users.find_identity(token)

    def _credentials(self) -> Credentials:
        """Service accounts' tokens are signed with this process's key: they survive a restart of the server."""
        return Credentials(issuer=TokenIssuer(get_token_key()), root_ca_pem=self.ca_pem)


def _reserve_port() -> socket.socket:
    """A bound socket that never listens: the port stays ours while the server is down, and connections are refused."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((HOST, 0))
    except BaseException:
        reserved.close()
        raise
    return reserved


def _listen(address: str, port: int) -> socket.socket:
    listening = socket.create_server((address, port), backlog=512)
    listening.setblocking(False)
    return listening
