"""The ranges that cluster IPs are taken from: what the ServiceCIDR objects name, each range with a pool of its own.

A range exists while some ServiceCIDR names it, and is drawn from while one of those stays and is not called unready.
Ranges may overlap and nest: an address is marked in every pool that covers it. A new range learns what is taken.

Rule: spec "service-api" §5.3, §5.5.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable

import msgspec

from seaway.api.servicecidr.types import ServiceCIDR
from seaway.apiserver.allocation.pool import Full, OutOfRange, Pick, Pool, make_address_pool

Numbers = Callable[[], Iterable[tuple[str, int]]]
"""Family and number of every address that is taken."""

_decode = msgspec.json.Decoder(ServiceCIDR).decode


class _Range:
    """One CIDR, and by name the ServiceCIDRs that say it: may it be drawn from?"""

    def __init__(self, cidr: str, pool: Pool | None) -> None:
        self.cidr = cidr
        self.pool = pool
        self.owners: dict[str, bool] = {}

    @property
    def is_drawn_from(self) -> bool:
        return any(self.owners.values())


class AddressRanges:
    """All ranges, by family. What is observed decides; nothing else changes it."""

    def __init__(self, families: Collection[str]) -> None:
        self._by_family: dict[str, dict[str, _Range]] = {family: {} for family in families}

    def observe(self, name: str, value: bytes | None, taken: Numbers) -> None:
        """Remember the ServiceCIDR as it is stored now, or that it is gone. One that cannot be read counts as gone."""
        try:
            found = ServiceCIDR() if value is None else _decode(value)
        except msgspec.MsgspecError:
            found = ServiceCIDR()
        for ranges in self._by_family.values():
            for cidr in [cidr for cidr, known in ranges.items() if name in known.owners]:
                del ranges[cidr].owners[name]
        for cidr in found.spec.cidrs:
            self._add(name, cidr, found.is_drawn_from, taken)
        for ranges in self._by_family.values():
            for cidr in [cidr for cidr, known in ranges.items() if not known.owners]:
                del ranges[cidr]

    def _add(self, name: str, cidr: str, is_drawn_from: bool, taken: Numbers) -> None:
        try:
            family = f"IPv{ipaddress.ip_network(cidr).version}"
        except ValueError:
            return
        ranges = self._by_family.get(family)
        if ranges is None:
            return  # no server hands out addresses of a family that it was not told of at its start
        if cidr not in ranges:
            ranges[cidr] = _Range(cidr, _make_pool(cidr, family, taken))
        ranges[cidr].owners[name] = is_drawn_from

    def mark(self, family: str, number: int, taken: bool) -> None:
        """Remember what became of an address."""
        for known in self._by_family.get(family, {}).values():
            if known.pool is not None:
                known.pool.mark(number, taken)

    def check(self, family: str, number: int, reserved: Collection[int]) -> str:
        """The range that the wanted address is taken from. Raises OutOfRange, Taken."""
        for cidr, pool in self._drawn_from(family):
            if number in pool:
                pool.check(number, reserved)
                return cidr
        raise OutOfRange

    def choose(self, family: str, reserved: Collection[int], pick: Pick) -> tuple[int, str]:
        """A free address and its range; the ranges are asked round from one at random. Raises Full."""
        drawn = self._drawn_from(family)
        first = pick(len(drawn)) if len(drawn) > 1 else 0
        for cidr, pool in drawn[first:] + drawn[:first]:
            try:
                return pool.choose(reserved, pick), cidr
            except Full:
                continue
        raise Full

    def find_scope(self, family: str, number: int = -1) -> str:
        """The range that a failed request is counted for: that which covers the number, else the family's first."""
        drawn = self._drawn_from(family)
        return next((cidr for cidr, pool in drawn if number in pool), drawn[0][0] if drawn else "")

    @property
    def pools(self) -> list[tuple[str, Pool]]:
        """Every range that has addresses, drawn from or not, sorted."""
        every = (known for ranges in self._by_family.values() for known in ranges.values())
        return sorted(((known.cidr, known.pool) for known in every if known.pool), key=lambda item: item[0])

    def find_owners(self, cidr: str) -> list[str]:
        """Names of the ServiceCIDRs that say this range, sorted."""
        return sorted(name for ranges in self._by_family.values() if cidr in ranges for name in ranges[cidr].owners)

    def _drawn_from(self, family: str) -> list[tuple[str, Pool]]:
        ranges = self._by_family.get(family, {}).values()
        return [(known.cidr, known.pool) for known in ranges if known.pool is not None and known.is_drawn_from]


def _make_pool(cidr: str, family: str, taken: Numbers) -> Pool | None:
    """None for a range that is too large: it is an object as any other, and yields no addresses."""
    try:
        pool = make_address_pool(cidr)
    except ValueError:
        return None
    for other, number in taken():
        if other == family:
            pool.mark(number, True)
    return pool
