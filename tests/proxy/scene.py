"""A node of the fixture of spec "proxy" §13: Services and slices in, the fates of packets out, in its own notation.

Endpoints are words: `L` here, `R` elsewhere; `+` ready, `t` serving and terminating, `-` neither, `x` terminating and
not serving any more; then, after colons, the zones that it is hinted to and the node. The first is L1 or R1, and so on.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig
from seaway.proxy.nftables.fake import FakeKernel
from seaway.proxy.nftables.objects import Ruleset
from seaway.proxy.nftables.plane import NftablesPlane
from seaway.proxy.proxier import Proxier
from seaway.proxy.tracing.walk import Cluster, Outcome, Question, Walk, explain
from seaway.testing.builders import make_service, make_slice, merge
from seaway.testing.packets import DROPPED, REJECTED, Fate, Packet, trace

NODE, OTHER, VIP = "192.168.0.2", "192.168.1.2", "172.30.0.10"
EXTERNAL, BALANCED = "198.51.100.1", "198.51.100.2"
NODE6, OTHER6, VIP6 = "2001:db8:168::2", "2001:db8:169::2", "fd17:30::10"
EXTERNAL6, BALANCED6 = "2001:db8:51::1", "2001:db8:51::2"
HOST = frozenset((NODE, OTHER, NODE6, OTHER6, "127.0.0.1", "::1"))
SOURCES = {
    Family.IPV4: {
        "P": "10.0.0.2", "N": NODE, "C": "203.0.113.2", "B": "203.0.113.130", "L": "10.0.0.11", "R": "10.0.1.21",
        "Q": "10.0.1.2", "VIP": BALANCED,
    },
    Family.IPV6: {
        "P": "fd10::2", "N": NODE6, "C": "2001:db8:203::2", "B": "2001:db8:203::1:130", "L": "fd10::11",
        "R": "fd10::1:21", "Q": "fd10::1:2", "VIP": BALANCED6,
    },
}  # fmt: skip
"""P: a Pod here; Q: a Pod of another node; L and R: the first endpoint, if it is here or there."""
PLACES = {
    Family.IPV4: {
        "cluster": (VIP, 80), "node": (NODE, 3001), "other": (OTHER, 3001), "external": (EXTERNAL, 80),
        "lb": (BALANCED, 80),
    },
    Family.IPV6: {
        "cluster": (VIP6, 80), "node": (NODE6, 3001), "other": (OTHER6, 3001), "external": (EXTERNAL6, 80),
        "lb": (BALANCED6, 80),
    },
}  # fmt: skip
CONDITIONS: dict[str, dict[str, bool]] = {
    "+": {"ready": True},
    "t": {"ready": False, "serving": True, "terminating": True},
    "-": {"ready": False, "serving": False},
    "x": {"ready": False, "serving": False, "terminating": True},
}
LOCAL_OUT, LOCAL_IN = {"externalTrafficPolicy": "Local"}, {"internalTrafficPolicy": "Local"}
RANGES = {"loadBalancerSourceRanges": ["192.168.0.0/24", " 203.0.113.0/25 "]}


class Scene:
    """A proxy of the node N over a kernel in memory."""

    def __init__(
        self,
        *,
        zone: str = "",
        guarded_links: tuple[str, ...] = (),
        host: frozenset[str] = HOST,
        **settings: Any,
    ) -> None:
        defaults = {"cluster_cidrs": ("10.0.0.0/8", "fd10::/32"), "service_cidrs": ("172.30.0.0/16", "fd17:30::/112")}
        config = self.config = ProxyConfig(node_name="N", **{**defaults, **settings})
        self.services: dict[str, Service] = {}
        self.slices: dict[str, EndpointSlice] = {}
        self.kernel = FakeKernel()
        self.host = host
        planes = {
            family: NftablesPlane(
                self.kernel,
                config,
                family,
                interface_addresses=lambda: tuple(sorted(host)),
                guarded_links=lambda: guarded_links,
            )
            for family in Family
        }
        self.proxier = Proxier(planes, NodeView("N", zone, (NODE, NODE6)))

    def serve(self, name: str = "web", *, meta: Any = None, status: Any = None, **spec: Any) -> None:
        """A Service of every class in both families, unless told otherwise; a TCP port 80 with node port 3001."""
        defaults = {
            "type": "LoadBalancer",
            "clusterIP": VIP,
            "clusterIPs": [VIP, VIP6],
            "ipFamilies": ["IPv4", "IPv6"],
            "externalIPs": [EXTERNAL, EXTERNAL6],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 3001}],
        }
        ingress = [{"ip": BALANCED}, {"ip": BALANCED6}]
        wire = make_service(name, meta=meta, **{**defaults, **spec})
        wire["status"] = {"loadBalancer": {"ingress": ingress}} if status is None else status
        self.services[name] = msgspec.convert(wire, Service)
        self.proxier.set_service(f"default/{name}", self.services[name])

    def remove(self, name: str = "web") -> None:
        del self.services[name]
        self.proxier.set_service(f"default/{name}", None)

    def slice(
        self, name: str, addresses: list[str], service: str = "web", *, ports: Any = None, meta: Any = None, **more: Any
    ) -> None:
        """One slice as it is written."""
        kind = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
        wire = make_slice(name, service, addresses, ports=ports, address_type=kind, **more)
        wire["metadata"] = merge(wire["metadata"], meta or {})
        self.put(name, wire)

    def put(self, name: str, wire: Any) -> None:
        self.slices[name] = msgspec.convert(wire, EndpointSlice)
        self.proxier.set_slice(f"default/{name}", self.slices[name])

    def remove_slice(self, name: str) -> None:
        del self.slices[name]
        self.proxier.set_slice(f"default/{name}", None)

    def endpoints(self, words: str, service: str = "web", *, ports: Any = None) -> None:
        """One slice per family with these endpoints."""
        for family in Family:
            name = f"{service}-{family.value.lower()}"
            piece = make_slice(name, service, [], ports=ports, address_type=family.value)
            piece["endpoints"] = [_endpoint(word, number, family) for number, word in enumerate(words.split(), 1)]
            self.put(name, piece)

    def sync(self) -> None:
        assert not self.proxier.sync().failures

    def ruleset(self, family: Family = Family.IPV4) -> Ruleset:
        return self.kernel.read_whole(family, "seaway")

    def ask(self, source: str, place: str, *, family: Family = Family.IPV4, **more: Any) -> str:
        """The fates of a packet from one of SOURCES to one of PLACES, described."""
        address, port = PLACES[family][place]
        return self.send(SOURCES[family][source], address, port, **more)

    def send(self, source: str, address: str, port: int, protocol: str = "TCP", **more: Any) -> str:
        """The fates of a packet, described."""
        return describe(self.fates(Packet(source, address, port, protocol, **more)))

    def fates(self, packet: Packet) -> frozenset[Fate]:
        self.sync()
        family = Family.IPV6 if ":" in packet.destination else Family.IPV4
        found = trace(self.ruleset(family), packet, host=self.host)
        if packet.protocol != "ICMP":
            compare(self.walk(packet), found, self.host)
        return found

    def walk(self, packet: Packet) -> Walk:
        """What the model says in words."""
        cluster = Cluster(
            services=tuple(self.services.values()),
            slices=tuple(self.slices.values()),
            node=self.proxier.node,
            config=self.config,
            host_addresses=tuple(self.host),
        )
        return explain(Question(packet.source, packet.destination, packet.port, packet.protocol), cluster)


def compare(walk: Walk, fates: frozenset[Fate], host: frozenset[str]) -> None:
    """What is explained is what the rules do."""
    if walk.outcome is not Outcome.FORWARDED:
        expected = {Outcome.REJECTED: REJECTED, Outcome.DROPPED: DROPPED}.get(walk.outcome)
        assert fates == {expected} if expected else {fate.verdict for fate in fates} == {"accept"}, walk
        return
    is_own = walk.question.source in host
    told = {
        (
            f"{target.address}:{target.port}",
            (walk.masqueraded or target in walk.hairpins) and (is_own or target.address not in host),
        )
        for target in walk.used
    }
    assert told == {(fate.arrives, fate.masqueraded) for fate in fates}, walk


def _endpoint(word: str, number: int, family: Family) -> dict[str, Any]:
    place, *hints = word.split(":")
    found: dict[str, Any] = {
        "addresses": [address_of(f"{place[0]}{number}", family)],
        "conditions": CONDITIONS[place[1]],
        "nodeName": "N" if place[0] == "L" else "M",
    }
    if hints:
        nodes = [{"name": hints[1]}] if len(hints) > 1 else []
        found["hints"] = {"forZones": [{"name": zone} for zone in hints[0]], "forNodes": nodes}
    return found


def address_of(name: str, family: Family = Family.IPV4) -> str:
    """The address of L1, R2 …"""
    if family is Family.IPV4:
        return f"10.0.0.1{name[1:]}" if name[0] == "L" else f"10.0.1.2{name[1:]}"
    return f"fd10::1{name[1:]}" if name[0] == "L" else f"fd10::1:2{name[1:]}"


_NAMES = {
    str(ipaddress.ip_address(address_of(f"{place}{number}", family))): f"{place}{number}"
    for family in Family
    for place in "LR"
    for number in range(1, 10)
}


def describe(fates: frozenset[Fate]) -> str:
    """`L1 p R2 m`, `DROP`, `REJECT`, or `untouched`; a port that is not 8080 is told: `L1:9090 p`."""
    words = []
    for fate in sorted(fates, key=lambda f: (f.arrives, f.masqueraded, f.verdict)):
        assert fate.mark == 0 or fate.verdict != "accept"
        if fate == DROPPED:
            words.append("DROP")
        elif fate == REJECTED:
            words.append("REJECT")
        else:
            address, port = fate.arrives.rsplit(":", 1)
            place = _NAMES.get(address)
            told = f"{place}:{port}" if place and port != "8080" else place
            words.append(f"{told} {'m' if fate.masqueraded else 'p'}" if place else "untouched")
    return " ".join(words)
