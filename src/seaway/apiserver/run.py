"""Opens an API server over a store, and runs its own loops: namespaces, `default/kubernetes`, Event expiry."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom
from typing import TypeVar

from seaway.api.machinery.codec import Decoded, prune_patched
from seaway.api.machinery.errors import AlreadyExists, ApiError, Forbidden, NotFound
from seaway.api.registry import (
    CLUSTER_ROLES,
    EVENTS,
    NAMESPACES,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_CIDRS,
    Resource,
)
from seaway.apiserver.access.aggregation import plan_aggregation
from seaway.apiserver.access.credentials import Credentials
from seaway.apiserver.access.tokensecrets import plan_token_secrets
from seaway.apiserver.allocation.allocate import ADDRESS_PREFIX, PORT_PREFIX, ServiceAllocator
from seaway.apiserver.builtin import bootstrap, default_cidr
from seaway.apiserver.builtin.crowding import CrowdingWarnings
from seaway.apiserver.builtin.default_cidr import describe_failure, find_trouble, plan_default_cidr
from seaway.apiserver.builtin.expiry import find_expired
from seaway.apiserver.builtin.kubernetes_service import ObjectWrite, plan_kubernetes_service
from seaway.apiserver.builtin.own import own_target
from seaway.apiserver.builtin.repairs import AddressRepairs, PortRepairs, say
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.effects import Cancellable, Effects, Wakeup, format_time
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.options import DeleteOptions
from seaway.apiserver.proxying.verb import Backends
from seaway.apiserver.reading.watchcache import WatchCache
from seaway.apiserver.record import Json, decode_object, encode_object
from seaway.apiserver.state import ServerState
from seaway.apiserver.writing.deletes import delete
from seaway.apiserver.writing.ownership import apply_to
from seaway.apiserver.writing.writes import create, update
from seaway.store.contract import Compacted, Event, Store, StoreError

__all__ = ["AsyncioEffects", "ServerConfig", "open_server"]

NAMESPACE_SECONDS = 60.0
COMPACTION_SECONDS = 300.0
"""Upstream's: history is kept for one to two such spans, so that clients can resume and pages go on."""
KUBERNETES_SERVICE_SECONDS = 10.0
DEFAULT_CIDR_WRITES = 3
"""At most: made, given its second range, called ready."""
EVENT_EXPIRY_SECONDS = 60.0
FIRST_LOOKS_SECONDS = 60.0
QUOTA_RECOUNT_SECONDS = 300.0
"""Upstream's resync of quotas: it finds only what somebody wrote into their status."""
RETRY_SECONDS = 1.0
REPLAYED_REVISIONS = 5_000
"""How far back a restarted server tells watches what happened, so that clients resume without a LIST."""

LOADED_AT_ONCE = 500
"""Objects per list at the start, so that memory is never filled with a whole kind as the store returns it."""

_LOG = logging.getLogger("seaway.apiserver")
T = TypeVar("T")


