"""Reads what `seaway node env` shows: the Pod, its Node, the Services, what its containers refer to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import NODES, PODS, SERVICES
from seaway.api.service.types import Service
from seaway.client.requests import Client
from seaway.net.errors import OperationalError
from seaway.node.config import NodeConfig
from seaway.node.envvars import MASTER_NAMESPACE
from seaway.node.pods.start.run import read_host_files, read_sources
from seaway.node.podspec import PodManifest
from seaway.node.showing.text import conceal_secrets, render_surroundings
from seaway.node.state import recover_state
from seaway.node.volumes import VolumeError

DNS_NAMESPACE = "kube-system"
"""Where the Service of the cluster's DNS is."""


class ShowError(OperationalError):
    """What was asked for cannot be shown."""


async def show_surroundings(
    config: NodeConfig, client: Client, namespace: str, name: str, *, container: str = "", shows_secrets: bool = False
) -> str:
    """The text of one Pod. Raises ShowError.

    config: node name and addresses are taken from the Pod's Node; the resolver file is this host's.
    """
    try:
        pod = await client.get(PODS, name, namespace, as_type=PodManifest)
    except NotFound as error:
        raise ShowError(f"Pod {namespace}/{name}: there is none; give its namespace with -n") from error
    if container and pod.find_container(container) is None:
        raise ShowError(f"Pod {namespace}/{name}: container {container} found nowhere in it")
    try:
        node: dict[str, Any] = await client.get(NODES, pod.spec.node_name, as_type=dict) if pod.spec.node_name else {}
    except NotFound:
        node = {}
    status = node.get("status") or {}
    addresses = [a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"]
    found = replace(config, node_name=pod.spec.node_name, node_ip=",".join(addresses) or config.node_ip)
    try:
        sources = replace(await read_sources(client, pod), allocatable=status.get("allocatable") or {})
    except VolumeError as error:
        raise ShowError(f"Pod {namespace}/{name}: {error}") from error
    homes = {namespace, MASTER_NAMESPACE} | (set() if config.is_isolated else {DNS_NAMESPACE})
    services = [
        msgspec.json.decode(item, type=Service)
        for home in sorted(homes)
        for item in (await client.list(SERVICES, home)).items
    ]
    return render_surroundings(
        found,
        pod,
        recover_state(pod, None, ()),
        services=services,
        sources=sources if shows_secrets else conceal_secrets(sources),
        host=read_host_files(found),
        container=container,
    )
