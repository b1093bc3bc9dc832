"""What is wrong between Services and the numbers that they hold, and what mends it.

Commits of this server leave nothing to mend. But anybody may delete an IPAddress or write one, a store may be edited by
hand, and another program may have written it. So each finding is an Event for people, and what can be mended is one
commit that requires everything it was judged by to be unchanged: a repair never races with a write.

Node ports that nobody uses are given back at once: that requires the Service that they name to be as it was seen.
Upstream, which cannot ask for that, waits for three sightings.
Rule: spec "service-api" §5.9, "controllers" §8.2.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from seaway.api.ipaddress.types import LABEL_FAMILY, LABEL_MANAGED_BY, MANAGED_BY, IPAddress, ParentReference
from seaway.api.machinery.addresses import canonical_address, find_family
from seaway.api.registry import IP_ADDRESSES, SERVICES
from seaway.api.service.types import Service
from seaway.apiserver.allocation.holdings import Held, Holder, address_key, encode_address, encode_port, port_key
from seaway.apiserver.builtin.notices import Notice
from seaway.store.contract import Precondition, Write

LEAK_SECONDS = 60.0
"""How long an address may wait for its Service: others may make the one before the other."""
YOUNG_SECONDS = 5.0
"""How long an address that is newer than its Service may wait to be named by it."""
IP_REPORTER, PORT_REPORTER = "ipallocator-repair-controller", "portallocator-repair-controller"
_IP_ACTION, _ADDRESS_ACTION, _PORT_ACTION = "ClusterIPAllocation", "IPAddressAllocation", "PortAllocation"


@dataclass(frozen=True, slots=True)
class SeenService:
    """A Service as it was at the revision."""

    service: Service
    revision: int

    @property
    def holder(self) -> Holder:
        meta = self.service.metadata
        return Holder(meta.namespace, meta.name, meta.uid)

    @property
    def unchanged(self) -> Precondition:
        return _service_at(self.holder, self.revision)

    def notice(self, reporter: str, reason: str, action: str, note: str) -> Notice:
        meta = self.service.metadata
        return Notice(SERVICES, meta.namespace, meta.name, meta.uid, reporter, reason, action, note)


@dataclass(frozen=True, slots=True)
class SeenAddress:
    """An IPAddress as it was at the revision."""

    address: IPAddress
    revision: int

    @property
    def name(self) -> str:
        return self.address.metadata.name

    @property
    def parent(self) -> ParentReference:
        return self.address.spec.parent_ref

    def removed(self, *others: Precondition) -> Fix:
        key = address_key(self.name)
        return Fix((Precondition(key, self.revision), *others), Write(key, None))

    def notice(self, reason: str, note: str) -> Notice:
        uid = self.address.metadata.uid
        return Notice(IP_ADDRESSES, "", self.name, uid, IP_REPORTER, reason, _ADDRESS_ACTION, note)


@dataclass(frozen=True, slots=True)
class Fix:
    """One commit."""

    preconditions: tuple[Precondition, ...]
    write: Write


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. kind: what upstream's metric calls it; nothing may be left to say, or to write."""

    kind: str
    notice: Notice | None = None
    fix: Fix | None = None


FindService = Callable[[str, str], SeenService | None]
"""By namespace and name."""
FindAddress = Callable[[str], SeenAddress | None]
"""By canonical text."""


def check_service(
    seen: SeenService,
    cidrs: Collection[str],
    find_address: FindAddress,
    find_service: FindService,
    *,
    wall_now: datetime,
) -> list[Finding]:
    """What is wrong with the cluster IPs of a Service. cidrs: of all ServiceCIDRs, whatever their state."""
    findings = []
    for text in cluster_ips(seen.service):
        family = find_family(text)
        if family is None:
            note = "Cluster IP <nil> is not a valid IP; please recreate Service"
            notice = seen.notice(IP_REPORTER, "ClusterIPNotValid", "ClusterIPValidation", note)
            findings.append(Finding("invalid", notice))
            continue
        address, where = canonical_address(text), f"[{family.value}]: {canonical_address(text)}"
        if not is_covered(address, cidrs):
            note = f"Cluster IP {where} is not within any configured Service CIDR; please recreate service"
            findings.append(Finding("outOfRange", seen.notice(IP_REPORTER, "ClusterIPOutOfRange", _IP_ACTION, note)))
            continue
        found = find_address(address)
        if found is None:
            note = f"Cluster IP {where} is not allocated; repairing"
            notice = seen.notice(IP_REPORTER, "ClusterIPNotAllocated", _IP_ACTION, note)
            findings.append(Finding("repair", notice, _take(seen, address, family.value, wall_now)))
        else:
            finding = _check_holder(seen, found, where, family.value, find_service)
            findings += [] if finding is None else [finding]
    return findings


