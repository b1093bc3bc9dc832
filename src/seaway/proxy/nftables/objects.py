"""The values a ruleset is made of. `text.py` and `netlink.py` print them, the fake and the packet tracer execute them.

Keys and data of elements are bytes as the kernel holds them: fields in network byte order, each padded to four bytes;
the key of an interval set is its first key followed by its last. Equal values mean equal rules.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from seaway.net.family import Family


class Field(enum.Enum):
    """What of a packet is looked at."""

    SADDR = "saddr"
    DADDR = "daddr"
    L4PROTO = "l4proto"
    DPORT = "dport"


class Type(enum.Enum):
    """A type of sets' keys and data; the value is its number in nft's type system, which the kernel stores for it."""

    ADDRESS = 0
    PROTOCOL = 12
    SERVICE = 13
    MARK = 19


FIELD_TYPES = {
    Field.SADDR: Type.ADDRESS,
    Field.DADDR: Type.ADDRESS,
    Field.L4PROTO: Type.PROTOCOL,
    Field.DPORT: Type.SERVICE,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Data of a verdict map: goto `chain`, or drop when it is empty."""

    chain: str = ""


DROP = Verdict()


@functools.cache
def goto(chain: str) -> Verdict:
    """The one verdict that goes to `chain`."""
    return Verdict(chain)


@dataclass(frozen=True, slots=True)
class Comment:
    """Data of an element of a plain set: what is written beside it."""

    text: str


Value = bytes | Verdict | Comment | None


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A named set, map (data types) or verdict map.

    timeout_seconds: its elements are what rules remember, for this long; they are not ours to diff.
    is_counted: each element counts the packets that were found in it; the counts are not ours to diff.
    """

    key: tuple[Type, ...]
    data: tuple[Type, ...] = ()
    is_verdict_map: bool = False
    is_interval: bool = False
    timeout_seconds: int | None = None
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class InSet:
    """The fields are an element of the set."""

    fields: tuple[Field, ...]
    set: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Put the fields into the set for its time, anew if they are there; go on, also when the set is full."""

    fields: tuple[Field, ...]
    set: str


@dataclass(frozen=True, slots=True)
class Vmap:
    """Go where the verdict map says; go on when it says nothing."""

    fields: tuple[Field, ...]
    map: str


@dataclass(frozen=True, slots=True)
class InNetwork:
    """The address is inside the network, or outside when negated."""

    field: Field
    network: str
    negate: bool = False


@dataclass(frozen=True, slots=True)
class IsLocal:
    """The address is one of the host's."""

    field: Field


@dataclass(frozen=True, slots=True)
class IsNew:
    """The packet starts a flow."""


@dataclass(frozen=True, slots=True)
class IsReply:
    """The packet belongs to a flow that was answered, or to one that such a flow announced."""


@dataclass(frozen=True, slots=True)
class IsTranslated:
    """The flow's destination was replaced."""


@dataclass(frozen=True, slots=True)
class ArrivesBy:
    """The packet came in by the link of this name, or by another when negated.

    is_prefix: by one whose name starts so. A packet that the node itself sends came in by none.
    """

    link: str
    negate: bool = False
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class LeavesBy:
    """The packet goes out by the link of this name, or by another when negated."""

    link: str
    negate: bool = False


@dataclass(frozen=True, slots=True)
class IsMarked:
    """All bits of the mask are set."""

    mask: int


@dataclass(frozen=True, slots=True)
class SetMark:
    """Set the bits of the mask."""

    mask: int


@dataclass(frozen=True, slots=True)
class FlipMark:
    """Invert the bits of the mask."""

    mask: int


@dataclass(frozen=True, slots=True)
class TurnOnTrace:
    """From here on the kernel tells which rules the packet meets."""


@dataclass(frozen=True, slots=True)
class TranslateTo:
    """Replace destination address and port by what the map holds; go on when it holds nothing.

    keeps_port: the map holds addresses alone.
    """

    fields: tuple[Field, ...]
    map: str
    keeps_port: bool = False


@dataclass(frozen=True, slots=True)
class MasqueradeSource:
    """Replace the source address by the outgoing interface's, on a random port."""


@dataclass(frozen=True, slots=True)
class GotoRandom:
    """Go to one of the chains, each as likely as the other."""

    chains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GotoInTurn:
    """Go to one of the chains after the other; who comes by this rule shares the turns."""

    chains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GotoByHash:
    """Go to one of the chains, the same for the same source address."""

    chains: tuple[str, ...]
    seed: int


Draw = GotoRandom | GotoInTurn | GotoByHash


@dataclass(frozen=True, slots=True)
class Jump:
    """Go to the chain and come back."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Go to the chain."""

    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    """Go on after the jump that led here."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Silence."""


@dataclass(frozen=True, slots=True)
class Reject:
    """ICMP port unreachable."""


Statement = (
    InSet | Remember | Vmap | InNetwork | IsLocal | IsNew | IsReply | IsTranslated | ArrivesBy | LeavesBy | IsMarked
    | SetMark | FlipMark | TurnOnTrace | TranslateTo | MasqueradeSource | GotoRandom | GotoInTurn | GotoByHash | Jump
    | Goto | Return | Drop | Reject
)  # fmt: skip
Rule = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain is attached. Its policy is accept."""

    type: str
    hook: str
    priority: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order. `rules` None: not known (read back from a kernel), different from any."""

    rules: tuple[Rule, ...] | None
    hook: Hook | None = None


Elements = Mapping[str, Mapping[bytes, Value]]


@dataclass(frozen=True, slots=True)
class Structure:
    """What a table holds but elements."""

    sets: Mapping[str, SetSpec] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One table of one family, whole. `elements` has an entry for each set that is not empty."""

    family: Family
    table: str
    structure: Structure
    elements: Elements

    @classmethod
    def empty(cls, family: Family, table: str) -> Ruleset:
        """The table does not exist."""
        return cls(family, table, Structure(), {})

    @property
    def is_absent(self) -> bool:
        """There is no such table."""
        return not self.structure.sets and not self.structure.chains


def referred_chains(chain: Chain) -> frozenset[str]:
    """The chains that the rules name."""
    names: set[str] = set()
    for rule in chain.rules or ():
        for statement in rule:
            if isinstance(statement, Jump | Goto):
                names.add(statement.chain)
            elif isinstance(statement, Draw):
                names.update(statement.chains)
    return frozenset(names)


def referred_sets(chain: Chain) -> frozenset[str]:
    """The sets and maps that the rules name."""
    names: set[str] = set()
    for rule in chain.rules or ():
        for statement in rule:
            if isinstance(statement, InSet | Remember):
                names.add(statement.set)
            elif isinstance(statement, Vmap | TranslateTo):
                names.add(statement.map)
    return frozenset(names)
