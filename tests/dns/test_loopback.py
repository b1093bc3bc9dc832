"""What is told where the cluster's addresses are on loopback: names as always, and the addresses that work.

Rule: issue "the userspace data plane", 1 and 4.
"""

from __future__ import annotations

import dataclasses

import pytest

from seaway.dns.answer import Answer, Elsewhere, Outcome
from seaway.dns.config import DnsConfig
from seaway.dns.index import Index
from seaway.dns.records import render_record
from seaway.dns.respond import Responder
from seaway.dns.transfer import list_zone
from seaway.net.loopback import LoopbackMap
from tests.dns.fixture import CONFIG, SERIAL, ask, cluster_ip, lines, make_index, make_pod, port
from tests.dns.test_respond import ask_wire, respond

MAP = LoopbackMap()
ON_LOOPBACK = dataclasses.replace(CONFIG, loopback=MAP, forwards=False)
SERVED = "10.96.7.1:80/TCP=127.96.7.1:31514"


def index() -> Index:
    return make_index(loopback=MAP)


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        pytest.param("web.@ A", ["127.96.7.1"], id="a cluster IP is told where it is served"),
        pytest.param("db.@ A", ["127.244.1.10", "127.244.2.10"], id="so are endpoints of a headless Service"),
        pytest.param("10-244-1-20.peers.@ A", ["127.244.1.20"], id="an endpoint keeps its name"),
        pytest.param("manual.@ A", ["192.0.2.10"], id="an address that is not the cluster's is itself"),
        pytest.param("10-244-1-20.demo.pod.cluster.local A", ["127.244.1.20"], id="a Pod's name leads to loopback"),
        pytest.param("127-244-1-20.demo.pod.cluster.local A", ["127.244.1.20"], id="so does that of its other address"),
        pytest.param("alias.@ A", ["web.demo.svc.cluster.local.", "127.96.7.1"], id="an alias is followed there"),
        pytest.param("web.@ AAAA", [], id="there is no IPv6 address"),
    ],
)
def test_names_lead_to_loopback(question: str, answers: list[str]) -> None:
    found = ask(question, index(), ON_LOOPBACK)
    assert isinstance(found, Answer)
    assert [line.rpartition(" ")[2] for line in lines(found)[0]] == answers


@pytest.mark.parametrize(
    ("name", "pointer"),
    [
        pytest.param("1.7.96.127", "web.demo.svc.cluster.local.", id="the address that is dialled"),
        pytest.param("1.7.96.10", "web.demo.svc.cluster.local.", id="the address that the object has"),
        pytest.param("10.1.244.127", "db-0.db.demo.svc.cluster.local.", id="an endpoint"),
    ],
)
def test_both_forms_of_an_address_lead_back_to_the_name(name: str, pointer: str) -> None:
    found = ask(f"{name}.in-addr.arpa PTR", index(), ON_LOOPBACK)
    assert isinstance(found, Answer)
    assert [line.rpartition(" ")[2] for line in lines(found)[0]] == [pointer]


def test_the_hosts_own_loopback_addresses_have_no_names_here() -> None:
    found = ask("53.0.0.127.in-addr.arpa PTR", index(), ON_LOOPBACK)
    assert isinstance(found, Answer)
    assert found.outcome is Outcome.NXDOMAIN
    assert isinstance(ask("53.0.0.127.in-addr.arpa PTR", index(), dataclasses.replace(CONFIG, loopback=MAP)), Elsewhere)


def test_a_port_that_is_served_elsewhere_is_told_where_it_works() -> None:
    found = index()
    old = cluster_ip("web", "10.96.7.1")
    found.apply_service(old, cluster_ip("web", "10.96.7.1", served_at=SERVED), wall_seconds=SERIAL)
    told = ask("_http._tcp.web.@ SRV", found, ON_LOOPBACK)
    assert isinstance(told, Answer)
    answers, _, additional = lines(told)
    assert [line.split()[4:] for line in answers] == [["0", "100", "31514", "web.demo.svc.cluster.local."]]
    assert [line.split()[-1] for line in additional] == ["127.96.7.1"]
    assert any("SRV 0 100 31514 web" in render_record(record) for record in list_zone(found, ON_LOOPBACK))


def test_an_address_that_cannot_be_had_is_told_where_it_is_served() -> None:
    """As on a host with one loopback address."""
    service = cluster_ip("web", "10.96.7.1", served_at="10.96.7.1:80/TCP=127.0.0.1:31514")
    found = index()
    found.apply_service(cluster_ip("web", "10.96.7.1"), service, wall_seconds=SERIAL)
    answer = ask("_http._tcp.web.@ SRV", found, ON_LOOPBACK)
    assert isinstance(answer, Answer)
    assert [line.split()[-1] for line in lines(answer)[2]] == ["127.0.0.1"]


def test_elsewhere_the_annotation_means_nothing() -> None:
    """Who may write a Service shall not lead clients of a real network anywhere."""
    found = make_index()
    found.apply_service(
        None, cluster_ip("new", "10.96.7.9", ports=[port("http", 80)], served_at=SERVED), wall_seconds=1
    )
    answer = ask("_http._tcp.new.@ SRV", found)
    assert isinstance(answer, Answer)
    assert lines(answer)[0][0].split()[4:7] == ["0", "100", "80"]


def test_a_reply_that_was_kept_is_dropped_when_the_port_moves() -> None:
    found = index()
    responder = Responder(found, ON_LOOPBACK)
    old = cluster_ip("web", "10.96.7.1")
    before = respond(ask_wire("_http._tcp.web.@ SRV"), responder)
    responder.drop(found.apply_service(old, cluster_ip("web", "10.96.7.1", served_at=SERVED), wall_seconds=SERIAL))
    after = respond(ask_wire("_http._tcp.web.@ SRV"), responder)
    assert (" 80 " in str(before), " 31514 " in str(after)) == (True, True)


def test_a_verified_pod_is_known_by_both_addresses() -> None:
    found = index()
    found.apply_pod(None, make_pod("one", "10.244.1.77"), wall_seconds=SERIAL)
    config = dataclasses.replace(ON_LOOPBACK, pods="verified")
    for name in ("10-244-1-77", "127-244-1-77"):
        answer = ask(f"{name}.demo.pod.cluster.local A", found, config)
        assert isinstance(answer, Answer)
        assert lines(answer)[0][0].endswith("127.244.1.77")


def test_the_name_server_is_the_service_of_the_address_that_is_listened_on() -> None:
    config = DnsConfig(listen=(("127.244.9.9", 10053),), loopback=MAP).zone
    assert config.local_addresses == ("10.244.9.9",)
    found = ask("cluster.local NS", index(), config)
    assert isinstance(found, Answer)
    answers, _, additional = lines(found)
    assert answers[0].endswith("kube-dns.kube-system.svc.cluster.local.")
    assert additional[0].endswith("127.96.0.10")
