"""How new connections are shared among endpoints: the algorithm that a Service asks for, and weights.

A weight is a number of turns: an endpoint of weight 3 is drawn three times as often as one of weight 1, and one of
weight 0 not at all. Here that is a list in which endpoints stand as often as their weight says; a data plane draws from
the list.

`hash` gives each client, by its source address, an endpoint of its own, the same on every node. The table is Maglev's:
each endpoint claims places in an order of its own, in turns, until all are taken; when an endpoint comes or goes few
places change hands.
Rule: issue of the proxy, part 3 (upstream has no such choice); Eisenbud et al., "Maglev", NSDI 2016, section 3.4.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from seaway.api.endpointslice.weights import ANNOTATION_WEIGHT, ANNOTATION_WEIGHTS, MAX_WEIGHT, parse_weight

ANNOTATION_BALANCE = "seaway.dev/balance"
MAX_TURNS = 512
"""The longest list that weights make; larger sums are scaled down, and nobody's share below one turn."""
TABLE_SIZES = (251, 1021, 4093)
"""Primes. An endpoint's share of the clients is even to about one in (size / endpoints)."""
PLACES_PER_ENDPOINT = 5


class Balance(enum.Enum):
    """Who gets the next connection."""

    RANDOM = "random"
    ROUND_ROBIN = "round-robin"
    HASH = "hash"
    LEAST_CONNECTIONS = "least-connections"
    """Only a plane that holds both ends knows who has how many; others draw at random."""


def parse_balance(annotations: Mapping[str, str]) -> Balance | None:
    """What the Service asks for; None when it cannot be understood."""
    text = annotations.get(ANNOTATION_BALANCE, Balance.RANDOM.value)
    return next((balance for balance in Balance if balance.value == text), None)


def parse_weights(annotations: Mapping[str, str]) -> tuple[int, dict[str, int], str]:
    """The weight of a slice's endpoints, those of single addresses, and what could not be understood, or ""."""
    problems: list[str] = []
    common = 1
    if (text := annotations.get(ANNOTATION_WEIGHT)) is not None:
        parsed = parse_weight(text)
        if parsed is None:
            problems.append(f"{ANNOTATION_WEIGHT}: {text[:40]!r} found, a number from 0 to {MAX_WEIGHT} allowed")
        else:
            common = parsed
    single, problem = _parse_single(annotations.get(ANNOTATION_WEIGHTS))
    return common, single, "; ".join([*problems, *([problem] if problem else [])])


def _parse_single(text: str | None) -> tuple[dict[str, int], str]:
    if text is None:
        return {}, ""
    allowed = f"a JSON object of addresses and numbers from 0 to {MAX_WEIGHT} allowed"
    problem = f"{ANNOTATION_WEIGHTS}: {text[:40]!r} found, {allowed}"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}, problem
    if not isinstance(found, dict):
        return {}, problem
    good = {key: value for key, value in found.items() if type(value) is int and 0 <= value <= MAX_WEIGHT}
    return good, problem if len(good) < len(found) else ""


def share_turns(weights: Sequence[int]) -> tuple[int, ...]:
    """How many turns each has in the shortest list that keeps the weights' proportions; all are above 0.

    Rule: no list is longer than MAX_TURNS, unless there are more who share it.
    """
    if not weights:
        return ()
    divisor = math.gcd(*weights)
    turns = tuple(weight // divisor for weight in weights)
    total = sum(turns)
    if total <= max(MAX_TURNS, len(turns)):
        return turns
    return tuple(max(1, turn * MAX_TURNS // total) for turn in turns)


@functools.lru_cache(maxsize=256)
def choose_places(endpoints: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """For each place of the table, which of `endpoints` (by index) has it. An endpoint may be listed several times.

    The same endpoints give the same table, in whatever order they are listed.
    """
    turns = Counter(endpoints)
    known = sorted(turns)
    size = next((s for s in TABLE_SIZES if s >= PLACES_PER_ENDPOINT * len(endpoints)), TABLE_SIZES[-1])
    walks = [_walk(endpoint, size) for endpoint in known]
    table = [-1] * size
    left = size
    while left:
        for index, endpoint in enumerate(known):
            for _ in range(turns[endpoint]):
                if not left:
                    break
                offset, step = walks[index]
                while table[offset] >= 0:
                    offset = (offset + step) % size
                table[offset] = index
                walks[index] = ((offset + step) % size, step)
                left -= 1
    order = {endpoint: index for index, endpoint in reversed(tuple(enumerate(endpoints)))}
    return tuple(order[known[index]] for index in table)


def _walk(endpoint: tuple[str, int], size: int) -> tuple[int, int]:
    """Where the endpoint claims its first place, and how far on the next."""
    digest = hashlib.blake2b(f"{endpoint[0]} {endpoint[1]}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") % size, int.from_bytes(digest[8:], "big") % (size - 1) + 1
