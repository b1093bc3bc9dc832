"""What is wrong with a Service. Defaults and allocation have run.

Rules carry their numbers from spec "service-api" §3.2 (R), §3.4 (U) and §6. Left out are those that defaulting makes
unreachable: R17, R19, R41, R48 and the Required halves of R45 and R47. Errors come in the order of the rules.
"""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.addresses import (
    find_address,
    find_family,
    validate_cidr,
    validate_endpoint_ip,
    validate_ip,
)
from seaway.api.machinery.field import FieldError, duplicate, forbidden, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_label, validate_qualified_name, validate_subdomain
from seaway.api.machinery.objectmeta import validate_labels, validate_meta_forms, validate_update_meta
from seaway.api.machinery.ports import (
    invalid_app_protocol,
    invalid_port,
    invalid_port_reference,
    invalid_protocol,
    validate_port_number,
)
from seaway.api.machinery.strategy import Json
from seaway.api.service.defaults import is_externally_accessible, is_headless, needs_health_check_port

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
MODE_ANNOTATION = "service.kubernetes.io/topology-mode"
HINTS_ANNOTATION = "service.kubernetes.io/topology-aware-hints"
SOURCE_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
MAX_AFFINITY_SECONDS = 86400
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_UNCHANGEABLE = "may not change once set"


def validate_service(obj: Json, old: Json | None = None) -> list[FieldError]:
    """The create rules; with `old`, values that were already there are tolerated where the spec says so."""
    spec: Json = obj.get("spec") or {}
    before: Json = (old or {}).get("spec") or {}
    return [
        *_validate_annotations(obj),
        *_validate_type_needs(spec),
        *_validate_ports(spec),
        *validate_labels(spec.get("selector"), "spec.selector"),
        *_validate_affinity(spec),
        *(validate_cluster_ips(spec, before) if spec.get("type") != "ExternalName" else ()),
        *_validate_external_ips(spec, before),
        *_choice("spec.type", spec.get("type"), TYPES),
        *_validate_port_sets(spec),
        *_validate_balancer(obj, old),
        *_validate_class(spec),
        *_validate_traffic_policies(spec),
    ]


def validate_service_update(obj: Json, old: Json) -> list[FieldError]:
    """The update rules, then the create rules with the old object known.

    What the server asks of all metadata is asked here once more, and the form of the class twice: as upstream has it,
    clients see those causes as often (§0.3).
    """
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors: list[FieldError] = validate_update_meta(obj, old)
    both_headless = is_headless(spec) and is_headless(before)
    if not both_headless and "ExternalName" not in (spec.get("type"), before.get("type")):
        errors += _validate_kept_addresses(spec, before)
        errors += _validate_kept_families(spec, before)
    balancer_class, had_class = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
    if spec.get("type") == before.get("type") == "LoadBalancer" and balancer_class != had_class:  # U9
        errors.append(invalid("spec.loadBalancerClass", balancer_class, _UNCHANGEABLE))
    errors += _validate_class(spec)
    number, had_number = spec.get("healthCheckNodePort") or 0, before.get("healthCheckNodePort") or 0
    if needs_health_check_port(spec) and needs_health_check_port(before) and number != had_number:  # U10
        errors.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return [*errors, *validate_meta_forms(obj.get("metadata") or {}), *validate_service(obj, old)]


