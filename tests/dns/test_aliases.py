"""External names whose targets lie outside, with what an upstream said of them. Rule: spec "discovery" A1.7, D1."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from seaway.dns.message import decode_message
from seaway.dns.respond import Deferred, Responder
from tests.dns.fixture import CONFIG, external, make_index

CNAME = "ext.demo.svc.cluster.local. 5 IN CNAME www.example.com."


def ask_through(question: str, upstream: tuple[str, ...], rcode: int = 0, flags: int = 0) -> dns.message.Message:
    """The reply to a question whose target the upstream answers with these records."""
    index = make_index()
    index.apply_service(None, external("shout", "WWW.Example.COM"), wall_seconds=0)
    responder = Responder(index, CONFIG)
    name, qtype = question.replace("@", "demo.svc.cluster.local").split()
    query = dns.message.make_query(name, qtype)
    out = responder.respond(query.to_wire())
    if not isinstance(out, Deferred):
        assert isinstance(out, bytes)
        return dns.message.from_wire(out)
    target = ".".join(label.decode() for label in out.target)
    reply = dns.message.make_response(dns.message.make_query(target, qtype))
    reply.flags |= dns.flags.RA | flags
    reply.set_rcode(dns.rcode.Rcode(rcode))
    reply.answer = [dns.rrset.from_text(*line.split(maxsplit=4)) for line in upstream]  # type: ignore[arg-type]
    found = dns.message.from_wire(responder.relay(out, decode_message(reply.to_wire()), None))
    assert (found.id, found.question) == (query.id, query.question)
    return found


CASES = {
    "D1 41 the alias, then the address with its own TTL": (
        "ext.@ A", ("www.example.com. 60 IN A 198.51.100.7",), 0,
        [CNAME, "www.example.com. 60 IN A 198.51.100.7"],
    ),
    "D1 42 the other family": (
        "ext.@ AAAA", ("www.example.com. 60 IN AAAA 2001:db8::7",), 0,
        [CNAME, "www.example.com. 60 IN AAAA 2001:db8::7"],
    ),
    "D1 47 of a target that does not exist the alias is left": ("ext.@ A", (), dns.rcode.NXDOMAIN, [CNAME]),
    "D1 47 and of one that fails": ("ext.@ A", (), dns.rcode.SERVFAIL, [CNAME]),
    "a target without such an address is an alias alone": ("ext.@ AAAA", (), 0, [CNAME]),
    "aliases outside are passed on in order": (
        "ext.@ A", ("www.example.com. 60 IN CNAME w.example.net.", "w.example.net. 9 IN A 198.51.100.8"), 0,
        [CNAME, "www.example.com. 60 IN CNAME w.example.net.", "w.example.net. 9 IN A 198.51.100.8"],
    ),
    "a target in capitals is the same target": (
        "shout.@ A", ("www.example.com. 60 IN A 198.51.100.7",), 0,
        ["shout.demo.svc.cluster.local. 5 IN CNAME www.example.com.", "www.example.com. 60 IN A 198.51.100.7"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("question", "upstream", "rcode", "expected"), CASES.values(), ids=CASES)
def test_an_external_name(question: str, upstream: tuple[str, ...], rcode: int, expected: list[str]) -> None:
    reply = ask_through(question, upstream, rcode)
    assert [str(rrset) for rrset in reply.answer] == expected
    assert (reply.rcode(), reply.authority, reply.additional) == (dns.rcode.NOERROR, [], [])
    assert reply.flags & (dns.flags.AA | dns.flags.RA) == dns.flags.AA


def test_what_the_upstream_cut_off_is_marked() -> None:
    reply = ask_through("ext.@ A", ("www.example.com. 60 IN A 198.51.100.7",), flags=dns.flags.TC)
    assert reply.flags & dns.flags.TC