class AsyncioEffects:
    """The real surroundings: the running loop, the clocks, the system's randomness."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._random = SystemRandom()

    def monotonic(self) -> float:
        return self._loop.time()

    def wall_now(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)

    def new_uid(self) -> str:
        return str(uuid.uuid4())

    def random(self) -> float:
        return self._random.random()

    def report(self, error: Exception) -> None:
        _LOG.error("request=failed error=%r", error, exc_info=error)

    def new_wakeup(self) -> Wakeup:
        return self._loop.create_future()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Cancellable:
        return self._loop.call_later(seconds, callback)

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        return await asyncio.wait_for(work, seconds)


async def open_server(
    config: ServerConfig,
    store: Store,
    *,
    credentials: Credentials | None = None,
    effects: Effects | None = None,
    backends: Backends | None = None,
    runs_loops: bool = True,
) -> ApiServer:
    """A server that answers with everything the store holds, its own objects made. Closing it leaves the store open.

    Raises StoreError. credentials: None means anonymous ones, and tokens that are good while this server lives.
    effects: None means the real ones. backends: what reaches Pods; None means nothing does.
    runs_loops: False where only requests are of interest (benchmarks of one verb, say).
    """
    effects = effects or AsyncioEffects()
    watch_cache = WatchCache(effects, primary_family=config.families[0])
    allocator = ServiceAllocator(config.families, config.node_port_range, pick=_pick)
    end_watch = await _fill(store, watch_cache, allocator)
    state = ServerState(store, watch_cache, effects, config, allocator, credentials or Credentials())
    state.backends = backends
    tasks: list[asyncio.Task[None]] = []

    async def close() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()
        end_watch()

    hooks: dict[str, Callable[[], bool]] = {"rbac/bootstrap-roles": lambda: True}

    def run_loop(name: str, loop: Coroutine[None, None, None], *, also: Callable[[], bool] = lambda: True) -> None:
        task = asyncio.create_task(loop)
        tasks.append(task)
        hooks[name] = lambda: not task.done() and also()

    server = ApiServer(state, on_close=close, hooks=hooks)
    await _bootstrap(state)
    if runs_loops:
        run_loop("start-system-namespaces-controller", _every(NAMESPACE_SECONDS, lambda: _keep_namespaces(state)))
        keep_service = _every(KUBERNETES_SERVICE_SECONDS, lambda: _keep_kubernetes_service(state))
        run_loop("start-kubernetes-service", keep_service)
        keep_cidr = _every(KUBERNETES_SERVICE_SECONDS, lambda: _keep_default_cidr(state))
        run_loop("start-service-cidr", keep_cidr)
        first_looks = FirstLooks()
        run_loop("start-service-ip-repair-controllers", _repair(state, first_looks), also=first_looks.are_done)
        warnings, prefixes = CrowdingWarnings(state), (ADDRESS_PREFIX, PORT_PREFIX, SERVICE_CIDRS.store_prefix)
        run_loop("start-range-warnings", _after_changes_under(state, prefixes, warnings.look))
        run_loop("start-event-expiry", _every(EVENT_EXPIRY_SECONDS, lambda: _expire_events(state)))
        run_loop("start-role-aggregation", _after_changes(state, (CLUSTER_ROLES,), _keep_aggregation))
        run_loop("start-token-secrets", _after_changes(state, (SECRETS, SERVICE_ACCOUNTS), _keep_token_secrets))
        run_loop("start-resource-quotas", _after_changes(state, (RESOURCE_QUOTAS,), _keep_quotas))
        run_loop("start-resource-quota-recount", _every(QUOTA_RECOUNT_SECONDS, lambda: _recount_quotas(state)))
        run_loop("start-compaction", _compact_forever(store))
    return server


def _pick(count: int) -> int:
    return SystemRandom().randrange(count)


async def _fill(store: Store, watch_cache: WatchCache, allocator: ServiceAllocator) -> Callable[[], None]:
    """Load every kind at one revision and follow the store from there. Returns what ends the watch."""
    revision = store.current_revision
    horizon = max(store.compacted_revision, revision - REPLAYED_REVISIONS, 0)

    def show_allocator(event: Event) -> None:
        allocator.observe(event.key, event.value, event.revision)

    watch_cache.listen(show_allocator)
    for cache in watch_cache:
        after, more = "", True
        while more:
            page = await store.list(cache.resource.store_prefix, revision=revision, limit=LOADED_AT_ONCE, after=after)
            watch_cache.load(cache.resource, page.entries, revision, horizon)
            for entry in page.entries:
                allocator.observe(entry.key, entry.value, entry.revision)
                after = entry.key
            more = page.more
    for entry in (await store.list(PORT_PREFIX, revision=revision)).entries:
        allocator.observe(entry.key, entry.value, entry.revision)
    try:
        return store.watch("/registry/", horizon, watch_cache.observe)
    except Compacted:
        for cache in watch_cache:
            cache.horizon = revision
        return store.watch("/registry/", revision, watch_cache.observe)


async def _bootstrap(state: ServerState) -> None:
    """Make what every server has, and put back what its roles lack; all at once, so that it is few commits."""
    await _keep_namespaces(state)
    await asyncio.gather(
        *(_apply(state, write) for write in bootstrap.plan_rbac(state.find)),
        *(_create(state, PRIORITY_CLASSES, "", obj) for obj in bootstrap.plan_priority_classes(state.find)),
    )
    await _keep_default_cidr(state)
    try:
        await _keep_kubernetes_service(state)
    except ApiError as error:  # its address is taken, say: the server is of use without it, and the loop tries again
        _LOG.warning("loop=failed error=%s", error)


async def _keep_namespaces(state: ServerState) -> None:
    """The namespaces of every server, and what they are born with: a data directory may be older than that."""
    missing = [name for name in bootstrap.NAMESPACES if state.find_namespace(name) is None]
    await asyncio.gather(*(_create(state, NAMESPACES, "", bootstrap.make_namespace(name)) for name in missing))
    ca_pem = state.authenticator.credentials.root_ca_pem
    for name in bootstrap.NAMESPACES:
        for resource, obj in bootstrap.make_first_objects(name, ca_pem=ca_pem):
            if state.find(resource, name, obj["metadata"]["name"]) is None:
                try:
                    await _create(state, resource, name, obj)
                except Forbidden as error:  # a quota leaves no room, say: the loop tries again
                    _LOG.warning("loop=failed error=%s", error)


async def _keep_aggregation(state: ServerState) -> None:
    """Fill the roles that gather the rules of others."""
    roles = [decode_object(record.body) for record in state.watch_cache.cache(CLUSTER_ROLES).select()]
    for role in plan_aggregation(roles):
        await _apply(state, ObjectWrite(CLUSTER_ROLES, "", role["metadata"]["name"], role))


async def _keep_token_secrets(state: ServerState) -> None:
    """Fill the Secrets that ask for an account's token."""
    authenticator, effects = state.authenticator, state.effects
    writes = plan_token_secrets(
        state.watch_cache.cache(SECRETS).select(),
        state.find,
        authenticator.issuer,
        ca_pem=authenticator.credentials.root_ca_pem,
        new_jti=effects.new_uid,
        wall_now=effects.wall_now(),
    )
    for write in writes:
        await (_delete(state, write) if write.obj is None else _apply(state, write))


