"""How the API server treats roles: names are any path segment, and PUT creates. (What they grant: `rbac`.)"""

from __future__ import annotations

from seaway.api.machinery.names import validate_path_segment
from seaway.api.machinery.strategy import Strategy
from seaway.api.rbac.validation import validate_role

STRATEGY = Strategy(
    validate_name=validate_path_segment,
    validate_create=validate_role,
    validate_update=lambda obj, old: validate_role(obj),
    creates_on_update=True,
)
