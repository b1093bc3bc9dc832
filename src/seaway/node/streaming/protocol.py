"""What is spoken over a stream to a program: subprotocols, channels, the final status.

Rule: spec "node" §5.5, §5.6.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

STREAM_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
"""Over SPDY, best first; the client's order decides."""
MESSAGE_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
"""Over a WebSocket."""
FORWARD_PROTOCOL = "portforward.k8s.io"
FORWARD_TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
MAX_SIZE = 0xFFFF
"""Of a terminal, in either direction: the kernel's."""
CLOSE_CHANNEL = 255


class Channel(IntEnum):
    """The number of a stream in a message, and its name among SPDY streams in lower case."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for the program's stdin; empty: there is no more."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """The size of the client's terminal."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams a client asks for. A terminal has no stderr of its own."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those that the client opens, the error stream among them."""
        found = [Channel.ERROR]
        found += [Channel.STDIN] * self.stdin + [Channel.STDOUT] * self.stdout + [Channel.STDERR] * self.stderr
        return (*found, Channel.RESIZE) if self.tty else tuple(found)


def parse_wanted(query: Sequence[tuple[str, str]]) -> Wanted | None:
    """The streams of a request to the node; None when it asks for none."""
    asked = {name for name, value in query if value in ("1", "true")}
    tty = "tty" in asked
    wanted = Wanted("input" in asked, "output" in asked, "error" in asked and not tty, tty)
    return wanted if wanted.stdin or wanted.stdout or wanted.stderr else None


def choose_protocol(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """The first of the client's that is supported."""
    return next((name for name in offered if name in supported), None)


def is_base64(protocol: str) -> bool:
    return "base64" in protocol


def speaks_status(protocol: str) -> bool:
    """The error stream has one Status, always; else a text, and only of a failure."""
    return protocol.startswith(("v4.", "v5."))


def encode_message(protocol: str, channel: int, data: bytes) -> bytes | str:
    """A message of the channel."""
    if is_base64(protocol):
        return f"{channel}{base64.b64encode(data).decode()}"
    return bytes((channel,)) + data


def decode_message(protocol: str, message: bytes | str) -> tuple[int, bytes] | None:
    """The channel and its bytes; None for a message that is none of the protocol's."""
    if is_base64(protocol):
        text = message.encode() if isinstance(message, str) else message
        if not text[:1].isdigit():
            return None
        try:
            return int(text[:1]), base64.b64decode(text[1:], validate=True)
        except binascii.Error:
            return None
    if isinstance(message, str) or not message:
        return None
    return message[0], message[1:]


def parse_sizes(data: str) -> tuple[list[Resize], str]:
    """The sizes that are whole, one JSON object after the other, and the rest. What is no size is left out."""
    decoder, sizes = json.JSONDecoder(), []
    data = data.lstrip()
    while data:
        try:
            found, end = decoder.raw_decode(data)
        except ValueError:
            break
        data = data[end:].lstrip()
        size = _read_size(found)
        if size is not None:
            sizes.append(size)
    return sizes, data[:MAX_SIZE]


def _read_size(found: object) -> Resize | None:
    if not isinstance(found, dict):
        return None
    rows, columns = found.get("Height"), found.get("Width")
    if isinstance(rows, int) and isinstance(columns, int) and 0 <= rows <= MAX_SIZE and 0 <= columns <= MAX_SIZE:
        return Resize(rows, columns)
    return None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended: with an exit code, or it could not begin, and why."""

    exit_code: int = 0
    error: str = ""


def encode_ending(protocol: str, ending: Ending) -> bytes:
    """What the error stream says at the end."""
    if ending.error:
        text = f"error executing command in container: {ending.error}"
    elif ending.exit_code:
        text = f"command terminated with non-zero exit code: {ending.exit_code}"
    else:
        text = ""
    if not speaks_status(protocol):
        return text.encode()
    if ending.error:
        message = f"Internal error occurred: {text}"
        status = {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
                  "details": {"causes": [{"message": text}]}, "code": 500}  # fmt: skip
    elif ending.exit_code:
        cause = {"reason": "ExitCode", "message": str(ending.exit_code)}
        status = {"metadata": {}, "status": "Failure", "message": text, "reason": "NonZeroExitCode",
                  "details": {"causes": [cause]}}  # fmt: skip
    else:
        status = {"metadata": {}, "status": "Success"}
    return json.dumps(status, separators=(",", ":")).encode()
