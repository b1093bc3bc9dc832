"""The numbers are those of the Pods as they are."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from seaway.node.figures import make_figures
from seaway.node.state import ContainerRun, ContainerState, PodState, Sandbox
from seaway.telemetry.exposition import render_families
from tests.node.manifests import NOW


def make_state(*codes: int | None, has_sandbox: bool = True) -> PodState:
    """A Pod with a container for each exit code; None for one that runs."""
    containers = {}
    for number, code in enumerate(codes):
        name = f"c{number}"
        run = ContainerRun(uid="a", name=name, attempt=0, container_id=name, started_at=NOW)
        run = run if code is None else replace(run, finished_at=NOW, exit_code=code)
        containers[name] = ContainerState(name=name, current=run)
    return PodState(
        containers=MappingProxyType(containers), sandbox=Sandbox("a", ("10.244.0.2",)) if has_sandbox else None
    )


def test_sandboxes_and_containers_are_counted_when_somebody_asks() -> None:
    states: list[PodState] = []
    figures = make_figures(lambda: states)

    def told() -> list[str]:
        return [line for line in render_families(figures.collect()).decode().splitlines() if not line.startswith("#")]

    assert told() == [
        'kubelet_running_containers{container_state="exited"} 0',
        'kubelet_running_containers{container_state="running"} 0',
        "kubelet_running_pods 0",
    ]
    states += [make_state(None, None, 1), make_state(0, has_sandbox=False), PodState()]
    assert told() == [
        'kubelet_running_containers{container_state="exited"} 2',
        'kubelet_running_containers{container_state="running"} 2',
        "kubelet_running_pods 1",
    ]
