"""What is wrong with a ServiceCIDR. Rule: spec "service-api" §5.5."""

from __future__ import annotations

from seaway.api.machinery.addresses import find_network, validate_canonical_cidr
from seaway.api.machinery.field import FieldError, invalid, required
from seaway.api.machinery.names import invalid_by
from seaway.api.machinery.strategy import Json

MAX_CIDRS = 2
_PATH = "spec.cidrs"
_IMMUTABLE = "field is immutable"


def validate_service_cidr(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    cidrs: list[str] = spec.get("cidrs") or []
    if not cidrs:
        return [required(_PATH, "at least one CIDR required")]
    if len(cidrs) > MAX_CIDRS:
        return [invalid(_PATH, {"CIDRs": cidrs}, f"may only hold up to {MAX_CIDRS} values")]
    errors = [
        error
        for index, cidr in enumerate(cidrs)
        for error in invalid_by(validate_canonical_cidr, f"{_PATH}[{index}]", cidr)
    ]
    versions = [found.address.version for cidr in cidrs if (found := find_network(cidr)) is not None]
    if len(versions) != len(set(versions)):
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errors.append(invalid(_PATH, cidrs, text))
    return errors


def validate_service_cidr_update(obj: Json, old: Json) -> list[FieldError]:
    """Only a second family may be added."""
    cidrs: list[str] = (obj.get("spec") or {}).get("cidrs") or []
    before: list[str] = (old.get("spec") or {}).get("cidrs") or []
    if len(cidrs) != len(before) and (len(before), len(cidrs)) != (1, 2):
        return [invalid(_PATH, cidrs, _IMMUTABLE)]
    errors = [
        invalid(f"{_PATH}[{index}]", cidr, _IMMUTABLE)
        for index, (cidr, was) in enumerate(zip(cidrs, before, strict=False))
        if cidr != was
    ]
    return errors or (validate_service_cidr(obj) if len(cidrs) > len(before) else [])