def _check_holder(
    seen: SeenService, found: SeenAddress, where: str, family: str, find_service: FindService
) -> Finding | None:
    """Whether an IPAddress says that this Service holds it. A wrong one is removed; the next look makes it anew."""
    parent, holder = found.parent, seen.holder
    mine = is_service(parent) and (parent.namespace, parent.name) == (holder.namespace, holder.name)
    if mine:
        wanted = {LABEL_FAMILY: family, LABEL_MANAGED_BY: MANAGED_BY}
        if wanted.items() <= found.address.metadata.labels.items():
            return None
        return Finding("repair", None, found.removed(seen.unchanged))
    other = find_service(parent.namespace, parent.name) if is_service(parent) else None
    if other is None:
        note = f"the ClusterIP {where} for Service {holder.key} has a wrong reference; repairing"
        absent = (_service_at(Holder(parent.namespace, parent.name), 0),) if is_service(parent) else ()
        notice = seen.notice(IP_REPORTER, "ClusterIPNotAllocated", _IP_ACTION, note)
        return Finding("repair", notice, found.removed(seen.unchanged, *absent))
    if found.name not in map(_canonical, cluster_ips(other.service)):
        return None  # whoever looks at the address removes it
    note = f"Cluster IP {where.replace(': ', ':')} was assigned to multiple services; please recreate service"
    return Finding("duplicate", seen.notice(IP_REPORTER, "ClusterIPAlreadyAllocated", _IP_ACTION, note))


def check_address(
    found: SeenAddress, find_service: FindService, *, wall_now: datetime
) -> tuple[Finding | None, float | None]:
    """What is wrong with an IPAddress that the allocator manages; or after how many seconds to look again.

    Those of others are nobody's business.
    """
    meta, parent = found.address.metadata, found.parent
    if meta.labels.get(LABEL_MANAGED_BY) != MANAGED_BY:
        return None, None
    if not is_service(parent):
        shown = f"{{{parent.group} {parent.resource} {parent.namespace} {parent.name}}}"
        note = f"IPAddress {found.name} appears to have been modified, not referencing a Service {shown}: cleaning up"
        return Finding("repair", found.notice("IPAddressNotAllocated", note), found.removed()), None
    age = (wall_now - _parse_time(meta.creation_timestamp)).total_seconds()
    where = f"IPAddress: {found.name} for Service {parent.namespace}/{parent.name}"
    owner = find_service(parent.namespace, parent.name)
    if owner is None:
        if age <= LEAK_SECONDS:
            return None, LEAK_SECONDS - age + 1
        absent = _service_at(Holder(parent.namespace, parent.name), 0)
        notice = found.notice("IPAddressNotAllocated", f"{where} appears to have leaked: cleaning up")
        return Finding("leak", notice, found.removed(absent)), None
    if found.name in map(_canonical, cluster_ips(owner.service)):
        return None, None
    if owner.service.spec.type == "ExternalName" and age < LEAK_SECONDS:
        return None, LEAK_SECONDS - age
    is_newer = owner.service.metadata.creation_timestamp < meta.creation_timestamp
    if is_newer and age < YOUNG_SECONDS:
        return None, YOUNG_SECONDS
    notice = found.notice("IPAddressWrongReference", f"{where} has a wrong reference; cleaning up")
    return Finding("repair", notice, found.removed(owner.unchanged)), None


