"""Random forwarding states on the real kernel: what is applied is read back as wanted, and any change of it too.

The laws of tests/proxy/nftables/test_laws.py, with the kernel in place of its model, and the nft program as the judge
of whether what is listed loads again. Everything that a proxy decides is drawn: types, policies, affinity, balancing,
ranges of ports and of sources, weights, families.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodePortAddresses, NodeView, PodLinks
from seaway.proxy.forwarding import ServiceForwarding, forward_service
from seaway.proxy.nftables.diff import diff
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.objects import Ruleset
from seaway.proxy.nftables.render import render
from seaway.proxy.nftables.structure import RenderConfig
from seaway.testing.builders import make_service, make_slice
from seaway.testing.netns import Namespace

pytestmark = pytest.mark.kernel
TABLE = "seaway"
NODE = NodeView("node-1", "a", ("192.0.2.1", "2001:db8::1"))
views = st.builds(replace, st.just(NODE), zone=st.sampled_from(("", "a")), name=st.sampled_from(("node-1", "node-2")))
NETWORKS = {Family.IPV4: ("10.0.0.0/8", "192.0.2.1"), Family.IPV6: ("fd10::/32", "2001:db8::1")}
BALANCE = "seaway.dev/balance"


def configs(family: Family) -> st.SearchStrategy[RenderConfig]:
    pods, node = NETWORKS[family]
    return st.sampled_from(
        (
            RenderConfig(family),
            RenderConfig(family, cluster_cidrs=(pods,), node_ports=NodePortAddresses(addresses=(node,))),
            RenderConfig(family, masquerade_all=True, node_ports=NodePortAddresses(is_all=True)),
            RenderConfig(family, cluster_cidrs=(pods,), masquerade_outgoing=True, guarded_links=("eth0", "br-0")),
            RenderConfig(family, pod_links=PodLinks("veth", is_prefix=True), mark=1 << 3),
        )
    )


policies = st.sampled_from(("Cluster", "Local"))


@st.composite
def services(draw: st.DrawFn, number: int) -> tuple[Service, list[EndpointSlice]]:
    """Service `number` of both families, with a slice for each."""
    kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")))
    protocols = draw(st.lists(st.sampled_from(("TCP", "UDP", "SCTP")), unique=True, min_size=1, max_size=3))
    ports = [{"name": p.lower(), "port": 80, "protocol": p} for p in protocols]
    if kind != "ClusterIP":
        ports = [{**port, "nodePort": 30000 + number} for port in ports]
    annotations = draw(
        st.fixed_dictionaries({}, optional={BALANCE: st.sampled_from(("random", "round-robin", "hash"))})
    )
    if draw(st.booleans()):
        annotations["seaway.dev/port-range"] = f"80-{draw(st.integers(81, 120))}"
    spec: dict[str, Any] = {
        "type": kind,
        "clusterIP": f"172.30.0.{number}",
        "clusterIPs": [f"172.30.0.{number}", f"fd17:30::{number}"],
        "ipFamilies": ["IPv4", "IPv6"],
        "ports": ports,
        "internalTrafficPolicy": draw(policies),
        "externalTrafficPolicy": draw(policies),
    }
    if draw(st.booleans()):
        spec["externalIPs"] = [f"198.51.100.{number}", f"2001:db8:51::{number}"]
    if draw(st.booleans()):
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": draw(st.integers(1, 86400))}}
    status = {}
    if kind == "LoadBalancer":
        spec["loadBalancerSourceRanges"] = draw(
            st.sampled_from(([], ["192.0.2.0/24"], ["192.0.2.0/25", "10.0.0.0/8", "2001:db8::/64"], ["0.0.0.0/0"]))
        )
        status = {"loadBalancer": {"ingress": [{"ip": f"203.0.113.{number}"}, {"ip": f"2001:db8:113::{number}"}]}}
    wire = make_service(f"s{number}", meta={"annotations": annotations}, **spec) | {"status": status}
    slices = [draw(slices_of(f"s{number}", protocols, family)) for family in Family]
    return msgspec.convert(wire, Service), [msgspec.convert(piece, EndpointSlice) for piece in slices]


zones = st.lists(st.sampled_from(("a", "b")).map(lambda name: {"name": name}), unique_by=str, max_size=2)
nodes = st.lists(st.sampled_from(("node-1", "node-2")).map(lambda name: {"name": name}), unique_by=str, max_size=2)
hints = st.none() | st.fixed_dictionaries({}, optional={"forZones": zones, "forNodes": nodes})


@st.composite
def slices_of(draw: st.DrawFn, service: str, protocols: list[str], family: Family) -> dict[str, Any]:
    ports = [{"name": p.lower(), "port": draw(st.sampled_from((80, 8080))), "protocol": p} for p in protocols]
    piece = make_slice(f"{service}-{family.value.lower()}", service, [], ports=ports, address_type=family.value)
    address = "10.0.0.{}" if family is Family.IPV4 else "fd10::{}"
    chosen = draw(st.lists(st.integers(1, 9), unique=True, max_size=5))
    conditions = st.sampled_from(
        ({"ready": True}, {"ready": False, "serving": True, "terminating": True}, {"ready": False, "serving": False})
    )
    piece["endpoints"] = [
        {
            "addresses": [address.format(n)],
            "conditions": draw(conditions),
            "nodeName": draw(st.sampled_from(("node-1", "node-2", "n" * 63))),
            "hints": draw(hints),
        }
        for n in chosen
    ]
    if draw(st.booleans()):
        piece["metadata"]["annotations"] = {"seaway.dev/weight": str(draw(st.integers(0, 3)))}
    return piece


clusters = st.sets(st.integers(1, 4), max_size=4).flatmap(lambda chosen: st.tuples(*(services(n) for n in chosen)))
Cluster = tuple[tuple[Service, list[EndpointSlice]], ...]


def forward(cluster: Cluster, family: Family, node: NodeView) -> tuple[ServiceForwarding, ...]:
    found = (forward_service(service, slices, family=family, node=node) for service, slices in cluster)
    return tuple(f for f in found if f is not None)


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Namespace, NftKernel]]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a network namespace; run as root or inside `unshare -Urnm`")
    with Namespace() as namespace:
        with namespace.entered():
            kernel = NftKernel()
        yield namespace, kernel
        kernel.close()


def check(kernel: NftKernel, want: Ruleset) -> None:
    """Every element, set, chain, hook and rule is in the kernel, and nothing else."""
    have = kernel.read(want.family, TABLE)
    assert have.elements == want.elements
    for name, spec in want.structure.sets.items():
        if spec.timeout_seconds is None:
            assert have.structure.sets[name] == spec, name
    assert have.structure.sets.keys() == want.structure.sets.keys()
    assert {n: c.hook for n, c in have.structure.chains.items()} == {
        n: c.hook for n, c in want.structure.chains.items()
    }
    assert not kernel.find_altered(want)
    for name, pairs in want.elements.items():
        walked = dict(pair for piece in kernel.walk(want.family, TABLE, name) for pair in piece.items())
        assert walked == pairs, "piece by piece the same is found"
    entries = [(name, key) for name, pairs in want.elements.items() for key in pairs]
    assert kernel.find_elements(want.family, TABLE, entries) == want.elements, "and one by one"
    absent = [(name, bytes(len(key))) for name, key in entries]
    assert not kernel.find_elements(want.family, TABLE, absent)


@given(st.data(), st.sampled_from(Family))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_the_kernel_holds_what_was_wanted_and_what_it_was_changed_to(
    place: tuple[Namespace, NftKernel], data: st.DataObject, family: Family
) -> None:
    namespace, kernel = place
    kernel.delete(family, TABLE)
    first, second = (
        render(
            forward(data.draw(clusters), family, data.draw(views)),
            replace(data.draw(configs(family)), counts_connections=data.draw(st.booleans())),
        )
        for _ in range(2)
    )
    kernel.apply(family, TABLE, diff(Ruleset.empty(family, TABLE), first))
    check(kernel, first)
    assert diff(first, first).is_empty
    kernel.apply(family, TABLE, diff(first, second))
    check(kernel, second)
    assert diff(second, second).is_empty
    listed = namespace.run("nft", "list", "ruleset")
    namespace.run("nft", "-c", "-f", "-", stdin=listed)
