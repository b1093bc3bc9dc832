"""What all verbs share: the store, the memory of it, and the policy in force."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from seaway.api.machinery.errors import ServerTimeout
from seaway.api.machinery.http import Identity
from seaway.api.registry import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    INGRESS_CLASSES,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Resource,
)
from seaway.apiserver.access.authenticate import Authenticator
from seaway.apiserver.access.credentials import Credentials
from seaway.apiserver.access.rbac import Attributes, Decision, Policy, make_forbidden, make_refusal
from seaway.apiserver.admission.accounts import admit_pod
from seaway.apiserver.admission.classes import admit_priority, choose_ingress_class
from seaway.apiserver.admission.limitranges import LIMITED_ON_UPDATE, fill_pod, find_limit_refusal
from seaway.apiserver.admission.newnodes import taint_new_node
from seaway.apiserver.admission.noderestriction import READ_BY_USE, find_use_refusal, find_write_refusal, node_name_of
from seaway.apiserver.admission.refusals import (
    IMMORTAL_NAMESPACES,
    check_no_external_ips,
    find_external_ip_refusal,
    find_namespace_refusal,
    make_immortal_refusal,
)
from seaway.apiserver.allocation.allocate import ServiceAllocator
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.effects import Effects
from seaway.apiserver.observability.metrics import Metrics
from seaway.apiserver.quota.book import NO_CHARGE, Charge, QuotaBook
from seaway.apiserver.reading.listbodies import ListBodies
from seaway.apiserver.reading.watchcache import ResourceCache, WatchCache
from seaway.apiserver.record import Json, Record, decode_object
from seaway.apiserver.writing.systemfields import generate_name
from seaway.store.contract import Precondition, PreconditionFailed, Store, StoreError, Write

_POLICY_KINDS = (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS)  # the order of Policy
# Delivery follows the commit at once; the wait only covers a store that delivers from another thread.
_DELIVERY_SECONDS = 10.0
TOO_NEW_WAIT_SECONDS = 3.0
"""For a revision that a read names, and that is not there yet: upstream's."""
STORE_CHECK_SECONDS = 2.0
"""Upstream's for the health check of etcd."""
STORE_CHECK_KEY = "/registry/health"
_OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE"}
_OPERATIONS |= {"delete": "DELETE", "deletecollection": "DELETE"}


