"""A second implementation, slow and obvious: the whole zone written out from API objects, then looked up.

It shares nothing with the first but the words of spec "discovery" A0 and A1 (and the decisions of A6): objects are the
JSON of the API, names and records are dnspython's. Every record that exists is put into a zone in memory, one by one;
names of Pods alone are too many for that, so they are worked out when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.ipv4
import dns.ipv6
import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.zone

Json = dict[str, Any]
ARPA = ("in-addr.arpa.", "ip6.arpa.")
MAX_ALIASES = 11


@dataclass(frozen=True, slots=True)
class Options:
    domain: str = "cluster.local."
    ttl: int = 5
    pods: str = "insecure"
    local_addresses: tuple[str, ...] = ()
    forwards: bool = True
    namespaces: tuple[str, ...] = ()
    endpoint_pod_names: bool = False
    ignore_empty_service: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """status: NOERROR, NODATA, NXDOMAIN; FORWARDED: somebody else's, behind the aliases that `answer` has then."""

    status: str
    answer: frozenset[str] = frozenset()
    additional: frozenset[str] = frozenset()
    soa: str = ""
    target: str = ""


@dataclass(slots=True)
class Objects:
    """The cluster, by namespace and name."""

    namespaces: set[str] = field(default_factory=set)
    services: dict[tuple[str, str], Json] = field(default_factory=dict)
    slices: dict[tuple[str, str], Json] = field(default_factory=dict)
    pods: dict[tuple[str, str], Json] = field(default_factory=dict)


