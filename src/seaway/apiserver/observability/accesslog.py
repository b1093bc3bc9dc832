"""Lines of the access log: one per request, key=value, nothing in it that opens a door.

The path has no query, since tokens and commands travel there; texts of clients are quoted when they could be taken for
something else.
Rule: style "Errors" (one line per decision, as key=value); design §12 (secrets never in logs).
"""

from __future__ import annotations

import json
import re
from datetime import datetime

from seaway.api.machinery.http import Identity, Request

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+~,*-]+", re.ASCII)
MAX_TEXT = 1024


def format_access(
    wall_now: datetime, audit_id: str, request: Request, identity: Identity | None, *, code: int, size: int, ms: float
) -> bytes:
    """The line of a request that is over. identity: None when it showed bad credentials. size: bytes of the body."""
    user = quote(identity.user) if identity is not None else "-"
    verb, path = quote(request.method), quote(request.path.partition("?")[0])
    return (
        f"time={wall_now:%Y-%m-%dT%H:%M:%S}.{wall_now.microsecond // 1000:03d}Z audit={audit_id} "
        f"source={quote(request.source)} user={user} verb={verb} path={path} code={code} bytes={size} ms={ms:.1f}\n"
    ).encode()


def quote(text: str) -> str:
    """The text as it is when it is one plain word, else as a JSON string in ASCII; cut when it is too long."""
    text = text[:MAX_TEXT]
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text) if text else "-"
