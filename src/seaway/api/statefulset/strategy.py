"""How the API server treats StatefulSets: Pods are named after them, so a name is a label.

Rule: spec "api-machinery" §4.2, §9.1.
"""

from __future__ import annotations

from seaway.api.machinery.names import validate_label
from seaway.api.machinery.strategy import StatusRule, Strategy
from seaway.api.statefulset.defaults import default_stateful_set
from seaway.api.statefulset.validation import (
    validate_stateful_set,
    validate_stateful_set_status,
    validate_stateful_set_update,
)

_STATUS = StatusRule({"replicas": 0, "availableReplicas": 0})

STRATEGY = Strategy(
    default=default_stateful_set,
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_name=validate_label,
    validate_create=validate_stateful_set,
    validate_update=validate_stateful_set_update,
    validate_status_update=validate_stateful_set_status,
    has_generation=True,
)
