"""The EndpointSlices that a Service should have, and the writes that lead there.

Rule: spec "controllers" §1.2 to §1.11, §2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from seaway.api.endpointslice.types import LABEL_MANAGED_BY, Endpoint, EndpointPort, EndpointSlice
from seaway.api.endpointslice.weights import ANNOTATION_WEIGHTS
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.node.types import LABEL_ZONE, Node
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.endpoint import choose_families, is_eligible, make_endpoint, resolve_ports
from seaway.controllers.endpointslice.hints import (
    Hinted,
    Hinting,
    Refused,
    choose_hinting,
    hint_by_preference,
    hint_by_topology,
    remove_hints,
)
from seaway.controllers.endpointslice.pack import EndpointKey, identify_endpoint, pack_endpoints
from seaway.controllers.endpointslice.render import MANAGED_BY, SliceWrite, list_free_labels, render_labels
from seaway.controllers.endpointslice.topology import NOTHING, Remembered, Topology
from seaway.controllers.endpointslice.weights import list_weights, render_weights
from seaway.controllers.events.plan import Happening
from seaway.net.family import Family

COMPONENT = "endpoint-slice-controller"
"""The source of its Events."""
MAX_ENDPOINTS = 100
"""Per slice; upstream's `--max-endpoints-per-slice`."""

PortMap: TypeAlias = frozenset[EndpointPort]
MadeOf: TypeAlias = tuple[tuple[str, str], tuple[str, str], str | None]
"""UID and version of a Pod and of its Service, and the zone of its node: what an endpoint depends on."""
Memo: TypeAlias = MutableMapping[tuple[str, Family], tuple[MadeOf, Endpoint | None]]


@dataclass(frozen=True, slots=True)
class SliceCounts:
    """For metrics. `desired_slices` is what the endpoints would need if each were filled. Rule: §1.14."""

    added: int = 0
    removed: int = 0
    desired_endpoints: int = 0
    desired_slices: int = 0
    actual_slices: int = 0


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """The writes, to be applied in the order of the fields; a deletion only when all before it succeeded.

    skipped: a line for each Pod whose node does not exist. events: what became of hints, told as often as planned.
    remembered: for the next plan of the Service.
    """

    create: tuple[SliceWrite, ...] = ()
    update: tuple[SliceWrite, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()
    skipped: tuple[str, ...] = ()
    events: tuple[Happening, ...] = ()
    remembered: Remembered = NOTHING
    counts: SliceCounts = SliceCounts()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be written."""
        return not (self.create or self.update or self.delete)


def is_managed(slice_: EndpointSlice) -> bool:
    """The slice is this controller's to write."""
    return slice_.metadata.labels.get(LABEL_MANAGED_BY) == MANAGED_BY


def plan_slices(
    service: Service,
    pods: Iterable[Pod],
    nodes: Mapping[str, Node],
    existing: Iterable[EndpointSlice],
    *,
    topology: Topology | None = None,
    remembered: Remembered | None = None,
    max_endpoints: int = MAX_ENDPOINTS,
    memo: Memo | None = None,
) -> SlicePlan:
    """The writes that make the Service's slices what they should be; none for a Service without selector.

    pods: those that the selector selects. existing: the Service's slices that `is_managed`, none being deleted.
    topology, remembered: only for hints by zones' CPU; None: no node is known, nothing is remembered.
    memo: keeps endpoints of Pods that have not changed; it alone is modified.
    A plan for its own result is empty. Rule: spec "controllers" §1.2, §1.9.
    """
    remembered = remembered or NOTHING
    if service.spec.type == "ExternalName" or not service.spec.selector:
        return SlicePlan(remembered=remembered)
    memo = {} if memo is None else memo
    slices = sorted(existing, key=lambda s: s.metadata.name)
    eligible, skipped = _choose_pods(service, pods, nodes)
    weights = list_weights(eligible)
    families = choose_families(service)
    served = [family.value for family in families]
    total = _Draft(delete=[s for s in slices if s.address_type not in served])
    events: list[Happening] = []
    remembered = remembered.keep(served)
    for family in families:
        ours = [s for s in slices if s.address_type == family.value]
        groups = _group_endpoints(service, eligible, nodes, family, memo)
        draft = _plan_family(service, family, groups, ours, max_endpoints)
        told, remembered = _hint_family(service, family, draft, topology or Topology(), remembered)
        events += told
        _weigh(service, draft, weights)
        total.add(draft)
    create, recycled, delete = _recycle(service, total.create, total.delete)
    if service.metadata.deletion_timestamp is not None:
        create = []
    counts = replace(total.counts, actual_slices=len(slices) + len(create) - len(delete))
    updates = (*total.update, *recycled)
    return SlicePlan(tuple(create), updates, tuple(delete), skipped, tuple(events), remembered, counts)


def _choose_pods(service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node]) -> tuple[list[Pod], tuple[str, ...]]:
    """The Pods that become endpoints, by name, and a line for each that its missing node keeps out."""
    chosen: list[Pod] = []
    skipped: list[str] = []
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    for pod in sorted(pods, key=lambda p: p.metadata.name):
        if not is_eligible(pod):
            continue
        if pod.spec.node_name in nodes or service.spec.publish_not_ready_addresses:
            chosen.append(pod)
        else:
            node = pod.spec.node_name
            skipped.append(f"skipping Pod {pod.metadata.name} for Service {key}: Node {node} Not Found")
    return chosen, tuple(skipped)


