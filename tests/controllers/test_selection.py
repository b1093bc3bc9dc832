"""Law: what the selection finds is what a look at every Service and Pod finds. Rule: spec "controllers" §1.1."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.client.index import Change
from seaway.controllers.endpointslice.endpoint import is_selected
from seaway.controllers.selection import PodsByLabels, Selection
from seaway.testing.builders import make_pod, make_service

Json = dict[str, Any]
_NAMES, _NAMESPACES = st.sampled_from("abcd"), st.sampled_from(["x", "y"])
_LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from("12"), max_size=2)
_TYPES = st.sampled_from(["ClusterIP", "ExternalName"])


def make_one_service(name: str, namespace: str, selector: Json, type_: str) -> Service:
    return msgspec.convert(make_service(name, namespace, selector=selector, type=type_), Service)


def make_one_pod(name: str, namespace: str, labels: Json, ready: bool, node: str) -> Pod:
    raw = make_pod(name, namespace, ip="10.0.0.1", labels=labels, ready=ready, nodeName=node)
    return msgspec.convert(raw, Pod)


_SERVICES = st.builds(make_one_service, _NAMES, _NAMESPACES, _LABELS, _TYPES)
_PODS = st.builds(make_one_pod, _NAMES, _NAMESPACES, _LABELS, st.booleans(), st.sampled_from(["n1", "n2"]))
_STEPS = st.lists(st.tuples(st.one_of(_SERVICES, _PODS), st.booleans()), max_size=25)


def find_slowly(services: dict[str, Service], pod: Pod | None) -> set[str]:
    if pod is None:
        return set()
    return {
        key
        for key, service in services.items()
        if service.spec.type != "ExternalName"
        and service.metadata.namespace == pod.metadata.namespace
        and is_selected(service.spec.selector, pod.metadata.labels)
    }


@given(_STEPS)
def test_it_finds_what_a_look_at_everything_finds(steps: list[tuple[Service | Pod, bool]]) -> None:
    services: dict[str, Service] = {}
    pods: dict[str, Pod] = {}
    by_labels = PodsByLabels(pods)
    selection = Selection(services, by_labels)
    for obj, is_deletion in steps:
        key = f"{obj.metadata.namespace}/{obj.metadata.name}"
        if isinstance(obj, Service):
            selection.apply_service(take(services, key, None if is_deletion else obj))
            continue
        change = take(pods, key, None if is_deletion else obj)
        by_labels.apply(change)
        both = find_slowly(services, change.old), find_slowly(services, change.new)
        affected = selection.find_affected(change)
        assert both[0] ^ both[1] <= affected <= both[0] | both[1]
        if change.old is not None and change.new is not None and change.old.is_ready != change.new.is_ready:
            assert affected == both[0] | both[1]
        selecting = selection.find_selecting(change)
        assert both[0] ^ both[1] <= selecting <= both[0] | both[1]
    for service in services.values():
        found = [pod.metadata.name for pod in selection.select_pods(service)]
        namespace, selector = service.metadata.namespace, service.spec.selector
        wanted = [
            pod.metadata.name
            for pod in pods.values()
            if pod.metadata.namespace == namespace and is_selected(selector, pod.metadata.labels)
        ]
        assert sorted(found) == sorted(wanted)
        assert by_labels.count_pods(namespace, selector) == len(wanted)
    for namespace in ("x", "y"):
        there = [pod for pod in pods.values() if pod.metadata.namespace == namespace]
        assert (namespace in by_labels.namespaces) == bool(there)
        chosen = by_labels.find_pods(namespace, lambda labels: "app" in labels)
        assert {id(pod) for pod in chosen} == {id(pod) for pod in there if "app" in pod.metadata.labels}
        assert len(list(by_labels.find_pods(namespace, lambda labels: True))) == len(there)


def take(objects: dict[str, Any], key: str, new: Any) -> Change[Any]:
    change = Change(key, objects.pop(key, None), new)
    if new is not None:
        objects[key] = new
    return change
