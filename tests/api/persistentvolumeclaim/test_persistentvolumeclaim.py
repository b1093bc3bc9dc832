"""Rule: upstream's PersistentVolumeClaim defaults and validation; spec "api-machinery" trap 4."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import PERSISTENT_VOLUME_CLAIMS
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]
FIXED = (
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)
MORE = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
CREATE: list[Case] = [
    ("it asks for storage", {"spec": {"resources": None}}, ["spec.resources[storage]: Required value"]),
    ("for more than none", {"spec": {"resources": {"requests": {"storage": "0"}}}},
     ['spec.resources[storage]: Invalid value: "0": must be greater than zero']),
    ("no class is a class", {"spec": {"storageClassName": ""}}, []),
    ("in some way", {"spec": {"accessModes": []}},
     ["spec.accessModes: Required value: at least 1 access mode is required"]),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(PERSISTENT_VOLUME_CLAIMS, **changes) == texts


UPDATE: list[Case] = [
    ("a volume is named once", {"spec": {"volumeName": "v"}}, []),
    ("more only once there is a volume", MORE, [FIXED]),
    ("the class stays", {"spec": {"storageClassName": "fast"}}, [FIXED]),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(PERSISTENT_VOLUME_CLAIMS, changes) == texts


def test_a_bound_claim_grows_and_keeps_its_volume() -> None:
    bound = make_stored(PERSISTENT_VOLUME_CLAIMS, spec={"volumeName": "v"})
    bound["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    assert update_texts(PERSISTENT_VOLUME_CLAIMS, MORE, old=bound) == []
    assert update_texts(PERSISTENT_VOLUME_CLAIMS, {"spec": {"volumeName": "w"}}, old=bound) == [FIXED]
    less = {"spec": {"resources": {"requests": {"storage": "500M"}}}}
    assert update_texts(PERSISTENT_VOLUME_CLAIMS, less, old=bound) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_a_new_claim_waits() -> None:
    stored = make_stored(PERSISTENT_VOLUME_CLAIMS)
    assert (stored["status"], stored["spec"]["volumeMode"]) == ({"phase": "Pending"}, "Filesystem")
    assert PERSISTENT_VOLUME_CLAIMS.strategy.answers_delete_with_object
