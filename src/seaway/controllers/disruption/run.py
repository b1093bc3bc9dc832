"""The loop of disruption budgets. Rule: the page at the top of `plan.py`."""

from __future__ import annotations

import datetime
import logging

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.machinery.meta import OwnerReference
from seaway.api.pod.types import Pod
from seaway.api.poddisruptionbudget.types import PodDisruptionBudget
from seaway.api.registry import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from seaway.api.scale.types import Scaled
from seaway.client.index import Index
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff, RetryLater
from seaway.controllers.disruption.plan import NoScale, plan_budget, read_selector, render_patch, selects
from seaway.controllers.events.run import post_event
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

WORKERS = 5
BACK_OFF = BackOff(first_seconds=0.01, max_seconds=60.0)
SETTLE_SECONDS = 0.02
"""Pods come and go in bursts; a budget is worked out once for each."""
_SCALED = (DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)


class DisruptionController:
    """Keeps the status of every PodDisruptionBudget."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._pods = shared.pods
        self._budgets = shared.cache(POD_DISRUPTION_BUDGETS, PodDisruptionBudget)
        self._scaled = {(r.api_version, r.kind): shared.cache(r, Scaled) for r in _SCALED}
        self._pods_by_labels = shared.pods_by_labels
        self._by_namespace: Index[PodDisruptionBudget, str] = Index(lambda budget: (budget.metadata.namespace,))
        self._told: dict[str, frozenset[str]] = {}
        self._queue = QueueLoop("disruption", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._budgets.subscribe(self._on_budget)
        self._pods.subscribe(self._on_pod)
        for cache in self._scaled.values():
            cache.subscribe(self._on_scaled)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._queue.run()

    def _on_budget(self, change: Change[PodDisruptionBudget]) -> None:
        self._by_namespace.apply(change)
        if change.new is None:
            self._told.pop(change.key, None)
        else:
            self._queue.add(change.key)

    def _on_pod(self, change: Change[Pod]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and _show(old) == _show(new):
            return
        for pod in (old, new):
            if pod is not None:
                for key in self._by_namespace.get(pod.metadata.namespace):
                    if selects(self._budgets.objects[key], pod):
                        self._queue.add_after(key, SETTLE_SECONDS)

    def _on_scaled(self, change: Change[Scaled]) -> None:
        """Another number of Pods is wanted, which a budget may be a share of."""
        old, new = change.old, change.new
        if old is not None and new is not None and old.spec == new.spec:
            return
        namespace = change.key.partition("/")[0]
        for key in self._by_namespace.get(namespace):
            self._queue.add_after(key, SETTLE_SECONDS)

    async def _sync(self, key: str) -> float | None:
        budget = self._budgets.objects.get(key)
        if budget is None:
            return None
        selector = read_selector(budget)
        namespace = budget.metadata.namespace
        pods = self._pods_by_labels.find_pods(namespace, selector.matches) if selector is not None else ()
        wall_now = datetime.datetime.now(datetime.UTC)
        plan = plan_budget(budget, pods, self._find_scale, wall_now=wall_now)
        if plan.status is not None:
            await self._write(key, budget, plan.status)
        for name, happening in plan.about_pods:
            about = self._pods.objects.get(f"{budget.metadata.namespace}/{name}")
            if about is not None:
                await post_event(self._client, PODS, about.metadata, happening)
        news = frozenset(happening.reason for happening in plan.events)
        for happening in plan.events:  # what stays wrong is told once
            if happening.reason not in self._told.get(key, ()):
                await post_event(self._client, POD_DISRUPTION_BUDGETS, budget.metadata, happening)
        self._told[key] = news
        return plan.requeue_after_seconds

    async def _write(self, key: str, budget: PodDisruptionBudget, status: dict[str, object]) -> None:
        """Of what was looked at: an eviction that came in between has spent from it, and is looked at first."""
        meta = budget.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": render_patch(budget, status)}
        try:
            await self._client.patch(
                POD_DISRUPTION_BUDGETS, meta.name, meta.namespace, patch=patch, subresource="status"
            )
        except NotFound:
            return
        except Conflict as error:
            raise RetryLater(str(error)) from None
        log.info("budget=%s allowed=%s", key, status["disruptionsAllowed"])

    def _find_scale(self, namespace: str, owner: OwnerReference) -> tuple[str, int] | None:
        """Of the owner, or of the Deployment above it. Raises NoScale for a kind that is not scaled here."""
        cache = self._scaled.get((owner.api_version, owner.kind))
        if cache is None:
            group = owner.api_version.partition("/")[0] if "/" in owner.api_version else ""
            kind = f"{owner.kind.lower()}s.{group}".rstrip(".")
            raise NoScale(f"{kind} does not implement the scale subresource")
        found = cache.objects.get(f"{namespace}/{owner.name}")
        if found is None or found.metadata.uid != owner.uid:
            return None
        above = next((o for o in found.metadata.owner_references if o.controller), None)
        if above is not None and (above.api_version, above.kind) in self._scaled:
            return self._find_scale(namespace, above)
        return found.metadata.uid, found.spec.replicas


def _show(pod: Pod) -> tuple[object, ...]:
    """What a budget looks at."""
    meta = pod.metadata
    return meta.uid, meta.labels, meta.owner_references, meta.deletion_timestamp, pod.is_ready
