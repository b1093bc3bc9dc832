"""Every type to every type, by PATCH and by PUT: what is kept, released and acquired.

The oracle below is §4.4 in a few lines. Rule: spec "service-api" §4.1-4.5, §6 (6).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import pytest

from seaway.api.registry import IP_ADDRESSES
from seaway.testing.builders import make_service, merge
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
WEB = f"{SERVICES}/web"
BALANCER = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": True, "externalTrafficPolicy": "Cluster"}
STATES: dict[str, Json] = {
    "ClusterIP": {"type": "ClusterIP"},
    "headless": {"type": "ClusterIP", "clusterIP": "None"},
    "NodePort": {"type": "NodePort"},
    "LoadBalancer": BALANCER,
    "local LoadBalancer": {**BALANCER, "externalTrafficPolicy": "Local"},
    "LoadBalancer without node ports": {**BALANCER, "allocateLoadBalancerNodePorts": False},
    "ExternalName": {"type": "ExternalName", "externalName": "example.com"},
}
NEEDS_PORTS = ("NodePort", "LoadBalancer", "local LoadBalancer")
REFUSED = {
    "NodePort": "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
    "LoadBalancer": "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a Service holds, as its spec says it."""

    address: str
    node_port: int
    health_check_port: int

    @staticmethod
    def of(service: Json) -> Numbers:
        spec = service["spec"]
        port = spec["ports"][0].get("nodePort", 0)
        return Numbers(spec.get("clusterIP", ""), port, spec.get("healthCheckNodePort", 0))


def foretell(before: str, after: str, *, by_patch: bool) -> str | tuple[str, str, str]:
    """The refusal; or what becomes of address, node port and health-check port: "none", "kept" or "new"."""
    if before == "headless":
        if after == "ExternalName":
            return ("none", "none", "none")
        if "ClusterIP" in after or after == "headless":
            return ("kept", "none", "none")  # an empty clusterIP asks for nothing: it stays headless
        return REFUSED["NodePort" if after == "NodePort" else "LoadBalancer"]
    if after == "headless" and before != "ExternalName":
        return 'spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set'
    if after == "headless":
        return ("new", "none", "none")
    if after == "ExternalName":
        return ("none", "none", "none")
    address = "new" if before == "ExternalName" else "kept"
    if after in NEEDS_PORTS:
        port = "kept" if before in NEEDS_PORTS else "new"
    elif after == "LoadBalancer without node ports":
        # A patch brings along the numbers that are stored, a manifest that names none gives them up.
        port = "kept" if by_patch and before in NEEDS_PORTS else "none"
    else:
        port = "none"
    local = after == "local LoadBalancer"
    return (address, port, ("kept" if before == after else "new") if local else "none")


async def change(ask: Conversation, after: str, *, by_patch: bool) -> Reply:
    if by_patch:
        changes = dict(STATES[after])
        if after == "NodePort":
            changes["externalTrafficPolicy"] = "Cluster"
        return await ask.patch(WEB, {"spec": changes})
    return await ask("PUT", WEB, make_service("web", **STATES[after]))


async def check_what_is_held(ask: Conversation, numbers: Numbers) -> None:
    addresses = (await ask("GET", IP_ADDRESSES.path(""))).body["items"]
    held = [address["metadata"]["name"] for address in addresses]
    assert held == [numbers.address] * (numbers.address not in ("", "None"))
    assert set(ask.server.state.allocator.held_ports()) == {numbers.node_port, numbers.health_check_port} - {0}


def fate(before: Any, after: Any) -> str:
    if not after:
        return "none"
    return "kept" if after == before else "new"


@pytest.mark.parametrize("by_patch", [pytest.param(True, id="by PATCH"), pytest.param(False, id="by PUT")])
@pytest.mark.parametrize("after", STATES)
@pytest.mark.parametrize("before", STATES)
def test_from_type_to_type(before: str, after: str, by_patch: bool) -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **STATES[before]))
        assert made.status == 201, made.body
        if made.body["spec"]["type"] == "LoadBalancer":
            status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}, "conditions": [CONDITION]}}
            made = await ask.patch(f"{WEB}/status", status)
            assert made.status == 200, made.body
        had = Numbers.of(made.body)
        reply = await change(ask, after, by_patch=by_patch)
        expected = foretell(before, after, by_patch=by_patch)
        if isinstance(expected, str):
            assert (reply.status, reply.message) == (422, f'Service "web" is invalid: {expected}')
            assert (await ask("GET", WEB)).body == made.body
            await check_what_is_held(ask, had)
            return
        assert reply.status == 200, reply.body
        has = Numbers.of(reply.body)
        assert tuple(map(fate, astuple(had), astuple(has))) == expected
        await check_what_is_held(ask, has)
        spec = reply.body["spec"]
        assert spec["type"] == STATES[after]["type"]
        assert ("internalTrafficPolicy" in spec) == ("ipFamilies" in spec) == (after != "ExternalName")
        assert ("allocateLoadBalancerNodePorts" in spec) == (spec["type"] == "LoadBalancer")
        assert ("externalTrafficPolicy" in spec) == (spec["type"] in ("NodePort", "LoadBalancer"))
        keeps_status = spec["type"] == "LoadBalancer"
        assert reply.body["status"]["loadBalancer"] == (made.body["status"]["loadBalancer"] if keeps_status else {})
        assert reply.body["status"].get("conditions") == made.body["status"].get("conditions"), "conditions stay"
        assert (await ask("DELETE", WEB)).status == 200
        await check_what_is_held(ask, Numbers("", 0, 0))

    talk(conversation)


