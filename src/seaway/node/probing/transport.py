"""HTTP, TCP and gRPC probes from the node to a Pod: one connection each, no proxy, no kept connection, TLS unverified.

Rule: spec "node" §2.8 (table of handlers).
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from seaway.net.probing.grpc import HealthCall
from seaway.net.probing.http import HTTPTarget
from seaway.net.probing.transport import call_health, connect, describe, exchange
from seaway.node.probes import Outcome

__all__ = ["HTTPTarget", "probe_grpc", "probe_http", "probe_tcp"]

MAX_BODY_BYTES = 10 * 1024
MAX_REDIRECTS = 10
_PLAIN_ANSWERS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is no TLS, in 1.1, and in 3."""


async def probe_tcp(host: str, port: int, *, timeout_seconds: float | None) -> Outcome:
    """Passed when a connection stands."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await connect(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: {describe(error)}")
    return Outcome(True)


async def probe_grpc(host: str, port: int, service: str, *, timeout_seconds: float, agent: str) -> Outcome:
    """Passed when the health service says that the service serves; "" is the server as a whole."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    call = HealthCall(address, service, agent=agent)
    limit = f"{timeout_seconds:g}s"
    try:
        async with asyncio.timeout(timeout_seconds):
            wrong = await call_health(host, port, call)
    except TimeoutError:
        if call.is_begun:
            return Outcome(False, f"timeout: health rpc did not complete within {limit}")
        return Outcome(False, _refuse_dial(address, limit, "context deadline exceeded"))
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        if call.is_begun:
            return Outcome(False, f"error: health rpc probe failed: {describe(error)}")
        return Outcome(False, _refuse_dial(address, limit, describe(error)))
    if not wrong:
        return Outcome(True, f"status: {call.status}")
    if call.status:
        return Outcome(False, f'service unhealthy (responded with "{call.status}")')
    if call.code == "UNIMPLEMENTED":
        text = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return Outcome(False, f"error: {text}: {wrong}")
    return Outcome(False, f"error: health rpc probe failed: {wrong}")


def _refuse_dial(address: str, limit: str, why: str) -> str:
    return f'timeout: failed to connect service "{address}" within {limit}: {why}'


async def probe_http(
    target: HTTPTarget, *, timeout_seconds: float | None, agent: str, may_fall_back: bool = False
) -> Outcome:
    """Passed for 200 to 399; a redirect to another host name is not followed and passes.

    may_fall_back: a server that speaks plain HTTP where HTTPS was asked for is asked again in HTTP, as hooks are
    (spec "node" §2.10).
    """
    url = target.url
    try:
        async with asyncio.timeout(timeout_seconds):
            try:
                return await _follow(target, agent)
            except ssl.SSLError as error:
                if not may_fall_back or error.reason not in _PLAIN_ANSWERS:
                    raise
                return await _follow(replace(target, scheme="http"), agent)
    except TimeoutError:
        text = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return Outcome(False, text)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Outcome(False, f'Get "{url}": {describe(error)}')


async def _follow(target: HTTPTarget, agent: str) -> Outcome:
    for _ in range(MAX_REDIRECTS):
        status, location, body = await exchange(target, agent, max_body_bytes=MAX_BODY_BYTES)
        text = body.decode(errors="replace")
        if status in (301, 302, 303, 307, 308) and location:
            split = urlsplit(urljoin(target.url, location))
            if split.hostname != urlsplit(target.url).hostname:
                return Outcome(True, text, warning=f"Probe terminated redirects, Response body: {text}")
            port = split.port or (443 if split.scheme == "https" else 80)
            path = split.path + (f"?{split.query}" if split.query else "")
            target = replace(target, scheme=split.scheme, port=port, path=path)
            continue
        if 200 <= status < 400:
            return Outcome(True, text)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")
    return Outcome(False, f'Get "{target.url}": stopped after {MAX_REDIRECTS} redirects')
