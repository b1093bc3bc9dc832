"""Archives of images: what `docker save` writes, and OCI layouts in a tar file.

Everything in an archive is somebody's word: documents have a size, digests are computed, and layers are counted.
Rule: OCI image-spec, "image-layout.md", "manifest.md"; the docker format is that of `docker save` (manifest.json).
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from seaway.net.errors import OperationalError

MAX_DOCUMENT_BYTES = 4 << 20
MAX_LAYERS = 256
MAX_IMAGES = 64
MAX_DEPTH = 4
"""Of an index in an index."""
_INDEXES = frozenset(
    ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
)
_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
Json = Mapping[str, Any]


class ImageError(OperationalError):
    """The archive, or what was asked of the store: subject, what was found, what to do."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer by its member of the archive. digest: of the member's bytes; diff_id: of what is compressed there."""

    member: str
    digest: str
    diff_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """One image of an archive. id: the digest of its configuration."""

    id: str
    config: Json
    layers: tuple[Layer, ...]
    names: tuple[str, ...]


def read_images(archive: tarfile.TarFile, *, machine: str) -> tuple[Found, ...]:
    """The images of the archive for this machine. Raises ImageError."""
    names = set(archive.getnames())
    if "index.json" in names or "./index.json" in names:
        return _read_layout(archive, ARCHITECTURES.get(machine, machine))
    if "manifest.json" in names or "./manifest.json" in names:
        return _read_saved(archive)
    raise ImageError("archive: neither index.json nor manifest.json found, an OCI or docker archive needed")


def open_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of the archive; links of old archives are followed inside of it. Raises ImageError."""
    for candidate in (name, f"./{name}"):
        try:
            opened = archive.extractfile(candidate)
        except KeyError:
            continue
        if opened is not None:
            return opened
    raise ImageError(f"archive: {name} is missing, which the archive itself names")


def _read_document(archive: tarfile.TarFile, name: str, digest: str = "") -> Any:
    with open_member(archive, name) as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ImageError(f"archive: {name} is longer than {MAX_DOCUMENT_BYTES} bytes")
    if digest and f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ImageError(f"archive: {name} is not what its digest says")
    try:
        return json.loads(data)
    except ValueError as error:
        raise ImageError(f"archive: {name} is no JSON: {error}") from None


def _check(made: Sequence[Found]) -> tuple[Found, ...]:
    if not made:
        raise ImageError("archive: no image for this machine found")
    return tuple(made)


def _guard(read: Callable[[], Iterator[Found]]) -> tuple[Found, ...]:
    """Documents of the wrong shape are the archive's fault."""
    try:
        return _check(list(read()))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ImageError(f"archive: a document has another shape than expected: {error!r}") from None


# -- docker save


def _read_saved(archive: tarfile.TarFile) -> tuple[Found, ...]:
    entries = _read_document(archive, "manifest.json")

    def read() -> Iterator[Found]:
        for entry in entries[:MAX_IMAGES]:
            name = entry["Config"]
            with open_member(archive, name) as file:
                digest = hashlib.sha256(file.read(MAX_DOCUMENT_BYTES)).hexdigest()
            config = _read_document(archive, name)
            yield _make(f"sha256:{digest}", config, [(m, "") for m in entry["Layers"]], entry.get("RepoTags") or ())

    return _guard(read)


# -- OCI layout


def _read_layout(archive: tarfile.TarFile, architecture: str) -> tuple[Found, ...]:
    index = _read_document(archive, "index.json")

    def read() -> Iterator[Found]:
        for descriptor in index["manifests"][:MAX_IMAGES]:
            manifest = _find_manifest(archive, descriptor, architecture, MAX_DEPTH)
            if manifest is None:
                continue
            config_digest = manifest["config"]["digest"]
            config = _read_document(archive, _blob(config_digest), config_digest)
            layers = [(_blob(layer["digest"]), layer["digest"]) for layer in manifest["layers"]]
            said = descriptor.get("annotations") or {}
            names = [said[key] for key in _NAME_KEYS if said.get(key)][:1]
            yield _make(config_digest, config, layers, names)

    return _guard(read)


def _find_manifest(archive: tarfile.TarFile, descriptor: Json, architecture: str, depth: int) -> Json | None:
    """The manifest behind the descriptor, of an index the one for this machine; None when there is none."""
    platform = descriptor.get("platform") or {}
    if platform and (platform.get("os", "linux"), platform.get("architecture")) != ("linux", architecture):
        return None
    document: Json = _read_document(archive, _blob(descriptor["digest"]), descriptor["digest"])
    if "manifests" not in document and descriptor.get("mediaType") not in _INDEXES:
        return document
    if not depth:
        raise ImageError("archive: an index leads to an index, and so on")
    found = (_find_manifest(archive, inner, architecture, depth - 1) for inner in document["manifests"][:MAX_IMAGES])
    return next((manifest for manifest in found if manifest is not None), None)


def _blob(digest: str) -> str:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or not value.isalnum():
        raise ImageError(f"archive: digest {digest[:80]}: sha256 needed")
    return f"blobs/{kind}/{value}"


def _make(id: str, config: Json, layers: Sequence[tuple[str, str]], names: Sequence[str]) -> Found:
    diff_ids = config["rootfs"]["diff_ids"]
    if len(diff_ids) != len(layers) or len(layers) > MAX_LAYERS:
        raise ImageError(f"archive: {len(layers)} layers found, {len(diff_ids)} said, {MAX_LAYERS} allowed")
    parts = tuple(Layer(member, digest, diff_id) for (member, digest), diff_id in zip(layers, diff_ids, strict=True))
    return Found(id, config, parts, tuple(names))
