"""What a Pod finds around it, as text: variables by container, host name, resolv.conf, hosts.

The same functions as those that start containers decide it. Rule: design §4 (`seaway node env POD`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from seaway.api.service.types import Service
from seaway.node.config import NodeConfig
from seaway.node.envvars import EnvError, find_skipped_names
from seaway.node.pods.sources import (
    HostFiles,
    Sources,
    find_resolver_warnings,
    make_files,
    make_names,
    make_variables,
)
from seaway.node.podspec import PodManifest
from seaway.node.resolvconf import ResolverError
from seaway.node.state import PodState

SHOWN_FILES = ("/etc/hostname", "/etc/resolv.conf", "/etc/hosts")


def conceal_secrets(sources: Sources) -> Sources:
    """The sources with each value of a Secret replaced by where it is from, also where others refer to it."""
    concealed = {
        name: {key: f"<{key} of secret {name}>".encode() for key in data} for name, data in sources.secrets.items()
    }
    return replace(sources, secrets=concealed)


def render_surroundings(
    config: NodeConfig,
    pod: PodManifest,
    state: PodState,
    *,
    services: Iterable[Service],
    sources: Sources,
    host: HostFiles,
    container: str = "",
) -> str:
    """What the containers would find if they started now; of one container, when it is named.

    What an image adds to the variables is not in it. Errors and warnings are comments, in the agent's words.
    """
    services = tuple(services)
    lines = list(_render_containers(config, pod, state, services, sources, host, container))
    try:
        names = make_names(config, pod, host)
        for reason, message in find_resolver_warnings(config, pod, host):
            lines += [f"# warning {reason}: {message}", ""]
        files = dict(make_files(config, pod, state, names, host))
    except ResolverError as error:
        return "\n".join([*lines, f"# error: {error}", ""])
    for path in SHOWN_FILES:
        lines += [f"# {path}", files[path]]
    return "\n".join(lines)


def _render_containers(
    config: NodeConfig,
    pod: PodManifest,
    state: PodState,
    services: tuple[Service, ...],
    sources: Sources,
    host: HostFiles,
    only: str,
) -> Iterator[str]:
    for container in pod.every_container:
        if only and container.name != only:
            continue
        yield f"# variables of container {container.name}"
        skipped = find_skipped_names(
            container, pod, find_config_map=sources.config_maps.get, find_secret=sources.secrets.get
        )
        yield from (f"# warning {reason}: {message}" for reason, message in skipped)
        try:
            found = make_variables(config, pod, container, state, services=services, sources=sources, host=host)
        except EnvError as error:
            yield f"# error: {error}"
        else:
            yield from (f"{name}={_quote(value)}" for name, value in found.items())
        yield ""


def _quote(value: str) -> str:
    """A value of several lines stays one line."""
    return value.replace("\\", "\\\\").replace("\n", "\\n") if "\n" in value else value
