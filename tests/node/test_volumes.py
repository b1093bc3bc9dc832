"""Rule: spec "node" §2.18."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.node.accounttokens import WantedToken
from seaway.node.envvars import PodFields
from seaway.node.volumes import (
    NOBODY,
    Content,
    EmptyDir,
    FileEntry,
    HostPath,
    Owners,
    VolumeError,
    find_owners,
    find_unsupported_mounts,
    plan_volumes,
)
from tests.node.manifests import decode_pod

MAPS = {"settings": {"b": b"2", "a": b"1"}}
TOKENS = {WantedToken("", 3600): "ours", WantedToken("vault", 700): "theirs"}
SECRETS = {"keys": {"k": b"secret"}}


def run_as(user: int) -> dict[str, Any]:
    return {"name": f"as-{user}", "securityContext": {"runAsUser": user}}


def plan(volume: dict[str, Any], owners: Owners = NOBODY) -> Any:
    pod = decode_pod(
        containers=[{"name": "main"}], volumes=[{"name": "v", **volume}], labels={"b": 'say "hi"', "a": "1"}
    )
    [found] = plan_volumes(
        pod,
        fields=PodFields(allocatable={"cpu": "4"}),
        find_config_map=MAPS.get,
        find_secret=SECRETS.get,
        find_token=TOKENS.get,
        owners=owners,
    )
    return found


def hidden(*files: FileEntry) -> Content:
    """Never on a disk."""
    return Content("v", files, in_memory=True)


VOLUMES: dict[str, tuple[dict[str, Any], Any]] = {
    "empty directory": ({"emptyDir": {}}, EmptyDir("v")),
    "in memory": ({"emptyDir": {"medium": "Memory"}}, EmptyDir("v", in_memory=True)),
    "in memory, of a size": (
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, EmptyDir("v", in_memory=True, size_bytes=1 << 20)),
    "a limit on disk is no tmpfs": ({"emptyDir": {"sizeLimit": "1Mi"}}, EmptyDir("v")),
    "host path": ({"hostPath": {"path": "/x", "type": "Directory"}}, HostPath("v", "/x", "Directory")),
    "all keys, sorted": (
        {"configMap": {"name": "settings"}}, Content("v", (FileEntry("a", b"1"), FileEntry("b", b"2")))),
    "chosen keys with modes": (
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "dir/f", "mode": 0o600}]}},
        Content("v", (FileEntry("dir/f", b"1", 0o600),))),
    "secret": (
        {"secret": {"secretName": "keys", "defaultMode": 0o400}}, hidden(FileEntry("k", b"secret", 0o400))),
    "optional and absent": ({"configMap": {"name": "no", "optional": True}}, Content("v", ())),
    "labels": (
        {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        hidden(FileEntry("l", b'a="1"\nb="say \\"hi\\""'))),
    "a resource of a container": (
        {"downwardAPI": {"items": [{"path": "cpu", "resourceFieldRef": {
            "containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}]}},
        hidden(FileEntry("cpu", b"4000"))),
    "projected, with tokens": (
        {"projected": {"sources": [
            {"secret": {"name": "keys"}}, {"configMap": {"name": "settings", "items": [{"key": "b", "path": "b"}]}},
            {"serviceAccountToken": {"path": "token"}},
            {"serviceAccountToken": {"path": "vault/token", "audience": "vault", "expirationSeconds": 700}},
        ]}},
        hidden(FileEntry("b", b"2"), FileEntry("k", b"secret"), FileEntry("token", b"ours"),
               FileEntry("vault/token", b"theirs"))),
}  # fmt: skip


@pytest.mark.parametrize(("volume", "expected"), VOLUMES.values(), ids=VOLUMES)
def test_content(volume: dict[str, Any], expected: Any) -> None:
    assert plan(volume) == expected


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        ({"configMap": {"name": "settings", "items": [{"key": "x", "path": "x"}]}}, "non-existent configmap key: x"),
        ({"configMap": {"name": "settings", "items": [{"key": "a", "path": "../x"}]}}, "must not contain '..'"),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "x"}}]}},
            "failed to fetch token",
        ),
        ({"projected": {"sources": [{"serviceAccountToken": {"path": "/t"}}]}}, "must not contain '..'"),
        ({"emptyDir": {"medium": "HugePages"}}, "medium HugePages is not supported on this node"),
        ({"nfs": {"server": "s"}}, "no volume plugin matched"),
    ],
)
def test_refusals(volume: dict[str, Any], text: str) -> None:
    with pytest.raises(VolumeError, match=r'MountVolume.SetUp failed for volume "v" : ') as caught:
        plan(volume)
    assert text in str(caught.value)


def test_volumes_are_of_the_pods_group_and_tokens_of_its_user() -> None:
    tokens = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    owners = Owners(group=5, user=1000)
    assert plan(tokens, owners) == Content("v", (FileEntry("token", b"ours", 0o600, 1000),), 5, in_memory=True)
    assert plan({"emptyDir": {}}, owners) == EmptyDir("v", group=5)


USERS: dict[str, tuple[dict[str, Any], Owners]] = {
    "nobody says": ({}, Owners()),
    "the Pod says": ({"securityContext": {"runAsUser": 1, "fsGroup": 0}}, Owners(0, 1)),
    "a container says otherwise": (
        {"securityContext": {"runAsUser": 1}, "containers": [run_as(1), run_as(2)]}, Owners()),
    "all containers say the same": ({"containers": [run_as(2), run_as(2)]}, Owners(None, 2)),
    "one does not say": ({"containers": [run_as(2), {"name": "b"}]}, Owners()),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "owners"), USERS.values(), ids=USERS)
def test_whose_the_volumes_are(spec: dict[str, Any], owners: Owners) -> None:
    assert find_owners(decode_pod(**spec)) == owners


def test_a_mount_without_a_volume() -> None:
    pod = decode_pod(containers=[{"name": "main", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}])
    assert find_unsupported_mounts(pod) == ('container main mounts "x", which is no volume of the Pod',)
