"""How the API server treats PodDisruptionBudgets. Rule: spec "api-machinery" §4.2, §9.1."""

from __future__ import annotations

from seaway.api.machinery.strategy import StatusRule, Strategy
from seaway.api.poddisruptionbudget.validation import validate_budget, validate_budget_status

_STATUS = StatusRule({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})

STRATEGY = Strategy(
    default=lambda obj: {**obj, "spec": obj.get("spec") or {}},
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_create=validate_budget,
    validate_update=validate_budget,
    validate_status_update=validate_budget_status,
    has_generation=True,
)
