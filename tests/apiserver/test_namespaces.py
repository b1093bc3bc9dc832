"""Namespaces: what the server keeps right, and how they end. Rule: spec "api-machinery" §8.3."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.testing.builders import make_service
from tests.apiserver.conversation import Conversation, talk

Json = dict[str, Any]
NAMESPACES = "/api/v1/namespaces"
LABEL = "kubernetes.io/metadata.name"


def make_namespace(name: str = "n", **meta: Any) -> Json:
    return {"metadata": {"name": name, **meta}}


def test_what_an_earlier_namespace_has_left_behind_is_not_written_over() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
        account = (await ask("GET", "/api/v1/namespaces/n/serviceaccounts/default")).body
        await ask("DELETE", "/api/v1/namespaces/n")
        assert (await ask("PUT", "/api/v1/namespaces/n/finalize", {"metadata": {"name": "n"}})).status == 200
        assert (await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})).status == 201
        assert (await ask("GET", "/api/v1/namespaces/n/serviceaccounts/default")).body == account

    talk(conversation)


def test_a_namespace_is_created_active_labelled_and_held() -> None:
    async def conversation(ask: Conversation) -> None:
        body = {**make_namespace(labels={LABEL: "else", "a": "b"}), "spec": {"finalizers": ["x/y"]}}
        made = (await ask("POST", NAMESPACES, {**body, "status": {"phase": "Terminating"}})).body
        assert made["spec"]["finalizers"] == ["x/y", "kubernetes"]
        assert made["status"] == {"phase": "Active"}
        assert made["metadata"]["labels"] == {LABEL: "n", "a": "b"}

    talk(conversation)


@pytest.mark.parametrize("path", ["", "/status", "/finalize"])
def test_every_write_brings_the_label_back(path: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace())
        written = await ask("PUT", f"{NAMESPACES}/n{path}", {**make_namespace(), "spec": {"finalizers": ["x/y"]}})
        assert written.status == 200 and written.body["metadata"]["labels"] == {LABEL: "n"}

    talk(conversation)


def test_a_main_write_changes_neither_finalizers_nor_status() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", NAMESPACES, make_namespace())).body
        patch = {"spec": {"finalizers": []}, "status": {"phase": "Terminating"}}
        assert (await ask.patch(f"{NAMESPACES}/n", patch)).body == made

    talk(conversation)


def test_a_status_write_takes_metadata_and_a_finalize_keeps_the_status() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace())
        status = {"phase": "Active", "conditions": [{"type": "A", "status": "True"}]}
        written = await ask("PUT", f"{NAMESPACES}/n/status", {**make_namespace(labels={"a": "b"}), "status": status})
        assert written.body["metadata"]["labels"] == {LABEL: "n", "a": "b"}
        assert written.body["spec"]["finalizers"] == ["kubernetes"]
        body = {**make_namespace(annotations={"c": "d"}), "spec": {"finalizers": ["x/y"]}, "status": {}}
        finalized = (await ask("PUT", f"{NAMESPACES}/n/finalize", body)).body
        assert finalized["spec"]["finalizers"] == ["x/y"] and finalized["status"] == written.body["status"]
        assert finalized["metadata"]["annotations"] == {"c": "d"}

    talk(conversation)


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        pytest.param(
            "/status",
            {"status": {"phase": "Terminating"}},
            "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if 'deletionTimestamp' is empty",
            id="only a delete makes it terminating",
        ),
        pytest.param(
            "/finalize",
            {"spec": {"finalizers": ["x"]}},
            'spec.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully '
            "qualified",
            id="finalizers of the spec are qualified",
        ),
    ],
)
def test_what_is_refused(path: str, body: Json, text: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace())
        refused = await ask("PUT", f"{NAMESPACES}/n{path}", {**make_namespace(), **body})
        assert (refused.status, refused.message) == (422, f'Namespace "n" is invalid: {text}')

    talk(conversation)


def test_a_terminating_namespace_stays_terminating() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace())
        await ask("DELETE", f"{NAMESPACES}/n")
        refused = await ask("PUT", f"{NAMESPACES}/n/status", {**make_namespace(), "status": {"phase": "Active"}})
        assert refused.message == (
            'Namespace "n" is invalid: status.Phase: Invalid value: "Active": '
            "may only be 'Terminating' if 'deletionTimestamp' is not empty"
        )

    talk(conversation)


def test_the_first_delete_only_marks_and_a_later_one_removes_what_nothing_holds() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace())
        await ask("PUT", f"{NAMESPACES}/n/finalize", {**make_namespace(), "spec": {"finalizers": []}})
        marked = await ask("DELETE", f"{NAMESPACES}/n")
        assert (marked.status, marked.body["status"]["phase"]) == (200, "Terminating")
        assert (await ask("GET", f"{NAMESPACES}/n")).status == 200
        gone = await ask("DELETE", f"{NAMESPACES}/n")
        assert (gone.status, gone.body["kind"]) == (200, "Namespace")
        assert (await ask("GET", f"{NAMESPACES}/n")).status == 404

    talk(conversation)


def test_both_kinds_of_finalizers_must_be_gone() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace(finalizers=["x/y"]))
        begun = (await ask("DELETE", f"{NAMESPACES}/n")).body
        begun["spec"]["finalizers"] = []
        finalized = await ask("PUT", f"{NAMESPACES}/n/finalize", begun)
        assert finalized.status == 200 and (await ask("GET", f"{NAMESPACES}/n")).status == 200
        ended = await ask.patch(f"{NAMESPACES}/n", {"metadata": {"finalizers": None}})
        assert ended.status == 200 and (await ask("GET", f"{NAMESPACES}/n")).status == 404

    talk(conversation)


def test_in_a_terminating_namespace_nothing_is_made_but_all_is_changed_and_deleted() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", NAMESPACES, make_namespace())
        services = f"{NAMESPACES}/n/services"
        await ask("POST", services, make_service("web", "n"))
        await ask("DELETE", f"{NAMESPACES}/n")
        for target, body in ((services, make_service("b", "n")), (f"{services}?dryRun=All", make_service("b", "n"))):
            refused = await ask("POST", target, body)
            assert refused.status == 403 and refused.body["details"]["causes"] == [
                {"reason": "NamespaceTerminating", "message": "namespace n is being terminated",
                 "field": "metadata.namespace"}]  # fmt: skip
        assert (await ask("PUT", f"{services}/b", make_service("b", "n"))).status == 403, "a PUT that would create"
        assert (await ask.patch(f"{services}/web", {"metadata": {"labels": {"a": "b"}}})).status == 200
        assert (await ask("DELETE", f"{services}/web")).status == 200

    talk(conversation)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_three_namespaces_are_immortal(name: str) -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("DELETE", f"{NAMESPACES}/{name}")
        why = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        assert (refused.status, refused.message) == (403, why)

    talk(conversation)


def test_a_rehearsed_delete_of_a_namespace_shows_its_end_and_begins_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", NAMESPACES, make_namespace())).body
        tried = (await ask("DELETE", f"{NAMESPACES}/n?dryRun=All")).body
        assert tried["status"]["phase"] == "Terminating" and "deletionTimestamp" in tried["metadata"]
        assert tried["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert (await ask("GET", f"{NAMESPACES}/n")).body == made

    talk(conversation)
