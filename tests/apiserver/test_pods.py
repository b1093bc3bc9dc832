"""What Pods have besides a status: nodes to be bound to, and containers for debugging.

Rule: spec "api-machinery" §9.2 (binding), §9.6 (ephemeralcontainers).
"""

from __future__ import annotations

from typing import Any

import pytest

from seaway.testing.builders import make_pod
from tests.apiserver.conversation import Conversation, talk

Json = dict[str, Any]
NAMESPACE = "/api/v1/namespaces/default"
PODS = f"{NAMESPACE}/pods"
POD = f"{PODS}/web-1"
BINDING = {"metadata": {"name": "web-1"}, "target": {"kind": "Node", "name": "n1"}}


@pytest.mark.parametrize("path", [f"{POD}/binding", f"{NAMESPACE}/bindings"], ids=["of the Pod", "of the namespace"])
def test_a_binding_gives_the_pod_its_node(path: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod())
        annotated = {**BINDING, "metadata": {"name": "web-1", "annotations": {"a": "b"}}}
        bound = await ask("POST", path, annotated)
        assert (bound.status, bound.body["status"]) == (201, "Success")
        pod = (await ask("GET", POD)).body
        assert pod["spec"]["nodeName"] == "n1" and pod["metadata"]["annotations"] == {"a": "b"}

    talk(conversation)


@pytest.mark.parametrize(
    ("binding", "path", "code", "message"),
    [
        pytest.param({"metadata": {"name": "web-1"}}, f"{POD}/binding", 422,
                     'Binding "web-1" is invalid: target.name: Required value', id="to no node"),
        pytest.param({**BINDING, "target": {"kind": "Pod", "name": "n"}}, f"{POD}/binding", 422,
                     'Binding "web-1" is invalid: target.kind: Unsupported value: "Pod": supported values: "<empty>", '
                     '"Node"', id="to no kind of node"),
        pytest.param({**BINDING, "metadata": {"name": "x"}}, f"{POD}/binding", 400,
                     "name in URL does not match name in Binding object", id="of another Pod"),
        pytest.param({"target": BINDING["target"]}, f"{NAMESPACE}/bindings", 400, "name must be provided",
                     id="of no Pod"),
        pytest.param({**BINDING, "metadata": {"name": "web-1", "uid": "x"}}, f"{POD}/binding", 409,
                     'Operation cannot be fulfilled on pods/binding "web-1": Precondition failed: UID in precondition: '
                     "x, UID in object meta: ", id="of another uid"),
        pytest.param({**BINDING, "metadata": {"name": "none"}}, f"{NAMESPACE}/bindings", 404, 'pods "none" not found',
                     id="of a Pod that is not there"),
    ],
)  # fmt: skip
def test_what_is_no_binding(binding: Json, path: str, code: int, message: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod())
        answer = await ask("POST", path, binding)
        assert answer.status == code and answer.message.startswith(message), answer.message

    talk(conversation)


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        pytest.param(make_pod(nodeName="n1"), 'pod web-1 is already assigned to node "n1"', id="bound already"),
        pytest.param(make_pod(schedulingGates=[{"name": "a/b"}]), "pod web-1 has non-empty .spec.schedulingGates",
                     id="gated"),
        pytest.param(make_pod(meta={"finalizers": ["a/b"]}), "pod web-1 is being deleted, cannot be assigned to a host",
                     id="going"),
    ],
)  # fmt: skip
def test_who_cannot_be_bound(pod: Json, why: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, pod)
        if "finalizers" in pod["metadata"]:
            await ask("DELETE", POD)
        refused = await ask("POST", f"{POD}/binding", BINDING)
        assert (refused.status, refused.message) == (
            409, f'Operation cannot be fulfilled on pods/binding "web-1": {why}')  # fmt: skip

    talk(conversation)


def test_bindings_are_made_and_never_kept() -> None:
    async def conversation(ask: Conversation) -> None:
        for method, path in (("GET", "bindings"), ("DELETE", "bindings"), ("GET", "bindings/a"), ("PUT", "bindings/a")):
            assert (await ask(method, f"{NAMESPACE}/{path}", {})).status == 405, (method, path)
        assert (await ask("POST", "/api/v1/bindings", BINDING)).status == 405
        document = (await ask("GET", "/api/v1")).body
        (entry,) = [resource for resource in document["resources"] if resource["name"] == "bindings"]
        assert (entry["kind"], entry["verbs"]) == ("Binding", ["create"])
        tried = await ask("POST", f"{NAMESPACE}/bindings?dryRun=All", BINDING)
        assert tried.status == 404

    talk(conversation)


def make_debugger(name: str = "debug", **fields: Any) -> Json:
    return {"name": name, "image": "tools", **fields}


def patch_of(*containers: Json, **spec: Any) -> Json:
    return {"spec": {"ephemeralContainers": list(containers), **spec}}


