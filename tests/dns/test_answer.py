"""What each name of the cluster is answered with, in zone-file lines. Rule: spec "discovery" D1 (numbers: its rows)."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from seaway.dns.answer import Answer, Chase, Elsewhere, Outcome
from seaway.dns.objects import Namespace
from seaway.dns.records import RCode, render_name, render_record
from tests.dns.fixture import (
    CONFIG,
    SERIAL,
    SLICES,
    SOA,
    ZONE,
    ask,
    cluster_ip,
    endpoints,
    external,
    headless,
    lines,
    make_index,
    make_pod,
    service,
)

REVERSE_DUAL = "2.0.0.0.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa"


def expand(text: str) -> list[str]:
    """`web.@ A 10.96.7.1` becomes a zone-file line of TTL 5."""
    found = []
    for line in filter(None, (part.strip() for part in text.split("|"))):
        owner, rrtype, *rdata = line.replace("@", "demo.svc.cluster.local").split()
        owner = owner if owner.endswith(".") else owner + "."
        found.append(" ".join((owner, "5", "IN", rrtype, *rdata)))
    return found


RECORDS = [
    ("D1 1 a cluster IP", "kubernetes.default.svc.cluster.local A",
     "kubernetes.default.svc.cluster.local A 10.96.0.1", ""),
    ("D1 3 the SRV of a named port", "_https._tcp.kubernetes.default.svc.cluster.local SRV",
     "_https._tcp.kubernetes.default.svc.cluster.local SRV 0 100 443 kubernetes.default.svc.cluster.local.",
     "kubernetes.default.svc.cluster.local A 10.96.0.1"),
    ("D1 4 the SRV of all ports at the service", "kubernetes.default.svc.cluster.local SRV",
     "kubernetes.default.svc.cluster.local SRV 0 100 443 kubernetes.default.svc.cluster.local.",
     "kubernetes.default.svc.cluster.local A 10.96.0.1"),
    ("D1 5 equal targets and ports are one SRV, weighed as three", "kube-dns.kube-system.svc.cluster.local SRV",
     "kube-dns.kube-system.svc.cluster.local SRV 0 33 53 kube-dns.kube-system.svc.cluster.local."
     "|kube-dns.kube-system.svc.cluster.local SRV 0 33 9153 kube-dns.kube-system.svc.cluster.local.",
     "kube-dns.kube-system.svc.cluster.local A 10.96.0.10"),
    ("D1 6 the SRV of a UDP port", "_dns._udp.kube-dns.kube-system.svc.cluster.local SRV",
     "_dns._udp.kube-dns.kube-system.svc.cluster.local SRV 0 100 53 kube-dns.kube-system.svc.cluster.local.",
     "kube-dns.kube-system.svc.cluster.local A 10.96.0.10"),
    ("D1 8 the IPv4 address of a dual-stack service", "dual.@ A", "dual.@ A 10.96.7.2", ""),
    ("D1 8 the IPv6 address of a dual-stack service", "dual.@ AAAA", "dual.@ AAAA fd00:10:96::7:2", ""),
    ("D1 9 two ports and two addresses weigh 25", "dual.@ SRV",
     "dual.@ SRV 0 25 53 dual.@.|dual.@ SRV 0 25 80 dual.@.", "dual.@ A 10.96.7.2|dual.@ AAAA fd00:10:96::7:2"),
    ("D1 10 one port and two addresses weigh 50", "_http._tcp.dual.@ SRV", "_http._tcp.dual.@ SRV 0 50 80 dual.@.",
     "dual.@ A 10.96.7.2|dual.@ AAAA fd00:10:96::7:2"),
    ("D1 11 the address at a port's name", "_http._tcp.dual.@ A", "_http._tcp.dual.@ A 10.96.7.2", ""),
    ("D1 12 underscores are optional", "http.tcp.dual.@ SRV", "http.tcp.dual.@ SRV 0 50 80 dual.@.",
     "dual.@ A 10.96.7.2|dual.@ AAAA fd00:10:96::7:2"),
    ("D1 14 an unnamed port has its SRV at the service", "noname.@ SRV", "noname.@ SRV 0 100 80 noname.@.",
     "noname.@ A 10.96.7.3"),
    ("D1 16 a service without endpoints keeps its cluster IP", "lonely.@ A", "lonely.@ A 10.96.7.4", ""),
    ("D1 20 a headless service has the ready endpoints", "db.@ A", "db.@ A 10.244.1.10|db.@ A 10.244.2.10", ""),
    ("D1 22 the SRV of a headless service has target ports", "_mysql._tcp.db.@ SRV",
     "_mysql._tcp.db.@ SRV 0 50 13306 db-0.db.@.|_mysql._tcp.db.@ SRV 0 50 13306 db-1.db.@.",
     "db-0.db.@ A 10.244.1.10|db-1.db.@ A 10.244.2.10"),
    ("D1 23 an endpoint by its hostname", "db-0.db.@ A", "db-0.db.@ A 10.244.1.10", ""),
    ("D1 27 the SRV of an endpoint", "db-0.db.@ SRV", "db-0.db.@ SRV 0 100 13306 db-0.db.@.",
     "db-0.db.@ A 10.244.1.10"),
    ("D1 28 endpoints that share a hostname", "twins.@ A",
     "twins.@ A 10.244.1.40|twins.@ A 10.244.1.41|twins.@ A 10.244.1.42", ""),
    ("D1 29 a shared hostname has all addresses", "dup.twins.@ A",
     "dup.twins.@ A 10.244.1.40|dup.twins.@ A 10.244.1.41", ""),
    ("D1 30 a shared hostname is one SRV", "_http._tcp.twins.@ SRV",
     "_http._tcp.twins.@ SRV 0 33 80 10-244-1-42.twins.@.|_http._tcp.twins.@ SRV 0 33 80 dup.twins.@.",
     "10-244-1-42.twins.@ A 10.244.1.42|dup.twins.@ A 10.244.1.40|dup.twins.@ A 10.244.1.41"),
    ("D1 31 an unready pod that is to be published", "peers.@ A", "peers.@ A 10.244.1.20", ""),
    ("D1 31 an endpoint by its dashed address", "10-244-1-20.peers.@ A", "10-244-1-20.peers.@ A 10.244.1.20", ""),
    ("D1 33 hand-made slices of both families, IPv4", "manual.@ A", "manual.@ A 192.0.2.10", ""),
    ("D1 33 hand-made slices of both families, IPv6", "manual.@ AAAA", "manual.@ AAAA 2001:db8::10", ""),
    ("D1 34 the SRV of both families", "_http._tcp.manual.@ SRV",
     "_http._tcp.manual.@ SRV 0 50 80 192-0-2-10.manual.@.|_http._tcp.manual.@ SRV 0 50 80 2001-db8--10.manual.@.",
     "192-0-2-10.manual.@ A 192.0.2.10|2001-db8--10.manual.@ AAAA 2001:db8::10"),
    ("D1 35 an IPv6 endpoint by its dashed address", "2001-db8--10.manual.@ AAAA",
     "2001-db8--10.manual.@ AAAA 2001:db8::10", ""),
    ("D1 36 a service without ports", "portless.@ A", "portless.@ A 10.244.1.30", ""),
    ("D1 36 an endpoint without ports", "10-244-1-30.portless.@ A", "10-244-1-30.portless.@ A 10.244.1.30", ""),
    ("D1 38 a cluster IP hides the endpoints", "web.@ A", "web.@ A 10.96.7.1", ""),
    ("D1 39 but they have names", "10-244-1-5.web.@ A", "10-244-1-5.web.@ A 10.244.1.5", ""),
    ("D1 39 and SRV with target ports", "10-244-1-5.web.@ SRV", "10-244-1-5.web.@ SRV 0 100 8080 10-244-1-5.web.@.",
     "10-244-1-5.web.@ A 10.244.1.5"),
    ("D1 43 the CNAME of an external name", "ext.@ CNAME", "ext.@ CNAME www.example.com.", ""),
    ("D1 44 a trailing dot is no second dot", "extdot.@ CNAME", "extdot.@ CNAME www.example.com.", ""),
    ("D1 49 an alias inside the zone is followed", "alias.@ A",
     "alias.@ CNAME web.demo.svc.cluster.local.|web.@ A 10.96.7.1", ""),
    ("D1 51 the CNAME of a dangling alias", "dangling.@ CNAME", "dangling.@ CNAME nosuch.@.", ""),
    ("D1 53 the CNAME of a loop", "loop-a.@ CNAME", "loop-a.@ CNAME loop-b.@.", ""),
    ("D1 65 the name servers", "cluster.local NS", "cluster.local NS kube-dns.kube-system.svc.cluster.local.",
     "kube-dns.kube-system.svc.cluster.local A 10.96.0.10"),
    ("D1 66 the address of the name server", "ns.dns.cluster.local A", "ns.dns.cluster.local A 10.96.0.10", ""),
    ("D1 68 a pod's name", "10-244-1-5.demo.pod.cluster.local A", "10-244-1-5.demo.pod.cluster.local A 10.244.1.5", ""),
    ("D1 69 a pod's name is not checked when insecure", "203-0-113-9.demo.pod.cluster.local A",
     "203-0-113-9.demo.pod.cluster.local A 203.0.113.9", ""),
    ("D1 72 a pod's name of IPv6", "fd00--1.demo.pod.cluster.local AAAA",
     "fd00--1.demo.pod.cluster.local AAAA fd00::1", ""),
    ("D1 75 the name of a cluster IP", "1.7.96.10.in-addr.arpa PTR", "1.7.96.10.in-addr.arpa PTR web.@.", ""),
    ("D1 76 the name of an IPv6 cluster IP", f"{REVERSE_DUAL} PTR", f"{REVERSE_DUAL} PTR dual.@.", ""),
    ("D1 77 the name of an endpoint with hostname", "10.1.244.10.in-addr.arpa PTR",
     "10.1.244.10.in-addr.arpa PTR db-0.db.@.", ""),
    ("D1 78 the name of an endpoint without", "5.1.244.10.in-addr.arpa PTR",
     "5.1.244.10.in-addr.arpa PTR 10-244-1-5.web.@.", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answer", "additional"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS]
)
def test_records(question: str, answer: str, additional: str) -> None:
    found = ask(question)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.RECORDS
    assert lines(found) == (expand(answer), [], expand(additional))


NODATA = [
    "D1 2 kubernetes.default.svc.cluster.local AAAA", "D1 21 db.@ AAAA", "D1 35 2001-db8--10.manual.@ A",
    "D1 37 portless.@ SRV", "D1 45 ext.@ SRV", "D1 45 ext.@ MX", "D1 45 ext.@ TXT", "D1 45 ext.@ HTTPS",
    "D1 50 alias.@ AAAA", "D1 51 dangling.@ A", "D1 52 loop-a.@ A", "D1 52 self.@ A",
    "D1 55 demo.svc.cluster.local A", "D1 55 empty.svc.cluster.local A", "D1 55 svc.cluster.local A",
    "D1 55 pod.cluster.local A", "D1 55 cluster.local A", "D1 59 dns-version.cluster.local A",
    "D1 56 dns.cluster.local A", "D1 60 web.@ TXT", "D1 60 svc.cluster.local TXT", "D1 60 cluster.local TXT",
    "D1 61 web.@ ANY", "D1 61 web.@ HTTPS", "D1 61 web.@ DS", "D1 61 web.@ HINFO", "D1 61 web.@ MX",
    "D1 61 web.@ PTR", "D1 61 web.@ NS", "D1 61 web.@ SOA", "D1 61 web.@ CNAME", "D1 66 ns.dns.cluster.local AAAA",
    "D1 66 ns.dns.cluster.local TXT", "D1 72 fd00--1.demo.pod.cluster.local A", "D1 74 demo.pod.cluster.local A",
    "A6#15 10-244-1-5.demo.pod.cluster.local SRV",
]  # fmt: skip


@pytest.mark.parametrize("row", NODATA)
def test_the_name_exists_without_this_type(row: str) -> None:
    found = ask(" ".join(row.split()[-2:]))
    assert isinstance(found, Answer)
    assert (found.outcome, *lines(found)) == (Outcome.NODATA, [], [SOA], [])


NXDOMAIN = [
    "D1 7 _dns._tcp.kube-dns.kube-system.svc.cluster.local SRV", "D1 13 _tcp.dual.@ A",
    "D1 15 _http._tcp.noname.@ SRV", "D1 18 void.@ A", "D1 19 void.@ SRV", "D1 19 void.@ TXT", "D1 19 void.@ ANY",
    "D1 24 db-2.db.@ A", "D1 24 db-3.db.@ A", "D1 25 10-244-1-10.db.@ A", "D1 26 _mysql._tcp.db-0.db.@ SRV",
    "D1 40 10-244-2-6.web.@ A", "D1 46 _http._tcp.ext.@ SRV", "D1 46 foo.ext.@ CNAME", "D1 46 a.b.ext.@ CNAME",
    "D1 48 extip.@ A", "D1 48 extip.@ AAAA", "D1 48 extip.@ CNAME", "D1 48 extip.@ ANY", "D1 54 nosuch.@ A",
    "D1 54 web.ghost.svc.cluster.local A", "D1 54 ghost.svc.cluster.local A", "D1 56 foo.cluster.local A",
    "D1 56 a.b.c.web.@ A", "D1 57 *.@ A", "D1 57 any.@ A", "D1 57 *.db.@ A", "D1 57 _http.*.web.@ SRV",
    "D1 59 foo.dns-version.cluster.local TXT", "D1 62 nosuch.@ ANY", "D1 62 nosuch.@ HTTPS", "D1 62 nosuch.@ MX",
    "D1 62 nosuch.@ PTR", "D1 62 nosuch.@ NS", "D1 63 nosuch.@ SOA", "D1 73 1-2-3.demo.pod.cluster.local A",
    "D1 73 blah.demo.pod.cluster.local A", "D1 73 10-1-1-1.ghost.pod.cluster.local A",
    "A6#15 x.10-244-1-5.demo.pod.cluster.local A", "A3.6 kubernetes.default.demo.svc.cluster.local A",
    "A3.6 kubernetes.default.svc.demo.svc.cluster.local A", "A3.6 kubernetes.default.svc.svc.cluster.local A",
    "A3.6 www.example.com.demo.svc.cluster.local A", "A3.6 a.b.example.com.demo.svc.cluster.local A",
    "A3.6 example.com.svc.cluster.local A", "A3.6 example.com.cluster.local A",
]  # fmt: skip


@pytest.mark.parametrize("row", NXDOMAIN)
def test_the_name_does_not_exist(row: str) -> None:
    found = ask(" ".join(row.split()[-2:]))
    assert isinstance(found, Answer)
    assert (found.outcome, *lines(found)) == (Outcome.NXDOMAIN, [], [SOA], [])


@pytest.mark.parametrize(
    ("question", "aliases", "target"),
    [
        ("ext.@ A", "ext.@ CNAME www.example.com.", "www.example.com."),
        ("ext.@ AAAA", "ext.@ CNAME www.example.com.", "www.example.com."),
        ("extbad.@ A", "extbad.@ CNAME nx.example.com.", "nx.example.com."),
    ],
)
def test_an_external_name_is_chased_upstream(question: str, aliases: str, target: str) -> None:
    found = ask(question)
    assert isinstance(found, Chase)
    assert ([render_record(each) for each in found.aliases], render_name(found.target)) == (expand(aliases), target)


def test_d1_58_the_schema_version_has_a_ttl_of_its_own() -> None:
    found = ask("dns-version.cluster.local TXT")
    assert isinstance(found, Answer)
    assert lines(found)[0] == ['dns-version.cluster.local. 28800 IN TXT "1.1.0"']


def test_d1_64_the_apex_has_a_soa_record() -> None:
    found = ask("cluster.local SOA")
    assert isinstance(found, Answer)
    assert lines(found) == ([SOA], [], [])


def test_a_large_ttl_does_not_reach_the_soa_record() -> None:
    found = ask("cluster.local SOA", config=dataclasses.replace(CONFIG, ttl_seconds=3600))
    assert isinstance(found, Answer)
    assert found.answer[0].ttl_seconds == 300


def test_d1_67_a_server_of_no_service_names_itself() -> None:
    config = dataclasses.replace(CONFIG, local_addresses=("10.0.0.7",))
    found = ask("cluster.local NS", config=config)
    assert isinstance(found, Answer)
    assert lines(found) == (
        expand("cluster.local NS ns.dns.cluster.local."),
        [],
        expand("ns.dns.cluster.local A 10.0.0.7"),
    )


@pytest.mark.parametrize("question", ["cluster.local AXFR", "cluster.local IXFR", "web.@ AXFR"])
def test_zones_are_not_transferred(question: str) -> None:
    found = ask(question)
    assert isinstance(found, Answer)
    assert (found.outcome.rcode, found.authority) == (RCode.REFUSED, ())


@pytest.mark.parametrize("question", ["www.example.com A", "local A", "6.2.244.10.in-addr.arpa PTR", ". NS",
                                      "244.10.in-addr.arpa PTR", "in-addr.arpa NS"])  # fmt: skip
def test_what_is_not_ours_is_elsewhere(question: str) -> None:
    assert ask(question) == Elsewhere()


def test_without_upstreams_an_unknown_reverse_name_does_not_exist() -> None:
    found = ask("6.2.244.10.in-addr.arpa PTR", config=dataclasses.replace(CONFIG, forwards=False))
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NXDOMAIN
    assert render_record(found.authority[0]).startswith("in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster")


def test_another_type_at_a_reverse_name_that_exists_is_nodata() -> None:
    found = ask("1.7.96.10.in-addr.arpa A")
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NODATA


def test_d1_79_an_address_of_two_services_has_two_names() -> None:
    index = make_index()
    index.apply_service(None, cluster_ip("also", "10.96.7.9"), wall_seconds=SERIAL)
    index.apply_slice(None, endpoints("also", ("10.244.1.10", None, True)), wall_seconds=SERIAL)
    found = ask("10.1.244.10.in-addr.arpa PTR", index)
    assert isinstance(found, Answer)
    assert lines(found)[0] == expand(
        "10.1.244.10.in-addr.arpa PTR 10-244-1-10.also.@.|10.1.244.10.in-addr.arpa PTR db-0.db.@."
    )


def test_a_slice_without_its_service_has_no_names() -> None:
    index = make_index()
    index.apply_slice(None, endpoints("orphan", ("10.244.7.7", None, True)), wall_seconds=SERIAL)
    assert ask("7.7.244.10.in-addr.arpa PTR", index) == Elsewhere()
    found = ask("10-244-7-7.orphan.@ A", index)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NXDOMAIN


@pytest.mark.parametrize(
    ("mode", "question", "outcome"),
    [
        ("verified", "10-244-1-5.demo.pod.cluster.local A", Outcome.RECORDS),
        ("verified", "203-0-113-9.demo.pod.cluster.local A", Outcome.NXDOMAIN),
        ("verified", "10-244-1-5.empty.pod.cluster.local A", Outcome.NXDOMAIN),
        ("verified", "demo.pod.cluster.local A", Outcome.NODATA),
        ("disabled", "10-244-1-5.demo.pod.cluster.local A", Outcome.NXDOMAIN),
        ("disabled", "demo.pod.cluster.local A", Outcome.NXDOMAIN),
        ("disabled", "pod.cluster.local A", Outcome.NODATA),
    ],
)
def test_pod_names_by_mode(mode: str, question: str, outcome: Outcome) -> None:
    index = make_index()
    index.apply_pod(None, make_pod("web-1", "10.244.1.5"), wall_seconds=SERIAL)
    found = ask(question, index, dataclasses.replace(CONFIG, pods=mode))
    assert isinstance(found, Answer)
    assert found.outcome is outcome


@pytest.mark.parametrize(("length", "outcome"), [(11, Outcome.RECORDS), (12, Outcome.NODATA)])
def test_a_chain_of_eleven_aliases_is_followed_and_one_of_twelve_is_not(length: int, outcome: Outcome) -> None:
    index = make_index()
    for i in range(length):
        target = f"link-{i + 1}" if i + 1 < length else "web"
        index.apply_service(None, external(f"link-{i}", f"{target}.demo.svc.cluster.local"), wall_seconds=SERIAL)
    found = ask("link-0.@ A", index)
    assert isinstance(found, Answer)
    assert found.outcome is outcome
    assert len(found.answer) == (length + 1 if outcome is Outcome.RECORDS else 0)


def test_d1_86_an_endpoint_that_turns_unready_leaves_and_returns() -> None:
    index = make_index()
    ready = SLICES[2]
    assert ready.endpoints is not None
    first = msgspec.convert({"ready": False}, type(ready.endpoints[0].conditions))
    changed = msgspec.structs.replace(
        ready, endpoints=(msgspec.structs.replace(ready.endpoints[0], conditions=first), *ready.endpoints[1:])
    )
    index.apply_slice(ready, changed, wall_seconds=SERIAL + 1)
    gone = ask("db.@ A", index)
    assert isinstance(gone, Answer)
    assert (lines(gone)[0], index.serial) == (expand("db.@ A 10.244.2.10"), SERIAL + 1)
    assert ask("10.1.244.10.in-addr.arpa PTR", index) == Elsewhere()
    index.apply_slice(changed, ready, wall_seconds=SERIAL + 2)
    back = ask("db.@ A", index)
    assert isinstance(back, Answer)
    assert (lines(back)[0], index.serial) == (expand("db.@ A 10.244.1.10|db.@ A 10.244.2.10"), SERIAL + 2)


def test_d1_32_an_endpoint_that_is_no_longer_published_early_is_gone() -> None:
    index = make_index()
    published, withheld = (
        endpoints("peers", ("10.244.1.20", None, True)),
        endpoints("peers", ("10.244.1.20", None, False)),
    )
    index.apply_slice(published, withheld, wall_seconds=SERIAL)
    found = ask("peers.@ A", index)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NXDOMAIN


def test_d1_91_an_external_name_that_becomes_a_cluster_ip() -> None:
    index = make_index()
    index.apply_service(external("ext", "www.example.com"), cluster_ip("ext", "10.96.7.8"), wall_seconds=SERIAL)
    found = ask("ext.@ A", index)
    assert isinstance(found, Answer)
    assert lines(found)[0] == expand("ext.@ A 10.96.7.8")


@pytest.mark.parametrize(
    ("question", "outcome"),
    [
        ("nosuch.@ A", Outcome.NOT_SYNCED),
        ("web.@ A", Outcome.RECORDS),
        ("svc.cluster.local A", Outcome.NODATA),
        ("cluster.local SOA", Outcome.RECORDS),
        ("6.2.244.10.in-addr.arpa PTR", Outcome.NOT_SYNCED),
    ],
)
def test_d1_92_until_synced_nothing_is_said_not_to_exist(question: str, outcome: Outcome) -> None:
    found = ask(question, make_index(is_synced=False))
    assert isinstance(found, Answer)
    assert found.outcome is outcome
    if outcome is Outcome.NOT_SYNCED:
        assert (found.outcome.rcode, len(found.authority), found.source) == (RCode.SERVFAIL, 1, None)


def test_foreign_names_are_forwarded_before_the_first_sync() -> None:
    assert ask("www.example.com A", make_index(is_synced=False)) == Elsewhere()


def test_a_namespace_that_goes_takes_its_names_along() -> None:
    index = make_index()
    index.apply_namespace(msgspec.convert({"metadata": {"name": "demo"}}, Namespace), None)
    found = ask("web.@ A", index)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NXDOMAIN
    assert ask("1.7.96.10.in-addr.arpa PTR", index) == Elsewhere()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("2001:db8:3333:4444:5555:6666::", "2001-db8-3333-4444-5555-6666--0"),
        ("10.244.1.5", "10-244-1-5"),
        ("2001:db8::10", "2001-db8--10"),
    ],
)
def test_the_dashed_name_of_an_address(address: str, name: str) -> None:
    index = make_index()
    index.apply_service(None, headless("named"), wall_seconds=SERIAL)
    index.apply_slice(None, endpoints("named", (address, None, True)), wall_seconds=SERIAL)
    found = ask(f"{name}.named.@ {'AAAA' if ':' in address else 'A'}", index)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.RECORDS


@pytest.mark.parametrize("addresses", [[""], ["not an address"], ["10.96.0.999"]])
def test_an_address_that_is_none_is_not_served(addresses: list[str]) -> None:
    index = make_index()
    index.apply_service(None, cluster_ip("odd", *addresses), wall_seconds=SERIAL)
    found = ask("odd.@ A", index)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NXDOMAIN


def test_every_answer_names_what_it_rests_on() -> None:
    table = {
        "web.@ A": ("demo", "web"),
        "nosuch.@ A": ("demo", "nosuch"),
        "db-0.db.@ A": ("demo", "db"),
        "1.7.96.10.in-addr.arpa PTR": "10.96.7.1",
        "foo.cluster.local A": "*",
        "alias.@ A": None,
        "cluster.local NS": None,
    }
    for question, source in table.items():
        found = ask(question)
        assert isinstance(found, Answer)
        assert (question, found.source) == (question, source)


def test_a_mixed_case_zone_is_the_same_zone() -> None:
    found = ask("wEb.DeMo.SvC.cLuStEr.LoCaL A")
    assert isinstance(found, Answer)
    assert render_record(found.answer[0]) == "wEb.DeMo.SvC.cLuStEr.LoCaL. 5 IN A 10.96.7.1"
    assert ZONE == (b"cluster", b"local")
    missing = ask("nosuch.demo.svc.ClUsTeR.lOcAl A")
    assert isinstance(missing, Answer)
    assert render_name(missing.authority[0].owner) == "ClUsTeR.lOcAl."


def test_a_service_of_type_load_balancer_is_answered_by_its_cluster_ip() -> None:
    index = make_index()
    index.apply_service(None, service("lb", type="LoadBalancer", clusterIP="10.96.7.7", clusterIPs=["10.96.7.7"]),
                        wall_seconds=SERIAL)  # fmt: skip
    found = ask("lb.@ A", index)
    assert isinstance(found, Answer)
    assert lines(found)[0] == expand("lb.@ A 10.96.7.7")
