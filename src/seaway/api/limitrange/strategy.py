"""How the API server treats LimitRanges themselves; what they do to Pods is in `apiserver/admission/limitranges.py`.

Rule: spec "api-machinery" §1.3 (PUT creates), §12.
"""

from __future__ import annotations

from seaway.api.limitrange.defaults import default_limit_range
from seaway.api.limitrange.validation import validate_limit_range
from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy(
    default=default_limit_range,
    validate_create=validate_limit_range,
    validate_update=validate_limit_range,
    creates_on_update=True,
)
