"""Makes the package data `src/seaway/api/data/schema.json`: one definition a line, facts only.

    python tools/make_schema.py FACTS.json PROTOBUF.md > src/seaway/api/data/schema.json

FACTS.json: OpenAPI definitions with field types, list and patch rules and protobuf numbers.
PROTOBUF.md: text whose lines `Message: 1 name:type 2 other:type?` say which fields have presence (`?`) and how the
messages are laid out that JSON flattens into their parents.

What the result adds: `proto` is a field number, or `[outer, inner]` for a field of a flattened message; `pointer` marks
scalars whose zero value differs from absence; keys of list maps carry the default that clients rely on.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

GROUPS = frozenset(
    (
        "", "discovery.k8s.io", "networking.k8s.io", "coordination.k8s.io", "events.k8s.io", "apps", "batch",
        "rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "policy", "autoscaling",
    )
)  # fmt: skip
# Of other groups, these kinds alone.
KINDS = frozenset(("storage.k8s.io/v1/StorageClass", "scheduling.k8s.io/v1/PriorityClass"))
# What PROTOBUF.md leaves out: the one flattened message, and the scalars whose zero differs from absence (or that are
# written even when zero), by definition. A scalar of another message without an entry is dropped when it is zero.
MORE_MESSAGES = """\
# core v1 [api/core/v1/generated.proto]
PersistentVolumeSource: 1 gcePersistentDisk 2 awsElasticBlockStore 3 hostPath 4 glusterfs 5 nfs 6 rbd 7 iscsi 8 cinder \
9 cephfs 10 fc 11 flocker 12 flexVolume 13 azureFile 14 vsphereVolume 15 quobyte 16 azureDisk 17 photonPersistentDisk \
18 portworxVolume 19 scaleIO 20 local 21 storageos 22 csi
"""
POINTERS = {
    "apps.v1.DaemonSetSpec": "revisionHistoryLimit",
    "apps.v1.DaemonSetStatus": "collisionCount",
    "apps.v1.RollingUpdateStatefulSetStrategy": "partition",
    "apps.v1.StatefulSetSpec": "replicas revisionHistoryLimit",
    "apps.v1.StatefulSetStatus": "availableReplicas collisionCount",
    "autoscaling.v1.HorizontalPodAutoscalerSpec": "minReplicas targetCPUUtilizationPercentage",
    "autoscaling.v1.HorizontalPodAutoscalerStatus": "currentCPUUtilizationPercentage observedGeneration",
    "batch.v1.CronJobSpec": "failedJobsHistoryLimit startingDeadlineSeconds successfulJobsHistoryLimit suspend "
    "timeZone",
    "batch.v1.JobSpec": "activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy "
    "manualSelector maxFailedIndexes parallelism podReplacementPolicy suspend ttlSecondsAfterFinished",
    "batch.v1.JobStatus": "failedIndexes ready terminating",
    "batch.v1.PodFailurePolicyOnExitCodesRequirement": "containerName",
    "batch.v1.SuccessPolicyRule": "succeededCount succeededIndexes",
    "core.v1.AzureDiskVolumeSource": "cachingMode fsType readOnly",
    "core.v1.AzureFilePersistentVolumeSource": "secretNamespace",
    "core.v1.CSIVolumeSource": "fsType readOnly",
    "core.v1.ClusterTrustBundleProjection": "name optional signerName",
    "core.v1.FCVolumeSource": "lun",
    "core.v1.GlusterfsPersistentVolumeSource": "endpointsNamespace",
    "core.v1.ISCSIPersistentVolumeSource": "initiatorName",
    "core.v1.ISCSIVolumeSource": "initiatorName",
    "core.v1.LocalVolumeSource": "fsType",
    "core.v1.PersistentVolumeClaimSpec": "storageClassName volumeAttributesClassName volumeMode",
    "core.v1.PersistentVolumeClaimStatus": "currentVolumeAttributesClassName",
    "core.v1.PersistentVolumeSpec": "volumeAttributesClassName volumeMode",
    "core.v1.PodCertificateProjection": "maxExpirationSeconds",
    "core.v1.ReplicationControllerSpec": "replicas",
    "core.v1.TypedObjectReference": "apiGroup namespace",
    "networking.v1.NetworkPolicyPort": "endPort protocol",
    "policy.v1.PodDisruptionBudgetSpec": "unhealthyPodEvictionPolicy",
    "policy.v1.PodDisruptionBudgetStatus": "currentHealthy desiredHealthy disruptionsAllowed expectedPods",
    "scheduling.v1.PriorityClass": "preemptionPolicy value",
    "storage.v1.StorageClass": "allowVolumeExpansion reclaimPolicy volumeBindingMode",
}
# Kinds that are listed and never hold anything: their insides are not told apart.
OPAQUE_KINDS = {
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition": (
        "apiextensions.k8s.io/v1/CustomResourceDefinition"
    ),
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService": "apiregistration.k8s.io/v1/APIService",
}
KEY_DEFAULTS = {("ServicePort", "protocol"): "TCP", ("ContainerPort", "protocol"): "TCP"}
# Empty lists that mean something: typed clients of older versions require the first, the second clears ownership.
KEPT_EMPTY = frozenset((("EndpointSlice", "endpoints"), ("ObjectMeta", "managedFields")))
SCALAR_MARK = re.compile(r"^(\w+)(?::([^?*\s]+))?([?*])?$")
DROPPED = ("unions", "protoOnly", "enum")
HEADING = re.compile(r"^# .*\[(\S+)/generated\.proto\]$")
Table = dict[str, dict[str, tuple[int, bool]]]


def parse_messages(text: str) -> Table:
    """OpenAPI name of the message to field name to (number, has presence)."""
    messages: Table = {}
    package = ""
    for line in text.splitlines():
        if heading := HEADING.match(line):
            package = f"io.k8s.{heading[1].replace('/', '.')}"
        name, colon, rest = line.partition(": ")
        words = rest.split()
        if not colon or not re.fullmatch(r"[A-Z]\w*( \(.*\))?", name) or not words or not words[0].isdigit():
            continue
        fields = {}
        for number, mark in zip(words[::2], words[1::2], strict=False):
            match = SCALAR_MARK.match(mark)
            if not number.isdigit() or match is None:
                break
            fields[match[1]] = (int(number), match[3] == "?")
        messages[f"{package}.{name.split()[0]}"] = fields
    return messages


def collect(definitions: dict[str, Any]) -> list[str]:
    """The names of the definitions that the groups' kinds reach. Lists are left out: they are made, never read."""
    todo = [
        name
        for name, definition in definitions.items()
        for gvk in definition.get("gvk", ())
        if (gvk in KINDS or gvk.rpartition("/")[0].rpartition("/")[0] in GROUPS) and not name.endswith("List")
    ]
    todo += [name for name in definitions if name.endswith((".meta.v1.DeleteOptions", ".meta.v1.Status"))]
    todo += OPAQUE_KINDS
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for field in definitions[name].get("fields", {}).values():
            kind = field["type"]
            while isinstance(kind, list):
                kind = kind[1]
            if kind in definitions:
                todo.append(kind)
    return sorted(seen)


