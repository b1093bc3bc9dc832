"""What all verbs share: the store, the memory of it, and the policy in force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from seaway.api.machinery.errors import ServerTimeout
from seaway.api.machinery.http import Identity
from seaway.api.registry import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from seaway.apiserver.admission import find_external_ip_refusal, find_node_refusal, node_name_of
from seaway.apiserver.allocate import ServiceAllocator
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.effects import Effects
from seaway.apiserver.listbodies import ListBodies
from seaway.apiserver.metrics import Metrics
from seaway.apiserver.rbac import Attributes, Policy, make_forbidden, make_refusal
from seaway.apiserver.record import Json, Record, decode_object
from seaway.apiserver.watchcache import WatchCache
from seaway.store.contract import Precondition, PreconditionFailed, Store, StoreError, Write

_POLICY_KINDS = (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS)
# Delivery follows the commit at once; the wait only covers a store that delivers from another thread.
_DELIVERY_SECONDS = 10.0
STORE_CHECK_SECONDS = 2.0
"""Upstream's for the health check of etcd."""
STORE_CHECK_KEY = "/registry/health"


class Closable(Protocol):
    """A stream that ends when the server does."""

    def end(self) -> None:
        """Finish after what is already queued. Safe to repeat."""


class ServerState:
    """One per server. Everything here may be used from one event loop only."""

    def __init__(
        self,
        store: Store,
        watch_cache: WatchCache,
        effects: Effects,
        config: ServerConfig,
        allocator: ServiceAllocator,
    ) -> None:
        self.store = store
        self.watch_cache = watch_cache
        self.effects = effects
        self.config = config
        self.allocator = allocator
        self.streams: set[Closable] = set()
        self.ends_streams = False
        """The server is closing: a watch that starts now ends after its first lines."""
        self.list_bodies = ListBodies()
        self.metrics = Metrics()
        self._policy: Policy | None = None
        self._policy_version: tuple[int, ...] = ()

    def find(self, resource: Resource, namespace: str, name: str) -> Record | None:
        """The object's record, or None."""
        return self.watch_cache.cache(resource).find(namespace, name)

    def find_namespace(self, name: str) -> Record | None:
        """The Namespace's record, or None."""
        return self.watch_cache.cache(NAMESPACES).find("", name)

    @property
    def policy(self) -> Policy:
        """The roles and bindings of this moment."""
        version = tuple(self.watch_cache.cache(kind).changed_at for kind in _POLICY_KINDS)
        if self._policy is None or version != self._policy_version:
            self._policy = Policy(*(self._decode_all(kind) for kind in _POLICY_KINDS))
            self._policy_version = version
        return self._policy

    def authorize(self, identity: Identity, asked: Attributes) -> None:
        """Raises Forbidden."""
        decision = self.policy.decide(identity, asked)
        counts = self.metrics.authorizations
        counts["allowed" if decision.allowed else "denied"] += 1
        if not decision.allowed:
            raise make_refusal(identity, asked, decision.reason)
        if asked.resource in ("secrets", "configmaps"):
            self.admit_node(identity, asked, None)

    def admit_node(self, identity: Identity, asked: Attributes, subject: Json | None) -> None:
        """A node touches what is its own. subject: as stored, or as it shall be. Raises Forbidden."""
        node = node_name_of(identity)
        if node is None:
            return
        begun = self.effects.monotonic()
        refusal = find_node_refusal(node, asked, subject, self.watch_cache.cache(PODS).select(asked.namespace))
        self._count_admission("NodeRestriction", asked.verb.upper(), begun, refused=refusal is not None)
        if refusal is not None:
            raise make_forbidden(asked.group, asked.resource, asked.name, refusal)

    def admit_external_ips(self, service: Json, old: Json | None) -> None:
        """A Service adds external IPs only where the configuration allows it. Raises Forbidden."""
        begun = self.effects.monotonic()
        refusal = find_external_ip_refusal(service, old, self.config, self.watch_cache.cache(NODES).select())
        operation = "CREATE" if old is None else "UPDATE"
        self._count_admission("DenyServiceExternalIPs", operation, begun, refused=refusal is not None)
        if refusal is not None:
            raise refusal

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        """Write, and return when every reader of this server sees it.

        Raises PreconditionFailed with the cache at least as new as the failure, and ServerTimeout for a broken store.
        """
        begun = self.effects.monotonic()
        try:
            revisions = await self.store.commit(preconditions, writes)
        except PreconditionFailed as failure:
            self.metrics.count_store("commit", self.effects.monotonic() - begun)
            await self.watch_cache.wait_for(failure.current_revision, _DELIVERY_SECONDS)
            raise
        except StoreError as error:
            self.metrics.count_store("commit", self.effects.monotonic() - begun, failed=True)
            text = f"The operation could not be completed at this time, please try again: {error}"
            raise ServerTimeout(text, {"retryAfterSeconds": 2}) from error
        self.metrics.count_store("commit", self.effects.monotonic() - begun)
        await self.watch_cache.wait_for(max(revisions, default=0), _DELIVERY_SECONDS)
        return revisions

    async def find_store_failure(self) -> str | None:
        """Ask the store for a key that is not there. None when it answers in time, else what went wrong."""
        begun = self.effects.monotonic()
        why = None
        try:
            await self.effects.within(STORE_CHECK_SECONDS, self.store.get(STORE_CHECK_KEY))
        except TimeoutError:
            why = f"no answer within {STORE_CHECK_SECONDS:g} s"
        except (StoreError, OSError) as error:
            why = str(error)
        self.metrics.count_store("get", self.effects.monotonic() - begun, failed=why is not None)
        return why

    def _count_admission(self, plugin: str, operation: str, begun: float, *, refused: bool) -> None:
        self.metrics.count_admission(plugin, operation, self.effects.monotonic() - begun, refused=refused)

    def _decode_all(self, resource: Resource) -> Iterable[Json]:
        return [decode_object(record.body) for record in self.watch_cache.cache(resource).select()]
