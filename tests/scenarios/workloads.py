"""A small world for workloads: the API, the loops, and a kubelet that does at once what a real one does in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.registry import EVENTS, NODES, PODS, Resource
from seaway.client.requests import Client
from seaway.client.run import Change, Informer
from seaway.testing.builders import make_node
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import Cluster, open_cluster
from seaway.testing.kubelet import iterate_addresses, make_finished_status, make_node_status, make_running_status

Json = dict[str, Any]
LOOPS = ("deployment", "replicaset", "replicationcontroller", "scheduler", "garbage")
TIMEOUT = 300.0
"""Virtual seconds."""


class World:
    """What a test of workloads holds."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client: Client = cluster.client()
        self.start_seconds = 0.1
        self.end_seconds = 0.1
        self.breaks: Callable[[Json], bool] = lambda pod: False
        """Pods that never become ready."""
        self.finishes: Callable[[Json], int | None] = lambda pod: None
        """The exit code with which the Pod ends soon after it has started."""
        self.seen: list[Json] = []
        """Every Pod in each state that it had."""
        self._addresses = iterate_addresses("10.244.0.0/16")
        self._pods: Informer[Json] = Informer(self.client, PODS, dict)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, *, nodes: int, enabled: tuple[str, ...]) -> None:
        for number in range(1, nodes + 1):
            await self.add_node(f"n{number}")
        await self.run_kubelet()
        self.controllers = await self.cluster.start_controllers(enabled=enabled)

    async def run_kubelet(self) -> None:
        """From now on, Pods that have a node run, and those that are deleted end."""
        self._pods.subscribe(self._on_pod)
        self.cluster.tasks.append(asyncio.create_task(self._pods.run()))

    async def kill(self, after_rounds: int, *, enabled: tuple[str, ...]) -> None:
        """End the loops after so many rounds of the event loop, wherever they are, and start others."""
        for _ in range(after_rounds):
            await asyncio.sleep(0)
        self.controllers.cancel()
        await asyncio.gather(self.controllers, return_exceptions=True)
        self.controllers = await self.cluster.start_controllers(enabled=enabled)

    async def add_node(self, name: str, **spec: Any) -> Json:
        created = await self.client.create(NODES, make_node(name, **spec))
        status = make_node_status(ip="192.0.2.1", ready=True, now=self.now())
        live = await self.client.update(NODES, {**created, "status": status}, subresource="status")
        taints = spec.get("taints", [])
        return await self.client.update(NODES, {**live, "spec": {**live.get("spec", {}), "taints": taints}})

    def _on_pod(self, change: Change[Json]) -> None:
        pod = change.new
        if pod is None:
            return
        self.seen.append(pod)
        meta = pod["metadata"]
        stage = "end" if meta.get("deletionTimestamp") else "run"
        ident = f"{stage} {meta['uid']}"
        if pod["spec"].get("nodeName") and ident not in self._tasks:
            act = self._end if stage == "end" else self._run
            task = asyncio.create_task(act(meta["name"], meta["namespace"], meta["uid"]))
            self._tasks[ident] = task
            self.cluster.tasks.append(task)

    async def _run(self, name: str, namespace: str, uid: str) -> None:
        await asyncio.sleep(self.start_seconds)
        ip = next(self._addresses)

        def running(pod: Json) -> Json:
            return make_running_status(pod, ip=ip, host_ip="192.0.2.1", ready=not self.breaks(pod), now=self.now())

        pod = await self._set_status(name, namespace, uid, running)
        if pod is not None and (code := self.finishes(pod)) is not None:
            await asyncio.sleep(self.start_seconds)
            await self._set_status(
                name, namespace, uid, lambda pod: make_finished_status(pod, exit_code=code, now=self.now())
            )

    async def _set_status(self, name: str, namespace: str, uid: str, make: Callable[[Json], Json]) -> Json | None:
        while True:
            try:
                pod = await self.client.get(PODS, name, namespace, as_type=dict)
                if pod["metadata"]["uid"] != uid or pod["metadata"].get("deletionTimestamp"):
                    return None
                return await self.client.update(PODS, {**pod, "status": make(pod)}, subresource="status")
            except Conflict:
                continue
            except NotFound:
                return None

    async def _end(self, name: str, namespace: str, uid: str) -> None:
        await asyncio.sleep(self.end_seconds)
        try:
            await self.client.delete(
                PODS, name, namespace, options={"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
            )
        except (NotFound, Conflict):
            return

    def now(self) -> str:
        return self.cluster.wall_now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # What tests ask and do.

    async def create(self, resource: Resource, obj: Json) -> Json:
        return await self.client.create(resource, obj, "default")

    async def get(self, resource: Resource, name: str) -> Json:
        return await self.client.get(resource, name, "default", as_type=dict)

    async def list(self, resource: Resource, label_selector: str = "") -> list[Json]:
        page = await self.client.list(resource, "default", label_selector=label_selector)
        return [msgspec.json.decode(raw) for raw in page.items]

    async def patch(self, resource: Resource, name: str, patch: Json) -> Json:
        return await self.client.patch(resource, name, "default", patch=patch)

    async def delete(self, resource: Resource, name: str, **options: Any) -> None:
        await self.client.delete(resource, name, "default", options=options)

    async def pods(self) -> list[Json]:
        """Those that are not ending, sorted by name."""
        pods = [pod for pod in await self.list(PODS) if not pod["metadata"].get("deletionTimestamp")]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    async def events(self, reason: str) -> list[Json]:
        found = [event for event in await self.list(EVENTS) if event["reason"] == reason]
        return sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))

    async def settles(self, resource: Resource, name: str, **wanted: Any) -> Json:
        """The object, once its status says so."""

        async def check() -> Json | None:
            live = await self.get(resource, name)
            status = live.get("status") or {}
            is_seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
            has_all = all((status.get(key) or 0) == value for key, value in wanted.items())
            return live if is_seen and has_all else None

        try:
            return await self.cluster.eventually(check, timeout_seconds=TIMEOUT)
        except TimeoutError:
            raise AssertionError((await self.get(resource, name)).get("status")) from None

    async def until(self, check: Callable[[], Awaitable[Any]]) -> Any:
        return await self.cluster.eventually(check, timeout_seconds=TIMEOUT)


def play(scenario: Callable[[World], Awaitable[None]], *, nodes: int = 2, enabled: tuple[str, ...] = LOOPS) -> None:
    """Run the scenario on a clock that jumps."""

    async def main() -> None:
        async with open_cluster() as cluster:
            world = World(cluster)
            await world.start(nodes=nodes, enabled=enabled)
            await scenario(world)

    run_virtually(main())


def make_template(app: str = "web", image: str = "program:1", **spec: Any) -> Json:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}], **spec},
    }
