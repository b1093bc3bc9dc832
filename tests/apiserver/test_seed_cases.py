"""The cases that users meet first, one test each, in requests and replies.

Rule: spec "service-api" §14 (the concept page, statement by statement), §0.2, §3.
"""

from __future__ import annotations

from typing import Any

import pytest

from seaway.testing.builders import make_service
from tests.api.machinery.test_names import LABEL
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
WEB = f"{SERVICES}/web"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def create(name: str = "web", **spec: Any) -> Reply:
    """The reply to the create of one Service, in a cluster where `other` has 10.96.0.9 and node port 30007."""
    replies: list[Reply] = []

    async def conversation(ask: Conversation) -> None:
        ports = [{"port": 80, "nodePort": 30007}]
        other = await ask("POST", SERVICES, make_service("other", type="NodePort", clusterIP="10.96.0.9", ports=ports))
        assert other.status == 201
        replies.append(await ask("POST", SERVICES, make_service(name, **spec)))

    talk(conversation)
    return replies[0]


def refusal(reply: Reply) -> tuple[int, str, str]:
    return reply.status, reply.body["reason"], reply.message


def invalid(text: str, name: str = "web") -> tuple[int, str, str]:
    return 422, "Invalid", f'Service "{name}" is invalid: {text}'


def test_own_cluster_ip() -> None:
    reply = create(clusterIP="10.96.0.10")
    assert reply.status == 201
    assert reply.body["spec"]["clusterIP"] == "10.96.0.10"
    assert reply.body["spec"]["clusterIPs"] == ["10.96.0.10"]


def test_own_cluster_ip_out_of_range() -> None:
    assert refusal(create(clusterIP="1.2.3.4")) == invalid(
        'spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: '
        "the provided network does not match the current range"
    )


def test_own_cluster_ip_that_is_no_address() -> None:
    assert refusal(create(clusterIP="web")) == invalid(
        'spec.clusterIPs[0]: Invalid value: "web": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
    )


def test_own_cluster_ip_taken() -> None:
    assert refusal(create(clusterIP="10.96.0.9")) == invalid(
        'spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: '
        "provided IP is already allocated"
    )


def test_own_node_port() -> None:
    reply = create(type="NodePort", ports=[{"port": 80, "nodePort": 30008}])
    assert reply.status == 201
    assert reply.body["spec"]["ports"][0]["nodePort"] == 30008


def test_own_node_port_out_of_range() -> None:
    assert refusal(create(type="NodePort", ports=[{"port": 80, "nodePort": 80}])) == invalid(
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
        "The range of valid ports is 30000-32767"
    )


def test_own_node_port_taken() -> None:
    assert refusal(create(type="NodePort", ports=[{"port": 80, "nodePort": 30007}])) == invalid(
        "spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated"
    )


def test_several_ports_without_names() -> None:
    assert refusal(create(ports=[{"port": 80}, {"port": 443}])) == invalid(
        "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]"
    )


def test_a_second_port_without_a_name_beside_a_node_port() -> None:
    """The old number goes to one of the two, and the names are what the client is told of."""

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", type="NodePort"))
        reply = await ask("PUT", WEB, make_service("web", type="NodePort", ports=[{"port": 80}, {"port": 443}]))
        text = "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]"
        assert refusal(reply) == invalid(text)

    talk(conversation)


@pytest.mark.parametrize("name", ["123_abc", "-web"])
def test_a_port_name_that_is_refused(name: str) -> None:
    reply = create(ports=[{"name": name, "port": 80}])
    assert refusal(reply) == invalid(f'spec.ports[0].name: Invalid value: "{name}": {LABEL}')


@pytest.mark.parametrize("name", ["123-abc", "web"])
def test_a_port_name_that_is_accepted(name: str) -> None:
    assert create(ports=[{"name": name, "port": 80}]).status == 201


def test_external_name_that_looks_like_an_ipv4_address() -> None:
    reply = create(type="ExternalName", externalName="192.0.2.7", ports=[])
    assert reply.status == 201
    assert reply.body["spec"] == {
        "type": "ExternalName",
        "externalName": "192.0.2.7",
        "selector": {"app": "web"},
        "sessionAffinity": "None",
    }
    assert "Warning" not in reply.headers


