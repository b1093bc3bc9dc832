"""The zone as a peer gets it; dnspython is the peer. Rule: spec "discovery" A1.12, A6 #25, D1."""

from __future__ import annotations

import asyncio
import dataclasses

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.serial
import dns.versioned
import dns.xfr
import dns.zone
import pytest

from seaway.dns.answer import Answer
from seaway.dns.index import Index
from seaway.dns.records import RRType, render_record
from seaway.dns.respond import Responder
from seaway.dns.serve import Server
from seaway.dns.settings.read import Surroundings, read_settings
from seaway.dns.settings.words import SettingsError
from seaway.dns.transfer import MESSAGE_BYTES, batch_records, list_zone
from tests.dns.fixture import CONFIG, SERIAL, ask, cluster_ip, endpoints, headless, make_index, port
from tests.dns.test_respond import ask_wire, with_endpoints
from tests.dns.test_serve import dig, frame, read_message, run
from tests.dns.upstream import Upstream

PEER = "192.0.2.53"
OPEN = dataclasses.replace(CONFIG, transfer_to=(PEER, "2001:db8::53"))


def transfer(query: bytes, index: Index | None = None, source: str = PEER) -> list[bytes] | None:
    messages = Responder(index or make_index(), OPEN).transfer(query, source)
    return list(messages) if messages is not None else None


def receive(messages: list[bytes]) -> dns.zone.Zone:
    """The zone that a secondary has after these messages; it is the judge of their order."""
    zone = dns.versioned.Zone("cluster.local.", relativize=False)
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
        done = [inbound.process_message(dns.message.from_wire(each, xfr=True)) for each in messages]
    assert done == [False] * (len(messages) - 1) + [True]
    return zone


def lines_of(messages: list[bytes]) -> list[str]:
    found = []
    for each in messages:
        message = dns.message.from_wire(each, one_rr_per_rrset=True)
        assert (message.rcode(), message.authority, message.additional) == (0, [], [])
        assert message.flags & dns.flags.AA and not message.flags & dns.flags.TC
        found += [str(rrset) for rrset in message.answer]
    return found


ZONE_LINES = """\
cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 5
cluster.local. 5 IN NS kube-dns.kube-system.svc.cluster.local.
kube-dns.kube-system.svc.cluster.local. 5 IN A 10.96.0.10
alias.@ 5 IN CNAME web.@
dangling.@ 5 IN CNAME nosuch.@
db.@ 5 IN A 10.244.1.10
db-0.db.@ 5 IN A 10.244.1.10
_mysql._tcp.db.@ 5 IN SRV 0 50 13306 db-0.db.@
db.@ 5 IN A 10.244.2.10
db-1.db.@ 5 IN A 10.244.2.10
_mysql._tcp.db.@ 5 IN SRV 0 50 13306 db-1.db.@
dual.@ 5 IN A 10.96.7.2
dual.@ 5 IN AAAA fd00:10:96::7:2
dual.@ 5 IN SRV 0 100 80 dual.@
_http._tcp.dual.@ 5 IN SRV 0 100 80 dual.@
dual.@ 5 IN SRV 0 100 53 dual.@
_dns._udp.dual.@ 5 IN SRV 0 100 53 dual.@
ext.@ 5 IN CNAME www.example.com.
""".replace("@", "demo.svc.cluster.local.").splitlines()


def test_d1_85_the_zone_in_order() -> None:
    messages = transfer(ask_wire("cluster.local AXFR"))
    assert messages is not None
    lines = lines_of(messages)
    assert lines[: len(ZONE_LINES)] == ZONE_LINES
    assert lines[-1] == lines[0]
    owners = [line.split(".")[0] for line in lines[3:-1] if line.split(".")[1] in ("demo", "default", "kube-system")]
    assert owners == sorted(owners), "Services by their names, whatever the namespaces"
    text = "\n".join(lines)
    for absent in ("dns-version", ".pod.", "arpa", "10-244-1-5", "extip", "void", "10.244.3.10"):
        assert absent not in text


