"""`seaway status`: what runs, and where Services are when they are served on loopback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from seaway.app.files import DataDir, UpState, write_state
from seaway.cli import group
from seaway.testing.fixture import Seaway

STATE = UpState(
    pid=os.getpid(),
    way="none",
    reason="asked for",
    url="https://127.0.0.1:6443",
    dns="127.96.0.10",
    node_name="node",
    node_ip="10.95.0.1",
    service_cidr="10.96.0.0/16",
    cluster_cidr="10.244.0.0/16",
    cluster_domain="cluster.local",
    pieces=("apiserver", "proxy"),
    ready=True,
    loopback_map="10.0.0.0/8=127.0.0.0/8",
)


def show(folder: Path, *flags: str, state: UpState = STATE, code: int = 0) -> Result:
    write_state(DataDir(folder), state)
    done = CliRunner().invoke(group, ["status", "--data-dir", str(folder), *flags])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def folder(tmp_path: Path, seaway: Seaway) -> Path:
    """A data directory whose kubeconfig leads to a real server with one Service more."""
    seaway.make_service("web", clusterIP="10.96.7.7", type="NodePort", ports=[{"port": 80, "nodePort": 30777}])
    shutil.copy(seaway.kubeconfig, tmp_path / "admin.kubeconfig")
    return tmp_path


def test_each_service_has_a_line_with_where_it_is(folder: Path, seaway: Seaway) -> None:
    lines = [line.split() for line in show(folder).output.splitlines()]
    name = f"{seaway.namespace}/web"
    assert ["service", name, "10.96.7.7:80/TCP", "→", "127.96.7.7:80"] in lines
    assert ["service", name, "10.95.0.1:30777/TCP", "→", "127.0.0.1:30777"] in lines
    assert ["pieces", "apiserver", "proxy"] in lines


def test_json_has_the_same(folder: Path, seaway: Seaway) -> None:
    found = json.loads(show(folder, "-o", "json").output)
    wanted = {"service": f"{seaway.namespace}/web", "frontend": "10.96.7.7:80/TCP", "at": "127.96.7.7:80"}
    assert wanted in found["services"]


def test_where_there_is_a_network_addresses_say_it_themselves(folder: Path) -> None:
    state = msgspec.structs.replace(STATE, way="sandbox", loopback_map="")
    assert "service  " not in show(folder, state=state).output
    assert "services" not in json.loads(show(folder, "-o", "json", state=state).output)


def test_an_api_that_does_not_answer_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    (tmp_path / "admin.kubeconfig").write_text(
        json.dumps({"clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
                    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                    "users": [{"name": "a", "user": {"token": "t"}}], "current-context": "a"})
    )  # fmt: skip
    done = show(tmp_path)
    assert "way             none" in done.output
    assert "Services are not known" in done.stderr
    assert json.loads(show(tmp_path, "-o", "json").stdout)["services"] is None


def test_nothing_that_runs_is_exit_code_1(tmp_path: Path) -> None:
    done = CliRunner().invoke(group, ["status", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "nothing runs on data directory" in done.output
