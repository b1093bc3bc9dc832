"""OpenAPI documents: complete, and readable by clients. Rule: spec "api-machinery" §3.4, §3.5, Appendix B."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from seaway.api.machinery.http import Request, Response
from seaway.api.machinery.protobuf import read_fields
from seaway.api.registry import ENDPOINT_SLICES, ENDPOINTS, RESOURCES, SERVED, SERVICES, Resource
from seaway.api.schema import Definition, describe, find_definition, get_definition
from seaway.apiserver.documents.discovery import subresource_facts
from seaway.apiserver.documents.openapi import PROTOBUF_ACCEPT, PROTOBUF_TYPE, answer
from seaway.apiserver.proxying.verb import METHODS as PROXIED

Json = dict[str, Any]


def ask(path: str, query: tuple[tuple[str, str], ...] = (), **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = answer(Request("GET", path, query, named))
    assert response is not None
    return response


def read(path: str) -> Any:
    body = ask(path, accept="application/json").body
    assert isinstance(body, bytes)
    return json.loads(body)


def find_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from find_references(child)
    elif isinstance(value, list):
        for child in value:
            yield from find_references(child)


@pytest.mark.parametrize("resource", [r for r in RESOURCES if "patch" in r.verbs], ids=lambda r: r.kind)
def test_every_kind_has_a_path_and_a_schema_in_both_versions(resource: Resource) -> None:
    gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    path = resource.path("{namespace}" if resource.namespaced else "", "{name}")
    v3, v2 = read(f"/openapi/v3{resource.path_prefix}"), read("/openapi/v2")
    for document, schemas in ((v3, v3["components"]["schemas"]), (v2, v2["definitions"])):
        patch = document["paths"][path]["patch"]
        assert patch["x-kubernetes-group-version-kind"] == gvk
        assert {"dryRun", "fieldValidation"} <= {p["name"] for p in patch["parameters"] if p["in"] == "query"}
        kinds = [s for s in schemas.values() if gvk in s.get("x-kubernetes-group-version-kind", ())]
        assert len(kinds) == 1 and kinds[0]["properties"].keys() >= {"kind", "apiVersion", "metadata"}
    content = v3["paths"][path]["patch"]["requestBody"]["content"]
    assert {"application/strategic-merge-patch+json", "application/apply-patch+yaml"} <= set(content)
    assert v2["paths"][path]["patch"]["consumes"] == list(content)


METHODS = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete",
           "deletecollection": "delete"}  # fmt: skip


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("resource", SERVED, ids=lambda r: r.kind)
def test_what_discovery_offers_is_described_and_nothing_else(resource: Resource, version: str) -> None:
    document = read("/openapi/v2" if version == "v2" else f"/openapi/v3{resource.path_prefix}")
    namespace = "{namespace}" if resource.namespaced else ""
    collection, item = resource.path(namespace), resource.path(namespace, "{name}")
    of_collection = ("list", "create", "deletecollection")
    wanted: dict[str, set[str]] = {}
    for verb in resource.verbs:
        if verb != "watch":
            wanted.setdefault(collection if verb in of_collection else item, set()).add(METHODS[verb])
    if resource.namespaced and "list" in resource.verbs:
        wanted[resource.path()] = {"get"}
    for name in set(resource.subresources) - {"proxy"}:
        wanted[f"{item}/{name}"] = {METHODS[verb] for verb in subresource_facts(resource, name).verbs}
    if "proxy" in resource.subresources:  # more than discovery can say: its verbs have no HEAD and no OPTIONS
        wanted |= {key: {m.lower() for m in PROXIED} for key in (f"{item}/proxy", f"{item}/proxy/{{path}}")}
    mine = {path for path in document["paths"] if path in (collection, resource.path()) or path.startswith(item)}
    assert {path: set(document["paths"][path]) - {"parameters"} for path in mine} == wanted


@pytest.mark.parametrize("path", ["/openapi/v2", *(f"/openapi/v3{p}" for p in sorted({r.path_prefix for r in SERVED}))])
def test_an_operation_has_a_name_of_its_own_and_answers(path: str) -> None:
    operations = [
        operation
        for item in read(path)["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for operation in operations:
        assert set(operation["responses"]) >= {"default"} and len(operation["responses"]) > 1
        names = [parameter["name"] for parameter in operation["parameters"]]
        assert len(names) == len(set(names))
        assert all(parameter["description"] for parameter in operation["parameters"] if parameter["in"] != "body")


def test_parameters_are_those_of_the_verb() -> None:
    paths = read("/openapi/v3/apis/apps/v1")["paths"]
    item = paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    collection = paths["/apis/apps/v1/namespaces/{namespace}/deployments"]

    def names(operation: Json) -> set[str]:
        return {parameter["name"] for parameter in operation["parameters"]}

    selection = {"labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch",
                 "timeoutSeconds", "sendInitialEvents"}  # fmt: skip
    write = {"dryRun", "fieldManager", "fieldValidation"}
    deletion = {"dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"}
    assert names(collection["get"]) == selection | {"watch", "allowWatchBookmarks"}
    assert names(collection["post"]) == names(item["put"]) == write
    assert names(item["patch"]) == write | {"force"}
    assert names(item["delete"]) == deletion
    assert names(collection["delete"]) == selection | deletion
    assert {p["name"] for p in item["parameters"] if p["in"] == "path"} == {"namespace", "name"}
    assert not item["delete"]["requestBody"]["required"]
    assert collection["get"]["operationId"] == "listAppsV1NamespacedDeployment"


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/namespaces/{namespace}/services/{name}/proxy", "connectCoreV1{}NamespacedServiceProxy"),
        (
            "/api/v1/namespaces/{namespace}/services/{name}/proxy/{path}",
            "connectCoreV1{}NamespacedServiceProxyWithPath",
        ),
        ("/api/v1/namespaces/{namespace}/pods/{name}/proxy", "connectCoreV1{}NamespacedPodProxy"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}", "connectCoreV1{}NamespacedPodProxyWithPath"),
        ("/api/v1/nodes/{name}/proxy", "connectCoreV1{}NodeProxy"),
        ("/api/v1/nodes/{name}/proxy/{path}", "connectCoreV1{}NodeProxyWithPath"),
    ],
)
def test_a_proxy_passes_on_every_method_and_knows_nothing_of_the_answer(path: str, name: str, version: str) -> None:
    """Rule: spec "service-api" §8 (methods and paths); operations are named as upstream names them."""
    item = read("/openapi/v2" if version == "v2" else "/openapi/v3/api/v1")["paths"][path]
    named = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    assert sorted(p["name"] for p in item["parameters"]) == sorted(named)
    assert all(p["in"] == "path" and p["required"] for p in item["parameters"])
    for method in PROXIED:
        operation = item[method.lower()]
        assert operation["operationId"] == name.format(method.capitalize())
        assert operation["x-kubernetes-action"] == "connect"
        kind = operation["x-kubernetes-group-version-kind"]["kind"]
        assert kind in ("ServiceProxyOptions", "PodProxyOptions", "NodeProxyOptions")
        answer = operation["responses"]["200"]
        if version == "v2":
            assert (operation["consumes"], operation["produces"]) == (["*/*"], ["*/*"])
            assert answer["schema"] == {"type": "string"}
        else:
            assert answer["content"] == {"*/*": {"schema": {"type": "string"}}}


def test_scale_speaks_of_a_scale() -> None:
    document = read("/openapi/v3/apis/apps/v1")
    scale = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
    gvk = {"group": "autoscaling", "kind": "Scale", "version": "v1"}
    assert {scale[method]["x-kubernetes-group-version-kind"]["kind"] for method in ("get", "put", "patch")} == {"Scale"}
    name = scale["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][name]["x-kubernetes-group-version-kind"] == [gvk]


@pytest.mark.parametrize("resource", SERVED, ids=lambda r: r.kind)
def test_every_kind_is_described_in_a_sentence(resource: Resource) -> None:
    definition = find_definition(resource.group, resource.version, resource.kind)
    assert definition is not None
    assert describe(definition.name).endswith(".")


@pytest.mark.parametrize("resource", [SERVICES, ENDPOINT_SLICES, ENDPOINTS], ids=lambda r: r.kind)
def test_every_field_of_a_service_and_its_endpoints_is_described(resource: Resource) -> None:
    kind = (resource.group, resource.version, resource.kind)
    without = {
        f"{definition.short_name}.{field}"
        for definition in reach(find_definition(*kind))
        for field in ("", *definition.fields)
        if not describe(definition.name, field)
    }
    assert without == set()


def reach(root: Definition | None) -> list[Definition]:
    """The definition and all that its fields lead to."""
    found: dict[str, Definition] = {}
    todo = [root]
    while todo:
        definition = todo.pop()
        if definition is None or definition.name in found:
            continue
        found[definition.name] = definition
        for field in definition.fields.values():
            kind = field.type
            while kind.item is not None:
                kind = kind.item
            if kind.name:
                todo.append(get_definition(kind.name))
    return list(found.values())


@pytest.mark.parametrize("prefix", sorted({r.path_prefix for r in SERVED}))
def test_every_reference_of_version_3_has_its_target(prefix: str) -> None:
    document = read(f"/openapi/v3{prefix}")
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(find_references(document)) <= names


def test_every_reference_of_version_2_has_its_target() -> None:
    document = read("/openapi/v2")
    assert set(find_references(document)) <= {f"#/definitions/{name}" for name in document["definitions"]}


def test_service_ports_carry_the_rules_of_merging() -> None:
    schemas = read("/openapi/v3/api/v1")["components"]["schemas"]
    ports = dict(schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"])
    assert ports.pop("description")
    assert ports == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.ServicePort"},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "port",
    }
    assert schemas["io.k8s.api.core.v1.ServicePort"]["properties"]["protocol"]["default"] == "TCP"


def test_the_index_leads_to_documents_that_may_be_kept() -> None:
    url = read("/openapi/v3")["paths"]["api/v1"]["serverRelativeURL"]
    path, _, digest = url.partition("?hash=")
    kept = ask(path, (("hash", digest),), accept="application/json")
    headers = dict(kept.headers)
    assert (kept.status, headers["ETag"]) == (200, f'"{digest}"')
    assert headers["Cache-Control"].startswith("public, immutable")
    assert ask(path, accept="application/json", if_none_match=headers["ETag"]).status == 304
    moved = ask(path, (("hash", "OLD"),), accept="application/json")
    assert (moved.status, dict(moved.headers)["Location"]) == (301, url)


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/openapi/v3", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", 406),
        ("/openapi/v3/api/v1", "text/plain", 406),
        ("/openapi/v3/apis/example.com/v1", "application/json", 404),
        ("/openapi/v2", "text/plain", 406),
        ("/openapi/v2", "*/*", 200),
        ("/openapi/v2", "", 200),
    ],
)
def test_status_by_accept_and_path(path: str, accept: str, status: int) -> None:
    assert ask(path, accept=accept).status == status


def test_other_paths_are_left_to_others() -> None:
    assert answer(Request("GET", "/openapi/v4")) is None
    assert answer(Request("GET", "/api")) is None
    assert answer(Request("POST", "/openapi/v2")) is None


def children(raw: bytes, number: int) -> list[bytes]:
    return [value for found, _, value in read_fields(raw) if found == number]


def only(raw: bytes, *numbers: int) -> bytes:
    for number in numbers:
        (raw,) = children(raw, number)
    return raw


def named(raw: bytes) -> dict[str, bytes]:
    """Repeated messages of a name and a value."""
    return {only(entry, 1).decode(): only(entry, 2) for entry in children(raw, 1)}


def test_the_protobuf_form_says_what_the_json_form_says() -> None:
    response = ask("/openapi/v2", accept=f"application/json;q=0.1,{PROTOBUF_ACCEPT}")
    assert dict(response.headers)["Content-Type"] == PROTOBUF_TYPE
    assert isinstance(response.body, bytes)
    document = read("/openapi/v2")
    assert only(response.body, 1) == b"2.0"
    paths = [only(entry, 1).decode() for entry in children(only(response.body, 8), 2)]
    assert paths == list(document["paths"])
    definitions = named(only(response.body, 9))
    assert list(definitions) == list(document["definitions"])
    spec = definitions["io.k8s.api.core.v1.ServiceSpec"]
    assert only(spec, 22, 1) == b"object"
    ports = named(only(spec, 25))["ports"]
    assert only(ports, 23, 1, 1) == b"#/definitions/io.k8s.api.core.v1.ServicePort"
    extensions = {only(entry, 1).decode(): json.loads(only(entry, 2, 2)) for entry in children(ports, 31)}
    assert extensions == {
        name: value
        for name, value in document["definitions"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"].items()
        if name.startswith("x-")
    }