CONDITION = {"type": "LoadBalancerPortsError", "status": "False", "reason": "Fine", "message": "",
             "lastTransitionTime": "2026-01-02T00:00:00Z"}  # fmt: skip


def test_the_same_write_again_changes_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        for state, spec in STATES.items():
            if state == "headless":
                continue
            manifest = make_service("web", **spec)
            first = await ask("POST", SERVICES, manifest)
            again = await ask("PUT", WEB, manifest)
            assert again.body == first.body, state
            await ask("DELETE", WEB)

    talk(conversation)


def test_leaving_external_name_the_client_may_name_an_address() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", **STATES["ExternalName"]))
        reply = await ask.patch(WEB, {"spec": {"type": "ClusterIP", "clusterIP": "10.96.0.9"}})
        assert reply.body["spec"]["clusterIPs"] == ["10.96.0.9"]
        assert reply.body["spec"]["externalName"] == "example.com", "it stays, with a warning"
        assert "spec.externalName is ignored" in reply.headers["Warning"]

    talk(conversation)


def test_leaving_external_name_needs_ports_unless_headless() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, merge(make_service("web", **STATES["ExternalName"]), {"spec": {"ports": []}}))
        reply = await ask.patch(WEB, {"spec": {"type": "ClusterIP"}})
        assert (reply.status, reply.message) == (422, 'Service "web" is invalid: spec.ports: Required value')
        assert ask.server.state.allocator.held_ports() == {}
        assert (await ask("GET", IP_ADDRESSES.path(""))).body["items"] == []
        reply = await ask.patch(WEB, {"spec": {"type": "ClusterIP", "clusterIP": "None"}})
        assert reply.status == 200

    talk(conversation)


def test_source_ranges_keep_a_load_balancer_from_another_type_until_they_are_removed() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", **BALANCER, loadBalancerSourceRanges=["10.0.0.0/8"]))
        refused = await ask.patch(WEB, {"spec": {"type": "NodePort"}})
        text = "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"
        assert (refused.status, refused.message) == (422, f'Service "web" is invalid: {text}')
        assert (await ask.patch(WEB, {"spec": {"type": "NodePort", "loadBalancerSourceRanges": None}})).status == 200

    talk(conversation)


# Node ports of a load balancer that stops allocating (§4.5).

PORTS = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
NO = {"allocateLoadBalancerNodePorts": False}


def numbers(reply: Reply) -> list[int]:
    assert reply.status == 200, reply.body
    return [port.get("nodePort", 0) for port in reply.body["spec"]["ports"]]


WAYS = [
    pytest.param("strategic-merge-patch+json", {"spec": {"ports": [{"port": 80, "nodePort": None}]}},
                 id="a strategic merge patch with the port's key"),
    pytest.param("json-patch+json", [{"op": "remove", "path": "/spec/ports/0/nodePort"}], id="a JSON patch"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "patch"), WAYS)
def test_a_node_port_is_released_alone_by(kind: str, patch: Any) -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", type="LoadBalancer", ports=PORTS))
        first, second = (port["nodePort"] for port in made.body["spec"]["ports"])
        assert numbers(await ask.patch(WEB, {"spec": NO})) == [first, second], "the flag alone releases nothing"
        assert numbers(await ask.patch(WEB, patch, kind=kind)) == [0, second]
        assert set(ask.server.state.allocator.held_ports()) == {second}

    talk(conversation)


def test_a_manifest_that_never_named_node_ports_releases_all() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", type="LoadBalancer", ports=PORTS))
        assert numbers(await ask("PUT", WEB, make_service("web", type="LoadBalancer", ports=PORTS, **NO))) == [0, 0]
        assert ask.server.state.allocator.held_ports() == {}

    talk(conversation)


def test_the_flag_turned_on_gives_every_port_a_number_and_keeps_what_is_there() -> None:
    async def conversation(ask: Conversation) -> None:
        ports = [{**PORTS[0], "nodePort": 30001}, PORTS[1]]
        made = await ask("POST", SERVICES, make_service("web", type="LoadBalancer", ports=ports, **NO))
        assert [port.get("nodePort", 0) for port in made.body["spec"]["ports"]] == [30001, 0]
        first, second = numbers(await ask.patch(WEB, {"spec": {"allocateLoadBalancerNodePorts": True}}))
        assert first == 30001
        assert 30000 <= second <= 32767

    talk(conversation)


def test_the_health_check_port_is_allocated_whatever_the_flag_says() -> None:
    async def conversation(ask: Conversation) -> None:
        spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", **NO}
        made = await ask("POST", SERVICES, make_service("web", **spec))
        assert set(ask.server.state.allocator.held_ports()) == {made.body["spec"]["healthCheckNodePort"]}

    talk(conversation)
