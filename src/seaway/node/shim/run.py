"""The shim's loop: requests on a unix socket, output of containers, ends of processes.

One connection, one request, as a line of JSON; the answer is a line of JSON, and only `watch` goes on with more.
Requests: sandbox, start, signal, exec, attach, resize, forget, drop_sandbox, list, watch, stop. Answers have `error`,
or not. Descriptors come beside a request (SCM_RIGHTS): the streams of a program, as `streams` names them in order, or
for a program with a terminal one socket, to which the terminal's master is sent.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from seaway.node.shim import keeper, kernel, spawn
from seaway.node.shim.logs import LogFile
from seaway.node.shim.loop import Loop
from seaway.node.shim.records import Connection, Json, Program, SandboxRecord
from seaway.node.shim.stdio import Streams

SOCKET = "shim.sock"
MAX_REQUEST_BYTES = 8 * 1024 * 1024
PROTOCOL = 2
"""Of requests and answers: a newer agent may find an older shim, whose Pods it must not end."""
MAX_HANDLES = 3
STREAMS = ("stdin", "stdout", "stderr")


@dataclass(slots=True)
class Shim:
    """All that is held."""

    directory: str
    loop: Loop = field(default_factory=Loop)
    sandboxes: dict[str, SandboxRecord] = field(default_factory=dict)
    containers: dict[str, Program] = field(default_factory=dict)
    programs: dict[int, Program] = field(default_factory=dict)
    doors: set[int] = field(default_factory=set)
    early: dict[int, int] = field(default_factory=dict)
    keeps: bool = False
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
        self.loop.on_readable(listener, lambda: self._accept(listener))
        self.loop.on_readable(wake_r, lambda: self._reap(wake_r))
        while not self.is_stopping:
            self.loop.turn(None)
        for program in (*self.containers.values(), *self.programs.values()):
            program.kill()
        while True:
            try:
                os.wait()
            except ChildProcessError:
                return

    def _accept(self, listener: socket.socket) -> None:
        peer, _ = listener.accept()
        _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.getuid():
            peer.close()
            return
        peer.settimeout(5.0)
        connection = Connection(peer)
        self.loop.on_readable(peer, lambda: self._read_request(connection))

    def _read_request(self, connection: Connection) -> None:
        try:
            piece, handles, _, _ = socket.recv_fds(connection.socket, 1 << 16, MAX_HANDLES)
        except OSError:
            piece, handles = b"", []
        for handle in handles:
            os.set_inheritable(handle, False)
        connection.handles += handles
        connection.buffer += piece
        if not piece or len(connection.buffer) > MAX_REQUEST_BYTES or len(connection.handles) > MAX_HANDLES:
            self._drop(connection)
        elif connection.buffer.endswith(b"\n"):
            line, connection.buffer = connection.buffer, b""
            self._answer(connection, line)

    def _drop(self, connection: Connection) -> None:
        self.loop.forget(connection.socket)
        connection.socket.close()
        connection.is_closed = True
        for handle in connection.handles:
            os.close(handle)
        if connection in self.watchers:
            self.watchers.remove(connection)
        for program in self.programs.values():
            if program.asker is connection and program.ends_with_asker:
                program.kill()

    def _answer(self, connection: Connection, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = getattr(self, f"answer_{request['ask']}")(connection, request)
        except Exception as error:  # a bad request must not end what holds the Pods
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            connection.send(answer)

    def answer_sandbox(self, connection: Connection, request: Json) -> Json:
        """Make a Pod's namespaces, or answer with those that it has; is_isolated false: it has the node's."""
        uid, is_isolated = request["uid"], request.get("is_isolated", True)
        record = self.sandboxes.get(uid)
        is_new = record is None
        if any((other.namespaces is not None) != is_isolated for other in self.sandboxes.values()):
            return {"error": "Pods run here in another way; end them first (seaway down)"}
        if record is None:
            namespaces = None
            if is_isolated:
                namespaces = spawn.make_namespaces(
                    request["hostname"], request["sysctls"], host_network=request["host_network"]
                )
            record = self.sandboxes[uid] = SandboxRecord(uid, namespaces, request["labels"])
        self.keeps = not is_isolated
        return {"pid": os.getpid(), "net": record.net, "is_new": is_new}

    def answer_drop_sandbox(self, connection: Connection, request: Json) -> Json:
        """Let go of a Pod's namespaces; they end with the last process in them."""
        record = self.sandboxes.pop(request["uid"], None)
        if record is not None and record.namespaces is not None:
            for handle, _ in record.namespaces.handles():
                os.close(handle)
        return {}

    def answer_start(self, connection: Connection, request: Json) -> Json | None:
        """Begin a container; answered when its program runs, or could not."""
        spec = request["spec"]
        namespaces = self.sandboxes[request["uid"]].namespaces
        streams = Streams(LogFile(request["log"]))
        program = Program(request["id"], request["labels"], spec, asker=connection, streams=streams)
        stdio = self._open_streams(streams, request)
        report = self._open_report(program)
        if namespaces is None:
            self._keep(program, stdio, report)
        else:
            self.doors.add(
                spawn.spawn_container(
                    spec,
                    namespaces,
                    stdio=stdio,
                    report=report,
                    lifeline=self.lifeline[0],
                    last_capability=self.last_capability,
                )
            )
        os.close(report)
        stdio.close()
        program.started_at = time.time()
        self.containers[program.id] = program
        return None

    def _keep(self, program: Program, stdio: spawn.Stdio, report: int) -> None:
        """Begin a program without namespaces."""
        leash, program.leash = os.pipe2(os.O_CLOEXEC)
        program.is_kept = True
        program.pid = keeper.spawn_kept(program.spec, stdio=stdio, report=report, leash=leash, is_exec=program.is_exec)
        os.close(leash)
        self.programs[program.pid] = program

    def _open_streams(self, streams: Streams, request: Json) -> spawn.Stdio:
        """The program's ends; ours are the streams'."""
        reads = bool(request.get("stdin"))
        if request.get("tty"):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            self.loop.on_readable(ours, lambda: self._take_terminal(streams, ours, reads=reads))
            return spawn.Stdio(console=theirs.detach())
        stdin = -1
        if reads:
            stdin, into = os.pipe2(os.O_CLOEXEC)
            streams.take_input(self.loop, into, ends_with_first=bool(request.get("stdin_once")))
        ends = []
        for name in STREAMS[1:]:
            out, theirs_end = os.pipe2(os.O_CLOEXEC)
            streams.take_output(self.loop, name, out)
            ends.append(theirs_end)
        return spawn.Stdio(stdin, *ends)

    def _take_terminal(self, streams: Streams, ours: socket.socket, *, reads: bool) -> None:
        self.loop.forget(ours)
        with ours:
            try:
                _, handles, _, _ = socket.recv_fds(ours, 1, 1)
            except OSError:
                handles = []
        for master in handles:
            os.set_inheritable(master, False)
            streams.take_terminal(self.loop, master, reads=reads)

    def answer_exec(self, connection: Connection, request: Json) -> Json | None:
        """Run a program in a container, on the streams that came along; answered when it ends."""
        container = self._find_running(request["id"])
        if container is None:
            return {"error": "the container does not run"}
        stdio = self._make_stdio(connection, request)
        environment = container.spec["environment"]
        if stdio.console >= 0:
            environment = {"TERM": "xterm", **environment}
        spec = {**container.spec, "argv": request["argv"], "environment": environment}
        program = Program(
            "", {}, spec, asker=connection, is_exec=True, ends_with_asker=request["ends_with_asker"],
            container=container.id,
        )  # fmt: skip
        report = self._open_report(program)
        if container.is_kept:
            self._keep(program, stdio, report)
        else:
            self.doors.add(
                spawn.spawn_in_container(
                    spec, container.pid, stdio=stdio, report=report, last_capability=self.last_capability
                )
            )
        os.close(report)
        stdio.close()
        return None

    def _make_stdio(self, connection: Connection, request: Json) -> spawn.Stdio:
        """Of the descriptors that came along. Raises ValueError."""
        if request.get("tty"):
            return spawn.Stdio(console=connection.take_handles(1)[0])
        names = _check_names(request["streams"])
        return spawn.Stdio(**dict(zip(names, connection.take_handles(len(names)), strict=True)))

    def _find_running(self, id: str) -> Program | None:
        program = self.containers.get(id)
        return program if program is not None and program.finished_at is None and program.pid else None

    def answer_attach(self, connection: Connection, request: Json) -> Json:
        """Join the descriptors that came along to the streams of a container's program."""
        container = self._find_running(request["id"])
        if container is None or container.streams is None:
            return {"error": "the container does not run"}
        names = _check_names(request["streams"])
        for name, handle in zip(names, connection.take_handles(len(names)), strict=True):
            container.streams.attach(name, handle)
        return {"tty": container.streams.has_terminal}

    def answer_resize(self, connection: Connection, request: Json) -> Json:
        """The size of the terminal of a container's program."""
        container = self._find_running(request["id"])
        if container is not None and container.streams is not None:
            container.streams.resize(request["rows"], request["columns"])
        return {}

    def answer_signal(self, connection: Connection, request: Json) -> Json:
        program = self._find_running(request["id"])
        if program is not None and request["signal"] == signal.SIGKILL:
            program.kill()
        elif program is not None:
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
            "protocol": PROTOCOL,
            "sandboxes": [{"uid": s.uid, "labels": s.labels, "net": s.net} for s in self.sandboxes.values()],
            "containers": [p.describe() for p in self.containers.values() if not p.report_open],
            "starting": sum(p.report_open for p in self.containers.values()),
        }

    def answer_watch(self, connection: Connection, request: Json) -> Json:
        """From now on every container that ends is told."""
        self.watchers.append(connection)
        return {"pid": os.getpid()}

    def answer_stop(self, connection: Connection, request: Json) -> Json:
        """Kill everything and end."""
        self.is_stopping = True
        return {}

    def _open_report(self, program: Program) -> int:
        report_r, report_w = os.pipe2(os.O_CLOEXEC)
        self.loop.on_readable(report_r, lambda: self._read_report(program, report_r))
        return report_w

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
                elif program.ends_with_asker and program.asker is not None and program.asker.is_closed:
                    program.kill()
        if piece:
            return
        self.loop.forget(handle)
        os.close(handle)
        program.report_open = False
        messages = [json.loads(line) for line in program.report.splitlines()]
        program.error = next((m["error"] for m in messages if "error" in m), "")
        if not program.pid and not program.error:
            program.error = "the container ended before it began"
        for code in (message["exit_code"] for message in messages if "exit_code" in message):
            program.finished_at, program.exit_code = time.time(), code
        if program.error and not program.pid:
            program.finished_at, program.exit_code = time.time(), spawn.START_ERROR_CODE
            if program.streams is not None:
                program.streams.end_input()
        if program.is_exec:
            self._answer_exec(program)
        elif program.asker is not None and not (program.error and program.finished_at is None):
            self._tell_start(program)

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
            elif self.keeps:
                self._end_strays()
            else:
                self.early[pid] = code  # its report has not been read yet
            if self.keeps and os.WIFSIGNALED(status):
                self._end_strays()  # a keeper that was killed has left us what it kept

    def _end_strays(self) -> None:
        if keeper.end_strays(self.programs):
            sys.stderr.write("shim: a keeper was killed; what it kept has been ended\n")

    def _end(self, program: Program, code: int) -> None:
        self.programs.pop(program.pid, None)
        program.loosen()
        for other in self.programs.values():
            if other.container == program.id and not program.is_exec:
                other.kill()
        if program.finished_at is not None:
            return  # it had told its exit code, and what it began has ended now
        program.finished_at, program.exit_code = time.time(), code
        if program.streams is not None:
            program.streams.end_input()
        if program.is_exec:
            self._answer_exec(program)
        elif not program.report_open:
            if program.asker is not None:
                self._tell_start(program)
            else:
                self._tell_end(program)

    def _tell_start(self, program: Program) -> None:
        """Of one that could not begin, its end too; that is waited for."""
        assert program.asker is not None
        program.asker.send(program.describe())
        program.asker = None
        if program.finished_at is not None:
            self._tell_end(program)

    def _tell_end(self, program: Program) -> None:
        for watcher in self.watchers:
            watcher.send(program.describe())

    def _answer_exec(self, program: Program) -> None:
        """When the program has ended: a child that keeps its output open is not waited for."""
        if program.asker is None or program.report_open or program.finished_at is None:
            return
        program.asker.send({"exit_code": program.exit_code, "error": program.error})
        program.asker = None


def _check_names(names: Sequence[str]) -> list[str]:
    """Raises ValueError for what is no stream."""
    if not set(names) <= set(STREAMS):
        raise ValueError(f"streams {names} found, of {STREAMS} expected")
    return list(names)


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
