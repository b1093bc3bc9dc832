"""Paths to routes. Rule: spec "api-machinery" §1.1, trap 5."""

from __future__ import annotations

import pytest

from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.http import Request
from seaway.apiserver.routes import Route, is_true, route_request


def route(method: str, path: str, **query: str) -> Route:
    return route_request(Request(method, path, tuple(query.items())))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        pytest.param("GET", "/api/v1/services", ("list", "", "", "services", "", ""), id="all namespaces"),
        pytest.param("GET", "/api/v1/services/", ("list", "", "", "services", "", ""), id="a trailing slash"),
        pytest.param("POST", "/api/v1/namespaces/a/services", ("create", "", "a", "services", "", ""), id="create"),
        pytest.param("GET", "/api/v1/namespaces/a/services/w", ("get", "", "a", "services", "w", ""), id="an object"),
        pytest.param(
            "PUT", "/api/v1/namespaces/a/services/w/status", ("update", "", "a", "services", "w", "status"), id="status"
        ),
        pytest.param("GET", "/api/v1/namespaces/a", ("get", "", "a", "namespaces", "a", ""), id="a namespace"),
        pytest.param("GET", "/api/v1/namespaces", ("list", "", "", "namespaces", "", ""), id="namespaces"),
        pytest.param(
            "PUT", "/api/v1/namespaces/a/finalize", ("update", "", "a", "namespaces", "a", "finalize"), id="finalize"
        ),
        pytest.param(
            "DELETE",
            "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices",
            ("deletecollection", "discovery.k8s.io", "a", "endpointslices", "", ""),
            id="a collection of a group",
        ),
        pytest.param("PATCH", "/api/v1/nodes/n", ("patch", "", "", "nodes", "n", ""), id="cluster scope"),
        pytest.param("GET", "/api/v1/watch/services", ("watch", "", "", "services", "", ""), id="old watch path"),
        pytest.param(
            "GET",
            "/api/v1/watch/namespaces/a/pods/p",
            ("watch", "", "a", "pods", "p", ""),
            id="old watch of one object",
        ),
        pytest.param(
            "GET",
            "/api/v1/namespaces/a/services/a%2Fb",
            ("get", "", "a", "services", "a", "b"),
            id="decoded, then split",
        ),
        pytest.param("get", "/api/v1/nodes/n", ("", "", "", "nodes", "n", ""), id="methods are told apart by case"),
        pytest.param("TRACE", "/api/v1/nodes/n", ("", "", "", "nodes", "n", ""), id="a method without a verb"),
    ],
)
def test_a_resource_path_is_taken_apart(method: str, path: str, expected: tuple[str, ...]) -> None:
    found = route(method, path)
    assert (found.verb, found.group, found.namespace, found.plural, found.name, found.subresource) == expected


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/x/y/z/a"]
)
def test_short_and_foreign_paths_are_no_resources(path: str) -> None:
    found = route("GET", path)
    assert not found.is_resource and found.verb == "get" and found.path == path


def test_a_watch_parameter_makes_a_list_a_watch() -> None:
    assert route("GET", "/api/v1/services", watch="True").verb == "watch"
    assert route("GET", "/api/v1/services", watch="0").verb == "list"
    assert route("GET", "/api/v1/namespaces/a/services/w", watch="1").verb == "get"


def test_a_selected_name_is_seen_by_authorization_alone() -> None:
    found = route("GET", "/api/v1/nodes", fieldSelector="metadata.name=n")
    assert (found.selected_name, found.name, found.verb) == ("n", "", "list")


@pytest.mark.parametrize("name", ["..", ".", "a%2525"])
def test_names_that_no_path_may_hold_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="Name parameter invalid"):
        route("GET", f"/api/v1/namespaces/a/services/{name}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, False), ("0", False), ("false", False), ("FALSE", False), ("", True), ("True", True), ("no", True)],
)
def test_everything_but_absence_zero_and_false_is_true(value: str | None, expected: bool) -> None:
    assert is_true(value) is expected
