"""Endpoints whose addresses are cluster IPs: taken, and warned of. Rule: spec "service-api" §14 (27)."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.testing.builders import make_service, make_slice, merge
from tests.apiserver.conversation import ADMIN, SERVICES, Conversation, talk

Json = dict[str, Any]
ENDPOINTS = "/api/v1/namespaces/default/endpoints"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
WRITER = Identity("writer", ("system:authenticated",))
SLICE = make_slice("hand", "web", ["10.1.2.3", "10.96.0.9"])
OBJECT: Json = {"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "10.1.2.3"}],
                "notReadyAddresses": [{"ip": "10.96.0.9"}], "ports": [{"port": 80}]}]}  # fmt: skip


async def warnings_of(ask: Conversation, path: str, obj: Json, identity: Identity = ADMIN) -> str:
    response = await ask.send("POST", path, obj, identity=identity)
    assert response.status == 201, response.body
    return "\n".join(value for name, value in response.headers if name == "Warning")


async def prepare(ask: Conversation) -> None:
    assert (await ask("POST", SERVICES, make_service("db", clusterIP="10.96.0.9"))).status == 201


@pytest.mark.parametrize(
    ("path", "obj", "where"),
    [
        pytest.param(ENDPOINTS, OBJECT, "subsets[0].notReadyAddresses[0].ip", id="in Endpoints"),
        pytest.param(SLICES, SLICE, "endpoints[1].addresses[0]", id="in a slice"),
    ],
)
def test_the_service_is_named(path: str, obj: Json, where: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await prepare(ask)
        text = f'{where}: 10.96.0.9 is the cluster IP of Service \\"default/db\\", and no node forwards to a cluster IP'
        assert text in await warnings_of(ask, path, obj)
        name = obj["metadata"]["name"]
        reply = await ask.patch(f"{path}/{name}", {"metadata": {"labels": {"a": "b"}}})
        assert text in reply.headers["Warning"], "an update is told too"
        await ask("DELETE", f"{SERVICES}/db")
        reply = await ask.patch(f"{path}/{name}", {"metadata": {"labels": {"a": "c"}}})
        assert "cluster IP" not in reply.headers.get("Warning", ""), "the address is free now"

    talk(conversation)


def test_who_may_not_read_the_service_is_not_told_its_name() -> None:
    async def conversation(ask: Conversation) -> None:
        await prepare(ask)
        rule = {"apiGroups": [""], "resources": ["endpoints"], "verbs": ["create"]}
        await ask("POST", f"{RBAC}/roles", {"metadata": {"name": "w"}, "rules": [rule]})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "w"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": WRITER.user}
        await ask("POST", f"{RBAC}/rolebindings", {"metadata": {"name": "w"}, "roleRef": role, "subjects": [subject]})
        text = await warnings_of(ask, ENDPOINTS, OBJECT, WRITER)
        assert "10.96.0.9 is the cluster IP of another Service" in text
        assert "default/db" not in text

    talk(conversation)


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(make_slice("hand", "web", ["10.1.2.3"]), id="other addresses"),
        pytest.param(merge(make_slice("hand", "web", ["a.example.com"]), {"addressType": "FQDN"}), id="domain names"),
        pytest.param(merge(SLICE, {"metadata": {"labels": {
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}}),
            id="what the controller writes, which knows Pods alone"),
    ],
)  # fmt: skip
def test_nothing_is_said_of(obj: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        await prepare(ask)
        assert "cluster IP" not in await warnings_of(ask, SLICES, obj)

    talk(conversation)


def test_the_first_few_are_enough() -> None:
    async def conversation(ask: Conversation) -> None:
        await prepare(ask)
        text = await warnings_of(ask, SLICES, make_slice("hand", "web", ["10.96.0.9"] * 9))
        assert text.count("is the cluster IP of") == 5

    talk(conversation)
