"""A name as a Pod's resolver asks for it: every candidate of its search list in order, and which one is answered.

Rule: resolv.conf(5); spec "discovery" A0.5 (musl ends at a name without data, glibc does not), A3.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seaway.dns.explaining.explain import Explanation, explain
from seaway.dns.index import Index
from seaway.dns.lookup import ZoneConfig
from seaway.dns.records import is_encodable, parse_name

DEFAULT_NDOTS = 1  # of a resolv.conf without the option
MAX_NDOTS = 15  # glibc and musl cut there


@dataclass(frozen=True, slots=True)
class Walk:
    """What a resolver asks for, in order. answered: position of the candidate that it takes; None: none has records.

    musl_ends: position of a candidate at which musl gives up with an error, before any that is answered; None: nowhere.
    """

    candidates: tuple[Explanation, ...]
    answered: int | None
    musl_ends: int | None


def list_candidates(text: str, searches: Sequence[str], ndots: int) -> tuple[str, ...]:
    """The names that are asked for one that was typed, each once, without the trailing dot.

    A name with a trailing dot is asked alone; one with `ndots` dots or more first as it is; any other last as it is.
    """
    if text.endswith("."):
        return (text[:-1],)
    suffixed = [f"{text}.{search.removesuffix('.')}".removesuffix(".") for search in searches]
    ordered = [text, *suffixed] if text.count(".") >= ndots else [*suffixed, text]
    return tuple(dict.fromkeys(ordered))


def find_ndots(options: Sequence[str]) -> int:
    """The value of the option, within what resolvers take."""
    ndots = DEFAULT_NDOTS
    for option in options:
        name, _, value = option.partition(":")
        if name == "ndots" and value.isascii() and value.isdigit():
            ndots = min(int(value), MAX_NDOTS)
    return ndots


def explain_text(text: str, qtype: int, index: Index, config: ZoneConfig) -> Explanation:
    """Of a name as it was typed, which is taken as a whole one. Raises ValueError for what cannot be a name."""
    return explain(parse_name(text), qtype, index, config)


def walk(text: str, qtype: int, searches: Sequence[str], ndots: int, index: Index, config: ZoneConfig) -> Walk:
    """The candidates up to the first with records.

    What lies outside is not known here, and passed over: an upstream may answer it. Raises ValueError for what cannot
    be a name; candidates that would be too long are left out, as resolvers do.
    """
    parse_name(text)
    found: list[Explanation] = []
    musl_ends = None
    for candidate in list_candidates(text, searches, ndots):
        try:
            name = parse_name(candidate)
        except ValueError:
            continue
        assert is_encodable(name)
        explained = explain(name, qtype, index, config)
        found.append(explained)
        if explained.is_answered:
            return Walk(tuple(found), len(found) - 1, musl_ends)
        if musl_ends is None and explained.status not in ("NXDOMAIN", "FORWARDED"):
            musl_ends = len(found) - 1
    return Walk(tuple(found), None, musl_ends)
