"""What is wrong with a role or a binding, and what they say when the client does not.

Rule: spec "api-machinery" §10.4; the texts are upstream's.
"""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_path_segment
from seaway.api.machinery.strategy import Json

GROUP = "rbac.authorization.k8s.io"
_ROLE_KINDS = ("ClusterRole", "Role")


def default_binding(obj: Json) -> Json:
    """Users, Groups and roles are of this API's group. Changes `obj`."""
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = subject.get("apiGroup") or GROUP
    if obj.get("roleRef"):
        obj["roleRef"]["apiGroup"] = obj["roleRef"].get("apiGroup") or GROUP
    return obj


def validate_role(obj: Json) -> list[FieldError]:
    """The rules of a Role or ClusterRole."""
    errors: list[FieldError] = []
    for index, rule in enumerate(obj.get("rules") or ()):
        errors += _validate_rule(rule, f"rules[{index}]", is_namespaced=obj.get("kind") == "Role")
    for index, selector in enumerate((obj.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()):
        if not selector:
            continue
        for number, wanted in enumerate(selector.get("matchExpressions") or ()):
            if not wanted.get("key"):
                path = f"aggregationRule.clusterRoleSelectors[{index}].matchExpressions[{number}].key"
                errors.append(required(path))
    if "aggregationRule" in obj and not (obj["aggregationRule"] or {}).get("clusterRoleSelectors"):
        text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.append(required("aggregationRule.clusterRoleSelectors", text))
    return errors


def _validate_rule(rule: Json, path: str, *, is_namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if not rule.get("verbs"):
        errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        if is_namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            errors.append(invalid(f"{path}.nonResourceURLs", urls, text))
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid(f"{path}.nonResourceURLs", urls, text))
        return errors
    if not rule.get("apiGroups"):
        errors.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def validate_binding(obj: Json) -> list[FieldError]:
    """The role and the subjects of a RoleBinding or ClusterRoleBinding. `obj` is defaulted."""
    is_namespaced = obj.get("kind") == "RoleBinding"
    role = obj.get("roleRef") or {}
    errors: list[FieldError] = []
    if role.get("apiGroup") != GROUP:
        errors.append(not_supported("roleRef.apiGroup", role.get("apiGroup") or "", (GROUP,)))
    kinds = _ROLE_KINDS if is_namespaced else _ROLE_KINDS[:1]
    if role.get("kind") not in kinds:
        errors.append(not_supported("roleRef.kind", role.get("kind") or "", sorted(kinds, reverse=True)))
    if not role.get("name"):
        errors.append(required("roleRef.name"))
    else:
        errors += invalid_by(validate_path_segment, "roleRef.name", role["name"])
    for index, subject in enumerate(obj.get("subjects") or ()):
        errors += _validate_subject(subject, f"subjects[{index}]", is_namespaced=is_namespaced)
    return errors


def _validate_subject(subject: Json, path: str, *, is_namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, group = subject.get("kind") or "", subject.get("apiGroup") or ""
    if not subject.get("name"):
        errors.append(required(f"{path}.name"))
    if kind == "ServiceAccount":
        if group:
            errors.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not is_namespaced and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        errors.append(not_supported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User")))
    return errors
