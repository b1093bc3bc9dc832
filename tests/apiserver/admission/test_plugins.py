"""Which plugins of admission work is told by their names.

Rule: spec "service-api" §3.6, §10; upstream's flags `--enable-admission-plugins` and `--disable-admission-plugins`.
"""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.admission.plugins import DEFAULT_PLUGINS, PLUGINS, choose_plugins
from seaway.apiserver.run import ServerConfig
from seaway.net.errors import OperationalError
from seaway.testing.builders import make_node, make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, talk

Json = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
NETWORKING = "/apis/networking.k8s.io/v1"
DENIED = 'services "web" is forbidden: Use of external IPs is denied by admission control'
KNOWN = (
    "NamespaceLifecycle, LimitRanger, ServiceAccount, NodeRestriction, TaintNodesByCondition, Priority, "
    "DefaultIngressClass, DenyServiceExternalIPs, ResourceQuota"
)


def test_all_but_one_work_from_the_start() -> None:
    assert {plugin.name for plugin in PLUGINS} - DEFAULT_PLUGINS == {"DenyServiceExternalIPs"}
    assert choose_plugins([], []) == DEFAULT_PLUGINS == ServerConfig().admission_plugins


def test_names_are_added_to_the_usual_ones_and_taken_from_them() -> None:
    chosen = choose_plugins(["DenyServiceExternalIPs", "Priority"], ["ResourceQuota", "LimitRanger"])
    assert chosen == DEFAULT_PLUGINS - {"ResourceQuota", "LimitRanger"} | {"DenyServiceExternalIPs"}


