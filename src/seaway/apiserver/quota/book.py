"""Keeps the numbers of quotas together with what they count: the writes of a namespace with quotas, one after another.

Law: once a quota is counted, at every revision its `status.used` is what the objects of its namespace use, and no
accepted write takes it above the limit. A write and the new numbers are one commit, which needs the quota as it was
when the write was judged; so whoever else writes it, the judgement is made anew. The turns only keep writers of one
server from judging in vain. A namespace without quotas pays for one look-up.
Rule: spec "service-api" §0.2, §3.6; docs/design/0012.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seaway.api.registry import RESOURCE_QUOTAS, Resource
from seaway.apiserver.access.rbac import make_forbidden
from seaway.apiserver.effects import Effects, Wakeup, resolve
from seaway.apiserver.quota.amounts import Amount
from seaway.apiserver.quota.plan import (
    MAY_CHANGE,
    concerns,
    count_usage,
    find_refusal,
    is_counted,
    plan_charge,
    plan_recount,
    plan_status,
)
from seaway.apiserver.reading.watchcache import WatchCache
from seaway.apiserver.record import Json, Record, decode_object, encode_stored
from seaway.store.contract import Precondition, PreconditionFailed, Write

Commit = Callable[[Sequence[Precondition], Sequence[Write]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Charge:
    """What the commit of a write needs and writes of the quotas that the write changes."""

    preconditions: tuple[Precondition, ...] = ()
    writes: tuple[Write, ...] = ()


NO_CHARGE = Charge()


class QuotaBook:
    """The quotas of one server."""

    def __init__(self, watch_cache: WatchCache, effects: Effects, commit: Commit) -> None:
        self._watch_cache = watch_cache
        self._quotas = watch_cache.cache(RESOURCE_QUOTAS)
        self._effects = effects
        self._commit = commit
        self._lines: dict[str, deque[Wakeup]] = {}
        """Who waits for a turn, by namespace; a namespace without a line is nobody's."""
        self._known: dict[str, int] = {}
        """The revisions of quotas that were counted when they were looked at."""

    def turn(self, resource: Resource, namespace: str, *, is_update: bool = False) -> Turn | _NoTurn:
        """To be held from before a write of the kind is decided until it is committed. Inside, its quotas are counted.

        Never taken by who holds one. Entering raises ApiError.
        """
        if not self.has_quotas(namespace) or (is_update and resource not in MAY_CHANGE):
            return _NO_TURN
        concerned = any(concerns(quota, resource) for _, quota in self._list(namespace))
        return Turn(self, namespace) if concerned else _NO_TURN

    def turn_to_count(self, namespace: str) -> Turn:
        """A turn for its own sake."""
        return Turn(self, namespace)

    def charge(
        self, resource: Resource, namespace: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, *,
        judged: bool = True,
    ) -> Charge:  # fmt: skip
        """The write with what it changes of the quotas. old, new: None where the object begins and ends.

        judged: False for what may not be refused. Raises Forbidden, and PreconditionFailed where a turn is missing.
        """
        is_update = old is not None and new is not None
        if not self.has_quotas(namespace) or (is_update and resource not in MAY_CHANGE):
            return NO_CHARGE
        return self._plan(resource, namespace, old, new, judged=judged)

    def _plan(
        self, resource: Resource, namespace: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, *,
        judged: bool,
    ) -> Charge:  # fmt: skip
        preconditions, writes = [], []
        subject = new or old or {}
        own_key = resource.store_key(namespace, subject["metadata"].get("name", ""))
        for record, quota in self._list(namespace):
            key = RESOURCE_QUOTAS.store_key(namespace, record.name)
            if key == own_key or not concerns(quota, resource):
                continue  # a quota's own numbers come and go with it
            if not is_counted(quota):
                raise PreconditionFailed(key, record.revision)  # for this plan there was no turn
            why = find_refusal(quota, resource, old, new) if judged and new is not None else ""
            if why:
                raise make_forbidden(resource.group, resource.plural, subject["metadata"].get("name", ""), why)
            used = plan_charge(quota, resource, old, new)
            if used is not None:
                preconditions.append(Precondition(key, record.revision))
                writes.append(Write(key, _encode(quota, {**quota["status"], "used": used})))
        return Charge(tuple(preconditions), tuple(writes)) if writes else NO_CHARGE

    def find_uncounted(self) -> list[str]:
        """The namespaces where a turn is needed, so that all quotas are counted."""
        known, found = self._known, set()
        self._known = {}
        for record in self._quotas.select():
            if known.get(record.key) == record.revision or is_counted(decode_object(record.body)):
                self._known[record.key] = record.revision
            else:
                found.add(record.namespace)
        return sorted(found)

    async def recount(self, namespace: str) -> None:
        """Put right what others have made of the numbers. Raises ApiError."""
        async with self.turn_to_count(namespace):
            for record, quota in list(self._list(namespace)):
                await self._write(record, quota, plan_recount(quota, lambda q=quota: self._count(q)))  # type: ignore[misc]

    def list_namespaces(self) -> list[str]:
        """Those that have quotas."""
        return sorted({record.namespace for record in self._quotas.select()})

    async def count_all(self, namespace: str) -> None:
        """Bring every quota of the namespace to where its numbers are kept. The caller has the turn."""
        is_done = False
        while not is_done:
            is_done = True
            for record, quota in list(self._list(namespace)):
                status = plan_status(quota, lambda q=quota: self._count(q))  # type: ignore[misc]
                if status is not None:
                    is_done = False
                    await self._write(record, quota, status)

    async def _write(self, record: Record, quota: Json, status: Json | None) -> None:
        """Lost races are no harm: whoever needs the number looks again."""
        if status is None:
            return
        key = RESOURCE_QUOTAS.store_key(record.namespace, record.name)
        try:
            await self._commit([Precondition(key, record.revision)], [Write(key, _encode(quota, status))])
        except PreconditionFailed:
            return

    def _count(self, quota: Json) -> Mapping[str, Amount]:
        namespace = quota["metadata"]["namespace"]

        def objects_of(kind: Resource) -> Iterable[Json]:
            return (decode_object(record.body) for record in self._watch_cache.cache(kind).select(namespace))

        return count_usage(quota, lambda kind: self._watch_cache.cache(kind).count(namespace), objects_of)

    def has_quotas(self, namespace: str) -> bool:
        """Whether anything is to be counted there."""
        return len(self._quotas) > 0 and namespace != "" and self._quotas.count(namespace) > 0

    def _list(self, namespace: str) -> Iterator[tuple[Record, Json]]:
        return ((record, decode_object(record.body)) for record in self._quotas.select(namespace))

    async def _enter(self, namespace: str) -> None:
        """Wait for the turn; at once when nobody has it."""
        line = self._lines.get(namespace)
        if line is None:
            self._lines[namespace] = deque()
            return
        wakeup = self._effects.new_wakeup()
        line.append(wakeup)
        try:
            await wakeup
        except BaseException:
            if wakeup in line:
                line.remove(wakeup)
            else:  # the turn came together with the end of the waiting
                self._leave(namespace)
            raise

    def _leave(self, namespace: str) -> None:
        """Give the turn to the next of the line."""
        line = self._lines[namespace]
        if line:
            resolve(line.popleft())
        else:
            del self._lines[namespace]


class Turn:
    """One writer's turn in a namespace that has quotas."""

    def __init__(self, book: QuotaBook, namespace: str) -> None:
        self._book = book
        self._namespace = namespace

    async def __aenter__(self) -> None:
        await self._book._enter(self._namespace)
        try:
            await self._book.count_all(self._namespace)
        except BaseException:
            self._book._leave(self._namespace)
            raise

    async def __aexit__(self, *error: object) -> None:
        self._book._leave(self._namespace)


class _NoTurn:
    """Of a namespace without quotas."""

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, *error: object) -> None:
        return


_NO_TURN = _NoTurn()


def _encode(quota: Json, status: Json) -> bytes:
    return encode_stored({**quota, "status": status})