def test_d1_85_over_tcp_to_a_peer_on_a_connection_that_goes_on() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        zone = dns.versioned.Zone("cluster.local.", relativize=False)
        host, number = server.addresses[0]
        await dns.asyncquery.inbound_xfr(host, zone, port=number, timeout=10, lifetime=10)
        assert len(zone.get_rdataset("many.demo.svc.cluster.local.", "A") or ()) == 60
        assert (await dig(server, "+noall", "+answer", "cluster.local", "AXFR")).count("\tSOA\t") == 2
        reader, writer = await asyncio.open_connection(host, number)
        writer.write(frame("cluster.local", "AXFR") + frame("web.demo.svc.cluster.local"))
        seen = 0
        async with asyncio.timeout(10):
            while (reply := await read_message(reader)).question[0].rdtype == dns.rdatatype.AXFR or not seen:
                seen += 1
        assert str(reply.answer[0][0]) == "10.96.7.1"
        writer.close()

    run(body, transfer_to=("127.0.0.1",))


def everything(count: int) -> Index:
    """More than one message holds."""
    index = with_endpoints(count, hostname=True)
    for i in range(40):
        index.apply_service(None, cluster_ip(f"many-{i}", f"10.97.0.{i}", ports=[port("a", 1), port("b", 2, "UDP")]),
                            wall_seconds=SERIAL)  # fmt: skip
    return index


def test_a_large_zone_takes_several_messages_and_arrives_whole() -> None:
    index = everything(700)
    messages = transfer(ask_wire("cluster.local AXFR"), index)
    assert messages is not None and len(messages) > 3
    assert max(map(len, messages)) <= MESSAGE_BYTES + 300
    zone = receive(messages)
    assert len(zone.get_rdataset("db2.demo.svc.cluster.local.", "A") or ()) == 700
    assert len(set(lines_of(messages))) == len(set(map(render_record, list_zone(index, OPEN))))


def test_the_zone_that_arrives_answers_as_we_do() -> None:
    """Rule: the weights of SRV records alone go by other numbers (A1.12)."""
    index = everything(10)
    messages = transfer(ask_wire("cluster.local AXFR"), index)
    assert messages is not None
    for name, node in receive(messages).nodes.items():
        for dataset in node:
            kind = dns.rdatatype.to_text(dataset.rdtype)
            found = ask(f"{str(name).rstrip('.')} {kind}", index, OPEN)
            assert isinstance(found, Answer)
            ours = {render_record(each).split(" ", 4)[4] for each in found.answer}
            theirs = {rdata.to_text() for rdata in dataset}
            if kind == "SRV":
                ours, theirs = ({text.split(" ", 2)[2] for text in texts} for texts in (ours, theirs))
            assert (name, kind, theirs) == (name, kind, ours)


def test_a_transfer_is_of_the_moment_when_it_began() -> None:
    index = make_index()
    messages = Responder(index, OPEN).transfer(ask_wire("cluster.local AXFR"), PEER)
    assert messages is not None
    index.apply_service(cluster_ip("web", "10.96.7.1"), cluster_ip("web", "10.96.7.99"), wall_seconds=SERIAL + 1)
    lines = lines_of(list(messages))
    assert any("10.96.7.1" in line for line in lines) and not any("10.96.7.99" in line for line in lines)
    assert lines[0] == lines[-1]


def test_nothing_is_there_twice() -> None:
    index = make_index()
    index.apply_service(None, headless("two"), wall_seconds=SERIAL)
    for name in ("two-1", "two-2"):
        index.apply_slice(None, endpoints("two", ("10.244.1.99", "h", True), name=name), wall_seconds=SERIAL)
    lines = [line for line in map(render_record, list_zone(index, OPEN)) if "two.demo" in line]
    assert len(lines) == len(set(lines)) == 3


@pytest.mark.parametrize("source", ["192.0.2.54", "127.0.0.1", "2001:db8::54", "::ffff:192.0.2.53"])
def test_others_are_refused(source: str) -> None:
    query = ask_wire("cluster.local AXFR")
    assert transfer(query, source=source) is None
    assert refused(query)


@pytest.mark.parametrize(
    "question",
    ["web.@ AXFR", "svc.cluster.local AXFR", "10.in-addr.arpa AXFR", "in-addr.arpa IXFR", "example.com AXFR"],
)
def test_only_the_zone_itself_can_be_had(question: str) -> None:
    assert transfer(ask_wire(question)) is None


@pytest.mark.parametrize("question", ["cluster.local AXFR", "cluster.local IXFR"])
def test_over_udp_it_is_refused(question: str) -> None:
    out = Responder(make_index(), OPEN).respond(ask_wire(question))
    assert isinstance(out, bytes)
    assert dns.message.from_wire(out).rcode() == dns.rcode.REFUSED


