"""The sets and chains of a table: the fixed ones, and as many picks and slots as the largest Service needs.

Rule: spec "proxy" §3 (traffic classes), §8.1 (hooks and priorities).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from seaway.net.family import Family
from seaway.proxy.config import NodePortAddresses, PodLinks
from seaway.proxy.nftables.digest import STATE
from seaway.proxy.nftables.objects import (
    ArrivesBy,
    Chain,
    Draw,
    Drop,
    Field,
    FlipMark,
    Goto,
    GotoByHash,
    GotoInTurn,
    GotoRandom,
    Hook,
    InNetwork,
    InSet,
    IsLocal,
    IsMarked,
    IsNew,
    IsReply,
    IsTranslated,
    Jump,
    LeavesBy,
    MasqueradeSource,
    Reject,
    Remember,
    Return,
    Rule,
    SetMark,
    SetSpec,
    Statement,
    Structure,
    TranslateTo,
    Type,
    Value,
    Verdict,
    Vmap,
    goto,
)

MARK = 0x4000  # the bit that kube-proxy uses by default for the same purpose
SERVICE_KEY = (Field.DADDR, Field.L4PROTO, Field.DPORT)
NODE_PORT_KEY = (Field.L4PROTO, Field.DPORT)
SERVICE_TYPES = (Type.ADDRESS, Type.PROTOCOL, Type.SERVICE)
NODE_PORT_TYPES = (Type.PROTOCOL, Type.SERVICE)
TARGET_TYPES = (Type.ADDRESS, Type.SERVICE)

CLUSTER_IPS = "cluster-ips"
HAIRPINS = "hairpins"
NODE_PORT_ADDRESSES = "node-port-addresses"
RESTRICTED = "restricted"
SOURCE_RANGES = "source-ranges"
REJECT = goto("reject-all")
GUARD = "guard"


RANDOM, HASH = "random", "hash"
TURN_COUNTERS = 16
"""Services that take turns share these for each number of endpoints: chains must not follow the number of Services."""
HASH_SEED = 0x5EA3A1
"""The same on every node: a client gets the same endpoint wherever it comes in."""


def turn(counter: int) -> str:
    """The draw by turns of one counter."""
    return f"turn-{counter % TURN_COUNTERS}"


@dataclass(frozen=True, slots=True)
class Lane:
    """A family of picks and slots that share a key. `prefix` starts the names of its chains and slot maps."""

    prefix: str
    is_node_port: bool
    is_range: bool = False

    @property
    def types(self) -> tuple[Type, ...]:
        return NODE_PORT_TYPES if self.is_node_port else SERVICE_TYPES

    @property
    def slot_spec(self) -> SetSpec:
        """A range's endpoint has no port: the packet keeps its own."""
        return SetSpec(self.types, (Type.ADDRESS,) if self.is_range else TARGET_TYPES, is_interval=self.is_range)

    @property
    def remembered_fields(self) -> tuple[Field, ...]:
        """What a client is remembered for; in a range that is not the port."""
        return self.fields[:-1] if self.is_range else self.fields

    def remembered_key(self, key: bytes) -> bytes:
        """The part of an element's key that a client is remembered for."""
        return key[: len(key) // 2 - 4] if self.is_range else key

    @property
    def fields(self) -> tuple[Field, ...]:
        return NODE_PORT_KEY if self.is_node_port else SERVICE_KEY

    def slot(self, index: int) -> str:
        """The name of a slot: of its chain and of its map."""
        return _slot_name(self.prefix, index)

    def sticky(self, index: int, seconds: int) -> str:
        """The same for clients who come back: of the chain that remembers them, and of the set of those who did."""
        return f"sticky-{seconds}-{self.slot(index)}"


SERVICE = Lane("", False)
LOCAL = Lane("local-", False)
NODE_PORT = Lane("node-port-", True)
LOCAL_NODE_PORT = Lane("local-node-port-", True)
RANGE = Lane("range-", False, True)
LOCAL_RANGE = Lane("local-range-", False, True)
LANES = (SERVICE, LOCAL, NODE_PORT, LOCAL_NODE_PORT, RANGE, LOCAL_RANGE)


@dataclass(frozen=True, slots=True)
class Pick:
    """A draw among `count` endpoints of a lane, by sources that are masqueraded or not.

    sticky_seconds: who comes back within this time gets the endpoint that it had; None: each draw is new.
    draw: how; `random`, `hash`, or `turn-N`: one after the other, in turns that are counted by counter N.
    """

    lane: Lane
    count: int
    masquerade: bool = False
    sticky_seconds: int | None = None
    draw: str = RANDOM

    @property
    def chain(self) -> str:
        sticky = "" if self.sticky_seconds is None else f"sticky-{self.sticky_seconds}-"
        draw = "" if self.draw == RANDOM else f"{self.draw}-"
        return f"{'masquerade-' if self.masquerade else ''}{sticky}{draw}{self.lane.prefix}pick-{self.count}"


@dataclass(frozen=True, slots=True)
class Entrance:
    """The verdict maps of one way to ask: by address, or by node port."""

    verdicts: str
    short_circuit: str
    local: str
    refused: str
    policy_chain: str
    connections: str
    """The set that counts."""
    lane: Lane
    local_lane: Lane


BY_ADDRESS = Entrance(
    "services", "short-circuit", "local-services", "no-endpoints", "local-policy", "connections", SERVICE, LOCAL
)  # fmt: skip
BY_NODE_PORT = Entrance(
    "node-ports", "node-port-short-circuit", "local-node-ports", "no-endpoint-node-ports", "local-node-port-policy",
    "node-port-connections", NODE_PORT, LOCAL_NODE_PORT,
)  # fmt: skip
BY_RANGE = Entrance(
    "range-services", "range-short-circuit", "local-range-services", "no-endpoint-ranges", "local-range-policy",
    "range-connections", RANGE, LOCAL_RANGE,
)  # fmt: skip
ENTRANCES = (BY_ADDRESS, BY_NODE_PORT, BY_RANGE)
RANGE_HAIRPINS = "range-hairpins"
RANGE_RESTRICTED = "range-restricted"
RANGE_SETS = frozenset((BY_RANGE.verdicts, BY_RANGE.refused))
"""Every range has an element in one of these."""


NO_ADDRESSES = NodePortAddresses()


@dataclass(frozen=True, slots=True)
class RenderConfig:
    """What the rules of one family depend on besides Services."""

    family: Family
    table: str = "seaway"
    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    masquerade_all: bool = False
    masquerade_outgoing: bool = False
    node_ports: NodePortAddresses = NO_ADDRESSES
    pod_links: PodLinks | None = None
    """Pods are known by the links that they come in by; None: by their addresses."""
    mark: int = MARK
    """The bit that says that the source is to be replaced."""
    counts_connections: bool = False
    """New connections are counted for each address and port of a Service."""
    guarded_links: tuple[str, ...] = ()
    """Links that forward because of us: what comes in by them is forwarded only if it is the cluster's."""


def find_picks(value: Value) -> tuple[Pick, ...]:
    """The draw that a verdict leads to; none for other values."""
    return _parse_pick(value.chain) if isinstance(value, Verdict) else ()


def render_structure(picks: Iterable[Pick], config: RenderConfig, *, has_ranges: bool = False) -> Structure:
    """Sets and chains for the draws in use; nothing else makes their number grow.

    has_ranges: some Service has a range of ports; what serves ranges is there only then.
    """
    used = sorted(set(picks), key=lambda p: (p.lane.prefix, p.count, p.masquerade, p.sticky_seconds or 0, p.draw))
    sets = _static_sets(has_ranges=has_ranges, counts=config.counts_connections)
    chains = _static_chains(config, has_ranges=has_ranges)
    for lane in LANES:
        counts = {p.count for p in used if p.lane == lane}
        for index in range(max(counts, default=0)):
            name = lane.slot(index)
            sets[name] = lane.slot_spec
            translate: tuple[Rule, ...] = ((TranslateTo(lane.fields, name, lane.is_range),),)
            # A packet may be drawn to a slot that a batch takes away before it gets there; the first one stays.
            chains[name] = Chain((*translate, (Goto(lane.slot(0)),)) if index else translate)
        for pick in used:
            if pick.lane == lane:
                _add_pick(replace(pick, masquerade=False), sets=sets, chains=chains)
    for pick in used:
        if pick.masquerade:
            chains[pick.chain] = Chain(((SetMark(config.mark), Goto(replace(pick, masquerade=False).chain)),))
    return Structure(sets, chains)


def _add_pick(pick: Pick, *, sets: dict[str, SetSpec], chains: dict[str, Chain]) -> None:
    """The chain of a draw.

    Session affinity: the sets of those who are remembered are asked in turn; who is in none draws. Each slot has a set
    of its own, whose key is the client and what it asked; a map from the client to its slot would need a place to put
    the answer, and a packet has none that is not somebody else's. Who is not remembered draws by their address instead
    of at random: so a client that asks by cluster IP, and then by node port, gets one endpoint. Rule: spec "proxy" §5.
    """
    lane, seconds = pick.lane, pick.sticky_seconds
    if seconds is None:
        names = tuple(lane.slot(index) for index in range(pick.count))
        chains[pick.chain] = Chain(((_draw(names, pick.draw),),))
        return
    key = (Field.SADDR, *lane.remembered_fields)
    names = tuple(lane.sticky(index, seconds) for index in range(pick.count))
    for index, name in enumerate(names):
        if name not in sets:
            sets[name] = sticky_spec(lane, seconds)
            chains[name] = Chain(((Remember(key, name),), (Goto(lane.slot(index)),)))
    known: tuple[Rule, ...] = tuple((InSet(key, name), Goto(name)) for name in names)
    draw = HASH if pick.draw == RANDOM else pick.draw
    chains[pick.chain] = Chain((*known, (_draw(names, draw),)))


def _draw(chains: tuple[str, ...], draw: str) -> Draw | Goto:
    if len(chains) == 1:
        return Goto(chains[0])
    if draw == RANDOM:
        return GotoRandom(chains)
    return GotoByHash(chains, HASH_SEED) if draw == HASH else GotoInTurn(chains)


def sticky_spec(lane: Lane, seconds: int) -> SetSpec:
    """The set of the clients that one slot remembers."""
    return SetSpec((Type.ADDRESS, *lane.types[: len(lane.remembered_fields)]), timeout_seconds=seconds)


def _static_sets(*, has_ranges: bool, counts: bool) -> dict[str, SetSpec]:
    sets = {
        STATE: SetSpec((Type.MARK,)),
        CLUSTER_IPS: SetSpec((Type.ADDRESS,)),
        NODE_PORT_ADDRESSES: SetSpec((Type.ADDRESS,)),
        HAIRPINS: SetSpec((Type.ADDRESS, *SERVICE_TYPES)),
        RESTRICTED: SetSpec(SERVICE_TYPES),
        SOURCE_RANGES: SetSpec((*SERVICE_TYPES, Type.ADDRESS), is_interval=True),
    }
    if has_ranges:
        sets[RANGE_HAIRPINS] = SetSpec((Type.ADDRESS, Type.ADDRESS, Type.PROTOCOL))
        sets[RANGE_RESTRICTED] = SetSpec(SERVICE_TYPES, is_interval=True)
    for entrance in ENTRANCES:
        if entrance.lane.is_range and not has_ranges:
            continue
        for name in (entrance.verdicts, entrance.short_circuit, entrance.local, entrance.refused):
            sets[name] = SetSpec(entrance.lane.types, is_verdict_map=True, is_interval=entrance.lane.is_range)
        if counts:
            sets[entrance.connections] = SetSpec(
                entrance.lane.types, is_interval=entrance.lane.is_range, is_counted=True
            )
    return sets


def find_spec(name: str) -> SetSpec | None:
    """The type of a set by its name; None when no table of ours has one of that name."""
    found = _SLOT_NAME.fullmatch(name)
    if found is None:
        return _static_sets(has_ranges=True, counts=True).get(name)
    seconds, lane = found[1], _LANE_OF_PREFIX[found[2]]
    if seconds is not None:
        return sticky_spec(lane, int(seconds))
    return lane.slot_spec


_SLOT_NAME = re.compile(r"(?:sticky-([0-9]+)-)?((?:local-)?(?:node-port-|range-)?)slot-[0-9]+")
_LANE_OF_PREFIX = {lane.prefix: lane for lane in LANES}


def _static_chains(config: RenderConfig, *, has_ranges: bool) -> dict[str, Chain]:
    return {
        REJECT.chain: Chain(((Reject(),),)),
        BY_ADDRESS.policy_chain: _local_policy(BY_ADDRESS, config),
        BY_NODE_PORT.policy_chain: _local_policy(BY_NODE_PORT, config),
        **({BY_RANGE.policy_chain: _local_policy(BY_RANGE, config)} if has_ranges else {}),
        "check-source": Chain(((InSet((*SERVICE_KEY, Field.SADDR), SOURCE_RANGES), Return()), (Drop(),))),
        "translate": _translate(config, has_ranges=has_ranges),
        **({GUARD: _guard(config)} if config.guarded_links else {}),
        **_base_chains(config, has_ranges=has_ranges),
    }


def _translate(config: RenderConfig, *, has_ranges: bool) -> Chain:
    """Service addresses before node ports; single ports before ranges. Rule: spec "proxy" §3.1.

    Who asks is counted in a set beside each verdict map, whose own elements change with endpoints and would forget.
    """
    rules: list[Rule] = []

    def lead(entrance: Entrance, *to: Statement) -> None:
        if config.counts_connections:
            rules.append((*to, InSet(entrance.lane.fields, entrance.connections)))
        rules.append((*to, Vmap(entrance.lane.fields, entrance.verdicts)))

    to_cluster_ip: tuple[Statement, ...] = (InSet((Field.DADDR,), CLUSTER_IPS), SetMark(config.mark))
    if config.masquerade_all:
        rules.append(to_cluster_ip)
    elif outside := _from_elsewhere(config):
        rules.append((*outside, *to_cluster_ip))
    lead(BY_ADDRESS)
    if has_ranges:
        lead(BY_RANGE)
    lead(BY_NODE_PORT, *_to_node(config))
    return Chain(tuple(rules))


def _from_pods(config: RenderConfig) -> tuple[Statement, ...]:
    """Each of them holds for some of the Pods' packets; together for all. Rule: spec "proxy" §3.5."""
    if config.pod_links is not None:
        return (ArrivesBy(config.pod_links.name, is_prefix=config.pod_links.is_prefix),)
    return tuple(InNetwork(Field.SADDR, cidr) for cidr in config.cluster_cidrs)


def _from_elsewhere(config: RenderConfig) -> tuple[Statement, ...]:
    """All of them hold for what comes from no Pod; none: nobody is known to be one."""
    if config.pod_links is not None:
        return (ArrivesBy(config.pod_links.name, negate=True, is_prefix=config.pod_links.is_prefix),)
    return tuple(InNetwork(Field.SADDR, cidr, negate=True) for cidr in config.cluster_cidrs)


def _to_node(config: RenderConfig) -> tuple[Statement, ...]:
    if config.node_ports.is_all:
        return (IsLocal(Field.DADDR), _not_loopback(config.family))
    return (InSet((Field.DADDR,), NODE_PORT_ADDRESSES),)


def _not_loopback(family: Family) -> InNetwork:
    return InNetwork(Field.DADDR, "127.0.0.0/8" if family is Family.IPV4 else "::1/128", negate=True)


def _local_policy(entrance: Entrance, config: RenderConfig) -> Chain:
    """The cluster's own sources reach every endpoint, others those of this node. Rule: spec "proxy" §3.2, §8.4."""
    fields = entrance.lane.fields
    from_pods: list[Rule] = [(test, Vmap(fields, entrance.short_circuit)) for test in _from_pods(config)]
    return Chain(
        (
            *from_pods,
            (IsLocal(Field.SADDR), SetMark(config.mark), Vmap(fields, entrance.short_circuit)),
            (Vmap(fields, entrance.local),),
        )
    )


def _base_chains(config: RenderConfig, *, has_ranges: bool) -> dict[str, Chain]:
    firewall: Rule = (IsNew(), InSet(SERVICE_KEY, RESTRICTED), Jump("check-source"))
    firewalls, refuse, hairpins = [firewall], _REFUSE, _HAIRPINS
    if has_ranges:
        firewalls.append((IsNew(), InSet(SERVICE_KEY, RANGE_RESTRICTED), Jump("check-source")))
        refuse += _REFUSE_RANGES
        hairpins += _RANGE_HAIRPINS
    loopback = (_not_loopback(config.family),) if config.node_ports.is_all else _to_node(config)
    refuse_node_port: Rule = (IsNew(), *loopback, Vmap(NODE_PORT_KEY, BY_NODE_PORT.refused))
    unclaimed: tuple[Rule, ...] = (
        (IsNew(), InSet((Field.DADDR,), CLUSTER_IPS), Reject()),
        *((IsNew(), InNetwork(Field.DADDR, cidr), Drop()) for cidr in config.service_cidrs),
    )
    return {
        "filter-prerouting-pre-dnat": Chain(tuple(firewalls), Hook("filter", "prerouting", -110)),
        "filter-output-pre-dnat": Chain(tuple(firewalls), Hook("filter", "output", -110)),
        "filter-input": Chain((refuse_node_port, *refuse), Hook("filter", "input", 0)),
        "filter-forward": Chain(
            (*refuse, *unclaimed, *((ArrivesBy(link), Jump(GUARD)) for link in config.guarded_links)),
            Hook("filter", "forward", 0),
        ),
        "filter-output": Chain((*refuse, *unclaimed), Hook("filter", "output", 0)),
        "nat-postrouting": Chain(
            (
                (IsMarked(config.mark), FlipMark(config.mark), MasqueradeSource()),
                *hairpins,
                *_masquerade_outgoing(config),
            ),
            Hook("nat", "postrouting", 100),
        ),
        "nat-prerouting": Chain(((Jump("translate"),),), Hook("nat", "prerouting", -100)),
        "nat-output": Chain(((Jump("translate"),),), Hook("nat", "output", -100)),
    }


_REFUSE: tuple[Rule, ...] = ((IsNew(), Vmap(SERVICE_KEY, BY_ADDRESS.refused)),)
_REFUSE_RANGES: tuple[Rule, ...] = ((IsNew(), Vmap(SERVICE_KEY, BY_RANGE.refused)),)
_HAIRPINS: tuple[Rule, ...] = ((IsTranslated(), InSet((Field.SADDR, *SERVICE_KEY), HAIRPINS), MasqueradeSource()),)
_RANGE_HAIRPINS: tuple[Rule, ...] = (
    (IsTranslated(), InSet((Field.SADDR, Field.DADDR, Field.L4PROTO), RANGE_HAIRPINS), MasqueradeSource()),
)


def _guard(config: RenderConfig) -> Chain:
    """What may be forwarded from a guarded link; refusals of Services were made before. Rule: design.md §12."""
    return Chain(
        (
            (IsReply(), Return()),
            (IsTranslated(), Return()),
            *((InNetwork(Field.DADDR, cidr), Return()) for cidr in config.cluster_cidrs),
            (Drop(),),
        )
    )


def _masquerade_outgoing(config: RenderConfig) -> Iterator[Rule]:
    """Pods to what knows no way back to them, an endpoint outside the cluster too. Rule: spec "node" §4.4."""
    if not config.masquerade_outgoing:
        return
    multicast = "224.0.0.0/4" if config.family is Family.IPV4 else "ff00::/8"
    inside = (*config.cluster_cidrs, *config.service_cidrs, multicast)
    outside = tuple(InNetwork(Field.DADDR, cidr, negate=True) for cidr in inside)
    for cidr in config.cluster_cidrs:
        yield (InNetwork(Field.SADDR, cidr), *outside, LeavesBy("lo", negate=True), MasqueradeSource())


_PICK_NAME = re.compile(
    r"(masquerade-)?(?:sticky-([0-9]+)-)?(?:(hash|turn-[0-9]+)-)?((?:local-)?(?:node-port-|range-)?)pick-([0-9]+)"
)


@functools.cache
def _parse_pick(chain: str) -> tuple[Pick, ...]:
    found = _PICK_NAME.fullmatch(chain)
    if found is None:
        return ()
    seconds = int(found[2]) if found[2] is not None else None
    lane = _LANE_OF_PREFIX[found[4]]
    return (Pick(lane, int(found[5]), found[1] is not None, seconds, found[3] or RANDOM),)


@functools.cache
def _slot_name(prefix: str, index: int) -> str:
    return f"{prefix}slot-{index}"
