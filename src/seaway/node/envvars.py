"""A container's environment: Service variables, `envFrom`, `env`, and `$(NAME)` references.

What the user sets wins over what a Service gives. The values are read when a container is created: one that runs
never changes, one that restarts sees the Services of that moment.
Rule: spec "discovery" Part B (byte exact), spec "node" §2.13-2.14.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from seaway.api.service.types import Service, ServicePort
from seaway.node.podspec import (
    Container,
    EnvFromSource,
    EnvVar,
    FieldRef,
    KeySelector,
    PodManifest,
    ResourceFieldRef,
)
from seaway.node.quantities import QuantityError, read_resource

MASTER_NAMESPACE, MASTER_NAME = "default", "kubernetes"
"""The Service whose variables every container gets, in every namespace, links or not."""

Locate = Callable[[Service, ServicePort], tuple[str, int]]
"""Where a program reaches a port of a Service."""


def locate_by_cluster_ip(service: Service, port: ServicePort) -> tuple[str, int]:
    """Where there is a network for it."""
    return service.spec.cluster_ip, port.port


Find = Callable[[str], Mapping[str, bytes] | None]
"""The data of the ConfigMap or Secret of that name in the Pod's namespace, or None when there is none."""


class EnvError(Exception):
    """The environment cannot be made: the container waits with `CreateContainerConfigError` and this text."""


@dataclass(frozen=True, slots=True)
class PodFields:
    """What `fieldRef` may name beyond the Pod object: known only on the node."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


def sort_addresses(addresses: Iterable[str], primary: str) -> tuple[str, ...]:
    """In canonical form, at most one of each family, the family of `primary` first.

    Rule: spec "node" §2.15, "discovery" §C5.
    """
    found: dict[int, str] = {}
    for text in addresses:
        address = ipaddress.ip_address(text)
        found.setdefault(address.version, str(address))
    first = ipaddress.ip_address(primary).version
    return tuple(found[version] for version in (first, 10 - first) if version in found)


def choose_services(services: Iterable[Service], namespace: str, *, links: bool) -> tuple[Service, ...]:
    """The Services that a Pod of the namespace gets variables of, sorted by name.

    The sorting also decides which Service keeps a variable that two of them make (`a` and `a-service` both make
    `A_SERVICE_PORT`): the later one. Rule: spec "discovery" §B1, §B2.
    """
    chosen: dict[str, Service] = {}
    for service in services:
        name, home = service.metadata.name, service.metadata.namespace
        if service.spec.cluster_ip in ("", "None") or service.spec.type == "ExternalName" or not service.spec.ports:
            continue
        if links and home == namespace:
            chosen[name] = service
        elif (home, name) == (MASTER_NAMESPACE, MASTER_NAME):
            chosen.setdefault(name, service)
    return tuple(chosen[name] for name in sorted(chosen))


def make_service_variables(services: Iterable[Service], locate: Locate = locate_by_cluster_ip) -> dict[str, str]:
    """The variables of the Services, in order. Their names are by the Services' ports, their values by `locate`.

    Rule: spec "discovery" §B2.
    """
    variables: dict[str, str] = {}
    for service in services:
        variables.update(_variables_of(service, [(port, *locate(service, port)) for port in service.spec.ports]))
    return variables


def _variables_of(service: Service, located: Sequence[tuple[ServicePort, str, int]]) -> dict[str, str]:
    prefix = _variable_name(service.metadata.name)
    _, first_address, first_number = located[0]
    variables = {f"{prefix}_SERVICE_HOST": first_address, f"{prefix}_SERVICE_PORT": str(first_number)}
    for port, _, served in located:
        if port.name:
            variables[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = str(served)
    for number, (port, address, served) in enumerate(located):
        protocol = port.protocol or "TCP"
        host = f"[{address}]" if ":" in address else address
        url = f"{protocol.lower()}://{host}:{served}"
        if number == 0:
            variables[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        variables |= {
            link: url,
            f"{link}_PROTO": protocol.lower(),
            f"{link}_PORT": str(served),
            f"{link}_ADDR": address,
        }
    return variables


def _variable_name(name: str) -> str:
    return name.replace("-", "_").upper()


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """`text` with each `$(NAME)` that `lookup` knows replaced, and `$$` made `$`. Rule: spec "discovery" §B5."""
    result: list[str] = []
    position = 0
    while position < len(text):
        if text[position] != "$" or position + 1 == len(text):
            result.append(text[position])
            position += 1
            continue
        following = text[position + 1]
        if following == "$":
            result.append("$")
            position += 2
            continue
        end = text.find(")", position + 2) if following == "(" else -1
        if end < 0:
            result.append(text[position : position + 2])
            position += 2
            continue
        name = text[position + 2 : end]
        value = lookup(name)
        result.append(f"$({name})" if value is None else value)
        position = end + 1
    return "".join(result)


def make_environment(
    container: Container,
    pod: PodManifest,
    services: Mapping[str, str],
    *,
    fields: PodFields,
    find_config_map: Find,
    find_secret: Find,
) -> dict[str, str]:
    """The whole environment; the order is envFrom, env, then Services. Raises EnvError.

    services: from `make_service_variables`. Rule: spec "discovery" §B4.
    """
    table: dict[str, str] = {}
    for source in container.env_from:
        table.update(_read_env_from(source, pod, find_config_map, find_secret))
    for entry in container.env:
        value = _value_of(entry, container, table, services, pod, fields, find_config_map, find_secret)
        if value is not None:
            table[entry.name] = value
    return table | {name: value for name, value in services.items() if name not in table}


def _read_env_from(source: EnvFromSource, pod: PodManifest, find_config_map: Find, find_secret: Find) -> dict[str, str]:
    for kind, ref, find in (
        ("configmap", source.config_map_ref, find_config_map),
        ("secret", source.secret_ref, find_secret),
    ):
        if ref is None:
            continue
        data = find(ref.name)
        if data is None:
            if ref.optional:
                return {}
            raise EnvError(f'{kind} "{ref.name}" not found')
        names = ((source.prefix + key, data[key]) for key in sorted(data))
        return {name: value.decode(errors="replace") for name, value in names if is_variable_name(name)}
    return {}


def is_variable_name(name: str) -> bool:
    """The name can be a variable's: printable ASCII without an equals sign. Rule: spec "node" §2.13."""
    return bool(name) and name.isascii() and name.isprintable() and "=" not in name


