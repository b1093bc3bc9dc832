"""Which endpoints this node may use: readiness, terminating fallback, traffic policies, hints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

import msgspec


class ServingEndpoint(msgspec.Struct, frozen=True, gc=False):
    """One address and port of a Service port, as the slices tell it; conditions are resolved to booleans."""

    address: str
    port: int
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node_name: str = ""
    zones: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    weight: int = 1
    """0: no new connections."""

    @property
    def is_fallback(self) -> bool:
        """Usable only when a list has no ready endpoint."""
        return self.serving and self.terminating


Endpoints = tuple[ServingEndpoint, ...]
_PLACE = attrgetter("address", "port")


@dataclass(frozen=True, slots=True)
class EndpointChoice:
    """The outcome of `choose_endpoints`."""

    cluster: Endpoints | None
    local: Endpoints | None
    reachable: Endpoints
    has_any: bool
    reason: str = ""


def choose_endpoints(
    endpoints: Iterable[ServingEndpoint], *, node: str, zone: str, uses_cluster: bool, uses_local: bool
) -> EndpointChoice:
    """The endpoints that this node may forward the port's traffic to.

    endpoints: of this port, any order.
    Returns `cluster`, `local`, `reachable`, each sorted by (address, port). None: the policy does not use
    that list. Empty: it does, and nothing is usable. `has_any`: somewhere in the cluster one is usable.
    `reason` says why hints were ignored, or "". Never raises.
    Rule: spec "proxy" §2.1 (the terminating fallback is decided per list, not globally).
    """
    known = tuple(sorted(endpoints, key=_PLACE))
    cluster, reason, hinted = _choose_cluster(known, node, zone) if uses_cluster else (None, "", False)
    if not uses_local:
        return EndpointChoice(cluster, None, cluster or (), bool(cluster), reason)
    on_node = tuple(e for e in known if e.node_name and e.node_name == node)
    local = tuple(e for e in on_node if e.ready) or tuple(e for e in on_node if e.is_fallback)
    has_any = any(e.ready or e.is_fallback for e in known)
    if cluster is None:
        return EndpointChoice(None, local, local, has_any)
    is_subset = not hinted and set(local) <= set(cluster)
    reachable = cluster if is_subset else tuple(e for e in known if e in set(cluster) | set(local))
    return EndpointChoice(cluster, local, reachable, has_any, reason)


def _choose_cluster(known: Endpoints, node: str, zone: str) -> tuple[Endpoints, str, bool]:
    """The cluster-wide list, why hints were ignored, and whether they were obeyed. Rule: spec "proxy" §2.2."""
    ready = tuple([e for e in known if e.ready])
    if not ready:
        return tuple(e for e in known if e.is_fallback), "", False
    if not any(e.nodes or e.zones for e in ready):
        return ready, "", False
    by_node, node_reason = _obey(ready, lambda e: e.nodes, node, "node")
    if by_node:
        return by_node, "", True
    by_zone, zone_reason = _obey(ready, lambda e: e.zones, zone, "zone")
    if by_zone:
        return by_zone, "", True
    return ready, f"{node_reason}; {zone_reason}", False


def _obey(
    ready: Endpoints, hints: Callable[[ServingEndpoint], frozenset[str]], here: str, what: str
) -> tuple[Endpoints, str]:
    """The endpoints hinted for here; empty with the reason when the hints do not count."""
    if not here:
        return (), f"this node has no {what} label"
    if not all(hints(e) for e in ready):
        return (), f"an endpoint has no {what} hint"
    chosen = tuple(e for e in ready if here in hints(e))
    return chosen, "" if chosen else f"no endpoint is hinted for {what} {here}"