class Oracle:
    """The zone of these objects. Owners and data are in lower case, with absolute names."""

    def __init__(self, objects: Objects, options: Options) -> None:
        self.objects = objects
        self.options = options
        self.zone = dns.zone.Zone(options.domain, relativize=False)
        self.reverse: dict[dns.name.Name, set[str]] = {}
        self.glue: dict[str, set[str]] = {}
        """By owner of SRV: a target has the addresses of its candidates with a port, not all that its name has."""
        self._exposed = {name for name in objects.namespaces if not options.namespaces or name in options.namespaces}
        self._write()

    # -- writing the zone ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        domain = self.options.domain
        for name in ("", "svc.", "pod.", "dns.", "ns.dns.", "dns-version."):
            self._exists(name + domain)
        self._add(f"dns-version.{domain}", "TXT", '"1.1.0"', ttl=28_800)
        self._add(domain, "SOA", f"ns.dns.{domain} hostmaster.{domain} 0 7200 1800 86400 {self.options.ttl}",
                  ttl=min(self.options.ttl, 300))  # fmt: skip
        for namespace in self._exposed:
            self._exists(f"{namespace}.svc.{domain}")
            if self.options.pods != "disabled":
                self._exists(f"{namespace}.pod.{domain}")
        for key in sorted(self.objects.services):
            if key[0] in self._exposed:
                self._write_service(key)
        self._write_name_servers()
        self._write_pointers()

    def _write_service(self, key: tuple[str, str]) -> None:
        spec = self.objects.services[key]["spec"]
        name = self._service_name(key)
        if spec["type"] == "ExternalName":
            target = spec["externalName"].removesuffix(".") + "."
            if not _is_address(spec["externalName"]):
                self._add(name, "CNAME", target)
            return
        endpoints = list(self._endpoints(key))
        if spec["clusterIPs"] == ["None"]:
            self._write_candidates(name, [(f"{label}.{name}", address, ports) for label, address, ports in endpoints])
        elif endpoints or not self.options.ignore_empty_service:
            ports = [(port.get("name", ""), port["protocol"], port["port"]) for port in spec["ports"]]
            self._write_candidates(name, [(name, address, ports) for address in spec["clusterIPs"]])
        for label in {label for label, _, _ in endpoints}:
            self._write_at(f"{label}.{name}", [
                (f"{label}.{name}", address, [port for _, _, port in ports] or [None])
                for other, address, ports in endpoints if other == label
            ])  # fmt: skip

    def _write_candidates(self, name: str, candidates: list[tuple[str, str, list[tuple[str, str, int]]]]) -> None:
        """The records at a Service and at every spelling of every name of a port."""
        self._write_at(
            name, [(host, address, [number for _, _, number in ports] or [None]) for host, address, ports in candidates]
        )
        named = {(port, protocol) for _, _, ports in candidates for port, protocol, _ in ports}
        spellings = {
            (p, q)
            for port, protocol in named
            for p in (port, f"_{port}", "_")
            for q in (protocol.lower(), f"_{protocol.lower()}", "_")
            if p
        }
        for p, q in spellings:
            asked = p.removeprefix("_"), q.removeprefix("_")
            chosen = [
                (host, address, [n for port, protocol, n in ports if asked[0] in ("", port)
                                 and asked[1] in ("", protocol.lower())])
                for host, address, ports in candidates
            ]  # fmt: skip
            self._write_at(f"{p}.{q}.{name}", [candidate for candidate in chosen if candidate[2]])

    def _write_at(self, owner: str, candidates: list[tuple[str, str, list[int | None]]]) -> None:
        """Addresses, and SRV weighed by the number of candidates, whatever becomes of them."""
        weight = max(1, 100 // (sum(len(numbers) for _, _, numbers in candidates) or 1))
        for host, address, numbers in candidates:
            self._add(owner, _family(address), address)
            for number in numbers:
                if number is not None:
                    self._add(owner, "SRV", f"0 {weight} {number} {host}")
                    glue = f"{host} {self.options.ttl} IN {_family(address)} {address}"
                    self.glue.setdefault(owner, set()).add(glue)

    def _write_name_servers(self) -> None:
        domain = self.options.domain
        found: set[str] = set()
        for key in self.objects.services:
            spec = self.objects.services[key]["spec"]
            if key[0] not in self._exposed:
                continue
            name = self._service_name(key)
            endpoints = list(self._endpoints(key))
            has = {address for _, address, _ in endpoints}
            if spec["type"] == "ExternalName":
                continue
            if spec["clusterIPs"] != ["None"]:
                if (has | set(spec["clusterIPs"])) & set(self.options.local_addresses) and self._addresses_at(name):
                    found.add(name)
            elif has & set(self.options.local_addresses):
                found |= {f"{label}.{name}" for label, _, _ in endpoints}
        for target in found:
            self._add(domain, "NS", target)
            for kind, address in self._addresses_at(target):
                self._add(f"ns.dns.{domain}", kind, address)
        if not found:
            for address in self.options.local_addresses:
                self._add(f"ns.dns.{domain}", _family(address), address)
                self._add(domain, "NS", f"ns.dns.{domain}")

    def _write_pointers(self) -> None:
        owners: dict[str, list[str]] = {}
        for key in sorted(self.objects.services):
            spec = self.objects.services[key]["spec"]
            if key[0] in self._exposed and spec["type"] != "ExternalName":
                for address in spec["clusterIPs"]:
                    if address != "None":
                        owners.setdefault(address, [self._service_name(key)])
        for key in self.objects.services:
            spec = self.objects.services[key]["spec"]
            if key[0] in self._exposed and spec["type"] != "ExternalName":
                for label, address, _ in self._endpoints(key):
                    if not self._is_vip(address):
                        owners.setdefault(address, []).append(f"{label}.{self._service_name(key)}")
        for address, names in owners.items():
            self.reverse[dns.reversename.from_address(address)] = set(names)

    def _is_vip(self, address: str) -> bool:
        return any(
            address in service["spec"]["clusterIPs"]
            for key, service in self.objects.services.items()
            if key[0] in self._exposed and service["spec"]["type"] != "ExternalName"
        )

    def _endpoints(self, key: tuple[str, str]) -> Iterator[tuple[str, str, list[tuple[str, str, int]]]]:
        """Label, address and ports of each published address."""
        for (namespace, _), each in self.objects.slices.items():
            owner = each["metadata"].get("labels", {}).get("kubernetes.io/service-name")
            if namespace != key[0] or owner != key[1] or each["addressType"] == "FQDN":
                continue
            ports = [(port.get("name", ""), port["protocol"], port["port"]) for port in each["ports"]]
            for endpoint in each["endpoints"]:
                if endpoint["conditions"].get("ready") is not False:
                    for address in endpoint["addresses"]:
                        yield self._label(endpoint, address), address, ports

    def _label(self, endpoint: Json, address: str) -> str:
        pod = endpoint.get("targetRef", {}).get("name", "")
        if endpoint.get("hostname"):
            return str(endpoint["hostname"])
        if self.options.endpoint_pod_names and pod and len(pod) < 64 and "." not in pod:
            return str(pod)
        dashed = address.replace(".", "-").replace(":", "-")
        return dashed + "0" if dashed.endswith("-") else dashed

    def _service_name(self, key: tuple[str, str]) -> str:
        return f"{key[1]}.{key[0]}.svc.{self.options.domain}"

    def _exists(self, name: str) -> None:
        self.zone.find_node(name, create=True)

    def _add(self, owner: str, kind: str, text: str, *, ttl: int | None = None) -> None:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, text)
        dataset = self.zone.find_node(owner, create=True).find_rdataset(rdata.rdclass, rdata.rdtype, create=True)
        dataset.add(rdata, self.options.ttl if ttl is None else ttl)

    def _addresses_at(self, name: str) -> list[tuple[str, str]]:
        return [(kind, data) for kind in ("A", "AAAA") for data in self._look(dns.name.from_text(name), kind)]

    # -- looking up ----------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every name that is written out, the reverse ones too."""
        return [str(name) for name in (*self.zone.nodes, *self.reverse)]

    def answer(self, text: str, kind: str) -> Reply:
        name = dns.name.from_text(text.lower())
        domain = dns.name.from_text(self.options.domain)
        if any(name.is_subdomain(dns.name.from_text(zone)) for zone in ARPA):
            return self._answer_reverse(name, kind)
        if not name.is_subdomain(domain):
            return Reply("FORWARDED", target=str(name))
        if not self._has(name):
            return Reply("NXDOMAIN", soa=self._soa(self.options.domain))
        if kind in ("A", "AAAA") and self._look(name, "CNAME"):
            return self._chase(name, kind)
        lines = self._lines(name, kind)
        if not lines:
            return Reply("NODATA", soa=self._soa(self.options.domain))
        glue = self.glue.get(str(name), set()) if kind == "SRV" else set()
        for target in self._look(name, "NS") if kind == "NS" else ():
            glue |= {line for family in ("A", "AAAA") for line in self._lines(dns.name.from_text(target), family)}
        return Reply("NOERROR", frozenset(lines), frozenset(glue))

    def _answer_reverse(self, name: dns.name.Name, kind: str) -> Reply:
        zone = next(zone for zone in ARPA if name.is_subdomain(dns.name.from_text(zone)))
        if name not in self.reverse:
            return (
                Reply("FORWARDED", target=str(name))
                if self.options.forwards
                else Reply("NXDOMAIN", soa=self._soa(zone))
            )
        if kind != "PTR":
            return Reply("NODATA", soa=self._soa(zone))
        return Reply("NOERROR", frozenset(f"{name} {self.options.ttl} IN PTR {each}" for each in self.reverse[name]))

    def _chase(self, name: dns.name.Name, kind: str) -> Reply:
        links: list[str] = []
        seen: set[dns.name.Name] = set()
        nothing = Reply("NODATA", soa=self._soa(self.options.domain))
        while aliases := self._look(name, "CNAME"):
            target = dns.name.from_text(aliases[0].lower())
            if target.is_subdomain(name) or target in seen or len(links) == MAX_ALIASES:
                return nothing
            seen.add(target)
            links.append(f"{name} {self.options.ttl} IN CNAME {target}")
            if not target.is_subdomain(dns.name.from_text(self.options.domain)):
                return Reply("FORWARDED", frozenset(links), target=str(target))
            name = target
        lines = self._lines(name, kind)
        return Reply("NOERROR", frozenset((*links, *lines))) if lines else nothing

    def _has(self, name: dns.name.Name) -> bool:
        return name in self.zone.nodes or bool(self._pod_address(name))

    def _look(self, name: dns.name.Name, kind: str) -> list[str]:
        pod = self._pod_address(name)
        if pod:
            return [pod] if _family(pod) == kind else []
        node = self.zone.get_node(name)
        found = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.from_text(kind)) if node and kind != "ANY" else None
        return [rdata.to_text() for rdata in found] if found else []

    def _lines(self, name: dns.name.Name, kind: str) -> list[str]:
        ttl = self.options.ttl
        if kind in ("TXT", "SOA") and self._look(name, kind):
            ttl = self.zone.nodes[name].get_rdataset(dns.rdataclass.IN, dns.rdatatype.from_text(kind)).ttl  # type: ignore[union-attr]
        return [f"{name} {ttl} IN {kind} {text}" for text in self._look(name, kind)]

    def _soa(self, zone: str) -> str:
        ttl = self.options.ttl
        return f"{zone} {min(ttl, 300)} IN SOA ns.dns.{zone} hostmaster.{zone} 0 7200 1800 86400 {ttl}"

    def _pod_address(self, name: dns.name.Name) -> str:
        """The address of a Pod's name that exists, or ""."""
        relative = name.relativize(dns.name.from_text(self.options.domain)).to_text().split(".")
        if len(relative) != 3 or relative[2] != "pod" or relative[1] not in self._exposed:
            return ""
        label = relative[0]
        try:
            if label.count("-") == 3 and "--" not in label:
                address = dns.ipv4.inet_ntoa(dns.ipv4.inet_aton(label.replace("-", ".")))
                if address.replace(".", "-") != label:  # leading zeros
                    return ""
            else:
                address = dns.ipv6.inet_ntoa(dns.ipv6.inet_aton(label.replace("-", ":")))
        except dns.exception.SyntaxError:
            return ""
        if self.options.pods == "insecure":
            return address
        live = (pod for (namespace, _), pod in self.objects.pods.items() if namespace == relative[1])
        return address if self.options.pods == "verified" and address in _pod_ips(live) else ""


def _pod_ips(pods: Iterable[Json]) -> set[str]:
    return {pod["status"]["podIP"] for pod in pods if pod["status"]["phase"] in ("Pending", "Running")}


def _family(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _is_address(text: str) -> bool:
    try:
        dns.ipv4.inet_aton(text)
    except dns.exception.SyntaxError:
        return ":" in text
    return True
