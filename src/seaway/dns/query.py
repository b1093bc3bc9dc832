"""What a name asks for, decided from its labels alone, before anything is looked up."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from seaway.dns.records import Name, is_within, lower_name

REVERSE_ZONES: tuple[Name, ...] = ((b"in-addr", b"arpa"), (b"ip6", b"arpa"))


class Shape(enum.Enum):
    """The kinds of name. Rule: spec "discovery" A0.2, A0.3."""

    ELSEWHERE = "of no zone of ours"
    APEX = "the cluster domain itself"
    NON_TERMINAL = "exists only because names below it do"
    VERSION = "the schema version"
    NAME_SERVER = "the name of this server"
    SERVICE_NAMESPACE = "NS.svc"
    POD_NAMESPACE = "NS.pod"
    SERVICE = "SVC.NS.svc"
    ENDPOINT = "ENDPOINT.SVC.NS.svc"
    PORT = "_PORT._PROTOCOL.SVC.NS.svc"
    POD = "ADDRESS.NS.pod"
    REVERSE = "an address in a reverse zone"
    REVERSE_PARTIAL = "a name of a reverse zone that is no address"
    ABSENT = "of the cluster domain, and no kind of name that can exist there"


@dataclass(frozen=True, slots=True)
class Question:
    """A question of class IN. `zone` is the suffix of `name` that is ours, in the question's case."""

    name: Name
    qtype: int
    shape: Shape
    zone: Name = ()
    namespace: str = ""
    service: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""
    address: str = ""
    """Canonical; of POD and REVERSE. "" for POD: the label is no address."""


def parse_question(
    name: Name, qtype: int, *, cluster_domain: Name, reverse_zones: tuple[Name, ...] = REVERSE_ZONES
) -> Question:
    """The question, with what its labels mean. Never raises; the zones are in lower case.

    reverse_zones: those that are ours: all of `in-addr.arpa` and `ip6.arpa`, or parts of them. The longest counts.
    """
    lower = lower_name(name)
    if lower[-len(cluster_domain) :] == cluster_domain:
        zone = name[len(name) - len(cluster_domain) :]
        return _parse_cluster(name, qtype, zone, lower[: len(lower) - len(cluster_domain)])
    if lower[-2:] in REVERSE_ZONES:
        size = max((len(zone) for zone in reverse_zones if is_within(lower, zone)), default=0)
        if size:
            address = _parse_reverse(lower)
            shape = Shape.REVERSE if address else Shape.REVERSE_PARTIAL
            return Question(name, qtype, shape, name[-size:], address=address)
    return Question(name, qtype, Shape.ELSEWHERE)


def _parse_cluster(name: Name, qtype: int, zone: Name, labels: Name) -> Question:
    texts = tuple(label.decode("ascii", "backslashreplace") for label in labels)
    match texts:
        case ():
            shape = Shape.APEX
        case ("svc",) | ("pod",) | ("dns",):
            shape = Shape.NON_TERMINAL
        case ("dns-version",):
            shape = Shape.VERSION
        case ("ns", "dns"):
            shape = Shape.NAME_SERVER
        case (namespace, "svc"):
            return Question(name, qtype, Shape.SERVICE_NAMESPACE, zone, namespace)
        case (service, namespace, "svc"):
            return Question(name, qtype, Shape.SERVICE, zone, namespace, service)
        case (endpoint, service, namespace, "svc"):
            return Question(name, qtype, Shape.ENDPOINT, zone, namespace, service, endpoint)
        case (port, protocol, service, namespace, "svc"):
            return Question(name, qtype, Shape.PORT, zone, namespace, service,
                            port=port.removeprefix("_"), protocol=protocol.removeprefix("_"))  # fmt: skip
        case (namespace, "pod"):
            return Question(name, qtype, Shape.POD_NAMESPACE, zone, namespace)
        case (pod, namespace, "pod"):
            return Question(name, qtype, Shape.POD, zone, namespace, address=_parse_pod(pod))
        case _:
            shape = Shape.ABSENT
    return Question(name, qtype, shape, zone)


def _parse_pod(label: str) -> str:
    """The address of a Pod's name: three dashes and no pair of them are dots, any others colons; or "".

    Rule: spec "discovery" A1.8.
    """
    is_v4 = label.count("-") == 3 and "--" not in label
    return _canonical(label.replace("-", "." if is_v4 else ":"))


def _parse_reverse(labels: Name) -> str:
    """The address that a whole reverse name spells, or "". Rule: RFC 1035 3.5, RFC 3596 2.5."""
    digits = [label.decode("ascii", "replace") for label in reversed(labels[:-2])]
    if labels[-2] == b"in-addr":
        return _canonical(".".join(digits)) if len(digits) == 4 else ""
    if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
        return ""
    text = "".join(digits)
    return _canonical(":".join(text[i : i + 4] for i in range(0, 32, 4)))


def _canonical(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return ""
    return str(address)
