"""Amounts of countable things, by name: what a quota allows, what an object uses.

Rule: upstream's resource.Quantity: a sum is written in the family (decimal or binary) of its first part that is not
zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from seaway.api.machinery.scalars import ScalarError, format_quantity, measure_quantity


class Amount(NamedTuple):
    """Units of 10⁻⁹, and how they are written."""

    nanos: int
    is_binary: bool = False

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.nanos + other.nanos, self.is_binary if self.nanos else other.is_binary)

    def minus(self, other: Amount) -> Amount:
        """What is left, below zero too."""
        return Amount(self.nanos - other.nanos, self.is_binary if self.nanos else other.is_binary)

    def __str__(self) -> str:
        """Canonical; a lack is nothing."""
        return format_quantity(max(self.nanos, 0), is_binary=self.is_binary)


Amounts = Mapping[str, Amount]
NOTHING = Amount(0)
ONE = Amount(10**9)


def count(number: int) -> Amount:
    """So many whole things."""
    return Amount(number * ONE.nanos)


def parse_amount(text: object) -> Amount:
    """The amount of a quantity; what cannot be read is nothing: validation has seen it."""
    try:
        return Amount(measure_quantity(str(text)), str(text).endswith("i"))
    except ScalarError:
        return NOTHING


def parse_amounts(texts: Mapping[str, object] | None) -> dict[str, Amount]:
    return {name: parse_amount(text) for name, text in (texts or {}).items()}


def add(left: Amounts, right: Amounts) -> dict[str, Amount]:
    """Name by name."""
    return {name: left.get(name, NOTHING).plus(right.get(name, NOTHING)) for name in (*left, *(right.keys() - left))}


def subtract(left: Amounts, right: Amounts) -> dict[str, Amount]:
    """Name by name; may fall below zero."""
    return {name: left.get(name, NOTHING).minus(right.get(name, NOTHING)) for name in (*left, *(right.keys() - left))}


def at_least(left: Amounts, right: Amounts) -> dict[str, Amount]:
    """The larger of both, name by name."""
    both = (*left, *(right.keys() - left))
    return {name: max(left.get(name, NOTHING), right.get(name, NOTHING), key=lambda a: a.nanos) for name in both}


def mask(amounts: Amounts, names: Iterable[str]) -> dict[str, Amount]:
    """Only these names."""
    return {name: amounts[name] for name in names if name in amounts}


def show(amounts: Amounts) -> str:
    """`requests.cpu=1,services=2`, as errors list them."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))


def format_amounts(amounts: Amounts) -> dict[str, str]:
    """As a status holds them."""
    return {name: str(amounts[name]) for name in sorted(amounts)}
