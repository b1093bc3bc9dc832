"""nftables of the running kernel over netlink: batches out, answers and listings in. No nft program is run."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping

from seaway.net.family import Family
from seaway.net.netlink.kernel import NETLINK_NETFILTER, NetlinkSocket
from seaway.net.netlink.messages import NLMSG_ERROR
from seaway.proxy.nftables.affinity import Entry
from seaway.proxy.nftables.diff import DeleteTable, Transaction
from seaway.proxy.nftables.digest import STATE, STATE_KEY
from seaway.proxy.nftables.elements import (
    decode_counts,
    decode_elements,
    decode_entries,
    decode_set,
    encode_element,
    encode_interval,
    is_same_set,
)
from seaway.proxy.nftables.netlink import (
    GETCHAIN,
    GETGEN,
    GETRULE,
    GETSET,
    GETSETELEM,
    GETTABLE,
    SEND_LIMIT,
    SUBSYSTEM,
    Batch,
    decode_chain,
    decode_generation,
    encode_reference,
    encode_transaction,
    generic_header,
)
from seaway.proxy.nftables.objects import Chain, Comment, Elements, Ruleset, SetSpec, Structure, Value
from seaway.proxy.nftables.plane import NftError
from seaway.proxy.nftables.rules import are_same_rules, decode_rule, encode_rules
from seaway.proxy.nftables.structure import find_spec

_MENDS = {
    errno.EPERM: "needs CAP_NET_ADMIN; run as root or with --network sandbox",
    errno.EOPNOTSUPP: "the kernel lacks a feature of nftables; Linux 5.13 or later with nf_tables, nft_nat, nft_masq,"
    " nft_fib, nft_numgen, nft_reject and nft_ct is needed",
    errno.EMSGSIZE: "the batch exceeds the socket's send buffer",
}


class NftKernel:
    """A netlink socket to nf_tables."""

    def __init__(self, *, send_limit: int = SEND_LIMIT) -> None:
        self._link = NetlinkSocket(NETLINK_NETFILTER)
        self._walker = NetlinkSocket(NETLINK_NETFILTER)
        self._send_limit = send_limit
        self._own_commits = 0

    def close(self) -> None:
        self._link.close()
        self._walker.close()

    def apply(self, family: Family, table: str, transaction: Transaction) -> None:
        """Send the batches. Raises NftError for the first refused message; batches before it stay."""
        batches = encode_transaction(
            transaction,
            family=family,
            table=table,
            first_sequence=self._link.next_sequence(1),
            limit=self._send_limit,
        )
        for batch in batches:
            self._link.next_sequence(len(batch.subjects))
            self._send(_name(family, table), batch)

    def _send(self, table: str, batch: Batch) -> None:
        """The kernel executes a batch while it is sent: all answers are there afterwards."""
        try:
            self._link.send(batch.packed)
            answers = [m for m in self._link.drain() if m.type == NLMSG_ERROR]
        except OSError as error:
            raise NftError(table, "batch", error.errno or 0, _reason(error.errno or 0)) from error
        for message in answers:
            code = -struct.unpack_from("=i", message.payload)[0]
            if code:
                index = message.sequence - batch.first
                subject = batch.subjects[index] if 0 <= index < len(batch.subjects) else "batch"
                raise NftError(table, subject, code, _reason(code))
        if not answers:
            raise NftError(table, "batch", errno.EPROTO, "the kernel did not acknowledge the batch")
        self._own_commits += 1

    def read(self, family: Family, table: str) -> Ruleset:
        """The table as it is. A set that cannot be ours has a spec that equals none. Raises NftError."""
        structure = self.read_structure(family, table)
        try:
            ours = [name for name, spec in structure.sets.items() if spec.timeout_seconds is None]
            elements = {name: pairs for name in ours if (pairs := self._read_elements(family, table, name))}
        except FileNotFoundError:
            return Ruleset.empty(family, table)
        except OSError as error:
            raise NftError(_name(family, table), "listing", error.errno or 0, _reason(error.errno or 0)) from error
        return Ruleset(family, table, structure, elements)

    def read_structure(self, family: Family, table: str) -> Structure:
        """Sets and chains as they are, rules unknown; empty when there is no table. Raises NftError."""
        chains: dict[str, Chain] = {}
        try:
            sets = self._read_sets(family, table)
            for message in self._link.dump(SUBSYSTEM << 8 | GETCHAIN, encode_reference(family, "")[:4]):
                found_table, name, hook = decode_chain(message.payload)
                if found_table == table:
                    chains[name] = Chain(None, hook)
        except FileNotFoundError:
            return Structure()
        except OSError as error:
            raise NftError(_name(family, table), "listing", error.errno or 0, _reason(error.errno or 0)) from error
        return Structure(sets, chains)

    def walk(self, family: Family, table: str, name: str) -> Iterator[Mapping[bytes, Value]]:
        """The elements of a set, a datagram at a time; none if it is not there. Raises NftError.

        It has a socket of its own. The kernel counts to where it was: what changes meanwhile may be missed, or come
        twice.
        """
        request = encode_reference(family, table, set_name=name)
        try:
            for messages in self._walker.walk(SUBSYSTEM << 8 | GETSETELEM, request):
                yield {key: value for message in messages for key, value in decode_elements(message.payload)}
        except FileNotFoundError:
            return
        except OSError as error:
            raise NftError(_name(family, table), "listing", error.errno or 0, _reason(error.errno or 0)) from error

    def find_elements(self, family: Family, table: str, entries: Iterable[tuple[str, bytes]]) -> Elements:
        """Those of the elements that are there. Raises NftError."""
        elements: dict[str, dict[bytes, Value]] = {}
        for name, key in entries:
            spec = find_spec(name)
            encode = encode_interval if spec is not None and spec.is_interval else encode_element
            request = encode_reference(family, table, set_name=name, elements=encode(key, None))
            try:
                replies = self._link.request(SUBSYSTEM << 8 | GETSETELEM, request)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise NftError(_name(family, table), "listing", error.errno or 0, _reason(error.errno or 0)) from error
            for reply in replies:
                for found, value in decode_elements(reply.payload):
                    if found == key:
                        elements.setdefault(name, {})[key] = value
        return elements

    def _read_sets(self, family: Family, table: str) -> dict[str, SetSpec]:
        sets: dict[str, SetSpec] = {}
        for message in self._link.dump(SUBSYSTEM << 8 | GETSET, encode_reference(family, table)):
            found = decode_set(message.payload)
            if found.is_anonymous:
                continue
            spec = find_spec(found.name)
            sets[found.name] = spec if spec is not None and is_same_set(found, spec, family) else SetSpec(())
        return sets

    def _read_elements(self, family: Family, table: str, name: str) -> dict[bytes, Value]:
        elements: dict[bytes, Value] = {}
        request = encode_reference(family, table, set_name=name)
        for message in self._link.dump(SUBSYSTEM << 8 | GETSETELEM, request):
            elements.update(decode_elements(message.payload))
        return elements

    def read_entries(self, family: Family, table: str, name: str) -> list[Entry]:
        """What rules have put into the set. Raises NftError."""
        request = encode_reference(family, table, set_name=name)
        try:
            messages = list(self._link.dump(SUBSYSTEM << 8 | GETSETELEM, request))
        except OSError as error:
            subject = f"what {name} remembers"
            raise NftError(_name(family, table), subject, error.errno or 0, _reason(error.errno or 0)) from error
        return [entry for message in messages for entry in decode_entries(message.payload)]

    def read_counts(self, family: Family, table: str, name: str) -> list[tuple[bytes, str, int]]:
        """(packed key, comment, packets) of what a set has counted; none if it is not there. Raises NftError."""
        request = encode_reference(family, table, set_name=name)
        try:
            messages = self._link.dump(SUBSYSTEM << 8 | GETSETELEM, request)
        except FileNotFoundError:
            return []
        except OSError as error:
            subject = f"counts of {name}"
            raise NftError(_name(family, table), subject, error.errno or 0, _reason(error.errno or 0)) from error
        return [count for message in messages for count in decode_counts(message.payload)]

    def read_state(self, family: Family, table: str) -> Comment | None:
        """The comment of the only element of the set `state`; None when table, set or element are not there."""
        value = self.find_elements(family, table, ((STATE, STATE_KEY),)).get(STATE, {}).get(STATE_KEY)
        return value if isinstance(value, Comment) else None

    def count_foreign(self) -> int:
        """The kernel counts the batches that it took, of all tables; ours are left out. Raises NftError."""
        try:
            (reply,) = self._link.request(SUBSYSTEM << 8 | GETGEN, generic_header(None))
        except OSError as error:
            raise NftError("all", "generation", error.errno or 0, _reason(error.errno or 0)) from error
        return decode_generation(reply.payload) - self._own_commits & 0xFFFFFFFF

    def find_altered(self, want: Ruleset) -> frozenset[str]:
        """The chains whose rules are not the wanted ones. Raises NftError."""
        family, table = want.family, want.table
        found: dict[str, list[bytes]] = {}
        try:
            for message in self._link.dump(SUBSYSTEM << 8 | GETRULE, encode_reference(family, table)):
                owner, chain, expressions = decode_rule(message.payload)
                if owner == table:
                    found.setdefault(chain, []).append(expressions)
        except OSError as error:
            raise NftError(_name(family, table), "listing", error.errno or 0, _reason(error.errno or 0)) from error
        wanted = encode_rules(want.structure, family=family, table=table)
        return frozenset(name for name, rules in wanted.items() if not are_same_rules(found.get(name, []), rules))

    def has_table(self, family: Family, table: str) -> bool:
        """Whether anybody made such a table. Raises NftError."""
        try:
            self._link.request(SUBSYSTEM << 8 | GETTABLE, encode_reference(family, table))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise NftError(_name(family, table), "listing", error.errno or 0, _reason(error.errno or 0)) from error
        return True

    def list_chains(self, family: Family) -> list[tuple[str, str]]:
        """(table, name) of every chain of the family, whosever it is. Raises OSError."""
        messages = self._link.dump(SUBSYSTEM << 8 | GETCHAIN, encode_reference(family, "")[:4])
        return [decode_chain(message.payload)[:2] for message in messages]

    def delete(self, family: Family, table: str) -> None:
        """Remove the table; it may be absent. Raises NftError."""
        try:
            self.apply(family, table, Transaction(switch=(DeleteTable(),)))
        except NftError as error:
            if error.errno != errno.ENOENT:
                raise


def _name(family: Family, table: str) -> str:
    return f"{'ip' if family is Family.IPV4 else 'ip6'} {table}"


def _reason(code: int) -> str:
    text = os.strerror(code)
    return f"{text}; {_MENDS[code]}" if code in _MENDS else text
