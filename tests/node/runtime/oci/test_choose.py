"""Which OCI runtime a node takes, and how it says so. Rule: issue "node agent", part 3 (crun or runc)."""

from __future__ import annotations

from pathlib import Path

import pytest

from seaway.node.runtime.oci import choose
from seaway.node.runtime.oci.choose import OciRuntime, OciRuntimeError, find_runtimes, name_runtime
from seaway.node.runtime.oci.trial import parse_version


def make_program(path: Path, *, mode: int = 0o755) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        pytest.param((), [], id="none is there"),
        pytest.param(("runc", "crun"), ["crun", "runc"], id="crun is tried before runc"),
        pytest.param(("runc",), ["runc"], id="runc is taken alone"),
    ],
)
def test_auto_finds_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], wanted: list[str]
) -> None:
    for name in there:
        make_program(tmp_path / name)
    monkeypatch.setattr(choose, "SEARCHED", str(tmp_path))
    assert [runtime.name for runtime in find_runtimes("auto")] == wanted


def test_none_looks_for_nothing() -> None:
    assert find_runtimes("none") == ()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    program = make_program(tmp_path / "crun-next")
    assert find_runtimes(str(program)) == (OciRuntime(str(program)),)


@pytest.mark.parametrize("wrong", ["crun", "relative/crun", "{}/absent", "{}/plain", "{}"])
def test_a_path_that_is_no_program_is_refused(tmp_path: Path, wrong: str) -> None:
    make_program(tmp_path / "plain", mode=0o644)
    with pytest.raises(OciRuntimeError, match="no program with this absolute path"):
        find_runtimes(wrong.format(tmp_path))


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param("crun version 1.8.1\ncommit: f8a\n", "1.8.1", id="crun"),
        pytest.param("runc version 1.1.5+ds1\nspec: 1.0.2-dev\n", "1.1.5+ds1", id="runc"),
        pytest.param("usage: frob\n", "", id="another program"),
        pytest.param("", "", id="silence"),
    ],
)
def test_the_version_is_read_from_the_first_line(said: str, version: str) -> None:
    assert parse_version(said) == version


@pytest.mark.parametrize(
    ("runtime", "version", "wanted"),
    [
        pytest.param(None, "", "process://1", id="the shim alone"),
        pytest.param(OciRuntime("/usr/bin/crun"), "1.8.1", "process://1+crun-1.8.1", id="with crun"),
        pytest.param(OciRuntime("/usr/sbin/runc"), "1.1.5+ds1", "process://1+runc-1.1.5.ds1", id="one plus sign"),
        pytest.param(OciRuntime("/x/crun"), "", "process://1+crun", id="a version that is not told"),
    ],
)
def test_the_node_names_what_runs_its_images(runtime: OciRuntime | None, version: str, wanted: str) -> None:
    assert name_runtime(runtime, version) == wanted


def test_cgroups_are_left_to_the_node() -> None:
    crun, runc = OciRuntime("/usr/bin/crun"), OciRuntime("/usr/sbin/runc")
    assert crun.options == ("--cgroup-manager=disabled",) and crun.hides_cgroups
    assert runc.options == ("--rootless", "true") and not runc.hides_cgroups


def test_a_request_names_program_bundle_and_root() -> None:
    request = OciRuntime("/usr/bin/crun").make_request({"a": 1}, directory=Path("/d"), overlay="lowerdir=/l")
    assert request == {
        "program": "/usr/bin/crun", "options": ["--cgroup-manager=disabled"], "directory": "/d",
        "overlay": "lowerdir=/l", "config": {"a": 1}, "hides_cgroups": True,
    }  # fmt: skip
