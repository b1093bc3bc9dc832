"""How the API server treats Leases: never written without a resourceVersion. Rule: spec "api-machinery" §4.4, §12."""

from __future__ import annotations

from seaway.api.lease.validation import validate_lease
from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy(
    validate_create=validate_lease,
    validate_update=validate_lease,
    creates_on_update=True,
    allows_unconditional_update=False,
)
