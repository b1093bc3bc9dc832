"""Rule: spec "node" §2.9."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.node.unhonoured import find_unhonoured
from tests.node.manifests import decode_pod

MAIN = {"name": "main"}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a plain Pod": ({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}, ""),
    "limits": (
        {"containers": [{**MAIN, "resources": {"limits": {"memory": "1Gi", "cpu": "1"}}}]},
        "limits of container main (memory=1Gi) are not enforced (no cgroups)"),
    "a limit on what nobody counts": (
        {"containers": [{**MAIN, "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]},
        "limits of container main (ephemeral-storage=1Gi) are not enforced"),
    "limits of the Pod as a whole": (
        {"resources": {"limits": {"memory": "1Gi", "cpu": "1"}}},
        "limits of the Pod (memory=1Gi) are not enforced (no cgroups)"),
    "requests are the scheduler's": ({"containers": [{**MAIN, "resources": {"requests": {"cpu": "1"}}}]}, ""),
    "a limit on disk": (
        {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]},
        "sizeLimit 1Gi of volume v is not enforced; with medium Memory it is"),
    "groups": (
        {"securityContext": {"fsGroup": 5, "supplementalGroups": [6]}},
        "fsGroup 5 does not own the volumes; supplementalGroups are not set"),
    "propagation": (
        {"containers": [{**MAIN, "volumeMounts": [
            {"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"},
            {"name": "v", "mountPath": "/w", "mountPropagation": "None"}]}]},
        "mountPropagation Bidirectional of /v is None"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), CASES.values(), ids=CASES)
def test_what_is_left_undone_is_said(spec: dict[str, Any], expected: str) -> None:
    assert find_unhonoured(decode_pod(**spec), {"memory": "no cgroups"}) == (
        f"not done on this node: {expected}" if expected else ""
    )
