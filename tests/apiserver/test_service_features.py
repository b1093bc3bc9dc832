"""One feature of a Service after the other, made, changed and taken away again, in requests and replies.

Rule: spec "service-api" §0.1, §2.1, §3.4, §4.3, §5.7, §5.8, §6.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from seaway.api.registry import IP_ADDRESSES
from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
WEB = f"{SERVICES}/web"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"
DUAL = ServerConfig(service_cidrs=("10.96.0.0/24", "fd10::/120"), external_ip_cidrs=("198.51.100.0/24",))
TYPES: dict[str, Json] = {
    "ClusterIP": {"type": "ClusterIP"},
    "NodePort": {"type": "NodePort"},
    "LoadBalancer": {"type": "LoadBalancer"},
    "ExternalName": {"type": "ExternalName", "externalName": "a.b"},
}
Scene = Callable[[Conversation], Awaitable[None]]


def play(scene: Scene) -> None:
    talk(scene, config=DUAL)


async def held(ask: Conversation) -> tuple[set[str], set[int]]:
    """Addresses and ports that somebody has."""
    addresses = (await ask("GET", IP_ADDRESSES.path(""))).body["items"]
    return {item["metadata"]["name"] for item in addresses}, set(ask.server.state.allocator.held_ports())


def asked_for(service: Json) -> tuple[set[str], set[int]]:
    """What the Service says that it has."""
    spec = service["spec"]
    ports = {port.get("nodePort", 0) for port in spec["ports"]} | {spec.get("healthCheckNodePort", 0)}
    return set(spec.get("clusterIPs", ())) - {"None"}, ports - {0}


async def put(ask: Conversation, **spec: Any) -> Reply:
    return await ask("PUT", WEB, make_service("web", **spec))


def causes(reply: Reply) -> list[str]:
    assert reply.status == 422, reply.body
    return [f"{cause['field']}: {cause['message']}" for cause in reply.body["details"]["causes"]]


# External traffic policy and the port of health checks.

NOT_OUTSIDE = 'spec.externalTrafficPolicy: Invalid value: "{}": may only be set for externally-accessible services'
NOT_CHECKED = (
    "spec.healthCheckNodePort: Invalid value: 30009: may only be set when `type` is 'LoadBalancer' and "
    "`externalTrafficPolicy` is 'Local'"
)
OUTSIDES = [
    (kind, externals, policy, number)
    for kind, externals, policy, number in itertools.product(
        TYPES, ([], ["198.51.100.7"]), ("", "Cluster", "Local", "Foo"), (0, 30009)
    )
]


@pytest.mark.parametrize(
    ("kind", "externals", "policy", "number"),
    [
        pytest.param(*row, id=f"{row[0]}, external IPs {row[1] or 'none'}, policy {row[2] or 'none'}, port {row[3]}")
        for row in OUTSIDES
    ],
)
def test_an_external_policy_of(kind: str, externals: list[str], policy: str, number: int) -> None:
    """R44-R47, §2.1(6): who is reached from outside has a policy; a local load balancer has a port for checks."""
    is_outside = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(externals))
    is_checked = kind == "LoadBalancer" and policy == "Local"
    errors = []
    if policy and not is_outside:
        errors.append(NOT_OUTSIDE.format(policy))
    elif policy == "Foo":
        errors.append('spec.externalTrafficPolicy: Unsupported value: "Foo": supported values: "Cluster", "Local"')
    if number and not is_checked:
        errors.append(NOT_CHECKED)
    spec: Json = {"externalIPs": externals, "externalTrafficPolicy": policy, "healthCheckNodePort": number}

    async def scene(ask: Conversation) -> None:
        reply = await ask("POST", SERVICES, make_service("web", **TYPES[kind], **spec))
        if errors:
            assert causes(reply) == errors
            assert await held(ask) == (set(), set())
            return
        assert reply.status == 201, reply.body
        found = reply.body["spec"]
        assert found.get("externalTrafficPolicy", "") == (policy or ("Cluster" if is_outside else ""))
        assert bool(found.get("healthCheckNodePort")) == is_checked
        assert number in (0, found.get("healthCheckNodePort"))
        assert await held(ask) == asked_for(reply.body)

    play(scene)


LOCAL: Json = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}


def test_the_port_of_health_checks_is_kept_while_it_is_needed_and_goes_afterwards() -> None:
    async def scene(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **LOCAL, healthCheckNodePort=30009))
        assert made.body["spec"]["healthCheckNodePort"] == 30009
        same = await put(ask, **LOCAL)
        assert same.body["spec"] == made.body["spec"], "a manifest that does not name it keeps it"
        moved = await put(ask, **LOCAL, healthCheckNodePort=30010)
        assert causes(moved) == ["spec.healthCheckNodePort: Forbidden: field is immutable"]
        cluster = await put(ask, type="LoadBalancer", externalTrafficPolicy="Cluster")
        assert "healthCheckNodePort" not in cluster.body["spec"]
        named = await put(ask, type="LoadBalancer", externalTrafficPolicy="Cluster", healthCheckNodePort=30010)
        assert causes(named) == [NOT_CHECKED.replace("30009", "30010")]
        again = await put(ask, **LOCAL, healthCheckNodePort=30010)
        assert again.body["spec"]["healthCheckNodePort"] == 30010
        assert await held(ask) == asked_for(again.body)
        left = await put(ask, type="NodePort", externalTrafficPolicy="Local")
        assert left.body["spec"]["externalTrafficPolicy"] == "Local"
        assert "healthCheckNodePort" not in left.body["spec"]
        assert await held(ask) == asked_for(left.body)

    play(scene)


def test_an_external_policy_goes_with_the_last_way_from_outside() -> None:
    async def scene(ask: Conversation) -> None:
        spec: Json = {"externalIPs": ["198.51.100.7"], "externalTrafficPolicy": "Local"}
        await ask("POST", SERVICES, make_service("web", **spec))
        without = await ask.patch(WEB, {"spec": {"externalIPs": None}})
        assert (without.status, "externalTrafficPolicy" in without.body["spec"]) == (200, False)
        changed = await put(ask, externalTrafficPolicy="Cluster")
        assert causes(changed) == [NOT_OUTSIDE.format("Cluster")]
        back = await put(ask, externalIPs=["198.51.100.7"])
        assert back.body["spec"]["externalTrafficPolicy"] == "Cluster"

    play(scene)


# Internal traffic policy.


@pytest.mark.parametrize("policy", ["", "Cluster", "Local"])
@pytest.mark.parametrize("kind", [*TYPES, "headless"])
def test_an_internal_policy_of(kind: str, policy: str) -> None:
    spec = TYPES.get(kind, {"clusterIP": "None"})

    async def scene(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **spec, internalTrafficPolicy=policy or None))
        shown = "" if kind == "ExternalName" else policy or "Cluster"
        assert (made.status, made.body["spec"].get("internalTrafficPolicy", "")) == (201, shown)
        if kind != "ExternalName":
            other = "Local" if shown == "Cluster" else "Cluster"
            changed = await ask.patch(WEB, {"spec": {"internalTrafficPolicy": other}})
            assert changed.body["spec"]["internalTrafficPolicy"] == other
            assert (await put(ask, **spec)).body["spec"]["internalTrafficPolicy"] == "Cluster", "a PUT defaults anew"
        refused = await ask.patch(WEB, {"spec": {"internalTrafficPolicy": "Foo"}})
        unsupported = 'spec.internalTrafficPolicy: Unsupported value: "Foo": supported values: "Cluster", "Local"'
        assert causes(refused) == [unsupported]

    play(scene)


# What comes and goes freely.


def test_affinity_comes_with_its_default_changes_and_goes_with_its_timeout() -> None:
    def affinity(reply: Reply) -> tuple[str, Any]:
        assert reply.status in (200, 201), reply.body
        spec = reply.body["spec"]
        return spec["sessionAffinity"], spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds")

    async def scene(ask: Conversation) -> None:
        assert affinity(await ask("POST", SERVICES, make_service("web"))) == ("None", None)
        assert affinity(await ask.patch(WEB, {"spec": {"sessionAffinity": "ClientIP"}})) == ("ClientIP", 10800)
        timeout = {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
        assert affinity(await ask.patch(WEB, {"spec": timeout})) == ("ClientIP", 60)
        assert affinity(await put(ask, sessionAffinity="ClientIP")) == ("ClientIP", 10800)
        assert affinity(await put(ask, **timeout)) == ("None", None), "a timeout without affinity is dropped"
        assert affinity(await put(ask, sessionAffinity="ClientIP", **timeout)) == ("ClientIP", 60)
        assert affinity(await ask.patch(WEB, {"spec": {"sessionAffinity": "None"}})) == ("None", None)
        long = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        text = f"{path}: Invalid value: 86401: must be greater than 0 and less than 86400"
        assert causes(await ask.patch(WEB, {"spec": long})) == [text]

    play(scene)


SELECTORS: list[Json | None] = [None, {"a": "b"}, {"a": "c"}, {"a": "b", "c": "d"}]


@pytest.mark.parametrize("headless", [False, True], ids=["with an address", "headless"])
def test_a_selector_is_exchanged_as_a_whole_and_moves_no_address(headless: bool) -> None:
    spec: Json = {"clusterIP": "None", "ipFamilyPolicy": "SingleStack"} if headless else {}

    async def scene(ask: Conversation) -> None:
        for before, after in itertools.product(SELECTORS, repeat=2):
            made = await ask("POST", SERVICES, make_service("web", selector=before, **spec))
            changed = await put(ask, selector=after, **spec)
            assert changed.status == 200, changed.body
            assert changed.body["spec"].get("selector") == after
            kept = {**changed.body["spec"], "selector": before}
            assert {**made.body["spec"], "selector": before} == kept
            await ask("DELETE", WEB)

    play(scene)


def test_an_external_name_is_exchanged_and_one_trailing_dot_is_kept() -> None:
    async def scene(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **TYPES["ExternalName"]))
        assert made.body["spec"]["externalName"] == "a.b"
        changed = await ask.patch(WEB, {"spec": {"externalName": "c.d."}})
        assert (changed.status, changed.body["spec"]["externalName"]) == (200, "c.d.")
        assert causes(await ask.patch(WEB, {"spec": {"externalName": None}})) == ["spec.externalName: Required value"]
        assert await held(ask) == (set(), set())

    play(scene)


def test_a_service_is_warned_of_at_every_write_that_is_taken_and_at_no_other() -> None:
    """§0.4, §3.5: also when nothing of it is new, and when the write is only rehearsed."""
    text = '299 - "spec.externalName is ignored when spec.type is not \\"ExternalName\\""'

    async def scene(ask: Conversation) -> None:
        manifest = make_service("web", externalName="a.b")
        wrong = make_service("web", externalName="a.b", sessionAffinity="Foo")
        replies = [
            await ask("POST", f"{SERVICES}?dryRun=All", manifest),
            await ask("POST", SERVICES, manifest),
            await ask("PUT", WEB, manifest),
            await ask.patch(WEB, {"metadata": {"labels": {"a": "b"}}}),
        ]
        assert [reply.headers.get("Warning") for reply in replies] == [text] * 4
        others = [
            await ask("POST", SERVICES, make_service("other", externalName="a.b", sessionAffinity="Foo")),
            await ask("PUT", WEB, wrong),
            await ask.patch(f"{WEB}/status", {"metadata": {"labels": {"a": "c"}}}),
            await ask("GET", WEB),
            await ask("DELETE", WEB),
        ]
        assert [reply.status for reply in others] == [422, 422, 200, 200, 200]
        assert not any("Warning" in reply.headers for reply in others)

    play(scene)


# What is given back can be had again, and what is only tried is not had.

SHAPES: dict[str, Json] = {
    **TYPES,
    "headless": {"clusterIP": "None"},
    "an address of its own": {"clusterIP": "10.96.0.9"},
    "two families": {"ipFamilyPolicy": "RequireDualStack"},
    "two families and two addresses": {"ipFamilyPolicy": "RequireDualStack", "clusterIP": "fd10::9",
                                       "clusterIPs": ["fd10::9", "10.96.0.9"]},
    "a node port of its own": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]},
    "a local load balancer": LOCAL,
    "a local load balancer with a port for checks": {**LOCAL, "healthCheckNodePort": 30009},
    "a load balancer without node ports": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
}  # fmt: skip
OF_SHAPE = pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in SHAPES.items()])


@OF_SHAPE
def test_what_a_deleted_service_had_another_gets(spec: Json) -> None:
    async def scene(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **spec))
        assert made.status == 201, made.body
        assert await held(ask) == asked_for(made.body)
        taken = await ask("POST", SERVICES, make_service("other", **made.body["spec"]))
        has_something = asked_for(made.body) != (set(), set())
        assert taken.status == (422 if has_something else 201), taken.body
        await ask("DELETE", f"{SERVICES}/other")
        assert await held(ask) == asked_for(made.body), "a refusal takes nothing away"
        assert (await ask("DELETE", WEB)).body["kind"] == "Service"
        assert await held(ask) == (set(), set())
        again = await ask("POST", SERVICES, make_service("other", **made.body["spec"]))
        assert (again.status, again.body["spec"]) == (201, made.body["spec"])

    play(scene)


@OF_SHAPE
def test_a_rehearsed_create_shows_valid_values_and_takes_nothing(spec: Json) -> None:
    """§5.8: the fields are full and valid; which values they have is no contract."""

    async def scene(ask: Conversation) -> None:
        shown = await ask("POST", f"{SERVICES}?dryRun=All", make_service("web", **spec))
        assert shown.status == 201, shown.body
        assert await held(ask) == (set(), set())
        assert (await ask("GET", WEB)).status == 404
        made = await ask("POST", SERVICES, make_service("web", **spec))
        (addresses, ports), (tried, tried_ports) = asked_for(made.body), asked_for(shown.body)
        assert (len(tried), len(tried_ports)) == (len(addresses), len(ports))
        assert sorted(":" in address for address in tried) == sorted(":" in address for address in addresses)
        assert made.body["spec"].keys() == shown.body["spec"].keys()
        named = [field for field in ("clusterIP", "clusterIPs", "healthCheckNodePort") if field in spec]
        assert [shown.body["spec"][field] for field in named] == [spec[field] for field in named]

    play(scene)


@OF_SHAPE
def test_a_rehearsed_delete_gives_nothing_back(spec: Json) -> None:
    async def scene(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **spec))
        assert (await ask("DELETE", f"{WEB}?dryRun=All")).status == 200
        assert (await ask("GET", WEB)).body == made.body
        assert await held(ask) == asked_for(made.body)

    play(scene)


@pytest.mark.parametrize("after", [pytest.param(spec, id=f"to {name}") for name, spec in SHAPES.items()])
@OF_SHAPE
def test_a_rehearsed_update_answers_as_the_update_does_and_moves_nothing(spec: Json, after: Json) -> None:
    async def scene(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", **spec))
        had = asked_for(made.body)
        tried = await ask("PUT", f"{WEB}?dryRun=All", make_service("web", **after))
        assert await held(ask) == had
        assert (await ask("GET", WEB)).body == made.body
        done = await put(ask, **after)
        assert tried.status == done.status
        if done.status != 200:
            assert tried.message == done.message
            assert await held(ask) == had
            return
        assert await held(ask) == asked_for(done.body)
        before, new = asked_for(tried.body), asked_for(done.body)
        assert [len(numbers) for numbers in before] == [len(numbers) for numbers in new]
        assert before[0] & had[0] == new[0] & had[0], "what stays is what stays"
        assert before[1] & had[1] == new[1] & had[1], "what stays is what stays"

    play(scene)


# Status, finalizers and selection.


def test_ingress_of_a_load_balancer_comes_changes_and_goes_through_the_status() -> None:
    async def scene(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", type="LoadBalancer"))
        for ingress, stored in (
            ([{"ip": "192.0.2.1"}], [{"ip": "192.0.2.1", "ipMode": "VIP"}]),
            ([{"ip": "192.0.2.1", "ipMode": "Proxy"}], [{"ip": "192.0.2.1", "ipMode": "Proxy"}]),
            ([{"hostname": "a.b"}], [{"hostname": "a.b"}]),
            ([{"ip": "192.0.2.1", "hostname": "a.b"}], [{"ip": "192.0.2.1", "hostname": "a.b", "ipMode": "VIP"}]),
        ):
            reply = await ask.patch(f"{WEB}/status", {"status": {"loadBalancer": {"ingress": ingress}}})
            assert (reply.status, reply.body["status"]["loadBalancer"]) == (200, {"ingress": stored})
            assert (await ask("GET", WEB)).body["status"]["loadBalancer"] == {"ingress": stored}
        gone = await ask.patch(f"{WEB}/status", {"status": {"loadBalancer": {"ingress": None}}})
        assert gone.body["status"] == {"loadBalancer": {}}

    play(scene)


def test_a_service_that_a_finalizer_holds_keeps_its_numbers_and_its_endpoints_until_it_is_gone() -> None:
    async def scene(ask: Conversation) -> None:
        spec = {**LOCAL, "ipFamilyPolicy": "RequireDualStack"}
        made = await ask("POST", SERVICES, make_service("web", meta={"finalizers": ["a.b/c"]}, **spec))
        await ask("POST", ENDPOINTS, {"metadata": {"name": "web"}})
        begun = await ask("DELETE", WEB)
        assert begun.body["metadata"]["deletionTimestamp"]
        assert await held(ask) == asked_for(made.body)
        assert (await ask("GET", f"{ENDPOINTS}/web")).status == 200
        assert (await ask.patch(WEB, {"metadata": {"finalizers": None}})).status == 200
        assert (await ask("GET", WEB)).status == 404
        assert (await ask("GET", f"{ENDPOINTS}/web")).status == 404
        assert await held(ask) == (set(), set())

    play(scene)


SELECTED = [
    ("metadata.name=b", {"b"}),
    ("metadata.name!=b", {"a", "c", "d"}),
    ("metadata.namespace=default", {"a", "b", "c", "d"}),
    ("metadata.namespace=other", set()),
    ("spec.clusterIP=10.96.0.9", {"a"}),
    ("spec.clusterIP==10.96.0.9", {"a"}),
    ("spec.clusterIP=10.96.0.8", set()),
    ("spec.clusterIP=None", {"b"}),
    ("spec.clusterIP!=None", {"a", "c", "d"}),
    ("spec.clusterIP=", {"d"}),
    ("spec.clusterIP!=", {"a", "b", "c"}),
    ("spec.type=ClusterIP", {"a", "b"}),
    ("spec.type=NodePort", {"c"}),
    ("spec.type=ExternalName", {"d"}),
    ("spec.type=LoadBalancer", set()),
    ("spec.type!=ClusterIP", {"c", "d"}),
    ("spec.type=ClusterIP,spec.clusterIP!=None", {"a"}),
    ("spec.type=ClusterIP,metadata.name=c", set()),
]


def test_services_are_selected_by_their_fields() -> None:
    """§0.1: name, namespace, cluster IP and type; nothing else."""

    async def scene(ask: Conversation) -> None:
        for name, spec in (("a", {"clusterIP": "10.96.0.9"}), ("b", {"clusterIP": "None"}), ("c", TYPES["NodePort"]),
                           ("d", TYPES["ExternalName"])):  # fmt: skip
            assert (await ask("POST", SERVICES, make_service(name, **spec))).status == 201
        for selector, names in SELECTED:
            query = selector.replace("=", "%3D").replace("!", "%21")
            for path in (SERVICES, "/api/v1/services"):
                reply = await ask("GET", f"{path}?fieldSelector={query}")
                assert {item["metadata"]["name"] for item in reply.body["items"]} == names, selector
        for other in ("spec.ports", "spec.externalName", "status.loadBalancer"):
            reply = await ask("GET", f"{SERVICES}?fieldSelector={other}%3Dx")
            assert (reply.status, f"field label not supported: {other}" in reply.message) == (400, True)

    play(scene)


# One write takes all that it needs, or nothing.

FAILURES: list[tuple[str, Json]] = [
    ("the second address is none of the range", {"ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.96.0.9",
                                                 "clusterIPs": ["10.96.0.9", "fd99::1"]}),
    ("the first port is taken", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]}),
    ("the last port is taken", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30010},
        {"name": "c", "port": 82, "nodePort": 30007}]}),
    ("the port of health checks is taken", {**LOCAL, "healthCheckNodePort": 30007}),
    ("the port of health checks is out of range", {**LOCAL, "healthCheckNodePort": 80}),
    ("validation refuses", {"type": "NodePort", "sessionAffinity": "Foo"}),
]  # fmt: skip


@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in FAILURES])
def test_nothing_is_taken_or_given_up_when(spec: Json) -> None:
    async def scene(ask: Conversation) -> None:
        ports = [{"port": 80, "nodePort": 30007}]
        other = await ask("POST", SERVICES, make_service("other", type="NodePort", ports=ports))
        refused = await ask("POST", SERVICES, make_service("web", **spec))
        assert refused.status in (422, 500), refused.body
        assert await held(ask) == asked_for(other.body)
        before = await ask("POST", SERVICES, make_service("web", clusterIP="10.96.0.9", type="NodePort"))
        refused = await put(ask, **spec)
        assert refused.status in (422, 500), refused.body
        assert (await ask("GET", WEB)).body == before.body
        addresses, numbers = asked_for(before.body)
        others = asked_for(other.body)
        assert await held(ask) == (addresses | others[0], numbers | others[1])

    play(scene)
