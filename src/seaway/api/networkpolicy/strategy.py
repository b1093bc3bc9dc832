"""How the API server treats NetworkPolicies: they are kept; nothing here enforces them.

Rule: spec "api-machinery" §4.2, §12.
"""

from __future__ import annotations

from seaway.api.machinery.strategy import Strategy
from seaway.api.networkpolicy.defaults import default_policy
from seaway.api.networkpolicy.validation import validate_policy

STRATEGY = Strategy(
    default=default_policy,
    validate_create=validate_policy,
    validate_update=validate_policy,
    has_generation=True,
)
