"""The paths of OpenAPI documents: what may be asked of each kind, with which parameters, and what is answered.

A kind has a path for its collection, for its objects, for each subresource and, when it is namespaced, for all
namespaces together. An operation is a value of its own; the two versions of OpenAPI only write it differently.
Rule: spec "api-machinery" §1.1 (paths), §1.2 (parameters), §1.3 (codes), §3.4, §3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from seaway.api.registry import Resource
from seaway.api.schema import find_definition
from seaway.apiserver.documents.discovery import SubresourceFacts, subresource_facts
from seaway.apiserver.documents.openapi_schemas import DELETE_OPTIONS, GVK, STATUS, V2_PREFIX, V3_PREFIX, list_name
from seaway.apiserver.patch import PATCH_TYPES

Json = dict[str, Any]
_JSON = "application/json"
BODY_TYPES = (_JSON, "application/yaml", "application/vnd.kubernetes.protobuf")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or a part of the path."""

    name: str
    description: str
    type: str = "string"
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `body` and `answer` name schemas; an empty `body` is none, an unknown kind has no answer.

    codes: of success. is_passed_on: a backend reads the request and writes the answer; nothing is known of either.
    """

    id: str
    action: str
    gvk: Json
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    media: tuple[str, ...] = ()
    needs_body: bool = True
    answer: str = ""
    codes: tuple[int, ...] = (200,)
    is_passed_on: bool = False


# Clients look for these: without dryRun kubectl 1.20 refuses `diff`, without fieldValidation it validates itself.
_DRY_RUN = Parameter("dryRun", "All: do everything but keep nothing.")
_WRITE = (
    _DRY_RUN,
    Parameter("fieldManager", "The name under which the change is recorded."),
    Parameter("fieldValidation", "What to do about unknown fields: Strict, Warn or Ignore."),
)
_PATCH = (*_WRITE, Parameter("force", "With an apply patch: take fields from other managers.", "boolean"))
_DELETE = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "How many seconds the object has to end; 0 ends it at once.", "integer"),
    Parameter("orphanDependents", "Older form of propagationPolicy.", "boolean"),
    Parameter("propagationPolicy", "What becomes of owned objects: Background, Foreground or Orphan."),
)
_SELECT = (
    Parameter("labelSelector", "Only objects whose labels match."),
    Parameter("fieldSelector", "Only objects whose fields match."),
    Parameter("limit", "At most so many objects; more are told by continue.", "integer"),
    Parameter("continue", "The token of the part before: go on there."),
    Parameter("resourceVersion", "The version of the data that is wanted."),
    Parameter("resourceVersionMatch", "How that is meant: Exact or NotOlderThan."),
    Parameter("timeoutSeconds", "How long the answer may take; the length of a watch.", "integer"),
    Parameter("sendInitialEvents", "Begin the watch with what is there, and say when that is all.", "boolean"),
)
_LIST = (
    *_SELECT,
    Parameter("watch", "Answer with changes as they happen instead of a list.", "boolean"),
    Parameter("allowWatchBookmarks", "Now and then tell the version that the watch has reached.", "boolean"),
)
_GET = (Parameter("resourceVersion", "The object is not older than this version."),)
_PRETTY = Parameter("pretty", "Indent the answer.", "boolean")
_NAME = Parameter("name", "The name of the object.", place="path")
_NAMESPACE = Parameter("namespace", "The namespace of the object.", place="path")
_PROXIED_PATH = Parameter("path", "The path that the backend is asked for.", place="path")
_PROXIED_METHODS = ("delete", "get", "head", "options", "patch", "post", "put")
_METHODS = {"get": "get", "update": "put", "patch": "patch", "create": "post", "delete": "delete"}
_PASSED_ON = frozenset(("log", "exec", "attach", "portforward"))
_TOLD_BY_STATUS = ("binding", "eviction")
_WORDS = {
    "get": "read",
    "update": "replace",
    "create": "create",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "deleteCollection",
    "list": "list",
}


def make_paths(resource: Resource, prefix: str) -> Json:
    """The paths of the kind. prefix: of references, which tells the version of the document."""
    write = _write_v3 if prefix == V3_PREFIX else _write_v2
    place = _place_v3 if prefix == V3_PREFIX else _place_v2
    shared = [_NAMESPACE] if resource.namespaced else []
    namespace = "{namespace}" if resource.namespaced else ""

    def item(operations: Iterable[tuple[str, Operation]], *parts: Parameter) -> Json:
        methods = {method: write(operation) for method, operation in operations}
        return {**methods, "parameters": [place(p) for p in (*parts, _PRETTY)]} if methods else {}

    made = {
        resource.path(namespace): item(_collection_operations(resource), *shared),
        resource.path(namespace, "{name}"): item(_object_operations(resource), _NAME, *shared),
    }
    if resource.namespaced and "list" in resource.verbs:
        made[resource.path()] = item([("get", _make_list(resource, everywhere=True))])
    for name in sorted(set(resource.subresources) - {"proxy"}):
        if name in _PASSED_ON:
            operations = _connections(resource, name)
        else:
            operations = _subresource_operations(resource, name)
        made[resource.path(namespace, "{name}", name)] = item(operations, _NAME, *shared)
    if "proxy" in resource.subresources:
        made |= _proxied_paths(resource, write, [place(p) for p in (_NAME, *shared)], place(_PROXIED_PATH))
    return {path: found for path, found in made.items() if found}


def _connections(resource: Resource, name: str) -> list[tuple[str, Operation]]:
    """A request that the Pod's node answers. Rule: spec "node" §5.3, §5.4; the names are upstream's."""
    facts = subresource_facts(resource, name)
    gvk = {**_gvk(resource), "kind": facts.kind or resource.kind}
    if name == "log":
        return [("get", Operation(_name_operation("get", resource, name), "get", gvk, is_passed_on=True))]
    return [
        (
            _METHODS[verb],
            Operation(_name_connection(_METHODS[verb], resource, "", name), "connect", gvk, is_passed_on=True),
        )
        for verb in facts.verbs
    ]


def _proxied_paths(resource: Resource, write: Callable[[Operation], Json], parts: list[Json], rest: Json) -> Json:
    """What is passed on: every method, for the backend's root and for any path below it. `rest`: that path.

    Rule: spec "service-api" §8; the names are upstream's.
    """
    root = resource.path("{namespace}" if resource.namespaced else "", "{name}", "proxy")
    gvk = {**_gvk(resource), "kind": subresource_facts(resource, "proxy").kind}

    def operations(suffix: str) -> Json:
        names = {method: _name_connection(method, resource, suffix) for method in _PROXIED_METHODS}
        return {method: write(Operation(name, "connect", gvk, is_passed_on=True)) for method, name in names.items()}

    below = {**operations("WithPath"), "parameters": [*parts, rest]}
    return {root: {**operations(""), "parameters": parts}, f"{root}/{{path}}": below}


def _name_connection(method: str, resource: Resource, suffix: str, name: str = "proxy") -> str:
    """`connectCoreV1GetNamespacedServiceProxyWithPath`; proxies are of the core group."""
    scope = "Namespaced" if resource.namespaced else ""
    told = f"{scope}{resource.kind}{name.capitalize()}{suffix}"
    return f"connectCore{resource.version.capitalize()}{method.capitalize()}{told}"


def _gvk(resource: Resource) -> Json:
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _schema_name(group: str, version: str, kind: str) -> str:
    definition = find_definition(group, version, kind)
    return "" if definition is None else definition.name


def _list_name(resource: Resource) -> str:
    definition = find_definition(resource.group, resource.version, resource.kind)
    return "" if definition is None else list_name(definition)


def _name_operation(verb: str, resource: Resource, subresource: str = "", suffix: str = "") -> str:
    """`createCoreV1NamespacedPod`: upstream's names, which generated clients show."""
    group = "".join(part.capitalize() for part in (resource.group or "core").removesuffix(".k8s.io").split("."))
    scope = "Namespaced" if resource.namespaced and not suffix else ""
    own = resource.kind + subresource.capitalize()
    return f"{_WORDS[verb]}{group}{resource.version.capitalize()}{scope}{own}{suffix}"


