"""The loop of Jobs: counts Pods that have ended, makes more, and lets go of Pods whose Job has gone.

Rule: spec "controllers" §7.9. Finished Jobs whose time is over are deleted here, too (upstream has a loop for that).
"""

from __future__ import annotations

import asyncio
import logging

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.machinery.labelselectors import read_label_selector
from seaway.api.pod.types import Pod
from seaway.api.registry import JOBS, PODS
from seaway.client.requests import STRATEGIC_PATCH
from seaway.client.run import Change, QueueLoop
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.job.plan import FINALIZER, JobPlan, find_expiry, is_finished, plan_job
from seaway.controllers.workloads.job.render import render_job_pod, render_release
from seaway.controllers.workloads.podcontrol.ownership import (
    find_controller,
    key_in,
    make_controller_reference,
    read_meta,
)
from seaway.controllers.workloads.podcontrol.run import PodOwnerLoop, raise_first
from seaway.controllers.workloads.run import BACK_OFF, WORKERS, Json

log = logging.getLogger(__name__)

OURS = ("", "kubernetes.io/job-controller")
"""Values of `spec.managedBy` that are this loop."""


class JobController(PodOwnerLoop):
    """Runs Pods until enough have ended well, or too many have not."""

    def __init__(self, shared: Shared) -> None:
        self._strays = QueueLoop(
            "job-strays", self._release_stray, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics
        )
        super().__init__(
            shared, JOBS, name="job", component="job-controller",
            read_selector=lambda owner: read_label_selector(owner["spec"].get("selector")),
        )  # fmt: skip
        self.pods.subscribe(self._on_tracked_pod)
        self.owners.subscribe(self._on_gone_job)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strays.run())
            group.create_task(super().run())

    def _on_tracked_pod(self, change: Change[Pod]) -> None:
        pod = change.new
        if pod is not None and FINALIZER in pod.metadata.finalizers:
            self._strays.add(change.key)

    def _on_gone_job(self, change: Change[Json]) -> None:
        job = change.new or change.old
        assert job is not None
        if change.new is None or job["metadata"].get("deletionTimestamp"):
            for key in self.by_owner.owned(job["metadata"]["uid"]):
                self._strays.add(key)

    async def _release_stray(self, key: str) -> None:
        """A Pod that nobody is going to count must not be kept for it."""
        pod = self.pods.objects.get(key)
        if pod is None or FINALIZER not in pod.metadata.finalizers:
            return
        reference = find_controller(pod.metadata)
        if reference is not None and reference.kind == JOBS.kind:
            job = self.owners.objects.get(key_in(pod.metadata.namespace, reference.name))
            meta = job["metadata"] if job is not None else {}
            if meta.get("uid") == reference.uid and not meta.get("deletionTimestamp"):
                return
        await self._release(key, pod)

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Count, make and remove, and say how it stands."""
        if (owner["spec"].get("managedBy") or "") not in OURS or owner["metadata"].get("deletionTimestamp"):
            return None
        pods = await self.claim_pods(key, owner)
        if is_finished(owner):
            await raise_first([self._release(key, pod) for pod in pods if FINALIZER in pod.metadata.finalizers])
            return await self._expire(owner)
        plan = plan_job(owner, pods, wall_now=self.wall_now())
        await self._remove(key, owner, plan)
        await self.write_status(key, owner, plan.status)
        for reason, message, type_ in plan.events:
            self.say(owner, reason, message, type_=type_)
        reference = make_controller_reference(self.resource, read_meta(owner))
        bodies = [
            render_job_pod(
                owner, reference, index,
                failures=plan.failures.get(index, 0) if plan.failures is not None and index is not None else None,
            )
            for index in plan.create
        ]  # fmt: skip
        await self.create_pods(key, owner, bodies)
        return plan.requeue_after_seconds

    async def _remove(self, key: str, owner: Json, plan: JobPlan) -> None:
        """Counted Pods lose the finalizer; Pods that are not to count lose it before they are deleted."""
        await raise_first([self._release(key, pod) for pod in (*plan.release, *plan.remove)])
        await self.delete_pods(key, owner, (*plan.remove, *plan.end))

    async def _release(self, key: str, pod: Pod) -> None:
        meta = pod.metadata
        if FINALIZER not in meta.finalizers:
            return
        patch = render_release(meta.uid)
        try:
            written = await self.client.patch(PODS, meta.name, meta.namespace, patch=patch, patch_type=STRATEGIC_PATCH)
        except (NotFound, Conflict):
            return
        self.expect(key, PODS, written)

    async def _expire(self, owner: Json) -> float | None:
        left, meta = find_expiry(owner, self.wall_now()), owner["metadata"]
        if left is None or left > 0:
            return left
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": meta["uid"]}}
        try:
            await self.client.delete(JOBS, meta["name"], meta["namespace"], options=options)
        except (NotFound, Conflict) as error:
            log.info("expire job=%s/%s error=%r", meta["namespace"], meta["name"], error)
        return None
