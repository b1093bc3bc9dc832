"""The ReplicaSets of a Deployment: which is the new one, what each is called and numbered, which are forgotten.

Rule: spec "controllers" §7.5.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.meta import ObjectMeta
from seaway.api.registry import DEPLOYMENTS
from seaway.controllers.workloads.podcontrol.ownership import make_controller_reference
from seaway.controllers.workloads.template import add_labels, compute_hash, without_label

Json = dict[str, Any]
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    )
)
"""Annotations of the Deployment that are about itself, or about one ReplicaSet only."""
MAX_HISTORY = 2000
"""Characters of the numbers that a ReplicaSet had before (upstream's)."""


@dataclass(frozen=True, slots=True)
class Family:
    """The ReplicaSets of one Deployment. `old`, oldest first, is all but `new`."""

    new: Json | None
    old: tuple[Json, ...]

    @property
    def all(self) -> tuple[Json, ...]:
        """The old ones, then the new one."""
        return (*self.old, self.new) if self.new is not None else self.old


def sort_family(deployment: Json, replica_sets: Iterable[Json]) -> Family:
    """The new one has the Deployment's template; of several the oldest."""
    ordered = sorted(replica_sets, key=age_key)
    wanted = without_label(deployment["spec"]["template"], HASH_LABEL)
    new = next((rs for rs in ordered if without_label(rs["spec"]["template"], HASH_LABEL) == wanted), None)
    return Family(new, tuple(rs for rs in ordered if rs is not new))


def age_key(rs: Json) -> tuple[str, str]:
    """The order of age, and of names among those of one second."""
    return rs["metadata"].get("creationTimestamp") or "", rs["metadata"]["name"]


def replicas_of(obj: Json) -> int:
    """How many its specification asks for."""
    return int(obj["spec"].get("replicas") or 0)


def count_in(obj: Json, field: str) -> int:
    """A count of its status."""
    return int((obj.get("status") or {}).get(field) or 0)


def read_revision(obj: Json) -> int:
    """The number of the template; 0 for none that can be read."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def read_count(rs: Json, annotation: str) -> int | None:
    """A count that an annotation keeps; None for none."""
    text = (rs["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def annotate_sizes(rs: Json, *, desired: int, maximum: int) -> Json:
    """The ReplicaSet that remembers for which size of the Deployment it was scaled; not modified."""
    return _annotate(rs, {DESIRED_REPLICAS: str(desired), MAX_REPLICAS: str(maximum)})


def number_new(deployment: Json, family: Family) -> Json | None:
    """The new ReplicaSet as it should be marked, or None when it is: the highest number, and the Deployment's words."""
    new = family.new
    assert new is not None
    highest = max((read_revision(rs) for rs in family.old), default=0) + 1
    marked, own = _copy_annotations(deployment, new), read_revision(new)
    if own < highest:
        annotations = {REVISION: str(highest)}
        if own:
            history = (new["metadata"].get("annotations") or {}).get(REVISION_HISTORY, "")
            numbers = [number for number in history.split(",") if number] + [str(own)]
            while len(",".join(numbers)) > MAX_HISTORY:
                numbers.pop(0)
            annotations[REVISION_HISTORY] = ",".join(numbers)
        marked = _annotate(marked, annotations)
    min_ready = deployment["spec"].get("minReadySeconds") or 0
    if (marked["spec"].get("minReadySeconds") or 0) != min_ready:
        marked = {**marked, "spec": {**marked["spec"], "minReadySeconds": min_ready}}
    return marked if marked != new else None


def render_replica_set(deployment: Json, family: Family, *, replicas: int, maximum: int) -> Json:
    """The ReplicaSet of the Deployment's template, as it is first created."""
    spec, meta = deployment["spec"], deployment["metadata"]
    template = without_label(spec["template"], HASH_LABEL)
    digest = compute_hash(template, count_in(deployment, "collisionCount"))
    template = add_labels(copy.deepcopy(template), {HASH_LABEL: digest})
    selector = copy.deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    made: Json = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": {**template["metadata"]["labels"]},
            "ownerReferences": [make_controller_reference(DEPLOYMENTS, ObjectMeta(name=meta["name"], uid=meta["uid"]))],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if min_ready := spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = min_ready
    number = max((read_revision(rs) for rs in family.all), default=0) + 1
    made = _annotate(_copy_annotations(deployment, made), {REVISION: str(number)})
    return annotate_sizes(made, desired=replicas_of(deployment), maximum=maximum)


def choose_forgotten(deployment: Json, old: Sequence[Json]) -> tuple[Json, ...]:
    """The old ReplicaSets beyond the history's limit that are empty and at rest, lowest number first."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    kept = [rs for rs in old if not rs["metadata"].get("deletionTimestamp")]
    surplus = 0 if limit is None else len(kept) - int(limit)
    candidates = sorted(kept, key=lambda rs: (read_revision(rs), age_key(rs)))[: max(surplus, 0)]
    return tuple(rs for rs in candidates if _is_at_rest(rs))


def _is_at_rest(rs: Json) -> bool:
    is_seen = count_in(rs, "observedGeneration") >= int(rs["metadata"].get("generation") or 0)
    return not replicas_of(rs) and not count_in(rs, "replicas") and is_seen


def _copy_annotations(deployment: Json, rs: Json) -> Json:
    annotations = deployment["metadata"].get("annotations") or {}
    return _annotate(rs, {key: value for key, value in annotations.items() if key not in _NOT_COPIED})


def _annotate(rs: Json, annotations: Json) -> Json:
    if not annotations:
        return rs
    meta = rs["metadata"]
    return {**rs, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), **annotations}}}
