"""How the API server treats ReplicaSets. Rule: spec "api-machinery" §4.2, §9.1, "controllers" §7.4."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json, StatusRule, Strategy
from seaway.api.pod.defaults import default_pod_template
from seaway.api.replicaset.validation import (
    validate_replica_set,
    validate_replica_set_update,
    validate_replica_status,
)

_STATUS = StatusRule({"replicas": 0})


def default_replica_set(obj: Json) -> Json:
    """One replica. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_pod_template(spec.setdefault("template", {}))
    return obj


STRATEGY = Strategy(
    default=default_replica_set,
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_create=validate_replica_set,
    validate_update=validate_replica_set_update,
    validate_status_update=validate_replica_status,
    has_generation=True,
)
