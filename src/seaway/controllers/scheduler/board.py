"""Nodes with what lies on them, kept from change to change: the cost of placing a Pod does not grow with the Pods.

What enters: Nodes, Pods, Namespaces and Services as they change, and what has been decided but is not seen yet.
What leaves: per node, what is used and taken; per group of Pods, how many are on each node.

1. A Pod lies on the node that it names, whether the node is known or not, until it has ended.
2. A tally is made when first asked for, and follows every change from then on. Law: it equals one counted anew.
3. Nothing here waits, asks or decides.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import msgspec

from seaway.api.machinery.selectors import LabelSelector, Operator, Requirement
from seaway.api.node.types import LABEL_ZONE, Node
from seaway.api.pod.resources import CPU, MEMORY, measure_all
from seaway.api.service.types import Service
from seaway.client.sharing import Pool
from seaway.controllers.scheduler.pod import HostPort, Likeness, PlacedPod, PodTerm, Wants, read_likeness

Label: TypeAlias = tuple[str, str, str]
"""Namespace, key, value."""
Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""A Service's selector, in order."""
SCORED_DEFAULTS = MappingProxyType({CPU: 100, MEMORY: 200 * 1024 * 1024})
"""What a Pod that asks for nothing counts as when nodes are compared, never when they are filtered: upstream's."""
MAX_TALLIES = 2000
MAX_JUDGED = 200


class Judgement(NamedTuple):
    """What a node is to all Pods that ask for the same, as long as the node does not change."""

    obstacles: tuple[str, ...]
    filter: str
    avoided: int
    preferred: int


class Lying(msgspec.Struct, frozen=True, gc=False):
    """A Pod that lies on a node."""

    node_name: str
    like: Likeness


class Row:
    """A node, and what lies on it. `capacity` None: the node has not said what it has, and nothing limits it."""

    __slots__ = ("capacity", "judged", "name", "node", "pods", "ports", "scored", "used", "zone")

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None
        self.capacity: dict[str, int] | None = None
        self.zone = ""
        self.used: Counter[str] = Counter()
        self.scored: Counter[str] = Counter()
        self.ports: Counter[HostPort] = Counter()
        self.pods = 0
        self.judged: dict[Wants, Judgement] = {}

    @property
    def labels(self) -> Mapping[str, str]:
        return self.node.metadata.labels if self.node is not None else {}

    def take_node(self, node: Node | None) -> None:
        self.node = node
        self.judged.clear()
        self.zone = self.labels.get(LABEL_ZONE, "")
        allocatable = node.status.allocatable if node is not None else {}
        self.capacity = measure_all(allocatable) if allocatable else None

    def count(self, wants: Wants, sign: int) -> None:
        self.pods += sign
        for name, amount in wants.requests:
            self.used[name] += sign * amount
        for name, amount in scored_requests(wants).items():
            self.scored[name] += sign * amount
        for port in wants.ports:
            self.ports[port] += sign
            if not self.ports[port]:
                del self.ports[port]


def scored_requests(wants: Wants) -> dict[str, int]:
    """Cpu and memory as they count when nodes are compared: nobody weighs nothing."""
    return {**SCORED_DEFAULTS, **{name: amount for name, amount in wants.requests if name in (CPU, MEMORY)}}


class Group(NamedTuple):
    """Pods that are counted together: those that match all terms."""

    terms: tuple[PodTerm, ...]
    counts_ending: bool = True


