"""How the API server treats bindings of roles: names are any path segment, and PUT creates.

What they may grant, and that they keep their role, is judged where identities are known:
`apiserver/access/escalation.py`.
Rule: spec "api-machinery" §1.3, §4.1, §10.4.
"""

from __future__ import annotations

from seaway.api.machinery.names import validate_path_segment
from seaway.api.machinery.strategy import Strategy
from seaway.api.rbac.validation import default_binding, validate_binding

STRATEGY = Strategy(
    default=default_binding,
    validate_name=validate_path_segment,
    validate_create=validate_binding,
    validate_update=lambda obj, old: validate_binding(obj),
    creates_on_update=True,
)
