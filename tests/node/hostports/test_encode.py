"""Rule: spec "node" §4.5; the kernel's word on the same bytes is in tests/kernel/test_node_network.py."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from seaway.net.netlink.messages import parse_attributes, parse_messages
from seaway.node.hostports.encode import TABLE, encode_tables
from seaway.node.hostports.plan import HostPort

PORTS = st.builds(
    HostPort,
    st.sampled_from(["TCP", "UDP", "SCTP"]),
    st.integers(1, 65535),
    st.none() | st.just(ipaddress.ip_address("192.0.2.1")),
    st.integers(2, 200).map(lambda n: ipaddress.ip_address("10.244.0.0") + n),
    st.integers(1, 65535),
)


def kinds(batch: bytes) -> list[tuple[int, str]]:
    """(message type, chain) of the batch without its frame."""
    found = []
    for message in list(parse_messages(batch))[1:-1]:
        attributes = parse_attributes(message.payload[4:])
        assert attributes[1] == f"{TABLE}\0".encode()
        found.append((message.type & 0xFF, attributes.get(3 if message.type & 0xFF == 3 else 2, b"").decode()))
    return found


def test_without_ports_both_tables_go() -> None:
    assert [kind for kind, _ in kinds(encode_tables([]))] == [0, 2, 0, 2]


@given(st.lists(PORTS, min_size=1, max_size=20))
def test_order_changes_nothing_and_every_port_is_there(ports: list[HostPort]) -> None:
    batch = encode_tables(ports)
    assert batch == encode_tables(reversed(ports))
    rules = [chain for kind, chain in kinds(batch) if kind == 6]
    assert rules.count("prerouting\0") == rules.count("output\0") == len(ports)
    assert rules.count("guard\0") == (1 if any(port.takes_loopback for port in ports) else 0)
    sequence = [message.sequence for message in parse_messages(batch)]
    assert sequence == list(range(1, len(sequence) + 1)), "an answer names its message"
