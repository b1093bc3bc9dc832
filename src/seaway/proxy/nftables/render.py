"""The elements of each Service, and the whole wanted ruleset.

Services and endpoints are elements; chains follow the largest number of endpoints, not of Services.
A packet to a Service meets a verdict map that says among how many endpoints to draw, the draw goes to a slot, and the
slot's map says which endpoint stands in that slot for the address, protocol and port that were asked:

    services   { 10.96.0.1 . tcp . 80 : goto pick-2 }
    pick-2     numgen random mod 2 vmap { 0 : goto slot-0, 1 : goto slot-1 }
    slot-0     { 10.96.0.1 . tcp . 80 : 10.244.0.5 . 8080 }

A Service with session affinity meets a pick that first asks who is remembered, slot by slot, and its slots remember:

    sticky-60-pick-2   ip saddr . ip daddr . meta l4proto . th dport @sticky-60-slot-0 goto sticky-60-slot-0
                       ... @sticky-60-slot-1 goto sticky-60-slot-1
                       jhash ip saddr mod 2 seed 0x5ea3a1 vmap { 0 : goto sticky-60-slot-0, 1 : goto sticky-60-slot-1 }
    sticky-60-slot-0   update @sticky-60-slot-0 { ip saddr . ip daddr . meta l4proto . th dport }
                       goto slot-0

There are six lanes of picks and slots: addresses, node ports and ranges of ports, each for everybody and for traffic
from outside under the Local policy. Invariants:
1. A verdict `goto pick-N` for a key implies an element for that key in each of the slots 0 to N-1.
2. A key that can be asked (`services`, `node-ports`) has a verdict, or is refused, or both (Local policy).
3. One bit of the mark, 0x4000 unless configured, is ours: set before translation, cleared where the source is replaced;
   all others are left alone.
4. What a slot remembers is of the endpoint that stands in it: `affinity.py` moves it when endpoints move.
5. Every rule reads back: `nft list ruleset | nft -c -f -` accepts it, from nft 1.0.6 on.

Not taken: a chain and an anonymous map per Service (the kernel's work grows with the square of their number in one
batch), and `numgen` inside the key (nft cannot parse what it lists).
Rule: spec "proxy" §3 (traffic classes), §14 (scale).
"""

from __future__ import annotations

import functools
import ipaddress
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from seaway.proxy.balance import Balance, choose_places
from seaway.proxy.counting.plan import write_label
from seaway.proxy.forwarding import Forwarding, Masquerade, Refusal, ServiceForwarding, Target, TrafficClass
from seaway.proxy.nftables.digest import STATE, STATE_KEY, digest_rest, digest_service, write_digest
from seaway.proxy.nftables.objects import DROP, Comment, Elements, Ruleset, Value, Verdict, goto
from seaway.proxy.nftables.structure import (
    BY_ADDRESS,
    BY_NODE_PORT,
    BY_RANGE,
    CLUSTER_IPS,
    HAIRPINS,
    HASH,
    NODE_PORT_ADDRESSES,
    RANDOM,
    RANGE_HAIRPINS,
    RANGE_RESTRICTED,
    RANGE_SETS,
    REJECT,
    RESTRICTED,
    SOURCE_RANGES,
    Entrance,
    Lane,
    Pick,
    RenderConfig,
    find_picks,
    render_structure,
    turn,
)

PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}

Entry = tuple[str, bytes]
RenderedService = dict[Entry, Value]


def render(services: Iterable[ServiceForwarding], config: RenderConfig) -> Ruleset:
    """The whole table for these Services, each of which is arranged."""
    elements: dict[str, dict[bytes, Value]] = {}
    picks: set[Pick] = set()
    total = 0
    for service in services:
        total += digest_service(service)
        for (name, key), value in render_service(service, counts_connections=config.counts_connections).items():
            elements.setdefault(name, {})[key] = value
            picks.update(find_picks(value))
    node = render_node(config)
    for name, addresses in node.items():
        elements.setdefault(name, {}).update(addresses)
    structure = render_structure(picks, config, has_ranges=not RANGE_SETS.isdisjoint(elements))
    elements[STATE] = {STATE_KEY: write_digest(total + digest_rest(structure, node))}
    return Ruleset(config.family, config.table, structure, elements)


