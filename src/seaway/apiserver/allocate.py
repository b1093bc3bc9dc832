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

The caller shows `observe` what the store holds under the two prefixes at the start, and each event of them before it
answers the request that caused it (or calls `commit_claim`), so that a client that was told "deleted" can have the
same number at once.

Not taken: reserving in memory first and writing later, with a loop that repairs what a crash left.
Rule: spec "service-api" §5, texts of §3.3; quirks Q6, Q14, Q15 are not reproduced.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from seaway.api.machinery.addresses import canonical_address, find_family
from seaway.api.machinery.errors import ApiError, InternalError, make_invalid
from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.strategy import Json
from seaway.api.registry import IP_ADDRESSES
from seaway.api.service.defaults import is_headless, needs_health_check_port, needs_node_ports
from seaway.api.service.families import choose_families
from seaway.api.service.transition import default_on_read, take_over_allocated
from seaway.apiserver.pool import Full, OutOfRange, Pick, Pool, Taken, address_number, make_address_pool, make_port_pool
from seaway.apiserver.record import encode_stored
from seaway.store.contract import Precondition, Write

ADDRESS_PREFIX = IP_ADDRESSES.store_prefix
PORT_PREFIX = "/registry/nodeports/"
LABEL_FAMILY = "ipaddress.kubernetes.io/ip-family"
LABEL_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGED_BY = "ipallocator.k8s.io"
_HOLDS_PORTS = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a plan needs to hold, and writes, in the commit that writes the Service. Sorted by key."""

    preconditions: tuple[Precondition, ...] = ()
    writes: tuple[Write, ...] = ()


class _ParentRef(msgspec.Struct, frozen=True, gc=False):
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""


class _AddressSpec(msgspec.Struct, frozen=True, gc=False, rename={"parent_ref": "parentRef"}):
    parent_ref: _ParentRef = _ParentRef()


class _AddressObject(msgspec.Struct, frozen=True, gc=False):
    spec: _AddressSpec = _AddressSpec()


class _PortOwner(msgspec.Struct, frozen=True, gc=False):
    namespace: str = ""
    name: str = ""


_decode_address = msgspec.json.Decoder(_AddressObject).decode
_decode_port = msgspec.json.Decoder(_PortOwner).decode


@dataclass(slots=True)
class _Holder:
    """Who holds a key and since which revision. owner: `namespace/name` of a Service; empty: something else."""

    revision: int
    owner: str


@dataclass(slots=True)
class _Draft:
    """What one plan takes and gives back so far."""

    service: Json
    wall_now: str
    uid: str = ""
    base_revision: str = ""
    takes: dict[str, bytes] = field(default_factory=dict)
    releases: set[str] = field(default_factory=set)
    reserved: set[int] = field(default_factory=set)
    """Addresses and ports as numbers: of this plan, and of the keys that it releases."""

    @property
    def meta(self) -> Json:
        meta: Json = self.service.get("metadata") or {}
        return meta

    @property
    def owner(self) -> str:
        return f"{self.meta.get('namespace') or ''}/{self.meta.get('name') or ''}"


class ServiceAllocator:
    """Plans what Services get from the ranges, the primary one first. Plans change nothing here; observing does."""

    def __init__(self, service_cidrs: Sequence[str], node_port_range: tuple[int, int], *, pick: Pick) -> None:
        self._addresses: dict[str, Pool] = {}
        for cidr in service_cidrs:
            family = f"IPv{ipaddress.ip_network(cidr).version}"
            if family in self._addresses:
                raise ValueError(f"service ranges {', '.join(service_cidrs)}: at most one per IP family")
            self._addresses[family] = make_address_pool(cidr)
        self._port_range = node_port_range
        self._ports = make_port_pool(*node_port_range)
        self._pick = pick
        self._holders: dict[str, _Holder] = {}

    @property
    def families(self) -> tuple[str, ...]:
        """The configured families, the primary first."""
        return tuple(self._addresses)

    def find_pool(self, family: str) -> Pool | None:
        """The range of the family, or None. For metrics and tests."""
        return self._addresses.get(family)

    @property
    def port_pool(self) -> Pool:
        """The range of node ports. For metrics and tests."""
        return self._ports

    # What was seen of the store.

    def observe(self, key: str, value: bytes | None, revision: int) -> None:
        """Remember the key's state at the revision; older news than what is known is ignored. Other keys are too."""
        pool, number = self._locate(key)
        if pool is None and number is None:
            return
        known = self._holders.get(key)
        if known is not None and revision < known.revision:
            return
        if value is None:
            self._holders.pop(key, None)
        else:
            self._holders[key] = _Holder(revision, _find_owner(key, value))
        if pool is not None and number is not None:
            pool.mark(number, value is not None)

    def commit_claim(self, claim: Claim, revisions: Sequence[int]) -> None:
        """Remember a committed claim without waiting for its events. revisions: of its writes, in their order."""
        for write, revision in zip(claim.writes, revisions, strict=True):
            self.observe(write.key, write.value, revision)

    def _locate(self, key: str) -> tuple[Pool | None, int | None]:
        """The pool that the key's number belongs to, and the number; (None, None) for a key of neither prefix."""
        if key.startswith(PORT_PREFIX):
            text = key[len(PORT_PREFIX) :]
            return (self._ports, int(text)) if text.isdecimal() else (None, None)
        if key.startswith(ADDRESS_PREFIX):
            text = key[len(ADDRESS_PREFIX) :]
            family = find_family(text)
            return (self._addresses.get(family.value), address_number(text)) if family else (None, None)
        return None, None

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
        draft = _Draft(service, wall_now, (service.get("metadata") or {}).get("uid") or "")
        if _holds_addresses(spec):
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
        stored = old.get("metadata") or {}
        draft = _Draft(service, wall_now, stored.get("uid") or "", str(stored.get("resourceVersion") or ""))
        self._update_addresses(draft, before)
        self._update_ports(draft, before)
        return service, self._make_claim(draft)

    def plan_delete(self, old: Json) -> Claim:
        """The claim that gives back all that the Service holds."""
        draft = _Draft(old, "")
        spec = default_on_read(old.get("spec") or {}, primary=self.families[0])
        self._release(draft, _address_keys(spec) | _port_keys(spec))
        return self._make_claim(draft)

    def _make_claim(self, draft: _Draft) -> Claim:
        preconditions = [Precondition(key, 0) for key in draft.takes]
        writes = [Write(key, value) for key, value in draft.takes.items()]
        for key in draft.releases:
            holder = self._holders.get(key)
            if holder is None:
                preconditions.append(Precondition(key, 0))
            elif holder.owner == draft.owner:
                preconditions.append(Precondition(key, holder.revision))
                writes.append(Write(key, None))
        return Claim(tuple(sorted(preconditions, key=lambda p: p.key)), tuple(sorted(writes, key=lambda w: w.key)))

    def _release(self, draft: _Draft, keys: Collection[str]) -> None:
        """Give the keys back at commit. Until then nobody gets them, this very plan included."""
        draft.releases |= set(keys)
        draft.reserved |= {number for key in keys if (number := self._locate(key)[1]) is not None}

    # Addresses.

    def _update_addresses(self, draft: _Draft, before: Json) -> None:
        spec = draft.service["spec"]
        had, has = _holds_addresses(before), _holds_addresses(spec)
        if has and before.get("type") == "ExternalName":
            self._take_addresses(draft, 0)
        elif had and spec["type"] == "ExternalName":
            self._release(draft, _address_keys(before))
        elif had and has:
            kept, wanted = len(before.get("ipFamilies") or ()), len(spec.get("ipFamilies") or ())
            if kept < wanted:
                self._take_addresses(draft, kept)
            elif kept > wanted:
                gone = {"type": before["type"], "clusterIPs": (before.get("clusterIPs") or [])[wanted:]}
                self._release(draft, _address_keys(gone))

    def _take_addresses(self, draft: _Draft, start: int) -> None:
        """Take one address for each family from position `start` on, and write the lists of the spec."""
        spec = draft.service["spec"]
        families = spec["ipFamilies"]
        wanted = list(spec.get("clusterIPs") or ())
        wanted += [""] * (len(families) - len(wanted))
        addresses = list(wanted)
        for index in range(start, len(families)):
            pool = self._addresses[families[index]]
            try:
                if wanted[index]:
                    number = pool.check(address_number(wanted[index]), draft.reserved)
                else:
                    number = pool.choose(draft.reserved, self._pick)
            except Full:
                name = draft.meta.get("name") or ""
                text = f'failed to allocate a serviceIP for Service "{name}": range is full'
                raise _internal(text) from None
            except (OutOfRange, Taken) as refusal:
                raise _refuse_address(draft, wanted, wanted[index], refusal) from None
            draft.reserved.add(number)
            address = str(ipaddress.IPv4Address(number) if families[index] == "IPv4" else ipaddress.IPv6Address(number))
            addresses[index] = wanted[index] or address
            if not draft.meta.get("name"):
                raise _refuse_nameless(draft, wanted, address)
            draft.takes[f"{ADDRESS_PREFIX}{address}"] = _encode_address(draft, address, families[index])
        spec["clusterIPs"] = addresses
        spec["clusterIP"] = addresses[0]

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
        had = _node_ports(before)
        kept: set[int] = set()
        if spec["type"] in _HOLDS_PORTS:
            _refuse_same_port_twice(spec)
            # Numbers that the request gives up are nobody's until the commit.
            named = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
            self._release(draft, {f"{PORT_PREFIX}{number}" for number in had - named})
            for index, port in enumerate(spec.get("ports") or ()):
                own = port.get("nodePort") or 0
                if own and own not in had and own not in kept:
                    self._take_port(draft, index, own)
                elif not own and needs_node_ports(spec):
                    own = port["nodePort"] = self._take_port(draft, index, 0)
                kept.add(own)
        else:
            self._release(draft, {f"{PORT_PREFIX}{number}" for number in had})
        self._update_health_check_port(draft, before)

    def _update_health_check_port(self, draft: _Draft, before: Json) -> None:
        needed, needs = needs_health_check_port(before), needs_health_check_port(draft.service["spec"])
        if needs and not needed:
            self._take_health_check_port(draft)
        elif needed and not needs and before.get("healthCheckNodePort"):
            self._release(draft, {f"{PORT_PREFIX}{before['healthCheckNodePort']}"})

    def _take_port(self, draft: _Draft, index: int, wanted: int) -> int:
        try:
            return self._reserve_port(draft, wanted)
        except Full:
            raise _internal("failed to allocate a nodePort: range is full") from None
        except (OutOfRange, Taken) as refusal:
            error = invalid(f"spec.ports[{index}].nodePort", wanted, self._explain_port(refusal))
            raise make_invalid("Service", "", draft.meta.get("name") or "", [error]) from None

    def _take_health_check_port(self, draft: _Draft) -> None:
        spec = draft.service["spec"]
        wanted = spec.get("healthCheckNodePort") or 0
        try:
            spec["healthCheckNodePort"] = self._reserve_port(draft, wanted)
        except Full:
            raise _internal("failed to allocate a HealthCheck NodePort 0: range is full") from None
        except (OutOfRange, Taken) as refusal:
            text = f"failed to allocate requested HealthCheck NodePort {wanted}: {self._explain_port(refusal)}"
            raise _internal(text) from None

    def _reserve_port(self, draft: _Draft, wanted: int) -> int:
        if wanted:
            number = self._ports.check(wanted, draft.reserved)
        else:
            number = self._ports.choose(draft.reserved, self._pick)
        draft.reserved.add(number)
        namespace, _, name = draft.owner.partition("/")
        owner = {"namespace": namespace, "name": name, "uid": draft.uid}
        draft.takes[f"{PORT_PREFIX}{number}"] = msgspec.json.encode(owner)
        return number

    def _explain_port(self, refusal: Exception) -> str:
        if isinstance(refusal, Taken):
            return "provided port is already allocated"
        first, last = self._port_range
        return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"


