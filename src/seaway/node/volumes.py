"""What lies in a Pod's volumes: files and modes, decided from the Pod and the objects it names.

Rule: spec "node" §2.18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from seaway.api.machinery.scalars import measure_quantity
from seaway.node.accounttokens import WantedToken
from seaway.node.envvars import EnvError, Find, PodFields, read_field, read_resource_field
from seaway.node.podspec import (
    DownwardFile,
    EmptyDirVolume,
    FieldRef,
    KeyToPath,
    PodManifest,
    TokenSource,
    Volume,
)

NANOS = 10**9
"""Of quantities, as they are measured."""

FindToken = Callable[[WantedToken], str | None]


class VolumeError(Exception):
    """A volume cannot be made now; the Pod waits and the text becomes a `FailedMount` event."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a volume: `path` is relative to the volume and has no `..`. owner None: the agent."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A volume that is a set of files made by the agent, sorted by path. group: may read them all.

    in_memory: it is never on a disk. Rule: spec "node" §2.18 (secrets and tokens); downward files as upstream.
    """

    name: str
    files: tuple[FileEntry, ...]
    group: int | None = None
    in_memory: bool = False


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A directory that lives as long as the Pod; in memory, of at most `size_bytes`, 0 for half of the host's.

    group: what is made in it is the group's.
    """

    name: str
    in_memory: bool = False
    size_bytes: int = 0
    group: int | None = None


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the node. `type` as in the API: "" checks nothing."""

    name: str
    path: str
    type: str


PlannedVolume = Content | EmptyDir | HostPath


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose a Pod's volumes are: its `fsGroup`, and the user that all its containers run as. None: nobody's."""

    group: int | None = None
    user: int | None = None


NOBODY = Owners()


def find_owners(pod: PodManifest) -> Owners:
    """Rule: spec "node" §2.18 (service-account tokens); upstream's fsGroup."""
    security = pod.spec.security_context
    inherited = security.run_as_user if security is not None else None
    own = (c.security_context.run_as_user if c.security_context is not None else None for c in pod.every_container)
    users = {inherited if user is None else user for user in own}
    return Owners(security.fs_group if security is not None else None, users.pop() if len(users) == 1 else None)


def plan_volumes(
    pod: PodManifest,
    *,
    fields: PodFields,
    find_config_map: Find,
    find_secret: Find,
    find_token: FindToken,
    owners: Owners = NOBODY,
) -> tuple[PlannedVolume, ...]:
    """The Pod's volumes in order. Raises VolumeError, with the volume's name in it.

    owners: of what the agent makes; where only one user exists, none. A hostPath is the host's.
    """
    finders = _Finders(find_config_map, find_secret, find_token, owners)
    return tuple(_plan(volume, pod, fields, finders) for volume in pod.spec.volumes)


@dataclass(frozen=True, slots=True)
class _Finders:
    config_map: Find
    secret: Find
    token: FindToken
    owners: Owners


def _plan(volume: Volume, pod: PodManifest, fields: PodFields, find: _Finders) -> PlannedVolume:
    if volume.empty_dir is not None:
        return replace(_plan_empty_dir(volume.name, volume.empty_dir), group=find.owners.group)
    if volume.host_path is not None:
        return HostPath(volume.name, volume.host_path.path, volume.host_path.type)
    try:
        files = tuple(_read_files(volume, pod, fields, find))
    except (VolumeError, EnvError) as error:
        raise VolumeError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error
    unique = {entry.path: entry for entry in files}.values()
    ordered = tuple(sorted(unique, key=lambda e: e.path))
    return Content(volume.name, ordered, find.owners.group, in_memory=volume.config_map is None)


