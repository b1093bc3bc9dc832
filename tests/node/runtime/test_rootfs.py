"""Rule: design §12 (masking), spec "node" §2.13, §2.18."""

from __future__ import annotations

from pathlib import Path

import pytest

from seaway.node.runtime.contract import ContainerError
from seaway.node.runtime.files import prepare_volume, write_content
from seaway.node.runtime.local.rootfs import (
    DEFAULT_CAPABILITIES,
    Binding,
    Entry,
    HostView,
    check_host_path,
    choose_capabilities,
    make_base_environment,
    plan_root,
)
from seaway.node.shim.logs import LogFile
from seaway.node.volumes import Content, EmptyDir, FileEntry, HostPath

ENTRIES = (
    Entry("usr", True), Entry("etc", True), Entry("root", True), Entry("home", True), Entry("run", True),
    Entry("tmp", True), Entry("sys", True), Entry("proc", True), Entry("dev", True), Entry("boot", True),
    Entry("bin", False, "usr/bin"), Entry("swapfile", False), Entry("srv", True),
)  # fmt: skip
DATA = "/srv/seaway"


def plan(*, kept: tuple[str, ...] = (), volumes: tuple[Binding, ...] = ()) -> list[tuple[str, str]]:
    host = HostView(entries=ENTRIES, hidden=(DATA,), kept=kept, secrets=("/etc/ssh/ssh_host_rsa_key",))
    steps = plan_root(host, files=[Binding("/srv/seaway/hosts", "/etc/hosts")], volumes=volumes)
    return [(step["step"], step.get("path", "")) for step in steps]


def test_only_what_is_nobodys_is_bound() -> None:
    steps = plan()
    bound = [path for step, path in steps if step == "bind" and path.count("/") == 1]
    assert bound == ["/etc", "/srv", "/usr"]
    assert ("link", "/bin") in steps
    for path in (DATA, "/etc/shadow", "/etc/gshadow", "/etc/ssh/ssh_host_rsa_key"):
        assert ("mask", path) in steps
    assert ("protect", "/proc/sys") in steps and ("tmpfs", "/run") in steps and ("tmpfs", "/tmp") in steps


def test_files_and_volumes_come_after_the_masks() -> None:
    steps = plan(volumes=(Binding("/a", "/deep/inside"), Binding("/b", "/deep")))
    assert steps.index(("mask", DATA)) < steps.index(("bind", "/etc/hosts")) < steps.index(("bind", "/deep"))
    assert steps.index(("bind", "/deep")) < steps.index(("bind", "/deep/inside"))


def test_a_host_path_above_the_data_directory_shows_it_no_more() -> None:
    steps = plan(volumes=(Binding("/", "/host"), Binding("/srv", "/s")))
    assert ("mask", "/host/srv/seaway") in steps and ("mask", "/s/seaway") in steps


@pytest.mark.parametrize("path", ["/root/python", "/srv/seaway/py"])
def test_a_hidden_python_installation_is_bound(path: str) -> None:
    steps = plan(kept=(path,))
    assert ("bind", path) in steps and steps.index(("mask", DATA)) < steps.index(("bind", path))


def test_an_installation_that_is_seen_anyway_is_not_bound_again() -> None:
    assert plan(kept=("/usr",)) == plan()


@pytest.mark.parametrize(("path", "refused"), [(DATA, True), (f"{DATA}/pods", True), ("/srv", False), ("/", False)])
def test_the_data_directory_is_no_volume(path: str, refused: bool) -> None:
    assert bool(check_host_path(path, (DATA,))) is refused


def test_capabilities() -> None:
    assert choose_capabilities(is_root=False, add=(), drop=()) == frozenset()
    assert choose_capabilities(is_root=False, add=("NET_ADMIN",), drop=()) == frozenset()
    assert choose_capabilities(is_root=False, is_named=False, add=("NET_ADMIN",), drop=("ALL",)) == {"NET_ADMIN"}
    lenient = choose_capabilities(
        is_root=False, is_named=False, is_lenient=True, add=("SYS_PTRACE", "NET_RAW"), drop=()
    )
    assert lenient == {"NET_RAW"}
    assert choose_capabilities(is_root=True, add=(), drop=()) == DEFAULT_CAPABILITIES
    assert choose_capabilities(is_root=True, add=("NET_RAW",), drop=("ALL",)) == {"NET_RAW"}
    assert "SETUID" not in choose_capabilities(is_root=True, add=(), drop=("SETUID",))
    assert str(choose_capabilities(is_root=True, add=("CAP_SYS_ADMIN",), drop=())).startswith("capability SYS_ADMIN")


def test_python_is_on_the_path() -> None:
    assert make_base_environment("h", "/opt/py/bin", 65534)["PATH"].endswith(":/opt/py/bin")
    assert make_base_environment("h", "/usr/bin", 0)["PATH"].count("/usr/bin") == 1


def test_a_volume_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_content(tmp_path, Content("v", (FileEntry("a", b"1"), FileEntry("dir/b", b"2", 0o600))))
    first = (tmp_path / "..data").readlink()
    assert (tmp_path / "a").read_text() == "1" and (tmp_path / "dir/b").stat().st_mode & 0o777 == 0o600
    write_content(tmp_path, Content("v", (FileEntry("a", b"1"), FileEntry("dir/b", b"2", 0o600))))
    assert (tmp_path / "..data").readlink() == first, "equal content writes nothing"
    write_content(tmp_path, Content("v", (FileEntry("c", b"3"),)))
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["c"]
    assert len([p for p in tmp_path.iterdir() if p.is_dir() and not p.is_symlink()]) == 1


def test_host_path_types(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert prepare_volume(tmp_path, HostPath("v", str(tmp_path / "file"), "File"), tmp_path) == tmp_path / "file"
    assert prepare_volume(tmp_path, HostPath("v", str(tmp_path / "new"), "DirectoryOrCreate"), tmp_path).is_dir()
    with pytest.raises(ContainerError, match=r"hostPath type check failed: .* is not a directory"):
        prepare_volume(tmp_path, HostPath("v", str(tmp_path / "file"), "Directory"), tmp_path)
    assert prepare_volume(tmp_path, EmptyDir("e"), tmp_path).stat().st_mode & 0o777 == 0o777


def test_a_log_is_cut(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"), max_bytes=300)
    for number in range(20):
        log.write(f"line {number}\npart".encode())
    log.close()
    lines = [line for name in ("0.log.1", "0.log") for line in (tmp_path / name).read_text().splitlines()]
    assert lines[-1].endswith(" stdout F part") and lines[-2].endswith(" stdout F partline 19")
    assert (tmp_path / "0.log.1").exists() and sum(p.stat().st_size for p in tmp_path.iterdir()) <= 600
