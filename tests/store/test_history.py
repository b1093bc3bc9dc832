"""Key ranges and read bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.store.contract import Compacted, FutureRevision
from seaway.store.history import check_read, prefix_end

keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        pytest.param("/a/", "/a0", id="the last character is followed by the next"),
        pytest.param("", None, id="every key has the empty prefix"),
        pytest.param("\U0010ffff", None, id="nothing follows the last code point"),
        pytest.param("a\U0010ffff", "b", id="the last code point carries"),
        pytest.param("\ud7ff", "\ue000", id="surrogates are skipped"),
    ],
)
def test_prefix_end(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


@given(keys, keys)
def test_a_key_is_in_the_range_exactly_when_it_has_the_prefix(prefix: str, key: str) -> None:
    end = prefix_end(prefix)
    inside = key.encode() >= prefix.encode() and (end is None or key.encode() < end.encode())
    assert inside == key.startswith(prefix)


def test_reads_are_bounded_by_compaction_and_the_present() -> None:
    assert check_read(0, current=9, compacted=5) == 9
    assert check_read(5, current=9, compacted=5) == 5
    with pytest.raises(Compacted):
        check_read(4, current=9, compacted=5)
    with pytest.raises(FutureRevision):
        check_read(10, current=9, compacted=5)
