"""What is wrong with an Endpoints object. The number of addresses is not limited. Rule: spec "service-api" §9.1."""

from __future__ import annotations

from seaway.api.machinery.addresses import validate_endpoint_ip, validate_ip
from seaway.api.machinery.field import FieldError, required
from seaway.api.machinery.names import invalid_by, validate_label, validate_subdomain
from seaway.api.machinery.ports import invalid_app_protocol, invalid_port, invalid_protocol
from seaway.api.machinery.strategy import Json


def validate_endpoints(obj: Json) -> list[FieldError]:
    """The create rules."""
    errors: list[FieldError] = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                errors += _validate_address(f"{path}.{field}[{position}]", address)
        ports = subset.get("ports") or ()
        for position, port in enumerate(ports):
            errors += _validate_port(f"{path}.ports[{position}]", port, is_alone=len(ports) == 1)
    return errors


def validate_endpoints_update(obj: Json, old: Json) -> list[FieldError]:
    """Subsets that stay as they were are not judged again."""
    return [] if obj.get("subsets") == old.get("subsets") else validate_endpoints(obj)


def _validate_address(path: str, address: Json) -> list[FieldError]:
    text = address.get("ip") or ""
    errors = invalid_by(validate_ip, f"{path}.ip", text)
    if address.get("hostname"):
        errors += invalid_by(validate_label, f"{path}.hostname", address["hostname"])
    if address.get("nodeName") is not None:
        errors += invalid_by(validate_subdomain, f"{path}.nodeName", address["nodeName"])
    return errors + invalid_by(validate_endpoint_ip, f"{path}.ip", text)


def _validate_port(path: str, port: Json, *, is_alone: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if port.get("name"):
        errors += invalid_by(validate_label, f"{path}.name", port["name"])
    elif not is_alone:
        errors.append(required(f"{path}.name"))
    errors += invalid_port(f"{path}.port", port.get("port"))
    errors += invalid_protocol(f"{path}.protocol", port.get("protocol"))
    return errors + invalid_app_protocol(f"{path}.appProtocol", port.get("appProtocol"))
