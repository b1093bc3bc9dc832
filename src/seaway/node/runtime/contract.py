"""What the agent asks of a runtime, as values and one protocol.

The runtime outlives the agent: `read_inventory` tells a new agent what runs, with the labels it was given.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from seaway.api.pod.scheduling import ResourceRequirements
from seaway.node.evictions import DiskUse
from seaway.node.hostports.plan import PortMapping
from seaway.node.runtime.images.values import Image
from seaway.node.state import ContainerRun, Sandbox
from seaway.node.volumes import PlannedVolume


class ContainerError(Exception):
    """The runtime refused or was not there; the text is fit for an event."""


class RuntimeGone(ContainerError):
    """The runtime does not answer. Nothing is known of what it ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """The namespaces of one Pod. `hostname` is ignored on the host's network. ports: of the node that lead to it.

    resources: of the Pod as a whole.
    """

    uid: str
    namespace: str
    name: str
    hostname: str
    host_network: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in a container. `sub_path` is inside the volume."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One run of a container. `files` replace files of its root: resolv.conf, hosts, hostname.

    groups: besides the first one; with merges_groups, those that the image's own files give the user too.
    is_debugger: a capability that is not given here is left out instead of refused.
    image: None for a program of the host under a name that is no image here. image_name: as the Pod says it.
    unconfined: no filter of system calls, where the runtime has one.
    """

    uid: str
    namespace: str
    pod: str
    name: str
    attempt: int
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    hostname: str = ""
    working_dir: str = ""
    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    merges_groups: bool = False
    is_debugger: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    termination_message_path: str = ""
    message_from_log: bool = False
    image: Image | None = None
    image_name: str = ""
    stop_signal: str = ""
    read_only_root: bool = False
    unconfined: bool = False
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    oom_score: int = 0
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that the runtime holds."""

    sandboxes: tuple[Sandbox, ...] = ()
    runs: tuple[ContainerRun, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecResult:
    """exit_code None: it did not end in time and was killed. `output` is stdout and stderr, cut."""

    exit_code: int | None
    output: str = ""


STREAMS = ("stdin", "stdout", "stderr")
"""The names under which descriptors are handed over."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A signal to the program, SIGTERM unless named, or with `kill` the end of everything in the container."""

    container_id: str
    kill: bool = field(default=False)
    signal: str = ""


class Runtime(Protocol):
    """Runs containers. All methods raise ContainerError; removal succeeds when nothing is there."""

    name_and_version: str

    @property
    def unenforced(self) -> Mapping[str, str]:
        """Why limits are not kept here, by resource; known when connected."""

    async def connect(self) -> None:
        """Ready for calls; starts what must be started."""

    async def settle(self) -> None:
        """`name_and_version` says all from here on; calls wait for it by themselves."""

    async def read_inventory(self) -> Inventory:
        """What is held now."""

    def watch_exits(self) -> AsyncIterator[ContainerRun]:
        """Every run as it ends, for as long as the runtime answers; raises RuntimeGone then."""

    async def find_image(self, name: str) -> Image | None:
        """What a container's image name stands for here. Raises ImageNameError."""

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """The Pod's namespaces, connected; kept if they exist."""

    async def remove_sandbox(self, uid: str) -> None:
        """End the Pod's namespaces and connection; its addresses stay reserved until `release`."""

    async def release(self, uid: str, *, keep_logs: bool) -> None:
        """Forget the Pod: addresses, volumes, files, ended runs. Logs are kept while the object exists."""

    async def write_volumes(self, uid: str, volumes: tuple[PlannedVolume, ...]) -> None:
        """Make the Pod's volumes, or bring their files up to date. Raises ContainerError."""

    async def measure_disk(self, uid: str) -> DiskUse:
        """What the Pod has on disk now."""

    async def start_container(self, spec: ContainerSpec) -> ContainerRun:
        """Begin a run. What the host cannot run ends at once: a run with reason `StartError`."""

    async def stop(self, stop: Stop) -> None:
        """Signal or kill a container; no error when it has ended."""

    async def exec(self, container_id: str, argv: tuple[str, ...], *, timeout_seconds: float | None) -> ExecResult:
        """Run a program in the namespaces and with the environment of a container; None: as long as it takes."""

    async def exec_on(self, container_id: str, argv: tuple[str, ...], streams: Mapping[str, int]) -> int:
        """Run a program on descriptors of ours, by STREAMS, and return its exit code when it has ended.

        Or on `console`: a unix socket, which gets the master of a terminal. Descriptors stay the caller's.
        Raises ContainerError when it could not begin.
        """

    async def attach(self, container_id: str, streams: Mapping[str, int]) -> bool:
        """Join descriptors, by STREAMS, to the program of a container. True: it has a terminal."""

    async def resize(self, container_id: str, rows: int, columns: int) -> None:
        """The size of the terminal of a container's program."""

    async def open_sockets(self, uid: str) -> tuple[socket.socket, socket.socket]:
        """Unconnected TCP sockets in the Pod's network, IPv4 and IPv6. The caller closes."""

    def find_loopbacks(self, uid: str) -> tuple[str, ...]:
        """Where those sockets find the Pod's programs: its loopback addresses, the IPv4 one first."""

    def find_log(self, uid: str, name: str, attempt: int) -> Path:
        """The log file of a run; whether it exists is not said."""

    async def remove_container(self, run: ContainerRun) -> None:
        """Forget a run that has ended, and its log."""

    async def close(self) -> None:
        """Leave; what runs goes on."""
