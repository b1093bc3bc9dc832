"""Carries out what `allocation/repair.py` finds: Events for people, commits for what can be mended.

Two loops, of addresses and of node ports. Each looks at everything each three minutes; a Service whose IPAddress
somebody deleted is looked at once, so that its address is nobody else's for as short as can be.
Rule: spec "service-api" §5.9.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec

from seaway.api.ipaddress.types import IPAddress
from seaway.api.machinery.codec import Decoded
from seaway.api.machinery.errors import ApiError
from seaway.api.registry import EVENTS, IP_ADDRESSES, SERVICE_CIDRS, SERVICES
from seaway.api.service.types import Service
from seaway.api.servicecidr.types import ServiceCIDR
from seaway.apiserver.allocation.holdings import ADDRESS_PREFIX, find_holder_key
from seaway.apiserver.allocation.repair import (
    Finding,
    SeenAddress,
    SeenService,
    check_address,
    check_ports,
    check_service,
)
from seaway.apiserver.builtin.notices import Notice, make_event, repeat_event
from seaway.apiserver.builtin.own import own_target
from seaway.apiserver.effects import Wakeup, format_time, resolve
from seaway.apiserver.record import Record
from seaway.apiserver.state import ServerState
from seaway.apiserver.writing.writes import create, update
from seaway.store.contract import Event, PreconditionFailed, StoreError

REPAIR_SECONDS = 180.0
"""Upstream's."""
_AT_ONCE = 200
"""Objects looked at before others have their turn."""
_ROUNDS = 3
"""What is removed because it is wrong is made anew in the next round."""

Pause = Callable[[], Awaitable[None]]
_decode_service = msgspec.json.Decoder(Service).decode
_decode_address = msgspec.json.Decoder(IPAddress).decode
_decode_range = msgspec.json.Decoder(ServiceCIDR).decode


class _Repairs:
    """What the two loops have in common. Neither waits for the other, nor stops when the other fails."""

    def __init__(self, state: ServerState, name: str) -> None:
        """name: of the loop in metrics."""
        self._state = state
        self._name = name
        self._told: set[Finding] = set()
        """In this pass, of what nothing mends: later rounds see it again."""

    @contextmanager
    def _passing(self) -> Iterator[None]:
        """A pass is made inside, and counted when it fails."""
        self._told.clear()
        try:
            yield
        except (ApiError, StoreError):
            self._state.metrics.count_broken_repair(self._name)
            raise

    async def _carry_out(self, findings: list[Finding]) -> int:
        mended = 0
        for finding in findings:
            if finding in self._told:
                continue
            if finding.fix is None:
                self._told.add(finding)
            else:
                try:
                    await self._state.commit(finding.fix.preconditions, [finding.fix.write])
                except PreconditionFailed:
                    continue  # it is another case by now
                mended += 1
            self._state.metrics.count_repair(self._name, finding.kind)
            if finding.notice is not None:
                await say(self._state, finding.notice)
        return mended