def arrange(previous: ServiceForwarding | None, service: ServiceForwarding) -> ServiceForwarding:
    """The Service with its endpoints in the order of slots: those that stay keep theirs, the rest fill the holes."""
    if previous is None:
        return service
    before = {f.frontend: f for f in previous.forwardings}
    return replace(
        service,
        forwardings=tuple(
            _arrange_one(before[f.frontend], f) if f.frontend in before else f for f in service.forwardings
        ),
    )


def arrange_as_found(service: ServiceForwarding, found: Elements) -> ServiceForwarding:
    """The Service with its endpoints in the slots in which a kernel's table has them."""
    return replace(service, forwardings=tuple(_arrange_as_found(f, found) for f in service.forwardings))


def _arrange_as_found(f: Forwarding, found: Elements) -> Forwarding:
    if f.balance is Balance.HASH:
        return f
    entrance, keys = _find_entrance(f), _list_keys(f)
    if not keys:
        return f
    key = keys[0]

    def order(lane: Lane, wanted: tuple[Target, ...]) -> tuple[Target, ...]:
        packed = {_pack_data(lane, target): target for target in wanted}
        slots = (found.get(lane.slot(index), {}).get(key) for index in range(len(wanted)))
        return order_slots_by_place(tuple(packed.get(v) if isinstance(v, bytes) else None for v in slots), wanted)

    outside = f.outside if f.outside is None else order(entrance.local_lane, f.outside)
    return replace(f, endpoints=order(entrance.lane, f.endpoints), outside=outside)


def find_sole_target(f: Forwarding, found: Elements) -> Target | None:
    """Whom a kernel's table leads the frontend to, if to one alone; None also for a range, which has no port."""
    if f.frontend.last_port:
        return None
    entrance, (key, *_) = _find_entrance(f), _list_keys(f)
    for lane in (entrance.lane, entrance.local_lane):
        first, second = (found.get(lane.slot(index), {}).get(key) for index in range(2))
        if isinstance(first, bytes) and second is None:
            return unpack_target(first)
    return None


def list_slots(service: ServiceForwarding) -> list[Entry]:
    """The elements that tell `arrange_as_found` who stands in which slot."""
    found: list[Entry] = []
    for f in service.forwardings:
        if f.balance is not Balance.HASH and (keys := _list_keys(f)):
            entrance = _find_entrance(f)
            found += [(entrance.lane.slot(index), keys[0]) for index in range(len(f.endpoints))]
            found += [(entrance.local_lane.slot(index), keys[0]) for index in range(len(f.outside or ()))]
    return found


def order_slots_by_place(places: tuple[Target | None, ...], wanted: tuple[Target, ...]) -> tuple[Target, ...]:
    """`wanted`, those in `places` where they stand there; others fill the holes in their given order.

    One that is wanted several times stands in several places.
    """
    missing = Counter(wanted)
    kept: list[Target | None] = []
    for target in places[: len(wanted)]:
        is_kept = target is not None and missing[target] > 0
        kept.append(target if is_kept else None)
        if is_kept and target is not None:
            missing[target] -= 1
    rest = iter([t for t, count in missing.items() for _ in range(count)])
    slots = kept + [None] * (len(wanted) - len(kept))
    return tuple(next(rest) if t is None else t for t in slots)


def order_slots(previous: tuple[Target, ...], wanted: tuple[Target, ...]) -> tuple[Target, ...]:
    """`wanted` in an order where as many as possible stand where they stood. Others keep their given order."""
    if previous == wanted:
        return previous
    return order_slots_by_place(previous, wanted)


