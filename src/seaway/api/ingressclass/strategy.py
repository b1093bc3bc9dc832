"""How the API server treats IngressClasses. Rule: spec "service-api" §10."""

from __future__ import annotations

import re

from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required, too_long
from seaway.api.machinery.names import invalid_by, validate_path_segment, validate_subdomain
from seaway.api.machinery.strategy import Json, Strategy

MAX_CONTROLLER_BYTES = 250
SCOPES = ("Cluster", "Namespace")
_PATH = "spec.parameters"
_is_path = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+").fullmatch


def default_class(obj: Json) -> Json:
    """Parameters are of the cluster. Changes `obj`."""
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None:
        parameters.setdefault("scope", "Cluster")
    return obj


def validate_class(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    controller = spec.get("controller") or ""
    errors: list[FieldError] = []
    if len(controller.encode()) > MAX_CONTROLLER_BYTES:
        errors.append(too_long("spec.controller", MAX_CONTROLLER_BYTES))
    errors += _validate_controller(controller)
    return errors + _validate_parameters(spec.get("parameters"))


def validate_class_update(obj: Json, old: Json) -> list[FieldError]:
    """The controller stays."""
    spec = obj.get("spec") or {}
    controller, before = spec.get("controller") or "", (old.get("spec") or {}).get("controller") or ""
    changed = [] if controller == before else [invalid("spec.controller", controller, "field is immutable")]
    return changed + _validate_parameters(spec.get("parameters"))


def _validate_controller(controller: str) -> list[FieldError]:
    path = "spec.controller"
    if not controller:
        return [required(path)]
    domain, slash, rest = controller.partition("/")
    if not slash or not domain or not rest:
        return [invalid(path, controller, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    errors = invalid_by(validate_subdomain, path, domain)
    return errors if _is_path(rest) else [*errors, invalid(path, rest, "Invalid path")]


def _validate_parameters(parameters: Json | None) -> list[FieldError]:
    if parameters is None:
        return []
    group, scope, namespace = parameters.get("apiGroup"), parameters.get("scope"), parameters.get("namespace")
    errors = invalid_by(validate_subdomain, f"{_PATH}.apiGroup", group) if group else []
    for field in ("kind", "name"):
        if value := parameters.get(field):
            errors += invalid_by(validate_path_segment, f"{_PATH}.{field}", value)
        else:
            errors.append(required(f"{_PATH}.{field}"))
    if scope is None:
        return [*errors, required(f"{_PATH}.scope")]
    if scope not in SCOPES:
        return [*errors, not_supported(f"{_PATH}.scope", scope, SCOPES)]
    if scope == "Namespace":
        if not namespace:
            return [*errors, required(f"{_PATH}.namespace", "`parameters.scope` is set to 'Namespace'")]
        return errors + invalid_by(validate_subdomain, f"{_PATH}.namespace", namespace)
    if namespace is not None:
        errors.append(forbidden(f"{_PATH}.namespace", "`parameters.scope` is set to 'Cluster'"))
    return errors


STRATEGY = Strategy(
    default=default_class,
    validate_create=validate_class,
    validate_update=validate_class_update,
    has_generation=True,
)
