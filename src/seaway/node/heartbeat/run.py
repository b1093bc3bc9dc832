"""Registers the Node, renews its Lease, and rewrites its status when it is not what it should be.

Rule: spec "node" §1.2 (registration), §1.8 (periods), §1.7 (the agent overwrites what others wrote).
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from seaway.api.registry import LEASES, NODES
from seaway.client.requests import Client, TransportError
from seaway.node import registration
from seaway.node.config import NodeConfig
from seaway.node.events import Happening
from seaway.node.registration import HostFacts, NodeIdentity, Room
from seaway.node.runtime.images.store import ImageStore

log = logging.getLogger(__name__)

RETRY_SECONDS = (0.1, 7.0)
PLENTY = 1 << 62
REPORT_SECONDS = 300.0
"""A status that says nothing new is written at least this often."""

Json = dict[str, Any]


def read_facts(config: NodeConfig) -> HostFacts:
    """The host as the Node's status tells of it."""
    uname = os.uname()
    memory = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0")
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    disk = os.statvfs(config.state_dir)
    machine_id = _read("/etc/machine-id")
    return HostFacts(
        hostname=config.hostname or config.node_name,
        machine=uname.machine,
        kernel=uname.release,
        os_image=release.get("PRETTY_NAME", "Linux"),
        machine_id=machine_id,
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or machine_id,
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        cpus=os.cpu_count() or 1,
        memory_kib=int(memory),
        storage_bytes=disk.f_blocks * disk.f_frsize,
    )


def read_room(config: NodeConfig) -> Room:
    """What is left of the host now. What cannot be read is plenty."""
    lines = _read("/proc/meminfo").splitlines()
    available = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), PLENTY)
    disk = os.statvfs(config.state_dir)
    load = _read("/proc/loadavg").split()
    running = int(load[3].partition("/")[2]) if len(load) > 3 else 0
    limit = _read("/proc/sys/kernel/pid_max")
    return Room(
        memory_bytes=available,
        disk_bytes=disk.f_bavail * disk.f_frsize,
        disk_inodes=disk.f_favail if disk.f_files else PLENTY,
        pids=int(limit) - running if limit else PLENTY,
    )


def _read_version(node: Json) -> int:
    version = str((node.get("metadata") or {}).get("resourceVersion") or "")
    return int(version) if version.isdecimal() else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


