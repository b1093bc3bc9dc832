"""ClusterRoles that gather the rules of others, by labels.

A loop of the API server itself keeps them, not one of the controllers: who may do what must follow the roles also where
no controllers run, and nobody else is to hold the right to write roles beyond their own.
Rule: spec "api-machinery" §10.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seaway.api.machinery.selectors import LabelSelector, SelectorError, selector_from_object

Json = dict[str, Any]


def plan_aggregation(roles: Iterable[Json]) -> list[Json]:
    """The gathering roles whose rules are not what they shall be, each as it shall be, sorted by name. Not modified.

    A role may gather one that gathers: they are gathered again until nothing changes, so a circle comes to an end with
    all of it having the same rules.
    """
    by_name = {role["metadata"]["name"]: role for role in roles}
    gathering = {name: found for name, role in sorted(by_name.items()) if (found := _read_selectors(role))}
    rules = {name: list(role.get("rules") or ()) for name, role in by_name.items()}
    for _ in range(len(gathering) + 1):
        wanted = {name: _gather(name, selectors, by_name, rules) for name, selectors in gathering.items()}
        if all(rules[name] == found for name, found in wanted.items()):
            break
        rules |= wanted
    return [
        {**by_name[name], "rules": rules[name]}
        for name in gathering
        if rules[name] != list(by_name[name].get("rules") or ())
    ]


def _read_selectors(role: Json) -> list[LabelSelector]:
    """None for a role that gathers nothing. A selector that cannot be read selects nothing."""
    found = []
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        try:
            parsed = selector_from_object(selector)
        except SelectorError:
            continue
        if parsed is not None:
            found.append(parsed)
    return found


def _gather(
    own: str, selectors: Sequence[LabelSelector], roles: Mapping[str, Json], rules: Mapping[str, list[Json]]
) -> list[Json]:
    """The rules of all roles that are selected, in order of their names, each rule once."""
    found: list[Json] = []
    for name in sorted(roles):
        labels = roles[name]["metadata"].get("labels") or {}
        if name != own and any(selector.matches(labels) for selector in selectors):
            found.extend(rule for rule in rules[name] if rule not in found)
    return found
