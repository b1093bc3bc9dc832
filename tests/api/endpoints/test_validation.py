"""Endpoints. Rule: spec "service-api" §9.1."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.endpoints.strategy import DEPRECATION, STRATEGY
from tests.api.machinery.test_addresses import IP, LINK_LOCAL, LOOPBACK
from tests.api.machinery.test_names import LABEL, NAME_PART, SUBDOMAIN

Json = dict[str, Any]
LINK_LOCAL_MULTICAST = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
GOOD = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}


def make(**changes: Any) -> Json:
    return STRATEGY.default({"metadata": {"name": "web"}, "subsets": [copy.deepcopy({**GOOD, **changes})]})


FORBIDDEN = (
    ("an unspecified address", "0.0.0.0", "may not be unspecified (0.0.0.0)"),
    ("an unspecified IPv6 address", "::", "may not be unspecified (::)"),
    ("loopback", "127.9.9.9", LOOPBACK),
    ("IPv6 loopback", "::1", LOOPBACK),
    ("link-local", "169.254.1.1", LINK_LOCAL),
    ("IPv6 link-local, as wide as the code has it", "febf::1", LINK_LOCAL),
    ("link-local multicast", "224.0.0.1", LINK_LOCAL_MULTICAST),
    ("IPv6 link-local multicast of any flags", "ff12::1", LINK_LOCAL_MULTICAST),
)
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
    *((f"{what} is no endpoint", {"addresses": [{"ip": address}]},
       [f'subsets[0].addresses[0].ip: Invalid value: "{address}": {text}']) for what, address, text in FORBIDDEN),
    *((f"{what} is taken", {"addresses": [{"ip": address}]}, []) for what, address in (
        ("multicast beyond the link", "239.0.0.1"), ("IPv6 multicast of a site", "ff05::1"),
        ("broadcast", "255.255.255.255"), ("a private address", "192.168.0.1"))),
    ("an odd spelling of IPv6 is taken", {"addresses": [{"ip": "FD::1"}]}, []),
    ("leading zeros are not", {"addresses": [{"ip": "10.0.0.01"}]},
     ['subsets[0].addresses[0].ip: Invalid value: "10.0.0.01": must not have leading 0s']),
    ("a single port needs no name, and one that it has is a label", {"ports": [{"name": "A", "port": 1}]},
     [f'subsets[0].ports[0].name: Invalid value: "A": {LABEL}']),
    ("no ports at all", {"ports": []}, []),
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


def test_a_port_without_a_protocol_is_tcp() -> None:
    ports = make(ports=[{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 81, "protocol": ""}])
    assert [port["protocol"] for port in ports["subsets"][0]["ports"]] == ["TCP", "UDP", "TCP"]


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


@pytest.mark.parametrize(
    ("ready", "not_ready", "warned"),
    [
        pytest.param(1000, 0, False, id="a thousand addresses are fine"),
        pytest.param(600, 401, True, id="of more, ready or not, the client is warned"),
    ],
)
def test_the_size(ready: int, not_ready: int, warned: bool) -> None:
    """§14 (35): the page says that more cannot be written; 1.36 takes them."""
    large = make(addresses=[{"ip": "10.0.0.1"}] * ready, notReadyAddresses=[{"ip": "10.0.0.2"}] * not_ready)
    text = "subsets: 1001 addresses; an Endpoints object should have no more than 1000, EndpointSlices hold any number"
    assert STRATEGY.validate_create(large) == []
    assert STRATEGY.warnings(large, None) == [DEPRECATION, *([text] if warned else [])]
    large["metadata"]["labels"] = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert STRATEGY.warnings(large, None) == [DEPRECATION]


def test_the_node_of_an_address_may_change() -> None:
    before, after = (make(addresses=[{"ip": "10.0.0.1", "nodeName": name}]) for name in ("a", "b"))
    assert STRATEGY.validate_update(after, before) == []


def test_subsets_are_stored_as_they_were_sent() -> None:
    sent = {"subsets": [{"addresses": [{"ip": "10.0.0.9"}, {"ip": "10.0.0.1"}, {"ip": "10.0.0.9"}],
                         "ports": [{"port": 2, "protocol": "UDP"}, {"port": 1, "protocol": "TCP"}]}]}  # fmt: skip
    assert STRATEGY.default(copy.deepcopy(sent)) == sent
