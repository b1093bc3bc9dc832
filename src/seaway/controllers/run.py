"""All control loops on one event loop, with one identity and shared caches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from seaway.client.election.run import Candidate
from seaway.client.requests import Client
from seaway.client.run import run_all
from seaway.controllers.config import ControllersConfig, choose_loops
from seaway.controllers.diagnosis.run import DiagnosisController
from seaway.controllers.disruption.run import DisruptionController
from seaway.controllers.endpoints.run import EndpointsController
from seaway.controllers.endpointslice.run import EndpointSliceController
from seaway.controllers.garbage.run import GarbageController
from seaway.controllers.healthcheck.run import HealthCheckController
from seaway.controllers.mirroring.run import MirroringController
from seaway.controllers.namespace.run import NamespaceController
from seaway.controllers.nodeipam.run import NodeIpamController
from seaway.controllers.nodes.run import NodeController
from seaway.controllers.podgc.run import PodGCController
from seaway.controllers.scheduler.run import SchedulerController
from seaway.controllers.servicecidr.run import ServiceCIDRController
from seaway.controllers.shared.run import Shared
from seaway.controllers.tainteviction.run import TaintEvictionController
from seaway.controllers.workloads.daemonset.run import DaemonSetController
from seaway.controllers.workloads.deployment.run import DeploymentController
from seaway.controllers.workloads.job.run import JobController
from seaway.controllers.workloads.replicaset.run import ReplicaSetController, ReplicationController
from seaway.controllers.workloads.statefulset.run import StatefulSetController
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.serve import serve_telemetry

log = logging.getLogger(__name__)

__all__ = ["LOOPS", "ControllersConfig", "run"]


class Controller(Protocol):
    """A loop as it is built: it has subscribed to its caches, and waits to be run."""

    async def run(self) -> None:
        """Work until cancelled; all caches of `Shared` are filled. Raises only for a bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A row of the table of loops. `upstream`: its name in kube-controller-manager's `--controllers`, and its alias.

    roles: the ClusterRoles that suffice for it; those of the name `seaway:…` must be made where the server is not ours.
    """

    build: Callable[[Shared], Controller]
    upstream: tuple[str, ...] = ()
    roles: tuple[str, ...]


_OF_LOOP = "system:controller:"
LOOPS: dict[str, Loop] = {
    "daemonset": Loop(
        build=DaemonSetController, upstream=("daemonset-controller",), roles=(f"{_OF_LOOP}daemon-set-controller",)
    ),
    "deployment": Loop(
        build=DeploymentController, upstream=("deployment-controller",), roles=(f"{_OF_LOOP}deployment-controller",)
    ),
    "diagnosis": Loop(build=DiagnosisController, roles=("seaway:diagnosis",)),
    "disruption": Loop(
        build=DisruptionController, upstream=("disruption-controller",), roles=(f"{_OF_LOOP}disruption-controller",)
    ),
    "endpoints": Loop(
        build=EndpointsController,
        upstream=("endpoints-controller", "endpoint"),
        roles=(f"{_OF_LOOP}endpoint-controller",),
    ),
    "endpointslice": Loop(
        build=EndpointSliceController,
        upstream=("endpointslice-controller",),
        roles=(f"{_OF_LOOP}endpointslice-controller",),
    ),
    "garbage": Loop(
        build=GarbageController,
        upstream=("garbage-collector-controller", "garbagecollector"),
        roles=(f"{_OF_LOOP}generic-garbage-collector",),
    ),
    "healthcheck": Loop(build=HealthCheckController, roles=("seaway:healthcheck",)),
    "job": Loop(build=JobController, upstream=("job-controller",), roles=(f"{_OF_LOOP}job-controller",)),
    "mirroring": Loop(
        build=MirroringController,
        upstream=("endpointslice-mirroring-controller", "endpointslicemirroring"),
        roles=(f"{_OF_LOOP}endpointslicemirroring-controller",),
    ),
    "namespace": Loop(
        build=NamespaceController,
        upstream=("namespace-controller",),
        roles=(
            f"{_OF_LOOP}namespace-controller",
            f"{_OF_LOOP}root-ca-cert-publisher",
            f"{_OF_LOOP}service-account-controller",
        ),
    ),
    "nodeipam": Loop(
        build=NodeIpamController, upstream=("node-ipam-controller",), roles=(f"{_OF_LOOP}node-controller",)
    ),
    "nodes": Loop(
        build=NodeController,
        upstream=("node-lifecycle-controller", "nodelifecycle"),
        roles=(f"{_OF_LOOP}node-controller",),
    ),
    "replicaset": Loop(
        build=ReplicaSetController, upstream=("replicaset-controller",), roles=(f"{_OF_LOOP}replicaset-controller",)
    ),
    "replicationcontroller": Loop(
        build=ReplicationController,
        upstream=("replicationcontroller-controller",),
        roles=(f"{_OF_LOOP}replication-controller",),
    ),
    "podgc": Loop(
        build=PodGCController,
        upstream=("pod-garbage-collector-controller",),
        roles=(f"{_OF_LOOP}pod-garbage-collector",),
    ),
    "scheduler": Loop(build=SchedulerController, roles=("system:kube-scheduler",)),
    "servicecidr": Loop(
        build=ServiceCIDRController,
        upstream=("service-cidr-controller",),
        roles=(f"{_OF_LOOP}service-cidrs-controller",),
    ),
    "statefulset": Loop(
        build=StatefulSetController, upstream=("statefulset-controller",), roles=(f"{_OF_LOOP}statefulset-controller",)
    ),
    "tainteviction": Loop(
        build=TaintEvictionController, upstream=("taint-eviction-controller",), roles=(f"{_OF_LOOP}node-controller",)
    ),
}
"""By the name in our `--controllers`. Rule: spec "controllers" §0.2 (upstream's names)."""

ALIASES = {alias: name for name, loop in LOOPS.items() for alias in loop.upstream}


async def run(config: ControllersConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Run the enabled loops until cancelled. on_ready: called once, when all shared caches are filled.

    With an election, the caches fill at once, and the loops run only while this process leads; one that has lost its
    lease starts over with fresh caches. A failed write is tried again; a bug in a loop ends all, so that the supervisor
    sees it. Raises OperationalError for an unknown name in `enabled`, and for an address that cannot be listened on.
    """
    names = choose_loops(
        config.enabled, LOOPS, aliases=ALIASES, off_by_default=() if config.ipam is not None else ("nodeipam",)
    )
    metrics = Metrics()
    crew = Crew(names, client, config, metrics)
    async with contextlib.AsyncExitStack() as stack:
        if config.metrics_address is not None:
            host, port = config.metrics_address
            port = await stack.enter_async_context(serve_telemetry(host, port, metrics, lambda: crew.checks()))
            log.info("metrics address=%s:%d", host, port)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(crew.fill(on_ready))
        if config.election is None:
            group.create_task(crew.work())
            return
        candidate = Candidate(client, config.election)
        metrics.gauge("leader_election_master_status", "1 for the leader, 0 for those who wait.", "name").read(
            lambda: float(candidate.election.is_leader), config.election.name
        )

        async def lead() -> None:
            nonlocal crew
            if not crew.has_worked:
                await crew.work()
                return
            crew = Crew(names, client, config, metrics)
            async with asyncio.TaskGroup() as fresh:
                fresh.create_task(crew.fill(lambda: None))
                fresh.create_task(crew.work())

        group.create_task(candidate.run(lead))


class Crew:
    """The enabled loops over caches of their own. They work once: what they remember is of that time."""

    def __init__(self, names: Sequence[str], client: Client, config: ControllersConfig, metrics: Metrics) -> None:
        self._shared = Shared(client, config, metrics)
        self._controllers = {name: LOOPS[name].build(self._shared) for name in names}
        self._filled = asyncio.Event()
        self.has_worked = False

    async def fill(self, on_filled: Callable[[], None]) -> None:
        """Keep the caches fresh until cancelled; on_filled is called once."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all(*self._shared.informers))
            for informer in self._shared.informers:
                await informer.wait_synced()
            self._filled.set()
            on_filled()

    async def work(self) -> None:
        """Run the loops until cancelled, once the caches are filled."""
        self.has_worked = True
        await self._filled.wait()
        async with asyncio.TaskGroup() as group:
            for name, controller in self._controllers.items():
                group.create_task(controller.run(), name=name)

    def checks(self) -> dict[str, str | None]:
        """For the health checks: None when all is well."""
        missing = "" if self._filled.is_set() else ", ".join(i.name for i in self._shared.informers if not i.is_synced)
        return {"ping": None, "informer-sync": f"not yet listed: {missing}" if missing else None}
