"""What is wrong with an Ingress. Rule: spec "service-api" §10."""

from __future__ import annotations

from seaway.api.ingress.paths import validate_host, validate_path
from seaway.api.machinery.addresses import find_address, validate_ip
from seaway.api.machinery.field import FieldError, invalid, required
from seaway.api.machinery.names import (
    invalid_by,
    validate_label,
    validate_path_segment,
    validate_port_name,
    validate_subdomain,
)
from seaway.api.machinery.ports import invalid_port
from seaway.api.machinery.strategy import Json

CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def validate_ingress(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    annotation = ((obj.get("metadata") or {}).get("annotations") or {}).get(CLASS_ANNOTATION)
    name = spec.get("ingressClassName")
    errors: list[FieldError] = []
    if annotation is not None and name is not None and annotation != name:
        path = f"annotations.{CLASS_ANNOTATION}"
        errors.append(invalid(path, annotation, "must match `ingressClassName` when both are specified"))
    return errors + _validate_spec(spec, frozenset())


def validate_ingress_update(obj: Json, old: Json) -> list[FieldError]:
    """The same without the annotation; a bad name of a Secret may stay."""
    known = frozenset(tls.get("secretName") or "" for tls in (old.get("spec") or {}).get("tls") or ())
    return _validate_spec(obj.get("spec") or {}, known)


def validate_ingress_status(obj: Json, old: Json) -> list[FieldError]:
    """Addresses are addresses and names are names."""
    known = [entry.get("ip") or "" for entry in _list_ingress(old)]
    errors: list[FieldError] = []
    for index, entry in enumerate(_list_ingress(obj)):
        path = f"status.loadBalancer.ingress[{index}]"
        if ip := entry.get("ip"):
            errors += [invalid(f"{path}.ip", ip, text) for text in validate_ip(ip, known)]
        if host := entry.get("hostname"):
            errors += invalid_by(validate_subdomain, f"{path}.hostname", host)
            if find_address(host) is not None:
                errors.append(invalid(f"{path}.hostname", host, "must be a DNS name, not an IP address"))
    return errors


def _list_ingress(obj: Json) -> list[Json]:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    return list(balancer.get("ingress") or ())


def _validate_spec(spec: Json, known_secrets: frozenset[str]) -> list[FieldError]:
    rules, backend = spec.get("rules") or (), spec.get("defaultBackend")
    errors: list[FieldError] = []
    if not rules and backend is None:
        errors.append(invalid("spec", rules or None, "either `defaultBackend` or `rules` must be specified"))
    if backend is not None:
        errors += _validate_backend(backend, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        errors += _validate_rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        path = f"spec.tls[{index}]"
        for position, host in enumerate(tls.get("hosts") or ()):
            errors += validate_host(host, f"{path}.hosts[{position}]", may_be_address=True)
        if (secret := tls.get("secretName")) and secret not in known_secrets:
            errors += invalid_by(validate_subdomain, f"{path}.secretName", secret)
    if (name := spec.get("ingressClassName")) is not None:
        errors += invalid_by(validate_subdomain, "spec.ingressClassName", name)
    return errors


def _validate_rule(rule: Json, path: str) -> list[FieldError]:
    errors = validate_host(rule["host"], f"{path}.host") if rule.get("host") else []
    http = rule.get("http")
    if http is None:
        return errors
    if not http.get("paths"):
        return [*errors, required(f"{path}.http.paths")]
    for index, entry in enumerate(http["paths"]):
        own, path_type = f"{path}.http.paths[{index}]", entry.get("pathType")
        errors += validate_path(path_type, entry.get("path") or "", own)
        if path_type is not None:
            errors += _validate_backend(entry.get("backend") or {}, f"{own}.backend")
    return errors


def _validate_backend(backend: Json, path: str) -> list[FieldError]:
    """Exactly one of a Service and a resource of the namespace."""
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        return [invalid(path, "", "resource or service backend is required")]
    if service is not None and resource is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _validate_resource(resource, f"{path}.resource")
    return _validate_service(service or {}, path)


def _validate_resource(resource: Json, path: str) -> list[FieldError]:
    errors = (
        invalid_by(validate_subdomain, f"{path}.apiGroup", resource["apiGroup"]) if resource.get("apiGroup") else []
    )
    for field in ("kind", "name"):
        if value := resource.get(field):
            errors += invalid_by(validate_path_segment, f"{path}.{field}", value)
        else:
            errors.append(required(f"{path}.{field}"))
    return errors


def _validate_service(service: Json, path: str) -> list[FieldError]:
    name, port = service.get("name") or "", service.get("port") or {}
    errors = invalid_by(validate_label, f"{path}.service.name", name) if name else [required(f"{path}.service.name")]
    port_name, number = port.get("name") or "", port.get("number") or 0
    if port_name and number:
        errors.append(invalid(path, "", "cannot set both port name & port number"))
    elif port_name:
        errors += invalid_by(validate_port_name, f"{path}.service.port.name", port_name)
    elif number:
        errors += invalid_port(f"{path}.service.port.number", number)
    else:
        errors.append(required(path, "port name or number is required"))
    return errors
