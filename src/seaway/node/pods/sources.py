"""Specifications of sandboxes and containers, put together from the Pod, its state and the objects that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from seaway.api.pod.resources import MEMORY, measure
from seaway.api.service.types import Service
from seaway.node.accounttokens import WantedToken
from seaway.node.cgroups.plan import choose_oom_score
from seaway.node.config import NodeConfig
from seaway.node.envvars import (
    EnvError,
    Locate,
    PodFields,
    choose_services,
    expand,
    expand_command,
    make_environment,
    make_service_variables,
    sort_addresses,
)
from seaway.node.hostports.plan import find_mappings
from seaway.node.lifecycle import ProcessUser, choose_groups, choose_stop_signal, choose_user, merges_groups
from seaway.node.podspec import Container, PodManifest
from seaway.node.resolvconf import (
    NSSWITCH,
    HostNames,
    PodResolver,
    Resolver,
    make_host_names,
    make_pod_resolver,
    render_host_network_hosts,
    render_hosts,
    render_resolv_conf,
)
from seaway.node.runtime.contract import ContainerSpec, Mount, SandboxSpec
from seaway.node.runtime.images.values import Image
from seaway.node.runtime.plain.places import root_of
from seaway.node.state import PodState
from seaway.node.unisolated import (
    KUBECONFIG_PATH,
    asks_cluster,
    find_dns_place,
    has_account,
    make_locator,
    make_own_variables,
    render_kubeconfig,
)
from seaway.node.volumes import NOBODY, PlannedVolume, VolumeError, find_owners, find_unsupported_mounts, plan_volumes


@dataclass(frozen=True, slots=True)
class Sources:
    """The data of the ConfigMaps and Secrets that exist, by name; the tokens that were got; what the node has."""

    config_maps: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    tokens: Mapping[WantedToken, str] = field(default_factory=dict, repr=False)
    allocatable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostFiles:
    """What Pods inherit of the node's files."""

    resolver: Resolver = field(default_factory=Resolver)
    hosts: str = ""
    hostname: str = ""
    resolv_conf: str = ""
    """The file that `resolver` was read from; a Pod that has nothing of its own gets it as it is."""
    first_free_port: int = 0
    """What everybody may bind begins there."""


def make_fields(config: NodeConfig, pod: PodManifest, state: PodState, sources: Sources) -> PodFields:
    """What only the node knows of the Pod, its addresses above all."""
    return PodFields(find_own_addresses(config, pod, state), config.locate_all(config.node_ips), sources.allocatable)


def find_own_addresses(config: NodeConfig, pod: PodManifest, state: PodState) -> tuple[str, ...]:
    """What the Pod's programs may bind: where this host has the addresses that the API tells of."""
    addresses = config.node_ips if pod.spec.host_network else sort_addresses(state.pod_ips, config.node_ips[0])
    return config.locate_all(addresses)


def make_names(config: NodeConfig, pod: PodManifest, host: HostFiles) -> HostNames:
    """The Pod's names; on the host's network, the node's. Raises ResolverError."""
    if pod.spec.host_network:
        return HostNames(host.hostname, "", host.hostname)
    return make_host_names(pod, cluster_domain=config.cluster_domain)


def make_sandbox_spec(config: NodeConfig, pod: PodManifest, host: HostFiles) -> SandboxSpec:
    """What the Pod's namespaces shall be. Raises ResolverError."""
    security = pod.spec.security_context
    return SandboxSpec(
        uid=pod.uid,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        hostname=make_names(config, pod, host).kernel,
        host_network=pod.spec.host_network,
        sysctls=tuple((s.name.replace(".", "/"), s.value) for s in (security.sysctls if security else ())),
        resources=pod.spec.resources,
        ports=find_mappings(pod),
    )


def find_resolver_warnings(config: NodeConfig, pod: PodManifest, host: HostFiles) -> tuple[tuple[str, str], ...]:
    """What the Pod's resolv.conf had to leave out, as (reason, message). Raises ResolverError."""
    return _make_resolver(config, pod, host).warnings


def _make_resolver(config: NodeConfig, pod: PodManifest, host: HostFiles) -> PodResolver:
    servers = config.locate_all(address for address in config.dns_ip.split(",") if address)
    return make_pod_resolver(pod, host.resolver, cluster_dns=servers, cluster_domain=config.cluster_domain)


def make_volumes(config: NodeConfig, pod: PodManifest, state: PodState, sources: Sources) -> tuple[PlannedVolume, ...]:
    """The Pod's volumes. Raises VolumeError."""
    missing = find_unsupported_mounts(pod)
    if missing:
        raise VolumeError(missing[0])
    return plan_volumes(
        pod,
        fields=make_fields(config, pod, state, sources),
        find_config_map=sources.config_maps.get,
        find_secret=sources.secrets.get,
        find_token=sources.tokens.get,
        owners=find_owners(pod) if config.has_users else NOBODY,
    )


def make_variables(
    config: NodeConfig,
    pod: PodManifest,
    container: Container,
    state: PodState,
    *,
    services: Iterable[Service],
    sources: Sources,
    host: HostFiles,
) -> dict[str, str]:
    """The container's variables by the Pod and the Services, without those of an image. Raises EnvError."""
    services = tuple(services)
    chosen = choose_services(services, pod.metadata.namespace, links=pod.spec.enable_service_links)
    if config.loopback is None:
        given = make_service_variables(chosen)
    else:
        locate = make_locator(config.loopback, host.first_free_port)
        given = make_service_variables(chosen, locate)
        given |= _make_own_variables(config, pod, container, state, services, host, locate)
    return make_environment(
        container,
        pod,
        given,
        fields=make_fields(config, pod, state, sources),
        find_config_map=sources.config_maps.get,
        find_secret=sources.secrets.get,
    )


