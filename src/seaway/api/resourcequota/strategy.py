"""How the API server treats ResourceQuotas themselves; what they count and refuse is in `apiserver/quota/`.

Rule: spec "api-machinery" trap 4, §9.1, §12.
"""

from __future__ import annotations

from seaway.api.machinery.strategy import StatusRule, Strategy
from seaway.api.resourcequota.validation import validate_quota, validate_quota_status, validate_quota_update

_STATUS = StatusRule({})

STRATEGY = Strategy(
    default=lambda obj: {**obj, "spec": obj.get("spec") or {}},
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_create=validate_quota,
    validate_update=validate_quota_update,
    validate_status_update=validate_quota_status,
    answers_delete_with_object=True,
)
