"""What is wrong with a Pod, as far as this server judges it: names, containers, ports, volumes, and what may change.

Containers are judged in `containers.py`. Left to the agent: what only some nodes can run (spec "node" §2.9).
Rule: upstream's Pod validation; spec "node" §2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seaway.api.machinery.addresses import validate_ip
from seaway.api.machinery.field import FieldError, duplicate, forbidden, invalid, not_supported, required
from seaway.api.machinery.names import (
    invalid_by,
    validate_label,
    validate_label_value,
    validate_qualified_name,
    validate_subdomain,
)
from seaway.api.machinery.objectmeta import validate_annotations, validate_labels
from seaway.api.machinery.strategy import Json
from seaway.api.pod.containers import validate_containers, validate_host_ports

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_FIXED_TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_CHANGEABLE = ("tolerations", "activeDeadlineSeconds", "schedulingGates")


def validate_pod(obj: Json) -> list[FieldError]:
    """The create rules."""
    return validate_pod_spec(obj.get("spec") or {})


def validate_pod_template(template: Json, path: str) -> list[FieldError]:
    """What is wrong with a template of Pods at the path; its labels and annotations are the Pods'."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    errors = validate_labels(meta.get("labels"), "metadata.labels")
    errors += validate_annotations(meta.get("annotations"))
    errors += validate_pod_spec(spec, is_template=True)
    if spec.get("ephemeralContainers"):
        errors.append(forbidden("spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    return [replace(error, path=f"{path}.{error.path}") for error in errors]


def validate_pod_spec(spec: Json, *, is_template: bool = False) -> list[FieldError]:
    """The rules of a Pod's specification, with paths from the Pod."""
    volumes, errors = _validate_volumes(spec.get("volumes") or ())
    return [
        *errors,
        *validate_containers(spec, volumes),
        *_validate_policies(spec),
        *_validate_names(spec),
        *validate_labels(spec.get("nodeSelector"), "spec.nodeSelector"),
        *validate_host_ports(spec, is_template=is_template),
        *_validate_dns(spec),
        *_validate_tolerations(spec.get("tolerations") or ()),
        *_validate_host_aliases(spec.get("hostAliases") or ()),
    ]


def validate_pod_update(obj: Json, old: Json) -> list[FieldError]:
    """Only images, the deadline (downwards), tolerations (more of them) and gates (fewer of them) may change."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors: list[FieldError] = []
    for field in ("containers", "initContainers"):
        if len(spec.get(field) or ()) != len(before.get(field) or ()):
            return [forbidden(f"spec.{field}", "pod updates may not add or remove containers")]
        for index, container in enumerate(spec.get(field) or ()):
            if not container.get("image"):
                errors.append(required(f"spec.{field}[{index}].image"))
    errors += _validate_deadline_change(spec, before)
    tolerated = [_without_seconds(toleration) for toleration in spec.get("tolerations") or ()]
    if any(_without_seconds(toleration) not in tolerated for toleration in before.get("tolerations") or ()):
        text = "existing toleration can not be modified except its tolerationSeconds"
        errors.append(forbidden("spec.tolerations", text))
    errors += _validate_tolerations(spec.get("tolerations") or ())
    gates, known = (_gate_names(part) for part in (spec, before))
    errors += [
        forbidden("spec.schedulingGates", f"only deletion is allowed, but found new scheduling gate '{name}'")
        for name in gates
        if name not in known
    ]
    if _fixed_part(spec) != _fixed_part(before) and not _lifts_negative_grace(spec, before):
        errors.append(forbidden("spec", _FIXED_TEXT))
    return errors


def validate_pod_status(obj: Json, old: Json) -> list[FieldError]:
    """Addresses are addresses, at most one per family."""
    status = obj.get("status") or {}
    errors: list[FieldError] = []
    for field in ("podIPs", "hostIPs"):
        texts = [entry.get("ip") or "" for entry in status.get(field) or ()]
        known = [entry.get("ip") or "" for entry in (old.get("status") or {}).get(field) or ()]
        for index, text in enumerate(texts):
            errors += [invalid(f"status.{field}[{index}]", text, detail) for detail in validate_ip(text, known)]
        if len(texts) != len({":" in text for text in texts}):
            detail = "may specify no more than one IP for each IP family"
            errors.append(invalid(f"status.{field}", status[field], detail))
    return errors


def _gate_names(spec: Json) -> list[str]:
    return [gate.get("name") or "" for gate in spec.get("schedulingGates") or ()]


def _fixed_part(spec: Json) -> Json:
    """The spec without what an update may change."""
    fixed = {key: value for key, value in spec.items() if key not in _CHANGEABLE}
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [{k: v for k, v in container.items() if k != "image"} for container in fixed[field]]
    return fixed


def _without_seconds(toleration: Json) -> Json:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _lifts_negative_grace(spec: Json, before: Json) -> bool:
    field = "terminationGracePeriodSeconds"
    rest, had = _fixed_part(spec), _fixed_part(before)
    return rest.pop(field, None) == 1 and (had.pop(field, None) or 0) < 0 and rest == had


def _validate_deadline_change(spec: Json, before: Json) -> list[FieldError]:
    path = "spec.activeDeadlineSeconds"
    new, had = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if new is None:
        return [] if had is None else [invalid(path, None, "must not update from a positive integer to nil value")]
    if new < 0:
        return [invalid(path, new, _NOT_NEGATIVE)]
    if had is not None and new > had:
        return [invalid(path, new, "must be less than or equal to previous value")]
    return []


def _validate_policies(spec: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, supported in (("restartPolicy", RESTART_POLICIES), ("dnsPolicy", DNS_POLICIES)):
        value = spec.get(field)
        if not value:
            errors.append(required(f"spec.{field}"))
        elif value not in supported:
            errors.append(not_supported(f"spec.{field}", value, sorted(supported)))
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        errors.append(invalid("spec.terminationGracePeriodSeconds", grace, _NOT_NEGATIVE))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        text = "must be between 1 and 2147483647, inclusive"
        errors.append(invalid("spec.activeDeadlineSeconds", deadline, text))
    return errors


def _validate_names(spec: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    rules = (
        ("serviceAccountName", validate_subdomain),
        ("nodeName", validate_subdomain),
        ("hostname", validate_label),
        ("subdomain", validate_label),
    )
    for field, rule in rules:
        if value := spec.get(field):
            errors += invalid_by(rule, f"spec.{field}", value)
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if not reference.get("name"):
            errors.append(required(f"spec.imagePullSecrets[{index}].name"))
    return errors


def _validate_volumes(volumes: Sequence[Json]) -> tuple[frozenset[str], list[FieldError]]:
    """The names of the volumes, and what is wrong with them."""
    names: set[str] = set()
    errors: list[FieldError] = []
    for index, volume in enumerate(volumes):
        path, name = f"spec.volumes[{index}]", volume.get("name") or ""
        if not name:
            errors.append(required(f"{path}.name"))
        else:
            errors += invalid_by(validate_label, f"{path}.name", name)
        if name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
        sources = sorted(set(volume) - {"name"})
        if not sources:
            errors.append(required(path, "must specify a volume type"))
        errors += [forbidden(f"{path}.{s}", "may not specify more than 1 volume type") for s in sources[1:]]
        host_path = volume.get("hostPath")
        if host_path is not None and not host_path.get("path"):
            errors.append(required(f"{path}.hostPath.path"))
    return frozenset(names), errors


def _validate_dns(spec: Json) -> list[FieldError]:
    config = spec.get("dnsConfig")
    servers = (config or {}).get("nameservers") or ()
    path = "spec.dnsConfig"
    errors: list[FieldError] = []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not servers:
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            errors.append(required(f"{path}.nameservers", text))
    if len(servers) > 3:
        errors.append(invalid(f"{path}.nameservers", list(servers), "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        errors += invalid_by(validate_ip, f"{path}.nameservers[{index}]", server)
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{index}]", "must not be empty"))
    return errors


def _validate_tolerations(tolerations: Sequence[Json]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        path = f"spec.tolerations[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            errors += invalid_by(validate_qualified_name, f"{path}.key", key)
        elif operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(invalid(f"{path}.operator", operator, text))
        if operator == "Exists" and value:
            errors.append(invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'"))
        elif operator == "Equal":
            errors += invalid_by(validate_label_value, f"{path}.operator", value)
        elif operator != "Exists":
            errors.append(not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in _EFFECTS:
            errors.append(not_supported(f"{path}.effect", effect, _EFFECTS))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(invalid(f"{path}.effect", effect, text))
    return errors


def _validate_host_aliases(aliases: Sequence[Json]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, alias in enumerate(aliases):
        path = f"spec.hostAliases[{index}]"
        errors += invalid_by(validate_ip, f"{path}.ip", alias.get("ip") or "")
        names: Any = alias.get("hostnames") or ()
        errors += [error for name in names for error in invalid_by(validate_subdomain, f"{path}.hostnames", name)]
    return errors
