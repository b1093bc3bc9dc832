"""What happens to names that the cluster's records do not answer, as values.

A `Block` is what one server block of a Corefile, or one `[[zone]]` of a TOML file, says of a zone: rewrites, hosts,
a cache, and routes to upstreams. The block whose zone is the longest suffix of a name has it. Rule: spec "discovery"
A3.2-A3.4; every default is CoreDNS's unless it says otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from seaway.dns.forwarding.upstreams import MAX_UPSTREAMS, Upstream
from seaway.dns.records import Name, RCode, RRType

MAX_FAILURE_TTL_SECONDS = 300.0
MIN_RELOAD_SECONDS = 2.0


class Policy(enum.Enum):
    """Which upstream is asked first."""

    RANDOM = "random"
    ROUND_ROBIN = "round_robin"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How upstreams at `tls://` prove who they are. Paths: empty means the system's roots, and no client certificate.

    server_name: what their certificate must say; empty: the address.
    """

    server_name: str = ""
    ca_path: str = ""
    cert_path: str = ""
    key_path: str = ""


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """Names at and below `zone` go to these upstreams; `excluded` zones do not. Rule: spec "discovery" A3.3.

    max_fails: an upstream is down when more checks in a row have failed; 0: never down, never checked.
    max_concurrent: more queries at once are REFUSED; 0: no limit but the server's.
    max_attempts: per query; 0: twice the number of upstreams.
    failover: rcodes that lead on to the next upstream; next_rcodes, next_on_nodata: to the next route.
    fails_fast: when all are down, SERVFAIL at once instead of asking a random one.
    force_tcp: never UDP. Otherwise UDP first, and TCP for what did not fit.
    """

    upstreams: tuple[Upstream, ...] = ()
    zone: Name = ()
    excluded: tuple[Name, ...] = ()
    policy: Policy = Policy.RANDOM
    max_fails: int = 2
    expire_seconds: float = 10.0
    check_seconds: float = 0.5
    check_name: Name = ()
    check_recursive: bool = True
    force_tcp: bool = False
    max_concurrent: int = 0
    max_attempts: int = 0
    failover: frozenset[int] = frozenset()
    next_rcodes: frozenset[int] = frozenset()
    next_on_nodata: bool = False
    fails_fast: bool = False
    random_case: bool = False
    attempt_seconds: float = 2.0
    deadline_seconds: float = 5.0
    tls: TlsOptions = TlsOptions()

    def __post_init__(self) -> None:
        if not self.upstreams:
            raise ValueError("forward: no upstream found, at least one needed")
        if len(self.upstreams) > MAX_UPSTREAMS:
            raise ValueError(f"more than {MAX_UPSTREAMS} TOs configured: {len(self.upstreams)}")
        if RCode.NOERROR in self.failover or RCode.NOERROR in self.next_rcodes:
            raise ValueError("forward: NOERROR is an answer, and leads on to nobody else")

    def takes(self, name: Name) -> bool:
        """The name, in lower case, is this route's."""
        return is_within(name, self.zone) and not any(is_within(name, zone) for zone in self.excluded)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How long and how much of what upstreams said is kept. Rule: spec "discovery" A3.4.

    Of each pair, `max` caps the TTL and `min` is its floor; `capacity` counts messages, `max_bytes` all of both kinds.
    failure_seconds: of an upstream's SERVFAIL; 0: not kept.
    prefetch_hits: asked for so often without a gap of `prefetch_gap_seconds`, a reply is fetched anew when only
        `prefetch_percent` of its life are left; 0: never.
    stale_seconds: how long after its end a reply may still be given while nothing better is known; 0: never.
    verifies: ask first, and give the stale reply when that failed (or took `verify_seconds`, if not 0).
    """

    success_max_seconds: int = 30
    success_min_seconds: int = 5
    success_capacity: int = 9984
    denial_max_seconds: int = 30
    denial_min_seconds: int = 5
    denial_capacity: int = 9984
    failure_seconds: float = 5.0
    max_bytes: int = 8 << 20
    prefetch_hits: int = 0
    prefetch_gap_seconds: float = 60.0
    prefetch_percent: int = 10
    stale_seconds: float = 0.0
    verifies: bool = False
    verify_seconds: float = 0.0
    keeps_ttl: bool = False
    zones: tuple[Name, ...] = ()
    """Only names in these are kept; none: all."""
    unkept_successes: tuple[Name, ...] = ()
    unkept_denials: tuple[Name, ...] = ()

    def __post_init__(self) -> None:
        for ttl in (self.success_max_seconds, self.denial_max_seconds):
            if ttl <= 0:
                raise ValueError(f"cache TTL can not be zero or negative: {ttl}")
        if self.success_min_seconds < 0 or self.denial_min_seconds < 0:
            raise ValueError("cache minimum TTL: negative found, 0 or more allowed")
        if self.failure_seconds > MAX_FAILURE_TTL_SECONDS:
            raise ValueError("caching SERVFAIL responses over 5 minutes is not permitted")
        if not 10 <= self.prefetch_percent <= 90:
            raise ValueError(f"cache prefetch percentage: {self.prefetch_percent} found, 10 to 90 allowed")


@dataclass(frozen=True, slots=True)
class HostsConfig:
    """Names and addresses of a file and of lines given inline; `path` empty: those alone.

    zones: only names in them; none: all. fallthrough: names that are not there go on, in these zones; None: in none.
    """

    path: str = ""
    inline: tuple[str, ...] = ()
    zones: tuple[Name, ...] = ()
    ttl_seconds: int = 3600
    reload_seconds: float = 5.0
    has_reverse: bool = True
    fallthrough: tuple[Name, ...] | None = None


class Match(enum.Enum):
    """How a rewrite finds its names; the value is the Corefile's word."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    SUBSTRING = "substring"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class NameRewrite:
    """Names that match `source` are looked up as `target`; the client sees its own name in the answer.

    answers_auto: records below the target's name are named back, as far as the match is one that can be turned.
    answer_rewrites: further pairs of expression and replacement, for the names of the records.
    stops: no further rule after this one.
    """

    match: Match
    source: str
    target: str
    answers_auto: bool = False
    answer_rewrites: tuple[tuple[str, str], ...] = ()
    stops: bool = True


