"""Which Services select a Pod, and which Pods a Service selects, without looking at all of either.

One for all loops that follow Pods: it must hear of a change before they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.client.index import Change, Index
from seaway.controllers.endpointslice.endpoint import has_ended, is_selected, project_pod

Label: TypeAlias = str
"""A namespace and one label, as one text: there are as many as Pods, and tuples are three times the size."""
LabelSet: TypeAlias = str
"""A namespace, and all labels of a Pod in order, one a line."""


class PodsByLabels:
    """The Pods of a cache by what they are labelled with."""

    def __init__(self, pods: Mapping[str, Pod]) -> None:
        self._pods = pods
        self._pods_by_labels: Index[Pod, LabelSet] = Index(lambda pod: (_label_set(pod),))
        self._sets_by_label: Index[LabelSet, Label] = Index(_split_labels)
        self._sets_by_namespace: Index[LabelSet, str] = Index(lambda labels: (_namespace_of(labels),))

    def apply(self, change: Change[Pod]) -> None:
        """A Pod of the cache has changed.

        A set of labels is there while some Pod has it: Pods of one workload are alike, and cost one entry each.
        """
        old, new = change.old, change.new
        if old is not None and new is not None and old.metadata.labels == new.metadata.labels:
            return
        added = _label_set(new) if new is not None else None
        if added is not None and not self._pods_by_labels.get(added):
            self._apply_set(Change(added, None, added))
        self._pods_by_labels.apply(change)
        removed = _label_set(old) if old is not None else None
        if removed is not None and not self._pods_by_labels.get(removed):
            self._apply_set(Change(removed, removed, None))

    def _apply_set(self, change: Change[LabelSet]) -> None:
        self._sets_by_label.apply(change)
        self._sets_by_namespace.apply(change)

    @property
    def namespaces(self) -> Collection[str]:
        """Those that have Pods."""
        return self._sets_by_namespace.values()

    def find_pods(self, namespace: str, matches: Callable[[Mapping[str, str]], bool]) -> Iterator[Pod]:
        """The Pods of the namespace whose labels match. Labels that many have are looked at once."""
        for labels in self._sets_by_namespace.get(namespace):
            if matches(_parse_labels(labels)):
                for key in self._pods_by_labels.get(labels):
                    yield self._pods[key]

    def count_pods(self, namespace: str, selector: Mapping[str, str]) -> int:
        """How many Pods of the namespace have the labels."""
        return sum(len(self._pods_by_labels.get(labels)) for labels in self._find_sets(namespace, selector))

    def select_pods(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        """The Pods of the namespace that have the labels, found through the rarest."""
        found = self._find_sets(namespace, selector)
        return [self._pods[key] for labels in found for key in self._pods_by_labels.get(labels)]

    def _find_sets(self, namespace: str, selector: Mapping[str, str]) -> list[LabelSet]:
        wanted = {_label(namespace, key, value) for key, value in selector.items()}
        rarest = min((self._sets_by_label.get(label) for label in wanted), key=len, default=())
        return [labels for labels in rarest if wanted.issubset(_split_labels(labels))]


class Selection:
    """The Services of a cache by what they select, beside the Pods. Every answer is a set of keys, or Pods."""

    def __init__(self, services: Mapping[str, Service], pods: PodsByLabels) -> None:
        self._services, self.pods = services, pods
        self._services_by_label: Index[Service, Label] = Index(_first_selector_label)

    def apply_service(self, change: Change[Service]) -> None:
        """A Service of the cache has changed."""
        self._services_by_label.apply(change)

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

    def select_pods(self, service: Service) -> list[Pod]:
        """The Pods that the Service selects."""
        return self.pods.select_pods(service.metadata.namespace, service.spec.selector)


def _first_selector_label(service: Service) -> Iterable[Label]:
    """One label is enough to find the Service: a Pod that it selects has them all."""
    selector = service.spec.selector
    if not selector or service.spec.type == "ExternalName":
        return ()
    key = min(selector)
    return (_label(service.metadata.namespace, key, selector[key]),)


def _label(namespace: str, key: str, value: str) -> Label:
    """Neither names nor labels hold an end of a line, and keys no equals sign."""
    return f"{namespace}\n{key}={value}"


def _label_set(pod: Pod) -> LabelSet:
    pairs = sorted(pod.metadata.labels.items())
    return "\n".join((pod.metadata.namespace, *(f"{key}={value}" for key, value in pairs)))


def _namespace_of(labels: LabelSet) -> str:
    return labels.partition("\n")[0]


def _parse_labels(labels: LabelSet) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in labels.split("\n")[1:])
    return {key: value for key, _, value in pairs}


def _split_labels(labels: LabelSet) -> list[Label]:
    namespace, *pairs = labels.split("\n")
    return [f"{namespace}\n{pair}" for pair in pairs]


def _pod_labels(pod: Pod) -> Iterable[Label]:
    return [_label(pod.metadata.namespace, key, value) for key, value in pod.metadata.labels.items()]
