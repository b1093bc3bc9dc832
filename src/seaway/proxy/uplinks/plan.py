"""On which links to other machines forwarding is turned on, which of them are guarded, and what is restored.

A packet is forwarded if the link that it came in by forwards. A host that is no router has that off, so that node ports
asked from other machines, and the replies to Pods, would end at the uplink. Turned on, the host would be a router for
everybody: so a link that forwards because of us is guarded (`nftables/structure.py`), and one that forwarded before is
not ours at all. Invariants:
1. What is turned on is on record before, and guarded before.
2. What is on record stays guarded until forwarding is what it was again.
3. A record speaks of one boot and of links that still are the same (name and index); what does not hold any more is
   forgotten: a reboot, or a link made anew, has restored it already.
4. Where somebody turned forwarding on for all links since, the link forwards because of them: it is let go.
Rule: design.md §12 (forwarding per interface), spec "node" §4.4.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from seaway.net.family import Family
from seaway.proxy.config import is_link_name


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the host as one family sees it; loopback is none."""

    name: str
    index: int
    addresses: tuple[str, ...] = ()
    has_default_route: bool = False
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class HostLinks:
    """The links of the host as one family sees them. `all_forward`: the switch for all of them is on."""

    family: Family
    links: tuple[Link, ...] = ()
    all_forward: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Enabled:
    """A link that forwards because of us. `all_forwarded`: whether the switch for all links was on before."""

    family: str
    name: str
    index: int
    all_forwarded: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept on disk."""

    boot_id: str
    enabled: tuple[Enabled, ...] = ()


@dataclass(frozen=True, slots=True)
class UplinkPlan:
    """For one family. enabled: what must be on record, and guarded. turn_on: names of those that do not forward yet.

    refused: names of uplinks that are left alone because a rule could not be written for them.
    """

    enabled: tuple[Enabled, ...] = ()
    turn_on: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def plan_uplinks(host: HostLinks, enabled: Iterable[Enabled], node_addresses: Collection[str]) -> UplinkPlan:
    """What to record, guard and turn on. `enabled`: what is on record for this boot, of any family.

    Uplinks carry an address of the node or a default route.
    """
    ours = {e.name: e for e in find_ours(host, enabled)}
    turn_on, refused = [], []
    for link in host.links:
        if link.forwards or not (link.has_default_route or not set(link.addresses).isdisjoint(node_addresses)):
            continue
        if not is_link_name(link.name):
            refused.append(link.name)
            continue
        ours.setdefault(link.name, Enabled(host.family.value, link.name, link.index, host.all_forward))
        turn_on.append(link.name)
    return UplinkPlan(tuple(sorted(ours.values())), tuple(sorted(turn_on)), tuple(sorted(refused)))


def find_ours(host: HostLinks, enabled: Iterable[Enabled]) -> tuple[Enabled, ...]:
    """Those of the host's family that are ours still, sorted. Invariants 3 and 4."""
    present = {(link.name, link.index) for link in host.links}
    return tuple(
        sorted(
            e
            for e in enabled
            if e.family == host.family.value
            and (e.name, e.index) in present
            and (e.all_forwarded or not host.all_forward)
        )
    )


def plan_restore(host: HostLinks, enabled: Iterable[Enabled]) -> tuple[str, ...]:
    """The names of the links on which forwarding is turned off again, sorted."""
    forwarding = {link.name for link in host.links if link.forwards}
    return tuple(e.name for e in find_ours(host, enabled) if e.name in forwarding)


def encode_record(record: Record) -> bytes:
    """The record as JSON."""
    links = [
        {"family": e.family, "name": e.name, "index": e.index, "allForwarded": e.all_forwarded} for e in record.enabled
    ]
    return json.dumps({"bootID": record.boot_id, "links": links}, indent=1).encode() + b"\n"


def decode_record(packed: bytes) -> Record:
    """The record of a file. Raises ValueError when it is none."""
    try:
        read = json.loads(packed)
        enabled = (
            Enabled(Family(e["family"]).value, str(e["name"]), int(e["index"]), bool(e["allForwarded"]))
            for e in read["links"]
        )
        return Record(str(read["bootID"]), tuple(sorted(enabled)))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no record of uplinks: {error!r}") from error
