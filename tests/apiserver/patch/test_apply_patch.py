"""PATCH bodies: which patch it is, and how a bad one is refused. Rule: spec "api-machinery" §1.4, §5."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.machinery.errors import ApiError, BadRequest, Invalid, UnsupportedMediaType
from seaway.api.registry import SERVICES, Resource
from seaway.apiserver.patch import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    apply_patch,
    find_patch_findings,
)

DECODING = "error decoding patch: json: cannot unmarshal"
CURRENT: dict[str, Any] = {
    "kind": "Service",
    "apiVersion": "v1",
    "metadata": {"name": "web"},
    "spec": {"ports": [{"port": 80, "name": "a"}]},
}


@pytest.mark.parametrize(
    ("patch_type", "body", "ports"),
    [
        (JSON_PATCH, b'[{"op":"add","path":"/spec/ports/-","value":{"port":81}}]', [80, 81]),
        (MERGE_PATCH, b'{"spec":{"ports":[{"port":81}]}}', [81]),
        (STRATEGIC_MERGE_PATCH, b'{"spec":{"ports":[{"port":81}]}}', [81, 80]),
        (STRATEGIC_MERGE_PATCH + "; charset=utf-8", b'{"spec":{"ports":[{"port":81}]}}', [81, 80]),
    ],
)
def test_the_media_type_says_which_patch_it_is(patch_type: str, body: bytes, ports: list[int]) -> None:
    before = copy.deepcopy(CURRENT)
    patched = apply_patch(patch_type, body, CURRENT, SERVICES)
    assert [port["port"] for port in patched["spec"]["ports"]] == ports
    assert before == CURRENT


@pytest.mark.parametrize("patch_type", ["", "application/json", APPLY_PATCH])
def test_other_media_types_are_refused(patch_type: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        apply_patch(patch_type, b"{}", CURRENT, SERVICES)
    assert (refused.value.message, refused.value.details) == ("415: Unsupported Media Type", {})


def test_a_kind_without_a_schema_has_no_strategic_merge() -> None:
    widget = Resource(kind="Widget", plural="widgets", singular="widget", group="example.com")
    with pytest.raises(UnsupportedMediaType):
        apply_patch(STRATEGIC_MERGE_PATCH, b"{}", CURRENT, widget)
    assert apply_patch(MERGE_PATCH, b"{}", CURRENT, widget) == CURRENT


@pytest.mark.parametrize(
    ("patch_type", "body", "message"),
    [
        (JSON_PATCH, b"{}", f"{DECODING} object into Go value of type jsonpatch.Patch"),
        (JSON_PATCH, b"[1]", f"{DECODING} array into Go value of type jsonpatch.Patch"),
        (JSON_PATCH, b"[", "error decoding patch: unexpected end of JSON input"),
        (MERGE_PATCH, b"null", "Invalid JSON Patch"),
        (MERGE_PATCH, b"[]", f"{DECODING} array into Go value of type map[string]interface {{}}"),
        (STRATEGIC_MERGE_PATCH, b"", "error decoding patch: unexpected end of JSON input"),
        (STRATEGIC_MERGE_PATCH, b'{"a":' * 5000, "error decoding patch: exceeded max depth"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_patch_is_refused(patch_type: str, body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        apply_patch(patch_type, body, CURRENT, SERVICES)
    assert refused.value.message == message


def test_a_json_patch_that_does_not_fit_is_invalid() -> None:
    with pytest.raises(Invalid) as refused:
        apply_patch(JSON_PATCH, b'[{"op":"test","path":"/spec/type","value":"x"}]', CURRENT, SERVICES)
    assert refused.value.message == "the server rejected our request due to an error in our request"
    assert refused.value.details == {}


@pytest.mark.parametrize(
    ("body", "code"), [(b'{"spec":{"ports":[{"name":"q"}]}}', 500), (b'{"spec":{"$retainKeys":[],"type":"x"}}', 400)]
)
def test_a_strategic_patch_that_contradicts_itself_has_no_reason(body: bytes, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        apply_patch(STRATEGIC_MERGE_PATCH, body, CURRENT, SERVICES)
    assert (refused.value.status_code, refused.value.reason, refused.value.details) == (code, "", None)


def test_findings_in_the_patch_itself() -> None:
    body = b'[{"op":"add","path":"/a","value":1,"foo":2},{"op":"remove","op":"add","path":"/a"}]'
    assert find_patch_findings(JSON_PATCH, body) == (
        'duplicate field "[1].op"',
        'json patch unknown field "[0].foo"',
    )
    assert find_patch_findings(MERGE_PATCH, b'{"spec":{"a":1,"a":2}}') == ('duplicate field "spec.a"',)
