"""The EndpointSlices that mirror one Endpoints object, and the writes that lead there.

At most one slice for each address family and set of ports. Slices of the health checks' making are these very slices:
what is held down stays so, as long as the Service asks for checks (`healthcheck/held.py`).
Rule: spec "controllers" §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import msgspec

from seaway.api.endpoints.subsets import canonicalize_subsets
from seaway.api.endpoints.types import EndpointAddress, Endpoints, EndpointSubset
from seaway.api.endpointslice.types import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from seaway.api.machinery.addresses import find_address
from seaway.api.machinery.meta import ObjectMeta, OwnerReference, Reader
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.pack import EndpointKey, identify_endpoint, is_same_endpoint
from seaway.controllers.events.plan import Happening
from seaway.controllers.healthcheck.held import ANNOTATION_CHECK, ANNOTATION_HELD, hold, parse_held, render_held

MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
COMPONENT = "endpoint-slice-mirroring-controller"
"""The source of its Events."""
LABEL_SKIP = "endpointslice.kubernetes.io/skip-mirror"
ANNOTATION_LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_ADDRESSES = 1000
"""Of one subset; upstream's `--mirroring-max-endpoints-per-subset`."""

_NOT_MIRRORED = frozenset(
    ("endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration",
     ANNOTATION_HELD)
)  # fmt: skip
_MAX_NAME = 253

Json: TypeAlias = dict[str, Any]
SliceKey: TypeAlias = tuple[str, frozenset[EndpointPort]]
"""Address type and ports: what tells the slices of one Endpoints object apart."""


