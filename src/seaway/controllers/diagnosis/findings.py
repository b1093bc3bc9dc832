"""Why a Service leads nowhere, in words that name the nearest match. No rule of upstream's: it says nothing here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service, ServicePort
from seaway.controllers.diagnosis.nearest import find_nearest_labels, find_nearest_name
from seaway.controllers.endpointslice.endpoint import has_ended, list_serving_containers, resolve_ports
from seaway.controllers.events.plan import MAX_MESSAGE

ENDPOINTS_FOUND = "seaway.dev/EndpointsFound"
CLASS_SERVED = "seaway.dev/LoadBalancerClassServed"
"""Types of conditions. `True` is how it should be."""
LB_FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
"""A load-balancer controller has taken the Service up."""

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: the condition that is not true, and why."""

    condition: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the Service is compared with. `neighbours`: Pods of its namespace, not all if there are very many.

    elsewhere: how many Pods the selector would select, by other namespace. served_classes: how many Services of each
    load-balancer class have an address.
    """

    neighbours: Collection[Pod] = ()
    elsewhere: Mapping[str, int] | None = None
    served_classes: Mapping[str, int] | None = None


def needs_endpoints(service: Service) -> bool:
    """The Service finds its endpoints by a selector."""
    return service.spec.type != "ExternalName" and bool(service.spec.selector)


def needs_class(service: Service) -> bool:
    """The Service waits for a load-balancer controller of its class."""
    return service.spec.type == "LoadBalancer" and bool(service.spec.load_balancer_class)


def is_class_served(service: Service) -> bool:
    """A load-balancer controller has answered."""
    return bool(service.status.load_balancer.ingress) or LB_FINALIZER in service.metadata.finalizers


def has_endpoints(service: Service, selected: Iterable[Pod]) -> bool:
    """Some selected Pod serves each port; what `diagnose` would find nothing wrong with, at less cost."""
    alive = [pod for pod in selected if not has_ended(pod)]
    return bool(alive) and not _find_missing_ports(service, alive)


def diagnose(service: Service, selected: Collection[Pod], around: Surroundings) -> tuple[Finding, ...]:
    """What is wrong with the Service, at most one finding per condition.

    selected: the Pods that its selector selects, ended ones too.
    """
    found: list[Finding] = []
    if needs_endpoints(service):
        alive = [pod for pod in selected if not has_ended(pod)]
        missing = _find_missing_ports(service, alive)
        if not alive:
            message = _explain_selector(service, len(selected), around)
            found.append(Finding(ENDPOINTS_FOUND, "NoPodSelected", message[:MAX_MESSAGE]))
        elif missing:
            message = ". ".join(_explain_port(port, alive) for port in missing)
            found.append(Finding(ENDPOINTS_FOUND, "TargetPortNotFound", message[:MAX_MESSAGE]))
    if needs_class(service) and not is_class_served(service):
        message = _explain_class(service.spec.load_balancer_class or "", around.served_classes or {})
        found.append(Finding(CLASS_SERVED, "NoLoadBalancerController", message[:MAX_MESSAGE]))
    return tuple(found)


def _find_missing_ports(service: Service, pods: Collection[Pod]) -> list[ServicePort]:
    """Ports that lead to a name which no Pod has."""
    missing = {port.name: port for port in service.spec.ports if isinstance(port.target_port, str)}
    for pod in pods:
        if not missing:
            break
        for port in resolve_ports(service, pod):
            missing.pop(port.name, None)
    return list(missing.values())


def _explain_selector(service: Service, ended: int, around: Surroundings) -> str:
    selector = service.spec.selector
    wanted = f"no Pod has {_render_labels(selector.items())}"
    if ended:
        return f"{wanted} but {_count(ended)} that {'has' if ended == 1 else 'have'} ended"
    alive = [pod.metadata.labels for pod in around.neighbours if not has_ended(pod)]
    nearest = find_nearest_labels(selector, alive)
    if nearest is not None:
        labels, count = nearest
        return f"{wanted}; {_count(count)} {_have(count)} {_render_labels(labels)}"
    if around.elsewhere:
        namespace, count = max(sorted(around.elsewhere.items()), key=lambda item: item[1])
        return f"{wanted}; {_count(count)} of namespace {namespace} {_have(count)}"
    return wanted if alive else f"{wanted}; namespace {service.metadata.namespace} has no Pods"


def _explain_port(port: ServicePort, pods: Iterable[Pod]) -> str:
    names = Counter(
        (found.name, found.protocol)
        for pod in pods
        for found in {(p.name, p.protocol): p for c in list_serving_containers(pod) for p in c.ports if p.name}.values()
    )
    target = str(port.target_port)
    wanted = f"no selected Pod has a {port.protocol} port named {target}"
    for (name, protocol), count in sorted(names.items()):
        if name == target:
            return f"{wanted}; {_count(count)} {_have(count)} {name} for {protocol}"
    own = {name: count for (name, protocol), count in names.items() if protocol == port.protocol}
    nearest = find_nearest_name(target, own)
    if nearest is not None:
        return f"{wanted}; {_count(own[nearest])} {_have(own[nearest])} {nearest}"
    if not own:
        return f"{wanted}; no {port.protocol} port of theirs has a name"
    return f"{wanted}; they have {', '.join(sorted(own)[:_MAX_NAMED])}"


def _explain_class(name: str, served: Mapping[str, int]) -> str:
    wanted = f"no load-balancer controller has answered for class {name}"
    nearest = find_nearest_name(name, served)
    if nearest is not None and nearest != name:
        count = served[nearest]
        return f"{wanted}; {count} {'Service has' if count == 1 else 'Services have'} an address of class {nearest}"
    return f"{wanted}; classes with an address: {', '.join(sorted(served)[:_MAX_NAMED])}" if served else wanted


def _render_labels(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels))


def _count(count: int) -> str:
    return "1 Pod" if count == 1 else f"{count} Pods"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
