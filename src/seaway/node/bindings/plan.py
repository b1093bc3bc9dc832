"""Who listens where it should not, and why a program could not listen: decided from the kernel's table of sockets.

Without namespaces every Pod has an address of its own on loopback, and all have the ports of one host. A program that
binds all addresses takes its port from every other Pod, and answers what was meant for them.
Rule: issue "userspace data plane", 4; proc(5), /proc/net/tcp.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

LISTEN = "0A"
UDP_UNCONNECTED = "07"
QUICK_SECONDS = 30.0
"""A program that ends with an error sooner than this may have been unable to listen."""
IN_USE = re.compile(r"already in use|address in use|EADDRINUSE|errno 98\b", re.IGNORECASE)
"""What languages and servers call it."""

ALL_ADDRESSES = "BindsAllAddresses"
FOREIGN_ADDRESS = "BindsForeignAddress"
PORT_TAKEN = "PortTaken"


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A socket that takes what comes to its port. `address` "" is all of them."""

    protocol: str
    address: str
    port: int
    inode: int

    def __str__(self) -> str:
        return f"{self.address or '0.0.0.0'}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A run of a container. addresses: the Pod's own, on loopback. ports: that it declares, with their protocols."""

    uid: str
    pod: str
    container: str
    container_id: str
    addresses: tuple[str, ...]
    ports: frozenset[tuple[str, int]] = frozenset()
    inodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What a Warning event of the Pod says of one of its containers."""

    uid: str
    container: str
    reason: str
    message: str


def parse_listeners(protocol: str, text: str) -> Iterator[Listener]:
    """Of `/proc/net/{tcp,tcp6,udp,udp6}`; lines that make no sense are left out."""
    state = LISTEN if protocol == "TCP" else UDP_UNCONNECTED
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == state:
            address, _, port = fields[1].partition(":")
            try:
                yield Listener(protocol, _parse_address(address), int(port, 16), int(fields[9]))
            except ValueError:
                continue


def _parse_address(digits: str) -> str:
    """Words of 32 bits in the host's own order. An IPv4 address in IPv6's form is itself."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return "" if address.is_unspecified else str(address)


def find_faults(holders: Sequence[Holder], listeners: Iterable[Listener]) -> tuple[Fault, ...]:
    """What is listened on wrongly now, sorted."""
    owners = {address: holder for holder in holders for address in holder.addresses}
    by_inode = {inode: holder for holder in holders for inode in holder.inodes}
    found = set()
    for listener in listeners:
        holder = by_inode.get(listener.inode)
        if holder is None or listener.address in holder.addresses:
            continue
        owner = owners.get(listener.address)
        if owner is not None and owner.uid != holder.uid:
            text = (
                f"container {holder.container} listens on {listener}, the address of Pod {owner.pod}; "
                f"{_mend(holder, listener.port)}"
            )
            found.add(Fault(holder.uid, holder.container, FOREIGN_ADDRESS, text))
        elif not listener.address and (listener.protocol == "TCP" or ("UDP", listener.port) in holder.ports):
            text = (
                f"container {holder.container} listens on all addresses at port {listener.port}/{listener.protocol}: "
                f"no other Pod of this node can have the port, and what is meant for another comes here; "
                f"{_mend(holder, listener.port)}"
            )
            found.add(Fault(holder.uid, holder.container, ALL_ADDRESSES, text))
    return tuple(sorted(found))


def find_port_taken(
    ended: Holder, holders: Sequence[Holder], listeners: Iterable[Listener], *, log_tail: str
) -> Fault | None:
    """Why a run that ended at once with an error could not listen; None: nothing says so.

    A port that it declares and that somebody has at its address says so; or its log does, and then whoever listens at
    that port, or on all addresses, is named.
    """
    by_inode = {inode: holder for holder in holders for inode in holder.inodes}
    says = bool(IN_USE.search(log_tail))
    taken = [each for each in listeners if not each.address or each.address in ended.addresses]
    declared = [each for each in taken if (each.protocol, each.port) in ended.ports]
    for listener in sorted(declared):
        holder = by_inode.get(listener.inode)
        if holder is not None and holder.container_id == ended.container_id:
            continue
        return _tell(ended, f"port {listener.port} is taken by {_name(holder)}, which listens on {listener}", holder)
    if not says:
        return None
    for listener in sorted(taken):
        holder = by_inode.get(listener.inode)
        if holder is not None and not listener.address and holder.uid != ended.uid:
            return _tell(ended, f"an address is in use, and {_name(holder)} listens on {listener}", holder)
    return _tell(ended, "an address is in use: no program can have all addresses while another Pod has the port", None)


def _tell(ended: Holder, what: str, culprit: Holder | None) -> Fault:
    if culprit is not None and culprit.uid != ended.uid:
        mend = f"let {culprit.container} of that Pod bind $POD_IP ({', '.join(culprit.addresses)})"
    else:
        mend = f"bind $POD_IP ({', '.join(ended.addresses)}), not 0.0.0.0"
    return Fault(
        ended.uid, ended.container, PORT_TAKEN, f"container {ended.container} could not listen: {what}; {mend}"
    )


def _name(holder: Holder | None) -> str:
    return f"Pod {holder.pod}" if holder is not None else "a program that is no Pod's"


def _mend(holder: Holder, port: int) -> str:
    return f"let it bind $POD_IP ({', '.join(f'{address}:{port}' for address in holder.addresses)})"
