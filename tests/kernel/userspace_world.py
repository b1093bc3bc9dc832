"""What tests of the userspace plane on a kernel share: servers in Pods that read headers and talk on, and clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from seaway.proxy.userspace.proxyprotocol import decode_header
from seaway.testing.netns import Namespace

T = TypeVar("T")
SECONDS = 10.0


class NamespaceLoop:
    """An event loop in a thread of its own, which stays in the namespace where it began."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._namespace.entered():
            asyncio.set_event_loop(self.loop)
            self.loop.run_forever()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return self.wait(run())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SECONDS)
        self.loop.close()


class _Talker(asyncio.Protocol):
    """Greets with its name, whom it sees, and whom that asked for; then sends back whatever comes."""

    def __init__(self, name: str, *, reads_header: bool, opened: set[asyncio.Transport]) -> None:
        self._name, self._reads_header, self._opened = name, reads_header, opened
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._opened.add(transport)
        if not self._reads_header:
            self._greet(transport.get_extra_info("peername")[0], "-")

    def connection_lost(self, error: Exception | None) -> None:
        self._opened.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if not self._reads_header:
            self._transport.write(data)
            return
        self._buffer += data
        if (found := decode_header(self._buffer)) is None:
            return
        ends, size = found
        self._reads_header = False
        assert ends is not None
        self._greet(ends.client.address, f"{ends.asked.address}:{ends.asked.port}")
        if rest := self._buffer[size:]:
            self._transport.write(rest)

    def _greet(self, client: str, asked: str) -> None:
        self._transport.write(f"{self._name} {client} {asked}\n".encode())


class Talkers:
    """Servers in Pods. `port` greets at once, `port + 1` reads a PROXY header first."""

    def __init__(self, thread: NamespaceLoop, port: int) -> None:
        self._thread, self._port = thread, port
        self._servers: dict[str, list[asyncio.Server]] = {}
        self._opened: dict[str, set[asyncio.Transport]] = {}

    def start(self, namespace: Namespace, name: str) -> None:
        self._opened[name] = set()
        for reads_header in (False, True):
            with namespace.entered():
                sock = socket.create_server(
                    ("::", self._port + reads_header), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=True
                )

            async def serve(sock: socket.socket = sock, reads_header: bool = reads_header) -> asyncio.Server:
                def make() -> _Talker:
                    return _Talker(name, reads_header=reads_header, opened=self._opened[name])

                return await self._thread.loop.create_server(make, sock=sock)

            self._servers.setdefault(name, []).append(self._thread.wait(serve()))

    def stop(self, name: str) -> None:
        """From now on it refuses; connections that are there end."""

        def stop() -> None:
            for server in self._servers.pop(name, ()):
                server.close()
            for transport in list(self._opened[name]):
                transport.abort()

        self._thread.call(stop)

    def close(self) -> None:
        for name in list(self._servers):
            self.stop(name)


@dataclass
class Talk:
    """A connection of a client that goes on."""

    sock: socket.socket
    server: str
    seen: str
    asked: str

    def says(self, text: str) -> bool:
        """Whether what is sent comes back."""
        try:
            self.sock.sendall(f"{text}\n".encode())
            return _read_line(self.sock) == text
        except OSError:
            return False

    def wait_end(self) -> None:
        """Until the other side says that nothing more comes. Raises TimeoutError."""
        while self.sock.recv(4096):
            pass


@contextlib.contextmanager
def talk(namespace: Namespace, address: str, port: int) -> Iterator[Talk]:
    """A connection, once the endpoint has greeted. Raises OSError."""
    with namespace.entered():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    with sock:
        sock.settimeout(SECONDS)
        sock.connect((address, port))
        server, seen, asked = _read_line(sock).split()
        yield Talk(sock, server, seen.removeprefix("::ffff:"), asked)


def _read_line(sock: socket.socket) -> str:
    found = b""
    while not found.endswith(b"\n"):
        data = sock.recv(4096)
        if not data:
            raise ConnectionError(f"ended after {found!r}")
        found += data
    return found.decode().rstrip()


class Asking:
    """A client that connects again and again, in a thread, and notes what fails."""

    def __init__(self, namespace: Namespace, address: str, port: int) -> None:
        self._namespace, self._address, self._port = namespace, address, port
        self.answered = 0
        self.failed: list[str] = []
        self._is_ending = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="asking", daemon=True)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending = True
        self._thread.join(SECONDS)

    def wait_for(self, count: int) -> None:
        """Until so many connections were answered, or failed."""
        with self._progress:
            assert self._progress.wait_for(lambda: self.answered + len(self.failed) >= count, SECONDS)

    def _run(self) -> None:
        while not self._is_ending:
            try:
                with talk(self._namespace, self._address, self._port):
                    pass
            except OSError as error:
                self.failed.append(repr(error))
            else:
                self.answered += 1
            with self._progress:
                self._progress.notify_all()
