"""The shim's loop: requests on a unix socket, output of containers, ends of processes.

One connection, one request, as a line of JSON; the answer is a line of JSON, and only `watch` goes on with more.
Requests: sandbox, start, signal, kill, exec, forget, drop_sandbox, list, watch, stop. Answers have `error`, or not.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seaway.node.shim import kernel, spawn
from seaway.node.shim.logs import LogFile

SOCKET = "shim.sock"
MAX_REQUEST_BYTES = 8 * 1024 * 1024
MAX_EXEC_OUTPUT_BYTES = 10 * 1024
"""What a probe's message may hold. Rule: spec "node" §2.8."""

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class Connection:
    """A client; `buffer` is what it has sent of its request."""

    socket: socket.socket
    buffer: bytes = b""
    is_watching: bool = False

    def send(self, message: Json) -> None:
        """A client that does not read what it asked for is left behind."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")


@dataclass(slots=True)
class SandboxRecord:
    """A Pod's namespaces. `labels` are the agent's."""

    uid: str
    namespaces: spawn.Namespaces
    labels: Json


@dataclass(slots=True)
class Program:
    """A container's init, or a program executed in a container (`exec_for` is who waits for it)."""

    id: str
    labels: Json
    spec: Json
    pid: int = 0
    started_at: float = 0.0
    finished_at: float | None = None
    exit_code: int = 0
    error: str = ""
    report: bytes = b""
    asker: Connection | None = None
    is_exec: bool = False
    log: LogFile | None = None
    output: bytes = b""
    output_open: bool = True
    report_open: bool = True
    deadline: float | None = None
    timed_out: bool = False

    def describe(self) -> Json:
        """As clients see it."""
        return {
            "id": self.id, "labels": self.labels, "pid": self.pid, "started_at": self.started_at,
            "finished_at": self.finished_at, "exit_code": self.exit_code, "error": self.error,
        }  # fmt: skip


