"""Runs containers as plain children of the shim: no namespaces, no links, no mounts, no rights.

Addresses are leased as anywhere, and `NodeConfig.loopback` says where on loopback they are; the programs bind that.
What belongs to a Pod is held together by a keeper for each program (`shim/keeper.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from seaway.net.loopback import LoopbackMap
from seaway.node.network import plan as network_plan
from seaway.node.runtime import files
from seaway.node.runtime.contract import ContainerError, ContainerSpec, RuntimeGone, SandboxSpec
from seaway.node.runtime.local.client import Json
from seaway.node.runtime.local.rootfs import DEFAULT_PATH
from seaway.node.runtime.local.run import LocalConfig, LocalRuntime, find_inside
from seaway.node.runtime.plain.places import choose_working_directory, make_base_environment, place_in, root_of
from seaway.node.shim.descent import choose_descendants, kill_all, read_parents
from seaway.node.state import ContainerRun, Sandbox
from seaway.node.volumes import EmptyDir, HostPath, PlannedVolume

log = logging.getLogger(__name__)

STATE_VARIABLE = "SEAWAY_STATE"
"""Every program has it: by its value, what a shim that was killed has left is found."""
STRAY_CHECKS, STRAY_CHECK_SECONDS = 100, 0.02


class PlainRuntime(LocalRuntime):
    """Implements `runtime.contract.Runtime`."""

    def __init__(self, config: LocalConfig, loopback: LoopbackMap, host_address: str) -> None:
        """host_address: where Pods on the host's network listen."""
        super().__init__(config)
        self._loopback = loopback
        self._host_address = host_address

    async def connect(self) -> None:
        """Start or find the shim; read the addresses that are held. What a shim before it has left is ended first."""
        self._config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        saved = files.load_json(self._addresses_file)
        self._pools = network_plan.restore_pools(self._pools, saved if isinstance(saved, dict) else {})
        try:
            await self._shim.ask("list")
        except RuntimeGone:
            await end_leftovers(self._config.state_dir)
        await self._shim.ensure_running()
        self._exit_stream = self._shim.watch()
        await anext(self._exit_stream)

    async def mend_network(self, uids: Collection[str]) -> tuple[str, ...]:
        """Nothing is connected, so nothing can be incomplete but the lease of an address."""
        for sandbox in (await self._shim.ask("list"))["sandboxes"]:
            if sandbox["uid"] in uids and not _is_on_host_network(sandbox):
                self._reserve(sandbox["uid"])
        return ()

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """An address, durable before use; the shim knows the Pod by its name."""
        if not spec.host_network:
            self._reserve(spec.uid)
        await self._shim.ask(
            "sandbox", uid=spec.uid, is_isolated=False,
            labels={"namespace": spec.namespace, "name": spec.name, "host_network": spec.host_network},
        )  # fmt: skip
        return Sandbox(spec.uid, () if spec.host_network else self._addresses_of(spec.uid))

    def _find_addresses(self, described: Json) -> tuple[str, ...]:
        return () if _is_on_host_network(described) else self._addresses_of(described["uid"])

    async def remove_sandbox(self, uid: str) -> None:
        """Its programs have ended."""
        await self._shim.ask("drop_sandbox", uid=uid)

    async def write_volumes(self, uid: str, volumes: tuple[PlannedVolume, ...]) -> None:
        """Directories, also for what would be in memory."""
        paths = {}
        for volume in volumes:
            if isinstance(volume, EmptyDir):
                volume = replace(volume, in_memory=False)
            path = files.prepare_volume(self._pod_dir(uid) / "volumes", volume)
            if isinstance(volume, HostPath) and path.is_relative_to(self._config.data_dir.resolve()):
                raise ContainerError(f"hostPath {path}: lies in a directory that Pods may not see")
            paths[volume.name] = path
        self._volumes[uid] = paths

    async def start_container(self, spec: ContainerSpec) -> ContainerRun:
        """Make the run's directory, and have the shim begin. Raises ContainerError for a spec it refuses."""
        if spec.image is not None and spec.image.has_root:
            raise ContainerError(f"image {spec.image_name}: without namespaces a program cannot have its files")
        user = os.getuid()
        if spec.user not in (None, user):
            raise ContainerError(f"user {spec.user}: without namespaces programs run as user {user}, as the agent does")
        root = root_of(self._config.state_dir, spec.uid, spec.name, spec.attempt)
        await asyncio.to_thread(self._make_root, root, spec)
        environment = make_base_environment(
            root,
            hostname=spec.hostname,
            path=os.environ.get("PATH") or DEFAULT_PATH,
            python_bin=f"{sys.base_prefix}/bin",
        )
        log_file = str(self.find_log(spec.uid, spec.name, spec.attempt))
        answer = await self._shim.ask(
            "start", id=secrets.token_hex(32), uid=spec.uid, log=log_file,
            stdin=spec.stdin, stdin_once=spec.stdin_once, tty=spec.tty,
            labels=self._make_labels(spec, log_file),
            spec={
                "argv": spec.argv, "user": user,
                "working_dir": choose_working_directory(root, spec.working_dir, (m.path for m in spec.mounts)),
                "environment": environment | dict(spec.environment) | {STATE_VARIABLE: str(self._config.state_dir)},
            },
        )  # fmt: skip
        return self._make_run(answer)

    def _make_root(self, root: Path, spec: ContainerSpec) -> None:
        try:
            shutil.rmtree(root, ignore_errors=True)
            (root / "tmp").mkdir(parents=True)
            for mount in spec.mounts:
                source = self._volumes[spec.uid][mount.volume]
                if mount.sub_path:
                    source = find_inside(source, mount.sub_path)
                _link(place_in(root, mount.path), source)
            if spec.termination_message_path:
                message = files.write_text(self._message_file(spec), "", mode=0o600)
                _link(place_in(root, spec.termination_message_path), message)
            mounted = {mount.path for mount in spec.mounts}
            for path, text in spec.files:
                if path not in mounted:
                    files.write_text(place_in(root, path), text)
        except OSError as error:
            raise ContainerError(f"container {spec.name}: {error}") from error

    async def open_sockets(self, uid: str) -> tuple[socket.socket, socket.socket]:
        """TCP sockets of the host."""
        first = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        first.setblocking(False)
        return first, first.dup()

    def find_loopbacks(self, uid: str) -> tuple[str, ...]:
        """Where the Pod's programs listen. 127.0.0.1 is everybody's: a port there may be another Pod's."""
        places = (self._loopback.to_loopback(address) for address in self._addresses_of(uid))
        return tuple(place for place in places if place is not None) or (self._host_address,)

    async def read_processes(self) -> Mapping[str, frozenset[int]]:
        """The processes of each container that runs, by its id; without what was executed in it."""
        held = (await self._shim.ask("list"))["containers"]
        parents = await asyncio.to_thread(read_parents)
        return {
            each["id"]: frozenset(choose_descendants((each["pid"],), parents))
            for each in held
            if each["finished_at"] is None
        }

    async def remove_container(self, run: ContainerRun) -> None:
        """Forget an ended run, its log and its directory."""
        await super().remove_container(run)
        root = root_of(self._config.state_dir, run.uid, run.name, run.attempt)
        await asyncio.to_thread(shutil.rmtree, root, True)


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _is_on_host_network(described: Json) -> bool:
    return bool(described["labels"].get("host_network"))


async def end_leftovers(state_dir: Path) -> None:
    """End what runs of a shim that was killed together with its keepers, and wait until it has."""
    for _ in range(STRAY_CHECKS):
        found = await asyncio.to_thread(find_leftovers, state_dir)
        if not found:
            return
        kill_all(found)
        await asyncio.sleep(STRAY_CHECK_SECONDS)
    log.warning("leftovers=%s unkillable=yes", sorted(found))


def find_leftovers(state_dir: Path) -> set[int]:
    """The processes that have this state directory in their environment, and what descends from them."""
    marker = f"{STATE_VARIABLE}={state_dir}".encode()
    parents = read_parents()
    marked = set()
    for pid in parents:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if marker in file.read().split(b"\0") and pid != os.getpid():
                    marked.add(pid)
        except OSError:
            continue  # somebody else's, or gone
    return marked | choose_descendants(marked, parents)
