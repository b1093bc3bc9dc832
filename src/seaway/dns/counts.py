"""What the server counts of queries and replies, under upstream's names, at next to no cost.

A reply that is kept has a `Tally`: two numbers that the serving loop raises, one per address family. Whatever else is
counted of it (its type, its size, its code) is the same each time, and is multiplied out when somebody asks (`fold`).
Replies that are not kept are counted one by one; they cost forty times as much anyway.

Law: counted by tallies or one by one, the page is the same. Tallies are as many as somebody cares to ask different
questions, hence limited: at the limit they are folded, and the replies that had them are forgotten. Rule: spec
"discovery" A4.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from seaway.dns.forwarding.config import QTYPES, RCODES
from seaway.dns.message import AA, DO, HEADER_BYTES, RA, RCODE_MASK
from seaway.dns.records import Name, RCode, render_name
from seaway.telemetry.exposition import Distribution
from seaway.telemetry.metrics import Metrics, exponential_bounds

MAX_TALLIES = 4096
DROPPED = "dropped"
"""Upstream's word for the zone of queries that no block has seen."""
FAMILIES = ("1", "2")
"""IPv4 and IPv6, as upstream numbers them; the index of a tally's numbers."""
_SECONDS = exponential_bounds(0.00025, 2.0, 16)
_BYTES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)
_PROGRAMMING_SECONDS = exponential_bounds(0.001, 2.0, 20)
_NAMED = frozenset((
    "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "DS", "DNSKEY", "RRSIG", "NSEC", "HTTPS", "SVCB",
    "IXFR", "AXFR", "ANY",
))  # fmt: skip
"""Upstream's list but for NSEC3, which is no type of a question; any other is `other`."""
_TYPES = {number: name for name, number in QTYPES.items() if name in _NAMED}
_RCODES = {number: name for name, number in RCODES.items()}
_FRACTION = re.compile(r"(\.[0-9]{6})[0-9]*")
_OPT_BYTES = 11
_VIEW = ""
_WRITER = "loadbalance"
"""Upstream's label names the outermost handler that wrote: in stock Corefiles nearly always this one."""

Tally = list[int]
"""How often a kept reply was sent, over IPv4 and over IPv6."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is counted of a query and its reply; equal ones share a tally. zone: of the block that has the name."""

    protocol: str
    zone: str
    qtype: str
    rcode: str
    query_bytes: int
    reply_bytes: int
    dnssec_ok: bool


