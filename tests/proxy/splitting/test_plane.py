"""Two planes on one address. Rule: issue of the userspace plane, part 3; proxy/splitting/plane.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Frontend, ServiceForwarding, Target
from seaway.proxy.proxier import PlaneError
from seaway.proxy.splitting.plane import SplitPlane
from tests.proxy.splitting.test_plan import LISTENER, LOCAL, NODE, REMOTE, forward


class Recorded:
    """A plane that holds what it is given, and writes down in which order."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.services: dict[str, ServiceForwarding] = {}
        self.fails = False
        self.verified = 0

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        for key, service in changed.items():
            self.log.append(f"{self.name} {'-' if service is None else '+'}{key}")
            if service is None:
                self.services.pop(key, None)
            else:
                self.services[key] = service
        if self.fails:
            raise PlaneError(f"{self.name} fails")
        return False

    def verify(self) -> None:
        self.verified += 1


class Scene:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.kernel, self.userspace = Recorded("kernel", self.log), Recorded("userspace", self.log)
        self.listener: Target | None = LISTENER
        self.holding: set[str] = set()
        self.plane = SplitPlane(
            self.kernel,
            self.userspace,
            find_listener=self.find_listener,
            is_holding=lambda key: key in self.holding,
        )

    def find_listener(self, key: str, frontend: Frontend) -> Target | None:
        return self.listener if key in self.userspace.services else None

    def sync(self, **changed: ServiceForwarding | None) -> list[str]:
        self.log.clear()
        self.plane.sync(changed, NODE)
        return list(self.log)

    def targets(self, key: str) -> tuple[Target, ...]:
        """To whom the kernel forwards the cluster IP."""
        return self.kernel.services[key].forwardings[0].endpoints


@pytest.fixture
def scene() -> Scene:
    return Scene()


POD = (Target("10.244.0.2", 8080),)
PLAIN, ASKING = forward(LOCAL, plane=""), forward(LOCAL)


def test_a_service_that_does_not_ask_is_the_kernels(scene: Scene) -> None:
    assert scene.sync(web=PLAIN) == ["kernel +web"]
    assert scene.targets("web") == POD


def test_a_listener_is_there_before_a_rule_leads_to_it(scene: Scene) -> None:
    assert scene.sync(web=ASKING) == ["userspace +web", "kernel +web"]
    assert scene.targets("web") == (LISTENER,)


def test_a_listener_is_closed_when_no_rule_leads_to_it_any_more(scene: Scene) -> None:
    scene.sync(web=ASKING)
    assert scene.sync(web=PLAIN) == ["kernel +web", "userspace -web"]
    assert scene.targets("web") == POD
    assert scene.sync(web=PLAIN) == ["kernel +web"]


def test_a_service_that_is_gone_is_gone_from_both(scene: Scene) -> None:
    scene.sync(web=ASKING)
    assert scene.sync(web=None) == ["kernel -web", "userspace -web"]


def test_a_change_of_endpoints_changes_no_rule(scene: Scene) -> None:
    scene.sync(web=ASKING)
    assert scene.sync(web=forward(LOCAL, REMOTE)) == ["userspace +web"]


def test_a_listener_that_moves_takes_its_rules_along(scene: Scene) -> None:
    scene.sync(web=ASKING, other=PLAIN)
    scene.listener = Target("192.0.2.9", 40001)
    assert scene.sync() == ["kernel +web"]
    assert scene.targets("web") == (scene.listener,)


def test_as_long_as_nobody_can_listen_the_kernel_serves_it(scene: Scene) -> None:
    scene.listener = None
    scene.sync(web=ASKING)
    assert scene.targets("web") == POD
    scene.listener = LISTENER
    scene.sync()
    assert scene.targets("web") == (LISTENER,)


def test_rules_that_could_not_be_written_keep_their_listeners(scene: Scene) -> None:
    scene.sync(web=ASKING)
    scene.kernel.fails = True
    with pytest.raises(PlaneError, match="kernel fails"):
        scene.sync(web=PLAIN)
    assert "web" in scene.userspace.services
    scene.kernel.fails = False
    assert scene.sync() == ["userspace -web"]


def test_listeners_that_fail_do_not_keep_back_the_rules(scene: Scene) -> None:
    scene.userspace.fails = True
    with pytest.raises(PlaneError, match="userspace fails"):
        scene.sync(web=ASKING, other=PLAIN)
    assert scene.kernel.services.keys() == {"web", "other"}


def test_one_that_asks_again_before_its_listener_was_closed_keeps_it(scene: Scene) -> None:
    scene.sync(web=ASKING)
    scene.kernel.fails = True
    with pytest.raises(PlaneError):
        scene.sync(web=PLAIN)
    scene.kernel.fails = False
    assert scene.sync(web=ASKING) == ["userspace +web", "kernel +web"]
    assert scene.targets("web") == (LISTENER,)


def test_before_the_process_ends_the_kernel_serves_all_by_itself(scene: Scene) -> None:
    scene.sync(web=ASKING, other=PLAIN)
    scene.log.clear()
    scene.plane.hand_back()
    assert scene.log == ["kernel +web"]
    assert scene.targets("web") == POD


def test_connections_that_are_held_go_on_with_their_endpoints_when_the_kernel_serves_again(scene: Scene) -> None:
    scene.sync(web=ASKING)
    scene.holding.add("web")
    assert scene.sync(web=PLAIN) == ["kernel +web", "userspace +web"]
    (left,) = scene.userspace.services["web"].forwardings
    assert (left.endpoints, left.serving) == ((), POD)
    assert scene.sync(web=forward(LOCAL, REMOTE, plane="")) == ["kernel +web", "userspace +web"]
    assert scene.userspace.services["web"].forwardings[0].serving == (*POD, Target("10.244.1.2", 8080))
    scene.holding.clear()
    assert scene.sync() == ["userspace -web"]
    assert scene.sync() == []


def test_connections_of_a_service_that_is_gone_are_not_kept(scene: Scene) -> None:
    scene.sync(web=ASKING)
    scene.holding.add("web")
    assert scene.sync(web=None) == ["kernel -web", "userspace -web"]


def test_one_that_asks_again_is_no_longer_retiring(scene: Scene) -> None:
    scene.sync(web=ASKING)
    scene.holding.add("web")
    scene.sync(web=PLAIN)
    assert scene.sync(web=ASKING) == ["userspace +web", "kernel +web"]
    assert scene.userspace.services["web"].forwardings[0].endpoints == POD


def test_both_planes_are_verified(scene: Scene) -> None:
    scene.plane.verify()
    assert (scene.kernel.verified, scene.userspace.verified) == (1, 1)


def test_what_was_given_is_not_altered(scene: Scene) -> None:
    given: dict[str, Any] = {"web": ASKING}
    scene.plane.sync(given, NODE)
    assert given == {"web": forward(LOCAL)}


def test_the_steps_of_a_look_at_the_kernel_are_passed_on() -> None:
    """Who does not take them has looked at nothing."""
    scene = Scene()
    steps = iter((None, None))
    scene.kernel.verify = lambda: steps  # type: ignore[method-assign,assignment]
    assert list(scene.plane.verify() or ()) == [None, None]
    assert scene.userspace.verified == 1
