"""What is wrong with an EndpointSlice. Rule: spec "service-api" §9.3."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seaway.api.machinery.addresses import (
    find_family,
    validate_canonical_ip,
    validate_endpoint_ip,
    validate_ip,
)
from seaway.api.machinery.field import FieldError, duplicate, invalid, not_supported, required, too_many
from seaway.api.machinery.names import invalid_by, validate_label, validate_label_value, validate_subdomain
from seaway.api.machinery.ports import invalid_app_protocol, invalid_protocol
from seaway.api.machinery.strategy import Json

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_PORTS = 20000
MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
MAX_HINTS = 8


def validate_endpoint_slice(obj: Json, *, judges_endpoints: bool = True) -> list[FieldError]:
    """The create rules. Without `judges_endpoints` errors of endpoints are left out: they were there before."""
    kind = obj.get("addressType") or ""
    errors: list[FieldError] = []
    if not kind:
        errors.append(required("addressType"))
    elif kind not in ADDRESS_TYPES:
        errors.append(not_supported("addressType", kind, ADDRESS_TYPES))
    if judges_endpoints:
        errors += _validate_endpoints(obj.get("endpoints") or (), kind)
    return errors + _validate_ports(obj.get("ports") or ())


def validate_endpoint_slice_update(obj: Json, old: Json) -> list[FieldError]:
    """The create rules, and an address type that stays."""
    changed = (obj.get("endpoints") or []) != (old.get("endpoints") or [])
    errors = validate_endpoint_slice(obj, judges_endpoints=changed)
    if obj.get("addressType") != old.get("addressType"):
        errors.append(invalid("addressType", obj.get("addressType") or "", "field is immutable"))
    return errors


def _validate_ports(ports: Sequence[Json]) -> list[FieldError]:
    """Any number goes, and none; names must differ."""
    if len(ports) > MAX_PORTS:
        return [too_many("ports", len(ports), MAX_PORTS)]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.get("name") or ""
        if name:
            errors += invalid_by(validate_label, f"{path}.name", name)
        if name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
        errors += invalid_protocol(f"{path}.protocol", port.get("protocol"))
        errors += invalid_app_protocol(f"{path}.appProtocol", port.get("appProtocol"))
    return errors


def _validate_endpoints(endpoints: Sequence[Json], kind: str) -> list[FieldError]:
    if len(endpoints) > MAX_ENDPOINTS:
        return [too_many("endpoints", len(endpoints), MAX_ENDPOINTS)]
    errors: list[FieldError] = []
    for index, endpoint in enumerate(endpoints):
        path = f"endpoints[{index}]"
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
        elif len(addresses) > MAX_ADDRESSES:
            errors.append(too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES))
        for position, address in enumerate(addresses):
            errors += _validate_address(f"{path}.addresses", position, address, kind)
        if endpoint.get("nodeName") is not None:
            errors += invalid_by(validate_subdomain, f"{path}.nodeName", endpoint["nodeName"])
        if endpoint.get("hostname") is not None:
            errors += invalid_by(validate_label, f"{path}.hostname", endpoint["hostname"])
        errors += _validate_hints(f"{path}.hints", endpoint.get("hints") or {})
    return errors


def _validate_address(path: str, index: int, address: str, kind: str) -> list[FieldError]:
    own = f"{path}[{index}]"
    if kind == "FQDN":
        return _validate_domain(own, address)
    if kind not in ("IPv4", "IPv6"):
        return []
    malformed = (validate_ip if kind == "IPv4" else validate_canonical_ip)(address)
    if malformed:
        return [invalid(own, address, text) for text in malformed]
    errors: list[FieldError] = []
    family = find_family(address)
    if family is None or family.value != kind:
        errors.append(invalid(path, address, f"must be an {kind} address"))
    return errors + invalid_by(validate_endpoint_ip, own, address)


def _validate_domain(path: str, name: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    name = name.removesuffix(".")
    errors = invalid_by(validate_subdomain, path, name)
    if errors:
        return errors
    labels = name.split(".")
    if len(labels) < 2:
        return [invalid(path, name, "should be a domain with at least two segments separated by dots")]
    return [error for label in labels for error in invalid_by(validate_label, path, label)]


def _validate_hints(path: str, hints: Json) -> list[FieldError]:
    rules: tuple[tuple[str, Callable[[str], list[str]]], ...] = (
        ("forZones", validate_label_value),
        ("forNodes", validate_subdomain),
    )
    errors: list[FieldError] = []
    for field, rule in rules:
        entries = hints.get(field) or ()
        if len(entries) > MAX_HINTS:
            return [*errors, too_many(f"{path}.{field}", len(entries), MAX_HINTS)]
        names: set[str] = set()
        for index, entry in enumerate(entries):
            own, name = f"{path}.{field}[{index}].name", entry.get("name") or ""
            if name in names:
                errors.append(duplicate(own, name))
            names.add(name)
            errors += invalid_by(rule, own, name)
    return errors
