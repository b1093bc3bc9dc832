"""What one object uses of what quotas count, and which names quotas can count.

Every object of a namespace counts under `count/<plural>[.group]`; some kinds also under an older name, and Services,
claims and Pods by what they ask for. Events are never counted.
Rule: spec "service-api" §3.6; upstream's quota evaluators (pods: pkg/quota/v1/evaluator/core/pods.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from seaway.api.registry import (
    CONFIG_MAPS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    RESOURCES,
    SECRETS,
    SERVICES,
    Resource,
)
from seaway.api.service.defaults import needs_node_ports
from seaway.apiserver.quota.amounts import ONE, Amount, Amounts, add, at_least, count, parse_amounts

Json = Mapping[str, Any]
COMPUTE = ("cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory")
"""What every container of a Pod must say once a quota limits it."""
_STORAGE = ("ephemeral-storage", "limits.ephemeral-storage", "requests.ephemeral-storage")
_SHORT = ("cpu", "memory", "ephemeral-storage")
"""Requests of these count under their bare name as well."""
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_PLAIN = (CONFIG_MAPS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, SECRETS)
_KINDS = tuple(kind for kind in RESOURCES if kind.namespaced and kind.storage is not EVENTS and kind.stored_as is None)


def count_name(resource: Resource) -> str:
    """`count/services`, `count/deployments.apps`."""
    return f"count/{resource.plural}.{resource.group}" if resource.group else f"count/{resource.plural}"


_FIXED: dict[str, Resource] = {
    **{count_name(kind): kind for kind in _KINDS if kind is not EVENTS},
    **{kind.plural: kind for kind in (*_PLAIN, SERVICES, PODS, PERSISTENT_VOLUME_CLAIMS)},
    **dict.fromkeys(("services.loadbalancers", "services.nodeports"), SERVICES),
    **dict.fromkeys((*COMPUTE, *_STORAGE), PODS),
    "requests.storage": PERSISTENT_VOLUME_CLAIMS,
}
_BY_NUMBER = {count_name(kind): kind for kind in _KINDS if kind is not EVENTS}
_BY_NUMBER |= {kind.plural: kind for kind in (*_PLAIN, SERVICES, PERSISTENT_VOLUME_CLAIMS)}


def find_counted(name: str) -> Resource | None:
    """The kind whose objects the name counts, or None: nothing does."""
    found = _FIXED.get(name)
    if found is None and name.endswith((f"{_CLASS_SUFFIX}requests.storage", f"{_CLASS_SUFFIX}persistentvolumeclaims")):
        return PERSISTENT_VOLUME_CLAIMS
    if found is None and (name.startswith(("hugepages-", "requests.hugepages-")) or _is_extended(name)):
        return PODS
    return found


def find_numbered(name: str) -> Resource | None:
    """The kind of which the name counts the objects themselves, whatever is in them; None for all other names."""
    return _BY_NUMBER.get(name)


def _is_extended(name: str) -> bool:
    """`requests.example.com/gpu`."""
    bare = name.removeprefix("requests.")
    return bare != name and "/" in bare and "kubernetes.io/" not in bare


def measure(resource: Resource, obj: Json) -> dict[str, Amount]:
    """What the object, which is as it is stored, uses."""
    found = {count_name(resource): ONE}
    more = _MEASURES.get(resource.plural) if not resource.group else None
    if more is not None:
        found |= more(obj)
    return found


def _measure_service(service: Json) -> dict[str, Amount]:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    number = 0
    if needs_node_ports(spec):
        number = len(ports)
    elif spec.get("type") == "LoadBalancer":
        number = sum(1 for port in ports if port.get("nodePort"))
    balanced = count(1 if spec.get("type") == "LoadBalancer" else 0)
    return {"services": ONE, "services.nodeports": count(number), "services.loadbalancers": balanced}


def _measure_claim(claim: Json) -> dict[str, Amount]:
    spec, annotations = claim.get("spec") or {}, claim["metadata"].get("annotations") or {}
    asked = parse_amounts((spec.get("resources") or {}).get("requests"))
    found = {"persistentvolumeclaims": ONE}
    storage = {"requests.storage": asked["storage"]} if "storage" in asked else {}
    class_name = annotations.get(_CLASS_ANNOTATION) or spec.get("storageClassName")
    if class_name:
        own = {"persistentvolumeclaims": ONE, **storage}
        found |= {f"{class_name}{_CLASS_SUFFIX}{name}": amount for name, amount in own.items()}
    return found | storage


def _measure_pod(pod: Json) -> dict[str, Amount]:
    """Nothing of what a Pod asks for is in use once it has ended."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return {}
    spec = pod.get("spec") or {}
    requests, limits = (gather(spec, side) for side in ("requests", "limits"))
    return {"pods": ONE, **_name_compute(requests, limits)}


