"""Which Service owns an address and port that several claim. The answer depends on the Services alone, never on order.

A port that is claimed by itself is cut out of the range that it is inside of, whosever that is.

Rule: spec "proxy" §1.7 and §14: a cluster IP beats other classes, then the oldest Service wins, then the name.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import replace

from seaway.proxy.forwarding import Forwarding, Frontend, ServiceForwarding, TrafficClass

Claim = tuple[str, str, int]
Rank = tuple[int, tuple[str, str]]


class Claims:
    """The claims of one family. Holds no forwardings."""

    def __init__(self) -> None:
        self._by_claim: dict[Claim, dict[str, Rank]] = {}
        self._ports: dict[tuple[str, str], list[int]] = {}
        """Of each address and protocol, sorted."""
        self._by_service: dict[str, frozenset[Claim]] = {}

    def update(self, service: str, forwarding: ServiceForwarding | None) -> set[str]:
        """The other Services that win or lose something because this one changed, was added, or is gone (None)."""
        ranks = _ranks(forwarding)
        before = self._by_service.get(service, frozenset())
        others: set[str] = set()
        for claim in before | ranks.keys():
            claimants = self._by_claim.setdefault(claim, {})
            if ranks.get(claim) == claimants.get(service):
                continue
            others.update(claimants)
            address, protocol, port = claim
            others.update(self._by_claim.get((address, protocol, 0), ()))
            if claim in ranks:
                if not claimants:
                    insort(self._ports.setdefault((address, protocol), []), port)
                claimants[service] = ranks[claim]
            else:
                del claimants[service]
            if not claimants:
                del self._by_claim[claim]
                ports = self._ports[address, protocol]
                del ports[bisect_left(ports, port)]
                if not ports:
                    del self._ports[address, protocol]
        if ranks:
            self._by_service[service] = frozenset(ranks)
        else:
            self._by_service.pop(service, None)
        return others - {service}

    def settle(self, forwarding: ServiceForwarding) -> ServiceForwarding:
        """The forwarding without what others own."""
        kept = tuple(f for f in forwarding.forwardings if self._owner(f.frontend.claim) == forwarding.service)
        if any(f.frontend.last_port for f in kept):
            return replace(forwarding, forwardings=self._cut(kept))
        return forwarding if len(kept) == len(forwarding.forwardings) else replace(forwarding, forwardings=kept)

    def _cut(self, kept: tuple[Forwarding, ...]) -> tuple[Forwarding, ...]:
        """Ranges without the ports that are forwarded by themselves; their own first port is theirs.

        So a client keeps its endpoint on that port too. Where other endpoints serve the first port it stays by itself.
        """
        singles = {f.frontend: f for f in kept if not f.frontend.last_port}
        covered: set[Forwarding] = set()
        found: list[Forwarding] = []
        for f in kept:
            if not f.frontend.last_port:
                continue
            single = singles.get(replace(f.frontend, last_port=0))
            if single is not None and (single.endpoints, single.outside) == (f.endpoints, f.outside):
                covered.add(single)
                own = f.frontend.port
            else:
                own = 0
            ports = self._ports[f.frontend.address, f.frontend.protocol]
            inside = ports[bisect_left(ports, f.frontend.port) : bisect_right(ports, f.frontend.last_port)]
            found.append(replace(f, except_ports=tuple(port for port in inside if port != own)))
        return (*(f for f in kept if not f.frontend.last_port and f not in covered), *found)

    def find_lost(self, forwarding: ServiceForwarding) -> list[tuple[Frontend, str]]:
        """The frontends of the Service that another owns, and who does."""
        owners = ((f.frontend, self._owner(f.frontend.claim)) for f in forwarding.forwardings)
        return [(frontend, owner) for frontend, owner in owners if owner != forwarding.service]

    def _owner(self, claim: Claim) -> str:
        claimants = self._by_claim[claim]
        return min(claimants, key=lambda service: claimants[service])


def _ranks(forwarding: ServiceForwarding | None) -> dict[Claim, Rank]:
    if forwarding is None:
        return {}
    ranks: dict[Claim, Rank] = {}
    for f in forwarding.forwardings:
        rank = (0 if f.frontend.traffic_class is TrafficClass.CLUSTER_IP else 1, forwarding.age)
        ranks[f.frontend.claim] = min(rank, ranks.get(f.frontend.claim, rank))
    return ranks
