"""The loop of health checks: a task for each target, which waits, tries and tells; one worker, which writes.

`state.py` says when a target is due and what its results mean, `plan.py` what is written. Nothing is remembered but in
the slices: a loop that begins anew takes from them who was down, so a restart changes nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom

import msgspec

from seaway.api.endpointslice.types import LABEL_SERVICE_NAME, EndpointSlice
from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.machinery.meta import object_key
from seaway.api.registry import ENDPOINT_SLICES, SERVICES
from seaway.api.service.types import Service
from seaway.client.index import Index
from seaway.client.requests import JSON_PATCH
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.endpointslice.tracker import SliceTracker
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.healthcheck.check import Check, parse_check
from seaway.controllers.healthcheck.held import ANNOTATION_CHECK, ANNOTATION_HELD
from seaway.controllers.healthcheck.metrics import CheckMetrics
from seaway.controllers.healthcheck.plan import (
    list_held,
    make_change_events,
    make_complaints,
    plan_conditions,
)
from seaway.controllers.healthcheck.state import Outcome, TargetState, restart, start, step
from seaway.controllers.healthcheck.targets import (
    Target,
    TargetChoice,
    choose_targets,
    count_allowed,
    find_down,
    is_checkable,
    is_checked,
    list_api_targets,
)
from seaway.controllers.healthcheck.transport import probe as probe_by_socket
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

Probe = Callable[[Check, Target], Awaitable[Outcome]]

MAX_AT_ONCE = 256
"""Tries under way, far below the 1,024 files that a process may usually open."""
MAX_AT_ONCE_OF_SERVICE = 64
"""So that one Service of targets that do not answer takes no turn of another's."""
PAUSE_SECONDS = 0.02
"""After each write: at most 50 a second."""
LOOK_AGAIN_SECONDS = 60.0
"""When targets had to be left out, others may have gone by then."""
API_SERVICE = "default/kubernetes"
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=30.0)


@dataclass(slots=True)
class _Checked:
    """A Service that is checked: its targets, each with a task that owns its state."""

    check: Check
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE_OF_SERVICE))
    states: dict[Target, TargetState] = field(default_factory=dict)
    tasks: dict[Target, asyncio.Task[None]] = field(default_factory=dict)

    def stop(self, targets: Iterable[Target]) -> None:
        for target in targets:
            self.tasks.pop(target).cancel()
            del self.states[target]

    def is_down(self, target: Target) -> bool:
        return target in self.states and not self.states[target].is_up


