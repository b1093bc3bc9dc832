"""What is known of the cluster, by the keys that questions have: an immutable shard per Service, swapped one at a time.

A change says which answers it may alter (`Source` values), so that whoever keeps answers drops those and no others.
Invariants: (1) a shard exists if and only if its Service or a slice of it does; (2) `owners_of(address)` names
exactly the Services with that cluster IP or a published endpoint there; (3) `serial` never decreases.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from seaway.api.machinery.meta import Reader
from seaway.dns.objects import EndpointSlice, Namespace, Pod, Service
from seaway.dns.packing import Packs, make_pack
from seaway.net.loopback import LoopbackMap

ServiceKey = tuple[str, str]
"""Namespace and name."""
Source = Hashable
"""What an answer rests on: a ServiceKey, an address, or EVERYTHING."""

T = TypeVar("T", bound=Reader)

EVERYTHING = "*"
_FINISHED_PHASES = frozenset(("Succeeded", "Failed", "Unknown"))


@dataclass(frozen=True, slots=True)
class Shard:
    """A Service and its slices, sorted by name. `service` None: slices came first, and names exist only with it."""

    service: Service | None
    slices: tuple[EndpointSlice, ...] = ()


_EMPTY = Shard(None)


class Index:
    """The state that answers are made from. Changes come in order; `wall_seconds` is Unix time.

    exposed: the only namespaces that have names; none: all that exist. Rule: spec "discovery" A0.4.
    loopback: where the addresses are that answers tell. All keys are addresses as objects have them.
    """

    def __init__(self, exposed: Iterable[str] = (), loopback: LoopbackMap | None = None) -> None:
        self._exposed = frozenset(exposed)
        self.packs = Packs(make_pack(loopback))
        self.is_synced = False
        self.serial = 0
        self.namespaces: set[str] = set()
        self._shards: dict[ServiceKey, Shard] = {}
        self._sole_owners: dict[str, ServiceKey] = {}  # one owner is the rule: no tuple around it
        self._shared_owners: dict[str, set[ServiceKey]] = {}
        self._pods: dict[tuple[str, str], str] = {}

    def find(self, key: ServiceKey) -> Shard | None:
        """The shard of an existing Service in an existing namespace, or None."""
        shard = self._shards.get(key)
        return shard if shard is not None and shard.service is not None and key[0] in self.namespaces else None

    def is_exposed(self, namespace: str) -> bool:
        """Names of the namespace are served, once it exists."""
        return not self._exposed or namespace in self._exposed

    def slices_of(self, key: ServiceKey) -> tuple[EndpointSlice, ...]:
        """The slices with the Service's label, whether it exists or not."""
        return self._shards.get(key, _EMPTY).slices

    def list_shards(self) -> list[tuple[ServiceKey, Shard]]:
        """All Services that have names, with their keys, in no order."""
        return [(key, shard) for key, shard in self._shards.items() if shard.service and key[0] in self.namespaces]

    def list_all(self) -> list[tuple[Service | None, tuple[EndpointSlice, ...]]]:
        """All shards, also of Services that have no names."""
        return [(shard.service, shard.slices) for shard in self._shards.values()]

    def list_pods(self) -> list[tuple[str, str, str]]:
        """Namespace, address and name."""
        return [(*key, name) for key, name in self._pods.items()]

    def owners_of(self, address: str) -> tuple[ServiceKey, ...]:
        """The Services that have the address, as cluster IP or as published endpoint, sorted. It is canonical."""
        sole = self._sole_owners.get(address)
        return (sole,) if sole is not None else tuple(sorted(self._shared_owners.get(address, ())))

    def has_pod(self, namespace: str, address: str) -> bool:
        """A Pod of the namespace has the address."""
        return (namespace, address) in self._pods

    def apply_service(self, old: Service | None, new: Service | None, *, wall_seconds: int) -> list[Source]:
        """Take a Service's change in; returns the sources that it touched, none when nothing that is served differs."""
        if old is not None and new is not None and _is_alike(old, new):
            return []
        meta = _either(old, new).metadata
        key = (meta.namespace, meta.name)
        shard = self._shards.get(key, _EMPTY)
        self._swap(key, Shard(new, shard.slices))
        self.serial = max(self.serial, wall_seconds)
        touched = self._move_addresses(_vips(old), _vips(new), key, shard.slices)
        if old is None or new is None or old.is_external != new.is_external:
            touched.update(_published_addresses(shard.slices))  # their PTR records come and go with it
        return [key, *touched]

    def apply_slice(self, old: EndpointSlice | None, new: EndpointSlice | None, *, wall_seconds: int) -> list[Source]:
        """Take a slice's change in; a slice without the Service label belongs to nobody."""
        if (
            old is not None
            and new is not None
            and (old.endpoints, old.ports, old.metadata.labels) == (new.endpoints, new.ports, new.metadata.labels)
        ):
            return []
        touched: list[Source] = []
        old_key, new_key = service_key(old), service_key(new)
        if old_key == new_key:
            touched += self._replace_slice(new_key, old, new)
        else:
            touched += self._replace_slice(old_key, old, None)
            touched += self._replace_slice(new_key, None, new)
        if touched:
            self.serial = max(self.serial, wall_seconds)
        return touched

    def apply_namespace(self, old: Namespace | None, new: Namespace | None) -> list[Source]:
        """Take a namespace's coming or going in; every name below it changes with it."""
        if not self.is_exposed(_either(old, new).metadata.name):
            return []
        if new is not None:
            if new.metadata.name in self.namespaces:
                return []
            self.namespaces.add(new.metadata.name)
        elif old is not None:
            self.namespaces.discard(old.metadata.name)
        return [EVERYTHING]

    def apply_pod(self, old: Pod | None, new: Pod | None, *, wall_seconds: int) -> list[Source]:
        """Take a Pod's change in (only where Pod names are verified). Rule: spec "discovery" A0.1, A1.8."""
        have, want = _pod_key(old), _pod_key(new)
        if have == want:
            return []
        name = _either(old, new).metadata.name
        if have and self._pods.get(have) == name:  # else a younger Pod has taken the address over
            del self._pods[have]
        if want:
            self._pods[want] = name
        self.serial = max(self.serial, wall_seconds)
        return []

    def _replace_slice(
        self, key: ServiceKey | None, old: EndpointSlice | None, new: EndpointSlice | None
    ) -> list[Source]:
        if key is None or (old is None and new is None):
            return []
        shard = self._shards.get(key, _EMPTY)
        name = _either(old, new).metadata.name
        others = tuple(other for other in shard.slices if other.metadata.name != name)
        slices = others if new is None else tuple(sorted((*others, new), key=lambda each: each.metadata.name))
        self._swap(key, Shard(shard.service, slices))
        touched = self._move_addresses(_slice_addresses(old), _slice_addresses(new), key, others, shard.service)
        touched.update(address for address, _, _ in _names(old) ^ _names(new))
        return [key, *touched]

    def _swap(self, key: ServiceKey, shard: Shard) -> None:
        if shard.service is None and not shard.slices:
            self._shards.pop(key, None)
        else:
            self._shards[key] = shard

    def _move_addresses(
        self,
        have: Iterable[str],
        want: Iterable[str],
        key: ServiceKey,
        slices: tuple[EndpointSlice, ...],
        service: Service | None = None,
    ) -> set[str]:
        """Give up what is no longer wanted, unless the Service or one of the slices still has it; take the new."""
        gone, come = frozenset(have) - frozenset(want), frozenset(want) - frozenset(have)
        if gone:
            kept = frozenset((*_vips(service), *_published_addresses(slices)))
            for address in gone - kept:
                self._disown(address, key)
        for address in come:
            self._own(address, key)
        return {*gone, *come}

    def _own(self, address: str, key: ServiceKey) -> None:
        shared = self._shared_owners.get(address)
        if shared is not None:
            shared.add(key)
            return
        sole = self._sole_owners.setdefault(address, key)
        if sole != key:
            del self._sole_owners[address]
            self._shared_owners[address] = {sole, key}

    def _disown(self, address: str, key: ServiceKey) -> None:
        shared = self._shared_owners.get(address)
        if shared is None:
            if self._sole_owners.get(address) == key:
                del self._sole_owners[address]
            return
        shared.discard(key)
        if len(shared) == 1:
            del self._shared_owners[address]
            (self._sole_owners[address],) = shared


