"""Which Services a change concerns, who owns a contested address, which flows are stale."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.changes import Changes
from seaway.proxy.claims import Claims
from seaway.proxy.config import NodePortAddresses, NodeView, ProxyConfig, choose_node_port_addresses
from seaway.proxy.forwarding import ServiceForwarding, forward_service
from seaway.testing.builders import make_service, make_slice


def service(name: str = "web", **kwargs: Any) -> Service:
    return msgspec.convert(make_service(name, **kwargs), Service)


def piece(name: str = "web-1", owner: str = "web", labels: Any = None, **kwargs: Any) -> EndpointSlice:
    wire = make_slice(name, owner, ["10.0.0.1"], **kwargs)
    wire["metadata"]["labels"] |= labels or {}
    return msgspec.convert(wire, EndpointSlice)


def test_a_metadata_only_update_is_no_change() -> None:
    changes = Changes()
    changes.set_service("default/web", service())
    changes.set_slice("default/web-1", piece())
    assert changes.take() == ("default/web",)
    changes.set_service("default/web", service(meta={"annotations": {"a": "b"}, "resourceVersion": "9"}))
    changes.set_slice("default/web-1", piece(labels={"a": "b"}))
    assert changes.take() == ()


def test_an_event_told_twice_is_one_change() -> None:
    changes = Changes()
    for _ in range(2):
        changes.set_service("default/web", service())
        changes.set_slice("default/web-1", piece())
    assert changes.take() == ("default/web",)
    assert changes.take() == ()


def test_a_relabelled_slice_concerns_both_services() -> None:
    changes = Changes()
    changes.set_slice("default/web-1", piece())
    changes.take()
    changes.set_slice("default/web-1", piece(owner="other"))
    assert changes.take() == ("default/other", "default/web")
    assert changes.slices_of("default/web") == ()
    assert len(changes.slices_of("default/other")) == 1


def test_a_slice_that_becomes_headless_disappears() -> None:
    changes = Changes()
    changes.set_slice("default/web-1", piece())
    changes.take()
    changes.set_slice("default/web-1", piece(labels={"service.kubernetes.io/headless": ""}))
    assert changes.take() == ("default/web",)
    assert changes.slices_of("default/web") == ()
    changes.set_slice("default/web-1", None)
    assert changes.take() == ()


def test_unknown_things_may_go_twice() -> None:
    changes = Changes()
    changes.set_slice("default/web-1", None)
    assert changes.take() == ()


def forwarded(name: str, age: str, **spec: Any) -> ServiceForwarding:
    wire = make_service(name, meta={"creationTimestamp": age}, **spec)
    found = forward_service(msgspec.convert(wire, Service), (), family=Family.IPV4, node=NodeView("n"))
    assert found is not None
    return found


def test_the_older_service_owns_a_contested_address_and_its_end_gives_it_back() -> None:
    claims = Claims()
    young = forwarded("a", "2024-01-02T00:00:00Z", clusterIP="10.96.0.1", externalIPs=["203.0.113.1"])
    old = forwarded("b", "2024-01-01T00:00:00Z", clusterIP="10.96.0.2", externalIPs=["203.0.113.1"])
    assert claims.update("default/a", young) == set()
    assert claims.settle(young) == young
    assert claims.update("default/b", old) == {"default/a"}
    assert [f.frontend.address for f in claims.settle(young).forwardings] == ["10.96.0.1"]
    assert claims.settle(old) == old
    assert claims.update("default/b", old) == set()
    assert claims.update("default/b", None) == {"default/a"}
    assert claims.settle(young) == young


claims_of = st.dictionaries(
    st.sampled_from("abc"),
    st.none() | st.tuples(st.sets(st.integers(81, 90), max_size=4), st.integers(80, 90)),
    min_size=1,
)


@given(st.lists(claims_of, max_size=6))
@settings(max_examples=60, deadline=None)
def test_ports_that_are_served_by_themselves_are_cut_out_of_the_range(
    steps: list[dict[str, tuple[set[int], int] | None]],
) -> None:
    """All share an address; `a` has a range there too. The oracle looks at every port."""
    claims, current = Claims(), dict[str, tuple[ServiceForwarding, set[int]]]()
    for step in steps:
        for name, wanted in step.items():
            current.pop(name, None)
            found = None
            if wanted is not None:
                singles, last = wanted
                ports = [
                    {"name": f"p{port}", "port": port} for port in sorted({80, *singles} if name == "a" else singles)
                ]
                meta = {"annotations": {"seaway.dev/port-range": f"p80=80-{last}"}} if name == "a" else {}
                vip = f"10.96.0.{ord(name)}"
                wire = make_service(name, meta=meta, clusterIP=vip, externalIPs=["203.0.113.1"], ports=ports)
                found = forward_service(msgspec.convert(wire, Service), (), family=Family.IPV4, node=NodeView("n"))
                assert found is not None
                current[name] = found, {p["port"] for p in ports}
            claims.update(f"default/{name}", found)
        if "a" not in current:
            continue
        owner, own = current["a"]
        taken = {"203.0.113.1": set().union(*(ports for _, ports in current.values())), owner.cluster_ip: own}
        for f in claims.settle(owner).forwardings:
            if f.frontend.last_port:
                inside = {p for p in taken[f.frontend.address] if 80 < p <= f.frontend.last_port}
                assert f.except_ports == tuple(sorted(inside))


def test_a_cluster_ip_beats_an_older_external_ip() -> None:
    claims = Claims()
    external = forwarded("a", "2024-01-01T00:00:00Z", clusterIP="10.96.0.1", externalIPs=["10.96.0.2"])
    internal = forwarded("b", "2024-01-02T00:00:00Z", clusterIP="10.96.0.2")
    claims.update("default/a", external)
    claims.update("default/b", internal)
    assert claims.settle(internal) == internal
    assert [f.frontend.address for f in claims.settle(external).forwardings] == ["10.96.0.1"]


def test_node_port_addresses() -> None:
    node = NodeView("n", "", ("192.0.2.1", "2001:db8::1"))
    here = ("127.0.0.1", "192.0.2.1", "198.51.100.7", "2001:db8::1")

    def choose(cidrs: tuple[str, ...] | None, family: Family = Family.IPV4) -> NodePortAddresses:
        config = ProxyConfig(node_name="n", node_port_addresses=cidrs)
        return choose_node_port_addresses(config, node, family, here)

    assert choose(None) == NodePortAddresses(addresses=("192.0.2.1",))
    assert choose(None, Family.IPV6) == NodePortAddresses(addresses=("2001:db8::1",))
    assert choose(("198.51.100.0/24", "127.0.0.0/8")) == NodePortAddresses(addresses=("198.51.100.7",))
    assert choose(("198.51.100.0/24",), Family.IPV6) == NodePortAddresses(is_all=True)
    assert choose(("0.0.0.0/0",)) == NodePortAddresses(is_all=True)
    assert choose(("203.0.113.0/24",)) == NodePortAddresses()
