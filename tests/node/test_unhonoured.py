"""Rule: spec "node" §2.9."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.node.unhonoured import find_left_out, find_unhonoured
from tests.node.manifests import decode_pod

MAIN = {"name": "main"}
UNENFORCED = {"memory": "no cgroups"}
GROUPS = {"securityContext": {"fsGroup": 5, "supplementalGroups": [6]}}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a plain Pod": ({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}, ""),
    "limits": (
        {"containers": [{**MAIN, "resources": {"limits": {"memory": "1Gi", "cpu": "1"}}}]},
        "limits of container main (memory=1Gi) are not enforced (no cgroups)"),
    "a limit on what nobody counts": (
        {"containers": [{**MAIN, "resources": {"limits": {"hugepages-2Mi": "1Gi"}}}]},
        "limits of container main (hugepages-2Mi=1Gi) are not enforced"),
    "limits of the Pod as a whole": (
        {"resources": {"limits": {"memory": "1Gi", "cpu": "1"}}},
        "limits of the Pod (memory=1Gi) are not enforced (no cgroups)"),
    "requests are the scheduler's": ({"containers": [{**MAIN, "resources": {"requests": {"cpu": "1"}}}]}, ""),
    "a limit on disk": ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]}, ""),
    "groups": (
        GROUPS, "fsGroup 5 does not own the volumes: there is one user here; supplementalGroups are not set: "
        "there is one user here"),
    "root's group": ({"securityContext": {"fsGroup": 0, "supplementalGroups": [0]}}, ""),
    "a filter of the Pod's own": (
        {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}},
         "containers": [MAIN, {"name": "free", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]},
        "seccompProfile of container main is RuntimeDefault, not Localhost"),
    "propagation": (
        {"containers": [{**MAIN, "volumeMounts": [
            {"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"},
            {"name": "v", "mountPath": "/w", "mountPropagation": "None"}]}]},
        "mountPropagation Bidirectional of /v is None"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), CASES.values(), ids=CASES)
def test_what_is_left_undone_is_said(spec: dict[str, Any], expected: str) -> None:
    said = find_unhonoured(decode_pod(**spec), UNENFORCED, has_users=False)
    assert said == (f"not done on this node: {expected}" if expected else "")


def test_a_host_has_all_groups() -> None:
    assert not find_unhonoured(decode_pod(**GROUPS), {}, has_users=True)


def test_a_debugger_is_told_what_it_does_without() -> None:
    added = {"capabilities": {"add": ["SYS_PTRACE", "CAP_NET_ADMIN"]}}
    pod = decode_pod(ephemeralContainers=[{"name": "debugger", "securityContext": added}, {"name": "plain"}])
    [debugger, plain] = pod.spec.ephemeral_containers
    assert find_left_out(debugger) == "not done on this node: capability SYS_PTRACE of container debugger"
    assert not find_left_out(plain)
