"""The node agent: a Node in the API, and its Pods on this host.

Nothing is ended before the list of Pods has arrived once, and no container starts before the list of Services has.
Leaving is silent: Pods run on, held by the shim, and the next agent takes them over.
Rule: spec "node" §1.1 (start order), §2.3 (event classes), §3.5 (restart).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from seaway.api.machinery.errors import ApiError
from seaway.api.node.types import Node
from seaway.api.registry import EVENTS, NODES, PODS, SERVICES
from seaway.api.service.types import Service
from seaway.client.index import Change
from seaway.client.requests import Client, TransportError
from seaway.client.run import Informer
from seaway.node.admission import find_rejection
from seaway.node.bindings.run import BindingWatch
from seaway.node.config import NodeConfig
from seaway.node.events import Happening, Involved, involve_node, involve_pod, make_event, make_repeat_patch
from seaway.node.figures import make_figures
from seaway.node.firewalls.run import FirewallWatch
from seaway.node.heartbeat.run import Heartbeat
from seaway.node.network.plan import sort_ranges
from seaway.node.peers.run import PeerWatch
from seaway.node.pods.context import AgentContext
from seaway.node.pods.run import PodWorker
from seaway.node.pods.start.run import read_resolver_file
from seaway.node.podspec import PodManifest
from seaway.node.resolvconf import ResolverError, find_host_file_warning
from seaway.node.runtime import files
from seaway.node.runtime.contract import ContainerError, RuntimeGone, Stop
from seaway.node.runtime.local.client import ShimClient
from seaway.node.runtime.local.run import MEMORY, LocalConfig, LocalRuntime
from seaway.node.runtime.oci.choose import AUTO
from seaway.node.runtime.plain.run import PlainRuntime, end_leftovers
from seaway.node.serve import listen, make_answers, serve
from seaway.node.state import ContainerRun, PodState, recover_state
from seaway.node.streaming.serve import Streamer

__all__ = ["NodeConfig", "cleanup", "remove_pods", "run"]

log = logging.getLogger(__name__)

MAX_WAITING_EVENTS = 1000
MAX_KNOWN_EVENTS = 4096
RECONNECT_SECONDS = 0.5
REMOVE_SECONDS = 5.0


async def run(config: NodeConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Be the agent of a node until cancelled. on_ready: the Node is Ready in the API and Pods are served."""
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    listening = listen(config.serving, config.locate(config.node_ips[0])) if config.serving is not None else None
    port = listening.port if listening is not None else 0
    recorder = EventRecorder(client, config.node_name)
    heartbeat = Heartbeat(config, client, port, record=recorder.record_node)
    pod_cidrs = sort_ranges(await heartbeat.find_pod_cidrs(), config.node_ips[0])
    _note_ranges(config, pod_cidrs)
    runtime = _make_runtime(config, pod_cidrs)
    await runtime.connect()
    try:
        if config.oci_runtime != AUTO:
            await runtime.settle()  # the operator's own choice may be an error, which ends the agent here
        agent = _Agent(config, client, runtime, heartbeat, recorder)
        async with asyncio.TaskGroup() as group:
            if listening is not None:
                answers = make_answers(config, client, make_figures(agent.list_states), port=port)
                group.create_task(serve(listening, answers, Streamer(runtime, agent.find_pod)))
            if config.is_isolated:
                watch = FirewallWatch(config.state_dir, pod_cidrs, recorder.record_node)
                group.create_task(watch.run())
                group.create_task(PeerWatch(config, client, pod_cidrs, recorder.record_node).run())
            if isinstance(runtime, PlainRuntime):
                bindings = BindingWatch(config, runtime, agent.list_pods, recorder.record)
                agent.watch_ends(bindings.take_exit)
                group.create_task(bindings.run())
            group.create_task(agent.run(on_ready))
    finally:
        await runtime.close()


def _make_runtime(config: NodeConfig, pod_cidrs: str) -> LocalRuntime:
    local = LocalConfig(
        state_dir=config.state_dir,
        data_dir=config.data_dir,
        pod_cidrs=pod_cidrs,
        sandboxed=config.sandbox,
        mtu=config.mtu,
        oci_runtime=config.oci_runtime,
        pod_max_pids=config.pod_max_pids,
    )
    if config.loopback is None:
        return LocalRuntime(local)
    return PlainRuntime(local, config.loopback, config.locate(config.node_ips[0]))


def _note_ranges(config: NodeConfig, pod_cidrs: str) -> None:
    """For a cleanup without an API. On a full disk the Pods that run matter more."""
    path, noted = config.state_dir / "node.json", {"pod_cidrs": pod_cidrs, "network": config.network}
    if files.load_json(path) == noted:
        return
    try:
        files.save_json(path, noted)
    except ContainerError as error:
        log.warning("node=%s ranges=unsaved error=%s", config.node_name, error)


