"""ControllerRevisions: what the template of a DaemonSet or a StatefulSet was before.

Rule: upstream's controller history; `kubectl rollout undo` applies a revision's data as a strategic merge patch.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from seaway.api.registry import Resource
from seaway.controllers.workloads.podcontrol.ownership import make_controller_reference, read_meta
from seaway.controllers.workloads.template import compute_hash

Json = dict[str, Any]
HASH_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class History:
    """`current` is the revision of the template as it is: one that exists, one with a new number, or one to create.

    old: the others, lowest number first.
    """

    current: Json
    old: tuple[Json, ...] = ()
    is_new: bool = False
    is_renumbered: bool = False

    @property
    def all(self) -> tuple[Json, ...]:
        """Every revision, the current one last."""
        return (*self.old, self.current)


def render_data(owner: Json) -> Json:
    """What a revision keeps: the template, as a patch that replaces it."""
    return {"spec": {"template": {**copy.deepcopy(owner["spec"]["template"]), "$patch": "replace"}}}


def plan_history(owner: Json, resource: Resource, revisions: Sequence[Json]) -> History:
    """The owner's revisions with the current one among them. Nothing is modified."""
    ordered = sorted(revisions, key=_order)
    data = render_data(owner)
    same = [revision for revision in ordered if revision.get("data") == data]
    if not same:
        number = _number(ordered[-1]) + 1 if ordered else 1
        return History(_render(owner, resource, data, number), tuple(ordered), is_new=True)
    current = same[-1]
    old = tuple(revision for revision in ordered if revision is not current)
    if old and _number(current) <= _number(old[-1]):
        return History({**current, "revision": _number(old[-1]) + 1}, old, is_renumbered=True)
    return History(current, old)


def hash_of(revision: Json) -> str:
    """The short text in the revision's name."""
    label: str = (revision["metadata"].get("labels") or {}).get(HASH_LABEL, "")
    return label


def choose_forgotten(history: History, live: Collection[str], limit: int | None) -> tuple[str, ...]:
    """The names of old revisions beyond the limit, lowest number first.

    live: the names or hashes that some Pod still has; those stay, and do not count.
    """
    unused = [r for r in history.old if r["metadata"]["name"] not in live and hash_of(r) not in live]
    surplus = max(0, len(unused) - limit) if limit is not None else 0
    return tuple(revision["metadata"]["name"] for revision in unused[:surplus])


def _render(owner: Json, resource: Resource, data: Json, number: int) -> Json:
    meta = read_meta(owner)
    digest = compute_hash(data, int((owner.get("status") or {}).get("collisionCount") or 0))
    labels = {**((owner["spec"]["template"].get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    made: Json = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{meta.name}-{digest}",
            "namespace": meta.namespace,
            "labels": labels,
            "ownerReferences": [make_controller_reference(resource, meta)],
        },
        "data": data,
        "revision": number,
    }
    if meta.annotations:
        made["metadata"]["annotations"] = {**meta.annotations}
    return made


def _number(revision: Json) -> int:
    return int(revision.get("revision") or 0)


def _order(revision: Json) -> tuple[int, str, str]:
    meta = revision["metadata"]
    return _number(revision), meta.get("creationTimestamp") or "", meta["name"]