def _plan_empty_dir(name: str, source: EmptyDirVolume) -> EmptyDir:
    """A limit of what lies on disk is not enforced: `find_unhonoured` says so."""
    if source.medium == "":
        return EmptyDir(name)
    if source.medium != "Memory":
        raise VolumeError(
            f'MountVolume.SetUp failed for volume "{name}" : medium {source.medium} is not supported on this node; '
            "use Memory, or leave it out"
        )
    return EmptyDir(name, in_memory=True, size_bytes=measure_quantity(source.size_limit) // NANOS)


def _read_files(volume: Volume, pod: PodManifest, fields: PodFields, find: _Finders) -> Iterator[FileEntry]:
    if volume.config_map is not None:
        source = volume.config_map
        yield from _read_keys(
            "configmap", source.name, source.items, source.default_mode, source.optional, find.config_map
        )
    elif volume.secret is not None:
        secret = volume.secret
        yield from _read_keys(
            "secret", secret.secret_name, secret.items, secret.default_mode, secret.optional, find.secret
        )
    elif volume.downward_api is not None:
        yield from _read_downward(volume.downward_api.items, volume.downward_api.default_mode, pod, fields)
    elif volume.projected is not None:
        mode = volume.projected.default_mode
        for part in volume.projected.sources:
            if part.config_map is not None:
                source = part.config_map
                yield from _read_keys("configmap", source.name, source.items, mode, source.optional, find.config_map)
            elif part.secret is not None:
                yield from _read_keys(
                    "secret", part.secret.name, part.secret.items, mode, part.secret.optional, find.secret
                )
            elif part.downward_api is not None:
                yield from _read_downward(part.downward_api.items, mode, pod, fields)
            elif part.service_account_token is not None:
                yield _read_token(part.service_account_token, mode, find)
    else:
        raise VolumeError("no volume plugin matched: this node knows emptyDir, configMap, secret, downwardAPI, "
                          "projected and hostPath")  # fmt: skip


def _read_token(source: TokenSource, mode: int, find: _Finders) -> FileEntry:
    """For nobody else's eyes, where it is known whose it is."""
    if find.owners != NOBODY:
        mode = 0o600
    token = find.token(WantedToken(source.audience, source.expiration_seconds))
    if token is None:
        raise VolumeError("failed to fetch token: the API server gave none")
    return FileEntry(_check_path(source.path), token.encode(), mode, find.owners.user)


def _read_keys(
    kind: str, name: str, items: Sequence[KeyToPath], default_mode: int, optional: bool, find: Find
) -> Iterator[FileEntry]:
    data = find(name)
    if data is None:
        if optional:
            return
        raise VolumeError(f'{kind} "{name}" not found')
    if not items:
        yield from (FileEntry(key, data[key], default_mode) for key in sorted(data))
        return
    for item in items:
        if item.key in data:
            yield FileEntry(_check_path(item.path), data[item.key], default_mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(f"references non-existent {kind} key: {item.key}")


def _read_downward(
    items: Sequence[DownwardFile], default_mode: int, pod: PodManifest, fields: PodFields
) -> Iterator[FileEntry]:
    for item in items:
        text = _read_downward_field(item, pod, fields)
        yield FileEntry(_check_path(item.path), text.encode(), default_mode if item.mode is None else item.mode)


def _read_downward_field(item: DownwardFile, pod: PodManifest, fields: PodFields) -> str:
    if item.resource_field_ref is not None:
        return read_resource_field(item.resource_field_ref, pod, None, fields)
    if item.field_ref is None:
        raise VolumeError(f"{item.path}: neither fieldRef nor resourceFieldRef is set")
    text = _read_map(item.field_ref, pod)
    return read_field(item.field_ref, pod, fields) if text is None else text


def _read_map(ref: FieldRef, pod: PodManifest) -> str | None:
    """All labels or annotations as sorted `key="value"` lines; None when the path names something else."""
    maps: Mapping[str, Mapping[str, str]] = {
        "metadata.labels": pod.metadata.labels,
        "metadata.annotations": pod.metadata.annotations,
    }
    values = maps.get(ref.field_path)
    if values is None:
        return None
    return "\n".join(f'{key}="{_quote(values[key])}"' for key in sorted(values))


def _quote(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(escapes.get(character, character) for character in value)


def _check_path(path: str) -> str:
    """The API refuses such paths; a path that leaves the volume would write to the node."""
    if path.startswith("/") or ".." in path.split("/") or not path:
        raise VolumeError(f"path {path!r}: must be relative and must not contain '..'")
    return path


def find_unsupported_mounts(pod: PodManifest) -> tuple[str, ...]:
    """What a container mounts and the Pod does not declare, as sentences."""
    names = {volume.name for volume in pod.spec.volumes}
    return tuple(
        f'container {container.name} mounts "{mount.name}", which is no volume of the Pod'
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for mount in container.volume_mounts
        if mount.name not in names
    )
