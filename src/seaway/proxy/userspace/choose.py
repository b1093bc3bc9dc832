"""Which endpoint gets a new connection: by algorithm, affinity, and what was tried before.

One `PortChoice` for each port of a Service, whatever its frontends: whoever asks by cluster IP and then by node port
gets the same endpoint, and connections are counted together. Nothing here waits or acts; time and chance come in.
Rule: spec "proxy" §2 (who may be chosen), §5 (affinity), docs/userspace.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence

from seaway.proxy.balance import Balance, choose_places
from seaway.proxy.connectionpolicy import ConnectionPolicy
from seaway.proxy.forwarding import Forwarding, Target
from seaway.proxy.userspace.ejection import Ejected, Ejections, Outcome
from seaway.proxy.userspace.leastconnections import LeastConnections

MAX_REMEMBERED = 65535
"""Clients of one port with session affinity, as many as the kernel plane keeps; the one seen longest ago goes."""
_NOBODY: frozenset[Target] = frozenset()


class PortChoice:
    """The endpoints of one port of a Service. pick(n): a number below n. `now` is monotonic seconds."""

    def __init__(self, *, pick: Callable[[int], int]) -> None:
        self._pick = pick
        self._turn = 0
        self._clients: OrderedDict[str, tuple[Target, float]] = OrderedDict()
        self._ejections: Ejections | None = None
        self._least: LeastConnections | None = None
        self._known: frozenset[Target] = _NOBODY

    def follow(self, forwardings: Iterable[Forwarding], policy: ConnectionPolicy, now: float) -> None:
        """The forwardings of the port's frontends are these now. Clients of an endpoint that left are forgotten."""
        listed = tuple(forwardings)
        turns: Counter[Target] = Counter()
        for forwarding in listed:
            turns |= Counter(forwarding.endpoints)
            turns |= Counter(forwarding.outside or ())
        is_least = any(forwarding.balance is Balance.LEAST_CONNECTIONS for forwarding in listed)
        known = frozenset(turns)
        if known != self._known:
            for client in [c for c, (target, _) in self._clients.items() if target not in known]:
                del self._clients[client]
        self._known = known
        if policy.ejection is None:
            self._ejections = None
        elif self._ejections is None:
            self._ejections = Ejections(policy.ejection, known)
        else:
            self._ejections.set_rule(policy.ejection)
            self._ejections.set_endpoints(known, now)
        if not is_least:
            self._least = None
        elif self._least is None:
            self._least = LeastConnections(turns.elements(), pick=self._pick)
        else:
            self._least.set_endpoints(turns.elements())

    def choose(
        self,
        forwarding: Forwarding,
        client: str,
        *,
        is_inside: bool,
        now: float,
        tried: Collection[Target] = (),
    ) -> Target | None:
        """Who gets the client's new connection; None: it is refused, or all were tried.

        is_inside: the client is a Pod or the node itself. tried: they failed this connection already.
        """
        endpoints = forwarding.endpoints if is_inside or forwarding.outside is None else forwarding.outside
        if not endpoints:
            return None
        out = self._ejections.out(now) if self._ejections is not None else _NOBODY
        seconds = forwarding.affinity_seconds
        if seconds is not None and forwarding.balance is not Balance.HASH:
            kept = self._clients.get(client)
            if kept is not None:
                target, last = kept
                if now - last < seconds and target not in tried and target not in out and target in endpoints:
                    self._remember(client, target, now)
                    return target
        chosen = self._draw(forwarding.balance, endpoints, client, out, tried)
        if chosen is not None and seconds is not None:
            self._remember(client, chosen, now)
        return chosen

    def report(self, target: Target, outcome: Outcome, now: float) -> Ejected | None:
        """An attempt to connect ended so; what follows from it."""
        return self._ejections.report(target, outcome, now) if self._ejections is not None else None

    def count_ejected(self, now: float) -> int:
        """How many endpoints are out."""
        return len(self._ejections.out(now)) if self._ejections is not None else 0

    def open(self, target: Target) -> LeastConnections | None:
        """A connection to it begins; who is to be told when it ends."""
        if self._least is not None:
            self._least.open(target)
        return self._least

    def _draw(
        self,
        balance: Balance,
        endpoints: Sequence[Target],
        client: str,
        out: frozenset[Target],
        tried: Collection[Target],
    ) -> Target | None:
        """Whoever is out is only taken when all others were tried: to be refused helps nobody."""
        self._turn += not tried  # another attempt is the same connection's turn
        for avoid in ((*out, *tried), tried) if out else (tried,):
            if (chosen := self._draw_one(balance, endpoints, client, avoid)) is not None:
                return chosen
        return None

    def _draw_one(
        self, balance: Balance, endpoints: Sequence[Target], client: str, avoid: Collection[Target]
    ) -> Target | None:
        if balance is Balance.LEAST_CONNECTIONS and self._least is not None:
            others = self._known.difference(endpoints)
            return self._least.choose((*avoid, *others) if others or avoid else ())
        if balance is Balance.HASH:
            return self._draw_by_hash(endpoints, client, avoid)
        left = [t for t in endpoints if t not in avoid] if avoid else endpoints
        if not left:
            return None
        if balance is Balance.ROUND_ROBIN:
            return left[(self._turn - 1) % len(left)]
        return left[self._pick(len(left))] if len(left) > 1 else left[0]

    @staticmethod
    def _draw_by_hash(endpoints: Sequence[Target], client: str, avoid: Collection[Target]) -> Target | None:
        """From the client's place on, the first that is not to be avoided."""
        places = choose_places(tuple(endpoints))
        start = int.from_bytes(hashlib.blake2b(client.encode(), digest_size=8).digest(), "big") % len(places)
        if not avoid:
            return endpoints[places[start]]
        for step in range(len(places)):
            target = endpoints[places[(start + step) % len(places)]]
            if target not in avoid:
                return target
        return None

    def _remember(self, client: str, target: Target, now: float) -> None:
        self._clients[client] = (target, now)
        self._clients.move_to_end(client)
        if len(self._clients) > MAX_REMEMBERED:
            self._clients.popitem(last=False)
