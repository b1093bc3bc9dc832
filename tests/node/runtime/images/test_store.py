"""Archives become images: whole, inside of their directory, and named; or one error says why not."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from seaway.node.runtime.images.archive import ImageError
from seaway.node.runtime.images.store import ImageStore
from seaway.node.runtime.images.values import Alias, Image
from tests.node.runtime.images.archives import (
    Entry,
    ImageMaker,
    digest,
    directory,
    make_layer,
    symlink,
    write_tar,
)

BASE = make_layer([directory("etc"), Entry("etc/one", b"1", 0o644), directory("usr"), directory("usr/lib")])


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def add(store: ImageStore, path: Path, *layers: list[Entry]) -> Path:
    """The root of an image with these layers."""
    maker = ImageMaker([make_layer(layer) for layer in layers])
    (image,) = store.import_archive(maker.write_layout(path / "image.tar"), machine="x86_64")
    return store.root_of(image)


@pytest.mark.parametrize("form", ["layout", "plain layout", "nested layout", "saved"])
def test_every_form_of_archive_gives_the_same_image(store: ImageStore, tmp_path: Path, form: str) -> None:
    maker = ImageMaker([BASE, make_layer([Entry("etc/two", b"2")])], {"Cmd": ["run"]}, names=("a:1",))
    path = tmp_path / "image.tar"
    if form == "saved":
        maker.write_saved(path)
    else:
        maker.write_layout(path, compresses=form != "plain layout", nested=form == "nested layout")
    (image,) = store.import_archive(path, machine="x86_64")
    assert (image.id, image.names) == (digest(maker.encode_config()), ("docker.io/library/a:1",))
    assert (store.root_of(image) / "etc/two").read_bytes() == b"2"
    assert store.find("a:1") == store.find(image.id) == image
    assert store.find("b") is None


def test_layers_lie_on_top_of_each_other(store: ImageStore, tmp_path: Path) -> None:
    root = add(
        store,
        tmp_path,
        [
            directory("d"),
            Entry("d/old", b"x"),
            Entry("gone"),
            Entry("kind", b"file"),
            directory("opaque"),
            Entry("opaque/a"),
        ],
        [Entry(".wh.gone"), Entry("d/new", b"y"), directory("kind"), Entry("opaque/b"), Entry("opaque/.wh..wh..opq")],
    )
    assert sorted(os.listdir(root)) == ["d", "kind", "opaque"]
    assert sorted(os.listdir(root / "d")) == ["new", "old"]
    assert os.listdir(root / "opaque") == ["b"]
    assert (root / "kind").is_dir()


def test_links_lead_where_they_would_with_the_image_as_the_root(store: ImageStore, tmp_path: Path) -> None:
    root = add(
        store,
        tmp_path,
        [directory("usr"), directory("usr/lib"), symlink("lib", "/usr/lib"), symlink("up", "../../..")],
        [Entry("lib/a", b"a"), Entry("up/b", b"b"), Entry("hard", type=tarfile.LNKTYPE, link="lib/a")],
    )
    assert (root / "usr/lib/a").read_bytes() == b"a"
    assert (root / "b").read_bytes() == b"b"
    assert os.readlink(root / "lib") == "/usr/lib"
    assert (root / "hard").stat().st_ino == (root / "usr/lib/a").stat().st_ino


def test_a_link_of_the_image_never_leads_the_import_outside(store: ImageStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    root = add(
        store,
        tmp_path,
        [symlink("out", str(outside)), symlink("file", str(outside / "secret"))],
        [Entry("out/planted", b"x"), Entry("file", b"replaced")],
    )
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == "s"
    assert (root / str(outside).lstrip("/") / "planted").read_bytes() == b"x"
    assert (root / "file").read_bytes() == b"replaced"


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        pytest.param([Entry("a/..", b"")], "leads out of its directory", id="a name that leads up"),
        pytest.param([Entry("file"), Entry("file/x")], "is no directory", id="a file as a directory"),
        pytest.param([Entry("a" * 5000)], "5000 characters", id="a path too long"),
        pytest.param([symlink("l", "/etc/passwd"), Entry("h", type=tarfile.LNKTYPE, link="l")], "no file of it",
                     id="a hard link to a link"),
        pytest.param([Entry("h", type=tarfile.LNKTYPE, link="../../x")], "no file of it", id="a hard link outside"),
        pytest.param([symlink("a", "b"), symlink("b", "a"), Entry("a/x")], "too many links", id="links in a circle"),
    ],
)  # fmt: skip
def test_layers_that_are_refused_leave_nothing(
    store: ImageStore, tmp_path: Path, entries: list[Entry], text: str
) -> None:
    with pytest.raises(ImageError, match=text):
        add(store, tmp_path, entries)
    assert store.read().images == {}
    assert os.listdir(store.directory) == []


def test_devices_are_left_out_and_modes_are_kept(store: ImageStore, tmp_path: Path) -> None:
    closed = directory("closed", 0o500)
    entries = [
        closed,
        Entry("closed/x", b"1", 0o4711),
        Entry("null", type=tarfile.CHRTYPE),
        Entry("pipe", type=tarfile.FIFOTYPE),
    ]
    root = add(store, tmp_path, entries)
    assert not (root / "null").exists()
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert stat.S_IMODE((root / "closed").stat().st_mode) == 0o500
    assert stat.S_IMODE((root / "closed/x").stat().st_mode) == 0o4711
    (image,) = store.read().images.values()
    store.remove(image.id)
    assert not root.exists()


def test_what_is_not_what_its_digest_says_is_refused(store: ImageStore, tmp_path: Path) -> None:
    maker = ImageMaker([BASE])
    other = make_layer([Entry("planted")])
    spoilt = {f"blobs_sha256_{digest(BASE).partition(':')[2]}": other}
    maker.write_layout(tmp_path / "a.tar", compresses=False, **spoilt)
    with pytest.raises(ImageError, match=r"found, sha256:.* said by the image"):
        store.import_archive(tmp_path / "a.tar", machine="x86_64")
    config = {f"blobs_sha256_{digest(maker.encode_config()).partition(':')[2]}": b"{}"}
    maker.write_layout(tmp_path / "b.tar", **config)
    with pytest.raises(ImageError, match="not what its digest says"):
        store.import_archive(tmp_path / "b.tar", machine="x86_64")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        pytest.param({"x": b""}, "neither index.json nor manifest.json", id="another archive"),
        pytest.param({"manifest.json": b"["}, "no JSON", id="no JSON"),
        pytest.param({"manifest.json": b'[{"Config": "c"}]'}, "c is missing", id="a document that is missing"),
        pytest.param({"manifest.json": b"[1]"}, "another shape", id="a document of another shape"),
        pytest.param({"manifest.json": b"[]"}, "no image for this machine", id="no image"),
        pytest.param({"index.json": b'{"manifests": [{"digest": "md5:1"}]}'}, "sha256 needed", id="another digest"),
        pytest.param({"manifest.json": b" " * (5 << 20)}, "longer than", id="a document too long"),
    ],
)
def test_archives_that_are_refused(store: ImageStore, tmp_path: Path, members: dict[str, bytes], text: str) -> None:
    with pytest.raises(ImageError, match=text):
        store.import_archive(write_tar(tmp_path / "a.tar", members), machine="x86_64")


def test_a_file_that_is_no_archive_says_what_is_needed(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"hello")
    with pytest.raises(ImageError, match="an OCI or docker archive needed"):
        store.import_archive(tmp_path / "a.tar", machine="x86_64")


def test_an_image_of_another_machine_is_not_for_this_one(store: ImageStore, tmp_path: Path) -> None:
    path = ImageMaker([BASE], architecture="arm64").write_layout(tmp_path / "a.tar", nested=True)
    with pytest.raises(ImageError, match="no image for this machine"):
        store.import_archive(path, machine="x86_64")
    assert len(store.import_archive(path, machine="aarch64")) == 1


def test_a_name_moves_to_the_newer_image_and_files_go_with_the_last_name(store: ImageStore, tmp_path: Path) -> None:
    def load(layer: bytes) -> Image:
        path = ImageMaker([layer], names=("a:1",)).write_layout(tmp_path / "a.tar")
        return store.import_archive(path, machine="x86_64")[0]

    old, new = load(BASE), load(make_layer([Entry("x")]))
    found = store.find("a:1")
    assert found == new and store.read().images[old.id].names == ()
    store.set_alias("b", Alias(image="a:1"))
    assert store.find("b") == new
    store.remove("a:1")
    assert store.find("b") is None and not store.root_of(new).exists()
    assert store.root_of(old).exists()
    store.remove(old.id)
    assert os.listdir(store.directory) == ["index.json"]
    with pytest.raises(ImageError, match="not found"):
        store.remove("a:1")


def test_an_import_that_was_cut_off_leaves_no_trace_after_the_next(store: ImageStore, tmp_path: Path) -> None:
    store.directory.mkdir()
    (store.directory / ".partial-x" / "rootfs").mkdir(parents=True)
    root = add(store, tmp_path, [Entry("x")])
    half = root.parent
    os.rename(half, store.directory / "moved")
    half.mkdir()
    (half / "stale").touch()
    (store.directory / "index.json").unlink()
    root = add(store, tmp_path, [Entry("x")])
    assert sorted(p.name for p in store.directory.iterdir()) == sorted([root.parent.name, "moved", "index.json"])
    assert not (half / "stale").exists()


def test_a_name_for_an_archive_that_has_none(store: ImageStore, tmp_path: Path) -> None:
    path = ImageMaker([BASE], names=()).write_layout(tmp_path / "a.tar")
    (image,) = store.import_archive(path, machine="x86_64", name="mine:2")
    assert image.names == ("docker.io/library/mine:2",)
    with pytest.raises(ImageError, match="invalid reference format"):
        store.import_archive(path, machine="x86_64", name="Mine")


def test_an_alias_of_nothing_is_refused(store: ImageStore) -> None:
    with pytest.raises(ImageError, match="not imported"):
        store.set_alias("a", Alias(image="b"))


def test_a_user_that_the_image_does_not_have_is_refused_at_the_import(store: ImageStore, tmp_path: Path) -> None:
    path = ImageMaker([BASE], {"User": "web"}).write_layout(tmp_path / "a.tar")
    with pytest.raises(ImageError, match="user web is not in its own /etc/passwd"):
        store.import_archive(path, machine="x86_64")
