"""What is wrong with the containers of a Pod. Rule: upstream's Pod validation; spec "node" §2.1, §2.8, §2.12."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from seaway.api.machinery.field import (
    FieldError,
    FieldErrorKind,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from seaway.api.machinery.names import invalid_by, validate_env_name, validate_label, validate_port_name
from seaway.api.machinery.ports import invalid_port, invalid_port_reference, invalid_protocol
from seaway.api.machinery.strategy import Json

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_LASTING = ("lifecycle", "livenessProbe", "ports", "readinessProbe", "resizePolicy", "resources", "restartPolicy",
            "startupProbe")  # fmt: skip
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_NOT_NEGATIVE = "must be greater than or equal to 0"


def validate_containers(spec: Json, volumes: Collection[str]) -> list[FieldError]:
    """volumes: the names that mounts may use."""
    errors: list[FieldError] = []
    if not spec.get("containers"):
        errors.append(required("spec.containers"))
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            path = f"spec.{field}[{index}]"
            errors += _validate_name(f"{path}.name", container.get("name") or "", names)
            errors += _validate_container(path, container, volumes, spec)
            if field == "initContainers" and container.get("restartPolicy") != "Always":
                errors += [
                    forbidden(f"{path}.{probe}", "may not be set for init containers without restartPolicy=Always")
                    for probe in ("lifecycle", *_PROBES)
                    if container.get(probe)
                ]
    return errors


def validate_ephemeral_containers(spec: Json) -> list[FieldError]:
    """Their names are new to the Pod, and nothing rests on them: no ports, probes, resources."""
    names = {c.get("name") or "" for field in ("containers", "initContainers") for c in spec.get(field) or ()}
    targets = frozenset(names)
    volumes = frozenset(volume.get("name") or "" for volume in spec.get("volumes") or ())
    errors: list[FieldError] = []
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        path = f"spec.ephemeralContainers[{index}]"
        errors += _validate_name(f"{path}.name", container.get("name") or "", names)
        errors += _validate_container(path, container, volumes, spec)
        errors += [forbidden(f"{path}.{field}", _NOT_EPHEMERAL) for field in _LASTING if container.get(field)]
        target = container.get("targetContainerName")
        if target and target not in targets:
            errors.append(FieldError(f"{path}.targetContainerName", FieldErrorKind.NOT_FOUND, target))
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            own = f"{path}.volumeMounts[{position}]"
            errors += [forbidden(f"{own}.{f}", _NOT_EPHEMERAL) for f in ("subPath", "subPathExpr") if mount.get(f)]
    return errors


def validate_host_ports(spec: Json, *, is_template: bool = False) -> list[FieldError]:
    """A host port is taken once per Pod; on the host's network it is the container's own (in a template: or none)."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            path = f"spec.containers[{index}].ports[{position}]"
            number = port.get("hostPort") or 0
            is_unsaid = is_template and not number
            if spec.get("hostNetwork") and number != port.get("containerPort") and not is_unsaid:
                text = "must match `hostPort` when `hostNetwork` is true"
                errors.append(invalid(f"{path}.containerPort", port.get("containerPort") or 0, text))
            if not number:
                continue
            key = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{number}"
            if key in seen:
                errors.append(duplicate(f"{path}.hostPort", key))
            seen.add(key)
    return errors


def _validate_name(path: str, name: str, names: set[str]) -> list[FieldError]:
    """Names are unique over all containers of the Pod. Adds to `names`."""
    if not name:
        return [required(path)]
    errors = invalid_by(validate_label, path, name)
    if name in names:
        errors.append(duplicate(path, name))
    names.add(name)
    return errors