class Heartbeat:
    """One node's presence in the API."""

    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        kubelet_port: int = 0,
        *,
        record: Callable[[Happening], None],
    ) -> None:
        self._record = record
        self._config = config
        self._client = client
        self._facts = read_facts(config)
        self._images = ImageStore(config.data_dir / "images")
        self._identity = NodeIdentity(
            name=config.node_name,
            addresses=config.node_ips,
            pod_cidrs=tuple(cidr.strip() for cidr in config.pod_cidr.split(",")),
            labels=config.labels,
            taints=config.taints,
            reserved=config.reserved,
            max_pods=config.max_pods,
            sets_groups=config.has_users,
            kubelet_version=config.version,
            runtime_version="",
            kubelet_port=kubelet_port,
        )
        self._not_ready = ""
        self._node: Json = {}
        self._lease: Json | None = None
        self._reported_at = 0.0
        self._pressed_at: dict[str, float] = {}
        self._check = asyncio.Event()

    def set_runtime(self, name_and_version: str) -> None:
        """What runs the containers, as the Node says it from the next status on."""
        self._identity = replace(self._identity, runtime_version=name_and_version)

    @property
    def allocatable(self) -> dict[str, str]:
        """What the Pods of this node may use, by resource."""
        capacity = registration.make_capacity(self._identity, self._facts)
        return registration.subtract_reserved(capacity, self._config.reserved)

    @property
    def node(self) -> Json:
        """The Node as it was last seen; empty before it is registered."""
        return self._node

    def _read_pressures(self) -> frozenset[str]:
        """Those of now, and those that are not over for long enough."""
        now = asyncio.get_running_loop().time()
        self._pressed_at |= dict.fromkeys(registration.find_pressures(read_room(self._config)), now)
        recent = (kind for kind, at in self._pressed_at.items() if now - at < registration.PRESSURE_SECONDS)
        return frozenset(recent)

    def _read_images(self) -> list[tuple[int, tuple[str, ...]]]:
        images = self._images.read().images.values()
        return [(image.size_bytes, (*image.names, image.id)) for image in images]

    async def find_pod_cidrs(self) -> str:
        """The range of the Node as it exists: it can not be changed; else that of the configuration."""
        existing = await self._persist(self._find_node, "read")
        found = ((existing or {}).get("spec") or {}).get("podCIDRs") or []
        return ",".join(found) or self._config.pod_cidr

    async def _find_node(self) -> Json | None:
        try:
            return await self._client.get(NODES, self._config.node_name, as_type=dict)
        except NotFound:
            return None

    async def register(self) -> None:
        """Returns when the Node exists, says what this agent says, and has a Lease."""
        self._record(Happening("Normal", "Starting", "Starting kubelet."))
        self._see(await self._persist(self._register, "register"))
        self._reported_at = asyncio.get_running_loop().time()
        await self._persist(self._renew, "lease")

    async def _register(self) -> Json:
        now = datetime.now(UTC)
        wanted = registration.make_node(
            self._identity,
            self._facts,
            not_ready=self._not_ready,
            wall_now=now,
            images=self._read_images(),
            pressures=self._read_pressures(),
        )
        try:
            created = await self._client.create(NODES, wanted)
            self._node = {}
            return created
        except AlreadyExists:
            self._node = await self._client.get(NODES, self._config.node_name, as_type=dict)
            return await self._write(self._node)

    async def _write(self, node: Json) -> Json:
        """Bring an existing Node to what is wanted."""
        name, now = self._config.node_name, datetime.now(UTC)
        patch = registration.make_node_patch(self._identity, self._facts, node)
        if patch:
            node = await self._client.patch(NODES, name, patch=patch)
        status = registration.make_node_status(
            self._identity,
            self._facts,
            existing=node.get("status"),
            not_ready=self._not_ready,
            wall_now=now,
            images=self._read_images(),
            pressures=self._read_pressures(),
        )
        return await self._client.patch(NODES, name, patch={"status": status}, subresource="status")

    def set_ready(self, not_ready: str) -> None:
        """Why the node is not ready, or ""; written at once."""
        if not_ready != self._not_ready:
            self._not_ready = not_ready
            self._check.set()

    def take_node(self, node: Json) -> None:
        """The Node as the API has it, unless it is an echo from the past; what somebody wrote over is put right."""
        if _read_version(node) < _read_version(self._node):
            return
        self._see(node)
        self._check.set()

    def _see(self, node: Json) -> None:
        for happening in registration.find_happenings(self._config.node_name, self._node, node):
            self._record(happening)
        self._node = node

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_lease())
            group.create_task(self._run_status())

    async def _run_lease(self) -> None:
        while True:
            await asyncio.sleep(self._config.lease_renew_seconds)
            try:
                await self._renew()
            except (ApiError, TransportError) as error:
                log.warning("node=%s lease=stale error=%r", self._config.node_name, error)

    async def _renew(self) -> None:
        now, name, seconds = datetime.now(UTC), self._config.node_name, self._config.lease_duration_seconds
        try:
            lease = self._lease
            if lease is None:
                lease = await self._client.get(LEASES, name, registration.LEASE_NAMESPACE, as_type=dict)
            wanted = registration.renew_lease(lease or {}, name, duration_seconds=seconds, wall_now=now)
            self._lease = await self._client.update(LEASES, wanted)
        except NotFound:
            uid = self._node["metadata"]["uid"]
            lease = registration.make_lease(name, uid, duration_seconds=seconds, wall_now=now)
            self._lease = await self._client.create(LEASES, lease, registration.LEASE_NAMESPACE)
        except Conflict:
            self._lease = None

    async def _run_status(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(self._config.status_seconds):
                    await self._check.wait()
            except TimeoutError:
                pass
            self._check.clear()
            wanted = registration.make_node_status(
                self._identity, self._facts, existing=self._node.get("status"), not_ready=self._not_ready,
                wall_now=datetime.now(UTC), images=self._read_images(), pressures=self._read_pressures(),
            )  # fmt: skip
            current = registration.is_status_current(self._node.get("status") or {}, wanted)
            if current and loop.time() < self._reported_at + REPORT_SECONDS:
                continue
            try:
                self._see(await self._write(self._node))
                self._reported_at = loop.time()
            except NotFound:
                self._see(await self._persist(self._register, "register"))
            except (ApiError, TransportError) as error:
                log.warning("node=%s status=unwritten error=%r", self._config.node_name, error)
                await asyncio.sleep(RETRY_SECONDS[0])
                self._check.set()

    async def _persist(self, call: Callable[[], Any], step: str) -> Any:
        """The answer, however long the API server is away."""
        delay = RETRY_SECONDS[0]
        while True:
            try:
                return await call()
            except (ApiError, TransportError) as error:
                log.warning("node=%s step=%s retry_seconds=%.1f error=%r", self._config.node_name, step, delay, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, RETRY_SECONDS[1])
