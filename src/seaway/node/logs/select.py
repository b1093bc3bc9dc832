"""Which lines of a log are told, and how. Rule: spec "node" §5.3.

A line of the file is `TIME STREAM TAG TEXT`; TAG `P`: the line goes on in the next of its stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from seaway.node.state import ContainerRun, ContainerState

MAX_TAIL_LINES = 1 << 31


class LogRefused(Exception):
    """Why there is no log: an HTTP status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What is asked for. since: as lines have it, so that texts compare like times. stream: of the file's, "": all."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: bytes = b""
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: bytes = b""


def parse_log_options(query: Sequence[tuple[str, str]], *, wall_now: datetime) -> LogOptions:
    """The options of a request to the node. Raises LogRefused."""
    given: Mapping[str, str] = dict(reversed(query))
    tail = given.get("tailLines", given.get("tail"))
    if tail == "all":
        tail = None
    try:
        since = _parse_since(given, wall_now)
        options = LogOptions(
            follow=_parse_bool(given.get("follow", "")),
            previous=_parse_bool(given.get("previous", "")),
            timestamps=_parse_bool(given.get("timestamps", "")),
            since=format_line_time(since) if since is not None else b"",
            tail_lines=None if tail is None else int(tail),
            limit_bytes=int(given["limitBytes"]) if "limitBytes" in given else None,
            stream={"Stdout": b"stdout", "Stderr": b"stderr"}.get(given.get("stream", ""), b""),
        )
    except (ValueError, OverflowError):
        raise LogRefused(400, '{"message": "Unable to decode query."}') from None
    is_valid = (
        (options.tail_lines is None or 0 <= options.tail_lines <= MAX_TAIL_LINES)
        and (options.limit_bytes is None or options.limit_bytes >= 1)
        and ("sinceSeconds" not in given or int(given["sinceSeconds"]) >= 1)
    )
    if not is_valid:
        raise LogRefused(422, '{"message": "Invalid request."}')
    return options


def _parse_since(given: Mapping[str, str], wall_now: datetime) -> datetime | None:
    """Of two limits the later one. Raises ValueError, OverflowError."""
    found = []
    if "sinceSeconds" in given:
        found.append(wall_now - timedelta(seconds=int(given["sinceSeconds"])))
    if "sinceTime" in given:
        found.append(datetime.fromisoformat(given["sinceTime"]))
    return max(found, default=None)


def _parse_bool(text: str) -> bool:
    """Raises ValueError. Rule: Go's ParseBool, of which an empty text is no."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("", "0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(text)


def format_line_time(moment: datetime) -> bytes:
    """As lines begin: of fixed width, in UTC."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond * 1000:09d}Z".encode()


def choose_run(own: ContainerState, *, previous: bool, pod: str, container: str) -> ContainerRun:
    """The run whose log is meant. Raises LogRefused when there is none."""
    if previous:
        last = own.current if own.has_ended and own.waiting is not None else own.previous
        if last is None:
            raise LogRefused(400, f'previous terminated container "{container}" in pod "{pod}" not found')
        return last
    if own.current is not None:
        return own.current
    if own.waiting is not None:
        reason, _ = own.waiting
        told = {
            "ErrImagePull": "image can't be pulled",
            "ErrImageNeverPull": "image can't be pulled",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(reason, reason)
        raise LogRefused(400, f'container "{container}" in pod "{pod}" is waiting to start: {told}')
    raise LogRefused(400, f'container "{container}" in pod "{pod}" is waiting to start: ContainerCreating')


class Teller:
    """Takes lines of the file in order, gives what the client reads. `is_over`: nothing more is told."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._begun: set[bytes] = set()
        """Streams whose line is not at its end."""
        self.is_over = False

    def tell(self, line: bytes) -> bytes:
        """line: with its end. What is no line of a log is told as it is."""
        options = self._options
        parts = line.split(b" ", 3)
        if len(parts) < 4:
            return self._cut(line)
        time, stream, tag, text = parts
        if options.stream and stream != options.stream:
            return b""
        if time < options.since:
            return b""
        is_start = stream not in self._begun
        if tag.split(b":")[0] == b"P":
            self._begun.add(stream)
            text = text.removesuffix(b"\n")
        else:
            self._begun.discard(stream)
        return self._cut(time + b" " + text if options.timestamps and is_start else text)

    def _cut(self, text: bytes) -> bytes:
        if self._left is None:
            return text
        text = text[: self._left]
        self._left -= len(text)
        self.is_over = self._left <= 0
        return text


def split_lines(data: bytes) -> list[bytes]:
    """The lines with their ends; a carriage return ends none."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def find_tail(data: bytes, count: int) -> tuple[int, int]:
    """Where the last `count` lines of the data begin, and how many lines there are from there on, `count` at most.

    A rest without an end counts as a line.
    """
    if count <= 0 or not data:
        return len(data), 0
    end = len(data) - 1 if data.endswith(b"\n") else len(data)
    found = 0
    while found < count:
        at = data.rfind(b"\n", 0, end)
        found += 1
        if at < 0:
            return 0, found
        end = at
    return end + 1, found
