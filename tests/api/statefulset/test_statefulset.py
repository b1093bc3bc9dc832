"""Rule: upstream's StatefulSet defaults and validation."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.registry import STATEFUL_SETS
from tests.api.kindtable import Case, cases
from tests.api.manifests import CLAIM, create_texts, make_stored, update_texts

Json = dict[str, Any]
FIXED = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)
CREATE: list[Case] = [
    ("a known management", {"spec": {"podManagementPolicy": "Any"}},
     ["spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'"]),
    ("a known update", {"spec": {"updateStrategy": {"type": "Any"}}},
     ['spec.updateStrategy: Invalid value: {"type":"Any"}: must be \'RollingUpdate\' or \'OnDelete\'']),
    ("only rolling rolls", {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}},
     ["spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: "
      "only allowed for updateStrategy 'RollingUpdate'"]),
    ("a partition is a count", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": -1}}}},
     ["spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"]),
    ("claims are kept or deleted", {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Hide"}}},
     ['spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Hide": '
      'supported values: "Delete", "Retain"']),
    ("ordinals start at a count", {"spec": {"ordinals": {"start": -1}}},
     ["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"]),
    ("the template is chosen", {"spec": {"selector": {"matchLabels": {"app": "x"}}}},
     ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(STATEFUL_SETS, **changes) == texts


UPDATE: list[Case] = [
    ("replicas, template and the like are free",
     {"spec": {"replicas": 5, "minReadySeconds": 3, "template": {"metadata": {"labels": {"v": "2"}}}}}, []),
    ("the service stays", {"spec": {"serviceName": "other"}}, [FIXED]),
    ("the claims stay", {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "more"}, "spec": CLAIM}]}}, [FIXED]),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(STATEFUL_SETS, changes) == texts


def test_defaults() -> None:
    stored = make_stored(STATEFUL_SETS)
    spec = stored["spec"]
    assert {key: spec[key] for key in spec if key not in ("template", "selector", "serviceName")} == {
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data"},
                "spec": {**CLAIM, "volumeMode": "Filesystem"},
                "status": {"phase": "Pending"},
            }
        ],
    }
    assert stored["status"] == {"replicas": 0, "availableReplicas": 0}


@pytest.mark.parametrize(("name", "is_valid"), [("web", True), ("web.example", False)])
def test_a_name_is_a_label(name: str, is_valid: bool) -> None:
    rule = STATEFUL_SETS.strategy.validate_name
    assert rule is not None
    assert (not rule(name)) is is_valid