def describe_opaque(gvk: str) -> dict[str, Any]:
    """The definition of a kind of which only the metadata is known."""
    meta, anything = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.runtime.RawExtension"
    types = {"apiVersion": "string", "kind": "string", "metadata": meta, "spec": anything, "status": anything}
    numbers = {"metadata": 1, "spec": 2, "status": 3}
    fields = {k: {"type": t, **({"proto": [numbers[k], t]} if k in numbers else {})} for k, t in types.items()}
    return {"gvk": [gvk], "fields": fields}


def number_field(name: str, field: dict[str, Any], inlined: list[tuple[int, dict[str, tuple[int, bool]]]]) -> Any:
    """The field's protobuf number: its own, or that within a flattened message."""
    if "proto" in field:
        return field["proto"][0]
    for outer, message in inlined:
        if name in message:
            return [outer, message[name][0]]
    return None


def render_definition(name: str, definition: dict[str, Any], messages: Table) -> dict[str, Any]:
    package, short = name.rsplit(".", 1)
    presence = messages.get(name, {})
    pointers = POINTERS.get(name.removeprefix("io.k8s.api."), "").split()
    inlined, renamed = [], {}
    for wire, (number, kind) in definition.get("protoOnly", {}).items():
        if kind == "EphemeralContainerCommon":
            inlined.append((number, messages[f"{package}.Container"]))
        elif f"{package}.{kind}" in messages:
            inlined.append((number, messages[f"{package}.{kind}"]))
        elif "fields" in definition:
            renamed[wire.lower()] = number
    fields = {}
    for key, field in sorted(definition.get("fields", {}).items()):
        number = number_field(key, field, inlined) or renamed.get(key.lower())
        entry = {k: v for k, v in field.items() if k != "proto"}
        if number is not None:
            entry["proto"] = number
        known = presence.get(key) or next((m[key] for _, m in inlined if key in m), None)
        is_scalar = field["type"] in ("string", "boolean", "integer:int32", "integer:int64")
        if is_scalar and (known[1] if known else key in pointers):
            entry["pointer"] = True
        if (short, key) in KEPT_EMPTY:
            entry["pointer"] = True
        if (short, key) in KEY_DEFAULTS:
            entry["default"] = KEY_DEFAULTS[short, key]
        fields[key] = entry
    result = {k: v for k, v in definition.items() if k not in DROPPED and k != "fields"}
    return {**result, "fields": fields} if fields else result


def main() -> None:
    facts = json.loads(Path(sys.argv[1]).read_text())
    messages = parse_messages(Path(sys.argv[2]).read_text()) | parse_messages(MORE_MESSAGES)
    definitions = facts["definitions"] | {name: describe_opaque(gvk) for name, gvk in OPAQUE_KINDS.items()}
    lines = [
        f"{json.dumps(name)}:{json.dumps(render_definition(name, definitions[name], messages), separators=(',', ':'))}"
        for name in collect(definitions)
    ]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