@dataclass(frozen=True, slots=True)
class _Group:
    """The endpoints of one set of resolved ports; those of Pods without an address of the family are missing."""

    ports: tuple[EndpointPort, ...]
    endpoints: dict[EndpointKey, Endpoint]


def _group_endpoints(
    service: Service, pods: Sequence[Pod], nodes: Mapping[str, Node], family: Family, memo: Memo
) -> dict[PortMap, _Group]:
    has_named_port = any(isinstance(port.target_port, str) for port in service.spec.ports)
    groups: dict[PortMap, _Group] = {}
    group: _Group | None = None
    for pod in pods:
        if group is None or has_named_port:
            ports = resolve_ports(service, pod)
            group = groups.setdefault(frozenset(ports), _Group(ports, {}))
        endpoint = _recall_endpoint(service, pod, nodes.get(pod.spec.node_name), family, memo)
        if endpoint is not None:
            group.endpoints[identify_endpoint(endpoint)] = endpoint
    return groups


def _recall_endpoint(service: Service, pod: Pod, node: Node | None, family: Family, memo: Memo) -> Endpoint | None:
    """The endpoint, made anew only when one of the objects that it depends on is another."""
    key = (pod.metadata.name, family)
    made_of = (_version(pod.metadata), _version(service.metadata), _find_zone(node))
    known = memo.get(key)
    if known is not None and known[0] == made_of:
        return known[1]
    endpoint = make_endpoint(service, pod, node, family)
    memo[key] = (made_of, endpoint)
    return endpoint


def _version(meta: ObjectMeta) -> tuple[str, str]:
    return meta.uid, meta.resource_version


def _find_zone(node: Node | None) -> str | None:
    return None if node is None else node.metadata.labels.get(LABEL_ZONE, "")


@dataclass(slots=True)
class _Draft:
    """What is to become of the slices of an address type, before hints and before recycling."""

    create: list[SliceWrite] = field(default_factory=list)
    update: list[SliceWrite] = field(default_factory=list)
    unchanged: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)
    counts: SliceCounts = SliceCounts()

    def add(self, other: _Draft) -> None:
        """Take in what another address type needs."""
        self.create += other.create
        self.update += other.update
        self.delete += other.delete
        mine, more = self.counts, other.counts
        self.counts = SliceCounts(
            mine.added + more.added,
            mine.removed + more.removed,
            mine.desired_endpoints + more.desired_endpoints,
            mine.desired_slices + more.desired_slices,
        )