def _is_alike(old: Service, new: Service) -> bool:
    return old.spec == new.spec and old.metadata.annotations == new.metadata.annotations


def canonical_address(text: str) -> str:
    """The one spelling under which an address is looked up. IPv4 has no other; what is no address is left as it is."""
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _vips(service: Service | None) -> tuple[str, ...]:
    return tuple(map(canonical_address, service.addresses)) if service is not None else ()


def _slice_addresses(endpoint_slice: EndpointSlice | None) -> tuple[str, ...]:
    if endpoint_slice is None:
        return ()
    return tuple(canonical_address(address) for each in endpoint_slice.published for address in each.addresses)


def _published_addresses(slices: Iterable[EndpointSlice]) -> Iterable[str]:
    return (address for each in slices for address in _slice_addresses(each))


def _names(endpoint_slice: EndpointSlice | None) -> set[tuple[str, str | None, str]]:
    published = endpoint_slice.published if endpoint_slice is not None else ()
    return {
        (canonical_address(address), each.hostname, each.pod_name) for each in published for address in each.addresses
    }


def service_key(endpoint_slice: EndpointSlice | None) -> ServiceKey | None:
    """The Service that a slice belongs to, by its label; None: nobody, or no slice."""
    if endpoint_slice is None or not endpoint_slice.metadata.labels.service_name:
        return None
    return endpoint_slice.metadata.namespace, endpoint_slice.metadata.labels.service_name


def _pod_key(pod: Pod | None) -> tuple[str, str] | None:
    if pod is None or not pod.status.pod_ip or pod.status.phase in _FINISHED_PHASES:
        return None
    return pod.metadata.namespace, canonical_address(pod.status.pod_ip)


def _either(old: T | None, new: T | None) -> T:
    """The new object, or the old one of a deletion."""
    found = new if new is not None else old
    assert found is not None
    return found
