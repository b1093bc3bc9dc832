"""What every revisioned store checks and computes alike: key ranges, read bounds, and commits that cannot be meant.

Pure; `memory.py`, `sqlite.py` and `etcd.py` answer the same errors because they ask here.
"""

from __future__ import annotations

from collections.abc import Sequence

from seaway.store.contract import Compacted, FutureRevision, Precondition, Write

FIRST_REVISION = 1
"""The current revision of an empty store, so that the first write has 2."""

MAX_KEYS_PER_COMMIT = 500
"""More keys than the largest transaction of the API server; SQLite looks up that many in one statement."""

_SURROGATES = (0xD800, 0xDFFF)
_LAST_CODE_POINT = 0x10FFFF


def prefix_end(prefix: str) -> str | None:
    """The first key after all keys with the prefix, in bytewise order; None when no key can follow.

    Bytewise order of UTF-8 is the order of code points, and surrogates are no code points.
    """
    kept = prefix.rstrip(chr(_LAST_CODE_POINT))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following == _SURROGATES[0]:
        following = _SURROGATES[1] + 1
    return kept[:-1] + chr(following)


def check_read(revision: int, *, current: int, compacted: int) -> int:
    """The revision to read at (0 means now). Raises Compacted or FutureRevision."""
    if revision > current:
        raise FutureRevision(revision, current)
    if revision and revision < compacted:
        raise Compacted(revision, compacted)
    return revision or current


def check_commit(preconditions: Sequence[Precondition], writes: Sequence[Write]) -> None:
    """Raises ValueError for a commit that no store can take: the caller's mistake, whatever the store holds."""
    keys = [write.key for write in writes]
    if len(set(keys)) != len(keys):
        raise ValueError("a key occurs twice in one commit")
    keys.extend(precondition.key for precondition in preconditions)
    if len(set(keys)) > MAX_KEYS_PER_COMMIT:
        raise ValueError(f"{len(set(keys))} keys in one commit; at most {MAX_KEYS_PER_COMMIT} are allowed")
    for key in keys:
        if not key:
            raise ValueError("an empty key cannot be stored")
        key.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
