"""A query and its reply as a line of the query log. Rule: spec "discovery" A4.4."""

from __future__ import annotations

from seaway.dns.forwarding.config import QTYPES, RCODES, LogClass, LogConfig, is_within
from seaway.dns.message import AA, AD, CD, DO, QR, RA, RCODE_MASK, RD, TC, WireError, decode_message, decode_name
from seaway.dns.records import Name, RCode, RRType, lower_name, render_name

_FLAGS = ((QR, "qr"), (AA, "aa"), (TC, "tc"), (RD, "rd"), (RA, "ra"), (AD, "ad"), (CD, "cd"))
_TYPES = {value: name for name, value in QTYPES.items()}
_RCODES = {value: name for name, value in RCODES.items()}
_CLASSES = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}


def classify_reply(reply: bytes) -> LogClass:
    """Success, denial (the name or type does not exist) or error."""
    rcode = reply[3] & RCODE_MASK
    if rcode == RCode.NXDOMAIN:
        return LogClass.DENIAL
    if rcode != RCode.NOERROR:
        return LogClass.ERROR
    has_answer = reply[6:8] != b"\0\0"
    return LogClass.SUCCESS if has_answer else LogClass.DENIAL


def render_query(
    query: bytes, reply: bytes, *, peer: tuple[str, int], protocol: str, seconds: float, config: LogConfig
) -> str | None:
    """The line; None: it is not to be shown. Never raises: what was answered can be read as far as is needed."""
    if LogClass.ALL not in config.classes and classify_reply(reply) not in config.classes:
        return None
    name, qtype, qclass = _read_question(query)
    if not any(is_within(lower_name(name), zone) for zone in config.zones):
        return None
    host, port = peer[0], peer[1]
    remote = f"[{host}]" if ":" in host else host
    dnssec_ok, bufsize = _read_edns(query)
    flags = reply[2] << 8 | reply[3]
    shown = ",".join(text for bit, text in _FLAGS if flags & bit)
    what = f"{render_type(qtype)} {_CLASSES.get(qclass, f'CLASS{qclass}')} {render_name(name)}"
    rcode = _RCODES.get(flags & RCODE_MASK, str(flags & RCODE_MASK))
    return (
        f'{remote}:{port} - {query[0] << 8 | query[1]} "{what} {protocol} {len(query)}'
        f' {"true" if dnssec_ok else "false"} {bufsize}" {rcode} {shown} {len(reply)} {seconds:.9f}s'
    )


def render_type(qtype: int) -> str:
    """The type's mnemonic, or its number. Rule: RFC 3597 5."""
    return _TYPES.get(qtype, f"TYPE{qtype}")


def _read_question(query: bytes) -> tuple[Name, int, int]:
    try:
        name, at = decode_name(query, 12)
        return name, query[at] << 8 | query[at + 1], query[at + 2] << 8 | query[at + 3]
    except (WireError, IndexError):
        return (), 0, 0


def _read_edns(query: bytes) -> tuple[bool, int]:
    """DO, and the size that the client takes: 512 where it says nothing."""
    try:
        places = decode_message(query).places
    except WireError:
        return False, 512
    for place in places:
        if place.rrtype == RRType.OPT:
            return bool(place.ttl_seconds & DO), max(512, place.rrclass)
    return False, 512
