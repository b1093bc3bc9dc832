"""What is wrong with a Node. Rule: spec "node" §1.11 (podCIDRs), upstream's node validation (taints, addresses)."""

from __future__ import annotations

from dataclasses import replace

from seaway.api.machinery.addresses import find_network, validate_cidr
from seaway.api.machinery.field import FieldError, duplicate, forbidden, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_label_value, validate_qualified_name
from seaway.api.machinery.strategy import Json

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate_node(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    return [*_validate_taints(spec), *validate_node_status(obj), *_validate_pod_cidrs(spec)]


def validate_node_update(obj: Json, old: Json) -> list[FieldError]:
    """What was given once stays: Pods hold addresses of the range."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors = validate_node(obj)
    for field, name in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(field) and spec.get(field) != before[field]:
            text = f'node updates may not change {name} except from "" to valid'
            errors.append(forbidden(f"spec.{field}", text))
    return errors


def validate_node_status(obj: Json, old: Json | None = None) -> list[FieldError]:
    """An address is listed once per type."""
    addresses = (obj.get("status") or {}).get("addresses") or []
    return [
        duplicate(f"status.addresses[{index}]", address)
        for index, address in enumerate(addresses)
        if address in addresses[:index]
    ]


def _validate_taints(spec: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path = f"spec.taints[{index}]"
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        errors += invalid_by(validate_qualified_name, f"{path}.key", key)
        errors += invalid_by(validate_label_value, f"{path}.value", taint.get("value") or "")
        if not effect:
            errors.append(required(f"{path}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            detail = "taints must be unique by key and effect pair"
            errors.append(replace(duplicate(path, taint), detail=detail))
        seen.add((key, effect))
    return errors


def _validate_pod_cidrs(spec: Json) -> list[FieldError]:
    path, cidrs = "spec.podCIDRs", list(spec.get("podCIDRs") or ())
    errors = [error for i, cidr in enumerate(cidrs) for error in invalid_by(validate_cidr, f"{path}[{i}]", cidr)]
    if errors:
        return errors
    families = {found.address.version for cidr in cidrs if (found := find_network(cidr))}
    if len(cidrs) > max(1, len(families)):
        errors.append(invalid(path, cidrs, "may specify no more than one CIDR for each IP family"))
    if cidrs and spec.get("podCIDR") != cidrs[0]:
        errors.append(invalid("spec.podCIDR", spec.get("podCIDR") or "", "must be the first of podCIDRs"))
    return errors
