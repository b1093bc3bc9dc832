"""How the API server treats ServiceCIDRs: a status write changes the status alone, not even metadata.

Rule: spec "service-api" §5.5, "api-machinery" §9.1.
"""

from __future__ import annotations

from seaway.api.machinery.strategy import Context, Json, StatusRule, Strategy
from seaway.api.servicecidr.validation import validate_service_cidr, validate_service_cidr_update

_STATUS = StatusRule({})


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    return {**_STATUS.on_status_update(obj, old, context), "metadata": {**old["metadata"]}}


STRATEGY = Strategy(
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=prepare_status_update,
    validate_create=validate_service_cidr,
    validate_update=validate_service_cidr_update,
    reset_fields={"status": ("metadata", "spec")},
)
