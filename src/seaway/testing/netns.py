"""Network namespaces for tests: made without names, gone when closed. Sockets made inside one stay in it.

with Namespace() as node, node.entered():
    socket.socket(…)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator
from types import TracebackType

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace, with `lo` up. Raises PermissionError without CAP_SYS_ADMIN."""

    def __init__(self) -> None:
        outer = _open_own()
        try:
            _check(_libc.unshare(_CLONE_NEWNET))
            try:
                self._fd = _open_own()
            finally:
                _check(_libc.setns(outer, _CLONE_NEWNET))
        finally:
            os.close(outer)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """A file that other programs can open as this namespace, as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and programs started by it, are in the namespace."""
        outer = _open_own()
        try:
            _check(_libc.setns(self._fd, _CLONE_NEWNET))
            yield
        finally:
            _check(_libc.setns(outer, _CLONE_NEWNET))
            os.close(outer)

    def run(self, *argv: str, stdin: str = "") -> str:
        """What the program prints. Raises RuntimeError with what it says when it fails."""
        with self.entered():
            done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def write_sysctl(self, name: str, value: str) -> None:
        """Set a sysctl of the namespace, named like `net/ipv4/ip_forward`."""
        with self.entered(), open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write(value)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(a: Namespace, a_name: str, b: Namespace, b_name: str) -> None:
    """A pair of veths, one end in each, both up."""
    a.run("ip", "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", b.path)
    a.run("ip", "link", "set", a_name, "up")
    b.run("ip", "link", "set", b_name, "up")


class EchoServers:
    """Servers in one thread, each answering a connection or datagram with its name and the address that it sees."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_up, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="echo-servers", daemon=True)

    def listen(self, namespace: Namespace, name: str, port: int) -> None:
        """Serve TCP and UDP on all addresses of the namespace. Only before `start`."""
        with namespace.entered():
            stream = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
            datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind(("::", port))
        for sock in (stream, datagrams):
            self._selector.register(sock, selectors.EVENT_READ, name)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._wake_up.send(b"x")
            self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake_up.close()

    def __enter__(self) -> EchoServers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(OSError):
                    _answer(key.fileobj, str(key.data))


def _answer(sock: socket.socket, name: str) -> None:
    if sock.type == socket.SOCK_STREAM:
        connection, peer = sock.accept()
        with connection:
            connection.sendall(_describe(name, peer[0]))
    else:
        _, peer = sock.recvfrom(2048)
        sock.sendto(_describe(name, peer[0]), peer)


def _describe(name: str, address: str) -> bytes:
    return f"{name} {address.removeprefix('::ffff:')}".encode()


def ask(
    namespace: Namespace, address: str, port: int, *, udp: bool = False, timeout_seconds: float = 2.0, source: str = ""
) -> tuple[str, str]:
    """(name, seen source) of the server that answers. Raises OSError: refused, timed out, not permitted.

    source: the address to ask from; "": the one that routing picks.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.entered():
        sock = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    with sock:
        sock.settimeout(timeout_seconds)
        if source:
            sock.bind((source, 0))
        sock.connect((address, port))
        if udp:
            sock.send(b"?")
        name, source = sock.recv(2048).decode().split()
        return name, source


def _open_own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
