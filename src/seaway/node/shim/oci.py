"""A container that an OCI runtime (crun, runc) builds, and programs executed in it.

The runtime is a visitor. The container's init (`spawn.py`) is in the Pod's namespaces and in a PID and a mount
namespace of its own when it calls the runtime, and the runtime leaves again when the program runs (`--detach`): the
program is then the init's child, as any other container's. Bundle and state of the runtime are on a tmpfs that only
the init's mount namespace has. So whoever is killed at whatever moment, what is left goes with the namespaces: no state
directory, no mount and no process of a runtime survives its container.

A program that is executed has a keeper beside it, which calls the runtime, waits for the program, and ends as it ended.
Rule: OCI runtime-spec, "runtime.md"; the command line is runc's, which crun shares.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seaway.node.shim import kernel
from seaway.node.shim.stdio import Stdio

NAME = "container"
"""Of each: a state directory has one."""
_STATE, _LOG, _EMPTY = "state", "log", "empty"
_CGROUPS = "/sys/fs/cgroup"
_MAX_LOG_BYTES = 1 << 16
_NOT_EXECUTED = 127
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

Json = Mapping[str, Any]


class OciError(Exception):
    """The runtime refused; the text is its own."""


def begin_container(spec: Json, stdio: Stdio, enter: Callable[[], None]) -> int:
    """The pid of the container's program, a child of the caller: the init, which sees nothing of the host afterwards.

    enter: called by the process that becomes the runtime: the program is in its control groups, the caller is not.
    Raises OSError, OciError.
    """
    oci = spec["oci"]
    _make_bundle(oci)
    os.chdir(oci["directory"])
    process = make_process(oci["config"]["process"], spec, has_terminal=stdio.console >= 0)
    _write_json("config.json", {**oci["config"], "process": process})
    program = _call(oci, ["run", "--no-new-keyring", "--bundle", "."], stdio, enter)
    os.mkdir(_EMPTY, 0o500)
    _leave_host()
    return program


def begin_program(spec: Json, stdio: Stdio, enter: Callable[[], None]) -> int:
    """The pid of a program in the container, a child of the caller, who is in the init's namespaces until then.

    Raises OSError, OciError.
    """
    oci = spec["oci"]
    os.chdir(oci["directory"])
    kernel.become_subreaper()
    name = f"{os.getpid()}.process"
    _write_json(name, make_process(oci["config"]["process"], spec, has_terminal=stdio.console >= 0))
    try:
        program = _call(oci, ["exec", "--process", name], stdio, enter)
    finally:
        os.unlink(name)
    _leave_host()
    return program


def _leave_host() -> None:
    """What the container finds as the root of a process of ours, should it ever be let look, is an empty directory."""
    os.chroot(_EMPTY)
    os.chdir("/")


def make_process(process: Json, spec: Json, *, has_terminal: bool) -> dict[str, Any]:
    """`process` of the configuration, for the program that the spec says."""
    variables = [f"{name}={value}" for name, value in spec["environment"].items()]
    return {**process, "terminal": has_terminal, "args": list(spec["argv"]), "env": variables}


def _make_bundle(oci: Json) -> None:
    """In a mount namespace that is the caller's alone."""
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    if os.path.ismount(_CGROUPS) and oci["hides_cgroups"]:
        kernel.mount("tmpfs", _CGROUPS, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=555,size=4k")
    elif os.path.ismount(_CGROUPS):
        kernel.restrict_mount(_CGROUPS, kernel.MOUNT_ATTR_RDONLY)
    directory = oci["directory"]
    kernel.mount("tmpfs", directory, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=700,size=64m")
    root = f"{directory}/{oci['config']['root']['path']}"
    os.mkdir(root, 0o755)
    if oci["overlay"]:
        kernel.mount("overlay", root, "overlay", kernel.MS_NOSUID | kernel.MS_NODEV, oci["overlay"])


def _call(oci: Json, command: Sequence[str], stdio: Stdio, enter: Callable[[], None]) -> int:
    """The pid of what the command has begun. The working directory is the bundle: a socket's address is short."""
    prefix = str(os.getpid())
    said = f"{prefix}.{_LOG}"
    argv = [oci["program"], *oci["options"], "--root", _STATE, "--log", said, "--log-format", "json"]
    argv += [*command, "--detach", "--pid-file", f"{prefix}.pid"]
    listener = None
    try:
        if stdio.console >= 0:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            listener.bind(f"{prefix}.console")
            listener.listen(1)
            argv += ["--console-socket", f"{prefix}.console"]
        _, status = os.waitpid(_spawn([*argv, NAME], stdio, enter), 0)
        if status:
            raise OciError(_read_log(said) or f"{oci['program']}: ended with code {os.waitstatus_to_exitcode(status)}")
        if listener is not None:
            _pass_terminal(listener, stdio.console)
        with open(f"{prefix}.pid") as file:
            return int(file.read())
    finally:
        if listener is not None:
            listener.close()
        for name in (said, f"{prefix}.pid", f"{prefix}.console"):
            if os.path.lexists(name):
                os.unlink(name)


def _spawn(argv: Sequence[str], stdio: Stdio, enter: Callable[[], None]) -> int:
    """The pid of the runtime, with the program's streams."""
    runtime = os.fork()
    if runtime:
        return runtime
    try:
        enter()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for target, handle in enumerate((stdio.stdin, stdio.stdout, stdio.stderr)):
            os.dup2(handle if handle >= 0 else null, target)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(argv[0], list(argv), _ENVIRONMENT)
    except BaseException as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(_NOT_EXECUTED)


def _pass_terminal(listener: socket.socket, console: int) -> None:
    """The master of the terminal that the runtime made. It has been sent: the runtime has ended."""
    listener.setblocking(False)
    with listener.accept()[0] as connection:
        connection.setblocking(False)
        _, masters, _, _ = socket.recv_fds(connection, 4096, 1)
    with socket.socket(fileno=os.dup(console)) as peer:
        socket.send_fds(peer, [b"t"], masters)
    for master in masters:
        os.close(master)


def _read_log(name: str) -> str:
    """The errors that the runtime wrote there, each a line of JSON with its text as `msg`."""
    try:
        with open(name) as file:
            lines = file.read(_MAX_LOG_BYTES).splitlines()
    except OSError:
        return ""
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") == "error":
            found.append(str(entry.get("msg", "")).strip())
    return "; ".join(dict.fromkeys(found))


def _write_json(name: str, value: Any) -> None:
    with open(name, "w") as file:
        json.dump(value, file)
