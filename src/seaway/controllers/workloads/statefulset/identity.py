"""What makes a Pod of a StatefulSet that very one: name, labels, host name, claims. Rule: spec "controllers" §7.9."""

from __future__ import annotations

import copy
import re
from typing import Any

from seaway.api.machinery.meta import ObjectMeta
from seaway.api.pod.types import Pod
from seaway.api.registry import STATEFUL_SETS
from seaway.controllers.workloads.history import HASH_LABEL
from seaway.controllers.workloads.podcontrol.ownership import make_controller_reference
from seaway.controllers.workloads.template import add_labels, render_pod

Json = dict[str, Any]
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
_ordinal = re.compile(r"(.*)-(0|[1-9][0-9]{0,9})", re.DOTALL).fullmatch


def find_ordinal(owner: Json, name: str) -> int | None:
    """The ordinal in the name of a Pod of this owner; None for a name that is none of it."""
    match = _ordinal(name)
    return int(match[2]) if match is not None and match[1] == owner["metadata"]["name"] else None


def name_claims(owner: Json, ordinal: int) -> dict[str, Json]:
    """The claims of the ordinal's Pod, by name, as they are first created."""
    pod = f"{owner['metadata']['name']}-{ordinal}"
    labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    claims: dict[str, Json] = {}
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        meta = template.get("metadata") or {}
        name = f"{meta.get('name', '')}-{pod}"
        made = {key: copy.deepcopy(value) for key, value in template.items() if key != "status"}
        made["metadata"] = {
            **{key: copy.deepcopy(meta[key]) for key in ("annotations",) if meta.get(key)},
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **labels},
        }
        claims[name] = made
    return claims


def render_stateful_pod(owner: Json, template: Json, ordinal: int, *, revision: str) -> Json:
    """The Pod of the ordinal from a template of the owner's. revision: the name of that template's revision."""
    meta = owner["metadata"]
    name, namespace = f"{meta['name']}-{ordinal}", meta["namespace"]
    reference = make_controller_reference(STATEFUL_SETS, ObjectMeta(name=meta["name"], uid=meta["uid"]))
    labels = {HASH_LABEL: revision, POD_NAME_LABEL: name, POD_INDEX_LABEL: str(ordinal)}
    pod = render_pod(add_labels(template, labels), reference, namespace=namespace, name=name)
    spec = pod["spec"]
    spec["hostname"] = name
    if service := owner["spec"].get("serviceName"):
        spec["subdomain"] = service
    templates = [(t.get("metadata") or {}).get("name", "") for t in owner["spec"].get("volumeClaimTemplates") or ()]
    if templates:
        claims = [{"name": t, "persistentVolumeClaim": {"claimName": f"{t}-{name}"}} for t in templates]
        spec["volumes"] = [*claims, *(v for v in spec.get("volumes") or () if v.get("name") not in templates)]
    return pod


def is_running_and_ready(pod: Pod) -> bool:
    """Its containers run, and serve."""
    return pod.status.phase == "Running" and pod.is_ready


def revision_of(pod: Pod) -> str:
    """The name of the revision that it was made from."""
    return pod.metadata.labels.get(HASH_LABEL, "")
