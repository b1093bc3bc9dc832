"""Services, Nodes and Pods, with what their kubelets would say of them: it is the test that says it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from seaway.api.machinery.errors import Conflict
from seaway.api.registry import NODES, PODS
from seaway.testing.builders import make_pod, make_service
from seaway.testing.kubelet import make_finished_status, make_node_status, make_running_status
from seaway.testing.objects import FORCE, Json, ObjectHelpers
from seaway.testing.view import on_server

DEFAULT_NODE = "node-1"
REAL_NODE = "this-host"
"""The node whose Pods run, in a Seaway with traffic. Those of other nodes are what the test says that they are."""


class NodeHelpers(ObjectHelpers):
    """Makes them, and speaks for them."""

    @on_server
    async def make_node(
        self, name: str = DEFAULT_NODE, *, ready: bool = True, zone: str = "", labels: Mapping[str, str] | None = None
    ) -> Json:
        """A Node with an address, capacity and conditions. It is deleted with the test's namespace."""
        return await self._make_node(name, ready=ready, zone=zone, labels=labels or {})

    @on_server
    async def node_ready(self, name: str = DEFAULT_NODE) -> Json:
        """The node's kubelet says that it is ready."""
        return await self._set_node(name, ready=True)

    @on_server
    async def node_not_ready(self, name: str = DEFAULT_NODE) -> Json:
        """The node's kubelet says that it is not ready."""
        return await self._set_node(name, ready=False)

    @on_server
    async def node_lost(self, name: str = DEFAULT_NODE) -> Json:
        """Nothing is heard of the node any more: its conditions are unknown, and no Pod on it is ready."""
        node = await self._set_node(name, ready=None)
        for pod in await self._list_all(PODS, field_selector=f"spec.nodeName={name}"):
            if "podIP" in pod["status"]:
                await self._set_running(pod, ready=False)
        return node

    @on_server
    async def make_service(self, /, name: str = "web", **spec: Any) -> Json:
        """A ClusterIP Service on port 80 for Pods with the label app=NAME; `spec` keys as on the wire."""
        return await self._create_namespaced(make_service(name, self.namespace, **spec))

    @on_server
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
        if self.server.has_traffic:  # else the node whose Pods run would get it
            spec = {"nodeName": node or await self._choose_node(), **spec}
        pod = make_pod(name, self.namespace, labels=chosen, **spec)
        made = await self._create_namespaced(pod)
        return await self._pod_runs(made["metadata"]["name"], ready=True, node=node, ip=ip) if ready else made

    @on_server
    async def pod_ready(self, name: str, *, node: str = "", ip: str = "") -> Json:
        """This Pod is ready now: it has a node (the first, made if there is none), an IP, and runs."""
        return await self._pod_runs(name, ready=True, node=node, ip=ip)

    @on_server
    async def pod_not_ready(self, name: str, *, node: str = "", ip: str = "") -> Json:
        """This Pod runs, and fails its readiness probe."""
        return await self._pod_runs(name, ready=False, node=node, ip=ip)

    @on_server
    async def pod_finished(self, name: str, exit_code: int = 0) -> Json:
        """All containers of this Pod have ended: it succeeded, or with another exit code failed."""
        pod = await self._get(PODS, name)
        return await self._put_status(PODS, pod, make_finished_status(pod, exit_code=exit_code, now=_now()))

    @on_server
    async def pod_terminating(self, name: str, grace_seconds: int = 30) -> Json:
        """This Pod was told to end and still runs; `pod_gone` lets it go."""
        pod = await self._get(PODS, name)
        if not pod["spec"].get("nodeName"):
            await self._bind(name, "")
        options = {"gracePeriodSeconds": grace_seconds}
        await self.server.client().delete(PODS, name, self.namespace, options=options)
        return await self._get(PODS, name)

    @on_server
    async def pod_gone(self, name: str) -> None:
        """This Pod has ended, and its kubelet has said so: the object goes."""
        await self.server.client().delete(PODS, name, self.namespace, options=FORCE)

    # The parts. Only on the server's loop.

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
        nodes = [node for node in await self._list(NODES) if node["metadata"]["name"] != REAL_NODE]
        if not nodes:
            nodes = [await self._make_node(DEFAULT_NODE, ready=True, zone="", labels={})]
        return str(min(node["metadata"]["name"] for node in nodes))


def _node_ip(node: Json) -> str:
    addresses = node.get("status", {}).get("addresses", ())
    return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
