"""Reads what a container's start needs: the node's own files, and the objects that the Pod names."""

from __future__ import annotations

import contextlib
from pathlib import Path

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import CONFIG_MAPS, SECRETS
from seaway.client.requests import Client
from seaway.node.config import NodeConfig
from seaway.node.pods.sources import HostFiles, Sources
from seaway.node.podspec import ConfigMap, PodManifest, Secret, find_sources
from seaway.node.resolvconf import parse_resolv_conf

_HOSTS = Path("/etc/hosts")
_STUB_ADDRESS = "127.0.0.53"
_BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")


def read_host_files(config: NodeConfig) -> HostFiles:
    """The node's own files, read when a container starts. A resolver that only the host can reach is not inherited."""
    try:
        text = config.resolv_conf.read_text()
        if _STUB_ADDRESS in text and _BEHIND_STUB.exists():
            text = _BEHIND_STUB.read_text()
    except OSError:
        text = ""
    try:
        hosts = _HOSTS.read_text()
    except OSError:
        hosts = ""
    return HostFiles(parse_resolv_conf(text), hosts, config.hostname or config.node_name)


async def read_sources(client: Client, pod: PodManifest) -> Sources:
    """The ConfigMaps and Secrets that the Pod names and that exist."""
    namespace = pod.metadata.namespace
    map_names, secret_names = find_sources(pod)
    maps: dict[str, dict[str, bytes]] = {}
    secrets: dict[str, dict[str, bytes]] = {}
    for name in sorted(map_names):
        with contextlib.suppress(NotFound):
            found = await client.get(CONFIG_MAPS, name, namespace, as_type=ConfigMap)
            maps[name] = {k: v.encode() for k, v in found.data.items()} | found.binary_data
    for name in sorted(secret_names):
        with contextlib.suppress(NotFound):
            secrets[name] = (await client.get(SECRETS, name, namespace, as_type=Secret)).data
    return Sources(maps, secrets)
