"""A range of numbers to hand out: cluster IPs of one family, or node ports.

A pool remembers what it believes to be taken; the store decides. Requests for a certain number may name any of the
range; requests for whichever is free are served from the dynamic band, which starts `static_size` numbers in, and
only when that is full from the static band below: so numbers chosen by people seldom meet those chosen by the server.

Cost: taken numbers are bits in words of 1024; above each level of words lies one that marks the full ones. Finding the
next free number looks at one or two words per level (two levels for a /12, seven for a /64), however full the range is.
A word exists only where something is taken, so a /64 costs nothing to begin with.

Rule: spec "service-api" §5.2 (cluster IPs), §5.6 (node ports).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection

from seaway.api.machinery.addresses import find_address

_WORD_BITS = 10
_WORD = 1 << _WORD_BITS
_FULL = (1 << _WORD) - 1

Pick = Callable[[int], int]
"""A number below its argument, each equally likely."""


class Full(Exception):
    """Nothing is free."""


class OutOfRange(Exception):
    """The wanted number is not in the range."""


class Taken(Exception):
    """The wanted number is taken."""


class SparseBits:
    """A set of integers from 0 on that finds the next absent one in time independent of how many are present."""

    def __init__(self, size: int) -> None:
        self._levels: list[dict[int, int]] = [{}]
        while size > _WORD:
            size = -(-size // _WORD)
            self._levels.append({})
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return bool(self._levels[0].get(number >> _WORD_BITS, 0) >> (number & (_WORD - 1)) & 1)

    def add(self, number: int) -> None:
        """Adding twice is adding once."""
        if number in self:
            return
        self._count += 1
        for words in self._levels:
            index = number >> _WORD_BITS
            word = words[index] = words.get(index, 0) | 1 << (number & (_WORD - 1))
            if word != _FULL:
                return
            number = index

    def discard(self, number: int) -> None:
        """Discarding what is absent does nothing."""
        if number not in self:
            return
        self._count -= 1
        for words in self._levels:
            index = number >> _WORD_BITS
            word = words[index]
            left = word & ~(1 << (number & (_WORD - 1)))
            if left:
                words[index] = left
            else:
                del words[index]
            if word != _FULL:
                return
            number = index

    def next_absent(self, start: int, level: int = 0) -> int:
        """The smallest absent integer from `start` on; it may lie beyond the size."""
        index, bit = start >> _WORD_BITS, start & (_WORD - 1)
        word = self._levels[level].get(index, 0) >> bit
        if word != _FULL >> bit:
            return start + (~word & word + 1).bit_length() - 1
        if level + 1 == len(self._levels):
            return (index + 1) << _WORD_BITS
        index = self.next_absent(index + 1, level + 1)
        word = self._levels[level].get(index, 0)
        return (index << _WORD_BITS) + (~word & word + 1).bit_length() - 1


class Pool:
    """The numbers first to first + size - 1, of which the first `static_size` are handed out last."""

    def __init__(self, first: int, size: int, static_size: int) -> None:
        self.first = first
        self.size = size
        self.static_size = static_size
        self._taken = SparseBits(size)

    def __contains__(self, number: int) -> bool:
        return 0 <= number - self.first < self.size

    @property
    def free(self) -> int:
        """How many are not taken."""
        return self.size - len(self._taken)

    def mark(self, number: int, taken: bool) -> None:
        """Remember what became of a number; one outside the range is nothing to this pool."""
        if number not in self:
            return
        if taken:
            self._taken.add(number - self.first)
        else:
            self._taken.discard(number - self.first)

    def check(self, number: int, reserved: Collection[int]) -> int:
        """The wanted number, if it is in the range, not taken and not reserved. Raises OutOfRange, Taken."""
        if number not in self:
            raise OutOfRange
        if number - self.first in self._taken or number in reserved:
            raise Taken
        return number

    def choose(self, reserved: Collection[int], pick: Pick) -> int:
        """A free number that is not reserved: from a random one of the dynamic band up, then round. Raises Full."""
        for start, end in ((self.static_size, self.size), (0, self.static_size)):
            if start == end:
                continue
            turn = start + pick(end - start)
            for a, b in ((turn, end), (start, turn)):
                offset = self._find_free(a, b, reserved)
                if offset is not None:
                    return self.first + offset
        raise Full

    def _find_free(self, start: int, end: int, reserved: Collection[int]) -> int | None:
        while start < end:
            offset = self._taken.next_absent(start)
            if offset >= end:
                return None
            if self.first + offset not in reserved:
                return offset
            start = offset + 1
        return None


def make_address_pool(cidr: str) -> Pool:
    """The addresses of a service range: neither the network's own, nor for IPv4 the broadcast address.

    Raises ValueError for a text that is no CIDR and for an IPv6 range wider than /64.
    """
    network = ipaddress.ip_network(cidr)
    if network.version == 6 and network.prefixlen < 64:
        raise ValueError(
            f"service range {cidr}: shortest allowed prefix length for service CIDR is 64, got {network.prefixlen}"
        )
    count = network.num_addresses
    usable = max(0, count - 2 if network.version == 4 else count - 1)
    static = min(max(16, count // 16), 256) if count > 16 else 0
    return Pool(int(network.network_address) + 1, usable, static)


def make_port_pool(first: int, last: int) -> Pool:
    """The node ports first to last, inclusive."""
    size = last - first + 1
    return Pool(first, size, min(max(16, size // 32), 128) if size > 16 else 0)


def address_number(text: str) -> int:
    """The address as an integer. Raises ValueError when the text is none."""
    parsed = find_address(text)
    if parsed is None:
        raise ValueError(f"{text!r} is not an IP address")
    return int(parsed.address)