class _Agent:
    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        runtime: LocalRuntime,
        heartbeat: Heartbeat,
        recorder: EventRecorder,
    ) -> None:
        self._runtime = runtime
        self._heartbeat = heartbeat
        self._recorder = recorder
        self._pods = Informer(client, PODS, PodManifest, field_selector=f"spec.nodeName={config.node_name}")
        self._services = Informer(client, SERVICES, Service)
        self._node: Informer[dict[str, Any]] = Informer(
            client, NODES, dict, field_selector=f"metadata.name={config.node_name}"
        )
        self._context = AgentContext(
            config=config, client=client, runtime=runtime,
            read_services=self._read_services, record=self._recorder.record,
            record_node=self._recorder.record_node, allocatable=heartbeat.allocatable,
        )  # fmt: skip
        self._workers: dict[str, PodWorker] = {}
        self._take_exit: Callable[[ContainerRun], None] = lambda run: None
        self._group: asyncio.TaskGroup

    async def run(self, on_ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as self._group:
            for informer in (self._pods, self._services, self._node):
                self._group.create_task(informer.run())
            self._group.create_task(self._recorder.run())
            await self._name_runtime()
            await self._heartbeat.register()
            self._node.subscribe(self._take_node)
            self._group.create_task(self._heartbeat.run())
            self._check_resolver_file()
            await self._services.wait_synced()
            await self._adopt()
            self._group.create_task(self._watch_runtime())
            on_ready()

    async def _name_runtime(self) -> None:
        await self._runtime.settle()
        self._heartbeat.set_runtime(self._runtime.name_and_version)

    def _check_resolver_file(self) -> None:
        config = self._context.config
        with contextlib.suppress(ResolverError):  # each Pod that inherits it says so
            text = read_resolver_file(config)
            warning = find_host_file_warning(text, str(config.resolv_conf), cluster_domain=config.cluster_domain)
            if warning:
                log.warning("node=%s resolver=%r", config.node_name, warning)
                self._recorder.record_node(Happening("Warning", "CheckLimitsForResolvConf", warning))

    def list_states(self) -> list[PodState]:
        """Of the Pods of the node, as they are now."""
        return [worker.state for worker in self._workers.values()]

    def list_pods(self) -> list[tuple[PodManifest, PodState]]:
        """Those whose objects are there, as they are now."""
        return [(worker.pod, worker.state) for worker in self._workers.values() if not worker.state.removed]

    def watch_ends(self, take_exit: Callable[[ContainerRun], None]) -> None:
        """Call it with each run that ends."""
        self._take_exit = take_exit

    def find_pod(self, namespace: str, name: str) -> tuple[PodManifest, PodState] | None:
        """The Pod of that name, as it is now."""
        for worker in self._workers.values():
            metadata = worker.pod.metadata
            if (metadata.namespace, metadata.name) == (namespace, name) and not worker.state.removed:
                return worker.pod, worker.state
        return None

    async def _read_services(self) -> tuple[Service, ...]:
        await self._services.wait_synced()
        return tuple(self._services.objects.values())

    def _take_node(self, change: Change[dict[str, Any]]) -> None:
        if change.new is not None:
            self._heartbeat.take_node(change.new)

    async def _adopt(self) -> None:
        """Take over what runs, end what nobody knows, and from then on follow the Pods."""
        await self._pods.wait_synced()
        known = {pod.uid for pod in self._pods.objects.values()}
        for uid in await self._runtime.mend_network(known):
            log.info("pod=%s network=mended", uid)
        inventory = await self._runtime.read_inventory()
        sandboxes = {sandbox.uid: sandbox for sandbox in inventory.sandboxes}
        for uid in sorted((set(sandboxes) | set(self._runtime.held_pods())) - known):
            log.info("pod=%s orphan=removed", uid)
            runs = [run for run in inventory.runs if run.uid == uid and run.is_running]
            for run in runs:
                await self._runtime.stop(Stop(run.container_id, kill=True))
            self._group.create_task(self._remove_orphan(uid))
        states = []
        for pod in self._pods.objects.values():
            runs = [run for run in inventory.runs if run.uid == pod.uid]
            states.append((pod, recover_state(pod, sandboxes.get(pod.uid), runs)))
        for pod, state in sorted(
            states, key=lambda each: (not each[1].is_adopted, each[0].metadata.creation_timestamp)
        ):
            self._add(pod, state)
        self._pods.subscribe(self._take_pod)

    async def _remove_orphan(self, uid: str) -> None:
        """Once its programs have ended; they were killed."""
        for _ in range(50):
            with contextlib.suppress(ContainerError):
                await self._runtime.remove_sandbox(uid)
                await self._runtime.release(uid, keep_logs=False)
                return
            await asyncio.sleep(0.1)
        log.warning("pod=%s orphan=left", uid)

    def _add(self, pod: PodManifest, state: PodState) -> None:
        others = [worker.pod for worker in self._workers.values() if worker.is_active]
        worker = self._workers[pod.uid] = PodWorker(self._context, pod, state)
        worker.take_pod(pod)
        if worker.is_active and state.sandbox is None and not state.is_adopted:
            node = msgspec.convert(self._heartbeat.node, Node) if self._heartbeat.node else None
            rejection = find_rejection(
                pod, others, node, allocatable=self._context.allocatable, sets_groups=self._context.config.has_users
            )
            if rejection is not None:
                worker.reject(rejection)
        task = self._group.create_task(worker.run())
        task.add_done_callback(lambda _: self._workers.pop(pod.uid, None))

    def _take_pod(self, change: Change[PodManifest]) -> None:
        old, new = change.old, change.new
        if old is not None and (new is None or new.uid != old.uid) and old.uid in self._workers:
            self._workers[old.uid].take_removal()
        if new is None:
            return
        if new.uid in self._workers:
            self._workers[new.uid].take_pod(new)
        elif old is None or old.uid != new.uid:
            self._add(new, recover_state(new, None, ()))

    async def _watch_runtime(self) -> None:
        """Ends of containers to their workers; a runtime that is gone is started again, with nothing in it."""
        while True:
            try:
                async for ended in self._runtime.watch_exits():
                    self._take_exit(ended)
                    if ended.uid in self._workers:
                        self._workers[ended.uid].take_exit(ended)
            except RuntimeGone as error:
                log.warning("runtime=gone error=%s", error)
            self._heartbeat.set_ready("container runtime is down")
            while True:
                try:
                    await self._runtime.connect()
                    await self._name_runtime()
                    break
                except RuntimeGone:
                    await asyncio.sleep(RECONNECT_SECONDS)
            for worker in tuple(self._workers.values()):
                worker.take_runtime_loss()
            self._heartbeat.set_ready("")


class EventRecorder:
    """Posts events in the background; what repeats is counted on the first. Events that nobody can take are lost."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._waiting: asyncio.Queue[tuple[Involved, Happening]] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._known: dict[tuple[str, Happening], tuple[str, int]] = {}

    def record(self, pod: PodManifest, happening: Happening) -> None:
        """Of a Pod. Never waits."""
        self._put(involve_pod(pod), happening)

    def record_node(self, happening: Happening) -> None:
        """Of this Node. Never waits."""
        self._put(involve_node(self._node), happening)

    def _put(self, involved: Involved, happening: Happening) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait((involved, happening))

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            involved, happening = await self._waiting.get()
            try:
                await self._post(involved, happening)
            except (ApiError, TransportError) as error:
                about = f"{involved.kind.lower()}={involved.event_namespace}/{involved.name}"
                log.info("%s event=%s lost error=%r", about, happening.reason, error)

    async def _post(self, involved: Involved, happening: Happening) -> None:
        key, now = (involved.uid, happening), datetime.now(UTC)
        if key in self._known:
            name, count = self._known[key]
            patch = make_repeat_patch(count + 1, now)
            await self._client.patch(EVENTS, name, involved.event_namespace, patch=patch)
            self._known[key] = (name, count + 1)
            return
        event = make_event(involved, happening, suffix=secrets.token_hex(8), node=self._node, wall_now=now)
        await self._client.create(EVENTS, event, involved.event_namespace)
        self._known[key] = (event["metadata"]["name"], 1)
        while len(self._known) > MAX_KNOWN_EVENTS:
            del self._known[next(iter(self._known))]


async def remove_pods(state_dir: Path) -> None:
    """End every Pod of the node and the shim, and remove links, routes, addresses and files. Safe to repeat."""
    await end_pods(state_dir)
    await asyncio.to_thread(cleanup, state_dir)


async def end_pods(state_dir: Path) -> None:
    """End every Pod of the node and the shim; addresses stay leased, for the next start. Safe to repeat."""
    shim = ShimClient(state_dir)
    with contextlib.suppress(RuntimeGone):
        await shim.ask("stop")
        async with asyncio.timeout(REMOVE_SECONDS):
            while True:  # until nobody answers: its children are gone then
                await shim.ask("list")
                await asyncio.sleep(0.02)
    await end_leftovers(state_dir)


def cleanup(state_dir: Path) -> None:
    """Remove what ended Pods left: cgroups, ports, links, routes, addresses, files. The shim must have ended."""
    from seaway.node.cgroups.kernel import Groups, read_hierarchy
    from seaway.node.hostports.kernel import apply_host_ports
    from seaway.node.network import kernel
    from seaway.node.peers.kernel import remove_routes

    Groups(read_hierarchy(), state_dir).remove_all()
    saved = files.load_json(state_dir / "node.json")
    noted = saved if isinstance(saved, dict) else {}
    if noted.get("network") != "none":
        if (state_dir / "hostports.json").exists():
            apply_host_ports(())
        remove_routes()
        cidrs = str(noted.get("pod_cidrs", ""))
        kernel.remove_everything(ipaddress.ip_network(cidr) for cidr in cidrs.split(",") if cidr)
    for pod in sorted(state_dir.glob("pods/*")):
        files.remove_pod_files(pod)
    files.remove_memory(state_dir / MEMORY)
    shutil.rmtree(state_dir, ignore_errors=True)
