"""Rule: spec "node" §2.10 step 3; OCI image-spec, `StopSignal`."""

from __future__ import annotations

import signal

import pytest

from seaway.node.signals import parse_signal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15), ("TERM", 15), ("sigquit", 3), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1), ("", None), ("SIGNOTHING", None), ("0", None), ("99", None),
        ("SIGRTMIN+99", None), ("SIG_IGN", None),
    ],
)  # fmt: skip
def test_names(text: str, number: int | None) -> None:
    assert parse_signal(text) == number
