"""What `seaway up` says of itself."""

from __future__ import annotations

import pytest

from seaway.app.up import describe_map
from seaway.net.loopback import LoopbackMap


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("10.0.0.0/8=127.0.0.0/8", "10.a.b.c is served as 127.a.b.c", id="whole octets by letters"),
        pytest.param("10.96.0.0/16=127.64.0.0/16", "10.96.a.b is served as 127.64.a.b", id="two of them"),
        pytest.param("10.96.0.0/14=127.64.0.0/14", "10.96.0.0/14 is served as 127.64.0.0/14", id="others as ranges"),
    ],
)
def test_a_map_is_said_as_short_as_it_can_be(text: str, words: str) -> None:
    assert describe_map(LoopbackMap.parse(text)) == words
