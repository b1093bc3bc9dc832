"""Where a client of this host finds Services that are served on loopback. Rule: issue "the userspace data plane", 1."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.service.served import SERVED_AT
from seaway.api.service.types import Service
from seaway.app.reach import list_reached
from seaway.net.loopback import LoopbackMap
from seaway.testing.builders import make_service

NODE = "10.95.0.1"


def make(name: str, served_at: str = "", **spec: Any) -> Service:
    raw = make_service(name, "demo", **{"clusterIP": "10.96.0.10", "ports": [{"port": 80, "protocol": "TCP"}], **spec})
    raw["metadata"]["annotations"] = {SERVED_AT: served_at} if served_at else {}
    return msgspec.convert(raw, Service)


CASES = [
    pytest.param(make("web"), {"10.96.0.10:80/TCP": "127.96.0.10:80"}, id="a cluster IP is on loopback"),
    pytest.param(
        make("web", "10.96.0.10:80/TCP=127.96.0.10:31514"),
        {"10.96.0.10:80/TCP": "127.96.0.10:31514"},
        id="at another port when the annotation says so",
    ),
    pytest.param(
        make("web", type="NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "UDP"}]),
        {"10.96.0.10:80/UDP": "127.96.0.10:80", "10.95.0.1:30080/UDP": "127.0.0.1:30080"},
        id="a node port is at localhost",
    ),
    pytest.param(
        make("web", externalIPs=["192.0.2.7", "10.1.2.3"]),
        {"10.96.0.10:80/TCP": "127.96.0.10:80", "192.0.2.7:80/TCP": "", "10.1.2.3:80/TCP": "127.1.2.3:80"},
        id="an address outside of the map is not on this host",
    ),
    pytest.param(make("web", clusterIP="None"), {}, id="a headless Service has no frontend"),
    pytest.param(make("web", type="ExternalName", clusterIP="", externalName="a.example"), {}, id="nor an alias"),
]


@pytest.mark.parametrize(("service", "places"), CASES)
def test_each_frontend_has_its_place(service: Service, places: dict[str, str]) -> None:
    found = list_reached([service], LoopbackMap(), node_ip=NODE)
    assert {each.frontend: each.at for each in found} == places
    assert {each.service for each in found} <= {"demo/web"}


def test_services_come_in_the_order_of_their_names() -> None:
    found = list_reached([make("b"), make("a")], LoopbackMap(), node_ip=NODE)
    assert [each.service for each in found] == ["demo/a", "demo/b"]
