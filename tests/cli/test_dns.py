"""`seaway dns`: what is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from seaway.cli import group
from seaway.net.errors import OperationalError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "a.toml", "--corefile", "b"], "--config and --corefile: both found, one allowed"),
        (["-conf", "b", "--pods", "verified"], "--pods: a file is given, which says this itself"),
        (["--config", "b.toml", "--cluster-domain", "x.y"], "--cluster-domain: a file is given"),
        (["--listen", "53"], "--listen 53: ADDRESS:PORT needed, like 127.0.0.1:10053"),
        (["--listen", "0.0.0.0:53"], "listen 0.0.0.0: a wildcard found"),
        (["--pods", "all"], "wrong value for pods: all"),
        (["--loopback-map", "10.0.0.0/8"], "two ranges with = between them wanted"),
    ],
)
def test_flags_that_do_not_go_together_are_a_usage_error(arguments: list[str], said: str) -> None:
    found = CliRunner().invoke(group, ["dns", *arguments], env={"KUBECONFIG": ""})
    assert found.exit_code == 2
    assert said in found.output


def test_a_file_with_an_error_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "Corefile"
    path.write_text(".:53 {\n kubernetes cluster.local\n templat\n}\n")
    found = CliRunner().invoke(group, ["dns", "-conf", str(path), "--listen", "127.0.0.1:10053"])
    assert isinstance(found.exception, OperationalError)
    assert str(found.exception).startswith(f"{path}:3: unknown directive 'templat'; known here: autopath, ")
