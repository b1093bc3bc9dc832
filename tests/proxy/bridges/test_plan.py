"""Rule: spec "proxy" §8.7 (bridged pods)."""

from __future__ import annotations

import pytest

from seaway.net.family import Family
from seaway.proxy.bridges.plan import Bridge, describe, find_bypassing
from seaway.proxy.config import PodLinks

V4, V6 = Family.IPV4, Family.IPV6
CIDRS = ("10.244.0.0/16", "fd10:244::/48")
GATEWAY = ("10.244.0.1", "fd10:244::1", "fe80::1")
CASES: dict[str, tuple[Bridge, PodLinks | None, list[tuple[str, Family]]]] = {
    "the gateway of Pods is on a bridge that filters nothing": (
        Bridge("cni0", GATEWAY), None, [("cni0", V4), ("cni0", V6)],
    ),
    "a bridge that filters both is all right": (Bridge("cni0", GATEWAY, frozenset(Family)), None, []),
    "a bridge that filters one family keeps the other": (
        Bridge("cni0", GATEWAY, frozenset((V4,))), None, [("cni0", V6)],
    ),
    "a bridge of something else is none of ours": (Bridge("docker0", ("172.17.0.1",)), None, []),
    "a bridge with Pods of one family": (Bridge("cni0", ("10.244.0.1",)), None, [("cni0", V4)]),
    "the link that Pods come in by": (Bridge("br0"), PodLinks("br0", False), [("br0", V4), ("br0", V6)]),
    "a link that is told wins over addresses": (Bridge("cni0", GATEWAY), PodLinks("br0", False), []),
    "links by their prefix": (Bridge("br-a"), PodLinks("br-", True), [("br-a", V4), ("br-a", V6)]),
    "a name is no prefix": (Bridge("br0a"), PodLinks("br0", False), []),
}  # fmt: skip


@pytest.mark.parametrize(("bridge", "links", "found"), CASES.values(), ids=CASES.keys())
def test_bridges_that_keep_frames_from_the_rules_are_found(
    bridge: Bridge, links: PodLinks | None, found: list[tuple[str, Family]]
) -> None:
    assert list(find_bypassing([bridge], (V4, V6), cluster_cidrs=CIDRS, pod_links=links)) == found


def test_the_mend_is_named() -> None:
    assert "set net.bridge.bridge-nf-call-ip6tables=1" in describe("cni0", V6)
