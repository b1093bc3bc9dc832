"""External IPs are taken from ranges that were set aside for them. Rule: spec "service-api" §3.6; design §12."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.apiserver.run import ServerConfig
from seaway.testing.builders import make_node, make_service
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

NODES = "/api/v1/nodes"
DENIED = 'services "web" is forbidden: Use of external IPs is denied by admission control'
RANGES = ("203.0.113.0/24", "2001:db8::/64")
OPEN = ServerConfig(external_ip_cidrs=RANGES, advertise_address="203.0.113.1", service_cidrs=("203.0.113.128/28",))


def service(*external_ips: str, **spec: Any) -> dict[str, Any]:
    return make_service("web", externalIPs=list(external_ips), **spec)


async def make_nodes(ask: Conversation) -> None:
    node = make_node("node-1")
    node["status"]["addresses"] = [
        {"type": "Hostname", "address": "node-1"},
        {"type": "InternalIP", "address": "203.0.113.2"},
        {"type": "ExternalIP", "address": "2001:db8::2"},
    ]
    assert (await ask("POST", NODES, node)).status == 201


def is_denied(reply: Reply, why: str = DENIED) -> bool:
    return (reply.status, reply.body.get("reason"), reply.body.get("message")) == (403, "Forbidden", why)


@pytest.mark.parametrize(
    ("external_ips", "denied"),
    [
        pytest.param(["203.0.113.7"], "", id="an address of the range is taken"),
        pytest.param(["203.0.113.7", "2001:db8::7"], "", id="a range of each family"),
        pytest.param(["198.51.100.7"], "198.51.100.7", id="outside of all ranges"),
        pytest.param(["2001:db8:1::7"], "2001:db8:1::7", id="outside of the IPv6 range"),
        pytest.param(["203.0.113.7", "198.51.100.7"], "198.51.100.7", id="one outside denies all"),
        pytest.param(["203.0.113.2"], "203.0.113.2", id="a node's internal address"),
        pytest.param(["2001:DB8:0::2"], "2001:DB8:0::2", id="a node's external address in another spelling"),
        pytest.param(["203.0.113.1"], "203.0.113.1", id="the API server's address"),
        pytest.param(["203.0.113.130"], "203.0.113.130", id="an address of the service range"),
        pytest.param([], "", id="none asked for"),
    ],
)
def test_a_new_service(external_ips: list[str], denied: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await make_nodes(ask)
        reply = await ask("POST", SERVICES, service(*external_ips))
        if not denied:
            assert reply.status == 201, reply.body
            return
        allowed = "203.0.113.0/24, 2001:db8::/64"
        why = f"{denied} found; addresses in {allowed} are allowed that no node, API server or Service has"
        assert is_denied(reply, f"{DENIED}: {why}"), reply.body
        assert (await ask("GET", f"{SERVICES}/web")).status == 404

    talk(conversation, config=OPEN)


def test_by_default_every_external_ip_is_denied_in_upstreams_words() -> None:
    async def conversation(ask: Conversation) -> None:
        assert is_denied(await ask("POST", SERVICES, service("203.0.113.7")))
        assert is_denied(await ask("POST", f"{SERVICES}?dryRun=All", service("203.0.113.7")))
        created = await ask("POST", SERVICES, service())
        assert created.status == 201
        changed = {**created.body, "spec": {**created.body["spec"], "externalIPs": ["203.0.113.7"]}}
        assert is_denied(await ask("PUT", f"{SERVICES}/web", changed))
        merge: dict[str, Any] = {"spec": {"externalIPs": ["203.0.113.7"]}}
        assert is_denied(await ask.patch(f"{SERVICES}/web", merge))
        assert is_denied(await ask.patch(f"{SERVICES}/web", merge, kind="strategic-merge-patch+json"))
        add = [{"op": "add", "path": "/spec/externalIPs", "value": ["203.0.113.7"]}]
        assert is_denied(await ask.patch(f"{SERVICES}/web", add, kind="json-patch+json"))
        assert (await ask("GET", f"{SERVICES}/web")).body == created.body

    talk(conversation)


def test_what_is_invalid_is_told_before() -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("POST", SERVICES, service("web"))).status == 422

    talk(conversation)


def test_an_external_ip_that_is_there_stays_and_another_is_not_added() -> None:
    async def conversation(ask: Conversation) -> None:
        created = (await ask("POST", SERVICES, service("203.0.113.2", "203.0.113.7"))).body
        await make_nodes(ask)  # one of the two is a node's from now on
        labelled = await ask.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})
        assert labelled.status == 200
        fewer = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.2"]}})
        assert (fewer.status, fewer.body["spec"]["externalIPs"]) == (200, ["203.0.113.2"])
        more = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.2", "198.51.100.7"]}})
        assert more.status == 403
        none = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": None}})
        assert none.status == 200 and "externalIPs" not in none.body["spec"]
        assert (await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.2"]}})).status == 403
        assert created["spec"]["externalIPs"] == ["203.0.113.2", "203.0.113.7"]

    talk(conversation, config=OPEN)


def test_a_status_is_written_whatever_the_spec_in_the_body_says() -> None:
    async def conversation(ask: Conversation) -> None:
        created = (await ask("POST", SERVICES, service())).body
        body = {**created, "spec": {**created["spec"], "externalIPs": ["203.0.113.7"]}}
        written = await ask("PUT", f"{SERVICES}/web/status", body)
        assert written.status == 200 and "externalIPs" not in written.body["spec"]

    talk(conversation)
