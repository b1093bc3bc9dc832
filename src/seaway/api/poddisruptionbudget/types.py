"""PodDisruptionBudget as readers see it. Rule: data/ (types)."""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.meta import ObjectMeta, Reader


class BudgetSpec(Reader, frozen=True):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: dict[str, Any] | None = None


class BudgetStatus(Reader, frozen=True):
    observed_generation: int = 0
    disrupted_pods: dict[str, str] = {}
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: tuple[dict[str, Any], ...] = ()


class PodDisruptionBudget(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()
