"""The loop of the namespace controller.

The kinds are those that the server itself says it has, asked anew for each namespace that ends.
Rule: spec "controllers" §7.1, §7.2.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
from collections.abc import Sequence

import msgspec

from seaway.api.configmap.types import ConfigMap
from seaway.api.machinery.errors import AlreadyExists, ApiError, Conflict, Forbidden, MethodNotAllowed, NotFound
from seaway.api.machinery.meta import ObjectMeta, Reader
from seaway.api.namespace.objects import DEFAULT_ACCOUNT, ROOT_CA
from seaway.api.namespace.types import Namespace
from seaway.api.pod.types import Pod
from seaway.api.registry import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from seaway.client.discovery import discover, select_with_verbs
from seaway.client.requests import TransportError
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff, RetryLater
from seaway.controllers.namespace.plan import (
    FINALIZER,
    Content,
    Json,
    TerminationPlan,
    find_unexplained,
    is_terminating,
    merge_conditions,
    plan_defaults,
    plan_termination,
)
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

WORKERS = 10
BACK_OFF = BackOff(max_seconds=60.0)
MAX_ROUNDS = 4
"""Of deleting and looking again in one sync: Pods, the rest, what that set free."""


class _Left(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


class NamespaceController:
    """Keeps the default objects of Active namespaces, and ends those that were deleted."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._namespaces = shared.namespaces
        self._ca_pem = shared.config.ca_pem
        self._accounts = shared.cache(SERVICE_ACCOUNTS, _Left, field_selector=f"metadata.name={DEFAULT_ACCOUNT}")
        self._config_maps = shared.cache(CONFIG_MAPS, ConfigMap, field_selector=f"metadata.name={ROOT_CA}")
        self._queue = QueueLoop("namespace", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._namespaces.subscribe(lambda change: self._queue.add(change.key))
        shared.pods.subscribe(self._on_pod)
        self._accounts.subscribe(self._on_default)
        self._config_maps.subscribe(self._on_default)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._queue.run()

    def _on_pod(self, change: Change[Pod]) -> None:
        """The last Pod of a terminating namespace is gone."""
        namespace = self._namespaces.objects.get(change.key.partition("/")[0])
        if change.new is None and namespace is not None and is_terminating(namespace):
            self._queue.add(namespace.metadata.name)

    def _on_default(self, change: Change[_Left] | Change[ConfigMap]) -> None:
        """A default object came, changed or went; its own creation is an empty plan."""
        if self._namespaces.is_synced:
            self._queue.add(change.key.partition("/")[0])

    async def _sync(self, name: str) -> float | None:
        namespace = self._namespaces.objects.get(name)
        if namespace is None:
            return None
        if is_terminating(namespace):
            return await self._terminate(name)
        await self._keep_defaults(namespace)
        return None

    async def _keep_defaults(self, namespace: Namespace) -> None:
        name = namespace.metadata.name
        plan = plan_defaults(
            namespace,
            has_service_account=f"{name}/{DEFAULT_ACCOUNT}" in self._accounts.objects,
            config_map=self._config_maps.objects.get(f"{name}/{ROOT_CA}"),
            ca_pem=self._ca_pem,
        )
        for resource, obj in (
            (SERVICE_ACCOUNTS, plan.create_service_account),
            (CONFIG_MAPS, plan.create_config_map),
        ):
            if obj is not None:
                await self._create(resource, obj, name)
        if plan.update_config_map is not None:
            await self._client.update(CONFIG_MAPS, plan.update_config_map)

    async def _create(self, resource: Resource, obj: Json, namespace: str) -> None:
        try:
            await self._client.create(resource, obj, namespace)
        except AlreadyExists:
            return
        except Forbidden as error:
            if not error.is_namespace_terminating:
                raise

    async def _terminate(self, name: str) -> float | None:
        try:
            live: Json = await self._client.get(NAMESPACES, name, as_type=dict)
        except NotFound:
            return None
        if FINALIZER not in live.get("spec", {}).get("finalizers", ()):
            return None
        discovery = await discover(self._client)
        found = select_with_verbs(discovery.resources, "list", "delete")
        kinds = {f"{r.plural}.{r.group}" if r.group else r.plural: r for r in found if r.namespaced}
        plan, failures, deleted = TerminationPlan(), list[str](), set[str]()
        for _ in range(MAX_ROUNDS):
            contents = [await self._look(plural, resource, name) for plural, resource in kinds.items()]
            failures.extend(find_unexplained(name, [c for c in contents if c.plural in deleted]))
            plan = plan_termination(contents, failures, unknown=discovery.failures)
            if not plan.delete or failures:
                break
            failures = await self._delete_contents(name, [kinds[plural] for plural in plan.delete])
            deleted.update(plan.delete)
        log.info("namespace namespace=%s empty=%s remaining=%s", name, plan.is_empty, ",".join(plan.delete))
        live = await self._write_conditions(live, plan)
        if plan.is_empty:
            live["spec"]["finalizers"] = [f for f in live["spec"]["finalizers"] if f != FINALIZER]
            await self._finalize(live)
            return None
        if plan.stuck:
            raise RetryLater(plan.stuck)
        return plan.requeue_after_seconds or 1.0

    async def _look(self, plural: str, resource: Resource, namespace: str) -> Content:
        try:
            page = await self._client.list(resource, namespace)
        except NotFound:  # the kind itself has gone since
            return Content(plural, 0)
        left = [msgspec.json.decode(raw, type=_Left).metadata for raw in page.items]
        finalizers: dict[str, int] = {}
        for meta in left:
            for finalizer in meta.finalizers:
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        return Content(
            plural,
            len(left),
            terminating=sum(meta.deletion_timestamp is not None for meta in left),
            finalizers=finalizers,
            grace_seconds=max((meta.deletion_grace_period_seconds or 0 for meta in left), default=0),
            gvr=f"{resource.group}/{resource.version}, Resource={resource.plural}",
        )

    async def _delete_contents(self, namespace: str, kinds: Sequence[Resource]) -> list[str]:
        """Deletes the collections; returns the texts of what was refused."""
        failures = []
        for resource in kinds:
            try:
                await self._delete_kind(resource, namespace)
            except NotFound:
                continue
            except (ApiError, TransportError) as error:
                failures.append(f"{resource.plural}: {error}")
        return failures

    async def _delete_kind(self, resource: Resource, namespace: str) -> None:
        options = {"propagationPolicy": "Background"}
        if "deletecollection" in resource.verbs:
            with contextlib.suppress(MethodNotAllowed):
                await self._client.delete_collection(resource, namespace, options=options)
                return
        page = await self._client.list(resource, namespace)
        for raw in page.items:
            name = msgspec.json.decode(raw, type=_Left).metadata.name
            with contextlib.suppress(NotFound):
                await self._client.delete(resource, name, namespace, options=options)

    async def _write_conditions(self, live: Json, plan: TerminationPlan) -> Json:
        status = dict(live.get("status") or {})
        wall_now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = merge_conditions(status.get("conditions", ()), plan.conditions, wall_now)
        if plan.is_empty or status.get("conditions") == conditions:
            return live
        status |= {"phase": "Terminating", "conditions": conditions}
        try:
            return await self._client.update(NAMESPACES, {**live, "status": status}, subresource="status")
        except Conflict:
            return live

    async def _finalize(self, live: Json) -> None:
        try:
            await self._client.update(NAMESPACES, live, subresource="finalize")
        except NotFound:
            return
