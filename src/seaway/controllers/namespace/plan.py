"""The default objects of a namespace, and the steps of its termination.

Rule: spec "controllers" §7.1, §7.2, spec "api-machinery" §8.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seaway.api.configmap.types import ConfigMap
from seaway.api.namespace.objects import ANNOTATION_DESCRIPTION, make_default_account, make_root_ca
from seaway.api.namespace.types import Namespace

FINALIZER = "kubernetes"
FINALIZER_SECONDS = 15 // 2 + 1
"""Before a look at contents that wait for somebody's finalizer (upstream: estimate / 2 + 1, estimate 15)."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DefaultsPlan:
    """What a namespace lacks. Each is the object to send, or None."""

    create_service_account: Json | None = None
    create_config_map: Json | None = None
    update_config_map: Json | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What is left of one kind in a namespace. `plural` is `pods`, or `leases.coordination.k8s.io`."""

    plural: str
    count: int
    terminating: int = 0
    finalizers: Mapping[str, int] | None = None
    grace_seconds: int = 0
    gvr: str = ""
    """Group, version and plural as upstream's texts have them: `/v1, Resource=services`."""


@dataclass(frozen=True, slots=True)
class TerminationPlan:
    """`delete`: the kinds whose collections are to be deleted now. `is_empty`: the namespace may go.

    stuck: why it cannot go on, for what nobody's finalizer explains; "" when there is nothing but waiting.
    """

    delete: tuple[str, ...] = ()
    is_empty: bool = False
    conditions: tuple[Json, ...] = ()
    requeue_after_seconds: float | None = None
    stuck: str = ""


def is_terminating(namespace: Namespace) -> bool:
    """Deletion has begun."""
    return namespace.metadata.deletion_timestamp is not None or namespace.status.phase == "Terminating"


def plan_defaults(
    namespace: Namespace, *, has_service_account: bool, config_map: ConfigMap | None, ca_pem: str
) -> DefaultsPlan:
    """The default objects that an Active namespace lacks, or that somebody changed.

    Rule: spec "controllers" §7.2.
    """
    if is_terminating(namespace):
        return DefaultsPlan()
    name = namespace.metadata.name
    account, wanted = make_default_account(name), make_root_ca(name, ca_pem)
    is_right = config_map is not None and (
        config_map.data == wanted["data"] and bool(config_map.metadata.annotations.get(ANNOTATION_DESCRIPTION))
    )
    return DefaultsPlan(
        create_service_account=None if has_service_account else account,
        create_config_map=wanted if config_map is None else None,
        update_config_map=wanted if config_map is not None and not is_right else None,
    )


def plan_termination(
    contents: Sequence[Content], failures: Sequence[str] = (), *, unknown: Sequence[str] = ()
) -> TerminationPlan:
    """What to do next with what is left in a terminating namespace: Pods first, and nothing else while one remains.

    contents: every kind, also those of which nothing is left. failures: texts of deletions that were refused.
    unknown: groups of which the server could not tell the kinds; the namespace cannot go while there may be more in it.
    A kind of which everything is being deleted already is only waited for.
    """
    left = sorted((c for c in contents if c.count), key=lambda c: c.plural)
    pods = [c for c in left if c.plural == "pods"]
    delete = tuple(c.plural for c in pods or left if c.terminating < c.count)
    waits: list[float] = [max(c.grace_seconds, 1) for c in pods]
    if any(c.finalizers for c in left):
        waits.append(FINALIZER_SECONDS)
    trouble = [*unknown, *failures]
    return TerminationPlan(
        delete=delete,
        is_empty=not left and not trouble,
        conditions=_render_conditions([] if pods else left, failures, unknown),
        requeue_after_seconds=min(waits) if waits else None,
        stuck="; ".join(trouble),
    )


def find_unexplained(namespace: str, contents: Sequence[Content]) -> tuple[str, ...]:
    """The texts for kinds that were deleted and are still there, with no Pod and no finalizer to wait for.

    contents: as they were seen after the deletion was accepted. Rule: spec "controllers" §7.1 (2).
    """
    return tuple(
        f"unexpected items still remain in namespace: {namespace} for gvr: {content.gvr or content.plural}"
        for content in sorted(contents, key=lambda c: c.plural)
        if content.count and content.plural != "pods" and not content.finalizers
    )


def merge_conditions(existing: Sequence[Json], wanted: Sequence[Json], wall_now: str) -> list[Json]:
    """The wanted conditions; one whose status has not changed keeps the time of its transition. Not modified."""
    times = {(c.get("type"), c.get("status")): c.get("lastTransitionTime") for c in existing}
    return [{**c, "lastTransitionTime": times.get((c["type"], c["status"])) or wall_now} for c in wanted]


def _render_conditions(left: Sequence[Content], failures: Sequence[str], unknown: Sequence[str]) -> tuple[Json, ...]:
    remaining = [f"{_qualify(c.plural)} has {c.count} resource instances" for c in left]
    finalizers: dict[str, int] = {}
    for content in left:
        for name, count in (content.finalizers or {}).items():
            finalizers[name] = finalizers.get(name, 0) + count
    held = [f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())]
    rows = (
        ("NamespaceDeletionDiscoveryFailure", "DiscoveryFailed", "ResourcesDiscovered",
         "All resources successfully discovered",
         unknown and f"Discovery failed for some groups, {len(unknown)} failing: {'; '.join(unknown)}"),
        ("NamespaceDeletionGroupVersionParsingFailure", "", "ParsedGroupVersions",
         "All legacy kube types successfully parsed", ""),
        ("NamespaceDeletionContentFailure", "ContentDeletionFailed", "ContentDeleted",
         "All content successfully deleted, may be waiting on finalization",
         failures and f"Failed to delete all resource types, {len(failures)} remaining: {', '.join(failures)}"),
        ("NamespaceContentRemaining", "SomeResourcesRemain", "ContentRemoved", "All content successfully removed",
         remaining and f"Some resources are remaining: {', '.join(remaining)}"),
        ("NamespaceFinalizersRemaining", "SomeFinalizersRemain", "ContentHasNoFinalizers",
         "All content-preserving finalizers finished",
         held and f"Some content in the namespace has finalizers remaining: {', '.join(held)}"),
    )  # fmt: skip
    return tuple(
        {
            "type": kind,
            "status": "True" if found else "False",
            "reason": bad if found else good,
            "message": found or good_text,
        }
        for kind, bad, good, good_text, found in rows
    )


def _qualify(plural: str) -> str:
    """`services` is `services.` in the texts: the group of the core is empty."""
    return plural if "." in plural else f"{plural}."
