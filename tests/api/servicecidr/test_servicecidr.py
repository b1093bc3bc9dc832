"""Rule: spec "service-api" §5.5."""

from __future__ import annotations

import copy
from typing import Any

from seaway.api.registry import SERVICE_CIDRS
from tests.api.kindtable import Case, cases
from tests.api.manifests import CONTEXT, create_texts, make_stored, update_texts

Json = dict[str, Any]


def cidrs(*texts: str) -> Json:
    return {"spec": {"cidrs": list(texts)}}


FAMILIES = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
CREATE: list[Case] = [
    ("at least one", cidrs(), ["spec.cidrs: Required value: at least one CIDR required"]),
    ("at most two", cidrs("10.0.0.0/8", "x", "y"),
     ['spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/8","x","y"]}: may only hold up to 2 values']),
    ("of two families", cidrs("10.0.0.0/8", "11.0.0.0/8"),
     [f'spec.cidrs: Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: {FAMILIES}']),
    ("a range", cidrs("10.0.0.0/33"),
     ['spec.cidrs[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value, '
      "(e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
    ("of two families of IPv6", cidrs("fd00::/112", "fd01::/112"),
     [f'spec.cidrs: Invalid value: ["fd00::/112","fd01::/112"]: {FAMILIES}']),
    ("without bits of a host", cidrs("10.0.0.1/8"),
     ['spec.cidrs[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length']),
    ("without leading zeros", cidrs("010.0.0.0/8"),
     ['spec.cidrs[0]: Invalid value: "010.0.0.0/8": must not have leading 0s in IP or prefix length']),
    ("IPv4 as IPv4", cidrs("::ffff:10.0.0.0/104"),
     ['spec.cidrs[0]: Invalid value: "::ffff:10.0.0.0/104": must not have an IPv4-mapped IPv6 address']),
    ("one family", cidrs("10.0.0.0/24"), []),
    ("the other family", cidrs("fd00::/64"), []),
    ("of any length", cidrs("10.0.0.0/32", "fd00::/16"), []),
    ("in its one spelling", cidrs("10.0.0.0/8", "FD00::/64"),
     ['spec.cidrs[1]: Invalid value: "FD00::/64": must be in canonical form ("fd00::/64")']),
    ("two families", cidrs("fd00::/112", "10.0.0.0/8"), []),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(SERVICE_CIDRS, **changes) == texts


UPDATE: list[Case] = [
    ("the same", cidrs("10.100.0.0/16"), []),
    ("another", cidrs("10.101.0.0/16"), ['spec.cidrs[0]: Invalid value: "10.101.0.0/16": field is immutable']),
    ("a second family", cidrs("10.100.0.0/16", "fd00::/112"), []),
    ("a second one of the family", cidrs("10.100.0.0/16", "10.101.0.0/16"),
     [f'spec.cidrs: Invalid value: ["10.100.0.0/16","10.101.0.0/16"]: {FAMILIES}']),
    ("a second before the first", cidrs("fd00::/112", "10.100.0.0/16"),
     ['spec.cidrs[0]: Invalid value: "fd00::/112": field is immutable']),
    ("a second that is none", cidrs("10.100.0.0/16", "x"),
     ['spec.cidrs[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ("three", cidrs("10.100.0.0/16", "fd00::/112", "fd01::/112"),
     ['spec.cidrs: Invalid value: ["10.100.0.0/16","fd00::/112","fd01::/112"]: field is immutable']),
    ("none", cidrs(), ["spec.cidrs: Invalid value: []: field is immutable"]),
]  # fmt: skip


DUAL = cidrs("10.100.0.0/16", "fd00::/112")
UPDATE_DUAL: list[Case] = [
    ("the same two", DUAL, []),
    ("the first alone", cidrs("10.100.0.0/16"),
     ['spec.cidrs: Invalid value: ["10.100.0.0/16"]: field is immutable']),
    ("the second alone", cidrs("fd00::/112"), ['spec.cidrs: Invalid value: ["fd00::/112"]: field is immutable']),
    ("the other order", cidrs("fd00::/112", "10.100.0.0/16"),
     ['spec.cidrs[0]: Invalid value: "fd00::/112": field is immutable',
      'spec.cidrs[1]: Invalid value: "10.100.0.0/16": field is immutable']),
    ("another second", cidrs("10.100.0.0/16", "fd01::/112"),
     ['spec.cidrs[1]: Invalid value: "fd01::/112": field is immutable']),
]  # fmt: skip


@cases(UPDATE_DUAL)
def test_update_of_two(changes: Json, texts: list[str]) -> None:
    assert update_texts(SERVICE_CIDRS, changes, old=make_stored(SERVICE_CIDRS, **DUAL)) == texts


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(SERVICE_CIDRS, changes) == texts


def test_a_status_write_does_not_even_change_metadata() -> None:
    old = make_stored(SERVICE_CIDRS, metadata={"labels": {"a": "b"}})
    sent = copy.deepcopy(old)
    sent["metadata"]["labels"] = {"a": "c"}
    sent["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    written = SERVICE_CIDRS.strategy.prepare_status_update(sent, old, CONTEXT)
    assert (written["metadata"], written["status"]) == (old["metadata"], sent["status"])