def _validate_container(path: str, container: Json, volumes: Collection[str], spec: Json) -> list[FieldError]:
    image = container.get("image") or ""
    errors: list[FieldError] = []
    if not image:
        errors.append(required(f"{path}.image"))
    elif image.strip() != image:
        errors.append(invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    for field, supported in (
        ("terminationMessagePolicy", ("FallbackToLogsOnError", "File")),
        ("imagePullPolicy", _PULL_POLICIES),
    ):
        value = container.get(field)
        if not value:
            errors.append(required(f"{path}.{field}"))
        elif value not in supported:
            errors.append(not_supported(f"{path}.{field}", value, supported))
    errors += _validate_ports(f"{path}.ports", container.get("ports") or ())
    errors += _validate_env(f"{path}.env", container.get("env") or ())
    errors += _validate_mounts(f"{path}.volumeMounts", container.get("volumeMounts") or (), volumes)
    for name in _PROBES:
        if probe := container.get(name):
            errors += _validate_probe(f"{path}.{name}", probe, once=name != "readinessProbe")
    for name in ("postStart", "preStop"):
        if hook := (container.get("lifecycle") or {}).get(name):
            errors += _validate_handler(f"{path}.lifecycle.{name}", hook, ("exec", "httpGet", "tcpSocket", "sleep"))
    return errors


def _validate_ports(path: str, ports: Sequence[Json]) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        own = f"{path}[{index}]"
        if name := port.get("name"):
            errors += invalid_by(validate_port_name, f"{own}.name", name)
            if name in names:
                errors.append(duplicate(f"{own}.name", name))
            names.add(name)
        if port.get("containerPort"):
            errors += invalid_port(f"{own}.containerPort", port["containerPort"])
        else:
            errors.append(required(f"{own}.containerPort"))
        if port.get("hostPort"):
            errors += invalid_port(f"{own}.hostPort", port["hostPort"])
        errors += invalid_protocol(f"{own}.protocol", port.get("protocol"))
    return errors


def _validate_env(path: str, variables: Sequence[Json]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(variables):
        own, name = f"{path}[{index}]", variable.get("name") or ""
        if name:
            errors += invalid_by(validate_env_name, f"{own}.name", name)
        else:
            errors.append(required(f"{own}.name"))
        source = variable.get("valueFrom")
        if source is None:
            continue
        given = [field for field in source if source[field] is not None]
        if len(given) != 1:
            text = "may not have more than one field specified at a time" if given else "must specify one of: "
            text += "" if given else "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            errors.append(invalid(f"{own}.valueFrom", "", text))
        if variable.get("value"):
            errors.append(invalid(f"{own}.valueFrom", "", "may not be specified when `value` is not empty"))
    return errors


def _validate_mounts(path: str, mounts: Sequence[Json], volumes: Collection[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    places: set[str] = set()
    for index, mount in enumerate(mounts):
        own, name, place = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{own}.name"))
        elif name not in volumes:
            errors.append(FieldError(f"{own}.name", FieldErrorKind.NOT_FOUND, name))
        if not place:
            errors.append(required(f"{own}.mountPath"))
        elif place in places:
            errors.append(invalid(f"{own}.mountPath", place, "must be unique"))
        places.add(place)
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            errors.append(invalid(f"{own}.subPath", sub_path, "must be a relative path"))
        elif ".." in sub_path.split("/"):
            errors.append(invalid(f"{own}.subPath", sub_path, "must not contain '..'"))
    return errors


def _validate_probe(path: str, probe: Json, *, once: bool) -> list[FieldError]:
    """once: liveness and start-up probes succeed at once or not at all."""
    errors = _validate_handler(path, probe, _HANDLERS)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        value = probe.get(field) or 0
        if value < 0:
            errors.append(invalid(f"{path}.{field}", value, _NOT_NEGATIVE))
    if once and probe.get("successThreshold") != 1:
        errors.append(invalid(f"{path}.successThreshold", probe.get("successThreshold") or 0, "must be 1"))
    return errors


def _validate_handler(path: str, handler: Json, kinds: Sequence[str]) -> list[FieldError]:
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        return [required(path, "must specify a handler type")]
    errors = [forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]]
    kind, action = given[0], handler[given[0]]
    if kind == "exec" and not action.get("command"):
        errors.append(required(f"{path}.exec.command"))
    if kind == "httpGet":
        if not action.get("path"):
            errors.append(required(f"{path}.httpGet.path"))
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            errors.append(not_supported(f"{path}.httpGet.scheme", action.get("scheme") or "", ("HTTP", "HTTPS")))
    if kind in ("httpGet", "tcpSocket"):
        errors += invalid_port_reference(f"{path}.{kind}.port", action.get("port") or 0)
    if kind == "grpc":
        errors += invalid_port(f"{path}.grpc.port", action.get("port"))
    return errors
