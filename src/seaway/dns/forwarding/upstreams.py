"""Where foreign names are asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

DNS_PORT = 53
MAX_UPSTREAMS = 15  # CoreDNS refuses more
TLS_PORT = 853  # RFC 7858


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server by address and port; or, when `path` is set, a unix stream socket that speaks DNS with TCP's framing."""

    host: str = ""
    port: int = DNS_PORT
    path: str = ""
    is_tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        scheme = "tls://" if self.is_tls else ""
        return f"{scheme}[{self.host}]:{self.port}" if ":" in self.host else f"{scheme}{self.host}:{self.port}"


def parse_upstream(text: str) -> Upstream:
    """`ip`, `ip:port`, `[ipv6]:port`, the same after `dns://` or `tls://` (port 853), or `unix:///path`.

    Raises ValueError: names would need the server itself.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "dns", text
    if scheme == "unix":
        if not rest.startswith("/"):
            raise ValueError(f"upstream {text!r}: the path of a socket must be absolute, as in unix:///run/dns.sock")
        return Upstream(path=rest)
    if scheme not in ("dns", "tls"):
        raise ValueError(f"upstream {text!r}: {scheme}:// found; an address, or dns://, tls:// or unix:// allowed")
    host, port = rest, str(DNS_PORT if scheme == "dns" else TLS_PORT)
    if rest.startswith("["):
        host, _, after = rest[1:].partition("]")
        port = after.removeprefix(":") or port
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        raise ValueError(f"upstream {text!r}: an IP address, IP:PORT or unix:///PATH is needed") from None
    if not 0 < number < 65_536:
        raise ValueError(f"upstream {text!r}: port {number} found, 1 to 65535 allowed")
    return Upstream(host, number, is_tls=scheme == "tls")


def parse_upstreams(texts: Sequence[str], *, listen: Sequence[tuple[str, int]]) -> tuple[Upstream, ...]:
    """All upstreams, in order. Raises ValueError for more than 15, and for one that is this server: that would loop."""
    if len(texts) > MAX_UPSTREAMS:
        raise ValueError(f"upstreams: {len(texts)} found, at most {MAX_UPSTREAMS} allowed")
    upstreams = tuple(parse_upstream(text) for text in texts)
    for upstream in upstreams:
        refuse_own_address(upstream, listen)
    return upstreams


def refuse_own_address(upstream: Upstream, listen: Sequence[tuple[str, int]]) -> None:
    """Raises ValueError when this server is the upstream. Rule: spec "discovery" A3.5."""
    if (upstream.host, upstream.port) in listen:
        raise ValueError(f"upstream {upstream}: this server listens there, so queries would go round for ever")


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
