"""How the API server treats PersistentVolumeClaims. Rule: spec "api-machinery" trap 4, §9.1."""

from __future__ import annotations

from seaway.api.machinery.strategy import StatusRule, Strategy
from seaway.api.persistentvolumeclaim.defaults import default_claim
from seaway.api.persistentvolumeclaim.validation import (
    validate_claim,
    validate_claim_status,
    validate_claim_update,
)

_STATUS = StatusRule({"phase": "Pending"})

STRATEGY = Strategy(
    default=default_claim,
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_create=validate_claim,
    validate_update=validate_claim_update,
    validate_status_update=validate_claim_status,
    answers_delete_with_object=True,
)