async def _keep_quotas(state: ServerState) -> None:
    """Count what quotas limit as soon as they are there; whoever writes before that counts it himself."""
    for namespace in state.quotas.find_uncounted():
        async with state.quotas.turn_to_count(namespace):
            pass


async def _recount_quotas(state: ServerState) -> None:
    for namespace in state.quotas.list_namespaces():
        await state.quotas.recount(namespace)


async def _keep_kubernetes_service(state: ServerState) -> None:
    for write in plan_kubernetes_service(state.find, state.config):
        if write.obj is None:
            await _delete(state, write)
        else:
            await _apply(state, write)


async def _keep_default_cidr(state: ServerState) -> None:
    """Until nothing is left to write: one write makes the object, another calls it ready."""
    for _ in range(DEFAULT_CIDR_WRITES):
        record = state.find(SERVICE_CIDRS, "", default_cidr.NAME)
        existing = None if record is None else decode_object(record.body)
        write = plan_default_cidr(existing, state.config, now=format_time(state.effects.wall_now()))
        if write is None:
            trouble = find_trouble(existing, state.config)
            if trouble is not None and state.find(EVENTS, trouble.event_namespace, trouble.event_name) is None:
                await say(state, trouble)
            return
        try:
            await _apply(state, write)
        except ApiError as error:
            await say(state, describe_failure(existing, write, state.config, error))
            raise


async def _expire_events(state: ServerState) -> None:
    for record in find_expired(state.watch_cache.cache(EVENTS).select(), state.effects.wall_now()):
        await _delete(state, ObjectWrite(EVENTS, record.namespace, record.name, None))


async def _create(state: ServerState, resource: Resource, namespace: str, obj: Json) -> None:
    try:
        await create(state, own_target(resource, namespace, ""), Decoded(obj))
    except AlreadyExists:
        return


