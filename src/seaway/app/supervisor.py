"""Runs pieces as forked children of one preloaded process: restarts one that dies, stops them in order.

Pieces talk back over a pipe, one line each: `ready NAME`, `fatal NAME text`. A piece that ends before it was ever
ready ends everything, with its words; a later death is repeated with back-off. The same class runs outside and, as
PID 1, inside a sandbox (where it also reaps what Pods leave).
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seaway.net import kernel

STOP_SECONDS = 4.5
"""How long all pieces together may take to stop before they are killed: design.md §3 promises 5 s."""

KILL_SECONDS = 0.4
"""For the kernel to end what was killed."""

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""A piece that ran this long starts again with the first delay."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """One daemon. `main` runs in the child, reports with `ready` or `fatal TEXT`, and returns the exit code."""

    name: str
    main: Callable[[Report], int]


@dataclass(slots=True)
class _Running:
    piece: Piece
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    was_ready: bool = False
    due: float | None = None


def restart_delay_seconds(failures: int) -> float:
    """Doubles with every failure in a row, up to the longest."""
    delay: float = FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16)
    return min(delay, LONGEST_DELAY_SECONDS)


@dataclass
class Supervisor:
    """`on_ready` is called once, when every piece has said ready; `on_death` for every unexpected end."""

    pieces: Sequence[Piece]
    logs: Path | None
    """A file per piece; None: they write where this process does."""
    on_ready: Callable[[], None] = lambda: None
    on_death: Callable[[str, str], None] = lambda name, how: None
    on_stop: Callable[[], None] = lambda: None
    """Called before the pieces are stopped: what must end while they still answer."""
    forward: Report | None = None
    """Inside a sandbox: where lines go besides here."""
    stop_seconds: float = STOP_SECONDS
    lifeline: socket.socket | None = None
    """A peer whose end is ours: the sandbox's holder outside, its starter inside."""
    lifeline_words: str = ""
    """What to say when the lifeline ends; empty: it is an ordinary stop."""
    expected: Sequence[str] = ()
    """Names that report ready without being children of this supervisor."""
    passed_on: Mapping[signal.Signals, str] = field(default_factory=dict)
    """Signals that are not for this process but for the piece of this name."""
    _running: dict[str, _Running] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _fatal: str = ""
    _stopping: bool = False
    _announced: bool = False

    def __post_init__(self) -> None:
        self._read, self.report_fd = os.pipe()
        os.set_blocking(self._read, False)
        self._wake, self._wake_write = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_write.setblocking(False)
        self._lines = b""

    def run(self) -> str:
        """Until a stop signal, or a piece cannot start. Returns the fatal words, or nothing."""
        self._install_signals()
        gc.collect()
        gc.freeze()
        for piece in self.pieces:
            self._running[piece.name] = _Running(piece)
            self._start(self._running[piece.name])
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            if self.lifeline is not None:
                selector.register(self.lifeline, selectors.EVENT_READ)
            while not self._stopping:
                self._reap()
                self._start_due()
                events = selector.select(0 if self._stopping else self._wait_seconds())
                self._drain()
                self._read_lines()
                if any(key.fileobj is self.lifeline for key, _ in events) and not self._stopping:
                    self._fatal, self._stopping = self._fatal or self.lifeline_words, True
        deadline = time.monotonic() + self.stop_seconds
        self.on_stop()
        self._stop_all(deadline)
        return self._fatal

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        for passed in self.passed_on:
            signal.signal(passed, self._on_passed)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)

    def _on_stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _on_passed(self, number: int, frame: object) -> None:
        running = self._running.get(self.passed_on[signal.Signals(number)])
        if running is not None:
            _send(running.pid, signal.Signals(number))

    def _start(self, running: _Running) -> None:
        running.started, running.due = time.monotonic(), None
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(running.piece))
        running.pid = pid

    def _child(self, piece: Piece) -> int:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for passed in self.passed_on:
                signal.signal(passed, signal.SIG_IGN)  # until the piece says what they mean
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides the order
            kernel.set_parent_death_signal(signal.SIGTERM)
            kernel.set_process_name(f"seaway-{piece.name}")
            for fd in (self._read, self._wake.fileno(), self._wake_write.fileno()):
                os.close(fd)
            if self.lifeline is not None:
                self.lifeline.close()
            if self.logs is not None:
                _redirect_output(self.logs / f"{piece.name}.log")
            return piece.main(self._make_report(piece.name))
        except BaseException:
            traceback.print_exc()
            last = traceback.format_exc().strip().rsplit("\n", 1)[-1]
            report(self.report_fd, piece.name, f"fatal {last}")
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _make_report(self, name: str) -> Report:
        def tell(line: str) -> None:
            if line != "ready":
                print(line, file=sys.stderr, flush=True)  # into the piece's log too
            report(self.report_fd, name, line)

        return tell

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._read_lines()
            for running in self._running.values():
                if running.pid == pid:
                    self._ended(running, os.waitstatus_to_exitcode(status))

    def _ended(self, running: _Running, code: int) -> None:
        running.pid = 0
        if self._stopping:
            return
        name = running.piece.name
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        if not running.was_ready:
            words = f"{name}: ended before it was ready ({how})"
            if self.logs is not None:
                words = f"{name}: ended before it was ready ({how}); see {self.logs / name}.log"
            self._fail(self._fatal or words)
            return
        if time.monotonic() - running.started > STEADY_SECONDS:
            running.failures = 0
        delay = restart_delay_seconds(running.failures)
        running.failures += 1
        running.due = time.monotonic() + delay
        self._fatal = ""
        again = f"starts again in {delay:g} s"
        if self.logs is not None:
            again = f"starts again in {delay:g} s; log {self.logs / name}.log"
        self.on_death(name, f"{how}; {again}")

    def _fail(self, words: str) -> None:
        self._fatal = words
        self._stopping = True
        if self.forward is not None:
            self.forward(f"fatal - {words}")

    def _start_due(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if running.due is not None and running.due <= now:
                self._start(running)

    def _wait_seconds(self) -> float | None:
        dues = [r.due for r in self._running.values() if r.due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _drain(self) -> None:
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            return

    def _read_lines(self) -> None:
        try:
            while chunk := os.read(self._read, 65536):
                self._lines += chunk
        except BlockingIOError:
            pass
        *lines, self._lines = self._lines.split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))

    def _on_line(self, line: str) -> None:
        word, name, *rest = line.split(" ", 2)
        if word == "ready":
            self._ready.add(name)
            if name in self._running:
                self._running[name].was_ready = True
            if self.forward is not None:
                self.forward(line)
        elif word == "fatal":
            text = rest[0] if rest else ""
            if name == "-":
                self._fail(text)
            else:
                self._fatal = f"{name}: {text}"
        if not self._announced and self._ready >= {*self._running, *self.expected}:
            self._announced = True
            self.on_ready()

    def _stop_all(self, deadline: float) -> None:
        for running in reversed(self._running.values()):
            _send(running.pid, signal.SIGTERM)
        self._reap_until(deadline)
        for running in self._running.values():
            _send(running.pid, signal.SIGKILL)
        self._reap_until(time.monotonic() + KILL_SECONDS)

    def _reap_until(self, deadline: float) -> None:
        """Until every piece has ended, or the deadline."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                self._reap()
                if not any(r.pid for r in self._running.values()) or time.monotonic() >= deadline:
                    return
                selector.select(0.05)
                self._drain()


def report(fd: int, name: str, line: str) -> None:
    """Say `ready`, or `fatal TEXT`, of a piece; one short line, so that writes never mix."""
    word, _, text = line.partition(" ")
    os.write(fd, f"{word} {name} {text}".strip().replace("\n", " ")[:2000].encode() + b"\n")


def _send(pid: int, number: signal.Signals) -> None:
    if pid:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _redirect_output(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    os.close(null)
