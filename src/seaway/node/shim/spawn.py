"""Forks: a sandbox's namespaces, a container's first process, a program inside a container.

A container has three processes at its start. The *door* enters the Pod's namespaces, makes a PID and a mount
namespace, forks and is gone; the *init* is PID 1 there: it builds the root, forks the program, passes signals on,
reaps, and ends when the program ends or when the shim does (the lifeline closes); its end kills all that is left.
The program gives up its privileges and is executed. Whatever fails before the exec is written to the report pipe.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from seaway.node.shim import kernel, oci, rootfs
from seaway.node.shim.stdio import Stdio

PASSED_SIGNALS = tuple(
    sorted(
        signal.valid_signals()
        - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
        - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGPIPE}
    )
)
"""Whatever an image may name as its stop signal, real-time signals among them; not what the init itself may earn."""
START_ERROR_CODE = 128
"""The exit code of a run that never began. Rule: spec "node" §2.5."""
MAX_ARGUMENT_BYTES = 6 << 20
"""The kernel's own bound (three quarters of its default stack), however large the stack limit."""
LARGE_STACK_BYTES = 4 * MAX_ARGUMENT_BYTES
KEEPER_SIGNAL = signal.SIGTERM
"""Ends a program that a runtime executed. Its keeper is told: one that is killed itself would leave it behind."""
RAISE_STACK_FROM_BYTES = 1 << 20
"""Below this the usual limit does, and programs keep it: threads take it for the size of their stacks."""
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Open handles of a Pod's namespaces; `net` and `uts` are None on the host's network."""

    ipc: int
    net: int | None
    uts: int | None

    def handles(self) -> tuple[tuple[int, int], ...]:
        """Each handle with its kind."""
        kinds = (
            (self.ipc, kernel.CLONE_NEWIPC),
            (self.net, kernel.CLONE_NEWNET),
            (self.uts, kernel.CLONE_NEWUTS),
        )
        return tuple((handle, kind) for handle, kind in kinds if handle is not None)


def make_namespaces(hostname: str, sysctls: Mapping[str, str], *, host_network: bool) -> Namespaces:
    """A Pod's namespaces, held by nothing but the handles. Raises OSError."""
    made_r, made_w = os.pipe()
    leave_r, leave_w = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(made_r)
        os.close(leave_w)
        _become_namespaces(made_w, leave_r, hostname, sysctls, host_network)
    os.close(made_w)
    os.close(leave_r)
    try:
        report = os.read(made_r, 4096)
        if report != b"ok":
            raise OSError(f"sandbox: {report.decode(errors='replace') or 'ended'}")
        kinds = ("ipc",) if host_network else ("ipc", "net", "uts")
        opened = {kind: os.open(f"/proc/{child}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds}
    finally:
        os.close(made_r)
        os.close(leave_w)
        os.waitpid(child, 0)
    return Namespaces(opened["ipc"], opened.get("net"), opened.get("uts"))


def _become_namespaces(
    made: int, leave: int, hostname: str, sysctls: Mapping[str, str], host_network: bool
) -> NoReturn:
    try:
        if host_network:
            kernel.unshare(kernel.CLONE_NEWIPC)
        else:
            kernel.unshare(kernel.CLONE_NEWIPC | kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS)
            socket.sethostname(hostname)
            _raise_loopback()
        for name, value in sysctls.items():
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(value)
        os.write(made, b"ok")
        os.read(leave, 1)
    except BaseException as error:
        os.write(made, str(error).encode())
    finally:
        os._exit(0)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def spawn_container(
    spec: Mapping[str, Any], namespaces: Namespaces, *, stdio: Stdio, report: int, lifeline: int, last_capability: int
) -> int:
    """Begin a container and return the door's pid.

    The report pipe gets `{"pid": N}`, then an `{"error": …}`, or its end when the exec is done.
    """
    door = os.fork()
    if door:
        return door
    signal.set_wakeup_fd(-1)  # the shim's
    stage = "cgroups"
    try:
        os.setsid()
        cgroups = _open_cgroups(spec)
        stage = "namespaces"
        for handle, kind in namespaces.handles():
            kernel.setns(handle, kind)
        kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
        init = os.fork()
        if init:
            write_report(report, {"pid": init})
            os._exit(0)
        os.umask(0o022)
        if "oci" in spec:
            stage = "container"
            kernel.forbid_inspection()
            close_all_but({report, lifeline, *cgroups} | stdio.handles())
            _make_room(_measure(spec))
            program = oci.begin_container(spec, stdio, lambda: _enter(spec, cgroups))
        else:
            stage = "root"
            rootfs.build_root(spec["steps"])
            stage = "program"
            kernel.forbid_inspection()
            close_all_but({report, lifeline, *cgroups} | stdio.handles())
            program = os.fork()
            if program == 0:
                os.close(lifeline)
                execute(spec, stdio, report, lambda: _give_up_rights(spec, last_capability, cgroups))
        for handle in (report, *cgroups):
            os.close(handle)
        stdio.close()
        _be_init(program, lifeline)
    except BaseException as error:
        write_report(report, {"error": f"{stage}: {error}"})
    finally:
        os._exit(START_ERROR_CODE)


def spawn_in_container(spec: Mapping[str, Any], init: int, *, stdio: Stdio, report: int, last_capability: int) -> int:
    """Begin a program in the namespaces of a container whose init is `init`; reported as by `spawn_container`."""
    door = os.fork()
    if door:
        return door
    signal.set_wakeup_fd(-1)  # the shim's
    try:
        os.setsid()
        kinds = (
            ("ipc", kernel.CLONE_NEWIPC), ("net", kernel.CLONE_NEWNET), ("uts", kernel.CLONE_NEWUTS),
            ("pid", kernel.CLONE_NEWPID), ("mnt", kernel.CLONE_NEWNS),
        )  # fmt: skip
        cgroups = _open_cgroups(spec)
        handles = [(os.open(f"/proc/{init}/ns/{name}", os.O_RDONLY), kind) for name, kind in kinds]
        for handle, kind in handles:
            kernel.setns(handle, kind)
        program = os.fork()
        if program:
            write_report(report, {"pid": program})
            os._exit(0)
        os.umask(0o022)
        close_all_but({report, *cgroups} | stdio.handles())
        if "oci" in spec:
            _be_keeper(spec, stdio, report, cgroups)
        execute(spec, stdio, report, lambda: _give_up_rights(spec, last_capability, cgroups))
    except BaseException as error:
        write_report(report, {"error": str(error)})
    finally:
        os._exit(START_ERROR_CODE)


def _be_keeper(spec: Mapping[str, Any], stdio: Stdio, report: int, cgroups: Sequence[int]) -> NoReturn:
    """Beside a program that a runtime executes: end as it ends, and kill it when told to by KEEPER_SIGNAL."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {KEEPER_SIGNAL})
    kernel.forbid_inspection()
    _make_room(_measure(spec))
    program = oci.begin_program(spec, stdio, lambda: _enter(spec, cgroups))
    for handle in (report, *cgroups):
        os.close(handle)
    stdio.close()
    signal.signal(KEEPER_SIGNAL, lambda number, frame: os.kill(program, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {KEEPER_SIGNAL})
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(decode_status(status))


def _open_cgroups(spec: Mapping[str, Any]) -> list[int]:
    """The files through which a program enters its groups, opened while the host's files are still seen."""
    return [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in spec.get("cgroups", ())]


def _enter_cgroups(handles: Sequence[int]) -> None:
    """Of the calling process alone: the container's init stays where it is. Rule: cgroups(7) (a 0 is the writer)."""
    for handle in handles:
        os.write(handle, b"0")
        os.close(handle)


def _enter(spec: Mapping[str, Any], cgroups: Sequence[int]) -> None:
    """Where the kernel counts what the calling process uses, and what it begins."""
    _enter_cgroups(cgroups)
    _score(spec.get("oom_score", 0))


def _score(oom_score: int) -> None:
    """When the host is out of memory. Rule: proc_pid_oom_score_adj(5)."""
    if oom_score:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(oom_score))


def measure_arguments(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """The bytes that execve(2) counts: each text with its end and its pointer, and the `=` of each variable."""
    return sum(len(os.fsencode(text)) + 9 for text in argv) + sum(
        len(os.fsencode(name)) + len(os.fsencode(value)) + 10 for name, value in environment.items()
    )


def _measure(spec: Mapping[str, Any]) -> int:
    return measure_arguments(spec["argv"], spec["environment"])


def choose_stack_limit(size: int, soft: int, hard: int) -> int | None:
    """The soft stack limit, in bytes, that lets `size` bytes of arguments pass; None: the present one does, or must.

    A program may be given a quarter of its stack limit, and 6 MiB at most: the usual 8 MiB are too little for the
    variables of some six thousand Services. Rule: execve(2), "Limits on size of arguments and environment".
    """
    if size < RAISE_STACK_FROM_BYTES or soft == resource.RLIM_INFINITY or soft >= LARGE_STACK_BYTES:
        return None
    wanted = LARGE_STACK_BYTES if hard == resource.RLIM_INFINITY else min(LARGE_STACK_BYTES, hard)
    return wanted if wanted > soft else None


def _make_room(size: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = choose_stack_limit(size, soft, hard)
    if wanted is not None:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def _give_up_rights(spec: Mapping[str, Any], last_capability: int, cgroups: Sequence[int]) -> None:
    """Enter the groups, and be nobody but the program's user from here on."""
    _enter(spec, cgroups)
    keep = frozenset(kernel.CAPABILITIES[name] for name in spec["capabilities"])
    groups = None if spec["is_sandboxed"] else spec.get("groups", ())
    kernel.become_user(spec["user"], spec["group"], keep, last_capability, groups=groups)


def execute(spec: Mapping[str, Any], stdio: Stdio, report: int, give_up_rights: Callable[[], None]) -> NoReturn:
    """Become the program, in a session of its own. What goes wrong is reported."""
    try:
        os.setsid()
        _take_streams(stdio, spec["user"])
        for number in (*PASSED_SIGNALS, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.set_inheritable(report, False)
        give_up_rights()
        os.chdir(spec["working_dir"] or "/")
        _make_room(_measure(spec))
        os.execvpe(spec["argv"][0], spec["argv"], spec["environment"])
    except OSError as error:
        text = f"exec: {spec['argv'][0]!r}: {error}"
        if error.errno == errno.E2BIG:
            size = _measure(spec)
            text += f"; {size} bytes of arguments and environment found, {MAX_ARGUMENT_BYTES} allowed at most: "
            text += "set enableServiceLinks to false in the Pod to leave the variables of Services out"
        write_report(report, {"error": text})
    except BaseException as error:
        write_report(report, {"error": f"exec: {spec['argv'][0]!r}: {error}"})
    finally:
        os._exit(START_ERROR_CODE)


def _be_init(program: int, lifeline: int) -> NoReturn:
    """PID 1 of the container."""
    wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    for number in (*PASSED_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    poll = select.poll()
    poll.register(wake_r, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    while True:
        _reap_until(program)
        if any(handle == lifeline for handle, _ in poll.poll()):
            os._exit(128 + signal.SIGKILL)
        try:
            received = os.read(wake_r, 256)
        except BlockingIOError:
            continue
        for value in received:
            if value != signal.SIGCHLD:
                os.kill(program, value)


def _reap_until(program: int) -> None:
    """Reap what has ended; the program's end is ours."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(START_ERROR_CODE)
        if pid == 0:
            return
        if pid == program:
            os._exit(decode_status(status))


def decode_status(status: int) -> int:
    """The exit code, or 128 and the number of the signal."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _take_streams(stdio: Stdio, user: int) -> None:
    """The streams as 0, 1 and 2, the report beside them. They never are 0, 1 or 2 before: the shim has those."""
    if stdio.console >= 0:
        _take_terminal(stdio.console, user)
        return
    null = os.open(os.devnull, os.O_RDWR)
    for target, handle in enumerate((stdio.stdin, stdio.stdout, stdio.stderr)):
        os.dup2(handle if handle >= 0 else null, target)
    for handle in {null} | stdio.handles():
        os.close(handle)


def _take_terminal(console: int, user: int) -> None:
    """A terminal of the container's own, controlling this session. Rule: ioctl_tty(2)."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    os.fchown(slave, user, -1)
    with socket.socket(fileno=console) as peer:
        socket.send_fds(peer, [b"t"], [master])
    os.close(master)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for target in (0, 1, 2):
        os.dup2(slave, target)
    if slave > 2:
        os.close(slave)


def close_all_but(keep: set[int]) -> None:
    """Of the descriptors beyond the first three."""
    low = 3
    for handle in sorted(keep):
        os.closerange(low, handle)
        low = handle + 1
    os.closerange(low, 1 << 20)


def write_report(report: int, message: Mapping[str, Any]) -> None:
    os.write(report, json.dumps(message).encode() + b"\n")