def _name_compute(requests: Amounts, limits: Amounts) -> dict[str, Amount]:
    """Requests and limits under the names that quotas have for them."""
    found: dict[str, Amount] = {}
    for name, amount in requests.items():
        if name in _SHORT or name.startswith("hugepages-"):
            found[name] = amount
        if name in _SHORT or name.startswith("hugepages-") or "/" in name:
            found[f"requests.{name}"] = amount
    return found | {f"limits.{name}": amount for name, amount in limits.items() if name in _SHORT}


def gather(spec: Json, side: str) -> dict[str, Amount]:
    """What a Pod needs on one side ("requests", "limits"): what the containers ask for together, or any init container
    while it runs; and what the Pod itself needs.

    An init container that goes on (restartPolicy Always) counts with the containers, and with what starts after it.
    """
    together = _sum(_side(container, side) for container in spec.get("containers") or ())
    staying: dict[str, Amount] = {}
    highest: dict[str, Amount] = {}
    for container in spec.get("initContainers") or ():
        own = _side(container, side)
        if container.get("restartPolicy") == "Always":
            staying = add(staying, own)
            own = staying
        else:
            own = add(staying, own)
        highest = at_least(highest, own)
    found = at_least(add(together, staying), highest)
    found |= _side(spec, side)  # of the whole Pod: it goes before the sum
    overhead = parse_amounts(spec.get("overhead"))
    return add(found, {name: amount for name, amount in overhead.items() if side == "requests" or name in found})


def _side(holder: Json, side: str) -> dict[str, Amount]:
    return parse_amounts((holder.get("resources") or {}).get(side))


def _sum(parts: Iterable[Amounts]) -> dict[str, Amount]:
    total: dict[str, Amount] = {}
    for part in parts:
        total = add(total, part)
    return total


def find_unsaid(pod: Json, names: Iterable[str]) -> str:
    """`must specify cpu for: a,b; memory for: b`: what containers do not say though a quota limits it; or "".

    names: of the quota. A Pod that says it for all its containers together need not say it for each.
    """
    spec = pod.get("spec") or {}
    needed = sorted(set(names) & set(COMPUTE))
    whole = _name_compute(_side(spec, "requests"), _side(spec, "limits"))
    holders: dict[str, set[str]] = {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        said = _name_compute(_side(container, "requests"), _side(container, "limits"))
        for name in needed:
            if name not in said and name not in whole:
                holders.setdefault(name, set()).add(str(container.get("name")))
    parts = [f"{name} for: {','.join(sorted(holders[name]))}" for name in sorted(holders)]
    return f"must specify {'; '.join(parts)}" if parts else ""


_MEASURES: dict[str, Callable[[Json], dict[str, Amount]]] = {
    **{kind.plural: lambda obj, name=kind.plural: {name: ONE} for kind in _PLAIN},  # type: ignore[misc]
    SERVICES.plural: _measure_service,
    PERSISTENT_VOLUME_CLAIMS.plural: _measure_claim,
    PODS.plural: _measure_pod,
}
