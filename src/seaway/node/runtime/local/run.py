"""The `process` runtime: prepares files and mount plans, connects Pods, and lets the shim hold what runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from seaway.api.pod.scheduling import ResourceRequirements
from seaway.net.kernel import CLONE_NEWNET, setns
from seaway.node.cgroups.kernel import CgroupError, Groups, read_hierarchy
from seaway.node.cgroups.plan import OOM_EXIT_CODE, plan_limits
from seaway.node.evictions import DiskUse
from seaway.node.hostports.plan import PortMapping, decode_mappings, encode_mappings, plan_host_ports
from seaway.node.network import plan as network_plan
from seaway.node.runtime import files, pipes
from seaway.node.runtime.contract import (
    ContainerError,
    ContainerSpec,
    ExecResult,
    Inventory,
    RuntimeGone,
    SandboxSpec,
    Stop,
)
from seaway.node.runtime.images.store import ImageStore
from seaway.node.runtime.images.unpack import remove_root
from seaway.node.runtime.images.values import Image
from seaway.node.runtime.local import rootfs
from seaway.node.runtime.local.client import Json, ShimClient
from seaway.node.runtime.local.host import read_host
from seaway.node.runtime.local.ids import Ids, find_ids_inside
from seaway.node.runtime.local.messages import read_message
from seaway.node.runtime.oci.choose import AUTO, OciRuntime, name_runtime
from seaway.node.runtime.oci.config import ContainerPlan, make_config
from seaway.node.runtime.oci.trial import choose_runtime, read_version
from seaway.node.signals import parse_signal
from seaway.node.state import ContainerRun, Sandbox
from seaway.node.volumes import HostPath, PlannedVolume

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFAULT_USER = 65534
"""`nobody`: owns nothing on the host."""
RUNTIME_FILE = "runtime.json"
"""In the state directory: what `seaway status` shows."""
MEMORY = "memory"
"""Below the state directory: volumes that are never on a disk, by Pod."""
START_ERROR_CODE = 128
START_CHECKS, START_CHECK_SECONDS = 250, 0.02
MAX_EXEC_OUTPUT_BYTES = 10 * 1024
"""What a probe's message may hold. Rule: spec "node" §2.8."""
_POD_SYSCTLS = {"net/ipv4/ip_unprivileged_port_start": "0"}
"""A program that is not root may bind port 80. Rule: spec "node" §4.2."""


