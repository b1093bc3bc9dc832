"""Upstreams: their text, resolv.conf, and the order after failures. Rule: spec "discovery" A3.3, A3.5."""

from __future__ import annotations

import pytest

from seaway.dns.config import DnsConfig, is_allowed
from seaway.dns.forwarding.upstreams import (
    Upstream,
    parse_resolv_conf,
    parse_upstream,
    parse_upstreams,
)


@pytest.mark.parametrize(
    ("text", "upstream", "printed"),
    [
        ("10.0.0.1", Upstream("10.0.0.1", 53), "10.0.0.1:53"),
        ("10.0.0.1:5353", Upstream("10.0.0.1", 5353), "10.0.0.1:5353"),
        ("2001:db8::1", Upstream("2001:db8::1", 53), "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", Upstream("2001:db8::1", 5353), "[2001:db8::1]:5353"),
        ("tls://9.9.9.9", Upstream("9.9.9.9", 853, is_tls=True), "tls://9.9.9.9:853"),
        ("tls://[2001:db8::1]:8853", Upstream("2001:db8::1", 8853, is_tls=True), "tls://[2001:db8::1]:8853"),
        ("dns://10.0.0.1", Upstream("10.0.0.1", 53), "10.0.0.1:53"),
        ("unix:///run/dns.sock", Upstream(path="/run/dns.sock"), "unix:///run/dns.sock"),
    ],
)
def test_upstreams(text: str, upstream: Upstream, printed: str) -> None:
    assert parse_upstream(text) == upstream
    assert str(upstream) == printed


@pytest.mark.parametrize(
    "text",
    ["", "dns.example.com", "10.0.0.1:x", "10.0.0.1:0", "10.0.0.1:70000", "unix://run", "https://1.1.1.1", "tls://x"],
)
def test_what_is_no_upstream(text: str) -> None:
    with pytest.raises(ValueError, match="upstream"):
        parse_upstream(text)


def test_a_server_is_not_its_own_upstream() -> None:
    with pytest.raises(ValueError, match="go round for ever"):
        parse_upstreams(["127.0.0.1:53"], listen=[("127.0.0.1", 53)])
    assert parse_upstreams(["127.0.0.1:5353"], listen=[("127.0.0.1", 53)])


def test_sixteen_upstreams_are_too_many() -> None:
    with pytest.raises(ValueError, match="16 found"):
        parse_upstreams([f"10.0.0.{i}" for i in range(16)], listen=[])


def test_resolv_conf() -> None:
    text = """# nameserver 1.1.1.1
search example.com
nameserver 127.0.0.53
  nameserver\t2001:db8::1   # second
nameserver fe80::1%eth0
nameserver
nameserver dns.example.com
nameserver 127.0.0.53
options ndots:1
"""
    assert parse_resolv_conf(text) == ("127.0.0.53", "2001:db8::1", "fe80::1")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pods": "all"}, "wrong value for pods: all,  must be one of: disabled, insecure, verified"),
        ({"ttl_seconds": 3601}, r"ttl must be in range \[0, 3600\]: 3601"),
        ({"listen": (("0.0.0.0", 53),)}, "wildcard"),
        ({"listen": (("::", 53),)}, "wildcard"),
        ({"listen": ()}, "at least one"),
        ({"cluster_domain": ""}, "cluster domain"),
        ({"cluster_domain": "a..b"}, "not a domain name"),
        ({"max_udp_bytes": 100}, "512 to 4096"),
        ({"upstreams": ("127.0.0.1:53",)}, "for ever"),
        ({"allowed_sources": ("10.0.0.1/8",)}, "host bits"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DnsConfig(**options)  # type: ignore[arg-type]


def test_name_servers_are_addresses_that_others_reach() -> None:
    listen = (("127.0.0.1", 53), ("10.0.0.7", 53), ("FD00::7", 53))
    assert DnsConfig(listen=listen).zone.local_addresses == ("10.0.0.7", "fd00::7")
    assert DnsConfig(cluster_domain="Cluster.Local.").zone.cluster_domain == (b"cluster", b"local")


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.244.1.5", True),
        ("::ffff:10.244.1.5", True),
        ("fd00:10:244::5", True),
        ("fe80::1%eth0", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_who_may_ask_for_foreign_names(source: str, allowed: bool) -> None:
    networks = DnsConfig(allowed_sources=("10.244.0.0/16", "fd00:10:244::/56")).allowed_networks
    assert is_allowed(source, networks) == allowed
