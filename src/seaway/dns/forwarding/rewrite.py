"""Questions looked up under another name or type, and the answers named back.

Names are text in lower case with the dot at the end, as rules are written. Rules are tried in order; the first that
matches ends it unless it says `continue`. Rule: spec "discovery" A3.1 (before everything else that answers).

A record under the very name that was looked up always gets the client's name back: nobody has use for an answer to
another question. `answer auto` does the same for names below or beside it, as far as the rule can be turned round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.name
import dns.rrset

from seaway.dns.forwarding.config import Match, NameRewrite, Rewrite, TypeRewrite
from seaway.dns.message import Message, WireError, decode_message
from seaway.dns.records import Name, lower_name, parse_name, render_name

MAX_NAME_TEXT = 253 + 1


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What is looked up instead, and the rules that led there, for the way back."""

    name: Name
    qtype: int
    rules: tuple[NameRewrite, ...]


def rewrite_question(rules: Sequence[Rewrite], name: Name, qtype: int) -> Rewritten | None:
    """What to look up instead; None: what was asked. Never raises: a rule that makes an impossible name is passed."""
    text = render_name(lower_name(name))
    found, used = text, []
    found_type = qtype
    for rule in rules:
        if isinstance(rule, TypeRewrite):
            if found_type != rule.source:
                continue
            found_type = rule.target
        else:
            turned = rewrite_name(rule, found)
            if turned is None:
                continue
            found = turned
            used.append(rule)
        if rule.stops:
            break
    if found == text and found_type == qtype:
        return None
    try:
        return Rewritten(parse_name(found), found_type, tuple(used))
    except ValueError:
        return None


def rewrite_name(rule: NameRewrite, text: str) -> str | None:
    """The name after the rule; None: it does not match."""
    source, target = rule.source, rule.target
    match rule.match:
        case Match.EXACT:
            return target if text == source else None
        case Match.PREFIX:
            return target + text.removeprefix(source) if text.startswith(source) else None
        case Match.SUFFIX:
            return text.removesuffix(source) + target if text.endswith(source) else None
        case Match.SUBSTRING:
            return text.replace(source, target) if source in text else None
        case Match.REGEX:
            found = re.search(source, text)
            return None if found is None else _fill(target, found)


def restore_reply(wire: bytes, question: bytes, rewritten: Rewritten) -> Message:
    """The reply to what was looked up as the reply to what was asked. Raises WireError.

    question: the client's, as on the wire.
    """
    asked = dns.name.from_wire(question, 0)[0]
    looked_up = dns.name.Name((*rewritten.name, b""))
    try:
        reply = dns.message.from_wire(wire, ignore_trailing=True)
        for section in (reply.answer, reply.authority, reply.additional):
            for i, rrset in enumerate(section):
                if rrset.name == looked_up:
                    owner = asked
                else:
                    owner = _name_back(rrset.name, rewritten.rules)
                if owner != rrset.name or owner is asked:
                    section[i] = dns.rrset.from_rdata_list(owner, rrset.ttl, list(rrset))
        qtype, qclass = question[-4:-2], question[-2:]
        reply.question = [
            dns.rrset.RRset(asked, int.from_bytes(qclass, "big"), int.from_bytes(qtype, "big"))  # type: ignore[arg-type]
        ]
        return decode_message(reply.to_wire(max_size=65_535))
    except (dns.exception.DNSException, ValueError) as error:
        raise WireError(str(error)) from error


def _name_back(name: dns.name.Name, rules: Sequence[NameRewrite]) -> dns.name.Name:
    text = name.to_text().lower()
    before = text
    for rule in reversed(rules):
        text = _turn_back(rule, text)
    try:
        return name if text == before or len(text) > MAX_NAME_TEXT else dns.name.from_text(text)
    except dns.exception.DNSException:
        return name


def _turn_back(rule: NameRewrite, text: str) -> str:
    for pattern, replacement in rule.answer_rewrites:
        found = re.search(pattern, text)
        if found is not None:
            return _fill(replacement, found)
    if not rule.answers_auto or rule.match in (Match.REGEX, Match.SUBSTRING):
        return text
    turned = rewrite_name(NameRewrite(rule.match, rule.target, rule.source), text)
    return text if turned is None else turned


def _fill(template: str, found: re.Match[str]) -> str:
    """`{0}` is the whole match, `{1}` the first group."""

    def group(place: re.Match[str]) -> str:
        number = int(place.group(1))
        return (found.group(number) or "") if number <= (found.re.groups) else place.group(0)

    return re.sub(r"\{(\d+)\}", group, template)
