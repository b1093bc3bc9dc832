"""HTTP and TCP probes from the node to a Pod: one connection each, no proxy, no kept connection, TLS unverified.

Rule: spec "node" §2.8 (table of handlers).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from seaway.net.probing.http import HTTPTarget
from seaway.net.probing.transport import connect, describe, exchange
from seaway.node.probes import Outcome

__all__ = ["HTTPTarget", "probe_http", "probe_tcp"]

MAX_BODY_BYTES = 10 * 1024
MAX_REDIRECTS = 10


async def probe_tcp(host: str, port: int, *, timeout_seconds: float) -> Outcome:
    """Passed when a connection stands."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await connect(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: {describe(error)}")
    return Outcome(True)


async def probe_http(target: HTTPTarget, *, timeout_seconds: float, agent: str) -> Outcome:
    """Passed for 200 to 399; a redirect to another host name is not followed and passes."""
    url = target.url
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _follow(target, agent)
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
