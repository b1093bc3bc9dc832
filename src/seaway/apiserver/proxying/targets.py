"""Which Pod or node a proxy request is for.

The server dials from its own place in the network, so nobody may make it dial where they could not go themselves: an
address counts only when a Pod of the same namespace has it. Endpoints are written by users and prove nothing. A node's
addresses are written by its own agent.
Rule: spec "service-api" §8.1, §8.2, "node" §1.4, §5.2; design §12.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from seaway.api.machinery.errors import BadRequest, ServiceUnavailable, make_not_found
from seaway.api.registry import ENDPOINTS, NODES, PODS, SERVICES, Resource
from seaway.apiserver.record import Json, Record, decode_object

Find = Callable[[Resource, str, str], Record | None]
Pick = Callable[[int], int]
SCHEMES = ("", "http", "https")
NODE_ADDRESS_TYPES = ("InternalIP", "ExternalIP")
"""Those that need no look-up of a name, in order."""
KUBELET_PORT = 10250
"""Of a Node that tells none. Rule: spec "node" §1.4."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ProxyId:
    """`NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`, taken apart. port: a number, a name, or empty."""

    name: str
    port: str = ""
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. uid: of the Pod or Node that has the address. is_kubelet: a node's agent, over TLS."""

    address: str
    port: int
    uid: str
    is_tls: bool = False
    is_kubelet: bool = False

    @property
    def host(self) -> str:
        """As it stands in a URL."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def find_proxy_id(text: str) -> ProxyId | None:
    """The parts of the ID; None for what is none."""
    parts = text.split(":")
    if len(parts) > 3:
        return None
    scheme, name, port = parts if len(parts) == 3 else ("", *parts, "")[:3]
    return ProxyId(name, port, scheme) if name and scheme in SCHEMES else None


def choose_target(resource: Resource, namespace: str, text: str, *, find: Find, pick: Pick) -> Target:
    """What is behind the ID of a Service, Pod or Node. Raises ApiError. pick: a number below its argument."""
    wanted = find_proxy_id(text)
    if wanted is None:
        raise BadRequest(f'invalid {resource.singular} request "{text}"')
    if resource.plural == SERVICES.plural:
        return _choose_endpoint(wanted, namespace, text, find, pick)
    if resource.plural == PODS.plural:
        return _choose_pod(wanted, namespace, text, find)
    return _choose_node(wanted, text, find)


def choose_kubelet(name: str, find: Find) -> Target:
    """The agent of the node. Raises ApiError. Rule: spec "node" §5.2."""
    address, port, uid = _find_kubelet(name, find)
    return Target(address, port, uid, is_tls=True, is_kubelet=True)


def _choose_node(wanted: ProxyId, text: str, find: Find) -> Target:
    """The node's agent; with another port, whatever listens there at the node's address."""
    address, kubelet, uid = _find_kubelet(wanted.name, find)
    number = _parse_integer(wanted.port) if wanted.port else kubelet
    if number is None or not 0 < number <= _MAX_PORT:
        raise BadRequest(f'invalid node request "{text}"')
    if number == kubelet:
        return Target(address, number, uid, is_tls=True, is_kubelet=True)
    return Target(address, number, uid, wanted.scheme == "https")


def _find_kubelet(name: str, find: Find) -> tuple[str, int, str]:
    """Address and port of the agent, and the Node's UID. Raises ApiError."""
    record = find(NODES, "", name)
    if record is None:
        raise make_not_found(NODES.plural, "", name)
    status = decode_object(record.body).get("status") or {}
    known = status.get("addresses") or []
    address = next((a["address"] for kind in NODE_ADDRESS_TYPES for a in known if a.get("type") == kind), None)
    if address is None:
        raise ServiceUnavailable(f'error trying to reach service: node "{name}" has no IP address')
    if not is_proxyable(address):
        raise BadRequest("address not allowed")
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or KUBELET_PORT
    return address, port, record.uid


def _choose_pod(wanted: ProxyId, namespace: str, text: str, find: Find) -> Target:
    """The Pod's first address, at the port of the ID, else at the first that one of its containers has."""
    record = find(PODS, namespace, wanted.name)
    if record is None:
        raise make_not_found(PODS.plural, "", wanted.name)
    pod = decode_object(record.body)
    addresses = list_addresses(pod)
    if not addresses or not is_proxyable(addresses[0]):
        raise BadRequest("address not allowed")
    default = 443 if wanted.scheme == "https" else 80
    port = wanted.port or str(_find_container_port(pod) or default)
    number = _parse_integer(port)
    if number is None or not 0 < number <= _MAX_PORT:
        raise BadRequest(f'invalid pod request "{text}"')
    return Target(addresses[0], number, record.uid, wanted.scheme == "https")


def _find_container_port(pod: Json) -> int | None:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return None


def _choose_endpoint(wanted: ProxyId, namespace: str, text: str, find: Find, pick: Pick) -> Target:
    port_name = _find_port_name(wanted, namespace, find)
    record = find(ENDPOINTS, namespace, wanted.name)
    if record is None:
        raise make_not_found(SERVICES.plural, "", wanted.name)  # upstream names the resource of the request
    subsets = decode_object(record.body).get("subsets") or []
    if not subsets:
        raise ServiceUnavailable(f'no endpoints available for service "{wanted.name}"')
    for subset in _from_somewhere(subsets, pick):
        port = next((p["port"] for p in subset.get("ports") or () if p.get("name", "") == port_name), None)
        if port is None:
            continue
        for address in _from_somewhere(subset.get("addresses") or [], pick):
            pod = _find_pod_of(address, namespace, find)
            if pod is not None:
                return Target(address["ip"], port, pod.uid, wanted.scheme == "https")
    raise ServiceUnavailable(f'no endpoints available for service "{text}"')


def _find_port_name(wanted: ProxyId, namespace: str, find: Find) -> str:
    """A number is one of the Service's ports and stands for its name; anything else is a name."""
    number = _parse_integer(wanted.port)
    if number is None:
        return wanted.port
    record = find(SERVICES, namespace, wanted.name)
    if record is None:
        raise make_not_found(SERVICES.plural, "", wanted.name)
    for port in decode_object(record.body)["spec"].get("ports") or ():
        if port["port"] == number:
            name: str = port.get("name", "")
            return name
    raise ServiceUnavailable(f'no service port {number} found for service "{wanted.name}"')


def _parse_integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None


def _from_somewhere(items: Sequence[Json], pick: Pick) -> Iterator[Json]:
    """All of them, from a random one on."""
    start = pick(len(items)) if items else 0
    yield from items[start:]
    yield from items[:start]


def _find_pod_of(address: Json, namespace: str, find: Find) -> Record | None:
    """The Pod that the address says it is of, if that has it."""
    reference = address.get("targetRef") or {}
    if reference.get("namespace") != namespace or not reference.get("name"):
        return None
    record = find(PODS, namespace, reference["name"])
    if record is None or address["ip"] not in list_addresses(decode_object(record.body)):
        return None
    return record if is_proxyable(address["ip"]) else None


def list_addresses(pod: Json) -> list[str]:
    """The Pod's addresses as its node wrote them."""
    return [entry["ip"] for entry in (pod.get("status") or {}).get("podIPs") or () if entry.get("ip")]


def is_proxyable(address: str) -> bool:
    """Whether it is an address of another machine: never the server's own loopback, a link's, or a group's.

    Rule: upstream answers 400 `address not allowed` for Pods; Endpoints cannot hold such addresses.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    refused = parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
    return not (refused or str(parsed) == "255.255.255.255")