class QueryCounts:
    """The counters of one server. `zones`: those of its blocks; what none of them has is the root's."""

    def __init__(
        self,
        metrics: Metrics | None = None,
        *,
        server: str = "dns://:53",
        zones: Iterable[Name] = (),
        max_tallies: int = MAX_TALLIES,
    ) -> None:
        metrics = metrics or Metrics()
        where = ("server", "zone", "view")
        self._server = server
        self._max_tallies = max_tallies
        self._zones: tuple[tuple[bytes, str], ...] = ()
        self._tallies: dict[Shape, Tally] = {}
        self.use(zones)
        self._requests = metrics.counter("coredns_dns_requests_total", "Queries.", *where, "proto", "family", "type")
        self._seconds = metrics.histogram(
            "coredns_dns_request_duration_seconds", "What replies took.", *where, bounds=_SECONDS
        )
        self._query_bytes = metrics.histogram(
            "coredns_dns_request_size_bytes", "Size of queries.", *where, "proto", bounds=_BYTES
        )
        self._reply_bytes = metrics.histogram(
            "coredns_dns_response_size_bytes", "Size of replies.", *where, "proto", bounds=_BYTES
        )
        self._wants_dnssec = metrics.counter("coredns_dns_do_requests_total", "Queries with DO.", *where)
        self._replies = metrics.counter("coredns_dns_responses_total", "Replies.", *where, "rcode", "plugin")
        self.panics = metrics.counter("coredns_panics_total", "Queries that met a bug, and were answered SERVFAIL.")
        self._programming = metrics.histogram(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "From the change that made a slice change to answers that know it.",
            "service_kind",
            bounds=_PROGRAMMING_SECONDS,
        )
        self._version = metrics.gauge(
            "coredns_reload_version_info", "The configuration that is in use.", "hash", "value"
        )
        metrics.refresh_by(self.fold)

    def use(self, zones: Iterable[Name]) -> None:
        """Count by these zones from now on."""
        self._zones = tuple((_encode(zone), render_name(zone)) for zone in sorted(zones, key=lambda zone: -len(zone)))

    def find_tally(self, query: bytes, reply: bytes, *, over_tcp: bool) -> Tally:
        """What to raise when such a reply is sent to such a query."""
        return self._tallies.setdefault(self._describe(query, reply, "tcp" if over_tcp else "udp"), [0, 0])

    @property
    def is_full(self) -> bool:
        """There are too many tallies: who has some forgets them, and calls `begin_anew`."""
        return len(self._tallies) >= self._max_tallies

    def begin_anew(self) -> None:
        """Fold, and forget the tallies that were given out."""
        self.fold()
        self._tallies.clear()

    def note(self, query: bytes, reply: bytes, *, over_tcp: bool, family: int, seconds: float) -> None:
        """A reply was sent. family: the index in FAMILIES."""
        shape = self._describe(query, reply, "tcp" if over_tcp else "udp")
        counts = [0, 0]
        counts[family] = 1
        self._add(shape, counts)
        self._seconds.observe(seconds, self._server, shape.zone, _VIEW)

    def find_durations(self, name: Name) -> Distribution:
        """Where the serving loop notes what kept replies took, all of one batch as their mean. name: of their zone."""
        where = (self._server, self._find_zone(_encode(name)), _VIEW)
        return self._seconds.cells.setdefault(where, Distribution(_SECONDS))

    def note_programming(self, kind: str, seconds: float) -> None:
        """A change of endpoints is in the answers."""
        self._programming.observe(seconds, kind)

    def note_version(self, checksum: str) -> None:
        """This configuration is in use, and no other."""
        self._version.cells.clear()
        self._version.set(1, "sha512", checksum)

    def fold(self) -> None:
        """Take in what tallies say. They begin anew at zero, and stay those of who raises them."""
        for shape, counts in self._tallies.items():
            if counts[0] or counts[1]:
                self._add(shape, counts)
                counts[0] = counts[1] = 0

    def _add(self, shape: Shape, counts: Tally) -> None:
        where = (self._server, shape.zone, _VIEW)
        both = counts[0] + counts[1]
        for family, count in zip(FAMILIES, counts, strict=True):
            if count:
                self._requests.inc(*where, shape.protocol, family, shape.qtype, by=count)
        self._query_bytes.observe(shape.query_bytes, *where, shape.protocol, times=both)
        self._reply_bytes.observe(shape.reply_bytes, *where, shape.protocol, times=both)
        if shape.dnssec_ok:
            self._wants_dnssec.inc(*where, by=both)
        writer = "" if shape.zone == DROPPED else _WRITER
        self._replies.inc(*where, shape.rcode, writer, by=both)

    def _find_zone(self, name: bytes) -> str:
        for suffix, shown in self._zones:
            if name.endswith(suffix):
                return shown
        return "."

    def _describe(self, query: bytes, reply: bytes, protocol: str) -> Shape:
        """Never raises: a query that cannot be read has no type. Its name is read as far as the label lengths lead."""
        flags = reply[2] << 8 | reply[3]
        rcode = flags & RCODE_MASK
        end = HEADER_BYTES
        while end < len(query) and query[end]:
            end += query[end] + 1
        is_read = end + 5 <= len(query) and rcode not in (RCode.FORMERR, RCode.NOTIMP)
        zone = self._find_zone(query[HEADER_BYTES : end + 1].lower()) if is_read else DROPPED
        if rcode == RCode.REFUSED and not flags & (AA | RA):
            zone = DROPPED
        return Shape(
            protocol,
            zone,
            _TYPES.get(query[end + 1] << 8 | query[end + 2], "other") if is_read else "other",
            _RCODES.get(rcode, str(rcode)),
            len(query),
            len(reply),
            is_read and _wants_dnssec(query, end + 5),
        )


def note_build(metrics: Metrics, version: str, python: str) -> None:
    """What is running: upstream's third label is the version of its language's tools."""
    build = metrics.gauge("coredns_build_info", "What is running.", "version", "revision", "goversion")
    build.set(1, version, "seaway", python)


def parse_trigger_seconds(text: str) -> float | None:
    """Unix time of the annotation on a slice; None: it has none that can be read. Fractions may have nine digits."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def _encode(name: Name) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def _wants_dnssec(query: bytes, question_end: int) -> bool:
    """Of a query whose only record is the OPT record, as all stub resolvers send it."""
    has_opt = query[6:12] == b"\0\0\0\0\0\1" and len(query) >= question_end + _OPT_BYTES
    return has_opt and bool((query[question_end + 7] << 8 | query[question_end + 8]) & DO)
