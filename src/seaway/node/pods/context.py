"""What all workers of an agent share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from seaway.api.service.types import Service
from seaway.client.requests import Client
from seaway.node.config import NodeConfig
from seaway.node.events import Happening
from seaway.node.podspec import PodManifest
from seaway.node.runtime.contract import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """`read_services` waits until the Services are known: no container starts before. Rule: spec "node" §1.1.

    record: an event of a Pod; record_node: of the Node. allocatable: the node's, by resource.
    """

    config: NodeConfig
    client: Client
    runtime: Runtime
    read_services: Callable[[], Awaitable[tuple[Service, ...]]]
    record: Callable[[PodManifest, Happening], None]
    record_node: Callable[[Happening], None]
    allocatable: Mapping[str, str]