def _arrange_one(before: Forwarding, after: Forwarding) -> Forwarding:
    if after.balance is Balance.HASH:  # places are chosen by the endpoints alone, so that all nodes choose alike
        return after
    endpoints = order_slots(before.endpoints, after.endpoints)
    outside = after.outside if after.outside is None else order_slots(before.outside or (), after.outside)
    return replace(after, endpoints=endpoints, outside=outside)


def render_service(service: ServiceForwarding, *, counts_connections: bool = False) -> RenderedService:
    """(set, key) → value: every element that the Service needs. Two Services share only hairpins and cluster IPs."""
    elements: RenderedService = dict.fromkeys(list_shared(service))
    for forwarding in service.forwardings:
        label = Comment(write_label(service.service, forwarding.port_name)) if counts_connections else None
        _render_forwarding(forwarding, _choose_draw(service.service, forwarding), label, elements)
    return elements


def list_shared(service: ServiceForwarding) -> Iterator[Entry]:
    """The elements of the Service that others may have too: they are in sets that say only that something is there."""
    yield CLUSTER_IPS, pack_address(service.cluster_ip)
    for protocol, target in service.hairpins:
        address = pack_address(target.address)
        yield HAIRPINS, address + address + _pack_proto_port(protocol, target.port)
    for protocol, text in service.range_hairpins:
        address = pack_address(text)
        yield RANGE_HAIRPINS, address + address + bytes((PROTOCOL_NUMBERS[protocol], 0, 0, 0))


def list_picks(service: ServiceForwarding) -> list[Pick]:
    """The draws that the Service's elements lead to; one may come several times."""
    return [
        pick
        for f in service.forwardings
        if f.spans
        for _, verdict in _choose_verdicts(f, _find_entrance(f), _choose_draw(service.service, f))
        for pick in find_picks(verdict)
    ]


def has_range(service: ServiceForwarding) -> bool:
    """Some of the Service's elements are intervals of ports."""
    return any(f.frontend.last_port and f.spans for f in service.forwardings)


def _choose_draw(service: str, f: Forwarding) -> str:
    match f.balance:
        case Balance.RANDOM | Balance.LEAST_CONNECTIONS:
            return RANDOM
        case Balance.HASH:
            return HASH
        case Balance.ROUND_ROBIN:
            return turn(zlib.crc32(f"{service} {f.port_name} {f.frontend.protocol}".encode()))


def _render_forwarding(f: Forwarding, draw: str, label: Comment | None, elements: RenderedService) -> None:
    entrance = _find_entrance(f)
    verdicts = _choose_verdicts(f, entrance, draw)
    slots = [*_fill_slots(entrance.lane, f.endpoints, draw), *_fill_slots(entrance.local_lane, f.outside or (), draw)]
    for key in _list_keys(f):
        for name, value in slots:
            elements[name, key] = value
        for name, verdict in verdicts:
            elements[name, key] = verdict
        if f.source_ranges:
            _restrict(f, entrance, key, elements)
        if label is not None:
            elements[entrance.connections, key] = label


def _find_entrance(f: Forwarding) -> Entrance:
    if f.frontend.last_port:
        return BY_RANGE
    return BY_NODE_PORT if f.frontend.traffic_class is TrafficClass.NODE_PORT else BY_ADDRESS


def _list_keys(f: Forwarding) -> list[bytes]:
    """The keys of a frontend's elements: one, or one for each piece of a range."""
    frontend = f.frontend
    if not frontend.last_port:
        return [pack_key(frontend.address, frontend.protocol, frontend.port)]
    return [
        pack_key(frontend.address, frontend.protocol, first) + pack_key(frontend.address, frontend.protocol, last)
        for first, last in f.spans
    ]


