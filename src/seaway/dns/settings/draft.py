"""What directives have said so far, and how they are asked for their arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seaway.dns.forwarding.config import Block
from seaway.dns.records import Name
from seaway.dns.settings.corefile import Directive
from seaway.dns.settings.words import Read


@dataclass
class Draft:
    """What the directives of one server block have said so far."""

    zones: tuple[Name, ...]
    read: Read
    block: dict[str, Any] = field(default_factory=dict)
    """Fields of Block."""
    server: dict[str, Any] = field(default_factory=dict)
    """Fields of DnsConfig."""
    lifecycle: dict[str, Any] = field(default_factory=dict)
    """Fields of Lifecycle."""
    bind: tuple[str, ...] = ()
    transferred: tuple[Name, ...] = ()

    def make_block(self, zone: Name) -> Block:
        """The block of one of its zones. Raises ValueError."""
        return Block(zone, **{"consolidations": None} | self.block)


def no_argument(directive: Directive) -> None:
    """The directive stands alone. Raises SettingsError."""
    count_arguments(directive, 0, 0)


def one_argument(directive: Directive, default: str | None = None) -> str:
    """Its one argument; the default, if there is one, when it has none. Raises SettingsError."""
    if default is not None and not directive.arguments:
        return default
    return count_arguments(directive, 1, 1)[0]


def some_arguments(directive: Directive) -> tuple[str, ...]:
    """Its arguments, at least one. Raises SettingsError."""
    return count_arguments(directive, 1, 1000)


def count_arguments(directive: Directive, low: int, high: int) -> tuple[str, ...]:
    """Its arguments, as many as allowed. Raises SettingsError."""
    count = len(directive.arguments)
    if not low <= count <= high:
        needed = str(low) if low == high else f"at least {low}" if high >= 1000 else f"{low} to {high}"
        raise directive.wrong(f"{directive.name}: {count} arguments found, {needed} needed")
    return directive.arguments