if TYPE_CHECKING:
    from seaway.apiserver.proxying.verb import Backends


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
        credentials: Credentials,
    ) -> None:
        self.store = store
        self.watch_cache = watch_cache
        self.effects = effects
        self.config = config
        self.allocator = allocator
        self.quotas = QuotaBook(watch_cache, effects, self.commit)
        self.authenticator = Authenticator(self.find, effects, credentials)
        self.streams: set[Closable] = set()
        self.ends_streams = False
        """The server is closing: a watch that starts now ends after its first lines."""
        self.list_bodies = ListBodies()
        self.metrics = Metrics()
        self.backends: Backends | None = None
        """What reaches Pods; None: nothing does."""
        self._policy: Policy | None = None
        self._policy_version: tuple[int, ...] = ()
        self._policy_caches = tuple(watch_cache.cache(kind) for kind in _POLICY_KINDS)

    def find(self, resource: Resource, namespace: str, name: str) -> Record | None:
        """The object's record, or None."""
        return self.watch_cache.cache(resource).find(namespace, name)

    def find_namespace(self, name: str) -> Record | None:
        """The Namespace's record, or None."""
        return self.watch_cache.cache(NAMESPACES).find("", name)

    def read_policy(self) -> Policy:
        """The roles and bindings of this moment. Made anew only after one of them has changed."""
        roles, bindings, local_roles, local_bindings = self._policy_caches
        version = (roles.changed_at, bindings.changed_at, local_roles.changed_at, local_bindings.changed_at)
        if self._policy is None or version != self._policy_version:
            self._policy = Policy(*map(_decode_all, self._policy_caches))
            self._policy_version = version
        return self._policy

    def authorize(self, identity: Identity, asked: Attributes) -> None:
        """Raises Forbidden."""
        begun = self.effects.monotonic()
        decision = self.decide(identity, asked)
        self.metrics.count_authorization(self.effects.monotonic() - begun, allowed=decision.allowed)
        if not decision.allowed:
            raise make_refusal(identity, asked, decision.reason)

    def decide(self, identity: Identity, asked: Attributes) -> Decision:
        """What the roles say, and for a node also what its Pods use. Rule: spec "api-machinery" §10.4."""
        decision = self.read_policy().decide(identity, asked)
        if decision.allowed and not asked.group and asked.resource in READ_BY_USE:
            node = node_name_of(identity)
            if node is not None:
                refusal = find_use_refusal(node, asked, self.watch_cache.cache(PODS).select(asked.namespace))
                return decision if refusal is None else Decision(False, refusal)
        return decision

    def admit_node(self, identity: Identity, asked: Attributes, old: Json | None, new: Json | None) -> None:
        """A node writes what is its own. old: as stored; new: as it shall be; None where there is none.

        Raises Forbidden.
        """
        node = node_name_of(identity)
        if node is None or not self.has_plugin("NodeRestriction"):
            return
        with self.admission("NodeRestriction", _OPERATIONS[asked.verb]):
            refusal = find_write_refusal(node, asked, old, new)
            if refusal is not None:
                raise make_forbidden(asked.group, asked.resource, asked.name, refusal)

    def admit_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """An object begins in a namespace that is there and stays. Raises NotFound and Forbidden."""
        with self.admission("NamespaceLifecycle", "CREATE"):
            holder = self.find_namespace(namespace) if resource.namespaced else None
            refusal = find_namespace_refusal(resource, namespace, name, holder)
            if refusal is not None:
                raise refusal

    def admit_namespace_end(self, name: str) -> None:
        """A namespace is deleted that the cluster can do without. Raises Forbidden."""
        with self.admission("NamespaceLifecycle", "DELETE"):
            if name in IMMORTAL_NAMESPACES:
                raise make_immortal_refusal(name)

    def admit_pod(self, pod: Json, namespace: str) -> Json:
        """The Pod with what LimitRanges, its class of priority and its account give it. Raises Forbidden."""
        if self._has_limits(namespace):
            with self.admission("LimitRanger", "CREATE", "admit"):
                pod = fill_pod(pod, self._list_limits(namespace))
        if self.has_plugin("Priority"):
            with self.admission("Priority", "CREATE", "admit"):
                pod = admit_priority(pod, _decode_all(self.watch_cache.cache(PRIORITY_CLASSES)))
        if not self.has_plugin("ServiceAccount"):
            return pod
        with self.admission("ServiceAccount", "CREATE", "admit"):
            record = self.find(SERVICE_ACCOUNTS, namespace, pod["spec"]["serviceAccountName"])
            account = None if record is None else decode_object(record.body)
            return admit_pod(pod, account, namespace=namespace, suffix=lambda: generate_name("", self.effects.random))

    def admit_ingress(self, ingress: Json) -> Json:
        """The Ingress with the default class, if it names none and there is one."""
        if not self.has_plugin("DefaultIngressClass"):
            return ingress
        with self.admission("DefaultIngressClass", "CREATE", "admit"):
            return choose_ingress_class(ingress, _decode_all(self.watch_cache.cache(INGRESS_CLASSES)))

    def admit_new_node(self, node: Json) -> Json:
        """The Node with the taint that all begin with."""
        if not self.has_plugin("TaintNodesByCondition"):
            return node
        with self.admission("TaintNodesByCondition", "CREATE", "admit"):
            return taint_new_node(node)

    def admit_external_ips(self, service: Json, old: Json | None) -> None:
        """A Service adds external IPs only where the configuration allows it. Raises Forbidden."""
        operation = "CREATE" if old is None else "UPDATE"
        if self.has_plugin("DenyServiceExternalIPs"):
            with self.admission("DenyServiceExternalIPs", operation):
                check_no_external_ips(service, old)
        with self.admission("ExternalIPRanges", operation):
            refusal = find_external_ip_refusal(service, old, self.config, self.watch_cache.cache(NODES).select())
            if refusal is not None:
                raise refusal

    def admit_limits(self, resource: Resource, namespace: str, old: Json | None, new: Json) -> None:
        """A Pod or a claim stays within what the namespace's LimitRanges say. Raises Forbidden."""
        if not self._has_limits(namespace) or (old is not None and resource not in LIMITED_ON_UPDATE):
            return
        with self.admission("LimitRanger", "CREATE" if old is None else "UPDATE"):
            why = find_limit_refusal(resource, new, self._list_limits(namespace))
            if why:
                raise make_forbidden(resource.group, resource.plural, new["metadata"].get("name", ""), why)

    def _has_limits(self, namespace: str) -> bool:
        cache = self.watch_cache.cache(LIMIT_RANGES)
        return self.has_plugin("LimitRanger") and len(cache) > 0 and namespace != "" and cache.count(namespace) > 0

    def _list_limits(self, namespace: str) -> list[Json]:
        return [decode_object(record.body) for record in self.watch_cache.cache(LIMIT_RANGES).select(namespace)]

    def admit_quota(
        self, resource: Resource, namespace: str, old: Json | None, new: Json, *, judged: bool = True
    ) -> Charge:
        """A write stays within the namespace's quotas; what its commit writes of them. Raises Forbidden.

        judged: False for a subresource, which is only counted. So is all without the plugin.
        """
        if not self.quotas.has_quotas(namespace):
            return NO_CHARGE
        if not self.has_plugin("ResourceQuota"):
            return self.quotas.charge(resource, namespace, old, new, judged=False)
        with self.admission("ResourceQuota", "CREATE" if old is None else "UPDATE"):
            return self.quotas.charge(resource, namespace, old, new, judged=judged)

    def has_plugin(self, name: str) -> bool:
        """Whether this plugin of admission works here."""
        return name in self.config.admission_plugins

    @contextlib.contextmanager
    def admission(self, plugin: str, operation: str, kind: str = "validate") -> Iterator[None]:
        """What is done inside is the plugin's work, and counted; what it raises is its refusal."""
        begun, refused = self.effects.monotonic(), True
        try:
            yield
            refused = False
        finally:
            seconds = self.effects.monotonic() - begun
            self.metrics.count_admission(plugin, operation, seconds, kind=kind, refused=refused)

    async def reach(self, resource: Resource, revision: int) -> bool:
        """Whether memory has the revision that a read of the kind names, at the latest after a few seconds."""
        if revision <= 0:
            return True
        begun = self.effects.monotonic()
        try:
            return await self.watch_cache.wait_for(revision, TOO_NEW_WAIT_SECONDS)
        finally:
            self.metrics.count_read_wait(resource, self.effects.monotonic() - begun)

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
            raise ServerTimeout(f"the store failed: {error}", {"retryAfterSeconds": 2}) from error
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


def _decode_all(cache: ResourceCache) -> Iterable[Json]:
    return [decode_object(record.body) for record in cache.select()]
