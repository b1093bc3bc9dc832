"""The loop of diagnosis: which Services are looked at, a while after a change, and what is said of them.

One worker, and a pause after each report: ten thousand Services without Pods must not drown the API.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.pod.types import Pod
from seaway.api.registry import SERVICES
from seaway.api.service.types import Service
from seaway.client.requests import STRATEGIC_PATCH
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.diagnosis.findings import (
    Finding,
    Surroundings,
    diagnose,
    has_endpoints,
    is_class_served,
    needs_class,
    needs_endpoints,
)
from seaway.controllers.diagnosis.plan import COMPONENT, plan_report, render_patch
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event, wall_now
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""After a change, before the Service is looked at; what is then found waits longer to be said."""
HINT_SECONDS = 10.0
"""After Pods of the namespace have come or changed labels, before the hint is looked for anew."""
PAUSE_SECONDS = 0.05
"""After each report: at most 20 per second."""
MAX_NEIGHBOURS = 500
"""Pods of a namespace that are compared with a selector."""
MAX_NAMESPACES = 100
MAX_WOKEN = 50
"""Findings of a namespace that one Pod's labels may change."""
BACK_OFF = BackOff(first_seconds=1.0, max_seconds=300.0)


class DiagnosisController:
    """Says on a Service why it leads nowhere; informers are the caller's to run."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._selection = shared.selection
        self._services, self._pods = shared.services, shared.pods
        self._served: Counter[str] = Counter()
        self._since: dict[str, dict[str, tuple[str, float]]] = {}
        self._standing: dict[str, dict[str, None]] = {}
        self._is_started = False
        self._queue = QueueLoop("diagnosis", self._sync, workers=1, back_off=BACK_OFF, metrics=shared.metrics)
        self._services.subscribe(self._on_service)
        self._pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work until cancelled."""
        self._is_started = True
        for key in sorted(self._services.objects):
            self._queue.add_after(key, SETTLE_SECONDS)
        await self._queue.run()

    def _on_service(self, change: Change[Service]) -> None:
        old, new = change.old, change.new
        for service, count in ((old, -1), (new, 1)):
            if service is not None and needs_class(service) and service.status.load_balancer.ingress:
                self._served[service.spec.load_balancer_class or ""] += count
        if new is None or old is None or (old.spec, old.metadata.uid) != (new.spec, new.metadata.uid):
            self._since.pop(change.key, None)
        elif is_class_served(old) == is_class_served(new):
            return
        if new is None:
            self._set_standing(change.key, is_standing=False)
        else:
            self._queue.add_after(change.key, SETTLE_SECONDS)

    def _on_pod(self, change: Change[Pod]) -> None:
        if not self._is_started:  # all Services are looked at when it begins
            return
        for key in sorted(self._selection.find_selecting(change)):
            self._queue.add_after(key, SETTLE_SECONDS)
        if change.old is None or change.new is None or change.old.metadata.labels != change.new.metadata.labels:
            namespace = change.key.partition("/")[0]
            for key in islice(self._standing.get(namespace, ()), MAX_WOKEN):
                self._queue.add_after(key, HINT_SECONDS)

    async def _sync(self, key: str) -> float | None:
        service = self._services.objects.get(key)
        if service is None or service.metadata.deletion_timestamp is not None:
            return None
        now = asyncio.get_running_loop().time()
        findings = self._diagnose(service)
        self._set_standing(key, is_standing=bool(findings))
        plan = plan_report(service, findings, self._note(key, findings, now), now=now, wall_now=wall_now())
        if not plan.is_empty:
            try:
                await self._client.patch(
                    SERVICES, service.metadata.name, service.metadata.namespace,
                    patch=render_patch(service, plan), patch_type=STRATEGIC_PATCH, subresource="status",
                )  # fmt: skip
            except (Conflict, NotFound):  # another of that name by now, or none
                return None
            for finding in plan.events:
                log.info("diagnosis service=%s reason=%s message=%r", key, finding.reason, finding.message)
                happening = Happening(COMPONENT, finding.reason, finding.message)
                await post_event(self._client, SERVICES, service.metadata, happening)
            await asyncio.sleep(PAUSE_SECONDS)
        return plan.requeue_after_seconds

    def _diagnose(self, service: Service) -> tuple[Finding, ...]:
        """Most Services are well, and are not compared with anything."""
        selected = self._selection.select_pods(service) if needs_endpoints(service) else []
        is_well = not needs_endpoints(service) or has_endpoints(service, selected)
        if is_well and (not needs_class(service) or is_class_served(service)):
            return ()
        neighbours = self._selection.pods.find_pods(service.metadata.namespace, lambda labels: True)
        around = Surroundings(
            list(islice(neighbours, MAX_NEIGHBOURS)) if not selected else (),
            dict(self._look_elsewhere(service)) if not selected and service.spec.selector else None,
            {name: count for name, count in self._served.items() if count},
        )
        return diagnose(service, selected, around)

    def _look_elsewhere(self, service: Service) -> Iterator[tuple[str, int]]:
        for namespace in islice(self._selection.pods.namespaces, MAX_NAMESPACES):
            count = self._selection.pods.count_pods(namespace, service.spec.selector)
            if count and namespace != service.metadata.namespace:
                yield namespace, count

    def _note(self, key: str, findings: tuple[Finding, ...], now: float) -> dict[str, float]:
        """Since when each finding stands; another reason for the same condition begins anew."""
        before = self._since.pop(key, {})
        after = {}
        for finding in findings:
            reason, since = before.get(finding.condition, ("", now))
            after[finding.condition] = (finding.reason, since if reason == finding.reason else now)
        if after:
            self._since[key] = after
        return {condition: since for condition, (_, since) in after.items()}

    def _set_standing(self, key: str, *, is_standing: bool) -> None:
        namespace = key.partition("/")[0]
        if is_standing:
            self._standing.setdefault(namespace, {})[key] = None
        elif key in (keys := self._standing.get(namespace, {})):
            del keys[key]
            if not keys:
                del self._standing[namespace]
