"""What is wrong with a NetworkPolicy. Rule: upstream's networking/v1 validation; spec "service-api" §0.5 (CIDR)."""

from __future__ import annotations

from seaway.api.machinery.addresses import Network, find_network, validate_cidr
from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required
from seaway.api.machinery.labelselectors import validate_label_selector
from seaway.api.machinery.names import invalid_by
from seaway.api.machinery.ports import PROTOCOLS, invalid_port, invalid_port_reference
from seaway.api.machinery.strategy import Json

POLICY_TYPES = ("Egress", "Ingress")


def validate_policy(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike. A CIDR that was there before is not judged again."""
    spec = obj.get("spec") or {}
    known = _list_cidrs((old or {}).get("spec") or {})
    errors = validate_label_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                errors += _validate_port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(peers) or ()):
                errors += _validate_peer(peer, f"{path}.{peers}[{position}]", known)
    types = spec.get("policyTypes") or ()
    if len(types) > len(POLICY_TYPES):
        return [*errors, invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    return errors + [
        not_supported(f"spec.policyTypes[{index}]", kind, POLICY_TYPES)
        for index, kind in enumerate(types)
        if kind not in POLICY_TYPES
    ]


def _list_cidrs(spec: Json) -> frozenset[str]:
    """Every CIDR of the specification."""
    blocks = [
        peer.get("ipBlock") or {}
        for direction, peers in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction) or ()
        for peer in rule.get(peers) or ()
    ]
    return frozenset(cidr for block in blocks for cidr in (block.get("cidr") or "", *(block.get("except") or ())))


def _validate_port(port: Json, path: str) -> list[FieldError]:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    errors: list[FieldError] = []
    if protocol is not None and protocol not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    if number is not None:
        errors += invalid_port_reference(f"{path}.port", number)
    if end is None:
        return errors
    if number is None:
        errors.append(invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified"))
    elif isinstance(number, str):
        errors.append(invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric"))
    else:
        if end < number:
            errors.append(invalid(f"{path}.endPort", end, "must be greater than or equal to `port`"))
        errors += invalid_port(f"{path}.endPort", end)
    return errors


def _validate_peer(peer: Json, path: str, known: frozenset[str]) -> list[FieldError]:
    selectors = [field for field in ("podSelector", "namespaceSelector") if peer.get(field) is not None]
    block = peer.get("ipBlock")
    errors = [error for field in selectors for error in validate_label_selector(peer[field], f"{path}.{field}")]
    if block is not None:
        errors += _validate_block(block, f"{path}.ipBlock", known)
        if selectors:
            errors.append(forbidden(path, "may not specify both ipBlock and another peer"))
    elif not selectors:
        errors.append(required(path, "must specify a peer"))
    return errors


def _validate_block(block: Json, path: str, known: frozenset[str]) -> list[FieldError]:
    text = block.get("cidr") or ""
    if not text:
        return [required(f"{path}.cidr")]
    errors = invalid_by(lambda cidr: validate_cidr(cidr, known), f"{path}.cidr", text)
    outer = find_network(text)
    if outer is None:
        return errors
    for index, inner_text in enumerate(block.get("except") or ()):
        own = f"{path}.except[{index}]"
        errors += invalid_by(lambda cidr: validate_cidr(cidr, known), own, inner_text)
        inner = find_network(inner_text)
        if inner is not None and not _is_inside(inner.network, outer.network):
            errors.append(invalid(own, inner_text, "must be a strict subset of `cidr`"))
    return errors


def _is_inside(inner: Network, outer: Network) -> bool:
    """Smaller, of the same family, and within. A CIDR with host bits stands for its network."""
    if inner.version != outer.version or inner.prefixlen <= outer.prefixlen:
        return False
    shift = outer.max_prefixlen - outer.prefixlen
    return int(inner.network_address) >> shift == int(outer.network_address) >> shift
