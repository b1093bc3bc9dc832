"""The search list walked by the server: one query and one answer where a client's resolver would send five.

A client in namespace NS has `search NS.svc.Z svc.Z Z …`; a name below the first suffix is the first guess of a walk,
and only the source address says whose it is. Rule: spec "discovery" A3.6 (autopath).
"""

from __future__ import annotations

from seaway.dns.records import Name


def split_first_guess(name: Name, namespace: str, zone: Name) -> Name:
    """What the client is looking for, when the name is that below `NS.svc.Z`; else nothing. All in lower case."""
    suffix = (namespace.encode(), b"svc", *zone)
    base = name[: len(name) - len(suffix)]
    return base if namespace and base and name[len(base) :] == suffix else ()


def list_guesses(base: Name, zone: Name, host_suffixes: tuple[Name, ...]) -> tuple[Name, ...]:
    """What the client's resolver would ask next, in order: the name itself comes last."""
    return tuple((*base, *suffix) for suffix in ((b"svc", *zone), zone, *host_suffixes, ()))