def refused(query: bytes) -> bool:
    out = Responder(make_index(), OPEN).respond(query, over_tcp=True)
    return isinstance(out, bytes) and dns.message.from_wire(out).rcode() == dns.rcode.REFUSED


def test_everybody_is_a_star() -> None:
    config = dataclasses.replace(CONFIG, transfer_to=("*",))
    assert Responder(make_index(), config).transfer(ask_wire("cluster.local AXFR"), "198.51.100.1") is not None
    assert Responder(make_index(), CONFIG).transfer(ask_wire("cluster.local AXFR"), PEER) is None


NO_TRANSFERS = (
    b"", b"\0" * 12, ask_wire("web.@ A"), ask_wire("cluster.local AXFR", rdclass="CH"),
    ask_wire("cluster.local AXFR")[:-1], ask_wire("cluster.local AXFR", use_edns=1),
)  # fmt: skip


@pytest.mark.parametrize(
    "query", NO_TRANSFERS, ids=["nothing", "zeros", "a question", "another class", "cut short", "another EDNS"]
)
def test_what_is_no_transfer_is_left_to_others(query: bytes) -> None:
    assert transfer(query) is None


def test_before_everything_is_known_it_fails() -> None:
    messages = transfer(ask_wire("cluster.local AXFR"), make_index(is_synced=False))
    assert messages is not None
    [reply] = map(dns.message.from_wire, messages)
    assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])


def ask_changes(serial: int | None) -> bytes:
    query = dns.message.make_query("cluster.local.", "IXFR")
    if serial is not None:
        soa = f"ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 5"
        query.authority.append(dns.rrset.from_text("cluster.local.", 5, "IN", "SOA", soa))
    return query.to_wire()


def test_a_peer_that_has_the_serial_of_now_gets_the_soa_alone() -> None:
    messages = transfer(ask_changes(SERIAL))
    assert messages is not None
    [reply] = map(dns.message.from_wire, messages)
    assert [rrset.rdtype for rrset in reply.answer] == [dns.rdatatype.SOA]
    assert not reply.flags & dns.flags.AA


@pytest.mark.parametrize("serial", [0, SERIAL - 1, SERIAL + 1])
def test_a_peer_with_another_serial_gets_the_whole_zone(serial: int) -> None:
    messages = transfer(ask_changes(serial))
    assert messages is not None
    assert lines_of(messages) == lines_of(transfer(ask_wire("cluster.local AXFR")) or [])


def test_a_peer_that_does_not_say_its_serial_gets_nothing() -> None:
    messages = transfer(ask_changes(None))
    assert messages is not None
    assert dns.message.from_wire(messages[0]).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("size", [1, 100, 1000, 10**9])
def test_batches_hold_everything_in_order(size: int) -> None:
    records = list(list_zone(make_index(), OPEN))
    batches = list(batch_records(records, size))
    assert [record for batch in batches for record in batch] == records
    assert all(batches)
    assert batches[0][0].rrtype == RRType.SOA


def read_peers(lines: str) -> tuple[str, ...]:
    text = f".:53 {{\n kubernetes cluster.local in-addr.arpa\n {lines}\n}}"
    surroundings = Surroundings(lambda path: "", lambda pattern: (), {}, ("127.0.0.1",))
    return read_settings(text, file="Corefile", surroundings=surroundings).zone.transfer_to


def test_the_directive_of_a_corefile() -> None:
    assert read_peers("transfer {\n to 192.0.2.53 FD00::53\n to *\n }") == ("192.0.2.53", "fd00::53", "*")
    assert read_peers("transfer cluster.local {\n to *\n }") == ("*",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("transfer", "'to' needed, with addresses or"),
        ("transfer in-addr.arpa {\n to *\n }", "cluster.local alone can be transferred"),
        ("transfer {\n from *\n }", "unknown property 'from'"),
        ("transfer {\n to nobody\n }", "transfer to nobody: an address or"),
    ],
)
def test_what_the_directive_does_not_take(lines: str, message: str) -> None:
    with pytest.raises((SettingsError, ValueError), match=message):
        read_peers(lines)


def test_an_index_that_is_empty_is_a_zone_too() -> None:
    index = Index()
    index.is_synced = True
    messages = transfer(ask_wire("cluster.local AXFR"), index)
    assert messages is not None
    assert [line.split()[3] for line in lines_of(messages)] == ["SOA", "NS", "A", "SOA"]