def _plan_family(
    service: Service,
    family: Family,
    groups: Mapping[PortMap, _Group],
    existing: Sequence[EndpointSlice],
    max_endpoints: int,
) -> _Draft:
    """What to create, update and delete among the slices of one address type."""
    labels = render_labels(service)
    free_labels = list_free_labels(service.metadata)
    owned: dict[PortMap, list[EndpointSlice]] = {}
    draft = _Draft()
    for slice_ in existing:
        ports = frozenset(slice_.ports or ())
        if _is_owned(service, slice_) and ports in groups:
            owned.setdefault(ports, []).append(slice_)
        else:
            draft.delete.append(slice_)
    added, removed = 0, sum(len(slice_.endpoints or ()) for slice_ in draft.delete)
    for key, group in sorted(groups.items(), key=lambda item: _sort_ports(item[1].ports)):
        packing = pack_endpoints(
            owned.get(key, ()),
            group.endpoints,
            max_endpoints=max_endpoints,
            needs_rewrite=lambda slice_: list_free_labels(slice_.metadata) != free_labels,
        )
        draft.create += [SliceWrite(family.value, group.ports, found, labels) for found in packing.create]
        draft.update += [SliceWrite(family.value, group.ports, found, labels, s) for s, found in packing.update]
        draft.delete += packing.delete
        draft.unchanged += packing.unchanged
        added, removed = added + packing.added, removed + packing.removed
    if not (draft.create or draft.update or draft.unchanged):
        _keep_placeholder(service, family, draft, labels)
    sizes = [len(group.endpoints) for group in groups.values()]
    needed = max(1, sum(-(-size // max_endpoints) for size in sizes))
    draft.counts = SliceCounts(added, removed, sum(sizes), needed)
    return draft


def _keep_placeholder(service: Service, family: Family, draft: _Draft, labels: Mapping[str, str]) -> None:
    """Without endpoints there is one empty slice: consumers tell "none" from "not yet". Rule: §1.10.

    Upstream keeps one only if it is the single slice; of several, one is as good.
    """
    found = (s for s in draft.delete if _is_owned(service, s) and _is_placeholder(s, labels))
    placeholder = next(found, None)
    if placeholder is None:
        draft.create.append(SliceWrite(family.value, (), (), labels))
    else:
        draft.delete.remove(placeholder)


def _hint_family(
    service: Service, family: Family, draft: _Draft, topology: Topology, remembered: Remembered
) -> tuple[list[Happening], Remembered]:
    """Gives the draft its hints; what is to be told, and what is remembered from now on. Rule: §2.1."""
    written = [write.endpoints for write in (*draft.create, *draft.update)]
    unchanged = [slice_.endpoints or () for slice_ in draft.unchanged]
    hinting = choose_hinting(service)
    if hinting is Hinting.TOPOLOGY:
        found = hint_by_topology(topology, written, unchanged)
        if isinstance(found, Refused):
            _apply_hints(service, draft, remove_hints(written, unchanged))
            told = [_tell(family, "TopologyAwareHintsDisabled", found.reason), _tell_dropped(family, found.arithmetic)]
            return told, remembered.forget(family.value)
        _apply_hints(service, draft, found)
        news = "Topology Aware Hints has been enabled"
        told = [] if remembered.is_enabled else [_tell(family, "TopologyAwareHintsEnabled", news, type_="Normal")]
        return told, remembered.remember(family.value, found.allocated)
    told = []
    if remembered.is_enabled:
        told.append(_tell(family, "TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled"))
    if hinting is Hinting.NONE:
        hinted = remove_hints(written, unchanged)
    else:
        hinted = hint_by_preference(hinting, written, unchanged)
    _apply_hints(service, draft, hinted)
    lacking, ready = hinted.unhinted
    if lacking:
        told.append(
            _tell_dropped(
                family, f"{lacking} of {ready} ready endpoints have no zone, and hints count only if all have"
            )
        )
    return told, NOTHING


def _apply_hints(service: Service, draft: _Draft, hinted: Hinted) -> None:
    creating = len(draft.create)
    writes = [*draft.create, *draft.update]
    writes = [replace(write, endpoints=found) for write, found in zip(writes, hinted.written, strict=True)]
    draft.create, draft.update = writes[:creating], writes[creating:]
    labels = render_labels(service) if hinted.taken_up else {}
    for position, endpoints in hinted.taken_up.items():
        slice_ = draft.unchanged[position]
        draft.update.append(SliceWrite(slice_.address_type, slice_.ports or (), endpoints, labels, slice_))
    draft.unchanged = [s for position, s in enumerate(draft.unchanged) if position not in hinted.taken_up]


def _weigh(service: Service, draft: _Draft, weights: Mapping[str, int]) -> None:
    """Gives the draft its weights. weights: by the uid of the Pod."""
    if weights:
        draft.create = [replace(w, weights=render_weights(w.endpoints, weights)) for w in draft.create]
        draft.update = [replace(w, weights=render_weights(w.endpoints, weights)) for w in draft.update]
    kept: list[EndpointSlice] = []
    for slice_ in draft.unchanged:
        wanted = render_weights(slice_.endpoints or (), weights) if weights else None
        if slice_.metadata.annotations.get(ANNOTATION_WEIGHTS) == wanted:
            kept.append(slice_)
            continue
        endpoints, labels = slice_.endpoints or (), render_labels(service)
        draft.update.append(SliceWrite(slice_.address_type, slice_.ports or (), endpoints, labels, slice_, wanted))
    draft.unchanged = kept


def _tell(family: Family, reason: str, text: str, *, type_: str = "Warning") -> Happening:
    """An Event about the hints of one address type, each of which has Events of its own."""
    return Happening(COMPONENT, reason, f"{text}, addressType: {family.value}", type_, series=family.value)


def _tell_dropped(family: Family, arithmetic: str) -> Happening:
    """Why, in numbers: upstream's words for it are too few, or none."""
    return _tell(family, "TopologyHintsDropped", f"Topology hints are dropped: {arithmetic}")


def _recycle(
    service: Service, create: Sequence[SliceWrite], delete: Sequence[EndpointSlice]
) -> tuple[list[SliceWrite], list[SliceWrite], list[EndpointSlice]]:
    """One update instead of a delete and a create. Slices of another owner are being collected, and are left alone.

    Rule: spec "controllers" §1.11, but for one thing: upstream looks at the last slice to be created alone, and writes
    twice when that one is of another family.
    """
    creating, recycled, deleting = list(create), list[SliceWrite](), list[EndpointSlice]()
    for slice_ in delete:
        fitting = [number for number, new in enumerate(creating) if new.address_type == slice_.address_type]
        if fitting and _is_owned(service, slice_):
            recycled.append(replace(creating.pop(fitting[-1]), replaces=slice_, is_recycled=True))
        else:
            deleting.append(slice_)
    return creating, recycled, deleting


def _is_owned(service: Service, slice_: EndpointSlice) -> bool:
    return any(
        ref.uid == service.metadata.uid and ref.kind == "Service" and ref.api_version == "v1"
        for ref in slice_.metadata.owner_references
    )


def _is_placeholder(slice_: EndpointSlice, labels: Mapping[str, str]) -> bool:
    return not slice_.ports and not slice_.endpoints and slice_.metadata.labels == labels


def _sort_ports(ports: Iterable[EndpointPort]) -> list[tuple[str, str, int]]:
    return sorted((port.name, port.protocol, port.port or 0) for port in ports)
