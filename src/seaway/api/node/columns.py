"""Columns of Nodes. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, UNKNOWN, Column, join_or_none, render_age, wide

Json = dict[str, Any]

COLUMNS = (
    NAME,
    Column(name="Status", description="Whether the node takes Pods."),
    Column(name="Roles", description="The roles in the node's labels."),
    AGE,
    Column(name="Version", description="The version of the node's agent."),
    wide("Internal-IP", "The address inside the cluster."),
    wide("External-IP", "The address outside."),
    wide("OS-Image", "The operating system."),
    wide("Kernel-Version", "The kernel."),
    wide("Container-Runtime", "What runs the containers."),
)
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a Node."""
    status = obj.get("status", {})
    system = status.get("nodeInfo", {})
    return [
        obj["metadata"].get("name", ""),
        _render_status(obj),
        join_or_none(_find_roles(obj["metadata"].get("labels", {}))),
        render_age(obj, wall_now),
        system.get("kubeletVersion", ""),
        _find_address(status, "InternalIP"),
        _find_address(status, "ExternalIP"),
        system.get("osImage") or UNKNOWN,
        _render_kernel(system),
        system.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _render_status(obj: Json) -> str:
    ready = next((c for c in obj.get("status", {}).get("conditions", ()) if c.get("type") == "Ready"), None)
    text = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{text},SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else text


def _find_roles(labels: dict[str, str]) -> list[str]:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    return sorted((roles | {labels.get(_ROLE_LABEL, "")}) - {""})


def _find_address(status: Json, kind: str) -> str:
    return next((a["address"] for a in status.get("addresses", ()) if a.get("type") == kind), NONE)


def _render_kernel(system: Json) -> str:
    version = system.get("kernelVersion") or UNKNOWN
    return f"{version} ({system['architecture']})" if system.get("architecture") else version