class AddressRepairs(_Repairs):
    """The loop of Services and IPAddresses, and which Services have lost an address since it last looked."""

    def __init__(self, state: ServerState) -> None:
        super().__init__(state, "clusterip")
        self._lost: set[str] = set()
        self._wakeup: Wakeup | None = None
        state.watch_cache.listen(self._observe)

    def _observe(self, event: Event) -> None:
        if event.value is not None or event.previous is None or not event.key.startswith(ADDRESS_PREFIX):
            return
        if holder := find_holder_key(event.key, event.previous):
            self._lost.add(holder)
            if self._wakeup is not None:
                resolve(self._wakeup)

    async def wait_for_losses(self) -> None:
        """Return when a Service may have lost an address."""
        if not self._lost:
            self._wakeup = self._state.effects.new_wakeup()
            await self._wakeup

    async def repair_losses(self) -> None:
        """Look at the Services that lost an address. Most of them are gone too. Raises ApiError, StoreError."""
        lost, self._lost = self._lost, set()
        with self._passing():
            for key in sorted(lost):
                seen = self._find_service(*key.split("/", 1))
                if seen is not None:
                    await self._carry_out(self._check_service(seen, self._list_ranges()))

    async def repair_all(self, pause: Pause) -> float:
        """Look at everything until nothing is left to mend; after how many seconds to do so again.

        pause: lets others have their turn. Raises ApiError, StoreError.
        """
        self._lost.clear()
        seconds = REPAIR_SECONDS
        with self._passing():
            for _ in range(_ROUNDS):
                mended, seconds = await self._look(pause)
                if not mended:
                    break
        return seconds

    async def _look(self, pause: Pause) -> tuple[int, float]:
        """How much was mended, and after how many seconds to look again."""
        mended, seconds, ranges = 0, REPAIR_SECONDS, self._list_ranges()
        for chunk in _chunks(self._state.watch_cache.cache(SERVICES).select()):
            for record in chunk:
                mended += await self._carry_out(self._check_service(_see_service(record), ranges))
            await pause()
        for chunk in _chunks(self._state.watch_cache.cache(IP_ADDRESSES).select()):
            for record in chunk:
                now = self._state.effects.wall_now()
                finding, again = check_address(_see_address(record), self._find_service, wall_now=now)
                mended += await self._carry_out([finding] if finding else [])
                seconds = min(seconds, again or seconds)
            await pause()
        return mended, seconds

    def _check_service(self, seen: SeenService, ranges: list[str]) -> list[Finding]:
        now = self._state.effects.wall_now()
        return check_service(seen, ranges, self._find_address, self._find_service, wall_now=now)

    def _list_ranges(self) -> list[str]:
        records = self._state.watch_cache.cache(SERVICE_CIDRS).select()
        return sorted({cidr for record in records for cidr in _decode_range(record.body).spec.cidrs})

    def _find_service(self, namespace: str, name: str) -> SeenService | None:
        record = self._state.find(SERVICES, namespace, name)
        return None if record is None else _see_service(record)

    def _find_address(self, address: str) -> SeenAddress | None:
        record = self._state.find(IP_ADDRESSES, "", address)
        return None if record is None else _see_address(record)


class PortRepairs(_Repairs):
    """The loop of node ports."""

    def __init__(self, state: ServerState) -> None:
        super().__init__(state, "nodeport")

    async def repair_all(self, pause: Pause) -> float:
        """As that of addresses."""
        with self._passing():
            for _ in range(_ROUNDS):
                if not await self._look(pause):
                    break
        return REPAIR_SECONDS

    async def _look(self, pause: Pause) -> int:
        """Services are read one after the other; a fix that rests on one that has changed meanwhile is refused."""
        services = []
        for chunk in _chunks(self._state.watch_cache.cache(SERVICES).select()):
            services += [_see_service(record) for record in chunk]
            await pause()
        allocator = self._state.allocator
        return await self._carry_out(check_ports(services, allocator.held_ports(), self._state.config.node_port_range))


async def say(state: ServerState, notice: Notice) -> None:
    """Write the Event, or count it once more. One that cannot be written is lost, as Events may be."""
    now = format_time(state.effects.wall_now())
    namespace, name = notice.event_namespace, notice.event_name
    try:
        if state.find(EVENTS, namespace, name) is None:
            await create(state, own_target(EVENTS, namespace, ""), Decoded(make_event(notice, now=now)))
        else:
            again = own_target(EVENTS, namespace, name)
            await update(state, again, lambda event: Decoded(repeat_event(event, now=now)), is_patch=True)
    except ApiError:
        return


def _see_service(record: Record) -> SeenService:
    return SeenService(_decode_service(record.body), record.revision)


def _see_address(record: Record) -> SeenAddress:
    return SeenAddress(_decode_address(record.body), record.revision)


def _chunks(records: Iterable[Record]) -> Iterable[list[Record]]:
    every = list(records)
    return [every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE)]
