"""The whole Pod that an agent needs: what to run, how to watch it, what was last reported.

Controllers read the narrow `api/pod/types.py`; only the node agent decodes this much. Fields that change nothing on
this node (priorities) are not decoded. Rule: spec "node" §2.9 (which field is honoured).
"""

from __future__ import annotations

import ipaddress

import msgspec

from seaway.api.machinery.meta import ObjectMeta, Reader
from seaway.api.pod.scheduling import Affinity, ResourceRequirements, Toleration
from seaway.api.pod.types import ContainerPort, PodIP


class KeySelector(Reader, frozen=True):
    """One key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class FieldRef(Reader, frozen=True):
    field_path: str = ""


class ResourceFieldRef(Reader, frozen=True):
    """`limits.cpu` and its like, in units of the divisor. An empty container name is the container itself."""

    container_name: str = ""
    resource: str = ""
    divisor: str = "0"


class EnvVarSource(Reader, frozen=True):
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Reader, frozen=True):
    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class SourceRef(Reader, frozen=True):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class EnvFromSource(Reader, frozen=True):
    prefix: str = ""
    config_map_ref: SourceRef | None = None
    secret_ref: SourceRef | None = None


class HTTPHeader(Reader, frozen=True):
    name: str = ""
    value: str = ""


class HTTPGetAction(Reader, frozen=True):
    path: str = "/"
    port: int | str = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Reader, frozen=True):
    port: int | str = 0
    host: str = ""


class ExecAction(Reader, frozen=True):
    command: tuple[str, ...] = ()


class GRPCAction(Reader, frozen=True):
    port: int = 0
    service: str = ""


class SleepAction(Reader, frozen=True):
    seconds: int = 0


class Probe(Reader, frozen=True):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Reader, frozen=True):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Reader, frozen=True):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class Capabilities(Reader, frozen=True):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SeccompProfile(Reader, frozen=True):
    """type: RuntimeDefault, Unconfined or Localhost."""

    type: str = ""


class SecurityContext(Reader, frozen=True):
    """Of a container, and the part of a Pod's that is inherited."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    privileged: bool = False
    read_only_root_filesystem: bool = False
    capabilities: Capabilities | None = None
    seccomp_profile: SeccompProfile | None = None


class VolumeMount(Reader, frozen=True):
    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    mount_propagation: str = ""


class ExitCodes(Reader, frozen=True):
    """operator: In or NotIn."""

    operator: str = ""
    values: tuple[int, ...] = ()


class RestartRule(Reader, frozen=True):
    action: str = ""
    exit_codes: ExitCodes | None = None


class Container(Reader, frozen=True):
    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[dict[str, str], ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""
    restart_policy_rules: tuple[RestartRule, ...] = ()
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target_container_name: str = ""
    """Of an ephemeral container: whose processes it wants to see."""

    @property
    def is_sidecar(self) -> bool:
        """Of an init container: it starts in order and runs as long as the Pod."""
        return self.restart_policy == "Always"


class KeyToPath(Reader, frozen=True):
    key: str = ""
    path: str = ""
    mode: int | None = None


class ConfigMapVolume(Reader, frozen=True):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Reader, frozen=True):
    """As a volume it names `secretName`; as a projected source, `name`."""

    secret_name: str = ""
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class DownwardFile(Reader, frozen=True):
    path: str = ""
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    mode: int | None = None


class DownwardVolume(Reader, frozen=True):
    items: tuple[DownwardFile, ...] = ()
    default_mode: int = 0o644


class TokenSource(Reader, frozen=True):
    """A token of the Pod's account. An empty audience is the API's own."""

    path: str = ""
    audience: str = ""
    expiration_seconds: int = 3600


class ProjectedSource(Reader, frozen=True):
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    service_account_token: TokenSource | None = None


class ProjectedVolume(Reader, frozen=True):
    sources: tuple[ProjectedSource, ...] = ()
    default_mode: int = 0o644


class HostPathVolume(Reader, frozen=True):
    path: str = ""
    type: str = ""


class EmptyDirVolume(Reader, frozen=True):
    medium: str = ""
    size_limit: str = "0"


class Volume(Reader, frozen=True):
    """One of the sources is set; none of them: a source that this agent does not know."""

    name: str = ""
    empty_dir: EmptyDirVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    projected: ProjectedVolume | None = None
    host_path: HostPathVolume | None = None


class HostAlias(Reader, frozen=True):
    ip: str = ""
    hostnames: tuple[str, ...] = ()


class DNSOption(Reader, frozen=True):
    name: str = ""
    value: str | None = None


class PodDNSConfig(Reader, frozen=True):
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOption, ...] = ()


class Sysctl(Reader, frozen=True):
    name: str = ""
    value: str = ""


class PodSecurityContext(SecurityContext, frozen=True):
    sysctls: tuple[Sysctl, ...] = ()
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = "Merge"


class ReadinessGate(Reader, frozen=True):
    condition_type: str = ""


class PodOS(Reader, frozen=True):
    name: str = ""


