"""The addresses of a headless Service as bytes, so that thousands of them cost what has changed of them.

A slice is packed once: shards and slices are immutable, so what was packed of the same value is still right, and there
is nothing to invalidate. The union over slices is made anew when one of them changes, of integers rather than objects
(5,000 addresses: half a millisecond, where records of them would take thirty).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seaway.dns.objects import EndpointSlice
from seaway.net.loopback import LoopbackMap

if TYPE_CHECKING:
    from seaway.dns.index import ServiceKey, Shard

MAX_KEPT = 4096
"""Services; at the limit all are forgotten."""
V4, V6 = 4, 16


@dataclass(slots=True)
class Packed:
    """Addresses of one family in network order, sorted, each once, one behind the other.

    block: the same as records on the wire, with a TTL of `block_ttl_seconds`, filled in by whoever first needs it and
    shared by all replies.
    """

    addresses: bytes
    size: int
    block: bytes = field(default=b"", compare=False, repr=False)
    block_ttl_seconds: int = field(default=-1, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.addresses) // self.size


@dataclass(frozen=True, slots=True)
class _Kept:
    shard: Shard
    slices: dict[str, tuple[EndpointSlice, bytes, bytes]]
    families: dict[int, Packed]


class Packs:
    """What has been packed so far. pack: the bytes of an address, none for what is to be left out."""

    def __init__(self, pack: Callable[[str], bytes]) -> None:
        self._pack_address = pack
        self._kept: dict[ServiceKey, _Kept] = {}

    def find(self, key: ServiceKey, shard: Shard, size: int) -> Packed:
        """The published addresses of the shard that have this many bytes."""
        kept = self._kept.get(key)
        if kept is None or kept.shard is not shard:
            kept = self._pack(shard, kept.slices if kept is not None else {})
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = kept
        return kept.families[size]

    def _pack(self, shard: Shard, before: dict[str, tuple[EndpointSlice, bytes, bytes]]) -> _Kept:
        slices = {}
        for each in shard.slices:
            known = before.get(each.metadata.name)
            slices[each.metadata.name] = (
                known
                if known is not None and known[0] is each
                else (
                    each,
                    *_pack_slice(each, self._pack_address),
                )
            )
        v4 = _unite_v4(known[1] for known in slices.values())
        v6 = _unite_v6(known[2] for known in slices.values())
        return _Kept(shard, slices, {V4: Packed(v4, V4), V6: Packed(v6, V6)})


def pack_address(address: str) -> bytes:
    """Network order bytes, or none for what is no address."""
    try:
        if ":" in address:
            return ipaddress.IPv6Address(address).packed
        packed = bytes(map(int, address.split(".")))  # three times as fast as ipaddress, which takes the same
    except ValueError:
        return b""
    return packed if len(packed) == V4 and "{}.{}.{}.{}".format(*packed) == address else b""


def make_pack(loopback: LoopbackMap | None) -> Callable[[str], bytes]:
    """How addresses are told: as they are, or those of the cluster where loopback has them."""
    if loopback is None:
        return pack_address
    return lambda address: pack_address(loopback.to_loopback(address) or address)


def pack_addresses(packed: Iterable[bytes], size: int) -> Packed:
    """Those with this many bytes."""
    return Packed(b"".join(sorted({each for each in packed if len(each) == size})), size)


def _pack_slice(each: EndpointSlice, pack: Callable[[str], bytes]) -> tuple[bytes, bytes]:
    packed = [pack(address) for endpoint in each.published for address in endpoint.addresses]
    packed.sort()  # runs that the sort of the union finds in order
    return b"".join(p for p in packed if len(p) == V4), b"".join(p for p in packed if len(p) == V6)


def _unite_v4(parts: Iterable[bytes]) -> bytes:
    whole = b"".join(parts)
    numbers = sorted(dict.fromkeys(struct.unpack(f"!{len(whole) // V4}I", whole)))
    return struct.pack(f"!{len(numbers)}I", *numbers)


def _unite_v6(parts: Iterable[bytes]) -> bytes:
    whole = b"".join(parts)
    return b"".join(sorted({whole[at : at + V6] for at in range(0, len(whole), V6)}))
