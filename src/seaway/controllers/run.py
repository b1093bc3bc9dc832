"""All control loops on one event loop, with one identity and shared caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from seaway.client.requests import Client
from seaway.client.run import run_all
from seaway.controllers.binder.run import BinderController
from seaway.controllers.config import ControllersConfig, choose_loops
from seaway.controllers.diagnosis.run import DiagnosisController
from seaway.controllers.endpoints.run import EndpointsController
from seaway.controllers.endpointslice.run import EndpointSliceController
from seaway.controllers.garbage.run import GarbageController
from seaway.controllers.healthcheck.run import HealthCheckController
from seaway.controllers.mirroring.run import MirroringController
from seaway.controllers.namespace.run import NamespaceController
from seaway.controllers.nodes.run import NodeController
from seaway.controllers.servicecidr.run import ServiceCIDRController
from seaway.controllers.shared.run import Shared

__all__ = ["LOOPS", "ControllersConfig", "run"]


class Controller(Protocol):
    """A loop as it is built: it has subscribed to its caches, and waits to be run."""

    async def run(self) -> None:
        """Work until cancelled; all caches of `Shared` are filled. Raises only for a bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A row of the table of loops. `upstream`: its name in kube-controller-manager's `--controllers`, and its alias."""

    build: Callable[[Shared], Controller]
    upstream: tuple[str, ...] = ()


LOOPS: dict[str, Loop] = {
    "binder": Loop(build=BinderController),
    "diagnosis": Loop(build=DiagnosisController),
    "endpoints": Loop(build=EndpointsController, upstream=("endpoints-controller", "endpoint")),
    "endpointslice": Loop(build=EndpointSliceController, upstream=("endpointslice-controller",)),
    "garbage": Loop(build=GarbageController, upstream=("garbage-collector-controller", "garbagecollector")),
    "healthcheck": Loop(build=HealthCheckController),
    "mirroring": Loop(
        build=MirroringController, upstream=("endpointslice-mirroring-controller", "endpointslicemirroring")
    ),
    "namespace": Loop(build=NamespaceController, upstream=("namespace-controller",)),
    "nodes": Loop(build=NodeController, upstream=("node-lifecycle-controller", "nodelifecycle")),
    "servicecidr": Loop(build=ServiceCIDRController, upstream=("service-cidr-controller",)),
}
"""By the name in our `--controllers`. Rule: spec "controllers" §0.2 (upstream's names)."""

ALIASES = {alias: name for name, loop in LOOPS.items() for alias in loop.upstream}


async def run(config: ControllersConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Run the enabled loops until cancelled. on_ready: called once, when all shared caches are filled.

    A failed write is tried again; a bug in a loop ends all, so that the supervisor sees it. Raises OperationalError
    for an unknown name in `enabled`.
    """
    names = choose_loops(config.enabled, LOOPS, aliases=ALIASES)
    shared = Shared(client, config)
    controllers = {name: LOOPS[name].build(shared) for name in names}
    async with asyncio.TaskGroup() as group:
        group.create_task(run_all(*shared.informers))
        for informer in shared.informers:
            await informer.wait_synced()
        for name, controller in controllers.items():
            group.create_task(controller.run(), name=name)
        on_ready()
