"""Rule: spec "node" §2.6, §2.18, §7.4."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.node.evictions import DiskUse, find_excess, format_bytes, has_disk_limits
from tests.node.manifests import decode_pod

MIB = 1 << 20


def limited(name: str = "main", limit: str = "5Mi") -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {"ephemeral-storage": limit}}}


CACHE = {"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]}
CASES: dict[str, tuple[dict[str, Any], DiskUse, str]] = {
    "a Pod without limits may fill the disk": (
        {"volumes": [{"name": "v", "emptyDir": {}}]}, DiskUse({"v": 9 * MIB}, {"main": 9 * MIB}), ""),
    "a volume at its limit": (CACHE, DiskUse({"cache": MIB}), ""),
    "a volume beyond": (
        CACHE, DiskUse({"cache": MIB + 1}), 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '),
    "one in memory is the kernel's": (
        {"volumes": [{"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]},
        DiskUse({"cache": 9 * MIB}), ""),
    "a container beyond, in a Pod of one": (
        {"containers": [limited()]}, DiskUse({}, {"main": 10 * MIB}),
        "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
    "a container beyond, within the Pod's total": (
        {"containers": [limited(), limited("other", "20Mi")]}, DiskUse({}, {"main": 10 * MIB}),
        'Container main exceeded its local ephemeral storage limit "5Mi". '),
    "volumes count for the Pod as a whole": (
        {"containers": [limited()], "volumes": [{"name": "v", "emptyDir": {}}]},
        DiskUse({"v": 4 * MIB}, {"main": 2 * MIB}),
        "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
    "all within": ({"containers": [limited()], **CACHE}, DiskUse({"cache": MIB}, {"main": 4 * MIB}), ""),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "use", "expected"), CASES.values(), ids=CASES)
def test_excesses(spec: dict[str, Any], use: DiskUse, expected: str) -> None:
    pod = decode_pod(**spec)
    assert find_excess(pod, use) == expected
    assert has_disk_limits(pod) or not expected


def test_only_pods_with_limits_are_measured() -> None:
    assert not has_disk_limits(decode_pod(volumes=[{"name": "v", "emptyDir": {}}]))
    assert has_disk_limits(decode_pod(**CACHE)) and has_disk_limits(decode_pod(containers=[limited()]))


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (5 * MIB, "5Mi"), (1500, "1500"), (3 << 30, "3Gi")])
def test_bytes_as_a_quantity(count: int, text: str) -> None:
    assert format_bytes(count) == text
