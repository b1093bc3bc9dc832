"""The userspace plane in step with Services: which sockets are there after which changes, and what is said."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, ServiceForwarding, Target, TrafficClass
from seaway.proxy.userspace.gate import ServedPort
from seaway.proxy.userspace.plan import Listening, Place, Wanted, plan_listeners
from seaway.proxy.userspace.plane import NoPlace, UserspacePlane

MAP, NODE = LoopbackMap(), NodeView("node-1")


@dataclass(eq=False)
class FakeListener:
    sockets: FakeSockets
    place: Place
    forwarding: Forwarding

    def close(self) -> None:
        self.sockets.open_at.pop(self.place)


@dataclass
class FakeSockets:
    """A host on which some places are taken by others."""

    taken: set[Place] = field(default_factory=set)
    open_at: dict[Place, FakeListener] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    opened: int = 0

    def open(self, listening: Listening, wanted: Wanted, port: ServedPort) -> tuple[FakeListener, Place]:
        place = wanted.places[0]
        if place in self.taken or place in self.open_at:
            raise NoPlace(f"{listening.at} is taken by another program")
        self.opened += 1
        self.open_at[place] = FakeListener(self, place, wanted.forwarding)
        return self.open_at[place], place

    def end(self, port: ServedPort) -> None:
        self.ended.append(port.service)

    def now(self) -> float:
        return 0.0


def make_plane(sockets: FakeSockets, node_addresses: tuple[str, ...] = ()) -> UserspacePlane:
    return UserspacePlane(
        sockets,
        lambda service, node: plan_listeners(service, loopback=MAP, node_addresses=(*node_addresses, *node.addresses)),
        pick=lambda bound: 0,
    )


def make_service(number: int, *endpoints: int, ports: tuple[int, ...] = (80,)) -> ServiceForwarding:
    address, key = f"10.96.0.{number}", f"default/s{number}"
    forwardings = tuple(
        Forwarding(
            frontend=Frontend(TrafficClass.CLUSTER_IP, address, "TCP", port),
            port_name=f"p{port}",
            endpoints=tuple(Target(f"10.244.0.{e}", 8080) for e in endpoints),
            masquerade=Masquerade.OFF_CLUSTER,
        )
        for port in ports
    )
    return ServiceForwarding(
        service=key, family=Family.IPV4, age=("", key), cluster_ip=address, forwardings=forwardings
    )


services = st.builds(make_service, st.integers(1, 3), st.integers(1, 4), ports=st.sampled_from([(80,), (80, 443), ()]))
steps = st.lists(
    st.dictionaries(
        st.integers(1, 3), st.none() | st.tuples(st.lists(st.integers(1, 4)), st.sampled_from([(80,), (80, 443), ()]))
    ),
    max_size=6,
)


@given(steps)
def test_what_listens_after_any_changes_is_what_listens_after_a_start(
    changes: list[dict[int, tuple[list[int], tuple[int, ...]] | None]],
) -> None:
    sockets, current = FakeSockets(), dict[str, ServiceForwarding]()
    plane = make_plane(sockets)
    for change in changes:
        given = {
            f"default/s{number}": None if found is None else make_service(number, *found[0], ports=found[1])
            for number, found in change.items()
        }
        plane.sync(given, NODE)
        for key, service in given.items():
            current.pop(key, None)
            if service is not None:
                current[key] = service
    fresh = FakeSockets()
    make_plane(fresh).sync(current, NODE)
    assert {p: listener.forwarding for p, listener in sockets.open_at.items()} == {
        p: listener.forwarding for p, listener in fresh.open_at.items()
    }


def test_endpoints_that_change_open_and_close_nothing() -> None:
    sockets = FakeSockets()
    plane = make_plane(sockets)
    plane.sync({"default/s1": make_service(1, 1, 2)}, NODE)
    (listener,) = sockets.open_at.values()
    plane.sync({"default/s1": make_service(1, 3)}, NODE)
    assert sockets.opened == 1
    assert listener.forwarding.endpoints == (Target("10.244.0.3", 8080),)


def test_a_place_that_somebody_has_is_complained_of_and_taken_when_it_is_free() -> None:
    place = Place("127.96.0.1", 80)
    sockets = FakeSockets(taken={place})
    plane = make_plane(sockets)
    plane.sync({"default/s1": make_service(1, 1), "default/s2": make_service(2, 1)}, NODE)
    assert [c.reason for c in plane.complaints("default/s1")] == ["PortNotServed"]
    assert not plane.complaints("default/s2")
    assert plane.retry() == ()
    sockets.taken.clear()
    assert plane.retry() == ("default/s1",)
    assert not plane.has_refused
    assert place in sockets.open_at


def test_what_has_no_place_here_is_complained_of_until_it_has_gone() -> None:
    plane = make_plane(FakeSockets())
    service = make_service(1, 1)
    outside = replace(service.forwardings[0], frontend=Frontend(TrafficClass.EXTERNAL_IP, "198.51.100.7", "TCP", 80))
    plane.sync({"default/s1": replace(service, forwardings=(outside,))}, NODE)
    assert [c.reason for c in plane.complaints("default/s1")] == ["NotServedHere"]
    plane.sync({"default/s1": None}, NODE)
    assert not plane.complaints("default/s1")


def test_a_node_that_changes_its_address_moves_node_ports_and_nothing_else() -> None:
    sockets = FakeSockets()
    plane = make_plane(sockets)
    service = make_service(1, 1)
    node_port = replace(service.forwardings[0], frontend=Frontend(TrafficClass.NODE_PORT, "", "TCP", 30080))
    given = {"default/s1": replace(service, forwardings=(*service.forwardings, node_port))}
    plane.sync(given, replace(NODE, addresses=("192.0.2.1",)))
    assert plane.sync({}, replace(NODE, addresses=("192.0.2.2",))), "all was looked at"
    assert set(sockets.open_at) == {Place("127.96.0.1", 80), Place("192.0.2.2", 30080)}
    assert sockets.opened == 3


def test_the_address_of_the_host_changes_without_a_change_of_the_node() -> None:
    sockets, addresses = FakeSockets(), ["192.0.2.1"]
    plane = UserspacePlane(
        sockets, lambda s, node: plan_listeners(s, loopback=MAP, node_addresses=addresses), pick=lambda bound: 0
    )
    service = make_service(1, 1)
    node_port = replace(service.forwardings[0], frontend=Frontend(TrafficClass.NODE_PORT, "", "TCP", 30080))
    plane.sync({"default/s1": replace(service, forwardings=(node_port,))}, NODE)
    addresses[:] = ["192.0.2.2"]
    plane.look_again()
    plane.sync({}, NODE)
    assert set(sockets.open_at) == {Place("192.0.2.2", 30080)}


def test_a_port_that_has_gone_is_told_to_end_its_connections() -> None:
    sockets = FakeSockets()
    plane = make_plane(sockets)
    plane.sync({"default/s1": make_service(1, 1, ports=(80, 443))}, NODE)
    plane.sync({"default/s1": make_service(1, 1, ports=(80,))}, NODE)
    assert sockets.ended == ["default/s1"]
    plane.sync({"default/s1": None}, NODE)
    assert sockets.ended == ["default/s1"] * 2
    assert not sockets.open_at
    assert not plane.ports()
