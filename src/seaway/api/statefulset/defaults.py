"""What a StatefulSet has when the client does not say. Rule: upstream's apps/v1 defaults."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json
from seaway.api.persistentvolumeclaim.defaults import default_claim
from seaway.api.pod.defaults import default_pod_template


def default_stateful_set(obj: Json) -> Json:
    """The StatefulSet with its defaults filled in. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for field in ("whenDeleted", "whenScaled"):
        retention.setdefault(field, "Retain")
    for field, value in (("replicas", 1), ("revisionHistoryLimit", 10)):
        spec.setdefault(field, value)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        default_claim(claim)
        claim.setdefault("status", {}).setdefault("phase", "Pending")
    return obj
