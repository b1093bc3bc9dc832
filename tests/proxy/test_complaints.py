"""Rule: issue of the proxy, "bad input": nonsense is refused with a reason, and the rest is served."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.complaints import MAX_COMPLAINTS, Complaint, find_complaints
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import MAX_ENDPOINTS, Target, group_endpoints
from seaway.proxy.proxier import Proxier
from seaway.testing.builders import make_service, make_slice

VIP = "10.96.0.10"


def service(name: str = "web", meta: Any = None, **spec: Any) -> Service:
    return msgspec.convert(make_service(name, meta=meta, **{"clusterIP": VIP, **spec}), Service)


def piece(addresses: list[str], *, annotations: Any = None, **changes: Any) -> EndpointSlice:
    made = make_slice("web-1", "web", addresses)
    made["metadata"]["annotations"] = annotations or {}
    return msgspec.convert({**made, **changes}, EndpointSlice)


def annotated(**values: str) -> Service:
    return service(
        meta={"annotations": {f"seaway.dev/{key.replace('_', '-')}": value for key, value in values.items()}}
    )


TCP = {"name": "", "protocol": "TCP"}
COMPLAINTS: dict[str, tuple[Service, list[EndpointSlice], list[str]]] = {
    "what is all right is served without a word": (service(), [piece(["10.244.0.2"])], []),
    "the same address twice is one endpoint": (service(), [piece(["10.244.0.2", "10.244.0.2"])], []),
    "a balance that nobody knows": (
        annotated(balance="least"), [],
        ["seaway.dev/balance: 'least' found, one of random, round-robin, hash, least-connections allowed;"
         " random is used"],
    ),
    "what only the userspace plane has": (
        annotated(balance="least-connections", ejection="failures=3", proxy_protocol="v3"), [],
        ["seaway.dev/proxy-protocol: 'v3' found, v1 or v2 allowed; no header is sent",
         "seaway.dev/balance: least-connections has no effect here: set seaway.dev/plane: userspace",
         "seaway.dev/ejection has no effect here: set seaway.dev/plane: userspace",
         "seaway.dev/proxy-protocol has no effect here: set seaway.dev/plane: userspace"],
    ),
    "what only the userspace plane has, on it": (
        annotated(plane="userspace", balance="least-connections", ejection="failures=3"), [], [],
    ),
    "a plane that nobody knows": (
        annotated(plane="ebpf"), [],
        ["seaway.dev/plane: 'ebpf' found, userspace allowed; the proxy's own plane serves it"],
    ),
    "a time that is none": (
        annotated(reset_after="soon"), [], ["seaway.dev/reset-after: 'soon' found, a duration such as 30s allowed"],
    ),
    "a weight that is none": (
        service(), [piece(["10.244.0.2"], annotations={"seaway.dev/weight": "heavy"})],
        ["EndpointSlice web-1: seaway.dev/weight: 'heavy' found, a number from 0 to 1000 allowed"],
    ),
    "weights that are none": (
        service(), [piece(["10.244.0.2"], annotations={"seaway.dev/weights": "[]"})],
        ["EndpointSlice web-1: seaway.dev/weights: '[]' found,"
         " a JSON object of addresses and numbers from 0 to 1000 allowed"],
    ),
    "a port beyond 65535": (
        service(), [piece(["10.244.0.2"], ports=[{**TCP, "port": 70000}])],
        ["EndpointSlice web-1: port 70000 is beyond 65535"],
    ),
    "a port without a number": (
        service(), [piece(["10.244.0.2"], ports=[TCP])], ["EndpointSlice web-1: port '' has no number"],
    ),
    "an address of another family": (
        service(), [piece(["10.244.0.2", "fd00::1", "fd00::2"])],
        ["EndpointSlice web-1: 'fd00::1' is no address of IPv4"],
    ),
    "a type of addresses that is not served": (
        service(), [piece(["a.example"], addressType="FQDN")],
        ["EndpointSlice web-1 is not served: addressType 'FQDN'"],
    ),
    "a Service port that there is not": (
        service(ports=[{"port": 70000, "protocol": "TCP"}]), [], ["port 70000/'TCP' is not served: no such port"],
    ),
    "a Service of another proxy": (
        service(meta={"labels": {"service.kubernetes.io/service-proxy-name": "x"},
                      "annotations": {"seaway.dev/balance": "?"}}), [], [],
    ),
    "a headless Service": (service(clusterIP="None"), [piece(["10.244.0.2"], ports=[TCP])], []),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "slices", "texts"), COMPLAINTS.values(), ids=COMPLAINTS.keys())
def test_each_refusal_has_its_reason(subject: Service, slices: list[EndpointSlice], texts: list[str]) -> None:
    assert [c.text for c in find_complaints(subject, slices)] == texts


def test_a_proxy_that_serves_all_from_user_space_asks_for_no_annotation() -> None:
    subject = annotated(max_connection_age="30m")
    assert len(find_complaints(subject, [])) == 1
    assert find_complaints(subject, [], is_userspace=True) == ()
    proxier = Proxier({Family.IPV4: Plane()}, NodeView("node-1"), is_userspace=True)
    proxier.set_service("default/web", subject)
    proxier.sync()
    assert proxier.complaints("default/web") == ()


def test_refusals_of_one_service_are_limited_and_short() -> None:
    ports = [{"name": "x" * 300, "port": 70000 + n, "protocol": "TCP"} for n in range(100)]
    found = find_complaints(service(), [piece(["10.244.0.2"], ports=ports)])
    assert len(found) == MAX_COMPLAINTS
    assert all(len(c.text) < 200 for c in found)


def test_more_endpoints_than_can_be_served_are_cut_and_told() -> None:
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MAX_ENDPOINTS + 100)]
    slices = [piece(addresses)]
    (endpoints,) = group_endpoints(slices, Family.IPV4).values()
    assert len(endpoints) == MAX_ENDPOINTS
    (complaint,) = find_complaints(service(), slices)
    assert complaint.text == f"port ''/TCP: more than {MAX_ENDPOINTS} endpoints of IPv4; {MAX_ENDPOINTS} are served"


class Plane:
    """Takes everything."""

    def sync(self, changed: Any, node: NodeView) -> bool:
        return False

    def verify(self) -> None:
        pass


def test_who_loses_an_address_is_told_to_whom() -> None:
    proxier = Proxier({Family.IPV4: Plane()}, NodeView("node-1"))
    old = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    new = {"creationTimestamp": "2026-02-01T00:00:00Z"}
    proxier.set_service("default/late", service("late", meta=new, externalIPs=["203.0.113.1"], clusterIP="10.96.0.11"))
    proxier.sync()
    assert proxier.complaints("default/late") == ()
    proxier.set_service("default/web", service(meta=old, externalIPs=["203.0.113.1"]))
    assert "default/late" in proxier.sync().touched
    (complaint,) = proxier.complaints("default/late")
    assert complaint.text == "203.0.113.1 80/TCP is not served: Service default/web has it"
    assert proxier.complaints("default/web") == proxier.complaints("default/none") == ()


def test_nonsense_does_not_keep_the_rest_from_being_served() -> None:
    """Rule: spec "proxy" §14: what breaks stock kube-proxy's every sync costs one event here."""
    proxier = Proxier({Family.IPV4: Plane()}, NodeView("node-1"))
    proxier.set_service("default/web", service())
    proxier.set_slice("default/a", piece(["10.244.0.2", "::1", "", "999.1.1.1"], ports=[{**TCP, "port": 80}, TCP]))
    proxier.set_slice("default/b", piece(["10.244.0.3"], ports=[{**TCP, "port": 70000}]))
    proxier.set_slice("default/c", piece(["x"], addressType="Nonsense"))
    assert not proxier.sync().failures
    (served,) = proxier.forwardings(Family.IPV4)
    assert served.forwardings[0].endpoints == (Target("10.244.0.2", 80),)


def test_a_range_that_no_endpoint_fits_is_told() -> None:
    proxier = Proxier({Family.IPV4: Plane()}, NodeView("node-1"))
    meta = {"annotations": {"seaway.dev/port-range": "5000-5009"}}
    proxier.set_service("default/web", service(meta=meta, ports=[{"port": 5000, "protocol": "TCP"}]))
    assert [complaint.text for complaint in sync(proxier)] == [], "who has no endpoints is another matter"
    proxier.set_slice("default/web-1", piece(["10.244.0.2"]))
    assert [(c.reason, c.text) for c in sync(proxier)] == [
        ("UnfitEndpoints", "seaway.dev/port-range: 5000-5009: no endpoint listens on port 5000 itself")
    ]
    proxier.set_slice("default/web-1", piece(["10.244.0.2"], ports=[{**TCP, "port": 5000}]))
    assert sync(proxier) == ()


def sync(proxier: Proxier) -> tuple[Complaint, ...]:
    proxier.sync()
    return proxier.complaints("default/web")