STRATEGIC = "strategic-merge-patch+json"


def test_a_debugger_comes_to_a_running_pod_and_nothing_else_changes() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", PODS, make_pod())).body
        patch = patch_of(make_debugger(targetContainerName="main"), restartPolicy="Never")
        added = await ask.patch(f"{POD}/ephemeralcontainers", {**patch, "metadata": {"labels": {"a": "b"}}},
                                kind=STRATEGIC)  # fmt: skip
        assert added.status == 200, added.body
        (container,) = added.body["spec"]["ephemeralContainers"]
        assert container["targetContainerName"] == "main" and container["terminationMessagePolicy"] == "File"
        assert added.body["spec"]["restartPolicy"] == "Always" and "a" not in added.body["metadata"].get("labels", {})
        assert added.body["metadata"]["generation"] == made["metadata"]["generation"] + 1
        assert (await ask("GET", f"{POD}/ephemeralcontainers")).body == added.body
        body = added.body
        body["spec"]["ephemeralContainers"].append(make_debugger("second"))
        second = await ask("PUT", f"{POD}/ephemeralcontainers", body)
        assert [c["name"] for c in second.body["spec"]["ephemeralContainers"]] == ["debug", "second"]
        stale = await ask("PUT", f"{POD}/ephemeralcontainers", body)
        assert stale.status == 409

    talk(conversation)


FIELD = "spec.ephemeralContainers"


@pytest.mark.parametrize(
    ("containers", "error"),
    [
        pytest.param([], f'{FIELD}: Forbidden: existing ephemeral containers "debug" may not be removed\n',
                     id="removed"),
        pytest.param([make_debugger(image="other")],
                     f'{FIELD}: Forbidden: existing ephemeral containers "debug" may not be changed\n', id="changed"),
        pytest.param([make_debugger(), make_debugger("main")], f'{FIELD}[1].name: Duplicate value: "main"',
                     id="named as another container"),
        pytest.param([make_debugger(), make_debugger("b", ports=[{"containerPort": 80}])],
                     f"{FIELD}[1].ports: Forbidden: cannot be set for an Ephemeral Container", id="with ports"),
        pytest.param([make_debugger(), make_debugger("b", targetContainerName="x")],
                     f'{FIELD}[1].targetContainerName: Not found: "x"', id="beside nobody"),
        pytest.param([make_debugger(), {"name": "b"}], f"{FIELD}[1].image: Required value", id="of no image"),
    ],
)  # fmt: skip
def test_debuggers_stay_as_they_are_and_new_ones_are_good(containers: list[Json], error: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod())
        added = await ask.patch(f"{POD}/ephemeralcontainers", patch_of(make_debugger()), kind=STRATEGIC)
        body = added.body
        body["spec"]["ephemeralContainers"] = containers
        refused = await ask("PUT", f"{POD}/ephemeralcontainers", body)
        assert refused.status == 422 and error in refused.message, refused.message

    talk(conversation)


def test_no_other_way_leads_to_a_debugger() -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("POST", PODS, make_pod(ephemeralContainers=[make_debugger()]))
        assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in refused.message
        await ask("POST", PODS, make_pod())
        changed = await ask.patch(POD, patch_of(make_debugger()), kind=STRATEGIC)
        assert changed.status == 422 and "pod updates may not change fields other than" in changed.message

    talk(conversation)


OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}


def test_a_status_write_keeps_owners_spec_and_the_time_of_the_end_and_takes_the_rest() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", PODS, make_pod(meta={"ownerReferences": [OWNER]}))).body
        body = make_pod("web-1", ip="10.244.0.9", meta={"labels": {"a": "b"}, "finalizers": ["x/y"],
                        "ownerReferences": [], "deletionTimestamp": "2020-01-01T00:00:00Z"})  # fmt: skip
        body["spec"] = {"containers": []}
        written = (await ask("PUT", f"{POD}/status", body)).body
        meta = written["metadata"]
        assert (meta["labels"], meta["finalizers"], meta["ownerReferences"]) == ({"a": "b"}, ["x/y"], [OWNER])
        assert "deletionTimestamp" not in meta and meta["generation"] == made["metadata"]["generation"]
        assert written["spec"] == made["spec"] and written["status"]["podIP"] == "10.244.0.9"
        assert (await ask("GET", f"{POD}/status")).body == written
        stale = {**body, "metadata": {"name": "web-1", "resourceVersion": made["metadata"]["resourceVersion"]}}
        assert (await ask("PUT", f"{POD}/status", stale)).status == 409
        other = {**body, "metadata": {"name": "web-1", "uid": "x"}}
        assert (await ask("PUT", f"{POD}/status", other)).status == 409
        assert (await ask.patch(f"{POD}/status", {"metadata": {"uid": "x"}})).status == 422

    talk(conversation)
