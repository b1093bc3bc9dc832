"""Logs, exec, attach and port-forward as the API server hands them to a node. Rule: spec "node" §5.3, §5.4."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from seaway.api.machinery.errors import ServiceUnavailable
from seaway.api.machinery.http import Bytes, Identity, Response
from seaway.apiserver.proxying.targets import Target
from seaway.apiserver.proxying.verb import Outgoing
from tests.apiserver.conversation import Conversation, talk

PODS = "/api/v1/namespaces/default/pods"
WEBSOCKET = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-protocol": "v5.channel.k8s.io"}
SPDY = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io"}
Json = dict[str, Any]


class Node:
    """Keeps what it was asked, and answers what it was told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Target, Outgoing]] = []
        self.status = 200
        self.text = b"hello\n"
        self.is_away = False

    async def exchange(self, target: Target, outgoing: Outgoing) -> Response:
        if self.is_away:
            raise ServiceUnavailable("error trying to reach service: dial tcp 192.0.2.1:10250: connect: refused")
        self.asked.append((target, outgoing))
        if outgoing.is_upgrade and self.status == 200:
            return Response(101, (("Upgrade", "x"),), tunnel=self._tunnel)
        return Response(self.status, (("Content-Type", "text/plain"),), self._send())

    async def _send(self) -> AsyncIterator[bytes]:
        yield self.text

    async def _tunnel(self, peer: Bytes) -> None:
        await peer.open()


async def open_node(ask: Conversation, *containers: str, init: str = "", features: bool = True) -> Node:
    """A node that the server can reach, and the Pod `web` on it."""
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10251}},
        "declaredFeatures": ["ExtendWebSocketsToKubelet"] if features else [],
    }
    assert (await ask.patch("/api/v1/nodes/n1/status", {"status": status})).status == 200
    spec: Json = {"nodeName": "n1", "containers": [{"name": n, "image": "x"} for n in containers or ("main",)]}
    if init:
        spec["initContainers"] = [{"name": init, "image": "x"}]
    created = await ask("POST", PODS, {"metadata": {"name": "web"}, "spec": spec})
    assert created.status == 201, created.body
    node = ask.server.state.backends = Node()
    return node


async def read(response: Response) -> tuple[int, bytes]:
    body = response.body
    return response.status, body if isinstance(body, bytes) else b"".join([piece async for piece in body])


def test_a_log_comes_from_the_pods_node_with_the_options_that_were_given() -> None:
    async def conversation(ask: Conversation) -> None:
        node = await open_node(ask)
        path = f"{PODS}/web/log?follow=true&tailLines=5&sinceTime=2026-01-01T00:00:00Z&timestamps=false"
        assert await read(await ask.send("GET", path)) == (200, b"hello\n")
        ((target, outgoing),) = node.asked
        assert (target.host, target.is_tls, target.is_kubelet) == ("192.0.2.1:10251", True, True)
        assert outgoing.target == (
            "/containerLogs/default/web/main?follow=true&tailLines=5&sinceTime=2026-01-01T00%3A00%3A00Z"
        )

    talk(conversation)


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        pytest.param("tailLines=-1", 422, "tailLines: Invalid value: -1", id="fewer than no lines"),
        pytest.param("limitBytes=0", 422, "limitBytes: Invalid value: 0", id="no bytes"),
        pytest.param("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0", id="no seconds"),
        pytest.param("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of", id="two limits in time"),
        pytest.param("tailLines=x", 400, "invalid syntax", id="no number"),
        pytest.param("sinceTime=x", 400, 'parsing time "x"', id="no time"),
        pytest.param("container=other", 400, "container other is not valid for pod web", id="no such container"),
    ],
)
def test_options_of_a_log_that_are_refused(query: str, code: int, text: str) -> None:
    async def conversation(ask: Conversation) -> None:
        node = await open_node(ask)
        reply = await ask("GET", f"{PODS}/web/log?{query}")
        assert (reply.status, text in reply.body["message"], node.asked) == (code, True, [])

    talk(conversation)


def test_of_several_containers_one_must_be_named() -> None:
    async def conversation(ask: Conversation) -> None:
        node = await open_node(ask, "a", "b", init="first")
        reply = await ask("GET", f"{PODS}/web/log")
        assert reply.body["message"] == ("a container name must be specified for pod web, choose one of: [first a b]")
        await ask.send("GET", f"{PODS}/web/log?container=first")
        assert node.asked[0][1].target == "/containerLogs/default/web/first"

    talk(conversation)


