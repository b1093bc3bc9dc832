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
    ("none", cidrs(), ["spec.cidrs: Invalid value: []: field is immutable"]),
]  # fmt: skip


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
