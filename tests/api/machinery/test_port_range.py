"""Rule: spec "service-api" §5.1 (`--service-node-port-range`)."""

from __future__ import annotations

import pytest

from seaway.api.machinery.ports import parse_port_range

RANGES = {
    "first and last": ("30000-32767", (30000, 32767)),
    "first and how many more": ("30000+2767", (30000, 32767)),
    "one port": ("31000", (31000, 31000)),
    "one port, as a range": ("31000-31000", (31000, 31000)),
    "no more": ("31000+0", (31000, 31000)),
    "up to the last port that there is": ("1-65535", (1, 65535)),
    "blanks around": (" 1-2 ", (1, 2)),
    "nothing is the default": ("", (30000, 32767)),
}
REFUSED = {
    "beyond the last port": ("1-70000", "the port range cannot be greater than 65535: 1-70000"),
    "beyond it by the offset": ("65000+1000", "the port range cannot be greater than 65535: 65000-66000"),
    "one port beyond it": ("65536", "the port range cannot be greater than 65535: 65536-65536"),
    "the end before the start": ("5-3", "end port cannot be less than start port: 5-3"),
    "no numbers": ("a-b", "unable to parse port range: a-b"),
    "a sign": ("-1-5", "unable to parse port range: -1-5"),
    "two ranges": ("1-2-3", "unable to parse port range: 1-2-3"),
    "half a range": ("1-", "unable to parse port range: 1-"),
    "other digits": ("٣٠٠", "unable to parse port range: ٣٠٠"),
    "a number without end": ("1" * 5000, "unable to parse port range: " + "1" * 5000),
    "port 0": ("0-10", "the port range cannot begin with 0: 0-10"),
}


@pytest.mark.parametrize(("text", "ports"), RANGES.values(), ids=RANGES.keys())
def test_a_range_of_ports(text: str, ports: tuple[int, int]) -> None:
    assert parse_port_range(text) == ports


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_range_of_ports(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_port_range(text)
    assert str(caught.value) == why