class Board:
    """All nodes, by name. Everything handed out is a view that lives until the next change."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.far: dict[PodTerm, Counter[str]] = {}
        """The anti-affinities of Pods that lie somewhere: how often on which node."""
        self.preferring: dict[PodTerm, Counter[str]] = {}
        """The same of what such Pods would rather have near or far."""
        self._known: dict[str, Row] = {}
        self._pods: dict[str, dict[str, Lying]] = {}
        """By namespace, then by key."""
        self._pool = Pool()
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._services: dict[Label, tuple[str, ...]] = {}
        self._pairs_of: dict[str, Pairs] = {}
        self._tallies: OrderedDict[Group, Counter[str]] = OrderedDict()
        self._scopes: dict[str, dict[Group, None]] = {}
        self._owners: dict[str, Counter[str]] = {}

    @property
    def nodes(self) -> Mapping[str, Row]:
        """The rows whose node is known."""
        return self._known

    def put_node(self, node: Node) -> None:
        """The node is there, or has changed."""
        row = self._row(node.metadata.name)
        row.take_node(node)
        self._known[row.name] = row

    def drop_node(self, name: str) -> None:
        """The node is gone; its Pods may stay."""
        self._row(name).take_node(None)
        self._known.pop(name, None)
        self._drop_empty(name)

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """The namespace has these labels."""
        if self._namespaces.get(name) != labels:
            self._namespaces[name] = labels
            for group in [g for g in self._tallies if any(t.namespace_selector is not None for t in g.terms)]:
                self._forget(group)

    def drop_namespace(self, name: str) -> None:
        """The namespace is gone."""
        self._namespaces.pop(name, None)

    def put_service(self, key: str, service: Service | None) -> None:
        """The Service is there or has changed; None: it is gone."""
        before = self._pairs_of.pop(key, None)
        if before is not None:
            label = (_namespace_of(key), *before[0])
            left = tuple(other for other in self._services.pop(label) if other != key)
            if left:
                self._services[label] = left
        if service is not None and service.spec.selector and service.spec.type != "ExternalName":
            pairs = self._pairs_of[key] = tuple(sorted(service.spec.selector.items()))
            label = (_namespace_of(key), *pairs[0])
            self._services[label] = (*self._services.get(label, ()), key)

    def put_pod(self, key: str, pod: PlacedPod) -> None:
        """The Pod lies on the node that it names now; where it was before does not matter."""
        if not pod.node_name or pod.has_ended:
            self.drop_pod(key)
            return
        new = self._pool.share(Lying(pod.node_name, read_likeness(pod)))
        if self.find_pod(key) == new:
            return
        self.drop_pod(key)
        self._pods.setdefault(_namespace_of(key), {})[key] = new
        self._count(new, 1)

    def drop_pod(self, key: str) -> None:
        """The Pod lies nowhere."""
        namespace = _namespace_of(key)
        mine = self._pods.get(namespace, {})
        pod = mine.pop(key, None)
        if pod is None:
            return
        if not mine:
            del self._pods[namespace]
        self._count(pod, -1)
        self._drop_empty(pod.node_name)

    def find_pod(self, key: str) -> Lying | None:
        """The Pod, if it lies somewhere."""
        return self._pods.get(_namespace_of(key), {}).get(key)

    def tally(self, group: Group) -> Mapping[str, int]:
        """How many Pods of the group lie on which node; nodes without any are left out."""
        found = self._tallies.get(group)
        if found is None:
            found = self._tallies[group] = self._count_group(group)
            self._scopes.setdefault(_scope_of(group), {})[group] = None
            if len(self._tallies) > MAX_TALLIES:
                self._forget(next(iter(self._tallies)))
        else:
            self._tallies.move_to_end(group)
        return found

    def count_siblings(self, pod: PlacedPod) -> Mapping[str, int]:
        """How many Pods of the same owner, or of the Services that select the Pod if it has none, are on which node."""
        meta = pod.metadata
        if pod.owner:
            return self._owners.get(pod.owner, {})
        labels = [(meta.namespace, *pair) for pair in meta.labels.items()]
        selectors = (_make_selector(self._pairs_of[key]) for label in labels for key in self._services.get(label, ()))
        found = [selector for selector in selectors if selector.matches(meta.labels)]
        namespaces = frozenset((meta.namespace,))
        total: Counter[str] = Counter()
        for selector in dict.fromkeys(found):
            total.update(self.tally(Group((PodTerm("", selector, namespaces),), counts_ending=False)))
        return total

    def matches(self, term: PodTerm, pod: PlacedPod) -> bool:
        """The term means the Pod. Rule: namespaces by name or by label; a missing selector selects nothing."""
        return self._means(term, pod.metadata.namespace, pod.metadata.labels)

    def _means(self, term: PodTerm, namespace: str, labels: Mapping[str, str]) -> bool:
        if namespace not in term.namespaces:
            by_label = term.namespace_selector
            if by_label is None or not by_label.matches(self._namespaces.get(namespace, {})):
                return False
        return term.selector is not None and term.selector.matches(labels)

    def _row(self, name: str) -> Row:
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = Row(name)
        return row

    def _drop_empty(self, name: str) -> None:
        row = self.rows.get(name)
        if row is not None and row.node is None and not row.pods:
            del self.rows[name]

    def _count(self, pod: Lying, sign: int) -> None:
        name, like = pod.node_name, pod.like
        self._row(name).count(like.wants, sign)
        for kept, terms in ((self.far, like.wants.far), (self.preferring, like.wants.preferred_pods)):
            for term in terms:
                _add(kept.setdefault(term, Counter()), name, sign)
                if not kept[term]:
                    del kept[term]
        owner = like.owner
        if owner and not like.is_ending:
            _add(self._owners.setdefault(owner, Counter()), name, sign)
            if not self._owners[owner]:
                del self._owners[owner]
        for scope in (like.namespace, ""):
            for group in self._scopes.get(scope, ()):
                if self._is_of(group, like):
                    _add(self._tallies[group], name, sign)

    def _forget(self, group: Group) -> None:
        del self._tallies[group]
        scope = _scope_of(group)
        del self._scopes[scope][group]
        if not self._scopes[scope]:
            del self._scopes[scope]

    def _is_of(self, group: Group, like: Likeness) -> bool:
        if like.is_ending and not group.counts_ending:
            return False
        labels = dict(like.labels)
        return all(self._means(term, like.namespace, labels) for term in group.terms)

    def _count_group(self, group: Group) -> Counter[str]:
        return Counter(pod.node_name for pod in self._candidates(group) if self._is_of(group, pod.like))

    def _candidates(self, group: Group) -> Iterable[Lying]:
        """The Pods in the namespaces that one term names, or all."""
        named = (term.namespaces for term in group.terms if term.namespace_selector is None)
        for namespace in next(named, self._pods.keys()):
            yield from self._pods.get(namespace, {}).values()


def _make_selector(pairs: Pairs) -> LabelSelector:
    """Made when it is asked for: of ten thousand Services few select a Pod without an owner."""
    return LabelSelector(tuple(Requirement(key, Operator.IN, frozenset((value,))) for key, value in pairs))


def _namespace_of(key: str) -> str:
    return key.partition("/")[0]


def _scope_of(group: Group) -> str:
    """Where to look for a group when a Pod changes: the one namespace that it names, or "" for all."""
    for term in group.terms:
        if term.namespace_selector is None and len(term.namespaces) == 1:
            return next(iter(term.namespaces))
    return ""


def _add(counts: Counter[str], name: str, sign: int) -> None:
    counts[name] += sign
    if not counts[name]:
        del counts[name]