class PodSpec(Reader, frozen=True):
    os: PodOS | None = None
    node_name: str = ""
    hostname: str = ""
    hostname_override: str | None = None
    subdomain: str = ""
    set_hostname_as_fqdn: bool = msgspec.field(default=False, name="setHostnameAsFQDN")
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    host_ipc: bool = msgspec.field(default=False, name="hostIPC")
    share_process_namespace: bool = False
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    dns_policy: str = "ClusterFirst"
    dns_config: PodDNSConfig | None = None
    enable_service_links: bool = True
    service_account_name: str = ""
    runtime_class_name: str = ""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    affinity: Affinity = Affinity()
    tolerations: tuple[Toleration, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    overhead: dict[str, str] = msgspec.field(default_factory=dict)
    host_aliases: tuple[HostAlias, ...] = ()
    readiness_gates: tuple[ReadinessGate, ...] = ()
    security_context: PodSecurityContext | None = None
    volumes: tuple[Volume, ...] = ()
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[Container, ...] = ()


class RunningState(Reader, frozen=True):
    started_at: str | None = None


class TerminatedState(Reader, frozen=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = ""


class ReportedState(Reader, frozen=True):
    running: RunningState | None = None
    terminated: TerminatedState | None = None


class ReportedContainer(Reader, frozen=True):
    """A container status as the API server has it."""

    name: str = ""
    container_id: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ReportedState = ReportedState()
    last_state: ReportedState = ReportedState()


class ReportedCondition(Reader, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class ReportedStatus(Reader, frozen=True):
    phase: str = ""
    qos_class: str = ""
    start_time: str | None = None
    pod_ips: tuple[PodIP, ...] = ()
    conditions: tuple[ReportedCondition, ...] = ()
    container_statuses: tuple[ReportedContainer, ...] = ()
    init_container_statuses: tuple[ReportedContainer, ...] = ()
    ephemeral_container_statuses: tuple[ReportedContainer, ...] = ()


class PodManifest(Reader, frozen=True):
    """A Pod with everything that the agent acts on."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: ReportedStatus = ReportedStatus()

    @property
    def uid(self) -> str:
        """Every local name is derived from it: a Pod of the same name may come before this one is gone."""
        return self.metadata.uid

    @property
    def text(self) -> str:
        """`name_namespace(uid)`, as messages name a Pod."""
        return f"{self.metadata.name}_{self.metadata.namespace}({self.metadata.uid})"

    @property
    def every_container(self) -> tuple[Container, ...]:
        """Init containers, containers and ephemeral containers; names are unique among all of them."""
        return (*self.spec.init_containers, *self.spec.containers, *self.spec.ephemeral_containers)

    def find_container(self, name: str) -> Container | None:
        """The container of that name, of whatever kind."""
        return next((container for container in self.every_container if container.name == name), None)

    def find_seccomp(self, container: Container) -> str:
        """The kind of filter that is asked for: the container's word before the Pod's; "" when neither says."""
        contexts = (container.security_context, self.spec.security_context)
        profiles = (context.seccomp_profile for context in contexts if context is not None)
        return next((profile.type for profile in profiles if profile is not None), "")

    def is_ephemeral(self, name: str) -> bool:
        """A debugger added the container: it runs once, and counts for nothing."""
        return any(container.name == name for container in self.spec.ephemeral_containers)


class ConfigMap(Reader, frozen=True):
    """A ConfigMap's keys; `binary_data` is base64 on the wire."""

    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, bytes] = msgspec.field(default_factory=dict)


class Secret(Reader, frozen=True):
    """A Secret's keys; base64 on the wire."""

    data: dict[str, bytes] = msgspec.field(default_factory=dict)


def find_sources(pod: PodManifest) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the ConfigMaps and of the Secrets that the Pod refers to."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for container in pod.every_container:
        for source in container.env_from:
            maps |= {source.config_map_ref.name} if source.config_map_ref else set()
            secrets |= {source.secret_ref.name} if source.secret_ref else set()
        for entry in container.env:
            origin = entry.value_from or EnvVarSource()
            maps |= {origin.config_map_key_ref.name} if origin.config_map_key_ref else set()
            secrets |= {origin.secret_key_ref.name} if origin.secret_key_ref else set()
    for volume in pod.spec.volumes:
        maps |= {volume.config_map.name} if volume.config_map else set()
        secrets |= {volume.secret.secret_name} if volume.secret else set()
        for part in volume.projected.sources if volume.projected else ():
            maps |= {part.config_map.name} if part.config_map else set()
            secrets |= {part.secret.name} if part.secret else set()
    return frozenset(maps), frozenset(secrets)


def spell_host_ip(host_ip: str) -> str:
    """The one spelling of an address. "", and what is no address (older servers let it in), stays as it is."""
    try:
        return str(ipaddress.ip_address(host_ip))
    except ValueError:
        return host_ip


HostPort = tuple[str, str, int]
"""Protocol, address in its one spelling, port."""


def list_host_ports(pod: PodManifest) -> tuple[HostPort, ...]:
    """Ports of the node that the Pod holds for as long as it runs; ordinary init containers hold none."""
    sidecars = (container for container in pod.spec.init_containers if container.is_sidecar)
    return tuple(
        (port.protocol or "TCP", spell_host_ip(port.host_ip), port.host_port)
        for container in (*sidecars, *pod.spec.containers)
        for port in container.ports
        if port.host_port
    )
