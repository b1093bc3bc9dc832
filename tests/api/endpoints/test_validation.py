"""Endpoints. Rule: spec "service-api" §9.1."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.endpoints.strategy import DEPRECATION, STRATEGY
from tests.api.machinery.test_addresses import IP, LOOPBACK
from tests.api.machinery.test_names import LABEL, NAME_PART, SUBDOMAIN

Json = dict[str, Any]
GOOD = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}


def make(**changes: Any) -> Json:
    return STRATEGY.default({"metadata": {"name": "web"}, "subsets": [copy.deepcopy({**GOOD, **changes})]})


CASES: list[tuple[str, Json, list[str]]] = [
    ("good", {}, []),
    ("no limit of addresses", {"addresses": [{"ip": "10.0.0.1"}] * 1500}, []),
    ("an address of either kind", {"addresses": []},
     ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
    ("one that is not ready is enough", {"addresses": [], "notReadyAddresses": [{"ip": "10.0.0.1"}]}, []),
    ("garbage is said twice", {"addresses": [{"ip": "x"}]},
     [f'subsets[0].addresses[0].ip: Invalid value: "x": {IP}',
      'subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address']),
    ("not to be reached", {"notReadyAddresses": [{"ip": "127.0.0.1"}]},
     [f'subsets[0].notReadyAddresses[0].ip: Invalid value: "127.0.0.1": {LOOPBACK}']),
    ("a host name", {"addresses": [{"ip": "10.0.0.1", "hostname": "A"}]},
     [f'subsets[0].addresses[0].hostname: Invalid value: "A": {LABEL}']),
    ("a node", {"addresses": [{"ip": "10.0.0.1", "nodeName": "A"}]},
     [f'subsets[0].addresses[0].nodeName: Invalid value: "A": {SUBDOMAIN}']),
    ("several ports have names, that may repeat", {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}, []),
    ("several ports have names", {"ports": [{"name": "a", "port": 1}, {"port": 2}]},
     ["subsets[0].ports[1].name: Required value"]),
    ("a port number", {"ports": [{}]},
     ["subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
    ("a known protocol", {"ports": [{"port": 1, "protocol": "x"}]},
     ['subsets[0].ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"']),
    ("an application protocol", {"ports": [{"port": 1, "appProtocol": "a b"}]},
     [f'subsets[0].ports[0].appProtocol: Invalid value: "a b": name part {NAME_PART}']),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_create(changes: Json, texts: list[str]) -> None:
    assert [str(error) for error in STRATEGY.validate_create(make(**changes))] == texts


def test_subsets_that_stay_are_not_judged_again() -> None:
    bad = make(addresses=[{"ip": "127.0.0.1"}])
    assert STRATEGY.validate_update(copy.deepcopy(bad), bad) == []
    assert STRATEGY.validate_update(make(addresses=[{"ip": "127.0.0.2"}]), bad) != []


def test_warnings() -> None:
    text = 'subsets[0].addresses[0].ip: IPv6 address "FD::1" should be in RFC 5952 canonical format ("fd::1")'
    odd = make(addresses=[{"ip": "FD::1"}])
    assert STRATEGY.warnings(odd, None) == [DEPRECATION, text]
    odd["metadata"]["labels"] = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert STRATEGY.warnings(odd, None) == [DEPRECATION]
