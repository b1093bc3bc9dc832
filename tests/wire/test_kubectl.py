"""The real kubectl against the wire documents alone. Rule: spec "api-machinery" §3.6, §13."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seaway.api.registry import CONFIG_MAPS, SERVICES
from tests.wire.tiny_server import TinyServer, serve_tiny

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
MANIFEST: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]},
}


class Kubectl:
    """kubectl with a home of its own."""

    def __init__(self, server: TinyServer, url: str, home: Path) -> None:
        self.server = server
        self._url = url
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"]}

    def run(self, *arguments: str, manifest: Any = None, fails: bool = False) -> str:
        """What it printed; with `fails`, what it complained of."""
        assert KUBECTL is not None
        done = subprocess.run(
            [KUBECTL, "--server", self._url, *arguments],
            input=json.dumps(manifest) if manifest is not None else None,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def kubectl(home: Path) -> Iterator[Kubectl]:
    with serve_tiny() as (server, url):
        yield Kubectl(server, url, home)


def test_explain_shows_our_words(kubectl: Kubectl) -> None:
    shown = kubectl.run("explain", "service.spec.ports")
    assert "The port at which the Service listens." in shown
    assert "targetPort" in shown
    assert "traffic can be sent to" in kubectl.run("explain", "endpointslices.endpoints")


def test_apply_creates_then_patches(kubectl: Kubectl) -> None:
    assert kubectl.run("apply", "-f", "-", manifest=MANIFEST) == "service/web created\n"
    spec = {**MANIFEST["spec"], "ports": [{"name": "http", "port": 81}, {"name": "https", "port": 443}]}
    changed = {**MANIFEST, "spec": spec}
    assert kubectl.run("apply", "-f", "-", manifest=changed) == "service/web configured\n"
    (stored,) = kubectl.server.objects.values()
    assert stored["spec"] == {**spec, "ports": stored["spec"]["ports"]}
    assert [port["port"] for port in stored["spec"]["ports"]] == [81, 443]
    assert kubectl.run("apply", "-f", "-", manifest=changed) == "service/web unchanged\n"


def test_a_misspelt_field_is_told(kubectl: Kubectl) -> None:
    wrong = {**MANIFEST, "spec": {"selectr": {}, **MANIFEST["spec"]}}
    assert 'unknown field "' in kubectl.run("apply", "-f", "-", manifest=wrong, fails=True)
    assert kubectl.server.objects == {}


def test_create_commands_send_what_can_be_read(kubectl: Kubectl) -> None:
    """Protobuf from kubectl 1.32 on, JSON before."""
    kubectl.run("create", "service", "clusterip", "s1", "--tcp=80:8080")
    kubectl.run("create", "configmap", "c1", "--from-literal=a=b")
    service = kubectl.server.objects[SERVICES, "default", "s1"]
    assert service["spec"] == {
        "ports": [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        "selector": {"app": "s1"},
        "type": "ClusterIP",
    }
    assert service["metadata"]["labels"] == {"app": "s1"}
    assert kubectl.server.objects[CONFIG_MAPS, "default", "c1"]["data"] == {"a": "b"}


def test_get_prints_the_table(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", manifest=MANIFEST)
    lines = kubectl.run("get", "svc", "-o", "wide").splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert lines[1].split() == ["web", "ClusterIP", "<none>", "<none>", "80/TCP,443/TCP", "<unknown>", "app=web"]


def test_short_names_and_groups_are_known(kubectl: Kubectl) -> None:
    shown = kubectl.run("api-resources", "--no-headers")
    rows = {line.split()[0]: line.split() for line in shown.splitlines()}
    assert rows["services"] == ["services", "svc", "v1", "true", "Service"]
    assert rows["endpointslices"] == ["endpointslices", "discovery.k8s.io/v1", "true", "EndpointSlice"]


@pytest.mark.parametrize(
    ("kind", "patch", "wanted"),
    [
        ("json", '[{"op":"replace","path":"/spec/ports/0/port","value":8}]', [8, 443]),
        ("merge", '{"spec":{"ports":[{"port":9}]}}', [9]),
        ("strategic", '{"spec":{"ports":[{"port":443,"$patch":"delete"}]}}', [80]),
    ],
)
def test_the_three_patches(kubectl: Kubectl, kind: str, patch: str, wanted: list[int]) -> None:
    kubectl.run("apply", "-f", "-", manifest=MANIFEST)
    kubectl.run("patch", "svc", "web", f"--type={kind}", "-p", patch)
    (stored,) = kubectl.server.objects.values()
    assert [port["port"] for port in stored["spec"]["ports"]] == wanted


def test_a_dry_run_of_the_client_shows_what_would_be_sent(kubectl: Kubectl) -> None:
    shown = kubectl.run("apply", "--dry-run=client", "-o", "json", "-f", "-", manifest=MANIFEST)
    assert json.loads(shown)["spec"] == MANIFEST["spec"]
    assert kubectl.server.objects == {}
