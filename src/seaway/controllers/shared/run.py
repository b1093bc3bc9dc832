"""What every loop is built from: the client, the configuration, what is counted, and caches that are made
once, when first asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar, cast, get_type_hints

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.namespace.types import Namespace
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import ENDPOINT_SLICES, LEASES, NAMESPACES, NODES, PODS, SERVICES, Resource
from seaway.api.service.types import Service
from seaway.client.index import Index
from seaway.client.requests import Client
from seaway.client.run import Informer
from seaway.controllers.config import ControllersConfig
from seaway.controllers.scheduler.pod import PlacedPod, decode_placed_pod
from seaway.controllers.selection import PodsByLabels, Selection
from seaway.controllers.workloads.podcontrol.ownership import PodsByOwner
from seaway.telemetry.metrics import Metrics

T = TypeVar("T")
PAGE_SIZE = 2000
"""Of lists: a hundred thousand Pods in one body cost more memory than they do afterwards. (Upstream's clients take
500 at a time, with which the server of ours spends twice the time.)
"""
_READ_ALL_THE_TIME = (NODES, NAMESPACES, LEASES)
"""As are whole objects, which are those of workloads: loops look at all of them, and packing would cost more than it
gives. Pods, Services and what belongs to them are many, and found by index.
"""


class Shared:
    """Handed to each loop as it is built. A loop takes what it needs; what none takes is neither listed nor watched.

    Loops are built before any cache is filled, and run once all are: a loop subscribes in its constructor, and in `run`
    every cache that it took from here is complete.
    """

    def __init__(self, client: Client, config: ControllersConfig, metrics: Metrics | None = None) -> None:
        self.client = client
        self.config = config
        self.metrics = metrics or Metrics()
        self._informers: dict[tuple[object, ...], Informer[Any]] = {}

    def cache(self, resource: Resource, as_type: type[T], **narrowed: str) -> Informer[T]:
        """The one cache of the kind's objects as this type: of all, or as `Informer` narrows them by its keywords."""
        key = (resource.store_prefix, as_type, tuple(sorted(narrowed.items())))
        if key not in self._informers:
            is_packed = as_type is not dict and resource not in _READ_ALL_THE_TIME
            self._informers[key] = Informer(
                self.client, resource, as_type, page_size=PAGE_SIZE, is_packed=is_packed, **narrowed
            )
        return self._informers[key]

    def find_whole(self, resource: Resource) -> Informer[Any] | None:
        """A cache of the kind that leaves no object out and has their whole metadata, if some loop asked for one."""
        for (prefix, as_type, narrowed), informer in self._informers.items():
            hints = get_type_hints(as_type) if isinstance(as_type, type) else {}
            if prefix == resource.store_prefix and not narrowed and hints.get("metadata") is ObjectMeta:
                return informer
        return None

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """Those that were asked for, in that order."""
        return tuple(self._informers.values())

    @property
    def services(self) -> Informer[Service]:
        return self.cache(SERVICES, Service)

    @property
    def pods(self) -> Informer[Pod]:
        return self.cache(PODS, Pod)

    @property
    def placed_pods(self) -> Informer[PlacedPod]:
        """The cache of Pods, of which each has what placing it depends on. It costs two readings of every Pod."""
        self.pods.decode_by(decode_placed_pod)
        return cast("Informer[PlacedPod]", self.pods)

    @property
    def nodes(self) -> Informer[Node]:
        return self.cache(NODES, Node)

    @property
    def slices(self) -> Informer[EndpointSlice]:
        return self.cache(ENDPOINT_SLICES, EndpointSlice)

    @property
    def namespaces(self) -> Informer[Namespace]:
        return self.cache(NAMESPACES, Namespace)

    @cached_property
    def selection(self) -> Selection:
        """Hears of each change before the loops that were built after they asked for it."""
        selection = Selection(self.services.objects, self.pods_by_labels)
        self.services.subscribe(selection.apply_service)
        return selection

    @cached_property
    def pods_by_labels(self) -> PodsByLabels:
        """Hears of each change before the loops that were built after they asked for it."""
        pods_by_labels = PodsByLabels(self.pods.objects)
        self.pods.subscribe(pods_by_labels.apply)
        return pods_by_labels

    @cached_property
    def pods_by_owner(self) -> PodsByOwner:
        """Hears of each change before the loops that were built after they asked for it."""
        pods_by_owner = PodsByOwner()
        self.pods.subscribe(pods_by_owner.apply)
        return pods_by_owner

    @cached_property
    def pods_by_node(self) -> Index[Pod, str]:
        """The keys of the Pods that lie on a node. Hears of each change before loops that asked for it."""
        pods_by_node: Index[Pod, str] = Index(lambda pod: (pod.spec.node_name,) if pod.spec.node_name else ())
        self.pods.subscribe(pods_by_node.apply)
        return pods_by_node

    def wall_now(self) -> datetime:
        """The time as Pods and conditions have it."""
        return self.config.wall_now() if self.config.wall_now is not None else datetime.now(UTC)
