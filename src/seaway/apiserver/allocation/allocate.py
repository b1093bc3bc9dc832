"""Where cluster IPs and node ports are chosen.

A Service holds an address when the key `ipaddresses/<ip>` holds an IPAddress that names it, and a node port when
`nodeports/<port>` names it. A plan says which of those keys must be absent, or at which revision, and what is
written; the caller commits it **together with the Service**. So:

1. Nothing is handed out twice: two plans for one number need the same key to be absent, and one commit fails.
2. Nothing is lost in a crash: the number and the Service that holds it are written at once, and go at once.
3. Nothing of another is released: a key is deleted only at the revision at which it was seen to name this Service.

What this module remembers is a hint that makes plans succeed. When a commit fails on a key of the claim, the caller
shows the key's present state to `observe` and plans again. A plan about a key that was never observed requires its
absence, so that ignorance shows as a failed commit too, never as a leak.

The caller shows `observe` what the store holds under the two prefixes and of ServiceCIDRs, which say what the ranges
of addresses are: all of it at the start, and each event before it
answers the request that caused it (or calls `commit_claim`), so that a client that was told "deleted" can have the
same number at once.

Not taken: reserving in memory first and writing later, with a loop that repairs what a crash left.
Rule: spec "service-api" §5, texts of §3.3; quirks Q6, Q14, Q15 are not reproduced.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from seaway.api.machinery.addresses import find_family
from seaway.api.machinery.errors import ApiError, InternalError, make_invalid
from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.strategy import Json
from seaway.api.registry import SERVICE_CIDRS
from seaway.api.service.defaults import needs_health_check_port, needs_node_ports
from seaway.api.service.families import choose_families
from seaway.api.service.transition import default_on_read, take_over_allocated
from seaway.apiserver.allocation.holdings import (
    ADDRESS_PREFIX,
    PORT_PREFIX,
    Held,
    Holder,
    address_key,
    address_keys,
    encode_address,
    encode_port,
    find_holder_key,
    holds_addresses,
    node_ports,
    port_key,
    port_keys,
)
from seaway.apiserver.allocation.pool import (
    Full,
    OutOfRange,
    Pick,
    Pool,
    Taken,
    address_number,
    make_port_pool,
)
from seaway.apiserver.allocation.ranges import AddressRanges
from seaway.store.contract import Precondition, Write

__all__ = ["ADDRESS_PREFIX", "PORT_PREFIX", "Claim", "ServiceAllocator", "TakenBy"]

K = TypeVar("K")
_HOLDS_PORTS = ("NodePort", "LoadBalancer")
_CIDR_PREFIX = SERVICE_CIDRS.store_prefix


class TakenBy(Taken):
    """The cause of a refusal: `key` is held by the Service `holder_key` or, when that is empty, by no Service.

    is_own: the refused request itself asks for it twice, or gives it up only with its commit.
    """

    def __init__(self, key: str, holder_key: str, *, is_own: bool) -> None:
        super().__init__(key)
        self.key = key
        self.holder_key = holder_key
        self.is_own = is_own


@dataclass(frozen=True, slots=True)
class Claim:
    """What a plan needs to hold, and writes, in the commit that writes the Service. Sorted by key.

    origins: for each key that is taken, the range ("" for node ports) and "static" or "dynamic": asked for or chosen.
    """

    preconditions: tuple[Precondition, ...] = ()
    writes: tuple[Write, ...] = ()
    origins: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Draft:
    """What one plan takes and gives back so far. base_revision: at which it takes; empty: of a new Service."""

    service: Json
    holder: Holder
    wall_now: str = ""
    base_revision: str = ""
    takes: dict[str, bytes] = field(default_factory=dict)
    releases: set[str] = field(default_factory=set)
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)
    reserved: set[int] = field(default_factory=set)
    """Addresses and ports as numbers: of this plan, and of the keys that it releases."""

    @property
    def named_ports(self) -> set[int]:
        """The node ports that the Service asks for by their numbers."""
        return {port["nodePort"] for port in self.service["spec"].get("ports") or () if port.get("nodePort")}


class ServiceAllocator:
    """Plans what Services get. Plans change nothing here; observing does.

    families: what the cluster was told of at its start, the primary first. Their ranges are what ServiceCIDRs say.
    """

    def __init__(self, families: Sequence[str], node_port_range: tuple[int, int], *, pick: Pick) -> None:
        self.families = tuple(families)
        self._ranges = AddressRanges(self.families)
        self._port_range = node_port_range
        self._ports = make_port_pool(*node_port_range)
        self._pick = pick
        self._held: dict[str, Held] = {}
        # What was committed and what plans did not get, for metrics: by range and scope, and by scope ("static": asked
        # for by number).
        self.address_claims: dict[tuple[str, str], int] = {}
        self.address_refusals: dict[tuple[str, str], int] = {}
        self.port_claims: dict[str, int] = {}
        self.port_refusals: dict[str, int] = {}

    @property
    def ranges(self) -> AddressRanges:
        """The ranges of addresses. For metrics and tests."""
        return self._ranges

    @property
    def port_pool(self) -> Pool:
        """The range of node ports. For metrics and tests."""
        return self._ports

    # What was seen of the store.

    def observe(self, key: str, value: bytes | None, revision: int) -> None:
        """Remember the key's state at the revision; older news than what is known is ignored. Other keys are too."""
        if key.startswith(_CIDR_PREFIX):
            self._ranges.observe(key[len(_CIDR_PREFIX) :], value, self._held_addresses)
            return
        family, number = _locate(key)
        if number is None:
            return
        known = self._held.get(key)
        if known is not None and revision < known.revision:
            return
        if value is None:
            self._held.pop(key, None)
        else:
            self._held[key] = Held(revision, find_holder_key(key, value))
        if family:
            self._ranges.mark(family, number, value is not None)
        else:
            self._ports.mark(number, value is not None)

    def _held_addresses(self) -> Iterator[tuple[str, int]]:
        for key in self._held:
            family, number = _locate(key)
            if family and number is not None:
                yield family, number

    def find_holder(self, key: str) -> str | None:
        """`Holder.key` of the Service that holds the key, "" when somebody else does; None when nobody does."""
        held = self._held.get(key)
        return None if held is None else held.holder_key

    def held_ports(self) -> dict[int, Held]:
        """Who holds which node port."""
        ports = ((_locate(key), held) for key, held in self._held.items() if key.startswith(PORT_PREFIX))
        return {number: held for (_, number), held in ports if number is not None}

    def commit_claim(self, claim: Claim, revisions: Sequence[int]) -> None:
        """Remember a committed claim without waiting for its events. revisions: of its writes, in their order."""
        for write, revision in zip(claim.writes, revisions, strict=True):
            self.observe(write.key, write.value, revision)
        for cidr, scope in claim.origins.values():
            if cidr:
                _count(self.address_claims, (cidr, scope))
            else:
                _count(self.port_claims, scope)

    # Plans.

    def plan_create(self, service: Json, *, wall_now: str) -> tuple[Json, Claim]:
        """The Service with its addresses and ports, and the claim on them. `service` is left as it was.

        Raises Invalid, InternalError.
        """
        service = _copy(service)
        spec = service["spec"]
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        _raise_if(service, choose_families(spec, None, configured=self.families))
        draft = _Draft(service, _holder_of(service), wall_now)
        if holds_addresses(spec):
            self._take_addresses(draft, 0)
        if spec["type"] in _HOLDS_PORTS:
            self._take_new_ports(draft)
        if needs_health_check_port(spec):
            self._take_health_check_port(draft)
        return service, self._make_claim(draft)

    def plan_update(self, new: Json, old: Json, *, wall_now: str) -> tuple[Json, Claim]:
        """The new Service with what it keeps, gains and loses. Neither argument is changed.

        Raises Invalid, InternalError.
        """
        service = _copy(new)
        spec = service["spec"]
        before = default_on_read(old.get("spec") or {}, primary=self.families[0])
        take_over_allocated(spec, before)
        _raise_if(service, choose_families(spec, before, configured=self.families))
        revision = (old.get("metadata") or {}).get("resourceVersion") or ""
        draft = _Draft(service, _holder_of(old), wall_now, revision)
        self._update_addresses(draft, before)
        self._update_ports(draft, before)
        return service, self._make_claim(draft)

    def plan_delete(self, old: Json) -> Claim:
        """The claim that gives back all that the Service holds."""
        draft = _Draft(old, _holder_of(old))
        spec = default_on_read(old.get("spec") or {}, primary=self.families[0])
        self._release(draft, address_keys(spec) | port_keys(spec))
        return self._make_claim(draft)

    def _make_claim(self, draft: _Draft) -> Claim:
        preconditions = [Precondition(key, 0) for key in draft.takes]
        writes = [Write(key, value) for key, value in draft.takes.items()]
        for key in draft.releases:
            held = self._held.get(key)
            if held is None:
                preconditions.append(Precondition(key, 0))
            elif held.holder_key == draft.holder.key:
                preconditions.append(Precondition(key, held.revision))
                writes.append(Write(key, None))
        writes.sort(key=lambda write: write.key)
        return Claim(tuple(sorted(preconditions, key=lambda p: p.key)), tuple(writes), draft.origins)

    def _release(self, draft: _Draft, keys: Collection[str]) -> None:
        """Give the keys back at commit. Until then nobody gets them, this very plan included."""
        draft.releases |= set(keys)
        draft.reserved |= {number for key in keys if (number := _locate(key)[1]) is not None}

    # Addresses.

    def _update_addresses(self, draft: _Draft, before: Json) -> None:
        spec = draft.service["spec"]
        had, has = holds_addresses(before), holds_addresses(spec)
        if has and before.get("type") == "ExternalName":
            self._take_addresses(draft, 0)
        elif had and spec["type"] == "ExternalName":
            self._release(draft, address_keys(before))
        elif had and has:
            kept, wanted = len(before.get("ipFamilies") or ()), len(spec.get("ipFamilies") or ())
            if kept < wanted:
                self._take_addresses(draft, kept)
            elif kept > wanted:
                gone = {"type": before["type"], "clusterIPs": (before.get("clusterIPs") or [])[wanted:]}
                self._release(draft, address_keys(gone))

    def _take_addresses(self, draft: _Draft, start: int) -> None:
        """Take one address for each family from position `start` on, and write the lists of the spec."""
        spec = draft.service["spec"]
        families = spec["ipFamilies"]
        wanted = list(spec.get("clusterIPs") or ())
        wanted += [""] * (len(families) - len(wanted))
        addresses = list(wanted)
        for index in range(start, len(families)):
            number, origin = self._reserve_address(draft, families[index], wanted, index)
            address = str(ipaddress.IPv4Address(number) if families[index] == "IPv4" else ipaddress.IPv6Address(number))
            addresses[index] = wanted[index] or address
            if not draft.holder.name:
                raise _refuse_nameless(wanted, address)
            draft.origins[address_key(address)] = origin
            draft.takes[address_key(address)] = encode_address(
                draft.holder,
                address,
                family=families[index],
                wall_now=draft.wall_now,
                base_revision=draft.base_revision,
            )
        spec["clusterIPs"] = addresses
        spec["clusterIP"] = addresses[0]

    def _reserve_address(
        self, draft: _Draft, family: str, wanted: list[str], index: int
    ) -> tuple[int, tuple[str, str]]:
        """The address, and what it is counted as. Raises Invalid, InternalError."""
        asked = address_number(wanted[index]) if wanted[index] else None
        scope = "dynamic" if asked is None else "static"
        try:
            if asked is None:
                number, cidr = self._ranges.choose(family, draft.reserved, self._pick)
            else:
                number, cidr = asked, self._ranges.check(family, asked, draft.reserved)
        except Full:
            _count(self.address_refusals, (self._ranges.find_scope(family), scope))
            raise _internal(
                f'failed to allocate a serviceIP for Service "{draft.holder.name}": range is full'
            ) from None
        except (OutOfRange, Taken) as refusal:
            _count(self.address_refusals, (self._ranges.find_scope(family, address_number(wanted[index])), scope))
            cause = self._name_taker(refusal, address_key(wanted[index]))
            raise _refuse_address(draft, wanted, wanted[index], refusal) from cause
        draft.reserved.add(number)
        return number, (cidr, scope)

    def _name_taker(self, refusal: Exception, key: str) -> Exception:
        """A Taken with what is known of who holds the key; any other refusal as it is."""
        if not isinstance(refusal, Taken):
            return refusal
        held = self.find_holder(key)
        return TakenBy(key, held or "", is_own=held is None)

    # Node ports.

    def _take_new_ports(self, draft: _Draft) -> None:
        """On create, ports of one number (DNS over TCP and UDP) share a node port."""
        spec = draft.service["spec"]
        ports = spec.get("ports") or ()
        shared: dict[int, int] = {}
        for index, port in enumerate(ports):
            number, own = port.get("port") or 0, port.get("nodePort") or 0
            if not own and not needs_node_ports(spec):
                continue
            if number not in shared:
                wanted = next((p["nodePort"] for p in ports if p.get("port") == number and p.get("nodePort")), 0)
                shared[number] = port["nodePort"] = self._take_port(draft, index, wanted)
            elif not own:
                port["nodePort"] = shared[number]
            elif own != shared[number]:
                self._take_port(draft, index, own)

    def _update_ports(self, draft: _Draft, before: Json) -> None:
        spec = draft.service["spec"]
        had = node_ports(before)
        kept: set[int] = set()
        if spec["type"] in _HOLDS_PORTS:
            _refuse_same_port_twice(spec)
            # Numbers that the request gives up are nobody's until the commit.
            named = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
            self._release(draft, {port_key(number) for number in had - named})
            for index, port in enumerate(spec.get("ports") or ()):
                own = port.get("nodePort") or 0
                if own and own not in had and own not in kept:
                    self._take_port(draft, index, own)
                elif not own and needs_node_ports(spec):
                    own = port["nodePort"] = self._take_port(draft, index, 0)
                kept.add(own)
        else:
            self._release(draft, {port_key(number) for number in had})
        self._update_health_check_port(draft, before)

    def _update_health_check_port(self, draft: _Draft, before: Json) -> None:
        needed, needs = needs_health_check_port(before), needs_health_check_port(draft.service["spec"])
        if needs and not needed:
            self._take_health_check_port(draft)
        elif needed and not needs and before.get("healthCheckNodePort"):
            self._release(draft, {port_key(before["healthCheckNodePort"])})

    def _take_port(self, draft: _Draft, index: int, wanted: int) -> int:
        try:
            return self._reserve_port(draft, wanted)
        except Full:
            raise _internal("failed to allocate a nodePort: range is full") from None
        except (OutOfRange, Taken) as refusal:
            error = invalid(f"spec.ports[{index}].nodePort", wanted, self._explain_port(refusal))
            cause = self._name_taker(refusal, port_key(wanted))
            raise make_invalid("Service", "", draft.holder.name, [error]) from cause

    def _take_health_check_port(self, draft: _Draft) -> None:
        spec = draft.service["spec"]
        wanted = spec.get("healthCheckNodePort") or 0
        try:
            spec["healthCheckNodePort"] = self._reserve_port(draft, wanted)
        except Full:
            raise _internal("failed to allocate a HealthCheck NodePort 0: range is full") from None
        except (OutOfRange, Taken) as refusal:
            text = f"failed to allocate requested HealthCheck NodePort {wanted}: {self._explain_port(refusal)}"
            raise _internal(text) from self._name_taker(refusal, port_key(wanted))

    def _reserve_port(self, draft: _Draft, wanted: int) -> int:
        scope = "static" if wanted else "dynamic"
        try:
            if wanted:
                number = self._ports.check(wanted, draft.reserved)
            else:
                # Not one that a later port of the same Service asks for by its number.
                number = self._ports.choose(draft.reserved | draft.named_ports, self._pick)
        except (Full, OutOfRange, Taken):
            _count(self.port_refusals, scope)
            raise
        draft.reserved.add(number)
        draft.origins[port_key(number)] = ("", scope)
        draft.takes[port_key(number)] = encode_port(draft.holder)
        return number

    def _explain_port(self, refusal: Exception) -> str:
        if isinstance(refusal, Taken):
            return "provided port is already allocated"
        first, last = self._port_range
        return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"


