"""What holds for every request: whom the path is about, which headers the answer has, what broken stores cost.

Rule: spec "api-machinery" §0, §1.1, §1.4, §2.1, §2.2, §6.2.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.api.machinery.yaml_codec import encode_yaml
from seaway.store.contract import StoreError
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_pod, make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, talk

Json = dict[str, Any]
ROLES = "/apis/rbac.authorization.k8s.io/v1"
ANN = Identity("ann", ("system:authenticated",))


async def allow(ask: Conversation, namespace: str, **rule: Any) -> None:
    """Let ann do that in the namespace."""
    path = f"{ROLES}/namespaces/{namespace}"
    assert (await ask("POST", f"{path}/roles", {"metadata": {"name": "r"}, "rules": [rule]})).status == 201
    bound = {"metadata": {"name": "r"}, "subjects": [{"kind": "User", "name": "ann"}],
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}}  # fmt: skip
    assert (await ask("POST", f"{path}/rolebindings", bound)).status == 201


def test_a_role_for_one_name_lists_and_watches_by_that_name() -> None:
    async def conversation(ask: Conversation) -> None:
        rule = {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["services"]}
        await allow(ask, "default", **rule, resourceNames=["web"])
        await ask("POST", SERVICES, make_service())
        named = f"{SERVICES}?fieldSelector=metadata.name%3Dweb"
        assert len((await ask("GET", named, identity=ANN)).body["items"]) == 1
        assert await (await ask.watch(named, identity=ANN)).names() == [("ADDED", "web")]
        old = "/api/v1/watch/namespaces/default/services/web"
        assert (await ask.send("GET", old, identity=ANN)).status == 200
        for target in (SERVICES, f"{SERVICES}?fieldSelector=metadata.name%3Ddb", f"{SERVICES}?watch=1"):
            assert (await ask("GET", target, identity=ANN)).status == 403, target

    talk(conversation)


def test_a_role_inside_a_namespace_speaks_of_the_namespace_too() -> None:
    async def conversation(ask: Conversation) -> None:
        await allow(ask, "default", verbs=["get"], apiGroups=[""], resources=["namespaces"])
        assert (await ask("GET", "/api/v1/namespaces/default", identity=ANN)).status == 200
        assert (await ask("GET", "/api/v1/namespaces/kube-system", identity=ANN)).status == 403

    talk(conversation)


def test_every_answer_is_not_to_be_kept_and_can_be_found_in_the_audit() -> None:
    async def conversation(ask: Conversation) -> None:
        for target in (SERVICES, f"{SERVICES}/none", "/nowhere", "/version", "/api/v1"):
            answer = await ask("GET", target)
            assert answer.headers["Cache-Control"] == "no-cache, private" and len(answer.headers["Audit-Id"]) == 36
        named = await ask("GET", SERVICES, headers={"audit-id": "mine"})
        assert named.headers["Audit-Id"] == "mine"

    talk(conversation)


def test_refusals_come_in_the_form_that_the_client_reads() -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("GET", f"{SERVICES}/none?pretty=true")
        assert answer.text.startswith(b'{\n  "kind": "Status",\n') and answer.text.endswith(b"}\n")
        listed = await ask("GET", CONFIG_MAPS)
        assert listed.text.endswith(b'"items":[]}\n') and listed.headers["Content-Type"] == "application/json"

    talk(conversation)


@pytest.mark.parametrize(
    ("query", "agent", "is_pretty"),
    [
        ("", "kubectl/v1.36", False),
        ("", "curl/8.0", True),
        ("", "Wget/1.2", True),
        ("", "Mozilla/5.0 (X11)", True),
        ("?pretty=true", "kubectl", True),
        ("?pretty=1", "kubectl", True),
        ("?pretty=", "kubectl", True),
        ("?pretty=0", "curl/8.0", False),
        ("?pretty=False", "curl/8.0", False),
    ],
)
def test_people_get_indented_text(query: str, agent: str, is_pretty: bool) -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("GET", f"/api/v1/namespaces/default{query}", headers={"user-agent": agent})
        assert answer.text.startswith(b'{\n  "') is is_pretty

    talk(conversation)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_body_without_a_type_is_json(method: str) -> None:
    async def conversation(ask: Conversation) -> None:
        if method != "POST":
            await ask("POST", SERVICES, make_service())
        body = {"propagationPolicy": "Background"} if method == "DELETE" else make_service()
        answer = await ask(method, SERVICES if method == "POST" else f"{SERVICES}/web", body, headers={})
        assert answer.status in (200, 201), answer.body

    talk(conversation)


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/yaml;q=1"])
def test_parameters_and_case_of_the_type_do_not_count(media: str) -> None:
    body = make_service()

    async def conversation(ask: Conversation) -> None:
        raw = encode_yaml(body) if "yaml" in media else None
        assert (await ask("POST", SERVICES, raw or body, headers={"content-type": media})).status == 201

    talk(conversation)


@pytest.mark.parametrize("api_version", ["v1", "meta.k8s.io/v1", "apps/v1", "unheard.of/v7", None])
def test_the_options_of_a_delete_are_of_any_version(api_version: str | None) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        options: Json = {"propagationPolicy": "Foreground", "colour": "red"}
        if api_version:
            options |= {"kind": "DeleteOptions", "apiVersion": api_version}
        held = await ask("DELETE", f"{CONFIG_MAPS}/a", options)
        assert held.body["metadata"]["finalizers"] == ["foregroundDeletion"]

    talk(conversation)


def test_a_body_hides_the_query_of_a_delete() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        gone = await ask("DELETE", f"{CONFIG_MAPS}/a?dryRun=All&propagationPolicy=Orphan", {})
        assert gone.body["kind"] == "Status"
        assert (await ask("GET", f"{CONFIG_MAPS}/a")).status == 404

    talk(conversation)


def test_kind_and_version_come_from_the_path_when_the_body_lacks_them() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
        assert (made.body["kind"], made.body["apiVersion"]) == ("Service", "v1")

    talk(conversation)


def test_patches_at_once_are_all_applied_and_never_in_conflict() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service())
        patches = [ask.patch(f"{SERVICES}/web", {"metadata": {"labels": {f"l{n}": "x"}}}) for n in range(20)]
        assert {answer.status for answer in await asyncio.gather(*patches)} == {200}
        labels = (await ask("GET", f"{SERVICES}/web")).body["metadata"]["labels"]
        assert {f"l{n}" for n in range(20)} <= set(labels)

    talk(conversation)


class BrokenStore(MemoryStore):
    """A disk that is full from some moment on."""

    is_full = False

    async def commit(self, preconditions: Any, writes: Any) -> tuple[int, ...]:
        if self.is_full:
            raise StoreError("disk full")
        return await super().commit(preconditions, writes)


def test_a_store_that_fails_is_a_timeout_of_the_server_that_names_the_operation() -> None:
    store = BrokenStore()

    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        store.is_full = True
        refused = {
            "create": await ask("POST", CONFIG_MAPS, {"metadata": {"name": "b"}}),
            "update": await ask.patch(f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}),
            "delete": await ask("DELETE", f"{CONFIG_MAPS}/a"),
        }
        for operation, answer in refused.items():
            assert (answer.status, answer.body["reason"]) == (500, "ServerTimeout")
            assert answer.message == (
                f"The {operation} operation against configmaps could not be completed at this time, please try again."
            )
            details = {"name": operation, "kind": "configmaps", "retryAfterSeconds": 2}
            assert (answer.body["details"], answer.headers["Retry-After"]) == (details, "2")
        assert (await ask("GET", f"{CONFIG_MAPS}/a")).status == 200, "what is in memory is still served"
        assert len(ask.effects.reported) == 3, "and the operator is told"
        ask.effects.reported.clear()
        store.is_full = False

    talk(conversation, store=store)


POD_FIELDS = {
    "spec.nodeName": "n1",
    "spec.host": "n1",
    "spec.restartPolicy": "Never",
    "spec.schedulerName": "mine",
    "spec.serviceAccountName": "robot",
    "spec.hostNetwork": "false",
    "status.phase": "Running",
    "status.podIP": "10.244.0.9",
    "status.podIPs": "10.244.0.9",
    "status.nominatedNodeName": "",
    "metadata.name": "web-1",
    "metadata.namespace": "default",
}


@pytest.mark.parametrize(("field", "value"), POD_FIELDS.items(), ids=POD_FIELDS)
def test_fields_of_a_pod(field: str, value: str) -> None:
    async def conversation(ask: Conversation) -> None:
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await ask("POST", accounts, {"metadata": {"name": "robot"}})
        spec = {"nodeName": "n1", "restartPolicy": "Never", "schedulerName": "mine", "serviceAccountName": "robot"}
        pods = "/api/v1/namespaces/default/pods"
        made = await ask("POST", pods, make_pod(**spec))
        assert made.status == 201, made.body
        await ask("PUT", f"{pods}/web-1/status", make_pod(ip="10.244.0.9", **spec))
        for sign, found in (("%3D", 1), ("%3D%3D", 1), ("!%3D", 0)):
            listed = await ask("GET", f"/api/v1/pods?fieldSelector={field}{sign}{value}")
            assert len(listed.body["items"]) == found, (sign, listed.body)

    talk(conversation)


def test_the_root_says_what_there_is() -> None:
    async def conversation(ask: Conversation) -> None:
        paths = (await ask("GET", "/")).body["paths"]
        assert paths == sorted(paths) and {"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"} <= set(paths)
        for path in paths:
            headers = {"accept": "application/json"}
            assert (await ask("GET", path, headers=headers)).status == 200, path
        assert (await ask("POST", "/", {})).status == 405

    talk(conversation)


def test_a_get_waits_for_its_version_and_says_when_it_does_not_come() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service())
        now = int(made.body["metadata"]["resourceVersion"])
        for version in ("0", str(now), "1"):
            assert (await ask("GET", f"{SERVICES}/web?resourceVersion={version}")).body == made.body
        asked = asyncio.ensure_future(ask("GET", f"{SERVICES}/web?resourceVersion={now + 1}"))
        await asyncio.sleep(0)
        changed = await ask.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})
        assert (await asked).body == changed.body
        lost = asyncio.ensure_future(ask("GET", f"{SERVICES}/web?resourceVersion={now + 9}"))
        await asyncio.sleep(0)
        await ask.effects.advance(3)
        refused = await lost
        assert (refused.status, refused.headers["Retry-After"]) == (504, "1")
        assert refused.message == f"Timeout: Too large resource version: {now + 9}, current: {now + 1}"

    talk(conversation)


def test_a_token_goes_with_any_version_and_no_other() -> None:
    async def conversation(ask: Conversation) -> None:
        for name in "abc":
            await ask("POST", CONFIG_MAPS, {"metadata": {"name": name}})
        first = (await ask("GET", f"{CONFIG_MAPS}?limit=1")).body["metadata"]
        rest = f"{CONFIG_MAPS}?continue={first['continue']}"
        for version in ("", "&resourceVersion=", "&resourceVersion=0"):
            listed = (await ask("GET", rest + version)).body
            assert [item["metadata"]["name"] for item in listed["items"]] == ["b", "c"]
        assert (await ask("GET", f"{rest}&resourceVersion={first['resourceVersion']}")).status == 400

    talk(conversation)
