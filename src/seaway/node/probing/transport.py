"""HTTP and TCP probes from the node to a Pod: one connection each, no proxy, no kept connection, TLS unverified.

Rule: spec "node" §2.8 (table of handlers).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from seaway.node.probes import Outcome

MAX_BODY_BYTES = 10 * 1024
MAX_REDIRECTS = 10
_MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HTTPTarget:
    """Where an HTTP probe goes. `headers` as given by the user, in order; a later one of a name replaces nothing."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()


async def probe_tcp(host: str, port: int, *, timeout_seconds: float) -> Outcome:
    """Passed when a connection stands."""
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: {_describe(error)}")
    _close(writer)
    return Outcome(True)


async def probe_http(target: HTTPTarget, *, timeout_seconds: float, agent: str) -> Outcome:
    """Passed for 200 to 399; a redirect to another host name is not followed and passes."""
    url = _url_of(target)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _follow(target, agent)
    except TimeoutError:
        text = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return Outcome(False, text)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Outcome(False, f'Get "{url}": {_describe(error)}')


def _describe(error: Exception) -> str:
    """The system's own words; asyncio's name the address, which is said already."""
    if isinstance(error, OSError) and error.errno:
        return f"connect: {os.strerror(error.errno).lower()}"
    return str(error) or type(error).__name__


async def _follow(target: HTTPTarget, agent: str) -> Outcome:
    for _ in range(MAX_REDIRECTS):
        status, location, body = await _exchange(target, agent)
        text = body.decode(errors="replace")
        if status in (301, 302, 303, 307, 308) and location:
            split = urlsplit(urljoin(_url_of(target), location))
            if split.hostname != urlsplit(_url_of(target)).hostname:
                return Outcome(True, text, warning=f"Probe terminated redirects, Response body: {text}")
            port = split.port or (443 if split.scheme == "https" else 80)
            path = split.path + (f"?{split.query}" if split.query else "")
            target = replace(target, scheme=split.scheme, port=port, path=path)
            continue
        if 200 <= status < 400:
            return Outcome(True, text)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")
    return Outcome(False, f'Get "{_url_of(target)}": stopped after {MAX_REDIRECTS} redirects')


def _url_of(target: HTTPTarget) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{target.scheme}://{host}:{target.port}{target.path if target.path.startswith('/') else '/' + target.path}"


async def _exchange(target: HTTPTarget, agent: str) -> tuple[int, str, bytes]:
    context = None
    if target.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=context, limit=_MAX_HEAD_BYTES)
    try:
        writer.write(_render_request(target, agent))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status, location, length = _parse_head(head)
        body = await _read_body(reader, length)
        return status, location, body
    except asyncio.LimitOverrunError as error:
        raise ValueError("malformed HTTP response: the head is too long") from error
    finally:
        _close(writer)


def _render_request(target: HTTPTarget, agent: str) -> bytes:
    split = urlsplit(_url_of(target))
    path = split.path + (f"?{split.query}" if split.query else "")
    given = {name.lower() for name, _ in target.headers}
    lines = [f"GET {path} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {split.netloc}")
    if "user-agent" not in given:
        lines.append(f"User-Agent: {agent}")
    if "accept" not in given:
        lines.append("Accept: */*")
    lines += [f"{name}: {value}" for name, value in target.headers if value or name.lower() != "accept"]
    lines += ["Connection: close", "", ""]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return "\r\n".join(lines).encode()


def _parse_head(head: bytes) -> tuple[int, str, int | None]:
    """Status, location and body length (None: until the end)."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise ValueError(f"malformed HTTP response {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "")
    return int(words[1]), headers.get("location", ""), int(length) if length.isdecimal() else None


async def _read_body(reader: asyncio.StreamReader, length: int | None) -> bytes:
    """At most MAX_BODY_BYTES; a server that ends early does not fail the probe."""
    want = MAX_BODY_BYTES if length is None else min(length, MAX_BODY_BYTES)
    try:
        return await reader.readexactly(want)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _close(writer: asyncio.StreamWriter) -> None:
    """Without SO_LINGER: a lingering close blocks the whole loop."""
    writer.close()
