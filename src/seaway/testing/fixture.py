"""What a test holds: a Seaway, seen from one namespace. `Seaway` blocks, `AsyncSeaway` is awaited; both can the same.

Helpers act in process as an administrator, past the faults that a test orders: the trouble is the operator's alone.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import msgspec

from seaway.api.machinery.errors import AlreadyExists, Conflict, NotFound
from seaway.api.registry import (
    ENDPOINT_SLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    Resource,
)
from seaway.client.requests import JSON_PATCH
from seaway.testing.builders import make_pod, make_service
from seaway.testing.faults import Fault, Recorded
from seaway.testing.kubelet import make_finished_status, make_node_status, make_running_status
from seaway.testing.manifests import find_kind, parse_manifest

if TYPE_CHECKING:
    from seaway.testing.credentials import User
    from seaway.testing.server import SeawayServer

Json = dict[str, Any]
Objects = list[Json]
P = ParamSpec("P")
T = TypeVar("T")
PATIENCE_SECONDS = 10.0
DEFAULT_NODE = "node-1"
FORCE = {"gracePeriodSeconds": 0}


class _View:
    """What both forms say without asking the server."""

    def __init__(self, server: SeawayServer, namespace: str, user: User) -> None:
        self.server = server
        self.namespace = namespace
        """The test's own; helpers use it where no other is given, and so do clients with the kubeconfig."""
        self.admin = user
        self._ordered: list[Fault] = []
        self._users: list[User] = [user]

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return self.server.url

    @property
    def kubeconfig(self) -> Path:
        """A file with an administrator's credentials and the test's namespace, readable for this user alone."""
        return self.admin.kubeconfig

    @property
    def kubeconfig_dict(self) -> dict[str, object]:
        """The same as a value, for clients that take one."""
        return self.admin.kubeconfig_dict

    @property
    def ca_pem(self) -> str:
        """The certificate of the server's authority."""
        return self.server.ca_pem

    @property
    def ca_file(self) -> Path:
        """The same as a file."""
        return self.server.folder / "ca.crt"

    @property
    def token(self) -> str:
        """A bearer token of the administrator."""
        return self.admin.token

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """What came over the wire to this server so far, the latest last."""
        return tuple(self.server.faults.recorded.copy())

    def user(self, name: str, *groups: str) -> User:
        """Credentials of somebody else: nobody but RBAC objects gives them rights."""
        user = self.server.make_user(name, groups, self.namespace)
        self._users.append(user)
        return user

    def service_account(self, name: str = "default", namespace: str = "") -> User:
        """Credentials (a token) of a service account."""
        of = namespace or self.namespace
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{of}")
        subject = f"system:serviceaccount:{of}:{name}"
        user = self.server.make_user(subject, groups, self.namespace, has_certificate=False)
        self._users.append(user)
        return user

    def fail_next(
        self,
        status: int = 500,
        *,
        times: int = 1,
        verb: str | None = None,
        kind: str | None = None,
        subresource: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        user: str | None = None,
        message: str = "",
        retry_after_seconds: int | None = None,
        delay_seconds: float = 0.0,
    ) -> Fault:
        """Refuse the next requests over the wire that match; what is not given matches everything.

        verb: as RBAC names it (`get list watch create update patch delete deletecollection`). 410 for a watch comes as
        the event that clients know. A 429 asks to wait one second, unless told otherwise (0: no word of waiting).
        The returned order's `met` are the requests that it met.
        """
        return self._order(
            status, times, verb, kind, subresource, name, namespace, user, message, retry_after_seconds, delay_seconds
        )

    def delay_next(
        self,
        seconds: float,
        *,
        times: int = 1,
        verb: str | None = None,
        kind: str | None = None,
        subresource: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        user: str | None = None,
    ) -> Fault:
        """Answer the next matching requests late, but answer them."""
        return self._order(None, times, verb, kind, subresource, name, namespace, user, "", None, seconds)

    def _order(
        self,
        status: int | None,
        times: int,
        verb: str | None,
        kind: str | None,
        subresource: str | None,
        name: str | None,
        namespace: str | None,
        user: str | None,
        message: str,
        retry_after_seconds: int | None,
        delay_seconds: float,
    ) -> Fault:
        resource = find_kind(kind) if kind is not None else None
        fault = Fault(
            status, times, verb, resource, subresource, name, namespace, user, message, retry_after_seconds,
            delay_seconds,
        )  # fmt: skip
        self._ordered.append(fault)
        return self.server.faults.order(fault)


