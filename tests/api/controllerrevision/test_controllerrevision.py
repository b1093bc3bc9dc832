"""Rule: upstream's ControllerRevision validation."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import CONTROLLER_REVISIONS
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, update_texts

Json = dict[str, Any]
CREATE: list[Case] = [
    ("it holds something", {"data": None}, ["data: Required value: data is mandatory"]),
    ("it has a number", {"revision": -1}, ["revision: Invalid value: -1: must be greater than or equal to 0"]),
]
UPDATE: list[Case] = [
    ("the number may change", {"revision": 2}, []),
    ("the data stay", {"data": {"spec": {"a": 1}}}, ['data: Invalid value: {"spec":{"a":1}}: field is immutable']),
]


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(CONTROLLER_REVISIONS, **changes) == texts


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(CONTROLLER_REVISIONS, changes) == texts
