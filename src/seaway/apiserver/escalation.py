"""Nobody hands out more rights than they hold. Rule: spec "api-machinery" §10.4 (writes of roles and bindings)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seaway.api.machinery.errors import make_invalid
from seaway.api.machinery.field import invalid
from seaway.api.machinery.http import Identity
from seaway.api.registry import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from seaway.apiserver.rbac import MASTERS, Attributes, Policy, Rule, make_forbidden, parse_rules

Json = dict[str, Any]
_BINDINGS = (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS)
_ROLES = (CLUSTER_ROLES, ROLES)


def check_escalation(policy: Policy, identity: Identity, resource: Resource, obj: Json, old: Json | None) -> None:
    """Raises Forbidden when the write grants what the writer does not hold, Invalid when a binding changes its role."""
    if resource in _BINDINGS:
        _check_role_reference(resource, obj, old)
    if MASTERS in identity.groups:
        return
    namespace = obj["metadata"].get("namespace", "")
    name = obj["metadata"].get("name", "")
    if resource in _ROLES:
        if old is not None and old.get("rules") == obj.get("rules"):
            return
        asked = Attributes("escalate", resource.group, resource.plural, "", namespace, name)
        granted: Sequence[Rule] = parse_rules(obj.get("rules"))
    elif resource in _BINDINGS:
        if old is not None and old.get("subjects") == obj.get("subjects"):
            return
        role = obj.get("roleRef") or {}
        plural = "clusterroles" if role.get("kind") == "ClusterRole" else "roles"
        asked = Attributes("bind", resource.group, plural, "", namespace, role.get("name", ""))
        granted = policy.find_rules(role.get("kind", ""), role.get("name", ""), namespace) or ()
    else:
        return
    held, _ = policy.rules_of(identity, namespace)
    missing = [rule for rule in granted if not _is_covered(rule, held)]
    if missing and not policy.decide(identity, asked).allowed:
        groups = ", ".join(f'"{group}"' for group in identity.groups)
        lines = "\n".join(_describe(rule) for rule in missing)
        why = (
            f'user "{identity.user}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
            f"{lines}"
        )
        raise make_forbidden(resource.group, resource.plural, name, why)


def _check_role_reference(resource: Resource, obj: Json, old: Json | None) -> None:
    if old is not None and old.get("roleRef") != obj.get("roleRef"):
        error = invalid("roleRef", obj.get("roleRef"), "cannot change roleRef")
        raise make_invalid(resource.kind, resource.group, obj["metadata"]["name"], [error])


def _is_covered(wanted: Rule, held: Sequence[Rule]) -> bool:
    """Every single right of the rule is in one of those held: the sum may be spread over several."""
    return all(any(rule.covers(single) for rule in held) for single in _take_apart(wanted))


def _take_apart(rule: Rule) -> list[Rule]:
    singles = [
        Rule(
            frozenset((verb,)), frozenset((group,)), frozenset((resource,)), frozenset((name,)) if name else frozenset()
        )
        for verb in rule.verbs
        for group in rule.groups
        for resource in rule.resources
        for name in (rule.names or ("",))
    ]
    return singles + [Rule(frozenset((verb,)), paths=(path,)) for verb in rule.verbs for path in rule.paths]


def _describe(rule: Rule) -> str:
    parts = []
    if rule.paths:
        parts.append(f"NonResourceURLs:{_quote(rule.paths)}")
    else:
        parts.append(f"APIGroups:{_quote(sorted(rule.groups))}, Resources:{_quote(sorted(rule.resources))}")
        if rule.names:
            parts.append(f"ResourceNames:{_quote(sorted(rule.names))}")
    parts.append(f"Verbs:{_quote(sorted(rule.verbs))}")
    return "{" + ", ".join(parts) + "}"


def _quote(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
