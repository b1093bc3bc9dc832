"""Which Services select a Pod, and which Pods a Service selects, without looking at all of either.

One for all loops that follow Pods: it must hear of a change before they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.client.index import Change, Index
from seaway.controllers.endpointslice.endpoint import has_ended, is_selected, project_pod

Label: TypeAlias = tuple[str, str, str]
"""Namespace, key, value."""


class Selection:
    """The Services and Pods of two caches, by label. Every answer is a set of keys or the objects behind them."""

    def __init__(self, services: Mapping[str, Service], pods: Mapping[str, Pod]) -> None:
        self._services, self._pods = services, pods
        self._services_by_label: Index[Service, Label] = Index(_first_selector_label)
        self._pods_by_label: Index[Pod, Label] = Index(_pod_labels)

    def apply_service(self, change: Change[Service]) -> None:
        """A Service of the cache has changed."""
        self._services_by_label.apply(change)

    def apply_pod(self, change: Change[Pod]) -> None:
        """A Pod of the cache has changed."""
        self._pods_by_label.apply(change)

    def find_services(self, pod: Pod | None) -> set[str]:
        """The keys of the Services that select the Pod; none for None."""
        if pod is None:
            return set()
        candidates = (key for label in _pod_labels(pod) for key in self._services_by_label.get(label))
        return {key for key in candidates if is_selected(self._services[key].spec.selector, pod.metadata.labels)}

    def find_affected(self, change: Change[Pod]) -> set[str]:
        """The keys of the Services whose endpoints the change may alter.

        Rule: spec "controllers" §1.1: what endpoints depend on has changed, or only which Services select the Pod.
        """
        before, after = project_pod(change.old), project_pod(change.new)
        if before is None and after is None:
            return set()
        selected_before = self.find_services(change.old) if before is not None else set()
        selected_after = self.find_services(change.new) if after is not None else set()
        return selected_before | selected_after if before != after else selected_before ^ selected_after

    def find_selecting(self, change: Change[Pod]) -> set[str]:
        """The keys of the Services that select the Pod before or after, if its labels, its spec or its end changed."""
        old, new = change.old, change.new
        if old is not None and new is not None:
            same_labels = old.metadata.labels == new.metadata.labels
            if same_labels and old.spec == new.spec and has_ended(old) == has_ended(new):
                return set()
        return self.find_services(old) | self.find_services(new)

    def count_pods(self, namespace: str, selector: Mapping[str, str]) -> int:
        """How many Pods of the namespace have the labels."""
        return len(self._select(namespace, selector))

    def select_pods(self, service: Service) -> list[Pod]:
        """The Pods that the Service selects, found through its rarest label."""
        return self._select(service.metadata.namespace, service.spec.selector)

    def _select(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        sets = [self._pods_by_label.get((namespace, key, value)) for key, value in selector.items()]
        rarest = min(sets, key=len, default=())
        pods = (self._pods[key] for key in rarest)
        return [pod for pod in pods if is_selected(selector, pod.metadata.labels)]


def _first_selector_label(service: Service) -> Iterable[Label]:
    """One label is enough to find the Service: a Pod that it selects has them all."""
    selector = service.spec.selector
    if not selector or service.spec.type == "ExternalName":
        return ()
    key = min(selector)
    return ((service.metadata.namespace, key, selector[key]),)


def _pod_labels(pod: Pod) -> Iterable[Label]:
    return [(pod.metadata.namespace, key, value) for key, value in pod.metadata.labels.items()]
