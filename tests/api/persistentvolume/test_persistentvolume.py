"""Rule: upstream's PersistentVolume defaults and validation; spec "api-machinery" trap 4."""

from __future__ import annotations

import copy
from typing import Any

from seaway.api.registry import PERSISTENT_VOLUMES
from tests.api.kindtable import Case, cases
from tests.api.manifests import CONTEXT, create_texts, make_stored, update_texts

Json = dict[str, Any]
CREATE: list[Case] = [
    ("there is a way to mount it", {"spec": {"accessModes": []}},
     ["spec.accessModes: Required value: at least 1 access mode is required"]),
    ("a known one", {"spec": {"accessModes": ["Write"]}},
     ['spec.accessModes: Unsupported value: "Write": supported values: "ReadOnlyMany", "ReadWriteMany", '
      '"ReadWriteOnce", "ReadWriteOncePod"']),
    ("the exclusive one is alone", {"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]}},
     ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"]),
    ("it has a size", {"spec": {"capacity": None}}, ["spec.capacity: Required value"]),
    ("of storage alone", {"spec": {"capacity": {"cpu": "1"}}},
     ['spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}: supported values: "storage"']),
    ("more than none", {"spec": {"capacity": {"storage": "0"}}},
     ['spec.capacity[storage]: Invalid value: "0": must be greater than zero']),
    ("a known policy", {"spec": {"persistentVolumeReclaimPolicy": "x"}},
     ['spec.persistentVolumeReclaimPolicy: Unsupported value: "x": supported values: "Delete", "Recycle", "Retain"']),
    ("it is somewhere", {"spec": {"hostPath": None}}, ["spec: Required value: must specify a volume type"]),
    ("in one place", {"spec": {"nfs": {"server": "a", "path": "/"}}},
     ["spec.nfs: Forbidden: may not specify more than 1 volume type"]),
    ("a place has a path", {"spec": {"hostPath": {"path": ""}}}, ["spec.hostPath.path: Required value"]),
    ("a local one says on which Node", {"spec": {"hostPath": None, "local": {"path": "/disk"}}},
     ["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
    ("a known mode", {"spec": {"volumeMode": "Tape"}},
     ['spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(PERSISTENT_VOLUMES, **changes) == texts


UPDATE: list[Case] = [
    ("a claim is bound", {"spec": {"claimRef": {"name": "a", "namespace": "b"}}}, []),
    ("the place stays", {"spec": {"hostPath": {"path": "/other"}}},
     ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]),
    ("the mode stays", {"spec": {"volumeMode": "Block"}},
     ['spec.volumeMode: Invalid value: "Block": field is immutable']),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(PERSISTENT_VOLUMES, changes) == texts


def test_defaults() -> None:
    stored = make_stored(PERSISTENT_VOLUMES)
    assert stored["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert (stored["spec"]["volumeMode"], stored["spec"]["hostPath"]["type"]) == ("Filesystem", "")
    assert stored["status"] == {"phase": "Pending", "lastPhaseTransitionTime": CONTEXT.wall_now}
    assert PERSISTENT_VOLUMES.strategy.answers_delete_with_object


def test_the_server_notes_when_the_phase_changed() -> None:
    old = {**make_stored(PERSISTENT_VOLUMES), "status": {"phase": "Pending", "lastPhaseTransitionTime": "then"}}
    write = PERSISTENT_VOLUMES.strategy.prepare_status_update
    same = write({**copy.deepcopy(old), "status": {"phase": "Pending"}}, old, CONTEXT)
    assert same["status"]["lastPhaseTransitionTime"] == "then"
    changed = write({**copy.deepcopy(old), "status": {"phase": "Bound"}}, old, CONTEXT)
    assert changed["status"]["lastPhaseTransitionTime"] == CONTEXT.wall_now
    told = write({**copy.deepcopy(old), "status": {"phase": "Bound", "lastPhaseTransitionTime": "now"}}, old, CONTEXT)
    assert told["status"]["lastPhaseTransitionTime"] == "now"
