"""Nobody hands out more rights than they hold. Rule: spec "api-machinery" §10.4 (writes of roles and bindings)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from seaway.api.machinery.errors import ApiError, make_invalid, make_not_found
from seaway.api.machinery.field import invalid
from seaway.api.machinery.http import Identity
from seaway.api.registry import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from seaway.apiserver.access.rbac import MASTERS, Attributes, Policy, Rule, make_forbidden, parse_rules

Json = dict[str, Any]
_BINDINGS = (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS)
_ROLES = (CLUSTER_ROLES, ROLES)
GRANTING = frozenset((*_BINDINGS, *_ROLES))
"""The kinds whose writes are judged."""


def check_escalation(
    read_policy: Callable[[], Policy], identity: Identity, resource: Resource, obj: Json, old: Json | None
) -> None:
    """Raises Forbidden when the write grants what the writer does not hold, Invalid when a binding changes its role.

    read_policy: called only where it matters; each write of a role makes the next policy a new one.
    """
    if resource in _BINDINGS:
        _check_role_reference(resource, obj, old)
    if MASTERS in identity.groups:
        return
    if resource in _ROLES:
        _check_role(read_policy(), identity, resource, obj, old)
    elif resource in _BINDINGS:
        _check_binding(read_policy(), identity, resource, obj, old)


def _check_role(policy: Policy, identity: Identity, resource: Resource, obj: Json, old: Json | None) -> None:
    """Nobody writes rules that they do not hold; what gathers the rules of others needs all rights there are."""
    if old is not None and all(old.get(field) == obj.get(field) for field in ("rules", "aggregationRule")):
        return
    meta = obj["metadata"]
    namespace, name = meta.get("namespace", ""), meta.get("name", "")
    if policy.decide(identity, Attributes("escalate", resource.group, resource.plural, "", namespace, name)).allowed:
        return
    held, problems = policy.rules_of(identity, namespace)
    if (obj.get("aggregationRule") or (old or {}).get("aggregationRule")) and find_missing(_EVERYTHING, held):
        why = "must have cluster-admin privileges to use the aggregationRule"
        raise make_forbidden(resource.group, resource.plural, name, why)
    missing = find_missing(parse_rules(obj.get("rules")), held)
    if missing:
        raise _make_refusal(identity, resource, name, missing, problems)


def _check_binding(policy: Policy, identity: Identity, resource: Resource, obj: Json, old: Json | None) -> None:
    if old is not None and old.get("subjects") == obj.get("subjects"):
        return
    meta, role = obj["metadata"], obj.get("roleRef") or {}
    namespace, kind, role_name = meta.get("namespace", ""), role.get("kind", ""), role.get("name", "")
    plural = "clusterroles" if kind == "ClusterRole" else "roles"
    if policy.decide(identity, Attributes("bind", resource.group, plural, "", namespace, role_name)).allowed:
        return
    granted = policy.find_rules(kind, role_name, namespace)
    if granted is None:  # a role that comes later would grant what nobody has looked at
        raise make_not_found(plural, resource.group, role_name)
    held, problems = policy.rules_of(identity, namespace)
    missing = find_missing(granted, held)
    if missing:
        raise _make_refusal(identity, resource, meta.get("name", ""), missing, problems)


def _check_role_reference(resource: Resource, obj: Json, old: Json | None) -> None:
    if old is not None and old.get("roleRef") != obj.get("roleRef"):
        error = invalid("roleRef", obj.get("roleRef"), "cannot change roleRef")
        raise make_invalid(resource.kind, resource.group, obj["metadata"]["name"], [error])


def find_missing(granted: Sequence[Rule], held: Sequence[Rule]) -> list[Rule]:
    """The single rights of the granted rules that no held rule has: what is held may be spread over several."""
    return [single for rule in granted for single in _take_apart(rule) if not any(mine.covers(single) for mine in held)]


_EVERYTHING = (
    Rule(frozenset("*"), frozenset("*"), frozenset("*")),
    Rule(frozenset("*"), paths=("*",)),
)


def _take_apart(rule: Rule) -> list[Rule]:
    singles = [
        Rule(
            frozenset((verb,)), frozenset((group,)), frozenset((resource,)), frozenset((name,)) if name else frozenset()
        )
        for group in sorted(rule.groups)
        for resource in sorted(rule.resources)
        for name in (sorted(rule.names) or ("",))
        for verb in sorted(rule.verbs)
    ]
    return singles + [Rule(frozenset((verb,)), paths=(path,)) for path in rule.paths for verb in sorted(rule.verbs)]


def _make_refusal(
    identity: Identity, resource: Resource, name: str, missing: Sequence[Rule], problems: Sequence[str]
) -> ApiError:
    lines = "\n".join(_describe(rule) for rule in _put_together(missing))
    why = (
        f'user "{identity.user}" (groups={_quote(identity.groups)}) is attempting to grant RBAC permissions not '
        f"currently held:\n{lines}"
    )
    if problems:
        why += f"; resolution errors: [{', '.join(problems)}]"
    return make_forbidden(resource.group, resource.plural, name, why)


def _put_together(singles: Sequence[Rule]) -> list[Rule]:
    """Single rights that differ in the verb alone, as one rule; sorted as they are shown."""
    verbs: dict[Rule, set[str]] = {}
    for single in singles:
        verbs.setdefault(replace(single, verbs=frozenset()), set()).update(single.verbs)
    return sorted((replace(key, verbs=frozenset(found)) for key, found in verbs.items()), key=_describe)


def _describe(rule: Rule) -> str:
    if rule.paths:
        subject = f"NonResourceURLs:{_quote(rule.paths)}"
    else:
        subject = f"APIGroups:{_quote(sorted(rule.groups))}, Resources:{_quote(sorted(rule.resources))}"
        if rule.names:
            subject += f", ResourceNames:{_quote(sorted(rule.names))}"
    return f"{{{subject}, Verbs:{_quote(sorted(rule.verbs))}}}"


def _quote(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
