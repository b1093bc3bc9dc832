"""Pod as controllers and DNS see it. Rule: data/ (types), spec "controllers" §1.3-1.5 (who reads what)."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader


class ContainerPort(Reader, frozen=True):
    name: str = ""
    container_port: int = 0
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "TCP"


class Container(Reader, frozen=True):
    name: str = ""
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""


class PodSchedulingGate(Reader, frozen=True):
    name: str = ""


class PodSpec(Reader, frozen=True):
    node_name: str = ""
    node_selector: dict[str, str] = {}
    scheduler_name: str = "default-scheduler"
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class PodCondition(Reader, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    last_transition_time: str | None = None


class PodIP(Reader, frozen=True):
    ip: str = ""


class ContainerStateTerminated(Reader, frozen=True):
    exit_code: int = 0
    finished_at: str | None = None


class ContainerState(Reader, frozen=True):
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Reader, frozen=True):
    name: str = ""
    restart_count: int = 0
    state: ContainerState = ContainerState()


class PodStatus(Reader, frozen=True):
    phase: str = ""
    reason: str = ""
    start_time: str | None = None
    conditions: tuple[PodCondition, ...] = ()
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        """The Ready condition is True."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