def test_what_the_node_refuses_comes_back_as_a_status() -> None:
    async def conversation(ask: Conversation) -> None:
        node = await open_node(ask)
        node.status, node.text = 400, b'previous terminated container "main" in pod "web" not found'
        reply = await ask("GET", f"{PODS}/web/log?previous=true")
        assert (reply.status, reply.body["message"]) == (400, node.text.decode())
        node.is_away = True
        reply = await ask("GET", f"{PODS}/web/log")
        assert reply.status == 500
        assert reply.body["message"] == "error dialing backend: dial tcp 192.0.2.1:10250: connect: refused"

    talk(conversation)


def test_a_pod_without_a_node_has_an_empty_log_and_runs_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "image": "x"}]}})
        assert (await ask.send("GET", f"{PODS}/web/log")).status == 200
        reply = await ask("POST", f"{PODS}/web/exec?stdout=true&command=ls", headers=SPDY)
        assert (reply.status, reply.body["message"]) == (400, "pod web does not have a host assigned")

    talk(conversation)


@pytest.mark.parametrize(
    ("method", "path", "headers", "sent"),
    [
        pytest.param(
            "GET",
            "exec?command=sh&command=-c&stdin=true&stdout=true&stderr=false&tty=true",
            WEBSOCKET,
            "/exec/default/web/main?input=1&output=1&tty=1&command=sh&command=-c",
            id="exec over a WebSocket",
        ),
        pytest.param("POST", "attach?stdout=1", SPDY, "/attach/default/web/main?output=1", id="attach over SPDY"),
        pytest.param("POST", "portforward?x=1", SPDY, "/portForward/default/web", id="ports over SPDY"),
        pytest.param("GET", "portforward?ports=80", WEBSOCKET, "/portForward/default/web?ports=80", id="ports by name"),
    ],
)
def test_a_stream_goes_to_the_node_as_it_is(method: str, path: str, headers: dict[str, str], sent: str) -> None:
    async def conversation(ask: Conversation) -> None:
        node = await open_node(ask)
        response = await ask.send(method, f"{PODS}/web/{path}", headers={**headers, "authorization": "Bearer secret"})
        assert (response.status, response.tunnel is not None) == (101, True)
        ((_, outgoing),) = node.asked
        fields = {name.lower(): value for name, value in outgoing.fields}
        assert (outgoing.method, outgoing.target) == (method, sent)
        assert "authorization" not in fields
        assert fields["upgrade"] == headers["upgrade"]

    talk(conversation)


def test_a_node_that_offers_no_websockets_is_asked_over_spdy() -> None:
    async def conversation(ask: Conversation) -> None:
        node = await open_node(ask, features=False)
        refused = await ask("GET", f"{PODS}/web/exec?stdout=1&command=ls", headers=WEBSOCKET)
        assert (refused.status, node.asked) == (400, [])
        assert (await ask.send("POST", f"{PODS}/web/exec?stdout=1&command=ls", headers=SPDY)).status == 101

    talk(conversation)


def test_a_request_that_leads_to_no_stream_is_refused() -> None:
    async def conversation(ask: Conversation) -> None:
        await open_node(ask)
        reply = await ask("GET", f"{PODS}/web/exec?stdout=1&command=ls")
        assert (reply.status, reply.body["message"]) == (400, "Upgrade request required")
        assert (await ask("DELETE", f"{PODS}/web/exec", headers=SPDY)).status == 405
        assert (await ask("GET", f"{PODS}/gone/attach?stdout=1", headers=SPDY)).status == 404

    talk(conversation)


def test_reading_alone_is_no_right_to_run_programs() -> None:
    async def conversation(ask: Conversation) -> None:
        await open_node(ask)
        role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]}
        roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        await ask("POST", f"{roles}/roles", role)
        binding = {
            "metadata": {"name": "r"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        assert (await ask("POST", f"{roles}/rolebindings", binding)).status == 201
        eve = Identity("eve", ("system:authenticated",))
        reply = await ask("GET", f"{PODS}/web/exec?stdout=1&command=ls", headers=WEBSOCKET, identity=eve)
        assert reply.status == 403
        assert 'cannot create resource "pods/exec"' in reply.body["message"]

    talk(conversation)