def find_skipped_names(
    container: Container, pod: PodManifest, *, find_config_map: Find, find_secret: Find
) -> Iterator[tuple[str, str]]:
    """(reason, message) for each `envFrom` source with keys that cannot be variables and are left out."""
    for source in container.env_from:
        for kind, ref, find in (
            ("configMap", source.config_map_ref, find_config_map),
            ("secret", source.secret_ref, find_secret),
        ):
            keys = sorted(find(ref.name) or ()) if ref is not None else []
            bad = [source.prefix + key for key in keys if not is_variable_name(source.prefix + key)]
            if ref is not None and bad:
                yield (
                    "InvalidEnvironmentVariableNames",
                    f"Keys [{', '.join(bad)}] from the EnvFrom {kind} {pod.metadata.namespace}/{ref.name} were skipped "
                    "since they are considered invalid environment variable names.",
                )


def _value_of(
    entry: EnvVar,
    container: Container,
    table: Mapping[str, str],
    services: Mapping[str, str],
    pod: PodManifest,
    fields: PodFields,
    find_config_map: Find,
    find_secret: Find,
) -> str | None:
    """None: the entry is left out, because what it refers to is optional and absent."""
    if entry.value or entry.value_from is None:
        return expand(entry.value, lambda name: table.get(name, services.get(name)))
    source = entry.value_from
    if source.field_ref is not None:
        return read_field(source.field_ref, pod, fields)
    if source.config_map_key_ref is not None:
        return _read_key("configmap", "ConfigMap", source.config_map_key_ref, pod, find_config_map)
    if source.secret_key_ref is not None:
        return _read_key("secret", "Secret", source.secret_key_ref, pod, find_secret)
    if source.resource_field_ref is not None:
        return read_resource_field(source.resource_field_ref, pod, container, fields)
    raise EnvError(f"environment variable {entry.name}: this kind of valueFrom is not supported on this node")


def read_resource_field(ref: ResourceFieldRef, pod: PodManifest, container: Container | None, fields: PodFields) -> str:
    """The text of one resource of a container; `container` is the one that is meant when none is named.

    Raises EnvError.
    """
    found = pod.find_container(ref.container_name) if ref.container_name else container
    if found is None:
        raise EnvError(f"container {ref.container_name} not found")
    try:
        return read_resource(ref, found, fields.allocatable)
    except QuantityError as error:
        raise EnvError(str(error)) from error


def _read_key(word: str, kind: str, ref: KeySelector, pod: PodManifest, find: Find) -> str | None:
    data = find(ref.name)
    if data is not None and ref.key in data:
        return data[ref.key].decode(errors="replace")
    if ref.optional:
        return None
    if data is None:
        raise EnvError(f'{word} "{ref.name}" not found')
    raise EnvError(f"couldn't find key {ref.key} in {kind} {pod.metadata.namespace}/{ref.name}")


def read_field(ref: FieldRef, pod: PodManifest, fields: PodFields) -> str:
    """The text of one field of the Pod. Raises EnvError. Rule: spec "discovery" §C5."""
    path, meta = ref.field_path, pod.metadata
    for prefix, values in (("metadata.labels", meta.labels), ("metadata.annotations", meta.annotations)):
        if path.startswith(f"{prefix}['") and path.endswith("']"):
            return values.get(path[len(prefix) + 2 : -2], "")
    simple = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.host": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": fields.pod_ips[0] if fields.pod_ips else "",
        "status.podIPs": ",".join(fields.pod_ips),
        "status.hostIP": fields.host_ips[0] if fields.host_ips else "",
        "status.hostIPs": ",".join(fields.host_ips),
    }
    if path not in simple:
        raise EnvError(f"field label not supported: {path}")
    return simple[path]


def expand_command(
    container: Container, environment: Mapping[str, str], *, entrypoint: Sequence[str] = (), cmd: Sequence[str] = ()
) -> tuple[str, ...]:
    """`command` and `args` with references to the final environment replaced; or what the image has in their place.

    A command takes the place of both of the image's. Rule: Kubernetes, "Define a Command and Arguments".
    """
    command = tuple(expand(word, environment.get) for word in container.command)
    args = tuple(expand(word, environment.get) for word in container.args)
    if command:
        return (*command, *args)
    return (*entrypoint, *(args or cmd))
