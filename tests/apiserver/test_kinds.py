"""Every kind through the server, from the least manifest to its end. Rule: spec "api-machinery" §1.3, trap 4, §8.1."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api import registry
from seaway.api.registry import RESOURCES, Resource
from tests.api.manifests import make_manifest
from tests.apiserver.conversation import Conversation, talk

Json = dict[str, Any]
CREATABLE = [resource for resource in RESOURCES if "create" in resource.verbs]
READ_ONLY = [resource for resource in RESOURCES if "create" not in resource.verbs]
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
ANSWER_WITH_OBJECT = {
    "services", "pods", "namespaces", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims",
    "podtemplates", "resourcequotas",
}  # fmt: skip
STAY = {"namespaces", "replicationcontrollers", "jobs"}  # until their finalizer is gone
PUT_CREATES = {
    "services", "endpoints", "events", "leases", "limitranges", "roles", "rolebindings", "clusterroles",
    "clusterrolebindings",
}  # fmt: skip
GENERATIONS = {
    "pods", "endpointslices", "replicationcontrollers", "podtemplates", "deployments", "replicasets", "statefulsets",
    "daemonsets", "jobs", "cronjobs", "ingresses", "ingressclasses", "networkpolicies", "poddisruptionbudgets",
    "priorityclasses",
}  # fmt: skip


def paths(resource: Resource, name: str = "") -> tuple[str, str]:
    """The collection, and the object of the least manifest."""
    namespace = "default" if resource.namespaced else ""
    return resource.path(namespace), resource.path(namespace, name or make_manifest(resource)["metadata"]["name"])


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda r: r.kind)
def test_a_life(resource: Resource) -> None:
    collection, item = paths(resource)

    async def conversation(ask: Conversation) -> None:
        created = await ask("POST", collection, make_manifest(resource))
        assert created.status == 201, created.body
        meta = created.body["metadata"]
        assert ("generation" in meta) is (resource.plural in GENERATIONS)
        read = await ask("GET", item)
        assert (read.status, read.body) == (200, created.body)
        table = await ask("GET", item, headers=TABLE)
        assert (table.body["kind"], len(table.body["rows"])) == ("Table", 1)
        listed = await ask("GET", f"{collection}?fieldSelector=metadata.name={meta['name']}")
        assert [found["metadata"]["name"] for found in listed.body["items"]] == [meta["name"]]
        same = await ask("PUT", item, read.body)
        assert (same.status, same.body) == (200, read.body)
        patched = await ask.patch(item, {"metadata": {"labels": {"tier": "front"}}})
        assert (patched.status, patched.body["metadata"]["labels"]["tier"]) == (200, "front")
        if "status" in resource.subresources:
            status = await ask.patch(f"{item}/status", {"status": {"conditions": None}})
            assert status.status == 200, status.body
        deleted = await ask("DELETE", item)
        assert deleted.status == 200
        kept = resource.plural in ANSWER_WITH_OBJECT | STAY
        assert deleted.body["kind"] == (resource.kind if kept else "Status")
        assert (await ask("GET", item)).status == (200 if resource.plural in STAY else 404)

    talk(conversation)


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda r: r.kind)
def test_put_creates_where_upstream_does(resource: Resource) -> None:
    _, item = paths(resource)

    async def conversation(ask: Conversation) -> None:
        body = make_manifest(resource)
        if resource is registry.LEASES:
            body["metadata"]["resourceVersion"] = "5"
        reply = await ask("PUT", item, body)
        assert reply.status == (201 if resource.plural in PUT_CREATES else 404), reply.body

    talk(conversation)


@pytest.mark.parametrize("resource", READ_ONLY, ids=lambda r: r.kind)
def test_a_kind_that_is_only_shown_is_empty_and_says_so(resource: Resource) -> None:
    collection, item = paths_of_read_only(resource)

    async def conversation(ask: Conversation) -> None:
        listed = await ask("GET", collection)
        assert (listed.status, listed.body["items"]) == (200, [])
        assert listed.body["kind"] == f"{resource.kind}List"
        watch = await ask.watch(collection)
        assert await watch.events() == []
        assert (await ask("GET", item)).status == 404
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
        for method, target in (("POST", collection), ("PUT", item), ("DELETE", item), ("DELETE", collection)):
            refused = await ask(method, target, obj)
            assert (refused.status, refused.body["reason"]) == (405, "MethodNotAllowed")
            assert refused.message == (
                "the server does not allow this method on the requested resource: this server keeps no "
                f"{resource.plural}.{resource.group}, it only answers get, list and watch"
            )

    talk(conversation)


def paths_of_read_only(resource: Resource) -> tuple[str, str]:
    return resource.path(), resource.path("", "x")


@pytest.mark.parametrize("resource", [registry.REPLICATION_CONTROLLERS, registry.JOBS], ids=lambda r: r.kind)
def test_a_delete_without_a_policy_leaves_the_pods_of_old_kinds(resource: Resource) -> None:
    collection, item = paths(resource)

    async def conversation(ask: Conversation) -> None:
        await ask("POST", collection, make_manifest(resource))
        deleted = await ask("DELETE", item)
        assert deleted.body["metadata"]["finalizers"] == ["orphan"]
        again = await ask("DELETE", item)
        assert again.body == deleted.body
        released = await ask.patch(item, {"metadata": {"finalizers": None}})
        assert released.status == 200
        assert (await ask("GET", item)).status == 404
        await ask("POST", collection, make_manifest(resource))
        gone = await ask("DELETE", item, {"propagationPolicy": "Background"})
        assert gone.body["status"] == "Success"

    talk(conversation)


def test_counts_of_a_status_are_never_missing() -> None:
    """Clients of typed languages refuse an object without them."""
    collection, item = paths(registry.DAEMON_SETS)

    async def conversation(ask: Conversation) -> None:
        created = await ask("POST", collection, make_manifest(registry.DAEMON_SETS))
        zeros = dict.fromkeys(
            ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"), 0
        )
        assert created.body["status"] == zeros
        written = await ask("PUT", f"{item}/status", {**created.body, "status": {"numberReady": 1}})
        assert written.body["status"] == {**zeros, "numberReady": 1}
        assert written.body["metadata"]["generation"] == 1

    talk(conversation)
