"""The store in one SQLite file: an acknowledged commit is on disk, and many commits share one fsync.

Two connections. The writer's belongs to one thread: it takes every commit that has queued up since the last
transaction, checks their preconditions in order, and appends their versions in one transaction (WAL,
`synchronous=FULL`). Commits of one turn of the loop are handed over together: each hand-over wakes the thread, and a
change of threads costs more than a commit. The reader's belongs to the event loop's thread: a read is microseconds from
the page cache, where a hop to another thread would cost a wait for the interpreter lock per row; long lists pause
between chunks.

1. What the loop shows (`current_revision`, reads, events) is bounded by the last published revision, so nobody sees
   what is not on disk, or an event of the past after a list of the present.
2. Compaction first makes its bound durable, then visible on the loop, and only then deletes: so a read that passed
   the check never misses a row.
3. A lock file beside the database holds off a second process; SQLite's own locks would let it in.
4. An open store shortens the interpreter's switch interval. A loop that is never idle gives up the interpreter lock and
   takes it back before a waiting thread wakes, and each time the thread's 5 ms begin anew: commits waited for minutes.
   With 0.1 ms the thread asks for the lock in time: measured beside a loop without a pause, 13,000 commits/s.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from seaway.store import sql
from seaway.store.batch import Batch, Commit, Version, list_keys, plan_batch
from seaway.store.contract import Compacted, Entry, Event, FutureRevision, Page, Precondition, StoreError, Write
from seaway.store.history import FIRST_REVISION, MAX_KEYS_PER_COMMIT, check_commit, check_read, prefix_end

Deliver = Callable[[Sequence[Event]], None]

BATCH_BYTES = 8 << 20  # a batch is held in memory twice until it is on disk
CHUNK_ROWS = 500  # about a millisecond of a list on the loop's thread
CHECKPOINT_PAGES = 2000  # 8 MiB of log; SQLite's 1,000 checkpoints twice as often, and more than this holds writers up
SWITCH_SECONDS = 0.0001  # see rule 4 above
SWEEP_SECONDS = 0.015  # what a step of compaction aims at, well under the promised 50 ms
SWEEP_ROWS = (50, 2000)
OLDEST_SQLITE = (3, 32)  # takes 32,766 parameters in one statement


@dataclass(slots=True)
class _Job:
    """Something for the writer's thread; the future belongs to the loop."""

    future: asyncio.Future[Any]


@dataclass(slots=True)
class _CommitJob(_Job):
    commit: Commit
    size: int


@dataclass(slots=True)
class _MarkJob(_Job):
    revision: int


@dataclass(slots=True)
class _SweepJob(_Job):
    revision: int


@dataclass(slots=True)
class _StopJob(_Job):
    pass


async def open_sqlite(path: Path) -> SqliteStore:
    """The store in the file, made when absent. Raises StoreError with what to do when it cannot be used."""
    lock = _lock(path)
    try:
        with _refusals(path):
            writer = _open_writer(path)
            try:
                return SqliteStore(path, lock, writer)
            except BaseException:
                writer.close()
                raise
    except BaseException:
        os.close(lock)
        raise