@dataclass(frozen=True, slots=True)
class MirrorWrite:
    """One slice as it should be. `replaces`: the slice whose name it takes; None makes a new one.

    A recycled slice replaces one of other content, whatever its version.
    """

    address_type: str
    ports: tuple[EndpointPort, ...]
    endpoints: tuple[Endpoint, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    replaces: EndpointSlice | None = None
    is_recycled: bool = False


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """The writes, to be applied in the order of the fields. `events`: what of the Endpoints is not mirrored.

    skipped: how many addresses that is.
    """

    create: tuple[MirrorWrite, ...] = ()
    update: tuple[MirrorWrite, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()
    events: tuple[Happening, ...] = ()
    skipped: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is to be written."""
        return not (self.create or self.update or self.delete)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The endpoints of one slice-to-be."""

    address_type: str
    ports: tuple[EndpointPort, ...]
    endpoints: tuple[Endpoint, ...]


def is_managed(slice_: EndpointSlice) -> bool:
    """The slice is this controller's to write."""
    return slice_.metadata.labels.get(LABEL_MANAGED_BY) == MANAGED_BY


def is_mirrorable(meta: ObjectMeta) -> bool:
    """The Endpoints object itself has nothing against it. Rule: spec "controllers" §4.1, points 2 and 3."""
    return meta.labels.get(LABEL_SKIP) != "true" and ANNOTATION_LEADER not in meta.annotations


def plan_mirror(
    endpoints: Endpoints | None,
    service: Service | None,
    existing: Iterable[EndpointSlice],
    *,
    max_addresses: int = MAX_ADDRESSES,
) -> MirrorPlan:
    """The writes that make the slices a mirror of the Endpoints; of what is not to be mirrored, no slice stays.

    service: the one of the same name; its type does not matter. existing: its slices that are `is_managed`, none being
    deleted. Neither is modified; a plan for its own result is empty. Rule: spec "controllers" §4.1, §4.4.
    """
    slices = sorted(existing, key=lambda s: s.metadata.name)
    if endpoints is None or service is None or service.spec.selector or not is_mirrorable(endpoints.metadata):
        return MirrorPlan(delete=tuple(slices))
    mirrored, events, skipped = make_mirrored(endpoints, max_addresses)
    checks = ANNOTATION_CHECK in service.metadata.annotations
    by_key: dict[SliceKey, list[EndpointSlice]] = {}
    for slice_ in slices:
        by_key.setdefault((slice_.address_type, frozenset(slice_.ports or ())), []).append(slice_)
    create: list[MirrorWrite] = []
    update: list[MirrorWrite] = []
    delete: list[EndpointSlice] = []
    for wanted in mirrored:
        found = by_key.pop((wanted.address_type, frozenset(wanted.ports)), [])
        writes = [_make_write(endpoints, wanted, slice_, checks) for slice_ in found]
        right = [w.replaces for w in writes if w.replaces is not None and _is_right(endpoints, w.replaces, w)]
        kept = right[0] if right else found[0] if found else None
        if not found:
            create.append(_make_write(endpoints, wanted, None, checks))
        elif not right:
            update.append(writes[0])
        delete += [slice_ for slice_ in found if slice_ is not kept]
    delete += [slice_ for rest in by_key.values() for slice_ in rest]
    create, recycled, delete = _recycle(create, sorted(delete, key=lambda s: s.metadata.name))
    if endpoints.metadata.deletion_timestamp is not None:
        create = []
    return MirrorPlan(tuple(create), tuple(update + recycled), tuple(delete), events, skipped)


def make_mirrored(endpoints: Endpoints, max_addresses: int) -> tuple[tuple[Mirrored, ...], tuple[Happening, ...], int]:
    """What each slice holds, in the order of canonical subsets, IPv4 first; what is said about the rest, how many.

    Rule: spec "controllers" §4.3.
    """
    mirrored: list[Mirrored] = []
    invalid = skipped = 0
    for subset in canonicalize_subsets(endpoints.subsets):
        by_type, counts = _mirror_subset(subset, max_addresses)
        invalid, skipped = invalid + counts[0], skipped + counts[1]
        ports = tuple(EndpointPort(p.name, p.protocol, p.port, p.app_protocol) for p in subset.ports)
        mirrored += [Mirrored(kind, ports, tuple(found.values())) for kind, found in sorted(by_type.items())]
    events: list[Happening] = []
    if invalid:
        text = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
        events.append(Happening(COMPONENT, "InvalidIPAddress", text))
    if skipped > invalid:
        text = f"A max of {max_addresses} addresses can be mirrored to EndpointSlices per Endpoints subset. "
        text += f"{skipped} addresses were skipped"
        events.append(Happening(COMPONENT, "TooManyAddressesToMirror", text))
    return tuple(mirrored), tuple(events), skipped


def render_labels(endpoints: Endpoints) -> dict[str, str]:
    """The labels of the slices. Those of the Endpoints that are the controller's own words are replaced.

    Rule: spec "controllers" §4.4. Compared whole, so that an Endpoints with a label `kubernetes.io/service-name` is not
    written again and again, as upstream's is.
    """
    return {
        **endpoints.metadata.labels,
        LABEL_SERVICE_NAME: endpoints.metadata.name,
        LABEL_MANAGED_BY: MANAGED_BY,
    }


def render_slice(about: ObjectMeta, write: MirrorWrite) -> Json:
    """The object to send; about: the Endpoints. Nothing else of a slice stays: it is a mirror.

    In place it names the version that was read, unlike upstream's: the health checks write these slices as well.
    Rule: spec "controllers" §4.4, §4.5.
    """
    meta: Json = {"namespace": about.namespace, "labels": dict(write.labels)}
    if write.replaces is None:
        prefix = f"{about.name}-"
        meta["generateName"] = prefix if len(prefix) <= _MAX_NAME else about.name
    else:
        meta["name"] = write.replaces.metadata.name
        if not write.is_recycled:
            meta["resourceVersion"] = write.replaces.metadata.resource_version
            meta["finalizers"] = list(write.replaces.metadata.finalizers)
    meta["annotations"] = dict(write.annotations)
    meta["ownerReferences"] = [_render(_owner(about))]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {key: value for key, value in meta.items() if value},
        "addressType": write.address_type,
        "ports": [_render(port) for port in write.ports],
        "endpoints": [_render(endpoint) for endpoint in write.endpoints],
    }


def _mirror_subset(
    subset: EndpointSubset, max_addresses: int
) -> tuple[dict[str, dict[EndpointKey, Endpoint]], tuple[int, int]]:
    """The endpoints by address type, ready ones first; and how many were no addresses, and how many left out in all.

    What one slice cannot tell apart is one endpoint, and not ready if one of them is not.
    """
    by_type: dict[str, dict[EndpointKey, Endpoint]] = {}
    accepted = invalid = 0
    marked = [(address, True) for address in subset.addresses]
    marked += [(address, False) for address in subset.not_ready_addresses]
    for address, is_ready in marked:
        if accepted == max_addresses:
            break
        parsed = find_address(address.ip)
        if parsed is None:
            invalid += 1
            continue
        accepted += 1
        endpoint = _make_endpoint(address, str(parsed.address), is_ready)
        by_type.setdefault(parsed.family.value, {})[identify_endpoint(endpoint)] = endpoint
    return by_type, (invalid, len(marked) - accepted)


def _make_endpoint(address: EndpointAddress, ip: str, is_ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(ip,),
        conditions=EndpointConditions(ready=is_ready),
        hostname=address.hostname or None,
        target_ref=address.target_ref,
        node_name=address.node_name or None,
    )


def _make_write(endpoints: Endpoints, wanted: Mirrored, old: EndpointSlice | None, checks: bool) -> MirrorWrite:
    """checks: what the old slice holds down stays down, as far as it is still wanted."""
    annotations = {k: v for k, v in endpoints.metadata.annotations.items() if k not in _NOT_MIRRORED}
    down = parse_held(old.metadata.annotations) if old is not None and checks else {}
    found, held = hold(wanted.endpoints, down)
    text = render_held(held)
    if text is not None:
        annotations[ANNOTATION_HELD] = text
    return MirrorWrite(wanted.address_type, wanted.ports, found, render_labels(endpoints), annotations, old)


def _is_right(endpoints: Endpoints, slice_: EndpointSlice, write: MirrorWrite) -> bool:
    """The slice says what would be written, in whatever order."""
    have = {key: value for key, value in slice_.metadata.annotations.items() if key not in _NOT_MIRRORED}
    want = {key: value for key, value in write.annotations.items() if key not in _NOT_MIRRORED}
    held = parse_held(slice_.metadata.annotations) if ANNOTATION_HELD in slice_.metadata.annotations else None
    keeps_held = held == (parse_held(write.annotations) if ANNOTATION_HELD in write.annotations else None)
    if have != want or slice_.metadata.labels != write.labels or not keeps_held:
        return False
    if not any(
        ref.uid == endpoints.metadata.uid and ref.kind == "Endpoints" for ref in slice_.metadata.owner_references
    ):
        return False
    return _are_same_endpoints(slice_.endpoints or (), write.endpoints)


def _are_same_endpoints(have: Sequence[Endpoint], want: Sequence[Endpoint]) -> bool:
    if len(have) != len(want):
        return False
    known = {identify_endpoint(endpoint): endpoint for endpoint in have}
    found = ((known.get(identify_endpoint(endpoint)), endpoint) for endpoint in want)
    return all(old is not None and is_same_endpoint(old, new) for old, new in found)


def _recycle(
    create: Sequence[MirrorWrite], delete: Sequence[EndpointSlice]
) -> tuple[list[MirrorWrite], list[MirrorWrite], list[EndpointSlice]]:
    """One update instead of a delete and a create of the same address type. Rule: spec "controllers" §4.4."""
    creating, recycled, deleting = list(create), list[MirrorWrite](), list[EndpointSlice]()
    for slice_ in delete:
        new = next((write for write in reversed(creating) if write.address_type == slice_.address_type), None)
        if new is None:
            deleting.append(slice_)
        else:
            creating.remove(new)
            recycled.append(replace(new, replaces=slice_, is_recycled=True))
    return creating, recycled, deleting


def _owner(meta: ObjectMeta) -> OwnerReference:
    return OwnerReference("v1", "Endpoints", meta.name, meta.uid, controller=True, block_owner_deletion=True)


def _render(value: Reader) -> Json:
    """The wire form without what is not set; false is set."""
    wire: Json = {}
    for key, inner in msgspec.to_builtins(value).items():
        if isinstance(inner, dict):
            inner = {name: word for name, word in inner.items() if word not in (None, "")}
        if inner is not None and inner != "" and inner != {}:
            wire[key] = inner
    return wire