def _copy(service: Json) -> Json:
    copied: Json = msgspec.json.decode(msgspec.json.encode(service))
    copied.setdefault("spec", {})
    return copied


def _holds_addresses(spec: Json) -> bool:
    return spec.get("type") != "ExternalName" and not is_headless(spec)


def _address_keys(spec: Json) -> set[str]:
    if not _holds_addresses(spec):
        return set()
    return {f"{ADDRESS_PREFIX}{canonical_address(ip)}" for ip in spec.get("clusterIPs") or () if find_family(ip)}


def _node_ports(spec: Json) -> set[int]:
    """The numbers that the ports hold; an ExternalName Service may name some, and holds none."""
    if spec.get("type") not in _HOLDS_PORTS:
        return set()
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _port_keys(spec: Json) -> set[str]:
    numbers = _node_ports(spec)
    if needs_health_check_port(spec) and spec.get("healthCheckNodePort"):
        numbers.add(spec["healthCheckNodePort"])
    return {f"{PORT_PREFIX}{number}" for number in numbers}


def _find_owner(key: str, value: bytes) -> str:
    """`namespace/name` of the Service that the value names, or "" when it names something else."""
    try:
        if key.startswith(PORT_PREFIX):
            port = _decode_port(value)
            return f"{port.namespace}/{port.name}"
        parent = _decode_address(value).spec.parent_ref
    except msgspec.MsgspecError:
        return ""
    is_service = parent.resource == "services" and not parent.group
    return f"{parent.namespace}/{parent.name}" if is_service else ""


