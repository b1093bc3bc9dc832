"""The data directory: who may read it, who holds it, and what is kept or renewed."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seaway.app import files, identities
from seaway.net.errors import OperationalError
from seaway.pki.certificates import create_authority

NOW = datetime.now(UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_kubeconfigs(data: files.DataDir, server: str = "https://127.0.0.1:6443") -> None:
    authority = identities.ensure_authority(data, wall_now=NOW)
    identities.ensure_kubeconfigs(data, authority, server=server, inside="https://10.96.0.1:443", node_name="a")


def test_nobody_else_reads_the_directory_or_the_keys(tmp_path: Path) -> None:
    data = files.prepare(tmp_path / "data")
    write_kubeconfigs(data)
    authority = identities.ensure_authority(data, wall_now=NOW)
    identities.ensure_serving(data, authority, names=["kubernetes"], addresses=["127.0.0.1"])
    assert mode(data.root) == 0o700
    found = [path for path in data.root.rglob("*") if path.is_file()]
    assert len(found) >= 9
    assert {path.name: oct(mode(path)) for path in found if mode(path) != 0o600} == {}


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    data = files.prepare(tmp_path)
    write_kubeconfigs(data)
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    write_kubeconfigs(data)
    assert {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("broken", [b"", b"half a fi", b"\xff\xfe"])
def test_a_broken_kubeconfig_is_made_again(tmp_path: Path, broken: bytes) -> None:
    data = files.prepare(tmp_path)
    write_kubeconfigs(data)
    data.admin_kubeconfig.write_bytes(broken)
    write_kubeconfigs(data)
    assert b"client-certificate-data" in data.admin_kubeconfig.read_bytes()


def test_kubeconfigs_follow_the_server_and_the_authority(tmp_path: Path) -> None:
    data = files.prepare(tmp_path)
    write_kubeconfigs(data)
    before = data.admin_kubeconfig.read_bytes()
    write_kubeconfigs(data, server="https://127.0.0.1:7443")
    assert b"127.0.0.1:7443" in data.admin_kubeconfig.read_bytes() != before
    other = create_authority("other", wall_now=NOW - timedelta(days=1))
    identities.ensure_kubeconfigs(
        data, other, server="https://127.0.0.1:7443", inside="https://10.96.0.1:443", node_name="a"
    )
    assert identities._is_current(data.admin_kubeconfig, "# https://127.0.0.1:7443 kubernetes-admin\n", other)


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    data = files.prepare(tmp_path)
    held = files.lock(data)
    with pytest.raises(OperationalError, match=f"in use by process {os.getpid()}; stop it"):
        files.lock(data)
    os.close(held)
    os.close(files.lock(data))


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="at most 90 allowed"):
        files.prepare(tmp_path / ("d" * 100))


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationalError, match="choose a writable one"):
        files.prepare(tmp_path / "file")


def test_the_state_of_one_that_has_ended_is_no_state(tmp_path: Path) -> None:
    data = files.prepare(tmp_path)
    assert files.find_state(data) is None
    data.state_file.write_text("{")
    assert files.find_state(data) is None


def test_the_node_agents_warnings_are_read_and_rubbish_is_none(tmp_path: Path) -> None:
    data = files.DataDir(tmp_path)
    assert files.find_warnings(data) == []
    data.node_warnings.parent.mkdir()
    data.node_warnings.write_text('["table ip filter, chain FORWARD: drops"]')
    assert files.find_warnings(data) == ["table ip filter, chain FORWARD: drops"]
    data.node_warnings.write_text('{"not": "a list"}')
    assert files.find_warnings(data) == []
