"""One request on its way through the server: what is known of it so far, for metrics and logs.

Rule: spec "api-machinery" §1.4 (`Audit-Id`).
"""

from __future__ import annotations

import re
from datetime import datetime

from seaway.api.machinery.http import Identity, Request
from seaway.apiserver.routes import Route

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
"""64 characters are what upstream takes; the alphabet keeps logs and answers free of surprises."""
NO_ROUTE = Route("")


class Exchange:
    """Filled in as the request advances; read when it is answered."""

    __slots__ = (
        "audit_id", "decision", "identity", "impersonated", "level", "omitted", "received", "request", "route",
        "started", "waited",
    )  # fmt: skip

    def __init__(self, request: Request, identity: Identity, audit_id: str, started: float) -> None:
        self.request = request
        self.identity = identity
        self.audit_id = audit_id
        self.started = started
        self.route = NO_ROUTE
        self.waited = 0.0
        self.impersonated: Identity | None = None
        self.decision = ""
        """Of authorization: allow, forbid, or empty when it was not asked."""
        self.level = 0
        """How much of it is audited: `audit.Level`."""
        self.omitted: frozenset[str] = frozenset()
        self.received: datetime | None = None
        """When the audit first heard of it; None when it does not, or when it has told all."""


def is_safe_id(text: str) -> bool:
    """Whether a client's request id may be repeated in answers and logs."""
    return _SAFE_ID.fullmatch(text) is not None