async def _apply(state: ServerState, write: ObjectWrite) -> None:
    """Create the object, or bring the fields that are given to what they shall be."""
    wanted = write.obj
    assert wanted is not None
    if state.find(write.resource, write.namespace, write.name) is None:
        await _create(state, write.resource, write.namespace, _copy(wanted))
        return

    def make(current: Json) -> Decoded:
        meta = {**current["metadata"], **wanted["metadata"]}
        return Decoded({**current, **_copy(wanted), "metadata": meta})

    def make_by_apply(current: Json) -> Decoded:
        now = format_time(state.effects.wall_now())
        applied = apply_to(
            write.resource, write.subresource, current, _copy(wanted),
            manager=write.applied_by, force=True, name=write.name, wall_now=now,
        )  # fmt: skip
        return prune_patched(write.resource, applied)

    target = own_target(write.resource, write.namespace, write.name, write.subresource)
    if write.applied_by:
        await update(state, replace(target, manager=None), make_by_apply, is_patch=True)
    else:
        await update(state, target, make, is_patch=True)


async def _delete(state: ServerState, write: ObjectWrite) -> None:
    try:
        await delete(state, own_target(write.resource, write.namespace, write.name), DeleteOptions())
    except NotFound:
        return


def _copy(obj: Json) -> Json:
    """A copy that shares nothing: writes may change what they are given."""
    return decode_object(encode_object(obj))


async def _compact_forever(store: Store) -> None:
    """Forget what was history already one span ago."""
    while True:
        revision = store.current_revision
        await asyncio.sleep(COMPACTION_SECONDS)
        try:
            if revision > store.compacted_revision:
                await store.compact(revision)
        except StoreError as error:
            _LOG.error("compaction=failed error=%r", str(error))


async def _every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """Act now and again until cancelled. A failed turn is reported and the next one tries anew."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await act()
        except (ApiError, StoreError) as error:
            _LOG.warning("loop=failed error=%s", error)


@dataclass(slots=True)
class FirstLooks:
    """Which loops of the repair have looked at everything once: before that the server is not ready.

    Rule: spec "service-api" §5.9; upstream's server ends when this takes a minute, ours says so and goes on trying.
    """

    addresses: bool = False
    ports: bool = False

    def are_done(self) -> bool:
        """Both have."""
        return self.addresses and self.ports


async def _repair(state: ServerState, looks: FirstLooks) -> None:
    """Both loops until cancelled. Only a bug of one ends the other."""
    async with asyncio.TaskGroup() as loops:
        loops.create_task(_repair_addresses(AddressRepairs(state), looks))
        loops.create_task(_repair_ports(PortRepairs(state), looks))
        await asyncio.sleep(FIRST_LOOKS_SECONDS)
        if not looks.are_done():
            _LOG.error("unable to perform initial IP and Port allocation check; not ready until it is done")


async def _repair_ports(repairs: PortRepairs, looks: FirstLooks) -> None:
    """Look at everything now and from time to time."""
    while True:
        try:
            seconds = await repairs.repair_all(lambda: asyncio.sleep(0))
            looks.ports = True
            await asyncio.sleep(seconds)
        except (ApiError, StoreError) as error:
            _LOG.warning("loop=failed error=%s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def _repair_addresses(repairs: AddressRepairs, looks: FirstLooks) -> None:
    """The same, and at what lost its address at once."""
    while True:
        try:
            seconds = await repairs.repair_all(lambda: asyncio.sleep(0))
            looks.addresses = True
            while await _happens(repairs.wait_for_losses(), within_seconds=seconds):
                await repairs.repair_losses()
        except (ApiError, StoreError) as error:
            _LOG.warning("loop=failed error=%s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def _happens(news: Coroutine[None, None, None], *, within_seconds: float) -> bool:
    try:
        await asyncio.wait_for(news, within_seconds)
    except TimeoutError:
        return False
    return True


async def _after_changes(
    state: ServerState, kinds: tuple[Resource, ...], act: Callable[[ServerState], Awaitable[None]]
) -> None:
    await _after_changes_under(state, tuple(kind.store_prefix for kind in kinds), lambda: act(state))


async def _after_changes_under(
    state: ServerState, prefixes: tuple[str, ...], act: Callable[[], Awaitable[None]]
) -> None:
    """Act now, and whenever a key of the prefixes has changed, until cancelled. What failed is tried again."""
    changed = asyncio.Event()

    def observe(event: Event) -> None:
        if event.key.startswith(prefixes):
            changed.set()

    state.watch_cache.listen(observe)
    while True:
        changed.clear()
        try:
            await act()
        except (ApiError, StoreError) as error:
            _LOG.warning("loop=failed error=%s", error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            await changed.wait()
