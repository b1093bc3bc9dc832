"""The objects that a server makes for itself: namespaces with their default account, roles and bindings.

Who added to a role or a binding of ours keeps what was added; what we need and is missing is put back, unless the
annotation says that the object is somebody's own now.
Rule: spec "api-machinery" §8.3 (namespaces), §10.2 (accounts), §10.4 (roles).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from seaway.api.namespace.objects import make_default_account, make_root_ca
from seaway.api.registry import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    PRIORITY_CLASSES,
    SERVICE_ACCOUNTS,
    Resource,
)
from seaway.apiserver.access.aggregation import plan_aggregation
from seaway.apiserver.access.escalation import find_missing
from seaway.apiserver.access.policyrules import RBAC
from seaway.apiserver.access.rbac import parse_rules
from seaway.apiserver.access.roles import AGGREGATED, BINDINGS, ROLE_LABELS, ROLE_RULES, make_aggregation_rule
from seaway.apiserver.admission.classes import make_system_classes
from seaway.apiserver.builtin.kubernetes_service import ObjectWrite
from seaway.apiserver.record import Record, decode_object, encode_object

Json = dict[str, Any]
Find = Callable[[Resource, str, str], Record | None]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_ACCOUNTS_NAMESPACE = "kube-system"


def make_rbac_objects() -> list[tuple[Resource, Json]]:
    """Every bootstrap role and binding, sorted by kind and name. Gathering roles come filled."""
    roles = [_make_role(name) for name in sorted({*ROLE_RULES, *AGGREGATED})]
    filled = {role["metadata"]["name"]: role for role in plan_aggregation(roles)}
    objects = [(CLUSTER_ROLES, filled.get(role["metadata"]["name"], role)) for role in roles]
    return objects + [(CLUSTER_ROLE_BINDINGS, _make_binding(name, BINDINGS[name])) for name in sorted(BINDINGS)]


def plan_rbac(find: Find) -> list[ObjectWrite]:
    """What is missing of them. An object that is as this server made it is not even decoded."""
    writes = []
    for resource, wanted in make_rbac_objects():
        name = wanted["metadata"]["name"]
        record = find(resource, "", name)
        if record is None:
            writes.append(ObjectWrite(resource, "", name, wanted))
        elif not _is_as_made(record, wanted):
            mended = _mend(decode_object(record.body), wanted)
            if mended is not None:
                writes.append(ObjectWrite(resource, "", name, mended))
    return writes


def _is_as_made(record: Record, wanted: Json) -> bool:
    """Everything after the metadata is byte for byte what would be written."""
    labels = wanted["metadata"]["labels"]
    rest = encode_object({key: wanted[key] for key in wanted if key not in ("kind", "apiVersion", "metadata")})
    return record.body.endswith(b"}," + rest[1:]) and labels.items() <= record.labels.items()


def _mend(existing: Json, wanted: Json) -> Json | None:
    """The object with what it lacks, None when it lacks nothing or is not ours any more."""
    meta, wanted_meta = existing["metadata"], wanted["metadata"]
    annotations = meta.get("annotations") or {}
    if annotations.get(AUTOUPDATE) == "false":
        return None
    mended = {**existing, "metadata": {**meta}}
    mended["metadata"]["labels"] = {**(meta.get("labels") or {}), **wanted_meta["labels"]}
    mended["metadata"]["annotations"] = {**annotations, **wanted_meta["annotations"]}
    if "aggregationRule" in wanted:
        mended["aggregationRule"] = wanted["aggregationRule"]
    elif "rules" in wanted:
        held = parse_rules(existing.get("rules"))
        missing = [rule for rule in wanted["rules"] if find_missing(parse_rules([rule]), held)]
        mended["rules"] = [*(existing.get("rules") or ()), *missing]
    else:
        subjects = existing.get("subjects") or []
        mended["subjects"] = [*subjects, *(subject for subject in wanted["subjects"] if subject not in subjects)]
    return None if mended == existing else mended


def make_namespace(name: str) -> Json:
    """A Namespace as a client would create it."""
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def plan_priority_classes(find: Find) -> list[Json]:
    """The classes of priority that are missing. One that is there is left as it is."""
    return [obj for obj in make_system_classes() if find(PRIORITY_CLASSES, "", obj["metadata"]["name"]) is None]


def make_first_objects(namespace: str, *, ca_pem: str) -> list[tuple[Resource, Json]]:
    """What a namespace is born with. Without a CA to tell of (a server without TLS), the account alone."""
    found: list[tuple[Resource, Json]] = [(SERVICE_ACCOUNTS, make_default_account(namespace))]
    return [*found, (CONFIG_MAPS, make_root_ca(namespace, ca_pem))] if ca_pem else found


def _make_role(name: str) -> Json:
    role = _head("ClusterRole", name, ROLE_LABELS.get(name, {}))
    if name in AGGREGATED:
        return {**role, "aggregationRule": make_aggregation_rule(name), "rules": []}
    return {**role, "rules": ROLE_RULES[name]}


def _make_binding(name: str, subjects: Iterable[tuple[str, str]]) -> Json:
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    listed = [_make_subject(kind, subject) for kind, subject in subjects]
    return {**_head("ClusterRoleBinding", name, {}), "subjects": listed, "roleRef": reference}


def _make_subject(kind: str, name: str) -> Json:
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": _ACCOUNTS_NAMESPACE}
    return {"kind": kind, "apiGroup": RBAC, "name": name}


def _head(kind: str, name: str, labels: dict[str, str]) -> Json:
    return {
        "kind": kind,
        "apiVersion": f"{RBAC}/v1",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels},
            "annotations": {AUTOUPDATE: "true"},
        },
    }
