"""One try at a target, as its Service asks for it. Every failure of a peer is an outcome."""

from __future__ import annotations

import asyncio
import logging

from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.state import Outcome
from seaway.controllers.healthcheck.targets import Target
from seaway.net.loopback import LoopbackMap
from seaway.net.probing.grpc import HealthCall
from seaway.net.probing.http import HTTPTarget
from seaway.net.probing.transport import call_health, connect, describe, exchange

log = logging.getLogger(__name__)

AGENT = "seaway-healthcheck"


async def probe(check: Check, target: Target, *, loopback: LoopbackMap | None = None) -> Outcome:
    """Passed when a connection stands (tcp), for status 200 to 399 (http, https), or when the service serves (grpc).

    Redirects are not followed: they would lead elsewhere. The message repeats nothing that the peer said: who writes a
    Service learns whether an address answers, and no more. Never raises: a peer must not be able to end the loop.
    loopback: where addresses of the cluster are on this host.
    """
    shown = f"{check.kind} {_join(target)}"
    try:
        async with asyncio.timeout(check.timeout_seconds):
            wrong = await _try(check, target, (loopback and loopback.to_loopback(target.address)) or target.address)
    except TimeoutError:
        wrong = f"no answer in {check.timeout_seconds:g} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        wrong = describe(error)
    except ValueError:
        wrong = f"malformed {check.kind.upper()} response"
    except Exception as error:
        log.exception("healthcheck target=%s", _join(target))
        wrong = type(error).__name__
    return Outcome(not wrong, f"{shown}: {wrong}" if wrong else "")


async def _try(check: Check, target: Target, host: str) -> str:
    """What is wrong, or nothing. host: where the target is dialled."""
    if check.kind == "grpc":
        return await call_health(host, target.port, HealthCall(_join(target), check.rest, agent=AGENT))
    if check.kind in ("http", "https"):
        asked = HTTPTarget(check.kind, host, target.port, check.rest)
        status, _, _ = await exchange(asked, AGENT, max_body_bytes=0)
        return "" if 200 <= status < 400 else f"status {status}"
    await connect(host, target.port)
    return ""


def _join(target: Target) -> str:
    return f"[{target.address}]:{target.port}" if ":" in target.address else f"{target.address}:{target.port}"
