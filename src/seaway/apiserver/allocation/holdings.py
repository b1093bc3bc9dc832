"""How the store says who holds an address or a node port.

An address is held by the parent that the IPAddress of its name has: a real object, served by the API. A node port is
held by the Service that the value of its key names; it has no object. One key per number: a node port is held for
all protocols at once. Rule: spec "service-api" §5.4, §5.6.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

import msgspec

from seaway.api.ipaddress.types import LABEL_FAMILY, LABEL_MANAGED_BY, MANAGED_BY, IPAddress
from seaway.api.machinery.addresses import canonical_address, find_family
from seaway.api.machinery.strategy import Json
from seaway.api.registry import IP_ADDRESSES
from seaway.api.service.defaults import is_headless, needs_health_check_port
from seaway.apiserver.record import encode_stored

ADDRESS_PREFIX = IP_ADDRESSES.store_prefix
PORT_PREFIX = "/registry/nodeports/"
_OIDS = uuid.NAMESPACE_OID.bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """A Service. `uid` may be empty where it is not known."""

    namespace: str
    name: str
    uid: str = ""

    @property
    def key(self) -> str:
        """What tells holders apart: an IPAddress names no uid."""
        return f"{self.namespace}/{self.name}"


class Held(msgspec.Struct, frozen=True, gc=False):
    """A key that was seen: since which revision, and by whom. holder_key: empty when by no Service."""

    revision: int
    holder_key: str


class _Port(msgspec.Struct, frozen=True, gc=False):
    namespace: str = ""
    name: str = ""


_decode_address = msgspec.json.Decoder(IPAddress).decode
_decode_port = msgspec.json.Decoder(_Port).decode


def address_key(text: str) -> str:
    """The key of the address, however it is spelt. Raises ValueError when the text is none."""
    return f"{ADDRESS_PREFIX}{canonical_address(text)}"


def port_key(number: int) -> str:
    return f"{PORT_PREFIX}{number}"


def find_holder_key(key: str, value: bytes) -> str:
    """`Holder.key` of the Service that the stored value names, or "" when it names something else."""
    try:
        if key.startswith(PORT_PREFIX):
            port = _decode_port(value)
            return Holder(port.namespace, port.name).key
        parent = _decode_address(value).spec.parent_ref
    except msgspec.MsgspecError:
        return ""
    is_service = parent.resource == "services" and not parent.group
    return Holder(parent.namespace, parent.name).key if is_service else ""


def encode_address(holder: Holder, address: str, *, family: str, wall_now: str, base_revision: str) -> bytes:
    """The IPAddress as it is stored. address: in canonical spelling.

    Its uid follows from the holder's, the revision at which the holder takes it (empty: when it is created) and the
    address: a Service takes an address at most once per revision, so no two IPAddresses share one.
    """
    seed = f"seaway ipaddress {holder.key} {holder.uid} {base_revision} {wall_now} {address}"
    return encode_stored(
        {
            "kind": IP_ADDRESSES.kind,
            "apiVersion": IP_ADDRESSES.api_version,
            "metadata": {
                "name": address,
                "uid": _derive_uid(seed),
                "creationTimestamp": wall_now,
                "labels": {LABEL_FAMILY: family, LABEL_MANAGED_BY: MANAGED_BY},
            },
            "spec": {"parentRef": {"resource": "services", "namespace": holder.namespace, "name": holder.name}},
        }
    )


def _derive_uid(seed: str) -> str:
    """The UUID of version 5 in the namespace of OIDs, without the objects that `uuid.uuid5` makes on its way."""
    digest = hashlib.sha1(_OIDS + seed.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def encode_port(holder: Holder) -> bytes:
    """The value of a node port's key."""
    return msgspec.json.encode({"namespace": holder.namespace, "name": holder.name, "uid": holder.uid})


def holds_addresses(spec: Json) -> bool:
    """Headless and ExternalName Services hold none."""
    return spec.get("type") != "ExternalName" and not is_headless(spec)


def node_ports(spec: Json) -> set[int]:
    """The numbers that the ports hold; an ExternalName Service may name some, and holds none."""
    if spec.get("type") not in ("NodePort", "LoadBalancer"):
        return set()
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def address_keys(spec: Json) -> set[str]:
    """The keys of all addresses that the Service holds."""
    if not holds_addresses(spec):
        return set()
    return {address_key(text) for text in spec.get("clusterIPs") or () if find_family(text)}


def port_keys(spec: Json) -> set[str]:
    """The keys of all node ports that the Service holds, that of the health check too."""
    numbers = node_ports(spec)
    health = spec.get("healthCheckNodePort") or 0
    if health and needs_health_check_port(spec):
        numbers.add(health)
    return {port_key(number) for number in numbers}
