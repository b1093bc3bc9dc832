"""What the agent tells in numbers, under the kubelet's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from seaway.node.state import PodState
from seaway.telemetry.metrics import Metrics

ReadStates = Callable[[], Iterable[PodState]]


def make_figures(read_states: ReadStates) -> Metrics:
    """read_states: of the Pods of the node, as they are when somebody asks."""
    metrics = Metrics()
    pods = metrics.gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
    pods.read(lambda: float(sum(state.sandbox is not None for state in read_states())))
    containers = metrics.gauge("kubelet_running_containers", "Number of containers, by state", "container_state")
    containers.read(lambda: count_containers(read_states(), running=True), "running")
    containers.read(lambda: count_containers(read_states(), running=False), "exited")
    return metrics


def count_containers(states: Iterable[PodState], *, running: bool) -> float:
    """Those that run, or those that ran and do not run now."""
    return float(
        sum(
            container.is_running if running else container.has_ended
            for state in states
            for container in state.containers.values()
        )
    )