class SqliteStore:
    """A `Store`. Made by `open_sqlite` on the loop that uses it. A `deliver` callback must not raise."""

    def __init__(self, path: Path, lock: int, connection: sqlite3.Connection) -> None:
        self._path = path
        self._lock = lock
        progress = dict(connection.execute(sql.PROGRESS).fetchall())
        last: int = connection.execute(sql.LAST_REVISION).fetchone()[0] or FIRST_REVISION
        self._compacted: int = progress["compacted"]
        # Compaction may have removed the newest rows (deletes); its own bound still counts.
        self._revision: int = max(last, self._compacted)
        self._watchers: dict[int, tuple[str, int, Deliver]] = {}
        self._next_watcher = 0
        self._queued: list[_Job] = []
        self._closing: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._switch_seconds = sys.getswitchinterval()
        sys.setswitchinterval(min(self._switch_seconds, SWITCH_SECONDS))
        self._reader = _connect(path)
        self._reader.execute("PRAGMA query_only = ON")
        self._writer = _Writer(path, connection, self._revision, progress["swept"], self._loop, self)
        self._writer.start()

    @property
    def current_revision(self) -> int:
        return self._revision

    @property
    def compacted_revision(self) -> int:
        return self._compacted

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        self._check_open()
        at = check_read(revision, current=self._revision, compacted=self._compacted)
        with _refusals(self._path):
            row = self._reader.execute(sql.GET, (key, at)).fetchone()
        return Entry(key, *row) if row and row[0] is not None else None

    async def list(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Page:
        while True:
            try:
                return await self._list(prefix, revision or self._revision, limit, after)
            except Compacted:
                if revision:  # else compaction overtook a list of the present between two chunks: once more
                    raise

    async def _list(self, prefix: str, revision: int, limit: int, after: str) -> Page:
        entries: list[Entry] = []
        end = prefix_end(prefix)
        while True:
            self._check_open()
            at = check_read(revision, current=self._revision, compacted=self._compacted)
            wanted = min(CHUNK_ROWS, limit + 1 - len(entries)) if limit else CHUNK_ROWS
            bounds = {"prefix": prefix, "end": end, "after": after, "revision": at, "limit": wanted}
            with _refusals(self._path):
                rows = self._reader.execute(sql.LIST, bounds).fetchall()
            entries.extend(Entry(*row) for row in rows)
            if limit and len(entries) > limit:
                return Page(tuple(entries[:limit]), at, more=True)
            if len(rows) < wanted:
                return Page(tuple(entries), at)
            after = entries[-1].key
            await asyncio.sleep(0)

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        self._check_open()
        check_commit(preconditions, writes)
        size = sum(len(write.value or b"") for write in writes)
        future: asyncio.Future[tuple[int, ...]] = self._loop.create_future()
        if not self._queued:
            self._loop.call_soon(self._hand_over)
        self._queued.append(_CommitJob(future, Commit(preconditions, writes), size))
        return await future

    def _hand_over(self, *others: _Job) -> None:
        """Give the writer what has queued up in this turn of the loop, then the others."""
        jobs, self._queued = [*self._queued, *others], []
        if jobs:
            self._writer.jobs.put(jobs)

    def watch(self, prefix: str, after_revision: int, deliver: Deliver) -> Callable[[], None]:
        self._check_open()
        if after_revision < self._compacted:
            raise Compacted(after_revision, self._compacted)
        bounds = {
            "prefix": prefix,
            "end": prefix_end(prefix),
            "after": after_revision,
            "revision": self._revision,
        }
        with _refusals(self._path):
            past = [Event(*row) for row in self._reader.execute(sql.EVENTS, bounds)]
        identifier = self._next_watcher = self._next_watcher + 1
        self._watchers[identifier] = (prefix, max(after_revision, self._revision), deliver)

        def end() -> None:
            self._watchers.pop(identifier, None)

        if past:
            deliver(past)
        return end

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision > self._compacted:
            future = self._loop.create_future()
            self._hand_over(_MarkJob(future, revision))
            await future
        more = True
        while more and self._closing is None:
            future = self._loop.create_future()
            self._hand_over(_SweepJob(future, self._compacted))
            more = await future

    async def close(self) -> None:
        if self._closing is None:
            self._closing = self._loop.create_future()
            self._watchers.clear()
            self._reader.close()  # before the writer's, so that the last to close folds the log into the file
            self._hand_over(_StopJob(self._closing))
            self._closing.add_done_callback(self._release)
        await asyncio.shield(self._closing)

    def _release(self, _: asyncio.Future[None]) -> None:
        os.close(self._lock)
        sys.setswitchinterval(self._switch_seconds)

    def publish(self, batch: Batch, jobs: Sequence[_CommitJob]) -> None:
        """Show the batch, which is on disk: first to watchers, then to those who wait for their commit."""
        self._revision = batch.revision
        if batch.events:
            for identifier, watcher in list(self._watchers.items()):
                if identifier in self._watchers:
                    self._deliver(watcher, batch.events)
        for job, outcome in zip(jobs, batch.outcomes, strict=True):
            settle(job.future, outcome)

    def publish_mark(self, revision: int, job: _MarkJob) -> None:
        """Refuse reads below the revision from now on."""
        self._compacted = max(self._compacted, revision)
        settle(job.future, None)

    def _deliver(self, watcher: tuple[str, int, Deliver], events: Sequence[Event]) -> None:
        prefix, after_revision, deliver = watcher
        wanted = [event for event in events if event.revision > after_revision and event.key.startswith(prefix)]
        if not wanted:
            return
        try:
            deliver(wanted)
        except Exception as error:  # one broken watcher must not keep the others from their events
            self._loop.call_exception_handler({"message": f"a watcher of {prefix} raised", "exception": error})

    def _check_open(self) -> None:
        if self._closing is not None:
            raise StoreError(f"{self._path}: closed")


class _Writer(threading.Thread):
    """The only thread that writes. Its state is its own; everything else reaches the loop by `call_soon_threadsafe`."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        revision: int,
        swept: int,
        loop: asyncio.AbstractEventLoop,
        store: SqliteStore,
    ) -> None:
        super().__init__(name="seaway-store", daemon=True)
        self.jobs: SimpleQueue[list[_Job]] = SimpleQueue()
        self._taken: deque[_Job] = deque()
        self._path = path
        self._connection = connection
        self._revision = revision
        self._swept = swept
        self._sweep_rows = SWEEP_ROWS[0]
        self._loop = loop
        self._store = store

    def run(self) -> None:
        job: _Job | None = None
        while not isinstance(job, _StopJob):
            commits, job = self._next_jobs()
            if commits:
                self._perform(self._commit, commits)
            if job is not None:
                self._perform(self._step, [job])

    def _next_jobs(self) -> tuple[list[_CommitJob], _Job | None]:
        """Waits for a job; with it come the commits that queued up before the next job of another sort."""
        taken = self._taken
        if not taken:
            taken.extend(self.jobs.get())
        commits: list[_CommitJob] = []
        keys = size = 0
        while True:
            job = taken.popleft()
            if not isinstance(job, _CommitJob):
                return commits, job
            commits.append(job)
            keys += len(job.commit.preconditions) + len(job.commit.writes)
            size += job.size
            if keys >= MAX_KEYS_PER_COMMIT or size >= BATCH_BYTES:
                return commits, None
            if not taken:
                try:
                    taken.extend(self.jobs.get_nowait())
                except Empty:
                    return commits, None

    def _perform(self, act: Callable[[Any], None], jobs: Sequence[_Job]) -> None:
        """Act, or tell everyone who waits why not."""
        try:
            with _refusals(self._path):
                act(jobs)
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for job in jobs:
                self._tell(settle, job.future, error)

    def _commit(self, jobs: Sequence[_CommitJob]) -> None:
        commits = [job.commit for job in jobs]
        batch = plan_batch(self._find_newest(list_keys(commits)), commits, self._revision)
        if batch.rows:
            parameters: list[int | str | bytes | None] = []
            for key, version in batch.rows:
                parameters += (
                    version.revision,
                    key,
                    version.value,
                    version.create_revision,
                    version.previous_revision,
                )
            self._connection.execute(sql.render_append(len(batch.rows)), parameters)
        self._revision = batch.revision
        self._tell(self._store.publish, batch, jobs)

    def _find_newest(self, keys: Sequence[str]) -> dict[str, Version]:
        newest: dict[str, Version] = {}
        for start in range(0, len(keys), MAX_KEYS_PER_COMMIT):
            part = keys[start : start + MAX_KEYS_PER_COMMIT]
            # Rounded up to a power of two, the statement is one of ten and found in the connection's cache.
            count = min(1 << (len(part) - 1).bit_length(), MAX_KEYS_PER_COMMIT)
            padded = [*part, *[""] * (count - len(part))]
            row = self._connection.execute(sql.render_lookup(count), padded).fetchone()
            for number, key in enumerate(part):
                revision, create_revision, value = row[number * sql.LOOKUP_COLUMNS : (number + 1) * sql.LOOKUP_COLUMNS]
                if revision is not None:
                    newest[key] = Version(revision, create_revision, value)
        return newest

    def _step(self, jobs: Sequence[_Job]) -> None:
        (job,) = jobs
        if isinstance(job, _MarkJob):
            self._connection.execute(sql.SET_PROGRESS, ("compacted", job.revision))
            self._tell(self._store.publish_mark, job.revision, job)
        elif isinstance(job, _SweepJob):
            self._tell(settle, job.future, self._sweep(job.revision))
        else:
            self._connection.close()
            self._tell(settle, job.future, None)

    def _sweep(self, revision: int) -> bool:
        """Delete what a stretch of compacted history replaced; True when more is left."""
        upto = min(self._swept + self._sweep_rows, revision)
        if upto <= self._swept:
            return False
        started = time.perf_counter()
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in sql.SWEEP:
            self._connection.execute(statement, {"after": self._swept, "upto": upto})
        self._connection.execute("COMMIT")
        self._swept = upto
        factor = 2 if time.perf_counter() - started < SWEEP_SECONDS / 2 else 1
        if time.perf_counter() - started > SWEEP_SECONDS:
            factor = 0
        low, high = SWEEP_ROWS
        self._sweep_rows = min(high, max(low, self._sweep_rows * factor))
        return upto < revision

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop was closed without closing the store; nobody is left to tell
            return


def settle(future: asyncio.Future[Any], outcome: object) -> None:
    """Give the outcome to whoever still waits for it."""
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _lock(path: Path) -> int:
    """The descriptor of the lock file, locked until it is closed; it names the holder for the next who comes."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{lock_path}: {error.strerror}; check that the folder exists, its owner and mode") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace") or "another process"
        os.close(lock)
        raise StoreError(f"{path}: in use by process {holder}; stop it or choose another --data-dir") from None
    except OSError as error:
        os.close(lock)
        raise StoreError(f"{lock_path}: {error.strerror}; check free space and the file system") from error
    return lock


def _open_writer(path: Path) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"{path}: SQLite {sqlite3.sqlite_version} found, 3.32 or later needed; use a newer Python")
    try:
        # SQLite gives its log the mode of the database.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check that the folder exists, its owner and mode") from error
    connection = _connect(path)
    try:
        _prepare(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA cache_size = -4096")
    return connection


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Check whose file it is before anything is written to it, then make the tables of a new one."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != sql.APPLICATION_ID and (tables or application or version):
        raise StoreError(f"{path}: a database of another program; move it away, or choose another --data-dir")
    if version > sql.SCHEMA_VERSION:
        raise StoreError(
            f"{path}: schema {version} found, {sql.SCHEMA_VERSION} is the newest known here; "
            "use the newer Seaway that wrote it, or choose another --data-dir"
        )
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"{path}: its file system allows no write-ahead log ({mode}); choose a --data-dir on a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if not tables:
        connection.execute("BEGIN IMMEDIATE")
        for statement in sql.SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names of new files outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """SQLite's errors as StoreError with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise StoreError(sql.describe_refusal(str(path), name, str(error))) from error
