"""A digest of a whole table, kept in the table itself: a restart that wants what it finds need not read the table.

The digest of the elements is a sum, so that a change of one element is an addition and a subtraction, whatever their
number. It stands as the comment of the only element of the set `state`.
"""

from __future__ import annotations

import hashlib

from seaway.proxy.nftables.objects import Comment, Structure, Value, Verdict

STATE = "state"
STATE_KEY = b"\1\0\0\0"
_MODULUS = 1 << 128
_FORMAT = 1  # counts the meanings that a table of equal digest may have had


def digest_element(name: str, key: bytes, value: Value) -> int:
    """A number for one element."""
    match value:
        case bytes():
            data = b"=" + value
        case Verdict(chain):
            data = b">" + chain.encode()
        case Comment(text):
            data = b"#" + text.encode()
        case None:
            data = b""
    return _hash(b"%b\0%d\0%b%b" % (name.encode(), len(key), key, data))


def digest_structure(structure: Structure) -> int:
    """A number for sets, chains and rules."""
    sets = sorted(structure.sets.items(), key=lambda item: item[0])
    chains = sorted(structure.chains.items(), key=lambda item: item[0])
    return _hash(repr((_FORMAT, sets, chains)).encode())


def write_digest(total: int) -> Comment:
    """The sum of such numbers as it stands in the table."""
    return Comment(f"digest {total % _MODULUS:032x}")


def _hash(packed: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest(), "big")