@pytest.mark.parametrize(
    ("on", "off", "why"),
    [
        pytest.param(["AlwaysAdmit"], [], f"--enable-admission-plugins AlwaysAdmit: no such plugin; known are {KNOWN}",
                     id="an unknown one to turn on"),
        pytest.param(["Priority"], ["priority", "x"],
                     f"--disable-admission-plugins priority,x: no such plugin; known are {KNOWN}",
                     id="all unknown ones are named, and case counts"),
        pytest.param(["Priority", "LimitRanger"], ["LimitRanger"],
                     "--enable-admission-plugins and --disable-admission-plugins: LimitRanger found in both; "
                     "choose one",
                     id="in both lists"),
        pytest.param([], ["NamespaceLifecycle"],
                     "--disable-admission-plugins NamespaceLifecycle: cannot be turned off: "
                     "objects would be left behind in namespaces that end", id="one that is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_told(on: list[str], off: list[str], why: str) -> None:
    with pytest.raises(OperationalError) as caught:
        choose_plugins(on, off)
    assert str(caught.value) == why


def without(name: str) -> ServerConfig:
    return ServerConfig(admission_plugins=choose_plugins([], [name]))


DENYING = ServerConfig(
    external_ip_cidrs=("203.0.113.0/24",), admission_plugins=choose_plugins(["DenyServiceExternalIPs"], [])
)


def service(*external_ips: str) -> Json:
    return make_service("web", externalIPs=list(external_ips))


def test_external_ips_are_denied_where_a_range_allows_them_too() -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("POST", SERVICES, service("203.0.113.7"))
        assert (refused.status, refused.body["reason"], refused.message) == (403, "Forbidden", DENIED)
        dry = await ask("POST", f"{SERVICES}?dryRun=All", service("203.0.113.7"))
        assert (dry.status, dry.message) == (403, DENIED)
        assert (await ask("POST", SERVICES, service())).status == 201
        added = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.7"]}})
        assert (added.status, added.message) == (403, DENIED)
        created = (await ask("GET", f"{SERVICES}/web")).body
        body = {**created, "spec": {**created["spec"], "externalIPs": ["203.0.113.7"]}}
        assert (await ask("PUT", f"{SERVICES}/web/status", body)).status == 200, "exempt"

    talk(conversation, config=DENYING)


def test_external_ips_of_before_stay_may_go_and_may_not_come_back() -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("POST", SERVICES, service("203.0.113.7", "203.0.113.8"))).status == 201
        ask.server.state.config = DENYING
        assert (await ask.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})).status == 200
        swapped = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.8", "203.0.113.9"]}})
        assert (swapped.status, swapped.message) == (403, DENIED)
        turned = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.8", "203.0.113.7"]}})
        assert turned.status == 200, "order means nothing"
        assert (await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.8"]}})).status == 200
        back = await ask.patch(f"{SERVICES}/web", {"spec": {"externalIPs": ["203.0.113.7", "203.0.113.8"]}})
        assert (back.status, back.message) == (403, DENIED)

    talk(conversation, config=ServerConfig(external_ip_cidrs=("203.0.113.0/24",)))


POD: Json = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "program:1"}]}}
PRIORITY = {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}
CLASS = {
    "metadata": {"name": "usual", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
    "spec": {"controller": "example.com/one"},
}
INGRESS = {"metadata": {"name": "a"}, "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}}
LIMIT = {
    "metadata": {"name": "a"},
    "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]},
}
QUOTA = {"metadata": {"name": "a"}, "spec": {"hard": {"configmaps": "0"}}}
NODE = Identity("system:node:node-1", ("system:nodes", "system:authenticated", "system:masters"))


async def _runs_as_a_missing_account(ask: Conversation) -> bool:
    reply = await ask("POST", PODS, {**POD, "spec": {**POD["spec"], "serviceAccountName": "none"}})
    return reply.status == 201


async def _has_no_priority(ask: Conversation) -> bool:
    assert (await ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", PRIORITY)).status == 201
    reply = await ask("POST", PODS, POD)
    assert reply.status == 201, reply.body
    return reply.body["spec"].get("priority") != 7


async def _has_no_class(ask: Conversation) -> bool:
    assert (await ask("POST", f"{NETWORKING}/ingressclasses", CLASS)).status == 201
    reply = await ask("POST", f"{NETWORKING}/namespaces/default/ingresses", INGRESS)
    assert reply.status == 201, reply.body
    return "ingressClassName" not in reply.body["spec"]


async def _has_no_taint(ask: Conversation) -> bool:
    reply = await ask("POST", "/api/v1/nodes", make_node("node-1"))
    assert reply.status == 201, reply.body
    return not reply.body["spec"].get("taints")


async def _has_no_default_request(ask: Conversation) -> bool:
    assert (await ask("POST", "/api/v1/namespaces/default/limitranges", LIMIT)).status == 201
    reply = await ask("POST", PODS, POD)
    assert reply.status == 201, reply.body
    return not reply.body["spec"]["containers"][0].get("resources")


async def _exceeds_a_quota(ask: Conversation) -> bool:
    assert (await ask("POST", "/api/v1/namespaces/default/resourcequotas", QUOTA)).status == 201
    return (await ask("POST", CONFIG_MAPS, {"metadata": {"name": "b"}})).status == 201


async def _is_another_node(ask: Conversation) -> bool:
    assert (await ask("POST", "/api/v1/nodes", make_node("node-2"))).status == 201
    reply = await ask("DELETE", "/api/v1/nodes/node-2", identity=NODE)
    return reply.status == 200


EFFECTS = {
    "ServiceAccount": _runs_as_a_missing_account,
    "Priority": _has_no_priority,
    "DefaultIngressClass": _has_no_class,
    "TaintNodesByCondition": _has_no_taint,
    "LimitRanger": _has_no_default_request,
    "ResourceQuota": _exceeds_a_quota,
    "NodeRestriction": _is_another_node,
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_plugin_works_until_it_is_turned_off(name: str) -> None:
    async def works(ask: Conversation) -> None:
        assert not await EFFECTS[name](ask)

    async def is_off(ask: Conversation) -> None:
        assert await EFFECTS[name](ask)

    talk(works)
    talk(is_off, config=without(name))


def test_every_plugin_that_can_be_turned_off_is_tried() -> None:
    assert EFFECTS.keys() == {plugin.name for plugin in PLUGINS if plugin.is_default and not plugin.needed_because}
