"""What lies on disk for Pods, where the disk or the Pod's author does not play along. Rule: spec "node" §2.18."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from seaway.node.evictions import DiskUse
from seaway.node.runtime.contract import ContainerError
from seaway.node.runtime.files import load_json, measure_pod, prepare_volume, save_json, write_text
from seaway.node.runtime.local.run import find_inside
from seaway.node.volumes import Content, EmptyDir, FileEntry, HostPath, PlannedVolume


def prepare(directory: Path, volume: PlannedVolume) -> Path:
    return prepare_volume(directory / "disk", volume, directory / "memory")


@pytest.mark.parametrize("kind", ["DirectoryOrCreate", "FileOrCreate"])
def test_a_host_path_that_cannot_be_made_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContainerError, match="hostPath "):
        prepare(tmp_path, HostPath("v", str(tmp_path / "file" / "below"), kind))


def test_a_host_path_is_made_where_it_can_be(tmp_path: Path) -> None:
    made = prepare(tmp_path, HostPath("v", str(tmp_path / "new" / "deep"), "DirectoryOrCreate"))
    assert made.is_dir()


def test_what_cannot_be_saved_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    save_json(path, {"a": 1})
    with pytest.raises(ContainerError):
        save_json(tmp_path / "absent" / "value.json", {})
    with pytest.raises(TypeError):
        save_json(path, object())
    assert load_json(path) == {"a": 1} and [each.name for each in tmp_path.iterdir()] == ["value.json"]


def test_a_text_that_cannot_be_written_is_an_error_of_the_container(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContainerError):
        write_text(tmp_path / "file" / "hosts", "")


def test_a_sub_path_is_made_inside_of_its_volume(tmp_path: Path) -> None:
    assert find_inside(tmp_path, "a/b") == tmp_path / "a" / "b" and (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("sub_path", ["loop/x", "file/below", "out", "../beside"])
def test_a_sub_path_that_leads_nowhere_or_out_is_refused(sub_path: str, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "loop").symlink_to("loop")
    (volume / "file").touch()
    (volume / "out").symlink_to("/etc")
    with pytest.raises(ContainerError, match="subPath"):
        find_inside(volume, sub_path)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_in_a_directory_of_a_group_is_the_groups(tmp_path: Path) -> None:
    made = prepare(tmp_path, EmptyDir("v", group=os.getegid()))
    assert mode_of(made) == 0o2777
    assert mode_of(prepare(tmp_path, EmptyDir("w"))) == 0o777


def test_what_programs_make_of_a_directory_stays(tmp_path: Path) -> None:
    """A database that closes its directory to others finds it closed at its next start."""
    made = prepare(tmp_path, EmptyDir("v"))
    made.chmod(0o700)
    assert mode_of(prepare(tmp_path, EmptyDir("v"))) == 0o700
    assert [path.name for path in made.parent.iterdir()] == ["v"]


def test_a_group_can_read_its_files_and_nobody_gets_more(tmp_path: Path) -> None:
    files = (FileEntry("deep/token", b"t", 0o600), FileEntry("open", b"o", 0o644))
    made = prepare(tmp_path, Content("v", files, group=os.getegid()))
    modes = {name: mode_of(made / name) for name in ("", "..data", "deep", "deep/token", "open")}
    assert modes == {"": 0o2755, "..data": 0o2755, "deep": 0o2755, "deep/token": 0o640, "open": 0o644}


def test_files_are_replaced_together_and_only_when_they_change(tmp_path: Path) -> None:
    first = Content("v", (FileEntry("a", b"1", 0o600, os.geteuid()), FileEntry("b", b"1")))
    made = prepare(tmp_path, first)
    before = (made / "..data").readlink()
    prepare(tmp_path, first)
    assert (made / "..data").readlink() == before
    prepare(tmp_path, Content("v", (FileEntry("a", b"2"),)))
    assert (made / "..data").readlink() != before and (made / "a").read_bytes() == b"2" and not (made / "b").exists()
    assert mode_of(made / "a") == 0o644 and len(list(made.glob("..*"))) == 2, "the old files are gone"


def test_what_is_secret_lies_in_memory_and_nothing_of_it_on_disk(tmp_path: Path) -> None:
    made = prepare(tmp_path, Content("v", (FileEntry("key", b"hidden"),), in_memory=True))
    assert made == tmp_path / "memory" / "v" and (made / "key").read_bytes() == b"hidden"
    assert not (tmp_path / "disk").exists()
    assert prepare(tmp_path, Content("w", ())) == tmp_path / "disk" / "w"


def test_what_a_pod_has_on_disk_is_measured_in_blocks(tmp_path: Path) -> None:
    pod, logs = tmp_path / "pod", tmp_path / "logs"
    for path in ("volumes/cache/deep/f", "containers/main/0.layer/upper/g"):
        (pod / path).parent.mkdir(parents=True)
        (pod / path).write_bytes(b"x" * 100_000)
    (logs / "main").mkdir(parents=True)
    (logs / "main" / "0.log").write_bytes(b"x" * 50_000)
    with (pod / "volumes" / "cache" / "hole").open("wb") as file:
        file.truncate(1 << 30)
    (pod / "volumes" / "cache" / "link").symlink_to("/usr")
    use = measure_pod(pod, logs)
    assert 100_000 <= use.volumes["cache"] < 1 << 20, "holes and what links lead to take nothing"
    assert 150_000 <= use.containers["main"] < 1 << 20
    assert measure_pod(tmp_path / "absent", tmp_path / "absent") == DiskUse({}, {})
