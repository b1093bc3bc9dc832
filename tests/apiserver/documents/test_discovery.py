"""Discovery documents. Rule: spec "api-machinery" §3.1 to §3.3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seaway.api.machinery.errors import NotFound
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import SERVED
from seaway.apiserver.documents.discovery import answer

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def ask(path: str, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = answer(Request("GET", path, headers=named), address="192.0.2.1:6443")
    assert response is not None
    return response


def read(path: str, **headers: str) -> Any:
    response = ask(path, **headers)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_the_core_group_has_versions_and_an_address() -> None:
    assert read("/api") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "192.0.2.1:6443"}],
    }


def test_groups_are_listed_with_their_preferred_version() -> None:
    groups = {group["name"]: group for group in read("/apis/")["groups"]}
    version = {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}
    described = {"name": "discovery.k8s.io", "versions": [version], "preferredVersion": version}
    assert groups["discovery.k8s.io"] == described
    assert read("/apis/discovery.k8s.io") == {"kind": "APIGroup", "apiVersion": "v1", **described}


def test_a_resource_is_described_as_upstream_does() -> None:
    document = read("/api/v1")
    assert (document["kind"], document["groupVersion"], "apiVersion" in document) == ("APIResourceList", "v1", False)
    entries = {entry["name"]: entry for entry in document["resources"]}
    assert entries["services"] == {
        "name": "services",
        "singularName": "service",
        "namespaced": True,
        "kind": "Service",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["svc"],
        "categories": ["all"],
        "storageVersionHash": "0/CO1lhkEBI=",
    }
    assert entries["services/status"] == {
        "name": "services/status", "singularName": "", "namespaced": True, "kind": "Service",
        "verbs": ["get", "patch", "update"],
    }  # fmt: skip
    assert "deletecollection" not in entries["namespaces"]["verbs"]
    assert entries["namespaces/finalize"]["verbs"] == ["update"]
    assert (entries["pods/binding"]["kind"], entries["pods/binding"]["verbs"]) == ("Binding", ["create"])
    assert read("/apis/discovery.k8s.io/v1")["apiVersion"] == "v1"


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_both_forms_list_exactly_what_is_served(version: str) -> None:
    served = {
        (r.group, r.version, name)
        for r in SERVED
        for name in (r.plural, *(f"{r.plural}/{subresource}" for subresource in r.subresources))
    }
    prefixes = {resource.path_prefix for resource in SERVED}
    legacy = {
        (*split_group_version(document["groupVersion"]), entry["name"])
        for document in map(read, prefixes)
        for entry in document["resources"]
    }
    assert legacy == served
    aggregated = set()
    for root in ("/api", "/apis"):
        for group in read(root, accept=AGGREGATED.format(version))["items"]:
            for served_version in group["versions"]:
                key = (group["metadata"].get("name", ""), served_version["version"])
                for entry in served_version["resources"]:
                    aggregated.add((*key, entry["resource"]))
                    for sub in entry.get("subresources", ()):
                        aggregated.add((*key, f"{entry['resource']}/{sub['subresource']}"))
    assert aggregated == served


def split_group_version(text: str) -> tuple[str, str]:
    group, _, version = text.rpartition("/")
    return group, version


def test_the_aggregated_form_is_revalidated_by_its_tag() -> None:
    accept = f"{AGGREGATED.format('v2')},{AGGREGATED.format('v2beta1')},application/json"
    first = ask("/apis", accept=accept)
    headers = dict(first.headers)
    assert headers["Content-Type"] == AGGREGATED.format("v2")
    assert (headers["Vary"], headers["Cache-Control"]) == ("Accept", "public")
    again = ask("/apis", accept=accept, if_none_match=headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert ask("/api", accept=accept, if_none_match=headers["ETag"]).status == 200


@pytest.mark.parametrize("accept", ["", "application/json", "*/*", AGGREGATED.format("v9") + ",application/json"])
def test_the_plain_form_is_for_everybody_else(accept: str) -> None:
    assert read("/apis", accept=accept)["kind"] == "APIGroupList"


def test_the_version_is_a_kubernetes_version() -> None:
    version = read("/version")
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")


@pytest.mark.parametrize("path", ["/apis/example.com", "/apis/example.com/v1"])
def test_an_unserved_group_is_a_page_that_is_not_there(path: str) -> None:
    response = ask(path)
    assert (response.status, response.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize("path", ["/api/v2", "/apis/discovery.k8s.io/v9"])
def test_an_unserved_version_is_a_status(path: str) -> None:
    with pytest.raises(NotFound, match=r"^the server could not find the requested resource$"):
        ask(path)


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v1/services"), ("POST", "/api"), ("GET", "/healthz")])
def test_other_requests_are_left_to_others(method: str, path: str) -> None:
    assert answer(Request(method, path), address="x") is None
