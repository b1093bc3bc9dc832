"""From counters that come and go with elements to one number for each port of a Service, which only grows.

An element counts from its making; one that goes takes its count with it. So what is told is the sum of what each has
counted since it was last looked at. A counter that is smaller than before is a new one, under the same key.
What an element counts between the last look and its end is lost, as it is with any counter of Prometheus.
Rule: issue of the proxy, part 5 (counters of each Service).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from seaway.proxy.forwarding import ServiceForwarding

MAX_LABEL = 80
"""Bytes of the comment of an element. nft loads 127; what is shorter is cheaper, and names are."""
Port = tuple[str, str, str]
"""Namespace and name of a Service, and its port's name; "" if it has none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One counter as it was found. place: set and key, in their family."""

    place: tuple[str, str, bytes]
    label: str
    packets: int


_UNREADABLE = re.compile(r"[^A-Za-z0-9._/:-]")
"""What no valid name has; between quotes it could end the comment, and the listing with it."""


def write_label(service: str, port_name: str) -> str:
    """What is written beside a counter: `default/web:http`.

    Of a name that is too long, or that nft would not read back as it stands, the start and a digest.
    """
    text = f"{service}:{port_name}" if port_name else service
    if len(text) <= MAX_LABEL and not _UNREADABLE.search(text):
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{_UNREADABLE.sub('_', text[: MAX_LABEL - 17])}~{digest}"


def list_labels(forwardings: Iterable[Iterable[ServiceForwarding]]) -> dict[str, Port]:
    """The labels of all ports of Services, and whose they are."""
    return {
        write_label(service.service, f.port_name): (*_split(service.service), f.port_name)
        for services in forwardings
        for service in services
        for f in service.forwardings
    }


def find_ports(totals: Mapping[str, int], list_names: Callable[[], Mapping[str, Port]]) -> dict[Port, int]:
    """The numbers by port. list_names: as `list_labels`; asked only if a digest is among the labels."""
    names = list_names() if any("~" in label for label in totals) else {}
    found: dict[Port, int] = {}
    for label, total in totals.items():
        port = names.get(label) or parse_label(label)
        if port is not None:
            found[port] = total
    return found


def _split(service: str) -> tuple[str, str]:
    namespace, _, name = service.partition("/")
    return namespace, name


def parse_label(label: str) -> Port | None:
    """Whose counter it is; None when a digest stands for it, or nobody of ours wrote it."""
    service, _, port_name = label.partition(":")
    namespace, name = _split(service)
    return (namespace, name, port_name) if name and "~" not in label else None


class Tally:
    """The numbers of one process. Those of a port are forgotten when no counter of it is found any more."""

    def __init__(self) -> None:
        self._last: dict[tuple[tuple[str, str, bytes], str], int] = {}
        self._totals: dict[str, int] = {}

    def take(self, readings: Iterable[Reading]) -> dict[str, int]:
        """Label → connections, after these readings of all counters there are."""
        last: dict[tuple[tuple[str, str, bytes], str], int] = {}
        totals: dict[str, int] = {}
        for reading in readings:
            place = (reading.place, reading.label)
            before = self._last.get(place, 0)
            last[place] = reading.packets
            grown = reading.packets - before if reading.packets >= before else reading.packets
            totals[reading.label] = totals.get(reading.label, self._totals.get(reading.label, 0)) + grown
        self._last, self._totals = last, totals
        return dict(totals)
