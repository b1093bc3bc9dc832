"""Who may do what, from the ClusterRoles, Roles and bindings that the store holds.

Rule: spec "api-machinery" §10.4 (evaluation), §1.4 (the words of a refusal).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.errors import Forbidden
from seaway.api.machinery.http import Identity
from seaway.api.machinery.remember import REMEMBERED_LENGTH
from seaway.apiserver.routes import Route

Json = Mapping[str, Any]
RBAC_GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class Attributes:
    """One request as authorization sees it. `path` is set for non-resource requests alone."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def length(self) -> int:
        """Of all texts together."""
        texts = (self.verb, self.group, self.resource, self.subresource, self.namespace, self.name, self.path)
        return sum(map(len, texts))


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    def allows(self, asked: Attributes) -> bool:
        if "*" not in self.verbs and asked.verb not in self.verbs:
            return False
        if asked.path:
            return any(_path_matches(pattern, asked.path) for pattern in self.paths)
        if "*" not in self.groups and asked.group not in self.groups:
            return False
        if not self._names_resource(asked):
            return False
        return not self.names or asked.name in self.names

    def _names_resource(self, asked: Attributes) -> bool:
        if "*" in self.resources:
            return True
        if not asked.subresource:
            return asked.resource in self.resources
        full = f"{asked.resource}/{asked.subresource}"
        return full in self.resources or f"*/{asked.subresource}" in self.resources

    def _covers_resource(self, resource: str) -> bool:
        if "*" in self.resources or resource in self.resources:
            return True
        _, slash, subresource = resource.partition("/")
        return bool(slash) and f"*/{subresource}" in self.resources

    def covers(self, other: Rule) -> bool:
        """Everything that the other rule allows, this one allows too."""
        if not ("*" in self.verbs or other.verbs <= self.verbs):
            return False
        if other.paths:
            return all(any(_path_matches(mine, theirs) for mine in self.paths) for theirs in other.paths)
        return (
            ("*" in self.groups or other.groups <= self.groups)
            and all(self._covers_resource(resource) for resource in other.resources)
            and (not self.names or (bool(other.names) and other.names <= self.names))
        )