def _make_own_variables(
    config: NodeConfig,
    pod: PodManifest,
    container: Container,
    state: PodState,
    services: tuple[Service, ...],
    host: HostFiles,
    locate: Locate,
) -> dict[str, str]:
    dns = find_dns_place(services, config.dns_ip, locate)
    return make_own_variables(
        container,
        root_of(config.state_dir, pod.uid, container.name, state.find(container.name).next_attempt),
        addresses=find_own_addresses(config, pod, state),
        resolver=_make_resolver(config, pod, host).resolver,
        dns=dns,
        has_cluster_resolver=asks_cluster(host.resolver.nameservers, dns),
    )


def make_container_spec(
    config: NodeConfig,
    pod: PodManifest,
    container: Container,
    state: PodState,
    *,
    services: Iterable[Service],
    sources: Sources,
    host: HostFiles,
    image: Image | None = None,
) -> ContainerSpec:
    """The specification of the container's next run. Raises EnvError with the text of `CreateContainerConfigError`."""
    services = tuple(services)
    has_root = image is not None and image.has_root
    if has_root and not config.is_isolated:
        raise EnvError(
            f'image "{container.image}": without namespaces a program cannot have the files of an image; '
            'name a program of the host with "seaway image alias NAME=/PATH", or another image and a command'
        )
    own_ids = ProcessUser(image.uid, image.gid) if image is not None and has_root else None
    who = choose_user(pod, container, sandboxed=config.sandbox, own_ids=own_ids)
    if isinstance(who, str):
        raise EnvError(who)
    if container.target_container_name:
        raise EnvError(
            f"targetContainerName {container.target_container_name}: containers do not share processes on this node; "
            "leave it out (kubectl debug without --target)"
        )
    environment = make_variables(config, pod, container, state, services=services, sources=sources, host=host)
    entrypoint, cmd = (image.entrypoint, image.cmd) if image is not None else ((), ())
    argv = expand_command(container, environment, entrypoint=entrypoint, cmd=cmd)
    if not argv:
        raise EnvError(f'container {container.name} has no command, and image "{container.image}" none; set command')
    names = make_names(config, pod, host)
    capabilities = container.security_context.capabilities if container.security_context else None
    return ContainerSpec(
        uid=pod.uid,
        namespace=pod.metadata.namespace,
        pod=pod.metadata.name,
        name=container.name,
        attempt=state.find(container.name).next_attempt,
        argv=argv,
        environment={**dict(image.env), **environment} if image is not None else environment,
        hostname=names.kernel,
        working_dir=container.working_dir or (image.working_dir if image is not None else ""),
        user=who.user,
        group=who.group,
        groups=choose_groups(pod) if config.has_users else (),
        merges_groups=config.has_users and merges_groups(pod),
        is_debugger=pod.is_ephemeral(container.name),
        add_capabilities=capabilities.add if capabilities else (),
        drop_capabilities=capabilities.drop if capabilities else (),
        mounts=tuple(
            Mount(m.name, m.mount_path, expand(m.sub_path_expr, environment.get) or m.sub_path, m.read_only)
            for m in container.volume_mounts
        ),
        files=(
            *make_files(config, pod, state, names, host),
            *_make_account_files(config, pod, container, state, services, host),
        ),
        termination_message_path=container.termination_message_path,
        message_from_log=container.termination_message_policy == "FallbackToLogsOnError",
        image=image,
        image_name=container.image,
        stop_signal=choose_stop_signal(container, image),
        unconfined=pod.find_seccomp(container) == "Unconfined",
        read_only_root=bool(container.security_context and container.security_context.read_only_root_filesystem),
        resources=container.resources,
        oom_score=_choose_oom_score(config, pod, container, sources),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
    )


def _choose_oom_score(config: NodeConfig, pod: PodManifest, container: Container, sources: Sources) -> int:
    """In a sandbox none is better off than the agent: who has no rights can only make it worse."""
    asked = container.resources.requests.get(MEMORY) or container.resources.limits.get(MEMORY, "0")
    requested = measure(MEMORY, asked)
    available = measure(MEMORY, sources.allocatable.get(MEMORY, "0"))
    score = choose_oom_score(pod.status.qos_class, requested=requested, available=available)
    return score if config.has_users else max(score, 0)


def _make_account_files(
    config: NodeConfig,
    pod: PodManifest,
    container: Container,
    state: PodState,
    services: tuple[Service, ...],
    host: HostFiles,
) -> tuple[tuple[str, str], ...]:
    """For a program that cannot find its account's files where clients look for them."""
    if config.loopback is None or not has_account(container):
        return ()
    root = root_of(config.state_dir, pod.uid, container.name, state.find(container.name).next_attempt)
    locate = make_locator(config.loopback, host.first_free_port)
    text = render_kubeconfig(root, pod.metadata.namespace, services, locate)
    return ((KUBECONFIG_PATH, text),) if text else ()


def make_files(
    config: NodeConfig, pod: PodManifest, state: PodState, names: HostNames, host: HostFiles
) -> tuple[tuple[str, str], ...]:
    """Paths and texts of the files that every container of the Pod finds."""
    resolver = _make_resolver(config, pod, host)
    if pod.spec.host_network:
        hosts = render_host_network_hosts(host.hosts, pod.spec.host_aliases)
    else:
        hosts = render_hosts(names, find_own_addresses(config, pod, state), pod.spec.host_aliases)
    return (
        ("/etc/resolv.conf", render_resolv_conf(resolver.resolver) or host.resolv_conf),
        ("/etc/hosts", hosts),
        ("/etc/hostname", f"{names.kernel}\n"),
        ("/etc/nsswitch.conf", NSSWITCH),
    )
