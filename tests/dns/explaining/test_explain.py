"""Why an answer is what it is. Law: each endpoint of a Service that is asked for is used, or has a reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.dns.explaining.explain import Explanation, explain, parse_type
from seaway.dns.explaining.text import encode_json, render_explanation
from seaway.dns.index import Index
from seaway.dns.lookup import ZoneConfig
from seaway.dns.objects import DetailedService, DetailedSlice
from seaway.dns.records import parse_name
from seaway.testing.builders import make_service, make_slice
from tests.dns.fixture import CONFIG, SERVICES, SLICES, TYPES, cluster_ip, make_index

ENDPOINT_SHAPES = ("x.{0}.@", "db-0.{0}.@", "10-244-1-42.{0}.@", "10-244-1-5.{0}.@")
SHAPES = ("{0}.@", "_http._tcp.{0}.@", "_mysql._tcp.{0}.@", "a.b.c.{0}.@", *ENDPOINT_SHAPES)
HEADLESS = [each.metadata.name for each in SERVICES if each.is_headless]


def ask(text: str, index: Index | None = None, config: ZoneConfig = CONFIG) -> Explanation:
    name, qtype = text.replace("@", "demo.svc.cluster.local").split()
    return explain(parse_name(name), TYPES[qtype], index or make_index(), config)


def verdicts(found: Explanation) -> dict[str, str]:
    return {each.address: each.reason for each in found.endpoints}


@pytest.mark.parametrize("service", sorted({each.metadata.name for each in SERVICES}))
@pytest.mark.parametrize("qtype", ["A", "AAAA", "SRV", "TXT", "CNAME"])
def test_each_endpoint_is_used_or_has_a_reason(service: str, qtype: str) -> None:
    for shape in SHAPES:
        found = ask(f"{shape.format(service)} {qtype}")
        assert found.reason
        if not found.services:
            assert found.endpoints == ()
            continue
        slices = [each for each in SLICES if each.metadata.labels.service_name == service]
        addresses = [address for each in slices for one in each.endpoints or () for address in one.addresses]
        assert [each.address for each in found.endpoints] == (addresses if service != "kube-dns" else [])
        used = {each.address for each in found.endpoints if not each.reason}
        given = {line.split()[-1] for line in (*found.answer, *found.additional) if line.split()[3] in ("A", "AAAA")}
        is_of_endpoints = service in HEADLESS or shape in ENDPOINT_SHAPES
        assert used == (given if is_of_endpoints else set())


@pytest.mark.parametrize(
    ("question", "address", "reason"),
    [
        ("db.@ A", "10.244.1.10", ""),
        ("db.@ A", "10.244.3.10", "not ready"),
        ("db.@ AAAA", "10.244.1.10", "of the other family"),
        ("db.@ MX", "10.244.1.10", "the type has no use for addresses"),
        ("_mysql._tcp.db.@ SRV", "10.244.2.10", ""),
        ("_http._tcp.db.@ SRV", "10.244.1.10", "its slice has no such port"),
        ("db-0.db.@ A", "10.244.1.10", ""),
        ("db-0.db.@ A", "10.244.2.10", "has another name"),
        ("portless.@ SRV", "10.244.1.30", "its slice has no ports"),
        ("web.@ A", "10.244.1.5", "behind the cluster IP"),
        ("10-244-1-5.web.@ A", "10.244.1.5", ""),
        ("10.1.244.10.in-addr.arpa PTR", "10.244.1.10", ""),
        ("6.2.244.10.in-addr.arpa PTR", "10.244.2.6", None),
    ],
)
def test_why_an_endpoint_is_left_out(question: str, address: str, reason: str | None) -> None:
    assert verdicts(ask(question)).get(address) == reason


def detailed(*endpoints: dict[str, Any], address_type: str = "IPv4") -> DetailedSlice:
    raw = make_slice("odd-1", "odd", [], namespace="demo", address_type=address_type)
    return msgspec.convert(raw | {"endpoints": list(endpoints)}, DetailedSlice)


@pytest.mark.parametrize(
    ("endpoint", "address_type", "reason"),
    [
        ({"addresses": ["10.0.0.1"], "conditions": {"ready": False, "terminating": True}}, "IPv4", "terminating"),
        ({"addresses": ["a.example"]}, "FQDN", "its slice holds names, not addresses"),
        ({"addresses": ["10.0.0.300"]}, "IPv4", "not an address"),
        ({"addresses": ["10.0.0.1"], "hostname": "h" * 64}, "IPv4", "its name is too long"),
    ],
)
def test_odd_endpoints(endpoint: dict[str, Any], address_type: str, reason: str) -> None:
    index = make_index()
    service = msgspec.convert(make_service("odd", "demo", clusterIP="None", clusterIPs=["None"]), DetailedService)
    index.apply_service(None, service, wall_seconds=0)
    index.apply_slice(None, detailed(endpoint, address_type=address_type), wall_seconds=0)
    qtype = "SRV" if "hostname" in endpoint else "A"  # an address needs no name of its own to be told
    assert [each.reason for each in ask(f"odd.@ {qtype}", index).endpoints] == [reason]


def test_an_address_that_is_a_cluster_ip_and_an_endpoint_has_the_name_of_the_first() -> None:
    index = make_index()
    index.apply_service(None, cluster_ip("first", "10.244.1.10"), wall_seconds=0)
    found = ask("10.1.244.10.in-addr.arpa PTR", index)
    assert found.answer == ("10.1.244.10.in-addr.arpa. 5 IN PTR first.demo.svc.cluster.local.",)
    assert verdicts(found) == {"10.244.1.10": "the name of the cluster IP comes first"}


REASONS = {
    "web.@ A": "the cluster IP, whatever the endpoints are",
    "db.@ A": "headless: the endpoints that are ready",
    "db.@ AAAA": "the name has no address of that family",
    "portless.@ SRV": "the name has no port",
    "void.@ A": "service demo/void is headless and has no ready endpoint; "
    "it has no selector, so its slices are made by hand, and there is none",
    "nosuch.@ A": "service demo/nosuch does not exist",
    "web.ghost.svc.cluster.local A": "namespace ghost does not exist",
    "x.web.@ A": "service demo/web has no ready endpoint with the name x, of 1 that are ready",
    "_grpc._tcp.web.@ SRV": "service demo/web has no port grpc/tcp",
    "ext.@ A": "an alias to www.example.com., which lies outside: an upstream is asked for it",
    "ext.@ MX": "an external name has an alias and nothing else",
    "x.ext.@ A": "service demo/ext is an external name: nothing is below it",
    "extip.@ A": "the external name of demo/extip is an address or no name: 192.0.2.99",
    "alias.@ A": "an alias to web.demo.svc.cluster.local",
    "loop-a.@ A": "the alias leads nowhere inside the zone, or in a circle, or to nothing of that family",
    "svc.cluster.local A": "the name exists, for the names below it",
    "web.@ MX": "the name exists, without records of that type",
    "foo.cluster.local A": "of the cluster domain, and no kind of name that can exist there",
    "cluster.local NS": "the cluster domain itself",
    "ns.dns.cluster.local A": "where this server is reached",
    "10-1-1-1.demo.pod.cluster.local A": "the address in the name; that a Pod has it is not checked",
    "blah.demo.pod.cluster.local A": "the first label is no address with dashes",
    "1.7.96.10.in-addr.arpa PTR": "the Service, or else the endpoints, that have the address",
    "9.9.9.9.in-addr.arpa PTR": "no Service has 9.9.9.9 as cluster IP or as a ready endpoint, and the zone falls "
    "through: an upstream is asked",
    "9.9.in-addr.arpa PTR": "the name is no whole address, and the zone falls through: an upstream is asked",
    "www.example.com A": "of no zone of ours: an upstream is asked",
    "web.@ AXFR": "a zone is transferred whole, over TCP, and to those who may have it",
}


@pytest.mark.parametrize(("question", "reason"), REASONS.items(), ids=REASONS)
def test_reasons(question: str, reason: str) -> None:
    assert ask(question).reason == reason


def test_an_alias_inside_the_zone_is_explained_to_its_end() -> None:
    found = ask("alias.@ A")
    assert found.target is not None
    assert (found.target.name, found.target.reason) == ("web.demo.svc.cluster.local.", REASONS["web.@ A"])


def test_aliases_in_a_circle_end() -> None:
    found = ask("loop-a.@ A")
    assert found.target is not None and found.target.target is not None
    assert found.target.target.target is None


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("a.b", "", ("a.b", 1)),
        ("10.96.0.1", "", ("1.0.96.10.in-addr.arpa", 12)),
        ("a.b", "srv", ("a.b", 33)),
        ("a.b", "HTTPS", ("a.b", 65)),
        ("a.b", "TYPE999", ("a.b", 999)),
    ],
)
def test_what_is_asked(name: str, qtype: str, expected: tuple[str, int]) -> None:
    assert parse_type(name, qtype) == expected


@pytest.mark.parametrize("qtype", ["NOSUCH", "TYPE65536", "TYPE", "TYPE-1"])
def test_no_type(qtype: str) -> None:
    with pytest.raises(ValueError, match="needed, or a number such as TYPE65"):
        parse_type("a.b", qtype)


def test_the_text_of_an_explanation() -> None:
    assert render_explanation(ask("db.@ A")).splitlines() == [
        "db.demo.svc.cluster.local. A: NOERROR",
        "  db.demo.svc.cluster.local. 5 IN A 10.244.1.10",
        "  db.demo.svc.cluster.local. 5 IN A 10.244.2.10",
        "because: headless: the endpoints that are ready",
        "zone: cluster.local.; shape of the name: SVC.NS.svc",
        "service: demo/db  headless  mysql 3306/TCP",
        "endpoints: 2 of 4 in the answer",
        "  10.244.1.10  db-0  -  db-1  used",
        "  10.244.2.10  db-1  -  db-1  used",
        "  10.244.3.10  db-2  -  db-1  left out: not ready",
        "  10.244.4.10  db-3  -  db-1  left out: not ready",
    ]


def test_the_json_of_an_explanation_has_every_field() -> None:
    found = msgspec.json.decode(encode_json(ask("alias.@ A")))
    assert set(found) == set(Explanation.__slots__)
    assert found["target"]["services"] == ["demo/web  ClusterIP 10.96.7.1  http 80/TCP"]
