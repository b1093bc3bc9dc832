"""The sandbox: a user, network, mount, PID, UTS and IPC namespace of our own, held by the process that is PID 1 inside.

The end of that process ends all that runs inside. One user is mapped: root inside is whoever started us outside. A
dummy link carries the node's address. Sockets that the API server listens on inside are made here and handed out as
descriptors, because a socket stays in the network namespace that it was made in: no relay is needed for them.
Rule: user_namespaces(7), pid_namespaces(7).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seaway.net import kernel
from seaway.net.errors import OperationalError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

NODE_LINK = "seaway0"
_NO_DUPLICATE_DETECTION = 0x02
"""IFA_F_NODAD: the address is there at once."""
NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWIPC
)
# In the order in which setns(2) allows them: the user namespace first, it gives the right to the others.
NAMESPACE_FILES = ("user", "net", "uts", "ipc", "pid", "mnt")


@dataclass(frozen=True, slots=True)
class Holder:
    """A running sandbox. `pid` is PID 1's number outside; `listener` listens inside on the API server's address.

    `lifeline` ends for the one side when the other ends, however it ends.
    """

    pid: int
    listener: socket.socket
    lifeline: socket.socket


@dataclass(frozen=True, slots=True)
class Inside:
    """What a sandbox has: the node's addresses, one per family, and the API server's port on the first."""

    node_ips: tuple[str, ...]
    secure_port: int


def start_holder(wanted: Inside, inner: Callable[[socket.socket], None]) -> Holder:
    """Fork PID 1 of a new sandbox, which runs `inner` once the namespaces are made. Raises OperationalError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    middle = os.fork()
    if middle == 0:
        ours.close()
        _middle(theirs, wanted, inner)
    theirs.close()
    data, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    os.waitpid(middle, 0)
    word, _, rest = data.decode().partition(" ")
    if word != "pid" or not fds:
        raise OperationalError(f"sandbox: {rest or 'ended before it stood'}; see seaway up --network none")
    return Holder(int(rest), socket.socket(fileno=fds[0]), ours)


INNER_STOP_SECONDS = 1.5
"""For the pieces inside, before they are killed: their Pods and rules end with the sandbox anyway."""


def end_holder(holder: Holder, *, seconds: float = INNER_STOP_SECONDS + 0.5) -> None:
    """Let PID 1 stop what it runs, and kill it when it takes too long."""
    holder.lifeline.settimeout(seconds)
    try:
        holder.lifeline.shutdown(socket.SHUT_WR)
        holder.lifeline.recv(1)
    except OSError:
        os.kill(holder.pid, signal.SIGKILL)
    holder.lifeline.close()


def _middle(report: socket.socket, wanted: Inside, inner: Callable[[socket.socket], None]) -> None:
    """Make the namespaces, fork PID 1, say its number as seen outside, and end."""
    try:
        make_namespaces()
        if os.fork():
            os._exit(0)
        _first(report, wanted, inner)
    except BaseException as error:
        report.send(f"error {error}".encode())
        os._exit(1)


def make_namespaces() -> None:
    """Unshare all, with one user mapped to root. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(NAMESPACES)
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def _first(lifeline: socket.socket, wanted: Inside, inner: Callable[[socket.socket], None]) -> None:
    outer_pid = _pid_outside()
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    set_up_links(wanted.node_ips)
    listener = socket.create_server((wanted.node_ips[0], wanted.secure_port), backlog=512)
    socket.send_fds(lifeline, [f"pid {outer_pid}".encode()], [listener.fileno()])
    listener.close()
    inner(lifeline)
    os._exit(0)


def _pid_outside() -> int:
    """This process's number in the namespace whose /proc is mounted (still the outer one)."""
    return int(os.readlink("/proc/self"))


def set_up_links(node_ips: Sequence[str]) -> None:
    """Loopback up, and a link with the node's addresses, which the proxy's routes to Services name.

    Everything else is unreachable at once: there is no way out of a sandbox.
    """
    from pyroute2 import IPRoute

    with IPRoute() as route:
        route.link("set", index=1, state="up")
        _add_node_link(route)
        index = route.link_lookup(ifname=NODE_LINK)[0]
        route.link("set", index=index, state="up")
        for address in node_ips:
            if ":" in address:
                route.addr("add", index=index, address=address, prefixlen=128, flags=_NO_DUPLICATE_DETECTION)
                route.route("add", dst="::/0", type="unreachable", family=socket.AF_INET6)
                _forward_ipv6()
            else:
                route.addr("add", index=index, address=address, prefixlen=32)
                route.route("add", dst="0.0.0.0/0", type="unreachable")


def _forward_ipv6() -> None:
    """Between Pods. The switch of a single link is of Linux 6.17; in here all are ours."""
    with open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as file:
        file.write("1")


def _add_node_link(route: IPRoute) -> None:
    """A dummy link; where the kernel has none, a veth pair of which one end is left alone."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        route.link("add", ifname=NODE_LINK, kind="dummy")
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        route.link("add", ifname=NODE_LINK, kind="veth", peer={"ifname": f"{NODE_LINK}p"})
        route.link("set", index=route.link_lookup(ifname=f"{NODE_LINK}p")[0], state="up")


def enter(pid: int) -> None:
    """Enter the namespaces of a running sandbox; a PID namespace counts for children only. Raises OSError."""
    fds = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in NAMESPACE_FILES]
    for fd in fds:
        kernel.setns(fd)
        os.close(fd)