class StartError(ContainerError):
    """A program could not be begun in a container; the text is the kernel's, with the program's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConfig:
    """state_dir: the agent's. data_dir: masked in every Pod. sandboxed: one user is mapped, as 0.

    mtu: of Pods; 0 for the uplink's. pod_max_pids: processes and threads of one Pod; 0 for no limit.
    oci_runtime: as `runtime.oci.choose.find_runtimes` takes it.
    """

    state_dir: Path
    data_dir: Path
    pod_cidrs: str
    sandboxed: bool
    mtu: int = 0
    oci_runtime: str = AUTO
    pod_max_pids: int = 0


class LocalRuntime:
    """Implements `runtime.contract.Runtime`."""

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self._shim = ShimClient(config.state_dir)
        self._images = ImageStore(config.data_dir / "images")
        self._cgroups = Groups(read_hierarchy(), config.state_dir)
        self._pools = network_plan.parse_pools(config.pod_cidrs)
        self._mtu = network_plan.DEFAULT_MTU
        self._ports: dict[str, tuple[PortMapping, ...]] = {}
        self._volumes: dict[str, dict[str, Path]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._host = rootfs.HostView(entries=())
        self._exit_stream: AsyncIterator[Json] | None = None
        self._oci: OciRuntime | None = None
        self._choosing: asyncio.Task[None] | None = None
        self.name_and_version = "process://1"

    @property
    def unenforced(self) -> Mapping[str, str]:
        """Why a controller of cgroups cannot be used."""
        return self._cgroups.missing

    async def connect(self) -> None:
        """Start or find the shim; read the addresses that are held; make the routes of the range."""
        from seaway.node.network import kernel

        self._config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.ensure_memory(self._config.state_dir / MEMORY)
        saved = files.load_json(self._addresses_file)
        self._pools = network_plan.restore_pools(self._pools, saved if isinstance(saved, dict) else {})
        self._ports = decode_mappings(files.load_json(self._ports_file))
        self._host = read_host(data_dir=self._config.data_dir, state_dir=self._config.state_dir)
        if not self._config.sandboxed:  # a sandbox ends without notice: nobody would remove its groups
            self._cgroups.prepare()
        await self._shim.ensure_running()
        self._exit_stream = self._shim.watch()
        await anext(self._exit_stream)
        self._choosing = asyncio.create_task(self._choose_oci_runtime())
        self._mtu = await self._find_mtu()
        await self._in_thread(lambda: kernel.ensure_blackholes(pool.network for pool in self._pools))

    async def settle(self) -> None:
        """What builds containers of images has been found out, and is in the name. Raises OciRuntimeError."""
        if self._choosing is not None:
            await self._choosing

    async def _choose_oci_runtime(self) -> None:
        self._oci, reason = await choose_runtime(self._config.oci_runtime, self._shim, self._config.state_dir)
        version = await asyncio.to_thread(read_version, self._oci) if self._oci is not None else ""
        self.name_and_version = name_runtime(self._oci, version)
        chosen = f"{self._oci.path} {version}".strip() if self._oci is not None else "shim"
        log.info("images=%r reason=%r", chosen, reason)
        with contextlib.suppress(ContainerError):  # a full disk: the log has said it
            files.save_json(self._config.state_dir / RUNTIME_FILE, {"images": chosen, "reason": reason})

    async def _find_mtu(self) -> int:
        """Raises NetworkError when it cannot be."""
        from seaway.node.network import kernel

        uplink = await self._in_thread(kernel.find_uplink_mtu)
        has_ipv6 = any(pool.network.version == 6 for pool in self._pools)
        try:
            return network_plan.choose_mtu(self._config.mtu, uplink, has_ipv6=has_ipv6)
        except network_plan.UnfitMtu as error:
            raise kernel.NetworkError(str(error)) from error

    @property
    def _addresses_file(self) -> Path:
        return self._config.state_dir / "addresses.json"

    @property
    def _ports_file(self) -> Path:
        return self._config.state_dir / "hostports.json"

    def _pod_dir(self, uid: str) -> Path:
        return self._config.state_dir / "pods" / uid

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def read_inventory(self) -> Inventory:
        """What the shim holds, with the addresses that the Pods have.

        A start that an agent before this one asked for is waited for: it would be made twice.
        """
        answer = await self._shim.ask("list")
        for _ in range(START_CHECKS):
            if not answer.get("starting"):  # a shim of an older version does not tell
                break
            await asyncio.sleep(START_CHECK_SECONDS)
            answer = await self._shim.ask("list")
        sandboxes = tuple(Sandbox(s["uid"], self._find_addresses(s)) for s in answer["sandboxes"])
        return Inventory(sandboxes, tuple(self._make_run(c) for c in answer["containers"]))

    def _find_addresses(self, described: Json) -> tuple[str, ...]:
        """Of a sandbox as the shim tells of it; none on the host's network."""
        return () if described["net"] is None else self._addresses_of(described["uid"])

    async def mend_network(self, uids: Collection[str]) -> tuple[str, ...]:
        """Connect those of the Pods whose namespaces stand without their link, address or route; their UIDs, sorted.

        The node's ports are made to lead to Pods that are there, and to no others. An agent that ended in the middle
        of a start left them so. A Pod that cannot be connected is logged.
        """
        from seaway.node.network import kernel

        answer = await self._shim.ask("list")
        handles = {s["uid"]: s["net"] for s in answer["sandboxes"] if s["net"] is not None and s["uid"] in uids}
        mended = []
        try:
            for uid in sorted(handles):
                self._reserve(uid)
            wanted = [network_plan.plan_attachment(uid, self._pools, mtu=self._mtu) for uid in sorted(handles)]
            found = await self._in_thread(kernel.read_network)
            for lacking in network_plan.find_incomplete(wanted, found):
                netns = f"/proc/{answer['pid']}/fd/{handles[lacking.uid]}"
                await self._in_thread(functools.partial(kernel.attach_pod, lacking, netns))
                mended.append(lacking.uid)
            if self._ports_file.exists():
                await self._set_ports({uid: ports for uid, ports in self._ports.items() if uid in handles})
        except (ContainerError, kernel.NetworkError) as error:
            log.warning("network=incomplete error=%r", str(error))
        return tuple(mended)

    def held_pods(self) -> tuple[str, ...]:
        """The UIDs that hold an address or a directory, or have logs, sorted."""
        held = {uid for pool in self._pools for uid in pool.held} | self._cgroups.list_pods()
        for directory in ("pods", "logs", MEMORY):
            with contextlib.suppress(FileNotFoundError):
                held.update(os.listdir(self._config.state_dir / directory))
        return tuple(sorted(held))

    def _addresses_of(self, uid: str) -> tuple[str, ...]:
        return tuple(str(pool.held[uid]) for pool in self._pools if uid in pool.held)

    async def watch_exits(self) -> AsyncIterator[ContainerRun]:
        """Every run as it ends."""
        assert self._exit_stream is not None
        async for ended in self._exit_stream:
            yield self._make_run(ended)
        raise RuntimeGone("shim: ended")

    async def find_image(self, name: str) -> Image | None:
        """What the name stands for on this host now."""
        return self._images.find(name)

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Namespaces first, then the address (durable before use), then the link."""
        from seaway.node.network import kernel

        await asyncio.to_thread(self._make_pod_group, spec)
        sysctls = dict(spec.sysctls) if spec.host_network else _POD_SYSCTLS | dict(spec.sysctls)
        answer = await self._shim.ask(
            "sandbox", uid=spec.uid, hostname=spec.hostname, sysctls=sysctls, host_network=spec.host_network,
            labels={"namespace": spec.namespace, "name": spec.name},
        )  # fmt: skip
        if spec.host_network:
            return Sandbox(spec.uid)
        self._reserve(spec.uid)
        attachment = network_plan.plan_attachment(spec.uid, self._pools, mtu=self._mtu)
        if answer["is_new"]:  # a link of that name leads to namespaces that are gone
            await self._in_thread(lambda: kernel.detach_pod(attachment.link))
        netns = f"/proc/{answer['pid']}/fd/{answer['net']}"
        try:
            await self._in_thread(lambda: kernel.attach_pod(attachment, netns))
        except kernel.NetworkError as error:
            raise ContainerError(str(error)) from error
        await self._open_ports(spec, attachment)
        return Sandbox(spec.uid, self._addresses_of(spec.uid))

    def _make_pod_group(self, spec: SandboxSpec) -> None:
        """Raises ContainerError."""
        try:
            self._cgroups.make_pod(spec.uid, plan_limits(spec.resources, pids=self._config.pod_max_pids))
        except CgroupError as error:
            raise ContainerError(str(error)) from error

    def _make_group(self, spec: ContainerSpec) -> tuple[str, ...]:
        """Raises ContainerError."""
        try:
            return self._cgroups.make(spec.uid, spec.name, spec.attempt, plan_limits(spec.resources))
        except CgroupError as error:
            raise ContainerError(str(error)) from error

    async def _open_ports(self, spec: SandboxSpec, attachment: network_plan.Attachment) -> None:
        from seaway.node.hostports import kernel

        if not spec.ports:
            return
        await self._set_ports({**self._ports, spec.uid: spec.ports})
        ports = plan_host_ports(spec.ports, attachment.addresses)
        if any(port.takes_loopback for port in ports):
            await self._in_thread(lambda: kernel.serve_loopback(attachment.link))
        await self._in_thread(lambda: kernel.forget_flows(ports))

    async def _set_ports(self, held: dict[str, tuple[PortMapping, ...]]) -> None:
        """Durable first, so that the next agent removes what this one could not. Raises ContainerError."""
        from seaway.node.hostports import kernel

        self._ports = held
        files.save_json(self._ports_file, encode_mappings(held))
        targets = {uid: [pool.held[uid] for pool in self._pools if uid in pool.held] for uid in held}
        ports = [port for uid, mappings in held.items() for port in plan_host_ports(mappings, targets[uid])]
        try:
            await self._in_thread(lambda: kernel.apply_host_ports(ports))
        except kernel.HostPortError as error:
            raise ContainerError(str(error)) from error

    def _reserve(self, uid: str) -> None:
        before = self._pools
        try:
            self._pools = tuple(network_plan.allocate_address(pool, uid)[0] for pool in before)
        except network_plan.AddressesExhausted as error:
            raise ContainerError(str(error)) from error
        if self._pools == before:
            return
        try:
            files.save_json(self._addresses_file, network_plan.encode_pools(self._pools))
        except ContainerError:
            self._pools = before  # an address that is not on disk might be given twice
            raise

    async def remove_sandbox(self, uid: str) -> None:
        """The node's ports, the link, then the namespaces."""
        from seaway.node.network import kernel

        if uid in self._ports:
            await self._set_ports({held: ports for held, ports in self._ports.items() if held != uid})
        link = network_plan.choose_link_name(uid)
        await self._in_thread(lambda: kernel.detach_pod(link))
        await self._shim.ask("drop_sandbox", uid=uid)

    async def release(self, uid: str, *, keep_logs: bool) -> None:
        """Forget addresses, files and ended runs."""
        for container in (await self._shim.ask("list"))["containers"]:
            if container["labels"]["uid"] == uid:
                await self._shim.ask("forget", id=container["id"])
        if any(uid in pool.held for pool in self._pools):
            self._pools = tuple(network_plan.release_address(pool, uid) for pool in self._pools)
            try:
                files.save_json(self._addresses_file, network_plan.encode_pools(self._pools))
            except ContainerError as error:  # the next write, or the next agent, says so too
                log.warning("pod=%s address=unsaved error=%s", uid, error)
        self._volumes.pop(uid, None)
        await asyncio.to_thread(self._cgroups.remove_pod, uid)
        await asyncio.to_thread(files.remove_pod_files, self._pod_dir(uid))
        await asyncio.to_thread(shutil.rmtree, self._config.state_dir / MEMORY / uid, True)
        if not keep_logs:
            await asyncio.to_thread(shutil.rmtree, self._config.state_dir / "logs" / uid, True)

    async def write_volumes(self, uid: str, volumes: tuple[PlannedVolume, ...]) -> None:
        """Make the Pod's volumes below its directory."""
        paths = {}
        for volume in volumes:
            memory = self._config.state_dir / MEMORY / uid
            path = files.prepare_volume(self._pod_dir(uid) / "volumes", volume, memory)
            refusal = rootfs.check_host_path(str(path), self._host.hidden) if isinstance(volume, HostPath) else ""
            if refusal:
                raise ContainerError(refusal)
            paths[volume.name] = path
        self._volumes[uid] = paths

    async def measure_disk(self, uid: str) -> DiskUse:
        """Volumes that are directories of ours; layers of images and logs. What programs have in memory is no disk."""
        return await asyncio.to_thread(files.measure_pod, self._pod_dir(uid), self._config.state_dir / "logs" / uid)

    async def start_container(self, spec: ContainerSpec) -> ContainerRun:
        """Write the files, make the plan, and have the shim begin. Raises ContainerError for a spec it refuses."""
        await self.settle()
        image = spec.image if spec.image is not None and spec.image.has_root else None
        who = self._find_ids(spec, image)
        capabilities = rootfs.choose_capabilities(
            is_root=who.user == 0 and (spec.user is not None or not self._config.sandboxed),
            is_named=spec.user is not None,
            add=spec.add_capabilities,
            drop=spec.drop_capabilities,
            owns_files=image is not None,
            is_lenient=spec.is_debugger,
        )
        if isinstance(capabilities, str):
            raise ContainerError(capabilities)
        python_bin = f"{sys.base_prefix}/bin"
        plan = ContainerPlan(user=who.user, group=who.group, groups=tuple(who.groups), capabilities=capabilities)
        base = rootfs.make_base_environment(spec.hostname, python_bin, who.user)
        log = str(self.find_log(spec.uid, spec.name, spec.attempt))
        cgroups = await asyncio.to_thread(self._make_group, spec)
        answer = await self._shim.ask(
            "start", id=secrets.token_hex(32), uid=spec.uid, log=log,
            stdin=spec.stdin, stdin_once=spec.stdin_once, tty=spec.tty,
            labels=self._make_labels(spec, log) | {
                "user": who.describe(), "resources": find_applied(spec.resources, self.unenforced),
            },
            spec={
                **self._plan_root(spec, image, plan), "argv": spec.argv, "working_dir": spec.working_dir,
                "environment": base | dict(spec.environment),
                "user": who.user, "group": who.group, "groups": who.groups,
                "capabilities": sorted(capabilities), "is_sandboxed": self._config.sandboxed,
                "cgroups": cgroups, "oom_score": spec.oom_score,
            },
        )  # fmt: skip
        return self._make_run(answer)

    def _plan_root(self, spec: ContainerSpec, image: Image | None, who: ContainerPlan) -> Json:
        """What the container sees: steps for the shim, or the request to an OCI runtime. Raises ContainerError."""
        etc, volumes = self._write_files(spec), self._find_bindings(spec)
        if image is not None and self._oci is not None:
            overlay = self._make_overlay(spec, image)
            bindings = (*etc, *rootfs.sort_volumes(volumes))
            plan = replace(
                who, bindings=bindings, working_dir=spec.working_dir, read_only_root=spec.read_only_root,
                confined=not spec.unconfined,
                annotations={"io.kubernetes.pod.uid": spec.uid, "io.kubernetes.pod.namespace": spec.namespace,
                             "io.kubernetes.pod.name": spec.pod, "io.kubernetes.container.name": spec.name},
            )  # fmt: skip
            directory = self._layer_of(spec.uid, spec.name, spec.attempt) / "bundle"
            return {"oci": self._oci.make_request(make_config(plan), directory=directory, overlay=overlay.options)}
        if image is not None:
            steps = rootfs.plan_image_root(self._make_overlay(spec, image), files=etc, volumes=volumes)
        else:
            steps = rootfs.plan_root(self._host, files=etc, volumes=volumes)
        return {"steps": (*steps, *rootfs.plan_seal(is_image=image is not None)) if spec.read_only_root else steps}

    def _make_labels(self, spec: ContainerSpec, log: str) -> dict[str, Any]:
        """What the shim keeps of a run for the next agent."""
        return {
            "uid": spec.uid, "namespace": spec.namespace, "pod": spec.pod, "name": spec.name,
            "attempt": spec.attempt, "message_file": str(self._message_file(spec)),
            "image_id": spec.image.id if spec.image is not None and spec.image.has_root else "",
            "image": spec.image_name, "stop_signal": spec.stop_signal,
            "message_log": log if spec.message_from_log else "",
        }  # fmt: skip

    def _find_ids(self, spec: ContainerSpec, image: Image | None) -> Ids:
        """Of the program. One of the host, of a user that nobody named, is of nobody; its group has its number."""
        user = spec.user if spec.user is not None else (0 if self._config.sandboxed else DEFAULT_USER)
        if image is None or self._config.sandboxed:
            return Ids(user, user if spec.group is None else spec.group, spec.groups)
        known = find_ids_inside(self._images.root_of(image), user)
        group = known.group if spec.group is None else spec.group
        return Ids(user, group, (*spec.groups, *(known.groups if spec.merges_groups else ())))

    def _make_overlay(self, spec: ContainerSpec, image: Image) -> rootfs.Overlay:
        """A fresh layer above the image for this run. Raises ContainerError."""
        layer = self._layer_of(spec.uid, spec.name, spec.attempt)
        upper, work = layer / "upper", layer / "work"
        try:
            for directory in (upper, work, layer / "bundle"):
                directory.mkdir(parents=True, exist_ok=True)
            upper.chmod(0o755)
        except OSError as error:
            raise ContainerError(f"container {spec.name}: {error}") from error
        lower = self._images.root_of(image)
        if not lower.is_dir():
            raise ContainerError(f"image {image.id}: its files are gone; import it again")
        if any(character in f"{lower}{layer}" for character in ",:\\"):
            raise ContainerError(f"{layer}: a comma, colon or backslash in the data directory's path; choose another")
        return rootfs.Overlay(str(lower), str(upper), str(work), self._config.sandboxed)

    def _layer_of(self, uid: str, name: str, attempt: int) -> Path:
        return self._pod_dir(uid) / "containers" / name / f"{attempt}.layer"

    def _message_file(self, spec: ContainerSpec) -> Path:
        return self._pod_dir(spec.uid) / "containers" / spec.name / f"{spec.attempt}.message"

    def _write_files(self, spec: ContainerSpec) -> list[rootfs.Binding]:
        mounted = {mount.path for mount in spec.mounts}
        etc = self._pod_dir(spec.uid) / "containers" / spec.name / "etc"
        bindings = [
            rootfs.Binding(str(files.write_text(etc / path.lstrip("/").replace("/", "_"), text)), path, is_file=True)
            for path, text in spec.files
            if path not in mounted
        ]
        if spec.termination_message_path:
            file = files.write_text(self._message_file(spec), "", mode=0o666)
            bindings.append(rootfs.Binding(str(file), spec.termination_message_path, is_file=True))
        return bindings

    def _find_bindings(self, spec: ContainerSpec) -> list[rootfs.Binding]:
        bindings = []
        for mount in spec.mounts:
            source = self._volumes[spec.uid][mount.volume]
            if mount.sub_path:
                source = find_inside(source, mount.sub_path)
            bindings.append(rootfs.Binding(str(source), mount.path, mount.read_only, not source.is_dir()))
        return bindings

    async def stop(self, stop: Stop) -> None:
        """The signal to the program, or SIGKILL to all that is in the container."""
        number = signal.SIGKILL if stop.kill else parse_signal(stop.signal) or signal.SIGTERM
        await self._shim.ask("signal", id=stop.container_id, signal=int(number))

    async def exec(self, container_id: str, argv: tuple[str, ...], *, timeout_seconds: float | None) -> ExecResult:
        """Run a program in the container; it is killed when its time is over, or when nobody waits any more."""
        output = bytearray()

        async def keep(piece: bytes) -> None:
            output.extend(piece[: MAX_EXEC_OUTPUT_BYTES - len(output)])

        ended = asyncio.Event()
        with pipes.open_pipe() as (reading, writing):
            copying = asyncio.ensure_future(pipes.pump(reading, keep, ended))
            try:
                streams = {"stdout": writing, "stderr": writing}
                async with asyncio.timeout(timeout_seconds):
                    code: int | None = await self._exec(container_id, argv, streams, ends_with_asker=True)
            except TimeoutError:
                code = None
            except StartError as error:
                return ExecResult(START_ERROR_CODE, str(error))
            finally:
                ended.set()
                await copying
        return ExecResult(code, output.decode(errors="replace"))

    async def exec_on(self, container_id: str, argv: tuple[str, ...], streams: Mapping[str, int]) -> int:
        """Run a program on our descriptors, or on a terminal of its own."""
        return await self._exec(container_id, argv, streams, ends_with_asker=False)

    async def _exec(
        self, container_id: str, argv: tuple[str, ...], streams: Mapping[str, int], *, ends_with_asker: bool
    ) -> int:
        answer = await self._shim.ask(
            "exec", id=container_id, argv=argv, ends_with_asker=ends_with_asker,
            tty="console" in streams, streams=list(streams), handles=list(streams.values()),
        )  # fmt: skip
        if answer["error"]:
            raise StartError(answer["error"])
        code: int = answer["exit_code"]
        return code

    async def attach(self, container_id: str, streams: Mapping[str, int]) -> bool:
        """Join descriptors to the program of a container."""
        answer = await self._shim.ask(
            "attach", id=container_id, streams=list(streams), handles=list(streams.values())
        )  # fmt: skip
        return bool(answer["tty"])

    async def resize(self, container_id: str, rows: int, columns: int) -> None:
        """The size of a terminal."""
        await self._shim.ask("resize", id=container_id, rows=rows, columns=columns)

    async def open_sockets(self, uid: str) -> tuple[socket.socket, socket.socket]:
        """TCP sockets in the Pod's network. A thread of their own enters it, and ends there."""
        answer = await self._shim.ask("list")
        handle = next((s["net"] for s in answer["sandboxes"] if s["uid"] == uid), -1)
        if handle == -1:
            raise ContainerError("the pod has no sandbox")
        path = None if handle is None else f"/proc/{answer['pid']}/fd/{handle}"
        with ThreadPoolExecutor(1, thread_name_prefix="inside") as thread:
            return await asyncio.get_running_loop().run_in_executor(thread, open_sockets_inside, path)

    def find_loopbacks(self, uid: str) -> tuple[str, ...]:
        """Those of the Pod's network namespace."""
        return ("127.0.0.1", "::1")

    def find_log(self, uid: str, name: str, attempt: int) -> Path:
        """The log file of a run."""
        return self._config.state_dir / "logs" / uid / name / f"{attempt}.log"

    async def remove_container(self, run: ContainerRun) -> None:
        """Forget an ended run, and its log."""
        await self._shim.ask("forget", id=run.container_id)
        log_file = self.find_log(run.uid, run.name, run.attempt)
        await asyncio.to_thread(self._cgroups.remove, run.uid, run.name, run.attempt)
        await asyncio.to_thread(remove_root, self._layer_of(run.uid, run.name, run.attempt))
        for path in (log_file, log_file.with_name(f"{log_file.name}.1")):
            path.unlink(missing_ok=True)

    async def end(self) -> None:
        """Kill every Pod and the shim."""
        with contextlib.suppress(RuntimeGone):
            await self._shim.ask("stop")

    async def close(self) -> None:
        """Leave the shim to itself."""
        if self._choosing is not None:
            self._choosing.cancel()
        self._thread.shutdown(wait=False)

    def _make_run(self, described: Json) -> ContainerRun:
        labels: dict[str, Any] = described["labels"]
        ended = described["finished_at"]
        error = described["error"]
        return ContainerRun(
            uid=labels["uid"],
            name=labels["name"],
            attempt=labels["attempt"],
            container_id=described["id"],
            started_at=datetime.fromtimestamp(described["started_at"], UTC),
            finished_at=None if ended is None else datetime.fromtimestamp(ended, UTC),
            exit_code=described["exit_code"],
            image_id=labels.get("image_id", ""),
            image=labels.get("image", ""),
            stop_signal=labels.get("stop_signal", ""),
            resources=labels.get("resources", {}),
            user=labels.get("user", {}),
            reason="" if ended is None else self._find_reason(described),
            message=error or ("" if ended is None else read_message(labels, described["exit_code"])),
        )

    def _find_reason(self, described: Json) -> str:
        """Of an end that is no ordinary one. Rule: spec "node" §2.5."""
        if described["error"]:
            return "StartError"
        labels = described["labels"]
        if described["exit_code"] != OOM_EXIT_CODE:
            return ""
        kills = self._cgroups.count_oom_kills(labels["uid"], labels["name"], labels["attempt"])
        return "OOMKilled" if kills else ""