def check_ports(
    services: Iterable[SeenService], held: Mapping[int, Held], port_range: tuple[int, int]
) -> list[Finding]:
    """What is wrong with the node ports of all Services, and which are held for nobody. Sorted by Service and port."""
    used = {seen.holder.key: (seen, Counter(ports_of(seen.service))) for seen in services}
    findings, taken = [], set[int]()
    first, last = port_range
    for _, (seen, numbers) in sorted(used.items()):
        for number, times in sorted(numbers.items()):
            now = held.get(number)
            holder = used.get(now.holder_key) if now is not None else None
            holds_it = holder is not None and number in holder[1]
            if not first <= number <= last:
                note = f"Port {number} is not within the port range {first}-{last}; please recreate service"
                findings.append(_find_port(seen, "outOfRange", "PortOutOfRange", note))
            elif times > 1 or number in taken or (holds_it and now and now.holder_key != seen.holder.key):
                note = f"Port {number} was assigned to multiple services; please recreate service"
                findings.append(_find_port(seen, "duplicate", "PortAlreadyAllocated", note))
            elif not holds_it:
                note = f"Port {number} is not allocated; repairing"
                at = Precondition(port_key(number), now.revision if now else 0)
                fix = Fix((at, seen.unchanged), Write(port_key(number), encode_port(seen.holder)))
                findings.append(_find_port(seen, "repair", "PortNotAllocated", note, fix))
                taken.add(number)
    everybody = {number for _, numbers in used.values() for number in numbers}
    for number in sorted(set(held) - everybody):
        namespace, _, name = held[number].holder_key.partition("/")
        owner = used.get(held[number].holder_key)
        as_seen = owner[0].unchanged if owner else _service_at(Holder(namespace, name), 0)
        at = Precondition(port_key(number), held[number].revision)
        findings.append(Finding("leak", None, Fix((at, as_seen) if name else (at,), Write(port_key(number), None))))
    return findings


def cluster_ips(service: Service) -> tuple[str, ...]:
    """The addresses that the Service holds."""
    spec = service.spec
    addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    return () if spec.type == "ExternalName" or addresses[:1] == ("None",) else addresses


def ports_of(service: Service) -> list[int]:
    """The node ports that the Service uses: once for all protocols, but again for each that repeats one."""
    spec = service.spec
    if spec.type not in ("NodePort", "LoadBalancer"):
        return []
    pairs = Counter((port.node_port, port.protocol) for port in spec.ports if port.node_port)
    times: dict[int, int] = {}
    for (number, _), count in pairs.items():
        times[number] = max(times.get(number, 0), count)
    health = spec.health_check_node_port
    if health and spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local":
        times[health] = times.get(health, 0) + 1 if (health, "TCP") in pairs else max(times.get(health, 0), 1)
    return [number for number, count in times.items() for _ in range(count)]


def is_service(parent: ParentReference) -> bool:
    """The reference is to a Service of core."""
    return not parent.group and parent.resource == "services"


def is_covered(address: str, cidrs: Iterable[str]) -> bool:
    """Some range can hand the address out: neither its network address nor, for IPv4, its broadcast address."""
    parsed = ipaddress.ip_address(address)
    return any(
        parsed in network
        and parsed != network.network_address
        and (network.version == 6 or parsed != network.broadcast_address)
        for network in map(_network, cidrs)
    )


_network = lru_cache(maxsize=256)(ipaddress.ip_network)


def _take(seen: SeenService, address: str, family: str, wall_now: datetime) -> Fix:
    now, key = wall_now.strftime("%Y-%m-%dT%H:%M:%SZ"), address_key(address)
    value = encode_address(seen.holder, address, family=family, wall_now=now, base_revision=f"repair {seen.revision}")
    return Fix((Precondition(key, 0), seen.unchanged), Write(key, value))


def _find_port(seen: SeenService, kind: str, reason: str, note: str, fix: Fix | None = None) -> Finding:
    return Finding(kind, seen.notice(PORT_REPORTER, reason, _PORT_ACTION, note), fix)


def _service_at(holder: Holder, revision: int) -> Precondition:
    return Precondition(SERVICES.store_key(holder.namespace, holder.name), revision)


def _canonical(text: str) -> str:
    return canonical_address(text) if find_family(text) else text


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else datetime.min.replace(tzinfo=UTC)