def test_load_balancer_class_is_set_once() -> None:
    async def conversation(ask: Conversation) -> None:
        manifest = make_service("web", type="LoadBalancer", loadBalancerClass="example.com/lb")
        assert (await ask("POST", SERVICES, manifest)).status == 201
        text = "spec.loadBalancerClass: Invalid value: {}: may not change once set"
        reply = await ask.patch(WEB, {"spec": {"loadBalancerClass": "example.com/other"}})
        assert refusal(reply) == invalid(text.format('"example.com/other"'))
        reply = await ask("PUT", WEB, make_service("web", type="LoadBalancer"))
        assert refusal(reply) == invalid(text.format("null"))
        assert (await ask("PUT", WEB, manifest)).status == 200
        reply = await ask.patch(WEB, {"spec": {"type": "NodePort"}})
        assert reply.status == 200
        assert "loadBalancerClass" not in reply.body["spec"], "it goes with the type"

    talk(conversation)


def test_load_balancer_class_does_not_come_later() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", type="LoadBalancer"))
        reply = await ask.patch(WEB, {"spec": {"loadBalancerClass": "a"}})
        assert refusal(reply) == invalid('spec.loadBalancerClass: Invalid value: "a": may not change once set')

    talk(conversation)


def test_load_balancer_class_on_another_type() -> None:
    assert refusal(create(type="NodePort", loadBalancerClass="a")) == invalid(
        "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"
    )


def test_node_ports_are_kept_when_allocation_is_turned_off() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service("web", type="LoadBalancer"))
        kept = made.body["spec"]["ports"]
        assert kept[0]["nodePort"]
        reply = await ask.patch(WEB, {"spec": {"allocateLoadBalancerNodePorts": False}})
        assert reply.body["spec"]["ports"] == kept
        assert set(ask.server.state.allocator.held_ports()) == {kept[0]["nodePort"]}

    talk(conversation)


def test_headless_without_a_selector() -> None:
    reply = create(clusterIP="None", selector={}, ports=[{"port": 80, "targetPort": 8080}])
    assert reply.status == 201
    assert reply.body["spec"] == {
        "type": "ClusterIP",
        "clusterIP": "None",
        "clusterIPs": ["None"],
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
    }
    assert reply.headers["Warning"] == (
        '299 - "spec.ports[0].targetPort: nothing translates ports of a headless Service without a selector; '
        'clients use port 80, not 8080"'
    )


def test_a_thousand_and_one_endpoints() -> None:
    """1.36 takes them in Endpoints, where the page says otherwise; in one slice they are too many."""

    async def conversation(ask: Conversation) -> None:
        addresses = [{"ip": f"10.1.{index >> 8}.{index & 255}"} for index in range(1001)]
        subsets = [{"addresses": addresses, "ports": [{"port": 80}]}]
        reply = await ask("POST", ENDPOINTS, {"metadata": {"name": "web"}, "subsets": subsets})
        assert reply.status == 201
        assert len(reply.body["subsets"][0]["addresses"]) == 1001
        assert "1001 addresses; an Endpoints object should have no more than 1000" in reply.headers["Warning"]
        assert "annotations" not in reply.body["metadata"]
        endpoints = [{"addresses": [address["ip"]]} for address in addresses]
        reply = await ask("POST", SLICES, {"metadata": {"name": "web"}, "addressType": "IPv4", "endpoints": endpoints})
        assert (reply.status, reply.message) == (
            422,
            'EndpointSlice.discovery.k8s.io "web" is invalid: endpoints: Too many: 1001: must have at most 1000 items',
        )

    talk(conversation)


# Which error a client sees (§0.2).


def test_a_minimal_service_after_creation() -> None:
    """§1.4."""
    spec = create().body["spec"]
    address = spec["clusterIP"]
    assert spec == {
        "type": "ClusterIP",
        "selector": {"app": "web"},
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }


def test_empty_values_are_absent_values() -> None:
    empty: Json = {"clusterIP": "", "clusterIPs": [], "ipFamilies": [], "type": "", "sessionAffinity": "",
                   "externalTrafficPolicy": "", "externalName": "", "healthCheckNodePort": 0, "externalIPs": [],
                   "ports": [{"port": 80, "protocol": "", "targetPort": "", "nodePort": 0}]}  # fmt: skip
    given, plain = create(**empty).body["spec"], create().body["spec"]
    assert {**given, "clusterIP": "", "clusterIPs": []} == {**plain, "clusterIP": "", "clusterIPs": []}


def test_a_duplicate_that_names_its_own_number_is_refused_for_the_number() -> None:
    ports = [{"port": 80, "nodePort": 30007}]
    text = "spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated"
    assert refusal(create("other", type="NodePort", ports=ports)) == invalid(text, "other")
    assert create("other").body["reason"] == "AlreadyExists"
    assert create("other", ports=[]).body["reason"] == "Invalid", "validation comes before the store"


