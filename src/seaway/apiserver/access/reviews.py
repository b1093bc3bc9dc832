"""Questions about rights and credentials: a review is POSTed, answered in its status, and forgotten.

Rule: spec "api-machinery" §10.3 (TokenReview), §10.4 (access reviews); the texts of wrong questions are upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.errors import BadRequest, make_invalid
from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.http import Identity
from seaway.api.registry import (
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    SELF_SUBJECT_RULES_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)
from seaway.apiserver.access.authenticate import Authenticator
from seaway.apiserver.access.identity import AUTHENTICATED
from seaway.apiserver.access.rbac import Attributes, Decision, Rule
from seaway.apiserver.admission.noderestriction import node_name_of

Json = dict[str, Any]
Decide = Callable[[Identity, Attributes], Decision]
RulesOf = Callable[[Identity, str], tuple[list[Rule], list[str]]]
BAD_TOKEN = "invalid bearer token"
_ONE_KIND = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what the server answers from."""

    identity: Identity
    namespace: str
    wall_now: str
    decide: Decide
    rules_of: RulesOf
    authenticator: Authenticator


def answer_review(resource: Resource, review: Json, asker: Asker) -> Json:
    """The review with its status. `review` is pruned, and not modified. Raises BadRequest, Invalid."""
    return _ANSWERS[resource](resource, review, asker)


def _answer_self_access(resource: Resource, review: Json, asker: Asker) -> Json:
    spec = review.get("spec") or {}
    _raise_invalid(resource, [*_validate_meta(review), *_validate_attributes(spec)])
    return {**review, "status": _decide(spec, asker.identity, asker.decide)}


def _answer_access(resource: Resource, review: Json, asker: Asker) -> Json:
    spec = review.get("spec") or {}
    _raise_invalid(resource, [*_validate_meta(review), *_validate_attributes(spec), *_validate_subject(spec)])
    return {**review, "status": _decide(spec, _read_subject(spec), asker.decide)}


def _answer_local_access(resource: Resource, review: Json, asker: Asker) -> Json:
    meta, spec = review["metadata"], review.get("spec") or {}
    if meta.get("namespace", asker.namespace) != asker.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    errors = [*_validate_attributes(spec), *_validate_subject(spec)]
    if set(meta) - {"namespace"}:
        errors.append(invalid("metadata", meta, "must be empty except for namespace"))
    attributes = spec.get("resourceAttributes")
    if attributes is not None and attributes.get("namespace", "") != asker.namespace:
        text = "must match metadata.namespace"
        errors.append(invalid("spec.resourceAttributes.namespace", attributes.get("namespace", ""), text))
    if spec.get("nonResourceAttributes") is not None:
        text = "disallowed on this kind of request"
        errors.append(invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"], text))
    _raise_invalid(resource, errors)
    named = {**review, "metadata": {**meta, "namespace": asker.namespace}}
    return {**named, "status": _decide(spec, _read_subject(spec), asker.decide)}


def _answer_self_rules(resource: Resource, review: Json, asker: Asker) -> Json:
    namespace = (review.get("spec") or {}).get("namespace")
    if not namespace:
        raise BadRequest("no namespace on request")
    rules, problems = asker.rules_of(asker.identity, namespace)
    status: Json = {
        "resourceRules": [_show_resource_rule(rule) for rule in rules if rule.resources],
        "nonResourceRules": [_show_path_rule(rule) for rule in rules if rule.paths],
        "incomplete": bool(problems),
    }
    if node_name_of(asker.identity) is not None:
        problems = ["node authorizer does not support user rule resolution", *problems]
    if problems:
        status |= {"incomplete": True, "evaluationError": ", ".join(problems)}
    return {**review, "spec": {}, "status": status}


def _answer_self(resource: Resource, review: Json, asker: Asker) -> Json:
    head = {**review, "metadata": {**review["metadata"], "creationTimestamp": asker.wall_now}}
    return {**head, "status": {"userInfo": _show_user(asker.identity)}}


def _answer_token(resource: Resource, review: Json, asker: Asker) -> Json:
    spec = review.get("spec") or {}
    token = spec.get("token")
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    audiences = tuple(spec.get("audiences") or ()) or asker.authenticator.issuer.audiences
    verified = asker.authenticator.verify(token, audiences)
    if verified is None:
        return {**review, "status": {"user": {}, "error": BAD_TOKEN}}
    user = _show_user(verified.identity)
    return {**review, "status": {"authenticated": True, "user": user, "audiences": list(verified.audiences)}}


_ANSWERS: Mapping[Resource, Callable[[Resource, Json, Asker], Json]] = {
    SELF_SUBJECT_ACCESS_REVIEWS: _answer_self_access,
    SUBJECT_ACCESS_REVIEWS: _answer_access,
    LOCAL_SUBJECT_ACCESS_REVIEWS: _answer_local_access,
    SELF_SUBJECT_RULES_REVIEWS: _answer_self_rules,
    SELF_SUBJECT_REVIEWS: _answer_self,
    TOKEN_REVIEWS: _answer_token,
}


def read_attributes(spec: Json) -> Attributes:
    """What the valid spec of an access review asks about."""
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    asked = spec["resourceAttributes"]
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(asked.get(field) or "" for field in fields))


def _decide(spec: Json, identity: Identity, decide: Decide) -> Json:
    decision = decide(identity, read_attributes(spec))
    status: Json = {"allowed": decision.allowed}
    return {**status, "reason": decision.reason} if decision.reason else status


def _validate_meta(review: Json) -> list[FieldError]:
    meta = review["metadata"]
    return [invalid("metadata", meta, "must be empty")] if meta else []


def _validate_attributes(spec: Json) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is None and path is None:
        return [invalid("spec.resourceAttributes", None, _ONE_KIND)]
    if resource is not None and path is not None:
        text = "cannot be specified in combination with resourceAttributes"
        return [invalid("spec.nonResourceAttributes", path, text)]
    return []


def _validate_subject(spec: Json) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [invalid("spec.user", "", "at least one of user or group must be specified")]


def _read_subject(spec: Json) -> Identity:
    """As it is written: nobody is added to a group that the question does not name."""
    extra = tuple(sorted((key, tuple(values)) for key, values in (spec.get("extra") or {}).items()))
    return Identity(spec.get("user", ""), tuple(sorted(spec.get("groups") or ())), spec.get("uid", ""), extra)


def _raise_invalid(resource: Resource, errors: list[FieldError]) -> None:
    if errors:
        raise make_invalid(resource.kind, resource.group, "", errors)


def _show_user(identity: Identity) -> Json:
    shown: Json = {"username": identity.user}
    if identity.uid:
        shown["uid"] = identity.uid
    if identity.groups:
        shown["groups"] = _order_groups(identity)
    if identity.extra:
        shown["extra"] = {key: list(values) for key, values in identity.extra}
    return shown


def _order_groups(identity: Identity) -> list[str]:
    """The group of everybody last, as upstream shows it: it is added last."""
    return sorted(identity.groups, key=lambda group: group == AUTHENTICATED)


def _show_resource_rule(rule: Rule) -> Json:
    shown: Json = {
        "verbs": sorted(rule.verbs),
        "apiGroups": sorted(rule.groups),
        "resources": sorted(rule.resources),
    }
    return {**shown, "resourceNames": sorted(rule.names)} if rule.names else shown


def _show_path_rule(rule: Rule) -> Json:
    return {"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.paths)}
