"""What `seaway node` refuses before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from seaway.cli import group


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--node-labels", "zone", "zone found, KEY=VALUE allowed"),
        ("--register-with-taints", "a=b", "a=b found"),
        ("--register-with-taints", "a=b:Never", "NoSchedule|PreferNoSchedule|NoExecute allowed"),
        ("--system-reserved", "cpu=lots", "--system-reserved: "),
        ("--system-reserved", "gpu=1", "gpu found, cpu, memory, ephemeral-storage allowed"),
        ("--max-pods", "0", "0 is not in the range"),
        ("--loopback-map", "10.0.0.0/8", "two ranges with = between them wanted"),
        ("--network", "host", "'host' is not one of"),
    ],
)
def test_flags(flag: str, value: str, words: str, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    base = ["--kubeconfig", str(kubeconfig), "--data-dir", str(tmp_path), "--node-ip", "192.0.2.1"]
    result = CliRunner().invoke(group, ["node", *base, flag, value])
    assert result.exit_code == 2 and words in result.output, result.output