def _make_list(resource: Resource, *, everywhere: bool = False) -> Operation:
    return Operation(
        id=_name_operation("list", resource, suffix="ForAllNamespaces" if everywhere else ""),
        action="list",
        gvk=_gvk(resource),
        parameters=_LIST,
        answer=_list_name(resource),
    )


def _collection_operations(resource: Resource) -> list[tuple[str, Operation]]:
    name, gvk = _schema_name(resource.group, resource.version, resource.kind), _gvk(resource)
    found: list[tuple[str, Operation]] = []
    if "list" in resource.verbs:
        found.append(("get", _make_list(resource)))
    if "create" in resource.verbs:
        made = Operation(_name_operation("create", resource), "post", gvk, _WRITE, name, BODY_TYPES, True, name, (201,))
        found.append(("post", made))
    if "deletecollection" in resource.verbs:
        ended = Operation(
            _name_operation("deletecollection", resource), "deletecollection", gvk, (*_SELECT, *_DELETE),
            DELETE_OPTIONS, BODY_TYPES, False, _list_name(resource),
        )  # fmt: skip
        found.append(("delete", ended))
    return found


def _object_operations(resource: Resource) -> list[tuple[str, Operation]]:
    name, gvk = _schema_name(resource.group, resource.version, resource.kind), _gvk(resource)
    is_odd = resource.is_stored and resource.strategy.answers_delete_with_object
    created = (200, 201) if resource.is_stored and resource.strategy.creates_on_update else (200,)
    read = Operation(_name_operation("get", resource), "get", gvk, _GET, answer=name)
    put = Operation(_name_operation("update", resource), "put", gvk, _WRITE, name, BODY_TYPES, True, name, created)
    changed = _make_patch(_name_operation("patch", resource), gvk, name)
    ended = Operation(
        _name_operation("delete", resource), "delete", gvk, _DELETE, DELETE_OPTIONS, BODY_TYPES, False,
        name if is_odd else STATUS, (200, 202),
    )  # fmt: skip
    all_of_them = {"get": read, "update": put, "patch": changed, "delete": ended}
    return [(_METHODS[verb], operation) for verb, operation in all_of_them.items() if verb in resource.verbs]


