"""What reads of a Service show that is stored otherwise. Rule: spec "service-api" §2.4, §4.2, §4.3, §4.7."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seaway.api.registry import SERVICES as KIND
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.record import encode_stored
from seaway.store.contract import Precondition, Write
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES, Conversation, talk

Json = dict[str, Any]
WEB = f"{SERVICES}/web"
EXTERNAL: Json = {"type": "ExternalName", "externalName": "example.com"}
LOCAL = {**EXTERNAL, "internalTrafficPolicy": "Local"}
NOT_EXTERNAL = "Forbidden: may not be set for ExternalName services"


async def is_hidden(ask: Conversation) -> bool:
    """By GET, by both kinds of LIST, and by a watch that begins."""
    fresh = (await ask("GET", SERVICES)).body["items"]
    old = (await ask("GET", f"{SERVICES}?resourceVersion=0")).body["items"]
    seen = [(await ask("GET", WEB)).body, *(s for s in fresh + old if s["metadata"]["name"] == "web")]
    stream = await ask.watch(SERVICES)
    seen += [e["object"] for e in await stream.events() if e["object"]["metadata"]["name"] == "web"]
    assert len(seen) == 4
    return all("internalTrafficPolicy" not in service["spec"] for service in seen)


async def stored(ask: Conversation) -> Json:
    entry = await ask.server.state.store.get(KIND.store_key("default", "web"))
    assert entry is not None
    spec: Json = json.loads(entry.value)["spec"]
    return spec


def test_an_external_name_service_keeps_its_internal_traffic_policy_and_shows_it_nowhere_but_in_its_status() -> None:
    async def conversation(ask: Conversation) -> None:
        stream = await ask.watch(SERVICES)
        made = await ask("POST", SERVICES, make_service("web", **LOCAL))
        assert (made.status, "internalTrafficPolicy" in made.body["spec"]) == (201, False)
        assert (await stored(ask))["internalTrafficPolicy"] == "Local"
        assert await is_hidden(ask)
        assert all("internalTrafficPolicy" not in event["object"]["spec"] for event in await stream.events())
        assert (await ask("GET", f"{WEB}/status")).body["spec"]["internalTrafficPolicy"] == "Local"

    talk(conversation)


def test_a_wrong_internal_traffic_policy_of_external_name_is_refused() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", SERVICES, make_service("web", **EXTERNAL, internalTrafficPolicy="Foo"))
        assert (reply.status, "spec.internalTrafficPolicy" in reply.message) == (422, True)

    talk(conversation)


def test_the_policy_comes_back_when_a_patch_leaves_external_name() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", **LOCAL))
        patched = await ask.patch(WEB, {"metadata": {"labels": {"a": "b"}}})
        assert "internalTrafficPolicy" not in patched.body["spec"]
        assert (await ask.patch(f"{WEB}/status", {"status": {"conditions": []}})).status == 200
        left = await ask.patch(WEB, {"spec": {"type": "ClusterIP", "externalName": None}})
        assert (left.status, left.body["spec"]["internalTrafficPolicy"]) == (200, "Local")

    talk(conversation)


def test_the_policy_stays_when_a_patch_goes_to_external_name_and_back() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", internalTrafficPolicy="Local"))
        assert "internalTrafficPolicy" not in (await ask.patch(WEB, {"spec": EXTERNAL})).body["spec"]
        assert await is_hidden(ask)
        back = await ask.patch(WEB, {"spec": {"type": "ClusterIP"}})
        assert back.body["spec"]["internalTrafficPolicy"] == "Local"

    talk(conversation)


def test_a_put_of_what_was_read_forgets_the_policy() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", **LOCAL))
        assert (await ask("PUT", WEB, (await ask("GET", WEB)).body)).status == 200
        assert "internalTrafficPolicy" not in await stored(ask)

    talk(conversation)


def test_a_delete_that_waits_for_a_finalizer_keeps_the_policy() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", meta={"finalizers": ["example.com/f"]}, **LOCAL))
        begun = await ask("DELETE", WEB)
        assert "internalTrafficPolicy" not in begun.body["spec"]
        assert (await stored(ask))["internalTrafficPolicy"] == "Local"

    talk(conversation)


def test_a_put_to_external_name_that_names_no_cluster_ip_but_none_alone_is_taken_as_upstream_does() -> None:
    """§4.2 (c): both differ from the old ones, so both stay; §4.3 wipes what is unchanged; R5 looks at the list.
    §2.4 then shows the list, and whoever sends that list back is refused."""

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web", clusterIP="10.96.0.9"))
        put = await ask("PUT", WEB, make_service("web", **EXTERNAL, clusterIP="None"))
        assert (put.status, put.body["spec"]["clusterIP"], put.body["spec"]["clusterIPs"]) == (200, "None", ["None"])
        assert "clusterIPs" not in await stored(ask)
        again = await ask.patch(WEB, {"metadata": {"labels": {"a": "b"}}})
        assert (again.status, again.body["details"]["causes"][0]["field"]) == (422, "spec.clusterIPs")
        assert NOT_EXTERNAL in again.message
        assert (await ask.patch(WEB, {"spec": {"clusterIP": None}})).status == 200
        taken = await ask("POST", SERVICES, make_service("other", clusterIP="10.96.0.9"))
        assert taken.status == 201, "the address was given back"

    talk(conversation)


def test_a_patch_to_external_name_with_cluster_ip_none_is_refused() -> None:
    """§4.2 (b): the list follows, differs from the old one, is not wiped, and R5 refuses it."""

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service("web"))
        reply = await ask.patch(WEB, {"spec": {**EXTERNAL, "clusterIP": "None"}})
        assert (reply.status, reply.body["details"]["causes"][0]["field"]) == (422, "spec.clusterIPs")
        assert NOT_EXTERNAL in reply.message

    talk(conversation)


DUAL = ServerConfig(service_cidrs=("fd10::/112", "10.96.0.0/16"))
OLD: list[tuple[str, Json, Json]] = [
    ("an address alone is the list of addresses, and tells the family", {"clusterIP": "10.96.0.9"},
     {"clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
    ("headless with a selector has the cluster's first family",
     {"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}},
     {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}),
    ("headless without a selector has both", {"clusterIP": "None", "clusterIPs": ["None"]},
     {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack"}),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), [pytest.param(*case[1:], id=case[0]) for case in OLD])
def test_a_service_of_an_older_server(spec: Json, expected: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        obj = {**make_service("web"), "spec": {"type": "ClusterIP", "ports": [{"port": 80}], **spec}}
        key = KIND.store_key("default", "web")
        await ask.server.state.commit([Precondition(key, 0)], [Write(key, encode_stored(obj))])
        found = (await ask("GET", WEB)).body["spec"]
        assert {name: found.get(name) for name in expected} == expected
        assert "ipFamilies" not in await stored(ask), "what is shown is not written back"
        assert "ipFamilies" not in (await ask("GET", f"{WEB}/status")).body["spec"]

    talk(conversation, config=DUAL)
