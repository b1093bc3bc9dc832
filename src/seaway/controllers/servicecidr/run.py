"""The loop of ServiceCIDRs. Rule: spec "service-api" §5.5 (life-cycle controller), "controllers" §8.1."""

from __future__ import annotations

import asyncio
import datetime
import logging

import msgspec

from seaway.api.ipaddress.types import LABEL_MANAGED_BY, MANAGED_BY, IPAddress
from seaway.api.machinery.errors import ApiError, Conflict, NotFound
from seaway.api.registry import EVENTS, IP_ADDRESSES, SERVICE_CIDRS
from seaway.api.servicecidr.types import FINALIZER, Condition, ServiceCIDR
from seaway.client.requests import STRATEGIC_PATCH, TransportError
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.servicecidr.plan import contains, may_go, networks_of, overlaps, plan_service_cidr
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

WORKERS = 5
MAX_RETRIES = 15
BACK_OFF = BackOff(first_seconds=0.005)
MANAGER = "service-cidr-controller"
_MANAGED = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
_APPLY = "application/apply-patch+yaml"
_PAGE = 500


class ServiceCIDRController:
    """Keeps finalizer and condition of every ServiceCIDR."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._ranges = shared.cache(SERVICE_CIDRS, ServiceCIDR)
        self._addresses = shared.cache(IP_ADDRESSES, IPAddress, label_selector=_MANAGED)
        self._deleting_since: dict[str, float] = {}
        self._queue = QueueLoop(
            "servicecidr",
            self._sync,
            workers=WORKERS,
            back_off=BACK_OFF,
            max_retries=MAX_RETRIES,
            metrics=shared.metrics,
        )
        self._ranges.subscribe(self._on_range)
        self._addresses.subscribe(self._on_address)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._queue.run()

    def _on_range(self, change: Change[ServiceCIDR]) -> None:
        self._queue.add(change.key)
        if change.new is None:
            self._deleting_since.pop(change.key, None)
        elif change.old is None:  # it may free another to go
            for name, other in self._ranges.objects.items():
                if name != change.key and overlaps(change.new, other):
                    self._queue.add(name)

    def _on_address(self, change: Change[IPAddress]) -> None:
        """An address came or went: what a range waits for. Only those that are being deleted wait."""
        if change.old is not None and change.new is not None:
            return
        for name, cidr in self._ranges.objects.items():
            if cidr.is_deleting and contains(networks_of(cidr), change.key):
                self._queue.add(name)

    async def _sync(self, name: str) -> float | None:
        subject = self._ranges.objects.get(name)
        if subject is None:
            return None
        now = asyncio.get_running_loop().time()
        since = self._deleting_since.setdefault(name, now) if subject.is_deleting else now
        plan = plan_service_cidr(
            subject, self._ranges.objects.values(), self._addresses.objects, deleting_for_seconds=now - since
        )
        try:
            if plan.adds_finalizer:
                await self._patch_finalizers(subject, {"finalizers": [FINALIZER]})
            if plan.condition is not None:
                await self._apply_condition(subject, plan.condition)
            if plan.drops_finalizer and await self._may_go_for_sure(subject):
                await self._patch_finalizers(subject, {"$deleteFromPrimitiveList/finalizers": [FINALIZER]})
                log.info("servicecidr free servicecidr=%s", name)
        except (Conflict, NotFound) as error:  # it changed or went meanwhile: its event leads here again
            log.info("servicecidr servicecidr=%s error=%r", name, error)
        return plan.requeue_after_seconds

    async def _may_go_for_sure(self, subject: ServiceCIDR) -> bool:
        """Asks the server itself: a watch may lag, and what is let go here does not come back."""
        ranges = [msgspec.json.decode(raw, type=ServiceCIDR) for raw in (await self._client.list(SERVICE_CIDRS)).items]
        others = [other for other in ranges if other.metadata.name != subject.metadata.name]
        addresses, token = list[str](), ""
        while True:
            page = await self._client.list(IP_ADDRESSES, label_selector=_MANAGED, limit=_PAGE, continue_token=token)
            addresses += [msgspec.json.decode(raw, type=IPAddress).metadata.name for raw in page.items]
            token = page.continue_token
            if not token:
                return may_go(subject, others, addresses)

    async def _patch_finalizers(self, subject: ServiceCIDR, change: dict[str, list[str]]) -> None:
        patch = {"metadata": {"uid": subject.metadata.uid, **change}}
        await self._client.patch(SERVICE_CIDRS, subject.metadata.name, patch=patch, patch_type=STRATEGIC_PATCH)

    async def _apply_condition(self, subject: ServiceCIDR, wanted: Condition) -> None:
        name = subject.metadata.name
        condition = {**msgspec.to_builtins(wanted), "lastTransitionTime": _format(_wall_now())}
        body = {
            "kind": SERVICE_CIDRS.kind,
            "apiVersion": SERVICE_CIDRS.api_version,
            "metadata": {"name": name},
            "status": {"conditions": [condition]},
        }
        path = f"{SERVICE_CIDRS.path('', name)}/status"
        query = (("fieldManager", MANAGER), ("force", "true"))
        try:
            await self._client.send("PATCH", path, query=query, body=msgspec.json.encode(body), content_type=_APPLY)
        except (ApiError, TransportError):
            await self._report(subject, f"The ServiceCIDR Status can not be set to Ready={wanted.status}")
            raise

    async def _report(self, subject: ServiceCIDR, message: str) -> None:
        now = _format(_wall_now())
        about = {"kind": SERVICE_CIDRS.kind, "apiVersion": SERVICE_CIDRS.api_version}
        event = {
            "metadata": {"generateName": f"{subject.metadata.name}.", "namespace": "default"},
            "involvedObject": {**about, "name": subject.metadata.name, "uid": subject.metadata.uid},
            "type": "Warning",
            "reason": "KubernetesServiceCIDRError",
            "message": message,
            "source": {"component": MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.create(EVENTS, event, "default")
        except (ApiError, TransportError) as error:
            log.info("event lost servicecidr=%s error=%r", subject.metadata.name, error)


def _wall_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _format(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