@dataclass(slots=True)
class Shim:
    """All that is held."""

    directory: str
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    sandboxes: dict[str, SandboxRecord] = field(default_factory=dict)
    containers: dict[str, Program] = field(default_factory=dict)
    programs: dict[int, Program] = field(default_factory=dict)
    doors: set[int] = field(default_factory=set)
    early: dict[int, int] = field(default_factory=dict)
    watchers: list[Connection] = field(default_factory=list)
    lifeline: tuple[int, int] = (-1, -1)
    last_capability: int = 40
    is_stopping: bool = False

    def run(self, listener: socket.socket) -> None:
        """Serve until told to stop, then kill what is left."""
        wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.lifeline = os.pipe2(os.O_CLOEXEC)
        self._register(listener, lambda: self._accept(listener))
        self._register(wake_r, lambda: self._reap(wake_r))
        while not self.is_stopping:
            for key, _ in self.selector.select(self._next_timeout()):
                if self._is_registered(key.fileobj):
                    key.data()
            self._kill_late()
        for program in self.containers.values():
            if program.finished_at is None and program.pid:
                os.kill(program.pid, signal.SIGKILL)
        while True:
            try:
                os.wait()
            except ChildProcessError:
                return

    def _is_registered(self, source: Any) -> bool:
        """An earlier callback of the same round may have closed it."""
        try:
            return bool(self.selector.get_key(source))
        except (KeyError, ValueError):
            return False

    def _register(self, source: Any, callback: Callable[[], None]) -> None:
        self.selector.register(source, selectors.EVENT_READ, callback)

    def _accept(self, listener: socket.socket) -> None:
        peer, _ = listener.accept()
        _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.getuid():
            peer.close()
            return
        peer.settimeout(5.0)
        connection = Connection(peer)
        self._register(peer, lambda: self._read_request(connection))

    def _read_request(self, connection: Connection) -> None:
        try:
            piece = connection.socket.recv(1 << 16)
        except OSError:
            piece = b""
        connection.buffer += piece
        if not piece or len(connection.buffer) > MAX_REQUEST_BYTES:
            self._drop(connection)
        elif connection.buffer.endswith(b"\n"):
            line, connection.buffer = connection.buffer, b""
            self._answer(connection, line)

    def _drop(self, connection: Connection) -> None:
        self.selector.unregister(connection.socket)
        connection.socket.close()
        if connection in self.watchers:
            self.watchers.remove(connection)

    def _answer(self, connection: Connection, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = getattr(self, f"answer_{request['ask']}")(connection, request)
        except Exception as error:  # a bad request must not end what holds the Pods
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            connection.send(answer)

    def answer_sandbox(self, connection: Connection, request: Json) -> Json:
        """Make a Pod's namespaces, or answer with those that it has."""
        uid = request["uid"]
        record = self.sandboxes.get(uid)
        is_new = record is None
        if record is None:
            namespaces = spawn.make_namespaces(
                request["hostname"], request["sysctls"], host_network=request["host_network"]
            )
            record = self.sandboxes[uid] = SandboxRecord(uid, namespaces, request["labels"])
        return {"pid": os.getpid(), "net": record.namespaces.net, "is_new": is_new}

    def answer_drop_sandbox(self, connection: Connection, request: Json) -> Json:
        """Let go of a Pod's namespaces; they end with the last process in them."""
        record = self.sandboxes.pop(request["uid"], None)
        if record is not None:
            for handle, _ in record.namespaces.handles():
                os.close(handle)
        return {}

    def answer_start(self, connection: Connection, request: Json) -> Json | None:
        """Begin a container; answered when its program runs, or could not."""
        spec = request["spec"]
        program = Program(request["id"], request["labels"], spec, asker=connection, log=LogFile(request["log"]))
        namespaces = self.sandboxes[request["uid"]].namespaces
        report, output = self._open_pipes(program)
        self.doors.add(
            spawn.spawn_container(
                spec,
                namespaces,
                output=output,
                report=report,
                lifeline=self.lifeline[0],
                last_capability=self.last_capability,
            )
        )
        os.close(report)
        os.close(output)
        program.started_at = time.time()
        self.containers[program.id] = program
        return None

    def answer_exec(self, connection: Connection, request: Json) -> Json | None:
        """Run a program in a container; answered when it ends or its time is over."""
        container = self.containers[request["id"]]
        if container.finished_at is not None or not container.pid:
            return {"error": "the container does not run"}
        spec = {**container.spec, "argv": request["argv"]}
        program = Program("", {}, spec, asker=connection, is_exec=True)
        program.deadline = time.monotonic() + request["timeout_seconds"]
        report, output = self._open_pipes(program)
        self.doors.add(
            spawn.spawn_in_container(
                spec, container.pid, output=output, report=report, last_capability=self.last_capability
            )
        )
        os.close(report)
        os.close(output)
        return None

    def answer_signal(self, connection: Connection, request: Json) -> Json:
        program = self.containers.get(request["id"])
        if program is not None and program.finished_at is None and program.pid:
            os.kill(program.pid, request["signal"])
        return {}

    def answer_forget(self, connection: Connection, request: Json) -> Json:
        """Forget a container that has ended."""
        program = self.containers.get(request["id"])
        if program is not None and program.finished_at is None:
            return {"error": "the container runs"}
        self.containers.pop(request["id"], None)
        return {}

    def answer_list(self, connection: Connection, request: Json) -> Json:
        return {
            "pid": os.getpid(),
            "sandboxes": [{"uid": s.uid, "labels": s.labels, "net": s.namespaces.net} for s in self.sandboxes.values()],
            "containers": [p.describe() for p in self.containers.values() if not p.report_open],
        }

    def answer_watch(self, connection: Connection, request: Json) -> Json:
        """From now on every container that ends is told."""
        self.watchers.append(connection)
        return {"pid": os.getpid()}

    def answer_stop(self, connection: Connection, request: Json) -> Json:
        """Kill everything and end."""
        self.is_stopping = True
        return {}

    def _open_pipes(self, program: Program) -> tuple[int, int]:
        report_r, report_w = os.pipe2(os.O_CLOEXEC)
        output_r, output_w = os.pipe2(os.O_CLOEXEC)
        self._register(report_r, lambda: self._read_report(program, report_r))
        self._register(output_r, lambda: self._read_output(program, output_r))
        return report_w, output_w

    def _read_report(self, program: Program, handle: int) -> None:
        piece = os.read(handle, 1 << 16)
        program.report += piece
        if b"\n" in program.report and not program.pid:
            first = json.loads(program.report.split(b"\n", 1)[0])
            if "pid" in first:
                program.pid = first["pid"]
                self.programs[program.pid] = program
                if program.pid in self.early:
                    self._end(program, self.early.pop(program.pid))
        if piece:
            return
        self._close(handle)
        program.report_open = False
        messages = [json.loads(line) for line in program.report.splitlines()]
        program.error = next((m["error"] for m in messages if "error" in m), "")
        if not program.pid and not program.error:
            program.error = "the container ended before it began"
        if program.error and not program.pid:
            program.finished_at, program.exit_code = time.time(), spawn.START_ERROR_CODE
        if program.is_exec:
            self._answer_exec(program)
        elif program.asker is not None:
            program.asker.send(program.describe())
            program.asker = None
            if program.finished_at is not None:
                self._tell_end(program)

    def _read_output(self, program: Program, handle: int) -> None:
        piece = os.read(handle, 1 << 16)
        if program.log is not None:
            program.log.write(piece)
        elif len(program.output) < MAX_EXEC_OUTPUT_BYTES:
            program.output += piece[: MAX_EXEC_OUTPUT_BYTES - len(program.output)]
        if piece:
            return
        self._close(handle)
        program.output_open = False
        if program.log is not None:
            program.log.close()
        if program.is_exec:
            self._answer_exec(program)

    def _close(self, handle: int) -> None:
        self.selector.unregister(handle)
        os.close(handle)

    def _reap(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = spawn.decode_status(status)
            program = self.programs.get(pid)
            if pid in self.doors:
                self.doors.discard(pid)
            elif program is not None:
                self._end(program, code)
            else:
                self.early[pid] = code  # its report has not been read yet

    def _end(self, program: Program, code: int) -> None:
        self.programs.pop(program.pid, None)
        program.finished_at, program.exit_code = time.time(), code
        if program.is_exec:
            self._answer_exec(program)
        elif not program.report_open:
            self._tell_end(program)

    def _tell_end(self, program: Program) -> None:
        for watcher in self.watchers:
            watcher.send(program.describe())

    def _answer_exec(self, program: Program) -> None:
        """When the program has ended, or was killed: a child that keeps its output open is not waited for."""
        if program.asker is None or program.report_open:
            return
        if program.finished_at is None and not program.timed_out:
            return
        answer: Json = {"output": program.output.decode(errors="replace"), "timed_out": program.timed_out}
        program.asker.send(answer | {"exit_code": program.exit_code, "error": program.error})
        program.asker = None

    def _next_timeout(self) -> float | None:
        deadlines = [p.deadline for p in self.programs.values() if p.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _kill_late(self) -> None:
        now = time.monotonic()
        for program in list(self.programs.values()):
            if program.deadline is not None and program.deadline <= now:
                program.deadline, program.timed_out = None, True
                os.kill(program.pid, signal.SIGKILL)


def main(directory: str, ready: int) -> None:
    """Hold the Pods of a node until told to stop. `directory` is the socket's; `ready` gets a byte when it listens."""
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir(directory)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.umask(0o077)
    listener.bind(SOCKET)
    listener.listen(64)
    os.chdir("/")
    kernel.become_subreaper()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shim = Shim(directory, last_capability=kernel.read_last_capability())
    os.write(ready, b"r")
    os.close(ready)
    gc.collect()
    gc.freeze()
    try:
        shim.run(listener)
    except BaseException as error:
        sys.stderr.write(f"shim: {type(error).__name__}: {error}\n")
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(f"{directory}/{SOCKET}")
