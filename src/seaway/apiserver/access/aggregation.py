"""ClusterRoles that gather the rules of others, by labels.

A loop of the API server itself keeps them, not one of the controllers: who may do what must follow the roles also where
no controllers run, and nobody else is to hold the right to write roles beyond their own.
Rule: spec "api-machinery" §10.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seaway.api.machinery.selectors import LabelSelector, SelectorError, selector_from_object

Json = dict[str, Any]


def plan_aggregation(roles: Iterable[Json]) -> list[Json]:
    """The gathering roles whose rules are not what they shall be, each as it shall be, sorted by name. Not modified.

    A role may gather one that gathers. What counts in the end are the rules of roles that gather nothing, so that the
    plan for its own result is empty, whatever circles there are.
    """
    by_name = {role["metadata"]["name"]: role for role in roles}
    gathered = {
        name: found
        for name, role in sorted(by_name.items())
        if (found := _find_gathered(name, role, by_name)) is not None
    }
    planned = []
    for name, sources in gathered.items():
        rules = _unite(by_name[source] for source in sorted(_reach(sources, gathered) - set(gathered)))
        if rules != list(by_name[name].get("rules") or ()):
            planned.append({**by_name[name], "rules": rules})
    return planned


def _find_gathered(own: str, role: Json, roles: Mapping[str, Json]) -> frozenset[str] | None:
    """The names of the roles that this one selects; None for one that gathers nothing."""
    if not role.get("aggregationRule"):
        return None
    selectors = _read_selectors(role)
    return frozenset(
        name
        for name, other in roles.items()
        if name != own and any(s.matches(other["metadata"].get("labels") or {}) for s in selectors)
    )


def _read_selectors(role: Json) -> list[LabelSelector]:
    """A selector that cannot be read selects nothing."""
    found = []
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        try:
            parsed = selector_from_object(selector)
        except SelectorError:
            continue
        if parsed is not None:
            found.append(parsed)
    return found


def _reach(sources: Iterable[str], gathered: Mapping[str, frozenset[str]]) -> set[str]:
    """All that is gathered, directly or by one that gathers."""
    found: set[str] = set()
    todo = list(sources)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(gathered.get(name, ()))
    return found


def _unite(roles: Iterable[Json]) -> list[Json]:
    """The rules of the roles in their order, each rule once."""
    rules: list[Json] = []
    for role in roles:
        rules.extend(rule for rule in role.get("rules") or () if rule not in rules)
    return rules