def _on_server(
    method: Callable[Concatenate[AsyncSeaway, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[AsyncSeaway, P], Coroutine[Any, Any, T]]:
    """The method, run on the server's loop whoever awaits it."""

    @functools.wraps(method)
    async def run(self: AsyncSeaway, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.server.run(method, self, *args, **kwargs)

    return run


class AsyncSeaway(_View):
    """A Seaway for `async` tests, on any asyncio loop."""

    def __init__(self, server: SeawayServer, namespace: str, user: User) -> None:
        super().__init__(server, namespace, user)
        self._made: list[tuple[Resource, str]] = []

    # Objects.

    @_on_server
    async def create(self, manifest: str | Mapping[str, Any]) -> Objects:
        """POST each object of the YAML text, or the one that is given. Returns what the server made of them."""
        return [await self._create(resource, obj) for resource, obj in parse_manifest(manifest)]

    @_on_server
    async def apply(self, manifest: str | Mapping[str, Any]) -> Objects:
        """Create each object, or merge it into the one that is there. Returns them as they are now."""
        applied = []
        for resource, obj in parse_manifest(manifest):
            try:
                applied.append(await self._create(resource, obj))
            except AlreadyExists:
                name, namespace = obj["metadata"]["name"], self._namespace_of(resource, obj)
                applied.append(await self.server.client().patch(resource, name, namespace, patch=obj))
        return applied

    @_on_server
    async def get(self, kind: str, name: str, namespace: str = "") -> Json:
        """The object. Raises NotFound."""
        return await self._get(find_kind(kind), name, namespace)

    @_on_server
    async def list(self, kind: str, *, label_selector: str = "", namespace: str = "") -> Objects:
        """The objects of the namespace, or of the cluster where the kind has none."""
        resource = find_kind(kind)
        return await self._list(resource, namespace, label_selector=label_selector)

    @_on_server
    async def patch(
        self, kind: str, name: str, patch: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, subresource: str = ""
    ) -> Json:
        """Merge a mapping into the object, or apply a list of JSON Patch operations."""
        resource = find_kind(kind)
        options = {"subresource": subresource} if isinstance(patch, Mapping) else {"patch_type": JSON_PATCH}
        options["subresource"] = subresource
        client = self.server.client()
        return await client.patch(resource, name, self._namespace_of(resource), patch=patch, **options)

    @_on_server
    async def delete(self, kind: str, name: str, *, force: bool = False) -> None:
        """DELETE the object; force: at once, where it would end gracefully."""
        resource = find_kind(kind)
        options = FORCE if force else None
        await self.server.client().delete(resource, name, self._namespace_of(resource), options=options)

    @_on_server
    async def events(self, about: str = "") -> Objects:
        """The Events of the namespace, or those about the object of that name; the oldest first."""
        found = await self._list(EVENTS)
        return [event for event in found if not about or event["involvedObject"].get("name") == about]

    # Nodes and Pods, as kubelets would speak of them.

    @_on_server
    async def make_node(
        self, name: str = DEFAULT_NODE, *, ready: bool = True, zone: str = "", labels: Mapping[str, str] | None = None
    ) -> Json:
        """A Node with an address, capacity and conditions. It is deleted with the test's namespace."""
        return await self._make_node(name, ready=ready, zone=zone, labels=labels or {})

    @_on_server
    async def node_ready(self, name: str = DEFAULT_NODE) -> Json:
        """The node's kubelet says that it is ready."""
        return await self._set_node(name, ready=True)

    @_on_server
    async def node_not_ready(self, name: str = DEFAULT_NODE) -> Json:
        """The node's kubelet says that it is not ready."""
        return await self._set_node(name, ready=False)

    @_on_server
    async def node_lost(self, name: str = DEFAULT_NODE) -> Json:
        """Nothing is heard of the node any more: its conditions are unknown, and no Pod on it is ready."""
        node = await self._set_node(name, ready=None)
        for pod in await self._list_all(PODS, field_selector=f"spec.nodeName={name}"):
            if "podIP" in pod["status"]:
                await self._set_running(pod, ready=False)
        return node

    @_on_server
    async def make_service(self, /, name: str = "web", **spec: Any) -> Json:
        """A ClusterIP Service on port 80 for Pods with the label app=NAME; `spec` keys as on the wire."""
        return await self._create_namespaced(make_service(name, self.namespace, **spec))

    @_on_server
    async def make_pod(
        self,
        /,
        name: str = "web-1",
        *,
        labels: Mapping[str, str] | None = None,
        ready: bool = False,
        node: str = "",
        ip: str = "",
        **spec: Any,
    ) -> Json:
        """A Pod of one container. Without labels it is one of the Service that its name begins with: web-1 has app=web.

        ready: it runs and is ready when this returns; else it is Pending until `pod_ready`.
        """
        chosen = dict(labels) if labels is not None else {"app": name.rpartition("-")[0] or name}
        pod = make_pod(name, self.namespace, labels=chosen, **spec)
        made = await self._create_namespaced(pod)
        return await self._pod_runs(made["metadata"]["name"], ready=True, node=node, ip=ip) if ready else made

    @_on_server
    async def pod_ready(self, name: str, *, node: str = "", ip: str = "") -> Json:
        """This Pod is ready now: it has a node (the first, made if there is none), an IP, and runs."""
        return await self._pod_runs(name, ready=True, node=node, ip=ip)

    @_on_server
    async def pod_not_ready(self, name: str, *, node: str = "", ip: str = "") -> Json:
        """This Pod runs, and fails its readiness probe."""
        return await self._pod_runs(name, ready=False, node=node, ip=ip)

    @_on_server
    async def pod_finished(self, name: str, exit_code: int = 0) -> Json:
        """All containers of this Pod have ended: it succeeded, or with another exit code failed."""
        pod = await self._get(PODS, name)
        return await self._put_status(PODS, pod, make_finished_status(pod, exit_code=exit_code, now=_now()))

    @_on_server
    async def pod_terminating(self, name: str, grace_seconds: int = 30) -> Json:
        """This Pod was told to end and still runs; `pod_gone` lets it go."""
        pod = await self._get(PODS, name)
        if not pod["spec"].get("nodeName"):
            await self._bind(name, "")
        options = {"gracePeriodSeconds": grace_seconds}
        await self.server.client().delete(PODS, name, self.namespace, options=options)
        return await self._get(PODS, name)

    @_on_server
    async def pod_gone(self, name: str) -> None:
        """This Pod has ended, and its kubelet has said so: the object goes."""
        await self.server.client().delete(PODS, name, self.namespace, options=FORCE)

    # Waiting.

    @_on_server
    async def wait_endpoints(
        self,
        service: str,
        endpoints: int | Collection[str] = 1,
        *,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> tuple[str, ...]:
        """The ready addresses of the Service, sorted, once they are so many, or are just these (names of Pods, or IPs).

        Raises TimeoutError with what was there.
        """
        found: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

        async def look() -> bool:
            nonlocal found
            found = await self._find_endpoints(service)
            addresses, names = found
            if isinstance(endpoints, int):
                return len(addresses) == endpoints
            return set(endpoints) in (set(addresses), set(names))

        await self._until(
            look, lambda: f"endpoints of {service}: {endpoints} wanted, {found[0]} found", timeout_seconds
        )
        return found[0]

    @_on_server
    async def wait_for(
        self,
        kind: str,
        name: str,
        check: Callable[[Json], object] = bool,
        *,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> Json:
        """The object, once it exists and the check of it is true. The check runs on the server's thread, and is short.

        Raises TimeoutError with what was there.
        """
        resource = find_kind(kind)
        found: Json | None = None

        async def look() -> bool:
            nonlocal found
            found = await self._find(resource, name)
            return found is not None and bool(check(found))

        await self._until(look, lambda: f"{kind} {name}: {'not found' if found is None else found}", timeout_seconds)
        assert found is not None
        return found

    @_on_server
    async def wait_gone(self, kind: str, name: str, *, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when there is no such object. Raises TimeoutError."""
        resource = find_kind(kind)

        async def look() -> bool:
            return await self._find(resource, name) is None

        await self._until(look, lambda: f"{kind} {name}: still there", timeout_seconds)

    @_on_server
    async def wait_event(self, reason: str, about: str = "", *, timeout_seconds: float = PATIENCE_SECONDS) -> Json:
        """The first Event with that reason, about that object. Raises TimeoutError with the reasons seen."""
        seen: Objects = []

        async def look() -> bool:
            seen[:] = await self.events(about)
            return any(event.get("reason") == reason for event in seen)

        await self._until(look, lambda: f"event {reason}: only {[e.get('reason') for e in seen]}", timeout_seconds)
        return next(event for event in seen if event.get("reason") == reason)

    # Trouble.

    async def restart(self) -> None:
        """Stop the server and start it again over the same objects, at the same address."""
        await asyncio.to_thread(self.server.restart)

    @_on_server
    async def cut_watches(self, kind: str = "", *, expired: bool = False) -> int:
        """End the open watches of the kind, or all, as a server does that shuts down. Returns how many there were.

        expired: with the 410 event after which a client must list again.
        """
        return await self.server.cut_watches(find_kind(kind) if kind else None, expired=expired)

    @_on_server
    async def close(self) -> None:
        """Forget orders that were not met, users and what was made; the namespace goes, its Pods at once."""
        self.server.faults.clear(self._ordered)
        client = self.server.client()
        for resource, name in reversed(self._made):
            await _ignore_missing(client.delete(resource, name, options=FORCE if resource is PODS else None))
        await client.delete_collection(PODS, self.namespace, options=FORCE)
        await _ignore_missing(client.delete(NAMESPACES, self.namespace))
        for user in self._users:
            self.server.forget_user(user)

    # The parts. Only on the server's loop.

    def _namespace_of(self, resource: Resource, obj: Json | None = None, namespace: str = "") -> str:
        if not resource.namespaced:
            return ""
        return namespace or (obj or {}).get("metadata", {}).get("namespace") or self.namespace

    async def _create(self, resource: Resource, obj: Json) -> Json:
        made = await self.server.client().create(resource, obj, self._namespace_of(resource, obj))
        if not resource.namespaced:
            self._made.append((resource, made["metadata"]["name"]))
        return made

    async def _create_namespaced(self, obj: Json) -> Json:
        ((resource, _),) = parse_manifest(obj)
        return await self._create(resource, obj)

    async def _get(self, resource: Resource, name: str, namespace: str = "") -> Json:
        of = self._namespace_of(resource, namespace=namespace)
        found: Json = await self.server.client().get(resource, name, of, as_type=dict)
        return found

    async def _find(self, resource: Resource, name: str) -> Json | None:
        try:
            return await self._get(resource, name)
        except NotFound:
            return None

    async def _list(self, resource: Resource, namespace: str = "", **selectors: str) -> Objects:
        of = self._namespace_of(resource, namespace=namespace)
        page = await self.server.client().list(resource, of, **selectors)  # type: ignore[arg-type]
        meta = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**meta, **msgspec.json.decode(raw)} for raw in page.items]

    async def _list_all(self, resource: Resource, **selectors: str) -> Objects:
        page = await self.server.client().list(resource, **selectors)  # type: ignore[arg-type]
        return [msgspec.json.decode(raw) for raw in page.items]

    async def _put_status(self, resource: Resource, obj: Json, status: Json) -> Json:
        """The status as it shall be, whatever it was in between."""
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        client = self.server.client()
        return await client.patch(resource, name, namespace, patch={"status": status}, subresource="status")

    async def _make_node(self, name: str, *, ready: bool, zone: str, labels: Mapping[str, str]) -> Json:
        wanted = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels}
        if zone:
            wanted["topology.kubernetes.io/zone"] = zone
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": wanted}, "spec": {}}
        made = await self._create(NODES, node)
        address = next(self.server.node_addresses)
        return await self._put_status(NODES, made, make_node_status(ip=address, ready=ready, now=_now()))

    async def _set_node(self, name: str, *, ready: bool | None) -> Json:
        node = await self._get(NODES, name)
        return await self._put_status(NODES, node, make_node_status(ip=_node_ip(node), ready=ready, now=_now()))

    async def _pod_runs(self, name: str, *, ready: bool, node: str, ip: str) -> Json:
        pod = await self._get(PODS, name)
        if not pod["spec"].get("nodeName"):
            pod = await self._bind(name, node)
        return await self._set_running(pod, ready=ready, ip=ip)

    async def _set_running(self, pod: Json, *, ready: bool, ip: str = "") -> Json:
        address = ip or pod["status"].get("podIP") or next(self.server.pod_addresses)
        node = await self._find(NODES, pod["spec"]["nodeName"])
        host_ip = _node_ip(node) if node is not None else pod["status"].get("hostIP", "")
        status = make_running_status(pod, ip=address, host_ip=host_ip, ready=ready, now=_now())
        return await self._put_status(PODS, pod, status)

    async def _bind(self, name: str, node: str) -> Json:
        """Give the Pod a node, unless the scheduler was faster."""
        chosen = node or await self._choose_node()
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
        binding |= {"target": {"apiVersion": "v1", "kind": "Node", "name": chosen}}
        try:
            await self.server.client().create(PODS, binding, self.namespace, name=name, subresource="binding")
        except Conflict:
            return await self._get(PODS, name)
        return await self._get(PODS, name)

    async def _choose_node(self) -> str:
        nodes = await self._list(NODES)
        if not nodes:
            nodes = [await self._make_node(DEFAULT_NODE, ready=True, zone="", labels={})]
        return str(min(node["metadata"]["name"] for node in nodes))

    async def _find_endpoints(self, service: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ready addresses, and the names of the Pods behind them."""
        slices = await self._list(ENDPOINT_SLICES, label_selector=f"kubernetes.io/service-name={service}")
        ready = [
            endpoint
            for one in slices
            for endpoint in one.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready") is not False
        ]
        addresses = sorted({address for endpoint in ready for address in endpoint["addresses"]})
        return tuple(addresses), tuple(sorted({e.get("targetRef", {}).get("name", "") for e in ready}))

    async def _until(self, look: Callable[[], Awaitable[bool]], say: Callable[[], str], timeout_seconds: float) -> None:
        try:
            await self.server.cluster.eventually(look, timeout_seconds=timeout_seconds)
        except TimeoutError:
            raise TimeoutError(f"{say()}; not within {timeout_seconds:g} s") from None


def _blocking(
    method: Callable[Concatenate[AsyncSeaway, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Seaway, P], T]:
    """The method for tests that are no coroutines."""

    @functools.wraps(method)
    def wait(self: Seaway, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.server.wait(method, self.as_async(), *args, **kwargs)

    return wait


class Seaway(_View):
    """A Seaway for tests that are no coroutines. What a method does is said at its twin of `AsyncSeaway`."""

    def __init__(self, awaited: AsyncSeaway) -> None:
        super().__init__(awaited.server, awaited.namespace, awaited.admin)
        self._awaited = awaited
        self._ordered = awaited._ordered
        self._users = awaited._users

    def as_async(self) -> AsyncSeaway:
        """The same Seaway, to be awaited."""
        return self._awaited

    def restart(self) -> None:
        """Stop the server and start it again over the same objects, at the same address."""
        self.server.restart()

    def outage(self) -> AbstractContextManager[None]:
        """Inside the block connections are refused."""
        return self.server.outage()

    create = _blocking(AsyncSeaway.create)
    apply = _blocking(AsyncSeaway.apply)
    get = _blocking(AsyncSeaway.get)
    list = _blocking(AsyncSeaway.list)
    patch = _blocking(AsyncSeaway.patch)
    delete = _blocking(AsyncSeaway.delete)
    events = _blocking(AsyncSeaway.events)
    make_node = _blocking(AsyncSeaway.make_node)
    node_ready = _blocking(AsyncSeaway.node_ready)
    node_not_ready = _blocking(AsyncSeaway.node_not_ready)
    node_lost = _blocking(AsyncSeaway.node_lost)
    make_service = _blocking(AsyncSeaway.make_service)
    make_pod = _blocking(AsyncSeaway.make_pod)
    pod_ready = _blocking(AsyncSeaway.pod_ready)
    pod_not_ready = _blocking(AsyncSeaway.pod_not_ready)
    pod_finished = _blocking(AsyncSeaway.pod_finished)
    pod_terminating = _blocking(AsyncSeaway.pod_terminating)
    pod_gone = _blocking(AsyncSeaway.pod_gone)
    wait_endpoints = _blocking(AsyncSeaway.wait_endpoints)
    wait_for = _blocking(AsyncSeaway.wait_for)
    wait_gone = _blocking(AsyncSeaway.wait_gone)
    wait_event = _blocking(AsyncSeaway.wait_event)
    cut_watches = _blocking(AsyncSeaway.cut_watches)
    close = _blocking(AsyncSeaway.close)


def _node_ip(node: Json) -> str:
    addresses = node.get("status", {}).get("addresses", ())
    return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _ignore_missing(work: Awaitable[object]) -> None:
    try:
        await work
    except NotFound:
        return
