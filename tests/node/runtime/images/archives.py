"""Makes archives of images: layers from entries, put together as an OCI layout or as `docker save` writes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A member of a layer."""

    name: str
    data: bytes = b""
    mode: int = 0o755
    type: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0
    gid: int = 0


def directory(name: str, mode: int = 0o755) -> Entry:
    return Entry(name, mode=mode, type=tarfile.DIRTYPE)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, type=tarfile.SYMTYPE, link=target)


def make_layer(entries: Sequence[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.mode, info.type, info.linkname = entry.mode, entry.type, entry.link
            info.size, info.uid, info.gid = len(entry.data), entry.uid, entry.gid
            tar.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class ImageMaker:
    """One image; `config` is what its programs are told."""

    layers: list[bytes]
    config: Json = field(default_factory=dict)
    names: tuple[str, ...] = ("example.com/test:1",)
    architecture: str = "amd64"

    def encode_config(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]}
        said = {"architecture": self.architecture, "os": "linux", "config": self.config, "rootfs": rootfs}
        return json.dumps(said).encode()

    def write_layout(self, path: Path, *, compresses: bool = True, nested: bool = False, **spoil: bytes) -> Path:
        """An OCI layout. spoil: members of the archive to replace, by name with `/` as `_`."""
        blobs: dict[str, bytes] = {}

        def put(data: bytes, media: str) -> Json:
            blobs[digest(data)] = data
            return {"digest": digest(data), "size": len(data), "mediaType": f"application/vnd.oci.image.{media}"}

        config = put(self.encode_config(), "config.v1+json")
        packed = [gzip.compress(layer) if compresses else layer for layer in self.layers]
        layers = [put(layer, "layer.v1.tar+gzip") for layer in packed]
        manifest = put(json.dumps({"config": config, "layers": layers}).encode(), "manifest.v1+json")
        named = {"annotations": {"io.containerd.image.name": self.names[0]}} if self.names else {}
        if nested:
            platform = {"os": "linux", "architecture": self.architecture}
            other = {**manifest, "platform": {"os": "linux", "architecture": "riscv64"}}
            inner = {"manifests": [other, {**manifest, "platform": platform}]}
            manifest = put(json.dumps(inner).encode(), "index.v1+json")
        members = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps({"manifests": [{**manifest, **named}]}).encode(),
            **{f"blobs/sha256/{key.partition(':')[2]}": data for key, data in blobs.items()},
        }
        return write_tar(path, members | {name.replace("_", "/"): data for name, data in spoil.items()})

    def write_saved(self, path: Path) -> Path:
        """As `docker save` writes it."""
        config = self.encode_config()
        name = f"{digest(config).partition(':')[2]}.json"
        layers = {f"{number}/layer.tar": layer for number, layer in enumerate(self.layers)}
        manifest = [{"Config": name, "RepoTags": list(self.names), "Layers": list(layers)}]
        return write_tar(path, {name: config, **layers, "manifest.json": json.dumps(manifest).encode()})


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def make_busybox(busybox: bytes, applets: Sequence[str], *entries: Entry) -> bytes:
    """A layer in which busybox is each of the applets."""
    links = [symlink(f"bin/{name}", "busybox") for name in applets]
    passwd = Entry("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:101:102::/:/bin/sh\n", 0o644)
    base = [directory("bin"), Entry("bin/busybox", busybox), *links, directory("tmp", 0o1777), directory("etc"), passwd]
    return make_layer([*base, *entries])
