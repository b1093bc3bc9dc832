"""Tells of bridges that keep Pods from their Services, once each."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from seaway.net.family import Family
from seaway.proxy.bridges.kernel import list_bridges
from seaway.proxy.bridges.plan import describe, find_bypassing
from seaway.proxy.config import DetectLocal, NodeView, ProxyConfig

log = logging.getLogger(__name__)


class BridgeWatch:
    """What was told already is told again only after it was mended."""

    def __init__(self, config: ProxyConfig, families: Iterable[Family]) -> None:
        self._config = config
        self._families = tuple(families)
        self._told: frozenset[tuple[str, Family]] = frozenset()

    def look(self, node: NodeView) -> None:
        """Look at the host's bridges; a failure is left to the next look."""
        is_of_node = self._config.detect_local is DetectLocal.NODE_CIDR
        try:
            found = find_bypassing(
                list_bridges(),
                self._families,
                cluster_cidrs=node.pod_cidrs if is_of_node else self._config.cluster_cidrs,
                pod_links=self._config.pod_links,
            )
        except OSError as error:
            log.warning("bridges=unknown error=%r", str(error))
            return
        for name, family in found:
            if (name, family) not in self._told:
                log.warning("bridge=%s family=%s problem=%r", name, family.value, describe(name, family))
        self._told = frozenset(found)