def validate_cluster_ips(spec: Json, old: Json | None = None) -> list[FieldError]:
    """R20 to R30: clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy fit together. Also runs before allocation."""
    path = "spec.clusterIPs"
    first, addresses = spec.get("clusterIP") or "", list(spec.get("clusterIPs") or ())
    families = spec.get("ipFamilies") or ()
    errors: list[FieldError] = []
    if first and not addresses:
        errors.append(required(path))
    if addresses and not first:
        errors.append(invalid(path, addresses, "must be empty when `clusterIP` is not specified"))
    elif addresses and addresses[0] != first:
        errors.append(invalid(path, addresses, "first value must match `clusterIP`"))
    for index, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            errors.append(not_supported(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6")))
        if family in families[:index]:
            errors.append(duplicate(f"spec.ipFamilies[{index}]", family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, POLICIES))
    return errors + _validate_address_list(addresses, families, (old or {}).get("clusterIPs") or ())


def _validate_address_list(addresses: list[str], families: Any, old_values: Any) -> list[FieldError]:
    """R25 to R30. Families are not compared while an address is no address: it would only confuse."""
    path = "spec.clusterIPs"
    malformed: list[FieldError] = []
    for index, address in enumerate(addresses):
        if index or address != "None":
            malformed += [invalid(f"{path}[{index}]", address, text) for text in validate_ip(address, old_values)]
        elif len(addresses) > 1:
            malformed.append(invalid(path, addresses, "'None' must be the first and only value"))
    errors: list[FieldError] = []
    if len(addresses) > 2:
        errors.append(invalid(path, addresses, "may only hold up to 2 values"))
    if malformed or (addresses and addresses[0] == "None"):
        return malformed + errors
    found = [family.value if (family := find_family(address)) else "" for address in addresses]
    if len(addresses) > 1 and len(set(found)) != 2:
        errors.append(invalid(path, addresses, "may specify no more than one IP for each IP family"))
    for index, (address, family) in enumerate(zip(addresses, families, strict=False)):
        if family in ("IPv4", "IPv6") and found[index] != family:
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.append(invalid(f"{path}[{index}]", address, text))
    return errors


def validate_load_balancer_status(obj: Json, old: Json) -> list[FieldError]:
    """What is wrong with status.loadBalancer, judged by the type of the spec (§6)."""
    path = "status.loadBalancer.ingress"
    entries = _ingress(obj)
    if not entries:
        return []
    if (obj.get("spec") or {}).get("type") != "LoadBalancer":
        return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    known = {entry.get("ip") or "" for entry in _ingress(old)}
    errors: list[FieldError] = []
    for index, entry in enumerate(entries):
        address, mode = entry.get("ip") or "", entry.get("ipMode")
        if address:
            errors += [invalid(f"{path}[{index}].ip", address, t) for t in validate_ip(address, known)]
            if mode is None:
                errors.append(required(f"{path}[{index}].ipMode", "must be specified when `ip` is set"))
        elif mode is not None:
            errors.append(forbidden(f"{path}[{index}].ipMode", "may not be specified when `ip` is not set"))
        if mode is not None and mode not in ("VIP", "Proxy"):
            errors.append(not_supported(f"{path}[{index}].ipMode", mode, ("Proxy", "VIP")))
        if hostname := entry.get("hostname"):
            errors += invalid_by(validate_subdomain, f"{path}[{index}].hostname", hostname)
            if find_address(hostname):
                errors.append(invalid(f"{path}[{index}].hostname", hostname, "must be a DNS name, not an IP address"))
    return errors


def _ingress(obj: Json) -> list[Json]:
    return ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _choice(path: str, value: str | None, supported: tuple[str, ...]) -> list[FieldError]:
    if not value:
        return [required(path)]
    return [] if value in supported else [not_supported(path, value, supported)]


def _validate_annotations(obj: Json) -> list[FieldError]:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    mode, hints = annotations.get(MODE_ANNOTATION), annotations.get(HINTS_ANNOTATION)
    if mode is None or hints is None or mode == hints:
        return []
    text = f"must match annotations[{HINTS_ANNOTATION}] when both are specified"
    return [invalid(f"metadata.annotations[{MODE_ANNOTATION}]", mode, text)]  # R1


def _validate_type_needs(spec: Json) -> list[FieldError]:
    """R2 to R8: what each type must have or must not have."""
    kind = spec.get("type")
    errors: list[FieldError] = []
    if not spec.get("ports") and not is_headless(spec) and kind != "ExternalName":
        errors.append(required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort") and spec.get("clusterIPs") == ["None"]:
        errors.append(invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field) or (field == "ipFamilyPolicy" and spec.get(field) is not None):
                errors.append(forbidden(f"spec.{field}", "may not be set for ExternalName services"))
        name = (spec.get("externalName") or "").removesuffix(".")
        if name:
            errors += invalid_by(validate_subdomain, "spec.externalName", name)
        else:
            errors.append(required("spec.externalName"))
    return errors


def _validate_ports(spec: Json) -> list[FieldError]:
    """R9 to R14."""
    ports = spec.get("ports") or ()
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name:
            if len(ports) > 1:
                errors.append(required(f"{path}.name"))
        else:
            errors += invalid_by(validate_label, f"{path}.name", name)
            if name in names:
                errors.append(duplicate(f"{path}.name", name))
            names.add(name)
        errors += invalid_port(f"{path}.port", port.get("port"))
        errors += invalid_protocol(f"{path}.protocol", port.get("protocol"))
        errors += invalid_port_reference(f"{path}.targetPort", port.get("targetPort") or 0)
        errors += invalid_app_protocol(f"{path}.appProtocol", port.get("appProtocol"))
    return errors


def _validate_affinity(spec: Json) -> list[FieldError]:
    """R16, R18."""
    affinity = spec.get("sessionAffinity")
    errors = _choice("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    if affinity == "ClientIP":
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        if seconds is not None and not 0 < seconds <= MAX_AFFINITY_SECONDS:
            path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            errors.append(invalid(path, seconds, "must be greater than 0 and less than 86400"))
    return errors


def _validate_external_ips(spec: Json, before: Json) -> list[FieldError]:
    """R31. That an address cannot be an endpoint is said of old values too."""
    errors: list[FieldError] = []
    for index, address in enumerate(spec.get("externalIPs") or ()):
        texts = validate_ip(address, before.get("externalIPs") or ()) or validate_endpoint_ip(address)
        errors += [invalid(f"spec.externalIPs[{index}]", address, text) for text in texts]
    return errors


def _validate_port_sets(spec: Json) -> list[FieldError]:
    """R33 to R35."""
    ports = spec.get("ports") or ()
    numbered = [(f"spec.ports[{index}].nodePort", port) for index, port in enumerate(ports) if port.get("nodePort")]
    errors: list[FieldError] = []
    if spec.get("type") == "ClusterIP":
        errors += [forbidden(path, "may not be used when `type` is 'ClusterIP'") for path, _ in numbered]
    node_ports: set[tuple[str, int]] = set()
    for path, port in numbered:
        if (port.get("protocol"), port["nodePort"]) in node_ports:
            errors.append(duplicate(path, port["nodePort"]))
        node_ports.add((port.get("protocol"), port["nodePort"]))
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            shown = {"Name": "", "Protocol": key[0], "AppProtocol": None, "Port": key[1], "TargetPort": 0,
                     "NodePort": 0}  # fmt: skip
            errors.append(duplicate(f"spec.ports[{index}]", shown))
        seen.add(key)
    return errors


def _validate_balancer(obj: Json, old: Json | None) -> list[FieldError]:
    """R36 to R40."""
    spec: Json = obj.get("spec") or {}
    before: Json = (old or {}).get("spec") or {}
    is_balancer = spec.get("type") == "LoadBalancer"
    ranges, path = spec.get("loadBalancerSourceRanges") or (), "spec.LoadBalancerSourceRanges"
    errors: list[FieldError] = []
    if ranges and not is_balancer:
        errors.append(forbidden(path, _ONLY_BALANCER))
    for index, cidr in enumerate(ranges):
        known = [value.strip() for value in before.get("loadBalancerSourceRanges") or ()]
        errors += [invalid(f"{path}[{index}]", cidr.strip(), text) for text in validate_cidr(cidr.strip(), known)]
    if not ranges:
        errors += _validate_ranges_annotation(obj, old, is_balancer)
    if spec.get("allocateLoadBalancerNodePorts") is not None and not is_balancer:
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER))
    return errors


def _validate_class(spec: Json) -> list[FieldError]:
    """R42, R43."""
    path, name = "spec.loadBalancerClass", spec.get("loadBalancerClass")
    if name is None:
        return []
    if spec.get("type") == "LoadBalancer":
        return invalid_by(validate_qualified_name, path, name)
    return [forbidden(path, _ONLY_BALANCER)]


def _validate_ranges_annotation(obj: Json, old: Json | None, is_balancer: bool) -> list[FieldError]:
    """R38, R39: the annotation that preceded the field."""
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(SOURCE_RANGES_ANNOTATION)
    if text is None:
        return []
    path = f"metadata.annotations[{SOURCE_RANGES_ANNOTATION}]"
    errors = [] if is_balancer else [forbidden(path, _ONLY_BALANCER)]
    known = (((old or {}).get("metadata") or {}).get("annotations") or {}).get(SOURCE_RANGES_ANNOTATION)
    if text.strip() and text != known:
        for item in text.split(","):
            errors += invalid_by(validate_cidr, path, item.strip())
    return errors


def _validate_traffic_policies(spec: Json) -> list[FieldError]:
    """R44 to R50."""
    errors: list[FieldError] = []
    external = spec.get("externalTrafficPolicy")
    if is_externally_accessible(spec):
        errors += _choice("spec.externalTrafficPolicy", external, ("Cluster", "Local"))
    elif external:
        text = "may only be set for externally-accessible services"
        errors.append(invalid("spec.externalTrafficPolicy", external, text))
    number = spec.get("healthCheckNodePort") or 0
    if number and not needs_health_check_port(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(invalid("spec.healthCheckNodePort", number, text))
    elif number:
        errors += [invalid("spec.healthCheckNodePort", number, text) for text in validate_port_number(number)]
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in ("Cluster", "Local"):
        errors.append(not_supported("spec.internalTrafficPolicy", internal, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    known = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if distribution is not None and distribution not in known:
        errors.append(not_supported("spec.trafficDistribution", distribution, known))
    return errors


def _validate_kept_addresses(spec: Json, before: Json) -> list[FieldError]:
    """U1 to U4: the first cluster IP stays; the second may come, and go with policy SingleStack."""
    path = "spec.clusterIPs"
    new, had = list(spec.get("clusterIPs") or ()), list(before.get("clusterIPs") or ())
    if len(new) == len(had):
        pairs = enumerate(zip(new, had, strict=True))
        return [invalid(f"{path}[{i}]", new, _UNCHANGEABLE) for i, (a, b) in pairs if a != b]
    if not new:
        return [invalid(f"{path}[0]", new, "primary clusterIP can not be unset")]
    errors = []
    if had and new[0] != had[0]:
        errors.append(invalid(f"{path}[0]", new, _UNCHANGEABLE))
    if len(new) < len(had) and len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        text = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        errors.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text))
    return errors


def _validate_kept_families(spec: Json, before: Json) -> list[FieldError]:
    """U5 to U8."""
    path = "spec.ipFamilies[0]"
    new, had = list(spec.get("ipFamilies") or ()), list(before.get("ipFamilies") or ())
    if len(new) == len(had):
        headless = is_headless(spec) or is_headless(before)
        return [] if headless else [invalid(path, new, _UNCHANGEABLE) for a, b in zip(new, had, strict=True) if a != b]
    errors = []
    if len(new) < len(had) and not spec.get("clusterIPs"):
        errors.append(invalid(path, new, "primary ipFamily can not be unset"))
    if new and had and new[0] != had[0]:
        errors.append(invalid(path, list(spec.get("clusterIPs") or ()), _UNCHANGEABLE))
    if len(new) < len(had) and len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        text = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        errors.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text))
    return errors
