"""Carries out the commands of a golden conversation: the API server in memory, control loops, a clock that jumps.

Each command is a method with the pattern that it answers to; the table below its class lists them all, and a command
that changes something is followed by a second in which the loops act. `again` holds the conversation so far once more
for each write that the loops made, and kills them at that write.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import yaml

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import AlreadyExists, ApiError, NotFound
from seaway.api.registry import (
    CLUSTER_ROLE_BINDINGS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    NODES,
    PODS,
    SERVICES,
    Resource,
)
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.run import open_server
from seaway.client.election.lease import ElectionConfig
from seaway.client.requests import MERGE_PATCH, Client
from seaway.client.run import Change, Informer
from seaway.controllers.run import LOOPS
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_node, make_pod, make_service, merge
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import CONTROLLER_MANAGER, Cluster, open_cluster
from seaway.testing.manifests import find_kind, parse_manifest
from tests.scenarios.conversation import Command, Prose, parse_span, squeeze
from tests.scenarios.line import Killed, Line, Trouble
from tests.scenarios.naming import Names
from tests.scenarios.telling import tell_endpoints, tell_pods, tell_slices, walk
from tests.scenarios.test_control_loops import beat
from tests.scenarios.test_health_checks import World as Targets
from tests.scenarios.test_health_checks import checking
from tests.scenarios.workloads import World

Json = dict[str, Any]
NODE_GRACE_SECONDS = 50.0
"""Upstream's."""
KIND_OF_BINDING = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
DUAL = ServerConfig(service_cidrs=("10.96.0.0/16", "fd10:96::/112"))
DUAL_STACK = "a cluster of both families"
ACTING_SECONDS = 1.0
"""For the loops, after each change."""
START_SECONDS = 30.0
"""For the first lists: a loop that may not read waits for ever."""
SETTLING_SECONDS = 70.0
"""Past the longest back-off and the look for lost echoes."""


def hold(parts: Sequence[Prose | Command]) -> list[Prose | Command]:
    """The same conversation with the outcomes that it has now. Raises ValueError for a command that nobody knows."""
    return run_virtually(_hold(parts))


def find_forbidden(parts: Sequence[Prose | Command]) -> set[str]:
    """What is refused when each loop runs on its own, and has no more than its roles."""
    refused: set[str] = set()
    run_virtually(_hold(parts, refused=refused))
    return refused


async def _hold(
    parts: Sequence[Prose | Command], kill: Killed | None = None, *, refused: set[str] | None = None
) -> list[Prose | Command]:
    """refused: gathers what roles do not allow, and lets each loop run on its own."""
    told: list[Prose | Command] = []
    async with contextlib.AsyncExitStack() as stack:
        store = MemoryStore()
        stack.push_async_callback(store.close)
        config = DUAL if any(isinstance(p, Command) and p.text == DUAL_STACK for p in parts) else ServerConfig()
        cluster = await stack.enter_async_context(open_cluster(store=store, config=config))
        stage = Stage(cluster, config, store, stack, kill, is_apart=refused is not None)
        for part in parts:
            if isinstance(part, Prose):
                told.append(part)
                continue
            if part.text.startswith("again") and refused is not None:
                continue
            if part.text.startswith("again"):
                told.append(replace(part, outcome=tuple(await _repeat(told, stage.trouble.count))))
                continue
            answer = await stage.play(part)
            told.append(replace(part, outcome=tuple(answer)))
        if kill is not None:  # the last question once more, when all is over
            await asyncio.sleep(SETTLING_SECONDS)
            last = next(p for p in reversed(told) if isinstance(p, Command))
            told.append(replace(last, outcome=tuple(await stage.play(last))))
            if stage.emptied:
                told.append(Command(last.line, last.text, outcome=(f"emptied: {', '.join(stage.emptied)}",)))
        await stage.close()
        if refused is not None:
            refused |= stage.trouble.forbidden
    return told


async def _repeat(told: Sequence[Prose | Command], writes: int) -> list[str]:
    """The conversation so far, the loops killed before and after each write: its last answer must be the same."""
    expected = _last_answer(told)
    differing: list[str] = []
    assert writes, "nothing was written"
    for number in range(1, writes + 1):
        for after in (False, True):
            again = await _hold(told, Killed(number, after))
            if (found := _last_answer(again)) != expected:
                differing.append(f"killed {'after' if after else 'before'} write {number}: {'; '.join(found)}")
    return differing or ["the same answer each time, and no Service was emptied on the way"]


