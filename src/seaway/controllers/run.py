"""All control loops on one event loop, with one identity and shared caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.namespace.types import Namespace
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, NODES, PODS, SERVICES
from seaway.api.service.types import Service
from seaway.client.requests import Client
from seaway.client.run import Informer, run_all
from seaway.controllers.binder.run import BinderController
from seaway.controllers.diagnosis.run import DiagnosisController
from seaway.controllers.endpoints.run import EndpointsController
from seaway.controllers.endpointslice.run import EndpointSliceController
from seaway.controllers.garbage.run import GarbageController
from seaway.controllers.namespace.run import NamespaceController
from seaway.controllers.nodes.run import NodeController
from seaway.controllers.selection import Selection
from seaway.controllers.servicecidr.run import ServiceCIDRController
from seaway.net.errors import OperationalError

NAMES = ("binder", "diagnosis", "endpoints", "endpointslice", "garbage", "namespace", "nodes", "servicecidr")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllersConfig:
    """What the loops need to know.

    node_grace_seconds: without a heartbeat, before a node is lost; more than twice what its agent renews in. Agents of
    Kubernetes renew every 10 s (upstream's grace is 50), so a cluster with such nodes must not be given less than that.
    ca_pem: what Pods find in `kube-root-ca.crt`. enabled: names of loops, `*` for all, `-NAME` for all but one.
    """

    node_grace_seconds: float
    ca_pem: str
    enabled: tuple[str, ...] = ("*",)

    def is_enabled(self, name: str) -> bool:
        """Rule: upstream's `--controllers`: the name itself decides, then the star."""
        if name in self.enabled:
            return True
        return "*" in self.enabled and f"-{name}" not in self.enabled


async def run(config: ControllersConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Run the enabled loops until cancelled. on_ready: called once, when all shared caches are filled.

    A failed write is tried again; a bug in a loop ends all, so that the supervisor sees it. Raises OperationalError
    for an unknown name in `enabled`.
    """
    unknown = {name.removeprefix("-") for name in config.enabled} - {"*", *NAMES}
    if unknown:
        raise OperationalError(f"--controllers: {', '.join(sorted(unknown))} found, {', '.join(NAMES)} or * allowed")
    services = Informer(client, SERVICES, Service)
    pods = Informer(client, PODS, Pod)
    nodes = Informer(client, NODES, Node)
    slices = Informer(client, ENDPOINT_SLICES, EndpointSlice)
    namespaces = Informer(client, NAMESPACES, Namespace)
    selection = Selection(services.objects, pods.objects)
    services.subscribe(selection.apply_service)
    pods.subscribe(selection.apply_pod)
    builders: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "binder": lambda: BinderController(client, nodes=nodes, pods=pods).run(),
        "diagnosis": lambda: DiagnosisController(client, services=services, pods=pods, selection=selection).run(),
        "endpoints": lambda: EndpointsController(client, services=services, pods=pods, selection=selection).run(),
        "endpointslice": lambda: EndpointSliceController(
            client, services=services, pods=pods, nodes=nodes, slices=slices, selection=selection
        ).run(),
        "garbage": lambda: GarbageController(client).run(),
        "namespace": lambda: NamespaceController(client, namespaces=namespaces, pods=pods, ca_pem=config.ca_pem).run(),
        "nodes": lambda: NodeController(client, nodes=nodes, pods=pods, grace_seconds=config.node_grace_seconds).run(),
        "servicecidr": lambda: ServiceCIDRController(client).run(),
    }
    async with asyncio.TaskGroup() as group:
        for name, build in builders.items():
            if config.is_enabled(name):
                group.create_task(build(), name=name)
        shared = (services, pods, nodes, slices, namespaces)
        group.create_task(run_all(*shared))
        for informer in shared:
            await informer.wait_synced()
        on_ready()