@dataclass(frozen=True, slots=True)
class Binding:
    """Subjects that get the rules of one role. `users` and `groups` tell how a subject is written in the binding."""

    users: Mapping[str, str]
    groups: Mapping[str, str]
    role_kind: str
    role_name: str
    text: str = ""
    """`ClusterRoleBinding "b" of ClusterRole "r"`, for whoever asks why something is allowed."""

    def binds(self, identity: Identity) -> bool:
        return identity.user in self.users or any(group in self.groups for group in identity.groups)

    def describe_subject(self, identity: Identity) -> str:
        """The first subject that the identity is."""
        if identity.user in self.users:
            return self.users[identity.user]
        return next(text for group, text in self.groups.items() if group in identity.groups)


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` says by which binding it is allowed, or which bound roles are missing; empty when all was found."""

    allowed: bool
    reason: str = ""


_ALLOWED = Decision(True)


class Policy:
    """All roles and bindings at one moment. Decisions are remembered: a policy never changes."""

    def __init__(
        self,
        cluster_roles: Iterable[Json],
        cluster_bindings: Iterable[Json],
        roles: Iterable[Json] = (),
        bindings: Iterable[Json] = (),
    ) -> None:
        self._cluster_roles = {role["metadata"]["name"]: parse_rules(role.get("rules")) for role in cluster_roles}
        self._cluster_bindings = [parse_binding(binding) for binding in cluster_bindings]
        self._roles = {
            (role["metadata"]["namespace"], role["metadata"]["name"]): parse_rules(role.get("rules")) for role in roles
        }
        self._bindings: dict[str, list[Binding]] = {}
        for binding in bindings:
            namespace = binding["metadata"]["namespace"]
            self._bindings.setdefault(namespace, []).append(parse_binding(binding, namespace))
        self._decided: dict[tuple[str, tuple[str, ...], Attributes], Decision] = {}

    def decide(self, identity: Identity, asked: Attributes) -> Decision:
        """Whether one of the identity's rules allows it. Masters may do all, also where their binding was deleted."""
        key = (identity.user, identity.groups, asked)
        decision = self._decided.get(key)
        if decision is None:
            decision = self._evaluate(identity, asked)
            if not decision.allowed and MASTERS in identity.groups:
                decision = _ALLOWED
            if asked.length <= REMEMBERED_LENGTH:
                if len(self._decided) >= 16_384:
                    self._decided.clear()
                self._decided[key] = decision
        return decision

    def rules_of(self, identity: Identity, namespace: str) -> tuple[list[Rule], list[str]]:
        """The identity's rules in the namespace (empty: of the cluster), and what is wrong with its bindings."""
        rules: list[Rule] = []
        problems: list[str] = []
        for binding, scope in self._bindings_of(identity, namespace):
            found = self.find_rules(binding.role_kind, binding.role_name, scope)
            if found is None:
                problems.append(_describe_missing(binding))
            else:
                rules.extend(found)
        return rules, problems

    def _bindings_of(self, identity: Identity, namespace: str) -> Iterator[tuple[Binding, str]]:
        """The bindings that concern the identity, each with the namespace of its role."""
        for binding in self._cluster_bindings:
            if binding.binds(identity):
                yield binding, ""
        for binding in self._bindings.get(namespace, ()) if namespace else ():
            if binding.binds(identity):
                yield binding, namespace

    def find_rules(self, role_kind: str, name: str, namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role, None when there is no such role."""
        if role_kind == "ClusterRole":
            return self._cluster_roles.get(name)
        return self._roles.get((namespace, name))

    def _evaluate(self, identity: Identity, asked: Attributes) -> Decision:
        problems: list[str] = []
        for binding, scope in self._bindings_of(identity, asked.namespace):
            rules = self.find_rules(binding.role_kind, binding.role_name, scope)
            if rules is None:
                problems.append(_describe_missing(binding))
            elif any(rule.allows(asked) for rule in rules):
                return Decision(True, f"RBAC: allowed by {binding.text} to {binding.describe_subject(identity)}")
        return Decision(False, f"RBAC: {_join_problems(problems)}" if problems else "")


def _describe_missing(binding: Binding) -> str:
    return f'{binding.role_kind.lower()}.{RBAC_GROUP} "{binding.role_name}" not found'


def parse_rules(rules: Sequence[Json] | None) -> tuple[Rule, ...]:
    """The rules of a stored role."""
    return tuple(
        Rule(
            verbs=frozenset(rule.get("verbs") or ()),
            groups=frozenset(rule.get("apiGroups") or ()),
            resources=frozenset(rule.get("resources") or ()),
            names=frozenset(rule.get("resourceNames") or ()),
            paths=tuple(rule.get("nonResourceURLs") or ()),
        )
        for rule in rules or ()
    )


def parse_binding(binding: Json, namespace: str = "") -> Binding:
    """namespace: that of a RoleBinding; a service account may leave its own out only there."""
    users: dict[str, str] = {}
    groups: dict[str, str] = {}
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name", "")
        match kind:
            case "User":
                users.setdefault(name, f'User "{name}"')
            case "Group":
                groups.setdefault(name, f'Group "{name}"')
            case "ServiceAccount":
                holder = subject.get("namespace") or namespace
                users.setdefault(f"system:serviceaccount:{holder}:{name}", f'ServiceAccount "{name}/{holder}"')
    role = binding.get("roleRef") or {}
    own = binding["metadata"].get("name", "")
    kind, named = ("RoleBinding", f"{own}/{namespace}") if namespace else ("ClusterRoleBinding", own)
    text = f'{kind} "{named}" of {role.get("kind", "")} "{role.get("name", "")}"'
    return Binding(users, groups, role.get("kind", ""), role.get("name", ""), text)


def attributes_of(route: Route) -> Attributes:
    """What authorization sees of a route. The namespace of a Namespace is the Namespace itself."""
    if not route.is_resource:
        return Attributes(route.verb, path=route.path)
    name = route.name or route.selected_name
    return Attributes(
        route.verb,
        route.group,
        route.plural,
        route.subresource,
        route.namespace,
        name if route.verb != "create" or route.subresource else "",
    )


def make_refusal(identity: Identity, asked: Attributes, reason: str = "") -> Forbidden:
    """The 403 for what no rule allows."""
    if asked.path:
        text = f'User "{identity.user}" cannot {asked.verb} path "{asked.path}"'
        return Forbidden(f"forbidden: {_with_reason(text, reason)}", {})
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    text = f'User "{identity.user}" cannot {asked.verb} resource "{resource}" in API group "{asked.group}" {where}'
    return make_forbidden(asked.group, asked.resource, asked.name, _with_reason(text, reason))


def make_forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Json] = ()) -> Forbidden:
    """The 403 of authorization and admission: `services "web" is forbidden: why`."""
    qualified = f"{plural}.{group}" if group else plural
    named = f'{qualified} "{name}"' if name else qualified
    escaped = why.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = plural
    if causes:
        details["causes"] = list(causes)
    return Forbidden(f"{named} is forbidden: {escaped}", details)


def _with_reason(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text


def _join_problems(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))