def _encode_address(draft: _Draft, address: str, family: str) -> bytes:
    """The IPAddress as it is stored.

    Its uid follows from the Service's, the Service's revision and the address: a Service takes an address at most
    once per revision, so no two IPAddresses share one.
    """
    seed = f"seaway ipaddress {draft.owner} {draft.uid} {draft.base_revision} {draft.wall_now} {address}"
    meta: dict[str, Any] = {
        "name": address,
        "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, seed)),
        "creationTimestamp": draft.wall_now,
        "labels": {LABEL_FAMILY: family, LABEL_MANAGED_BY: MANAGED_BY},
    }
    parent = {"resource": "services", "namespace": draft.meta.get("namespace") or "", "name": draft.meta["name"]}
    kind = {"kind": IP_ADDRESSES.kind, "apiVersion": IP_ADDRESSES.api_version}
    return encode_stored({**kind, "metadata": meta, "spec": {"parentRef": parent}})


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
    return make_invalid("Service", "", draft.meta.get("name") or "", [error])


def _refuse_nameless(draft: _Draft, wanted: list[str], address: str) -> ApiError:
    why = f'IPAddress.networking.k8s.io "{address}" is invalid: spec.parentRef.name: Required value'
    return make_invalid("Service", "", "", [invalid("spec.clusterIPs", wanted, f"failed to allocate IP: {why}")])


def _internal(text: str) -> InternalError:
    return InternalError(f"Internal error occurred: {text}", {"causes": [{"message": text}]})


def _raise_if(service: Json, errors: list[FieldError]) -> None:
    if errors:
        raise make_invalid("Service", "", (service.get("metadata") or {}).get("name") or "", errors)
