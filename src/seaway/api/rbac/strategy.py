"""How the API server treats roles and bindings: names are any path segment, and PUT creates.

What they may grant is judged where identities are known (`apiserver/escalation.py`).
Rule: spec "api-machinery" §1.3, §4.1.
"""

from __future__ import annotations

from seaway.api.machinery.names import validate_path_segment
from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy(validate_name=validate_path_segment, creates_on_update=True)