def _locate(key: str) -> tuple[str, int | None]:
    """Family of an address (empty for a port) and the number; ("", None) for a key that is neither."""
    if key.startswith(PORT_PREFIX):
        text = key[len(PORT_PREFIX) :]
        return "", int(text) if text.isdecimal() else None
    if key.startswith(ADDRESS_PREFIX):
        text = key[len(ADDRESS_PREFIX) :]
        if (family := find_family(text)) is not None:
            return family.value, address_number(text)
    return "", None


def _count(counts: dict[K, int], key: K) -> None:
    counts[key] = counts.get(key, 0) + 1


def _copy(service: Json) -> Json:
    copied: Json = msgspec.json.decode(msgspec.json.encode(service))
    copied.setdefault("spec", {})
    return copied


def _holder_of(service: Json) -> Holder:
    meta = service.get("metadata") or {}
    return Holder(meta.get("namespace") or "", meta.get("name") or "", meta.get("uid") or "")


def _refuse_same_port_twice(spec: Json) -> None:
    """Upstream answers this with a plain error, not a field error."""
    seen: set[tuple[str, int]] = set()
    for port in spec.get("ports") or ():
        key = (port.get("protocol") or "TCP", port.get("nodePort") or 0)
        if key[1] and key in seen:
            raise ApiError(f"duplicate nodePort: {{{key[0]} {key[1]}}}")
        seen.add(key)


def _refuse_address(draft: _Draft, wanted: list[str], address: str, refusal: Exception) -> ApiError:
    if isinstance(refusal, Taken):
        why = "provided IP is already allocated"
    else:
        why = "the provided network does not match the current range"
    error = invalid("spec.clusterIPs", wanted, f"failed to allocate IP {address}: {why}")
    return make_invalid("Service", "", draft.holder.name, [error])


def _refuse_nameless(wanted: list[str], address: str) -> ApiError:
    why = f'IPAddress.networking.k8s.io "{address}" is invalid: spec.parentRef.name: Required value'
    return make_invalid("Service", "", "", [invalid("spec.clusterIPs", wanted, f"failed to allocate IP: {why}")])


def _internal(text: str) -> InternalError:
    return InternalError(f"Internal error occurred: {text}", {"causes": [{"message": text}]})


def _raise_if(service: Json, errors: list[FieldError]) -> None:
    if errors:
        raise make_invalid("Service", "", (service.get("metadata") or {}).get("name") or "", errors)