def test_what_allocation_refuses_hides_what_validation_would() -> None:
    reply = create("Bad_Name", ipFamilies=["IPv6"], ports=[{"port": 0}])
    assert refusal(reply) == invalid(
        'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster', "Bad_Name"
    )


def test_a_bad_name_and_a_bad_spec_are_said_together() -> None:
    reply = create("Bad_Name", sessionAffinity="x")
    assert [cause["field"] for cause in reply.body["details"]["causes"]] == ["metadata.name", "spec.sessionAffinity"]
    reply = create("a.b")
    assert refusal(reply) == invalid('metadata.name: Invalid value: "a.b": must not contain dots', "a.b")


def test_a_refused_create_holds_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", SERVICES, make_service("web", type="NodePort", sessionAffinity="x"))
        assert reply.status == 422
        assert ask.server.state.allocator.held_ports() == {}
        assert (await ask("GET", "/apis/networking.k8s.io/v1/ipaddresses")).body["items"] == []

    talk(conversation)


def test_causes_repeat_where_the_message_does_not() -> None:
    """§0.3: a bad label of an update is said three times."""

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web"))
        reply = await ask.patch(WEB, {"metadata": {"labels": {"a b": "c"}}})
        assert [cause["field"] for cause in reply.body["details"]["causes"]] == ["metadata.labels"] * 3
        assert reply.message.count("name part must") == 1

    talk(conversation)


# Writes to /status (§6).


def test_a_status_write_keeps_the_spec_takes_metadata_and_warns_of_addresses() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", SERVICES, make_service("web", type="LoadBalancer", externalName="a.b"))).body
        patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"sessionAffinity": "ClientIP"},
                 "status": {"loadBalancer": {"ingress": [{"ip": "FD::1"}]}}}  # fmt: skip
        reply = await ask.patch(f"{WEB}/status", patch)
        assert reply.status == 200
        assert reply.body["spec"] == made["spec"]
        assert reply.body["metadata"]["labels"] == {"a": "b"}
        assert reply.body["status"] == {"loadBalancer": {"ingress": [{"ip": "FD::1", "ipMode": "VIP"}]}}
        assert reply.headers["Warning"] == (
            '299 - "status.loadBalancer.ingress[0]: IPv6 address \\"FD::1\\" should be in RFC 5952 canonical format '
            '(\\"fd::1\\")"'
        )
        main = await ask.patch(WEB, {"spec": {"sessionAffinity": "ClientIP"}, "status": {"loadBalancer": {}}})
        assert main.body["status"] == reply.body["status"], "a write of the rest keeps the status"

    talk(conversation)


def test_a_status_put_is_defaulted_by_the_type_that_it_submits() -> None:
    """Q10: without a type it is a ClusterIP, and the mode is missing. A PATCH does not have this problem."""

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", type="LoadBalancer"))
        status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        reply = await ask("PUT", f"{WEB}/status", {"metadata": {"name": "web"}, "status": status})
        text = "status.loadBalancer.ingress[0].ipMode: Required value: must be specified when `ip` is set"
        assert refusal(reply) == invalid(text)
        with_type = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}, "status": status}
        assert (await ask("PUT", f"{WEB}/status", with_type)).status == 200

    talk(conversation)


def test_a_status_write_of_another_type_is_refused() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", type="NodePort"))
        reply = await ask.patch(f"{WEB}/status", {"status": {"loadBalancer": {"ingress": [{"hostname": "x"}]}}})
        text = "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
        assert refusal(reply) == invalid(text)

    talk(conversation)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_status_write_of_nothing_is_not_found(method: str) -> None:
    """Q16: a PUT creates upstream, and allocates nothing; here it is as for every other kind."""

    async def conversation(ask: Conversation) -> None:
        headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else None
        reply = await ask(method, f"{WEB}/status", make_service("web"), headers=headers)
        assert (reply.status, reply.message) == (404, 'services "web" not found')

    talk(conversation)


def test_the_last_finalizer_removed_through_the_status_ends_the_service_and_gives_back_its_numbers() -> None:
    async def conversation(ask: Conversation) -> None:
        meta = {"finalizers": ["example.com/lb"]}
        await ask("POST", SERVICES, make_service("web", type="LoadBalancer", meta=meta))
        kept = await ask("DELETE", WEB)
        assert (kept.status, kept.body["kind"]) == (200, "Service")
        assert ask.server.state.allocator.held_ports()
        reply = await ask.patch(f"{WEB}/status", {"metadata": {"finalizers": None}})
        assert reply.status == 200
        assert (await ask("GET", WEB)).status == 404
        assert ask.server.state.allocator.held_ports() == {}

    talk(conversation)
