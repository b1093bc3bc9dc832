"""Rule: issue "userspace data plane", 4 (an event for a program that binds all addresses and collides); proc(5)."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.bindings.plan import (
    ALL_ADDRESSES,
    FOREIGN_ADDRESS,
    PORT_TAKEN,
    Holder,
    Listener,
    find_faults,
    find_port_taken,
    parse_listeners,
)

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0500F47F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 4711 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 20 4 30 10 -1
   3: nonsense
   4: ZZ:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 4714 1 0 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr ...
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1 0 4720 1 0 100 0 0 10
   1: 0000000000000000FFFF00000500F47F:1F91 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1 0 4721 1 0 100 0 0 10
   2: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1 0 4722 1 0 100 0 0 10
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel writes addresses in the host's order")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(TCP, [("127.244.0.5", 8080, 4711), ("", 80, 4712)], id="who listens, and not who is connected"),
        pytest.param(
            TCP6,
            [("", 8080, 4720), ("127.244.0.5", 8081, 4721), ("::1", 8082, 4722)],
            id="of IPv6, with IPv4 in its form as IPv4",
        ),
        pytest.param("", [], id="an empty table"),
    ],
)
def test_the_table_of_sockets(text: str, found: list[tuple[str, int, int]]) -> None:
    assert [(each.address, each.port, each.inode) for each in parse_listeners("TCP", text)] == found


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    list(parse_listeners("TCP", f"header\n{text}"))


def hold(number: int, *inodes: int, ports: tuple[tuple[str, int], ...] = ()) -> Holder:
    return Holder(
        uid=f"uid-{number}", pod=f"default/web-{number}", container="main", container_id=f"id-{number}",
        addresses=(f"127.244.0.{number}",), ports=frozenset(ports), inodes=frozenset(inodes),
    )  # fmt: skip


def listen(address: str, port: int, inode: int, protocol: str = "TCP") -> Listener:
    return Listener(protocol, address, port, inode)


ONE, TWO = hold(1, 11), hold(2, 22)


@pytest.mark.parametrize(
    ("listener", "reason", "words"),
    [
        pytest.param(listen("127.244.0.1", 80, 11), None, "", id="its own address is right"),
        pytest.param(listen("127.0.0.1", 80, 11), None, "", id="the host's loopback is for itself, as in a Pod"),
        pytest.param(listen("", 80, 99), None, "", id="what is no Pod's is nobody's business"),
        pytest.param(listen("", 5353, 11, "UDP"), None, "", id="a UDP client's socket is bound to no address"),
        pytest.param(
            listen("", 80, 11), ALL_ADDRESSES, "let it bind $POD_IP (127.244.0.1:80)", id="all addresses are wrong"
        ),
        pytest.param(
            listen("127.244.0.2", 80, 11), FOREIGN_ADDRESS, "the address of Pod default/web-2", id="so is another Pod's"
        ),
    ],
)
def test_what_is_wrong(listener: Listener, reason: str | None, words: str) -> None:
    faults = find_faults((ONE, TWO), (listener,))
    assert [fault.reason for fault in faults] == ([reason] if reason else [])
    assert all(fault.uid == "uid-1" and words in fault.message for fault in faults)


def test_a_udp_port_that_is_declared_is_a_server() -> None:
    [fault] = find_faults((hold(1, 11, ports=(("UDP", 53),)),), (listen("", 53, 11, "UDP"),))
    assert fault.reason == ALL_ADDRESSES and "53/UDP" in fault.message


def test_both_families_are_one_fault() -> None:
    holder = hold(1, 11, 12)
    assert len(find_faults((holder,), (listen("", 80, 11), listen("", 80, 12)))) == 1


@pytest.mark.parametrize(
    ("listeners", "log", "words"),
    [
        pytest.param((listen("", 8080, 22),), "", "taken by Pod default/web-2", id="a declared port, on all addresses"),
        pytest.param(
            (listen("127.244.0.1", 8080, 99),), "", "taken by a program that is no Pod's", id="at its own address"
        ),
        pytest.param(
            (listen("", 9090, 22),), "OSError: [Errno 98] Address already in use",
            "an address is in use, and Pod default/web-2 listens on 0.0.0.0:9090", id="its log says so, and who it is",
        ),
        pytest.param(
            (listen("127.244.0.2", 8080, 22),), "listen EADDRINUSE: :::8080",
            "no program can have all addresses", id="others have the port rightly: the fault is its own",
        ),
        pytest.param((listen("127.244.0.2", 8080, 22),), "ValueError", None, id="it failed for another reason"),
        pytest.param((listen("", 7070, 22),), "", None, id="a port that it never asked for"),
        pytest.param((), "bind: address already in use", "bind $POD_IP (127.244.0.1)", id="who had it has gone"),
    ],
)  # fmt: skip
def test_why_a_program_could_not_listen(listeners: tuple[Listener, ...], log: str, words: str | None) -> None:
    ended = hold(1, ports=(("TCP", 8080),))
    fault = find_port_taken(ended, (TWO,), listeners, log_tail=log)
    assert (fault is None) if words is None else (fault is not None and words in fault.message)
    assert fault is None or (fault.uid, fault.reason) == ("uid-1", PORT_TAKEN)