def _last_answer(told: Sequence[Prose | Command]) -> list[str]:
    last = next(p for p in reversed(told) if isinstance(p, Command))
    return [_merge(line) for line in last.outcome]


def _merge(line: str) -> str:
    """Made-up names without their numbers: which of several came first may be chance."""
    return re.sub(r"\*\d+", "*", line)


class Stage:
    """The cluster, and who acts in it."""

    def __init__(
        self,
        cluster: Cluster,
        config: ServerConfig,
        store: MemoryStore,
        stack: contextlib.AsyncExitStack,
        kill: Killed | None,
        *,
        is_apart: bool,
    ) -> None:
        self._is_apart = is_apart
        self._cluster, self._config, self._store, self._stack = cluster, config, store, stack
        self._client: Client = Client(_Direct(cluster))
        self.names, self.trouble = Names(), Trouble(kill)
        self._lines: dict[str, tuple[asyncio.Task[None], Line, tuple[str, ...]]] = {}
        self._agents: dict[str, asyncio.Task[None]] = {}
        self._targets: Targets | None = None
        self._told_events: set[str] = set()
        self._least: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self.emptied: list[str] = []
        """Services that had ready endpoints, and then none."""
        self._world: World | None = None
        self._informers = [Informer(self._client, r, dict) for r in (ENDPOINT_SLICES, PODS)]
        for informer, kind in zip(self._informers, ("EndpointSlice", "Pod"), strict=True):
            informer.subscribe(self._make_observer(kind))
        self._tasks = [asyncio.create_task(informer.run()) for informer in self._informers]

    async def close(self) -> None:
        """End all that runs."""
        tasks = [*self._tasks, *self._agents.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def play(self, command: Command) -> list[str]:
        """What the command answers. An ApiError is an answer, too."""
        for pattern, act, changes in COMMANDS:
            if (found := pattern.fullmatch(command.text)) is None:
                continue
            given = {key: value for key, value in found.groupdict().items() if value is not None}
            if command.body:
                given["body"] = "\n".join(command.body)
            try:
                answer = await act(self, **given)
            except ApiError as error:
                answer = [f"{error.code} {error.reason}: {error.message}"]
            if changes:
                await asyncio.sleep(ACTING_SECONDS)
                await self._kill_if_due()
            return [self.names.tidy(line) for line in answer or ()]
        raise ValueError(f"line {command.line}: {command.text!r} found, a command of tests/scenarios/stage.py wanted")

    # Objects.

    async def create(self, body: str) -> None:
        for resource, obj in parse_manifest(body):
            space = (obj["metadata"].get("namespace") or "default") if resource.namespaced else ""
            await self._client.create(resource, obj, space)

    async def dual_stack(self) -> None:
        """It was opened so, whatever place the command has."""

    async def service(self, name: str, flow: str = "{}") -> None:
        given = yaml.safe_load(flow)
        await self._client.create(SERVICES, make_service(name, meta=given.pop("meta", None), **given), "default")

    async def node(self, name: str, zone: str = "", cpus: str = "") -> None:
        labels = {"topology.kubernetes.io/zone": zone} if zone else {}
        node = make_node(name, meta={"labels": {"kubernetes.io/hostname": name, **labels}})
        created = await self._client.create(NODES, node)
        status = merge(node["status"], {"allocatable": {"cpu": cpus, "pods": "110"}} if cpus else {})
        live = await self._client.update(NODES, {**created, "status": status}, subresource="status")
        await self._client.update(NODES, {**live, "spec": {**live.get("spec", {}), "taints": []}})

    async def pod(
        self, name: str, node: str = "n1", ips: str = "", unready: str = "", count: str = "1", flow: str = "{}"
    ) -> None:
        """`pod web-1 …`; `10 pods web …` are web-1 to web-10."""
        given = yaml.safe_load(flow)
        app = re.sub(r"-\d+$", "", name)
        for number in range(int(count)):
            own = name if count == "1" else f"{name}-{number + 1}"
            pod = make_pod(own, labels={"app": app}, nodeName=node, **given)
            await self._client.create(PODS, pod, "default")
            if ips:
                await self._report(own, _make_status(ips, number, ready=not unready))

    async def pod_turns(self, name: str, state: str) -> None:
        live = await self._client.get(PODS, self.names.resolve(name), "default", as_type=dict)
        if state in ("succeeded", "failed"):
            await self._report(name, {**live["status"], "phase": state.title()})
            return
        status = make_pod(ip=live["status"]["podIP"], ready=state == "ready")["status"]
        await self._report(name, {**live["status"], "conditions": status["conditions"]})

    async def pod_terminates(self, name: str) -> None:
        await self._client.delete(PODS, self.names.resolve(name), "default", options={"gracePeriodSeconds": 30})

    async def _report(self, name: str, status: Json) -> None:
        live = await self._client.get(PODS, name, "default", as_type=dict)
        await self._client.update(PODS, {**live, "status": status}, subresource="status")

    async def patch(self, kind: str, name: str, flow: str) -> None:
        resource, space, plain = self._place(kind, name)
        patch = yaml.safe_load(flow)
        await self._client.patch(resource, plain, space, patch=patch, patch_type=MERGE_PATCH)

    def _place(self, kind: str, name: str) -> tuple[Resource, str, str]:
        """The kind, the namespace and the real name of `web`, or of `shop/web`."""
        resource = find_kind(kind)
        space, _, plain = name.rpartition("/")
        return resource, (space or "default") if resource.namespaced else "", self.names.resolve(plain)

    async def delete(self, kind: str, name: str, how: str = "background") -> None:
        resource, space, plain = self._place(kind, name)
        options: Json = {"propagationPolicy": how.title()}
        if how == "at once":
            options = {"gracePeriodSeconds": 0}
        await self._client.delete(resource, plain, space, options=options)

    async def own(self, kind: str, name: str, owner_kind: str, owner: str, blocks: str = "") -> None:
        """The second owns the first."""
        resource, owning = find_kind(kind), find_kind(owner_kind)
        live = await self._client.get(owning, owner, "default" if owning.namespaced else "", as_type=dict)
        reference = {
            "apiVersion": owning.api_version,
            "kind": owning.kind,
            "name": owner,
            "uid": live["metadata"]["uid"],
            "blockOwnerDeletion": bool(blocks),
        }
        own = await self._client.get(resource, name, "default", as_type=dict)
        references = [*own["metadata"].get("ownerReferences", []), reference]
        patch = {"metadata": {"ownerReferences": references}}
        await self._client.patch(resource, name, "default", patch=patch, patch_type=MERGE_PATCH)

    # Who acts.

    async def start(self, loops: str, name: str = "") -> None:
        if self._is_apart:
            for loop in loops.split():
                await self._start(loop, f"{name}{loop}", user=await self._let_in(loop))
            return
        election = ElectionConfig(identity=name, name="seaway-controllers") if name else None
        await self._start(loops, name, user=CONTROLLER_MANAGER, election=election)

    async def _let_in(self, loop: str) -> str:
        """A user of that loop's roles and no others."""
        user = f"only-{loop}"
        for role in LOOPS[loop].roles:
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
            binding = {"metadata": {"name": f"{user}-{role}"}, "roleRef": reference, "subjects": [subject]}
            with contextlib.suppress(AlreadyExists):
                await self._client.create(CLUSTER_ROLE_BINDINGS, {**KIND_OF_BINDING, **binding})
        return user

    async def _start(self, loops: str, name: str, *, user: str, election: ElectionConfig | None = None) -> None:
        enabled = tuple(loops.split())
        line = Line(self._cluster.client(user=user, groups=()).transport, self.trouble)
        try:
            async with asyncio.timeout(START_SECONDS):
                task = await self._cluster.start_controllers(
                    enabled=enabled, election=election, client=Client(line), node_grace_seconds=NODE_GRACE_SECONDS
                )
        except TimeoutError:
            assert self.trouble.forbidden, "only refusals may keep a loop from starting"
            task = self._cluster.tasks[-1]
        self._lines[name] = (task, line, enabled)

    async def stop(self, how: str, name: str = "") -> None:
        names = [key for key in self._lines if key.startswith(name)] if self._is_apart else [name]
        for task, line, _ in [self._lines.pop(key) for key in names]:
            line.is_dead = how == "kill"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._cluster.tasks.remove(task)

    async def _kill_if_due(self) -> None:
        if not self.trouble.has_killed:
            return
        self.trouble.has_killed = False
        for name, (_, _, enabled) in list(self._lines.items()):
            await self.stop("kill", name)
            await self.start(" ".join(enabled), name)

    async def kubelet(self) -> None:
        world = self._world = World(self._cluster)
        await world.run_kubelet()

    async def ends(self, prefix: str, code: str) -> None:
        assert self._world is not None, "`start kubelet` comes first"
        known, code_ = self._world.finishes, int(code)
        self._world.finishes = lambda pod: code_ if pod["metadata"]["name"].startswith(prefix) else known(pod)

    async def beats(self, name: str) -> None:
        self._agents[name] = asyncio.create_task(beat(self._client, name))

    async def falls_silent(self, name: str) -> None:
        self._agents.pop(name).cancel()

    async def checks(self) -> None:
        self._targets = Targets()
        await self._stack.enter_async_context(checking(self._cluster, self._targets))

    async def target(self, address: str, way: str) -> None:
        assert self._targets is not None, "`start health checks` comes first"
        (self._targets.down.add if way == "goes down" else self._targets.down.discard)(address)

    # Trouble.

    async def wait(self, span: str) -> None:
        await asyncio.sleep(parse_span(span))
        await self._kill_if_due()

    async def jump(self, span: str) -> None:
        asyncio.get_running_loop().advance(parse_span(span))  # type: ignore[attr-defined]

    async def cut(self) -> None:
        self._cluster.cut()

    async def mend(self) -> None:
        self._cluster.mend()

    async def restart_server(self) -> None:
        await self._cluster.server.close()
        self._cluster.server = await open_server(self._config, self._store)

    async def fail(self, count: str, code: str) -> None:
        self.trouble.fail(int(count), code)

    # Questions.

    async def slices(self, name: str) -> list[str]:
        return tell_slices(await self._list_slices(name))

    async def _list_slices(self, service: str) -> list[EndpointSlice]:
        page = await self._client.list(
            ENDPOINT_SLICES, "default", label_selector=f"kubernetes.io/service-name={service}"
        )
        found = [msgspec.json.decode(raw, type=EndpointSlice) for raw in page.items]
        return sorted(found, key=lambda s: (s.address_type, self.names.tidy(s.metadata.name)))

    async def endpoints(self, name: str) -> list[str]:
        try:
            return tell_endpoints(await self._client.get(ENDPOINTS, name, "default", as_type=dict))
        except NotFound:
            return ["none"]

    async def pods(self) -> list[str]:
        page = await self._client.list(PODS, "default")
        lines = tell_pods([msgspec.json.decode(raw) for raw in page.items])
        return squeeze(sorted(_merge(self.names.tidy(line)) for line in lines))

    async def names_of(self, kind: str, space: str = "default") -> list[str]:
        resource = find_kind(kind)
        page = await self._client.list(resource, space if resource.namespaced else "")
        return sorted(self.names.tidy(msgspec.json.decode(raw)["metadata"]["name"]) for raw in page.items) or ["none"]

    async def show(self, kind: str, name: str, paths: str) -> list[str]:
        resource, space, plain = self._place(kind, name)
        obj = await self._client.get(resource, plain, space, as_type=dict)
        return [f"{path}: {walk(obj, path)}" for path in paths.split()]

    async def events(self, kind: str = "") -> list[str]:
        """Those since the last time, about objects of the kind, made-up names without numbers; equal ones once."""
        page = await self._client.list(EVENTS, "default")
        found = [msgspec.json.decode(raw) for raw in page.items]
        lines = {
            _merge(self.names.tidy(f"{e['involvedObject']['name']}: {e['reason']}: {e['message']}"))
            for e in found
            if kind in ("", e["involvedObject"]["kind"])
        }
        new, self._told_events = lines - self._told_events, self._told_events | lines
        return sorted(new) or ["none"]

    async def writes(self) -> list[str]:
        """Of the loops, since the last time."""
        log, self.trouble.log = self.trouble.log, []
        return squeeze(self.names.tidy(line) for line in log) or ["none"]

    async def least(self, name: str) -> list[str]:
        """How many ready endpoints the Service had at any moment since the last time."""
        least = self._least.pop(name, None)
        now = self._count_ready(name)
        return [f"{now if least is None else least} ready endpoints at every moment"]

    def _make_observer(self, kind: str) -> Callable[[Change[Json]], None]:
        def look(change: Change[Json]) -> None:
            obj = change.new or change.old
            assert obj is not None
            meta = obj["metadata"]
            self.names.learn(kind, meta["name"], meta.get("generateName", ""))
            service = meta.get("labels", {}).get("kubernetes.io/service-name")
            if kind == "EndpointSlice" and service:
                now = self._count_ready(service)
                self._least[service] = min(now, self._least.get(service, now))
                self._most[service] = max(now, self._most.get(service, now))
                if self._most[service] and not now:
                    self.emptied.append(service)

        return look

    def _count_ready(self, service: str) -> int:
        return len({
            endpoint["addresses"][0]
            for slice_ in self._informers[0].objects.values()
            if slice_["metadata"].get("labels", {}).get("kubernetes.io/service-name") == service
            for endpoint in slice_.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready") is not False
        })  # fmt: skip


class _Direct:
    """The administrator, whom neither a cut nor a new server concerns."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def send(self, request: Any) -> Any:
        return await self._cluster.direct_client().transport.send(request)

    async def close(self) -> None:
        return None


def _make_status(ips: str, number: int, *, ready: bool) -> Json:
    """The first address is of the first family; `number` is added to each."""
    found = [str(ipaddress.ip_address(ip) + number) for ip in ips.split(",")]
    status: Json = make_pod(ip=found[0], ready=ready, status={"podIPs": [{"ip": ip} for ip in found]})["status"]
    return status


Act = Callable[..., Awaitable[list[str] | None]]
_NAME, _FLOW_ARGUMENT = r"(?P<name>\S+)", r"(?:\s+(?P<flow>\{.*\}))?"
_POD = rf"(?: on (?P<node>\S+))?(?: at (?P<ips>\S+))?(?P<unready> not ready)?{_FLOW_ARGUMENT}"
COMMANDS: tuple[tuple[re.Pattern[str], Act, bool], ...] = tuple(
    (re.compile(pattern), act, changes)
    for pattern, act, changes in (
        (DUAL_STACK, Stage.dual_stack, False),
        (r"create", Stage.create, True),
        (rf"service {_NAME}{_FLOW_ARGUMENT}", Stage.service, True),
        (rf"node {_NAME}(?: in zone (?P<zone>\w+))?(?: with (?P<cpus>\d+) cpus)?", Stage.node, True),
        (rf"node {_NAME} beats", Stage.beats, True),
        (rf"node {_NAME} falls silent", Stage.falls_silent, True),
        (rf"pod {_NAME} turns (?P<state>ready|unready|succeeded|failed)", Stage.pod_turns, True),
        (rf"pod {_NAME} terminates", Stage.pod_terminates, True),
        (rf"pod {_NAME}{_POD}", Stage.pod, True),
        (rf"(?P<count>\d+) pods {_NAME}{_POD}", Stage.pod, True),
        (rf"patch (?P<kind>\S+) {_NAME}{_FLOW_ARGUMENT}", Stage.patch, True),
        (rf"delete (?P<kind>\S+) {_NAME}(?: (?P<how>orphan|foreground|at once))?", Stage.delete, True),
        (rf"(?P<owner_kind>\S+) (?P<owner>\S+) owns (?P<kind>\S+) {_NAME}(?P<blocks>, blocking)?", Stage.own, True),
        (r"start kubelet", Stage.kubelet, True),
        (r"pods (?P<prefix>\S+) end with (?P<code>\d+)", Stage.ends, False),
        (r"start health checks", Stage.checks, True),
        (r"target (?P<address>\S+) (?P<way>goes down|comes up)", Stage.target, False),
        (r"start controllers(?: (?P<name>\w+))?: (?P<loops>.+)", Stage.start, True),
        (r"(?P<how>stop|kill) controllers(?: (?P<name>\w+))?", Stage.stop, True),
        (r"wait (?P<span>\w+)", Stage.wait, False),
        (r"clock jumps (?P<span>\w+)", Stage.jump, True),
        (r"cut the server off", Stage.cut, True),
        (r"mend the server", Stage.mend, True),
        (r"restart the server", Stage.restart_server, True),
        (r"next (?P<count>\d+) writes: (?P<code>409|429|503|lost|answer lost)", Stage.fail, False),
        (rf"slices {_NAME}", Stage.slices, False),
        (rf"endpoints {_NAME}", Stage.endpoints, False),
        (r"pods", Stage.pods, False),
        (r"list (?P<kind>\S+)(?: in (?P<space>\S+))?", Stage.names_of, False),
        (rf"show (?P<kind>\S+) {_NAME} (?P<paths>.+)", Stage.show, False),
        (r"events(?: of (?P<kind>\w+))?", Stage.events, False),
        (r"writes", Stage.writes, False),
        (rf"least {_NAME}", Stage.least, False),
    )
)
