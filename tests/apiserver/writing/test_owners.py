"""A refusal because a number is taken names who has it, to those who may know."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.api.registry import IP_ADDRESSES, SERVICES
from seaway.testing.builders import make_service
from tests.apiserver.conversation import ADMIN, Conversation, Reply, talk

OTHERS = "/api/v1/namespaces/other/services"
HERE = "/api/v1/namespaces/default/services"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
WRITER = Identity("writer", ("system:authenticated",))


async def _prepare(ask: Conversation) -> None:
    """A Service with numbers in another namespace; `writer` may write Services in `default` alone."""
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    ports = [{"port": 80, "nodePort": 30007}]
    made = await ask("POST", OTHERS, make_service("web", "other", type="NodePort", clusterIP="10.96.0.9", ports=ports))
    assert made.status == 201
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["create", "update", "get"]}
    await ask("POST", f"{RBAC}/roles", {"metadata": {"name": "w"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "w"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": WRITER.user}
    await ask("POST", f"{RBAC}/rolebindings", {"metadata": {"name": "w"}, "roleRef": role, "subjects": [subject]})


def _warning(reply: Reply) -> str:
    assert reply.status in (422, 500), reply.body
    return reply.headers["Warning"]


WANTED: list[tuple[str, dict[str, Any], str]] = [
    ("a cluster IP", {"clusterIP": "10.96.0.9"}, "cluster IP 10.96.0.9 is held by"),
    ("a node port", {"type": "NodePort", "ports": [{"port": 81, "nodePort": 30007}]}, "node port 30007 is held by"),
    ("a health-check port", {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30007},
     "node port 30007 is held by"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "text"), [pytest.param(*case[1:], id=case[0]) for case in WANTED])
def test_the_holder_is_named_to_who_may_read_it_alone(spec: dict[str, Any], text: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await _prepare(ask)
        told = _warning(await ask("POST", HERE, make_service("mine", **spec), identity=ADMIN))
        assert told == f'299 - "{text} Service \\"other/web\\""'
        told = _warning(await ask("POST", HERE, make_service("mine", **spec), identity=WRITER))
        assert told == f'299 - "{text} another Service"'

    talk(conversation)


def test_an_update_is_told_too() -> None:
    async def conversation(ask: Conversation) -> None:
        await _prepare(ask)
        await ask("POST", HERE, make_service("mine"))
        patch = {"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30007}]}}
        told = _warning(await ask.patch(f"{HERE}/mine", patch))
        assert told == '299 - "node port 30007 is held by Service \\"other/web\\""'

    talk(conversation)


def test_a_number_that_the_request_itself_uses_twice_is_nobody_elses() -> None:
    ports = [{"name": "a", "port": 80, "nodePort": 30010},
             {"name": "b", "port": 76, "nodePort": 30010, "protocol": "UDP"}]  # fmt: skip

    async def conversation(ask: Conversation) -> None:
        told = _warning(await ask("POST", HERE, make_service("mine", type="NodePort", ports=ports)))
        assert "node port 30010 is asked for more than once" in told

    talk(conversation)


def test_an_address_object_of_somebody_is_named_with_what_it_belongs_to() -> None:
    parent = {"group": "example.com", "resource": "gateways", "namespace": "edge", "name": "outer"}
    address = {"metadata": {"name": "10.96.0.77"}, "spec": {"parentRef": parent}}

    async def conversation(ask: Conversation) -> None:
        await _prepare(ask)
        assert (await ask("POST", IP_ADDRESSES.path(""), address)).status == 201
        wanted = make_service("mine", clusterIP="10.96.0.77")
        told = _warning(await ask("POST", HERE, wanted))
        assert 'IPAddress \\"10.96.0.77\\", which belongs to gateways.example.com edge/outer' in told
        told = _warning(await ask("POST", HERE, wanted, identity=WRITER))
        assert told == '299 - "cluster IP 10.96.0.77 is held by something that is no Service"'

    talk(conversation)


def test_other_refusals_warn_of_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("POST", SERVICES.path("default"), make_service("mine", clusterIP="1.2.3.4"))
        assert (refused.status, "Warning" in refused.headers) == (422, False)

    talk(conversation)
