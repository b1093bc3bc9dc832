"""Starts the sandbox and the containers of one Pod: reads what they need, and asks the runtime.

What they need: the node's own files, the ConfigMaps and Secrets that the Pod names, and the Services of its namespace.
Rule: spec "node" §2.4.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from seaway.api.machinery.errors import ApiError, NotFound
from seaway.api.registry import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from seaway.client.requests import Client, TransportError
from seaway.node.accounttokens import (
    HeldToken,
    WantedToken,
    account_of,
    find_wanted_tokens,
    make_token_request,
    read_token_answer,
)
from seaway.node.config import NodeConfig
from seaway.node.envvars import EnvError, find_skipped_names
from seaway.node.events import Happening, make_field_path
from seaway.node.lifecycle import PULL_MEND
from seaway.node.pods.context import AgentContext
from seaway.node.pods.sources import (
    HostFiles,
    Sources,
    find_resolver_warnings,
    make_container_spec,
    make_sandbox_spec,
    make_volumes,
)
from seaway.node.podspec import ConfigMap, Container, PodManifest, Secret, find_sources
from seaway.node.resolvconf import (
    MISSING_CLUSTER_DNS,
    MISSING_CLUSTER_DNS_TEXT,
    ResolverError,
    choose_resolver_text,
    make_empty_resolver,
    parse_resolv_conf,
)
from seaway.node.runtime.contract import ContainerError, RuntimeGone
from seaway.node.runtime.images.names import ImageNameError
from seaway.node.runtime.images.values import Image
from seaway.node.state import ContainerRun, PodState, Sandbox
from seaway.node.unhonoured import REASON as NOT_HONOURED
from seaway.node.unhonoured import find_left_out, find_unhonoured
from seaway.node.unisolated import NET_BIND_SERVICE, find_unisolated_gaps, has_capability
from seaway.node.volumes import Content, VolumeError

_HOSTS = Path("/etc/hosts")
MAX_RESOLVER_FILE_BYTES = 10 * 1024 * 1024
"""Rule: spec "discovery" §C1."""
_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
DEFAULT_FIRST_FREE_PORT = 1024
_BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")


class StartFailed(Exception):
    """Why something of the Pod does not start, as an event or a waiting container says it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Starter:
    """Begins what one Pod consists of. Its methods raise StartFailed and RuntimeGone."""

    def __init__(self, context: AgentContext, pod: PodManifest, *, is_there: bool) -> None:
        """is_there: an agent before this one has begun the Pod, so it has volumes."""
        self._context = context
        self._is_there = is_there
        self._tokens: dict[WantedToken, HeldToken] = {}
        self._sources: Sources | None = None
        self._has_volumes = False
        self._has_content = any(v.config_map or v.secret or v.downward_api or v.projected for v in pod.spec.volumes)

    @property
    def wants_refresh(self) -> bool:
        """There are volumes, and what is in them may change."""
        return self._has_content and (self._has_volumes or self._is_there)

    async def create_sandbox(self, pod: PodManifest, state: PodState) -> tuple[Sandbox, tuple[tuple[str, str], ...]]:
        """The Pod's namespaces and volumes; and what its resolv.conf had to leave out, as (reason, message)."""
        config = self._context.config
        try:
            host = read_host_files(config)
            spec = make_sandbox_spec(config, pod, host)
            await self._write_volumes(pod, state, await self._read_sources(pod))
            sandbox = await self._context.runtime.create_sandbox(spec)
            unhonoured = find_unhonoured(pod, self._context.runtime.unenforced, has_users=config.has_users)
            gaps = "" if config.is_isolated else find_unisolated_gaps(pod)
            for said in (unhonoured, gaps):
                if said:
                    self._context.record(pod, Happening("Normal", NOT_HONOURED, said))
            warnings = find_resolver_warnings(config, pod, host)
            if any(reason == MISSING_CLUSTER_DNS for reason, _ in warnings):
                self._context.record_node(Happening("Warning", MISSING_CLUSTER_DNS, MISSING_CLUSTER_DNS_TEXT))
            return sandbox, warnings
        except RuntimeGone:
            raise
        except VolumeError as error:
            raise StartFailed("FailedMount", str(error)) from error
        except (ContainerError, ResolverError, OSError) as error:
            raise StartFailed("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error

    async def start_container(self, pod: PodManifest, container: Container, state: PodState) -> ContainerRun:
        """The container's next run."""
        image = await self.find_image(container)
        try:
            sources = await self._read_sources(pod)
            if not self._has_volumes:
                await self._write_volumes(pod, state, sources)
            services = await self._context.read_services()
            self._tell_of_skipped(pod, container, sources)
            sources = replace(sources, allocatable=self._context.allocatable)
            host = read_host_files(self._context.config)
            spec = make_container_spec(
                self._context.config,
                pod,
                container,
                state,
                services=services,
                sources=sources,
                host=host,
                image=image,
            )
            left_out = find_left_out(container) if spec.is_debugger else ""
            if left_out:
                path = make_field_path(pod, container.name)
                self._context.record(pod, Happening("Normal", NOT_HONOURED, left_out, path))
            return await self._context.runtime.start_container(spec)
        except RuntimeGone:
            raise
        except (ContainerError, OSError) as error:
            raise StartFailed("CreateContainerError", str(error)) from error
        except (EnvError, VolumeError, ResolverError) as error:
            raise StartFailed("CreateContainerConfigError", str(error)) from error

    def _tell_of_skipped(self, pod: PodManifest, container: Container, sources: Sources) -> None:
        skipped = find_skipped_names(
            container, pod, find_config_map=sources.config_maps.get, find_secret=sources.secrets.get
        )
        for reason, message in skipped:
            self._context.record(pod, Happening("Warning", reason, message, make_field_path(pod, container.name)))

    async def find_image(self, container: Container) -> Image | None:
        """What the container's image is here; None for a program of the host. Rule: spec "node" §2.4, §6.5."""
        try:
            image = await self._context.runtime.find_image(container.image)
        except ImageNameError as error:
            raise StartFailed("InvalidImageName", str(error)) from error
        if image is None and not container.command:
            if container.image_pull_policy == "Never":
                text = f'Container image "{container.image}" is not present with pull policy of Never; {PULL_MEND}'
                raise StartFailed("ErrImageNeverPull", text)
            raise StartFailed("ErrImagePull", f'image "{container.image}" is not present; {PULL_MEND}')
        return image

    async def refresh_volumes(self, pod: PodManifest, state: PodState) -> None:
        """Bring what ConfigMaps, Secrets and the Pod's own fields gave up to date; what is missing now stays."""
        with contextlib.suppress(ContainerError, VolumeError):
            await self._write_volumes(pod, state, await self._read_sources(pod))

    async def _read_sources(self, pod: PodManifest) -> Sources:
        """What the Pod names, as it is; while the API is away, as it was: a run that ends is followed by another.

        Raises VolumeError when it was never read.
        """
        try:
            self._sources = await read_sources(self._context.client, pod)
        except VolumeError:
            if self._sources is None:
                raise
        return self._sources

    async def _write_volumes(self, pod: PodManifest, state: PodState, sources: Sources) -> None:
        await self._renew_tokens(pod)
        tokens = {wanted: held.token for wanted, held in self._tokens.items()}
        sources = replace(sources, tokens=tokens, allocatable=self._context.allocatable)
        volumes = make_volumes(self._context.config, pod, state, sources)
        await self._context.runtime.write_volumes(pod.uid, volumes)
        self._has_volumes = True
        self._has_content = any(isinstance(volume, Content) for volume in volumes)

    async def _renew_tokens(self, pod: PodManifest) -> None:
        """Get the tokens that the volumes want and that are missing or old. An old one serves until its end.

        Raises VolumeError.
        """
        for wanted in find_wanted_tokens(pod):
            held, wall_now = self._tokens.get(wanted), datetime.now(UTC)
            if held is not None and not held.is_due(wall_now):
                continue
            request, account = make_token_request(pod, wanted), account_of(pod)
            try:
                answer = await self._context.client.create(
                    SERVICE_ACCOUNTS, request, pod.metadata.namespace, name=account, subresource="token"
                )
            except (ApiError, TransportError) as error:
                if held is None or not held.is_valid(wall_now):
                    raise VolumeError(f"failed to fetch token: {error}") from error
            else:
                self._tokens[wanted] = read_token_answer(answer, wall_now=wall_now)


def read_first_free_port() -> int:
    """What this process may bind begins there. Rule: ip(7), capabilities(7), proc_pid_status(5)."""
    try:
        if has_capability(Path("/proc/self/status").read_text(), NET_BIND_SERVICE):
            return 0
        return int(_FIRST_FREE_PORT.read_text())
    except (OSError, ValueError):
        return DEFAULT_FIRST_FREE_PORT


def read_host_files(config: NodeConfig) -> HostFiles:
    """The node's own files, read when a container starts. A resolver that only the host can reach is not inherited."""
    text = read_resolver_file(config)
    resolver = parse_resolv_conf(text) if config.resolv_conf is not None else make_empty_resolver(config.node_ips)
    try:
        hosts = _HOSTS.read_text()
    except OSError:
        hosts = ""
    first_free_port = 0 if config.is_isolated else read_first_free_port()
    return HostFiles(resolver, hosts, config.hostname or config.node_name, text, first_free_port)


def read_resolver_file(config: NodeConfig) -> str:
    """The resolver file that Pods inherit; "" when there is none. Of a file that is too large, nothing."""
    path = config.resolv_conf
    if path is None:
        return ""
    try:
        if path.stat().st_size > MAX_RESOLVER_FILE_BYTES:
            return ""
        behind = _BEHIND_STUB.read_text() if _BEHIND_STUB.exists() else ""
        return choose_resolver_text(path.read_text(), behind)
    except OSError:
        return ""


async def read_sources(client: Client, pod: PodManifest) -> Sources:
    """The ConfigMaps and Secrets that the Pod names and that exist. Raises VolumeError when the API does not tell."""
    namespace = pod.metadata.namespace
    map_names, secret_names = find_sources(pod)
    maps: dict[str, dict[str, bytes]] = {}
    secrets: dict[str, dict[str, bytes]] = {}
    try:
        for name in sorted(map_names):
            with contextlib.suppress(NotFound):
                found = await client.get(CONFIG_MAPS, name, namespace, as_type=ConfigMap)
                maps[name] = {k: v.encode() for k, v in found.data.items()} | found.binary_data
        for name in sorted(secret_names):
            with contextlib.suppress(NotFound):
                secrets[name] = (await client.get(SECRETS, name, namespace, as_type=Secret)).data
    except (ApiError, TransportError) as error:
        raise VolumeError(f"what the Pod names cannot be read: {error}") from error
    return Sources(maps, secrets)