def _choose_verdicts(f: Forwarding, entrance: Entrance, draw: str) -> list[tuple[str, Verdict]]:
    """In which verdict maps the frontend is, and what they say of it."""
    verdicts: list[tuple[str, Verdict]] = []
    if f.refusal is not None:
        verdicts.append((entrance.refused, REJECT if f.refusal is Refusal.REJECT else DROP))
    # A client's hash is its affinity: what would be remembered is what is drawn anyway.
    sticky_seconds = f.affinity_seconds if draw != HASH else None
    if f.endpoints:
        count = _count_slots(f.endpoints, draw)
        if f.outside is None:
            is_masqueraded = f.masquerade is Masquerade.ALWAYS
            verdicts.append((entrance.verdicts, _pick(entrance.lane, count, is_masqueraded, sticky_seconds, draw)))
        else:
            verdicts.append((entrance.verdicts, goto(entrance.policy_chain)))
            verdicts.append((entrance.short_circuit, _pick(entrance.lane, count, False, sticky_seconds, draw)))
    if f.outside:
        count = _count_slots(f.outside, draw)
        verdicts.append((entrance.local, _pick(entrance.local_lane, count, False, sticky_seconds, draw)))
    return verdicts


def _count_slots(targets: tuple[Target, ...], draw: str) -> int:
    return len(choose_places(targets)) if draw == HASH and len(targets) > 1 else len(targets)


def _fill_slots(lane: Lane, targets: tuple[Target, ...], draw: str) -> list[tuple[str, bytes]]:
    """Which endpoint is in each slot."""
    if draw == HASH and len(targets) > 1:
        targets = tuple(targets[index] for index in choose_places(targets))
    return [(lane.slot(index), _pack_data(lane, target)) for index, target in enumerate(targets)]


def _restrict(f: Forwarding, entrance: Entrance, key: bytes, elements: RenderedService) -> None:
    """Only from the source ranges may the frontend be asked."""
    elements[RANGE_RESTRICTED if entrance is BY_RANGE else RESTRICTED, key] = None
    low, high = (key[: len(key) // 2], key[len(key) // 2 :]) if entrance is BY_RANGE else (key, key)
    for text in f.source_ranges:
        network = ipaddress.ip_network(text)
        first, last = network.network_address.packed, network.broadcast_address.packed
        elements[SOURCE_RANGES, low + first + high + last] = None


def render_node(config: RenderConfig) -> dict[str, dict[bytes, Value]]:
    """The elements that follow from this node."""
    if not config.node_ports.addresses or config.node_ports.is_all:
        return {}
    return {NODE_PORT_ADDRESSES: {pack_address(a): None for a in config.node_ports.addresses}}


@functools.cache
def _pick(lane: Lane, count: int, masquerade: bool, sticky_seconds: int | None, draw: str) -> Verdict:
    return goto(Pick(lane, count, masquerade, sticky_seconds, draw).chain)


def pack_address(text: str) -> bytes:
    """The address, which is in canonical form, in network byte order."""
    return ipaddress.IPv6Address(text).packed if ":" in text else bytes(map(int, text.split(".")))


def pack_target(target: Target) -> bytes:
    """Address and port as a slot's map holds them."""
    return pack_address(target.address) + target.port.to_bytes(2, "big") + b"\0\0"


def unpack_target(packed: bytes) -> Target:
    """What `pack_target` packed."""
    return Target(str(ipaddress.ip_address(packed[:-4])), int.from_bytes(packed[-4:-2], "big"))


def _pack_data(lane: Lane, target: Target) -> bytes:
    return pack_address(target.address) if lane.is_range else pack_target(target)


def pack_key(address: str, protocol: str, port: int) -> bytes:
    """The key of a frontend; a node port has no address."""
    return (pack_address(address) if address else b"") + _pack_proto_port(protocol, port)


def _pack_proto_port(protocol: str, port: int) -> bytes:
    return bytes((PROTOCOL_NUMBERS[protocol], 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0"