class HealthCheckController:
    """Checks the endpoints of Services without selector; informers are the caller's to run.

    probe: one try at one target, which never raises; None: by sockets. jitter: 0 to 1.
    """

    def __init__(
        self, shared: Shared, *, probe: Probe | None = None, jitter: Callable[[], float] | None = None
    ) -> None:
        self._client = shared.client
        self._services, self._slices = shared.services, shared.slices
        self._probe = probe or functools.partial(probe_by_socket, loopback=shared.config.loopback)
        self._jitter = jitter or SystemRandom().random
        self._checked: dict[str, _Checked] = {}
        self._trackers: dict[str, SliceTracker] = {}
        self._told: dict[str, tuple[Happening, ...]] = {}
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._metrics = CheckMetrics(shared.metrics, self._count_targets)
        self._group: asyncio.TaskGroup | None = None
        self._slices_by_service: Index[EndpointSlice, str] = Index(_service_keys)
        self._queue = QueueLoop("healthcheck", self._sync, workers=1, back_off=BACK_OFF, metrics=shared.metrics)
        self._services.subscribe(self._on_service)
        self._slices.subscribe(self._on_slice)

    async def run(self) -> None:
        """Check until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            asked = (key for key, service in self._services.objects.items() if _asks(service))
            marked = (key for slice_ in self._slices.objects.values() if _is_marked(slice_)
                      for key in _service_keys(slice_))  # fmt: skip
            for key in sorted({*asked, *marked}):
                self._queue.add(key)
            await self._queue.run()

    def _on_service(self, change: Change[Service]) -> None:
        if change.new is None:
            self._told.pop(change.key, None)
        if _project(change.old) != _project(change.new) and (_asks(change.old) or _asks(change.new)):
            self._add(change.key)
        if change.key == API_SERVICE:
            self._add(*self._checked)

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        self._slices_by_service.apply(change)
        old, new = change.old, change.new
        new_keys = _service_keys(new)
        for key in _service_keys(old):
            if old is not None and key not in new_keys and self._find_tracker(key).observe_deletion(old):
                self._notice(key, old)
        for key in new_keys:
            if new is not None and self._find_tracker(key).observe(new):
                self._notice(key, new)

    def _notice(self, key: str, slice_: EndpointSlice) -> None:
        """Somebody else changed a slice of the Service."""
        if _is_marked(slice_) or _asks(self._services.objects.get(key)):
            self._add(key)
        if key == API_SERVICE:
            self._add(*self._checked)

    def _find_tracker(self, key: str) -> SliceTracker:
        return self._trackers.get(key) or SliceTracker()

    def _add(self, *keys: str) -> None:
        if self._group is not None:
            for key in keys:
                self._queue.add(key)

    async def _sync(self, key: str) -> float | None:
        service = self._services.objects.get(key)
        tracker = self._trackers.setdefault(key, SliceTracker())
        cached = (self._slices.objects[name] for name in self._slices_by_service.get(key))
        slices = [
            s
            for s in tracker.overlay(cached, reached=self._slices.resource_version)
            if s.metadata.deletion_timestamp is None
        ]
        choice = TargetChoice()
        if service is not None and _asks(service) and is_checkable(service):
            reading = parse_check(service.metadata.annotations)
            if reading.check is None:  # conditions stay: a slip of the pen is no reason to send traffic to the dead
                self._stop(key)
                await self._complain(service, make_complaints(reading.errors, choice))
                return None
            slices = [s for s in slices if is_checked(s)]
            choice = self._follow(key, reading.check, slices)
            await self._complain(service, make_complaints((), choice))
        else:
            self._stop(key)
            complaints = make_complaints((), choice, is_checkable=False) if _asks(service) else ()
            if service is not None:
                await self._complain(service, complaints)
            slices = [s for s in slices if _is_marked(s)]
        for slice_ in slices:
            await self._write(key, service, tracker, slice_)
        if key not in self._checked and not len(tracker):
            self._trackers.pop(key, None)
        return LOOK_AGAIN_SECONDS if choice.left_out else None

    def _follow(self, key: str, check: Check, slices: Collection[EndpointSlice]) -> TargetChoice:
        """Begin with targets that are new, and end with those that are gone."""
        others = ((other.check, len(other.states)) for name, other in self._checked.items() if name != key)
        choice = choose_targets(
            check, slices, forbidden=self._list_api_targets(), max_targets=count_allowed(check, others)
        )
        checked = self._checked.setdefault(key, _Checked(check))
        now = asyncio.get_running_loop().time()
        if checked.check != check:
            known = {t: restart(s, check, now=now, jitter=self._jitter()) for t, s in checked.states.items()}
            checked.stop(list(checked.states))
            checked.check = check
        else:
            known = {}
            checked.stop(checked.states.keys() - set(choice.targets))
        held = frozenset[str]().union(*(list_held(slice_) for slice_ in slices))
        for target in choice.targets:
            if target not in checked.states:
                begun = start(check, is_up=target.address not in held, now=now, jitter=self._jitter())
                checked.states[target] = known.get(target, begun)
                assert self._group is not None
                checked.tasks[target] = self._group.create_task(self._watch(key, checked, target))
        return choice

    def _list_api_targets(self) -> frozenset[Target]:
        slices = (self._slices.objects[name] for name in self._slices_by_service.get(API_SERVICE))
        return list_api_targets(self._services.objects.get(API_SERVICE), slices)

    def _count_targets(self, *, is_up: bool) -> int:
        return sum(state.is_up is is_up for checked in self._checked.values() for state in checked.states.values())

    def _stop(self, key: str) -> None:
        checked = self._checked.pop(key, None)
        if checked is not None:
            checked.stop(list(checked.states))

    async def _watch(self, key: str, checked: _Checked, target: Target) -> None:
        """Try one target at its ticks; a change of the verdict makes its Service due."""
        loop, check = asyncio.get_running_loop(), checked.check
        while True:
            before = checked.states[target]
            await asyncio.sleep(before.due_at - loop.time())
            async with checked.turns, self._turns:
                begun = loop.time()
                outcome = await self._probe(check, target)
            self._metrics.observe_try(check, outcome, loop.time() - begun)
            after = step(before, check, outcome, loop.time())
            checked.states[target] = after
            if after.is_up != before.is_up:
                log.info("healthcheck service=%s target=%s:%d up=%s message=%r",
                         key, *target, after.is_up, after.message)  # fmt: skip
                self._queue.add(key)

    async def _write(self, key: str, service: Service | None, tracker: SliceTracker, slice_: EndpointSlice) -> None:
        checked = self._checked.get(key)
        down = find_down(checked.check, slice_, checked.is_down) if checked is not None else frozenset[str]()
        plan = plan_conditions(slice_, down)
        if plan.is_empty:
            return
        meta = slice_.metadata
        try:
            answer = await self._client.patch(
                ENDPOINT_SLICES, meta.name, meta.namespace, patch=plan.operations, patch_type=JSON_PATCH
            )
        except (Conflict, NotFound):
            tracker.forget(slice_)
            raise
        finally:
            await asyncio.sleep(PAUSE_SECONDS)
        self._metrics.writes.inc()
        written = msgspec.convert(answer, EndpointSlice)
        tracker.record_write(written, self._slices.objects.get(object_key(written.metadata)))
        log.info("healthcheck service=%s slice=%s down=%d up=%d", key, meta.name, len(plan.fell), len(plan.rose))
        if service is not None and checked is not None:
            await self._post(service, make_change_events(plan, _list_reasons(checked.states)))

    async def _complain(self, service: Service, complaints: tuple[Happening, ...]) -> None:
        """Say each thing once, until something else is to be said."""
        key = object_key(service.metadata)
        if self._told.get(key, ()) != complaints:
            self._told[key] = complaints
            await self._post(service, complaints)
        if not complaints:
            self._told.pop(key, None)

    async def _post(self, service: Service, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            await post_event(self._client, SERVICES, service.metadata, happening)
            await asyncio.sleep(PAUSE_SECONDS)


def _list_reasons(states: Mapping[Target, TargetState]) -> dict[str, str]:
    return {target.address: state.message for target, state in states.items() if not state.is_up and state.message}


def _asks(service: Service | None) -> bool:
    return service is not None and ANNOTATION_CHECK in service.metadata.annotations


def _is_marked(slice_: EndpointSlice) -> bool:
    return ANNOTATION_HELD in slice_.metadata.annotations


def _project(service: Service | None) -> tuple[object, ...] | None:
    """What of a Service its checks depend on."""
    if service is None:
        return None
    meta = service.metadata
    return meta.uid, meta.annotations, bool(service.spec.selector), service.spec.type


def _service_keys(slice_: EndpointSlice | None) -> tuple[str, ...]:
    if slice_ is None:
        return ()
    name = slice_.metadata.labels.get(LABEL_SERVICE_NAME, "")
    return (f"{slice_.metadata.namespace}/{name}",) if name else ()
