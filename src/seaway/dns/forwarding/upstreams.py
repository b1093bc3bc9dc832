"""Where foreign names are asked for, and in which order after failures."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

DNS_PORT = 53
MAX_UPSTREAMS = 15  # CoreDNS refuses more
FAILURES_TO_BE_DOWN = 3  # CoreDNS: down when failures exceed 2
DOWN_SECONDS = 1.0
MAX_DOWN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server by address and port; or, when `path` is set, a unix stream socket that speaks DNS with TCP's framing."""

    host: str = ""
    port: int = DNS_PORT
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Health:
    """How an upstream has done lately: failures in a row, and until when it is thought down."""

    failures: int = 0
    down_until: float = 0.0


def parse_upstream(text: str) -> Upstream:
    """`ip`, `ip:port`, `[ipv6]:port` or `unix:///path`. Raises ValueError: names would need the server itself."""
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if not path.startswith("/"):
            raise ValueError(f"upstream {text!r}: the path of a socket must be absolute, as in unix:///run/dns.sock")
        return Upstream(path=path)
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        raise ValueError(f"upstream {text!r}: an IP address, IP:PORT or unix:///PATH is needed") from None
    if not 0 < number < 65_536:
        raise ValueError(f"upstream {text!r}: port {number} found, 1 to 65535 allowed")
    return Upstream(host, number)


def parse_upstreams(texts: Sequence[str], *, listen: Sequence[tuple[str, int]]) -> tuple[Upstream, ...]:
    """All upstreams, in order. Raises ValueError for more than 15, and for one that is this server: that would loop."""
    if len(texts) > MAX_UPSTREAMS:
        raise ValueError(f"upstreams: {len(texts)} found, at most {MAX_UPSTREAMS} allowed")
    upstreams = tuple(parse_upstream(text) for text in texts)
    for upstream in upstreams:
        if (upstream.host, upstream.port) in listen:
            raise ValueError(f"upstream {upstream}: this server listens there, so queries would go round for ever")
    return upstreams


def parse_resolv_conf(text: str) -> tuple[str, ...]:
    """The addresses on `nameserver` lines, in order, without zone ids; other lines and what is no address are ignored.

    Rule: spec "discovery" A3.3 (TO), resolv.conf(5).
    """
    found: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        address = words[1].partition("%")[0]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            continue
        if address not in found:
            found.append(address)
    return tuple(found)


def order_upstreams(health: Sequence[Health], now: float) -> tuple[int, ...]:
    """The positions to try: those thought up, as listed; then the others, the one that is due first leading."""
    up = [i for i, each in enumerate(health) if each.down_until <= now]
    down = sorted((each.down_until, i) for i, each in enumerate(health) if each.down_until > now)
    return (*up, *(i for _, i in down))


def note_failure(health: Health, now: float) -> Health:
    """One more failure; from the third in a row on it is down, for twice as long each time."""
    failures = health.failures + 1
    if failures < FAILURES_TO_BE_DOWN:
        return Health(failures)
    doubled = DOWN_SECONDS * 2.0 ** min(failures - FAILURES_TO_BE_DOWN, 10)
    return Health(failures, now + min(doubled, MAX_DOWN_SECONDS))