def find_applied(resources: ResourceRequirements, unenforced: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What holds for a run, as its status tells: limits that are not kept are not told."""
    limits = {name: amount for name, amount in sorted(resources.limits.items()) if name not in unenforced}
    told = {"limits": limits, "requests": dict(sorted(resources.requests.items()))}
    return {kind: amounts for kind, amounts in told.items() if amounts}


def find_inside(volume: Path, sub_path: str) -> Path:
    """What a subPath names in a volume, made when it is missing. Raises ContainerError: programs of the Pod may have
    put links and files where directories are meant.
    """
    try:
        inner = (volume / sub_path).resolve()
        if not inner.is_relative_to(volume.resolve()):
            raise ContainerError(f"subPath {sub_path}: leads out of the volume")
        if not inner.exists():
            inner.mkdir(mode=0o777, parents=True)
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise ContainerError(f"subPath {sub_path}: {error}") from error
    return inner


def open_sockets_inside(path: str | None) -> tuple[socket.socket, socket.socket]:
    """Sockets of the network namespace at the path, None for this one. The calling thread stays in it."""
    if path is not None:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(handle, CLONE_NEWNET)
        finally:
            os.close(handle)
    first = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        second = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        second = first.dup()  # a host without IPv6
    for each in (first, second):
        each.setblocking(False)
    return first, second