@dataclass(frozen=True, slots=True)
class TypeRewrite:
    """Questions of one type are looked up as another."""

    source: int
    target: int
    stops: bool = True


Rewrite = NameRewrite | TypeRewrite


class LogClass(enum.Enum):
    """Which replies the query log shows."""

    SUCCESS = "success"
    DENIAL = "denial"
    ERROR = "error"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The query log: of these classes, and of names in these zones."""

    classes: frozenset[LogClass] = frozenset((LogClass.ALL,))
    zones: tuple[Name, ...] = ((),)


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Errors like the expression are counted, and told once per period."""

    period_seconds: float
    pattern: str
    level: str = "error"


@dataclass(frozen=True, slots=True)
class Block:
    """A zone's part of the configuration. cache None: nothing is kept. consolidations None: errors are not told."""

    zone: Name = ()
    routes: tuple[RouteConfig, ...] = ()
    cache: CacheConfig | None = None
    hosts: HostsConfig | None = None
    rewrites: tuple[Rewrite, ...] = ()
    log: LogConfig | None = None
    consolidations: tuple[Consolidation, ...] | None = ()
    finds_paths: bool = False
    """autopath: the server walks the client's search list itself."""

    @property
    def sorted_routes(self) -> tuple[RouteConfig, ...]:
        """Narrow zones first; where they are equal, as they were given."""
        return tuple(sorted(self.routes, key=lambda route: -len(route.zone)))


def is_within(name: Name, zone: Name) -> bool:
    """The name is the zone's or below it. Both in lower case."""
    return not zone or name[-len(zone) :] == zone


def choose_block(blocks: Iterable[Block], name: Name) -> Block | None:
    """The block with the longest zone that the name is in; None: there is none."""
    found = [block for block in blocks if is_within(name, block.zone)]
    return max(found, key=lambda block: len(block.zone), default=None)


QTYPES: dict[str, int] = {each.name: each.value for each in RRType} | {
    "HINFO": 13, "MX": 15, "SRV": 33, "NAPTR": 35, "DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "SVCB": 64,
    "HTTPS": 65, "CAA": 257, "ANY": 255,
}  # fmt: skip
"""Types that a configuration may name."""

RCODES: dict[str, int] = {each.name: each.value for each in RCode if each < 16} | {
    "YXDOMAIN": 6, "YXRRSET": 7, "NXRRSET": 8, "NOTAUTH": 9, "NOTZONE": 10,
}  # fmt: skip
"""Response codes that a configuration may name."""
