"""Netlink attributes: two roads to the same answer, for every input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.net.netlink.messages import iterate_attributes, pack_attribute, parse_attributes

ATTRIBUTES = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=12)), max_size=6)


@given(ATTRIBUTES)
def test_what_is_packed_is_parsed_and_of_several_of_a_type_the_last_stands(attributes: list[tuple[int, bytes]]) -> None:
    packed = b"".join(pack_attribute(kind, value) for kind, value in attributes)
    assert list(iterate_attributes(packed)) == attributes
    assert parse_attributes(packed) == dict(attributes)


@given(st.binary(max_size=48))
def test_whatever_arrives_is_parsed_and_iterated_alike_or_refused_alike(payload: bytes) -> None:
    try:
        expected = dict(iterate_attributes(payload))
    except ValueError:
        with pytest.raises(ValueError, match="netlink attribute"):
            parse_attributes(payload)
    else:
        assert parse_attributes(payload) == expected
