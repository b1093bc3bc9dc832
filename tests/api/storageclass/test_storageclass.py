"""Rule: upstream's StorageClass defaults and validation."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import STORAGE_CLASSES
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]
CREATE: list[Case] = [
    ("something makes volumes", {"provisioner": ""}, ["provisioner: Required value"]),
    ("and has a name", {"provisioner": "a/"}, ['provisioner: Invalid value: "a/": name part must be non-empty',
     "provisioner: Invalid value: \"a/\": name part must consist of alphanumeric characters, '-', '_' or '.', and "
     "must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
     "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]),
    ("a parameter has a name", {"parameters": {"": "a"}}, ['parameters: Invalid value: "": field can not be empty.']),
    ("few parameters", {"parameters": {str(number): "" for number in range(513)}},
     ["parameters: Too long: may not be more than 512 bytes"]),
    ("a known policy", {"reclaimPolicy": "Recycle"},
     ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"']),
    ("a known mode", {"volumeBindingMode": "Later"},
     ['volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(STORAGE_CLASSES, **changes) == texts


UPDATE: list[Case] = [
    ("what volumes were made by stays",
     {"parameters": {"a": "b"}, "provisioner": "x.y/z", "reclaimPolicy": "Retain",
      "volumeBindingMode": "WaitForFirstConsumer"},
     [*(f"{field}: Forbidden: updates to {field} are forbidden."
        for field in ("parameters", "provisioner", "reclaimPolicy")),
      'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable']),
    ("whether they grow may change", {"allowVolumeExpansion": True, "mountOptions": ["noatime"]}, []),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(STORAGE_CLASSES, changes) == texts


def test_defaults() -> None:
    stored = make_stored(STORAGE_CLASSES)
    assert (stored["reclaimPolicy"], stored["volumeBindingMode"]) == ("Delete", "Immediate")
