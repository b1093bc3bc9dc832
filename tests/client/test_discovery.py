"""Rule: spec "api-machinery" §3 (discovery)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.registry import SERVED, Resource
from seaway.client.discovery import (
    Discovery,
    choose_versions,
    discover,
    parse_aggregated,
    parse_group_versions,
    parse_resource_list,
    select_with_verbs,
)
from seaway.client.requests import Client
from seaway.client.transport import InProcessTransport
from seaway.testing.cluster import open_cluster

Json = dict[str, Any]


def spell(resources: tuple[Resource, ...]) -> list[str]:
    return [f"{r.api_version} {r.kind} {r.plural}{' namespaced' if r.namespaced else ''}" for r in resources]


AGGREGATED: Json = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {"metadata": {"name": "apps"}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": [
                {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced",
                 "singularResource": "deployment", "verbs": ["get", "list"],
                 "subresources": [{"subresource": "scale", "verbs": ["get"]}]}]},
            {"version": "v1beta1", "resources": [
                {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": []},
                {"resource": "olds", "responseKind": {"kind": "Old"}, "scope": "Cluster", "verbs": ["get"]}]}]},
        {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale"}]},
    ],
}  # fmt: skip


def test_an_aggregated_document_has_everything_at_once() -> None:
    found = parse_aggregated(AGGREGATED)
    assert spell(found.resources) == [
        "apps/v1 Deployment deployments namespaced", "apps/v1beta1 Deployment deployments namespaced",
        "apps/v1beta1 Old olds",
    ]  # fmt: skip
    assert found.failures == ("metrics.k8s.io/v1beta1: its server does not answer",)


def test_the_first_version_of_a_kind_is_taken() -> None:
    chosen = choose_versions(reversed(parse_aggregated(AGGREGATED).resources))
    assert spell(chosen) == ["apps/v1beta1 Deployment deployments namespaced", "apps/v1beta1 Old olds"]
    assert choose_versions(()) == ()


def test_older_documents_name_the_preferred_version_first() -> None:
    assert parse_group_versions({"kind": "APIVersions", "versions": ["v1"]}) == ("v1",)
    groups = [{
        "versions": [{"groupVersion": "a/v1"}, {"groupVersion": "a/v2"}], "preferredVersion": {"groupVersion": "a/v2"},
    }]  # fmt: skip
    assert parse_group_versions({"kind": "APIGroupList", "groups": groups}) == ("a/v2", "a/v1")


def test_subresources_are_no_kinds() -> None:
    rows = [
        {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list"]},
        {"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
    ]
    assert spell(parse_resource_list({"groupVersion": "v1", "resources": rows})) == ["v1 Pod pods namespaced"]


def test_only_those_that_allow_all_verbs() -> None:
    resources = parse_aggregated(AGGREGATED).resources
    assert spell(select_with_verbs(resources, "get", "list")) == ["apps/v1 Deployment deployments namespaced"]


def test_a_kind_of_a_group_that_does_not_answer_may_still_be_there() -> None:
    found = Discovery((), ("metrics.k8s.io/v1beta1: its server does not answer",))
    metric = Resource(group="metrics.k8s.io", kind="PodMetrics", plural="pods", singular="pod")
    assert not found.knows(metric)
    assert found.knows(Resource(group="apps", kind="Deployment", plural="deployments", singular="deployment"))


async def find_all(*, aggregates: bool) -> Discovery:
    async with open_cluster() as cluster:

        async def old_server(request: Request, identity: Identity) -> Response:
            headers = request.headers if aggregates else {**request.headers, "accept": "application/json"}
            return await cluster.server.handle(
                Request(request.method, request.path, request.query, headers, request.body), identity
            )

        return await discover(Client(InProcessTransport(old_server, Identity("admin", ("system:masters",)))))


@pytest.mark.parametrize("aggregates", [True, False], ids=["a server that aggregates", "an older server"])
def test_every_kind_of_the_api_server_is_found(aggregates: bool) -> None:
    found = asyncio.run(find_all(aggregates=aggregates))
    assert found.failures == ()
    have = {(r.group, r.version, r.plural, r.kind, r.namespaced, frozenset(r.verbs)) for r in found.resources}
    want = {(r.group, r.version, r.plural, r.kind, r.namespaced, frozenset(r.verbs)) for r in SERVED if r.verbs}
    assert have == want


def test_a_group_that_fails_is_told_and_the_others_are_found() -> None:
    async def answer(request: Request, identity: Identity) -> Response:
        documents: dict[str, Json] = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": {"groupVersion": "v1", "resources": [{"name": "pods", "kind": "Pod", "verbs": []}]},
            "/apis": {"kind": "APIGroupList", "groups": [{"versions": [{"groupVersion": "a/v1"}]}]},
        }
        found = documents.get(request.path)
        return Response(200, (), json.dumps(found).encode()) if found else Response(503, (), b"away")

    found = asyncio.run(discover(Client(InProcessTransport(answer, Identity("a", ())))))
    assert spell(found.resources) == ["v1 Pod pods"]
    assert len(found.failures) == 1 and found.failures[0].startswith("a/v1: ")
