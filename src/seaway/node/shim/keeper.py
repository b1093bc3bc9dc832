"""Programs without namespaces: a keeper is the parent of a program and of whatever that leaves behind.

Where no namespace can be made, nothing of the kernel's ends a container's processes together. So each program has a
keeper, a child of the shim, in the place of the init that has a PID namespace (`spawn.py`):

1. It is a subreaper: what descends from the program stays below it, in whatever session or group.
2. It ends when the program ends, with its exit code, and when its leash is let go: the shim's end of a pipe, which
   closes with the shim, however that ends. Before it ends it has killed all that is below it, and waited for that.
3. A program executed in a container has a keeper too. What it leaves running may stay until the container ends.

Killed itself, a keeper leaves its descendants to the shim, which kills them (`end_strays`), and the program ends with
it by the kernel's parent-death signal. Programs gain no rights by an exec, so all of them can be killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Collection, Mapping
from typing import Any

from seaway.node.shim import kernel
from seaway.node.shim.descent import choose_descendants, kill_all, read_parents
from seaway.node.shim.spawn import (
    PASSED_SIGNALS,
    START_ERROR_CODE,
    Stdio,
    close_all_but,
    decode_status,
    execute,
    write_report,
)

KILLED_CODE = 128 + signal.SIGKILL


def spawn_kept(spec: Mapping[str, Any], *, stdio: Stdio, report: int, leash: int, is_exec: bool) -> int:
    """Begin a program and return its keeper's pid. leash: the keeper's end.

    The report pipe gets an `{"error": …}`, or its end when the exec is done; of a program executed in a container,
    its `{"exit_code": N}` when that has ended, and the end then.
    """
    keeper = os.fork()
    if keeper:
        return keeper
    code = START_ERROR_CODE
    try:
        os.setsid()
        kernel.become_subreaper()
        os.umask(0o022)
        close_all_but({report, leash} | stdio.handles())
        wake, own = _listen_to_signals(), os.getpid()
        program = os.fork()
        if program == 0:
            execute(spec, stdio, report, lambda: _stay_below(own))
        stdio.close()
        if not is_exec:
            os.close(report)
        code = _keep(program, wake, leash)
        if is_exec and code != KILLED_CODE:
            write_report(report, {"exit_code": code})
            os.close(report)
            _linger(wake, leash)
        _end_descendants()
    except BaseException as error:
        with contextlib.suppress(OSError):
            write_report(report, {"error": f"program: {error}"})
    finally:
        os._exit(code)


def end_strays(known: Collection[int]) -> bool:
    """Kill what descends from this process, but for its known children and theirs. Whether there was anything."""
    parents = read_parents()
    own = os.getpid()
    strays = {pid for pid, parent in parents.items() if parent == own} - set(known)
    kill_all(strays | choose_descendants(strays, parents))
    return bool(strays)


def _stay_below(keeper: int) -> None:
    """The program ends with its keeper, which never starts another one."""
    kernel.forbid_gain()
    kernel.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != keeper:
        raise ChildProcessError("the keeper has ended")


def _listen_to_signals() -> int:
    wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    for number in (*PASSED_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    return wake_r


def _keep(program: int, wake: int, leash: int) -> int:
    """Pass signals on until the program has ended, or must; its exit code."""
    poll = _watch(wake, leash)
    while True:
        code = _reap(program)
        if code is not None:
            return code
        if any(handle == leash for handle, _ in poll.poll()):
            return KILLED_CODE
        for number in _read_signals(wake):
            if number != signal.SIGCHLD:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(program, number)


def _linger(wake: int, leash: int) -> None:
    """Until nothing is left of what the program began, or it must end."""
    poll = _watch(wake, leash)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if any(handle == leash for handle, _ in poll.poll()):
            return
        _read_signals(wake)


def _watch(wake: int, leash: int) -> select.poll:
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(leash, select.POLLIN)
    return poll


def _read_signals(wake: int) -> bytes:
    try:
        return os.read(wake, 256)
    except BlockingIOError:
        return b""


def _reap(program: int) -> int | None:
    """Reap what has ended; the program's exit code when it is among them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        if pid == program:
            return decode_status(status)


def _end_descendants() -> None:
    """Until there is none. Those of a killed child become ours, so each round sees what the last one could not."""
    while True:
        kill_all(choose_descendants((os.getpid(),), read_parents()))
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