def subresource_kinds(resource: Resource) -> list[tuple[str, str, str]]:
    """The (group, version, kind)s that the subresources speak of."""
    return [
        _subresource_kind(resource, subresource_facts(resource, name))
        for name in sorted(set(resource.subresources) - {"proxy"} - _PASSED_ON)
    ]


def _subresource_kind(resource: Resource, facts: SubresourceFacts) -> tuple[str, str, str]:
    kind = facts.kind or resource.kind
    return (facts.group, facts.version, kind) if facts.group else (resource.group, resource.version, kind)


def _subresource_operations(resource: Resource, subresource: str) -> list[tuple[str, Operation]]:
    facts = subresource_facts(resource, subresource)
    group, version, kind = _subresource_kind(resource, facts)
    name, gvk = _schema_name(group, version, kind), {"group": group, "kind": kind, "version": version}
    found: list[tuple[str, Operation]] = []
    for verb in facts.verbs:
        own_id = _name_operation(verb, resource, subresource)
        match verb:
            case "get":
                operation = Operation(own_id, "get", gvk, _GET, answer=name)
            case "patch":
                operation = _make_patch(own_id, gvk, name)
            case "update":
                operation = Operation(own_id, "put", gvk, _WRITE, name, BODY_TYPES, True, name)
            case _:
                told = STATUS if subresource in _TOLD_BY_STATUS else name
                operation = Operation(own_id, "post", gvk, _WRITE, name, BODY_TYPES, True, told, (201,))
        found.append((_METHODS[verb], operation))
    return found


def _make_patch(own_id: str, gvk: Json, name: str) -> Operation:
    return Operation(own_id, "patch", gvk, _PATCH, name, tuple(PATCH_TYPES), True, name)


# Version 2


def _place_v2(parameter: Parameter) -> Json:
    required = {"required": True} if parameter.place == "path" else {}
    named = {"name": parameter.name, "in": parameter.place, "description": parameter.description}
    return {**named, "type": parameter.type, **required}


def _write_v2(operation: Operation) -> Json:
    made: Json = {"operationId": operation.id, "produces": [_JSON]}
    parameters = [_place_v2(parameter) for parameter in operation.parameters]
    if operation.media:
        made["consumes"] = list(operation.media)
        body: Json = {"name": "body", "in": "body", "schema": _reference(operation.body, V2_PREFIX)}
        parameters.insert(0, {**body, "required": True} if operation.needs_body else body)
    success = {"description": "OK", "schema": _reference(operation.answer, V2_PREFIX)}
    failure = {"description": _FAILURE, "schema": _reference(STATUS, V2_PREFIX)}
    responses = {**{str(code): success for code in operation.codes}, "default": failure}
    if operation.is_passed_on:
        made |= {"produces": [_ANYTHING], "consumes": [_ANYTHING]}
        responses["200"] = {"description": "OK", "schema": _OPAQUE}
    made |= {"parameters": parameters, "responses": responses}
    return {**made, "x-kubernetes-action": operation.action, GVK: operation.gvk}


# Version 3


def _place_v3(parameter: Parameter) -> Json:
    required = {"required": True} if parameter.place == "path" else {}
    named = {"name": parameter.name, "in": parameter.place, "description": parameter.description}
    return {**named, "schema": {"type": parameter.type}, **required}


def _write_v3(operation: Operation) -> Json:
    made: Json = {"operationId": operation.id, "parameters": [_place_v3(p) for p in operation.parameters]}
    if operation.media:
        schema = {"schema": _reference(operation.body, V3_PREFIX)}
        made["requestBody"] = {"required": operation.needs_body, "content": dict.fromkeys(operation.media, schema)}
    success = {"description": "OK", "content": {_JSON: {"schema": _reference(operation.answer, V3_PREFIX)}}}
    failure = {"description": _FAILURE, "content": {_JSON: {"schema": _reference(STATUS, V3_PREFIX)}}}
    responses = {**{str(code): success for code in operation.codes}, "default": failure}
    if operation.is_passed_on:
        responses["200"] = {"description": "OK", "content": {_ANYTHING: {"schema": _OPAQUE}}}
    return {**made, "responses": responses, "x-kubernetes-action": operation.action, GVK: operation.gvk}


_FAILURE = "What went wrong."
_ANYTHING = "*/*"
_OPAQUE = {"type": "string"}


def _reference(name: str, prefix: str) -> Json:
    return {"$ref": prefix + name} if name else {"type": "object"}
