"""kubectl and every kind: created, printed, explained, patched, deleted. Rule: spec "api-machinery" §2.3, §3.4."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from seaway.api.columns import load_printer
from seaway.api.registry import RESOURCES, Resource
from seaway.testing.fixture import Seaway
from seaway.testing.server import SeawayServer
from tests.api.manifests import make_manifest

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
TIMEOUT_SECONDS = 60
CREATABLE = [resource for resource in RESOURCES if "create" in resource.verbs]
READ_ONLY = [resource for resource in RESOURCES if "create" not in resource.verbs]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Seaway]:
    with SeawayServer(controllers=()) as opened:
        yield opened


def kubectl(cluster: Seaway, *arguments: str, stdin: str = "", fails: bool = False) -> str:
    assert KUBECTL is not None
    command = [KUBECTL, "--kubeconfig", str(cluster.kubeconfig), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


def full_name(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda r: r.kind)
def test_a_life(cluster: Seaway, resource: Resource) -> None:
    manifest = make_manifest(resource)
    name, kind = manifest["metadata"]["name"], full_name(resource)
    assert kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest)).endswith("created\n")
    made = kubectl(cluster, "get", kind, name, "-o", "json")
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest))
    assert kubectl(cluster, "get", kind, name, "-o", "json") == made  # to the resourceVersion
    table = kubectl(cluster, "get", kind, name, "-o", "wide").splitlines()
    assert table[0].split() == " ".join(column.name.upper() for column in load_printer(resource).columns).split()
    assert len(table) == 2
    assert "patched" in kubectl(cluster, "patch", kind, name, "-p", '{"metadata":{"labels":{"tier":"front"}}}')
    assert json.loads(kubectl(cluster, "get", kind, name, "-o", "json"))["metadata"]["labels"]["tier"] == "front"
    deleted = kubectl(cluster, "delete", kind, name, "--wait=false")
    assert "deleted" in deleted


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_explain(cluster: Seaway, resource: Resource) -> None:
    """Each kind by itself and with all that is in it, without a hole."""
    version = ("--api-version", resource.api_version)
    text = kubectl(cluster, "explain", resource.plural, *version)
    assert f"KIND:       {resource.kind}" in text
    assert "metadata" in text and "<empty>" not in text
    deep = kubectl(cluster, "explain", resource.plural, *version, "--recursive")
    assert "ownerReferences" in deep


@pytest.mark.parametrize("resource", READ_ONLY, ids=lambda r: r.kind)
def test_a_kind_that_is_only_shown_is_refused_once_and_clearly(cluster: Seaway, resource: Resource) -> None:
    manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
    text = kubectl(cluster, "create", "--validate=ignore", "-f", "-", stdin=json.dumps(manifest), fails=True)
    assert f"this server keeps no {full_name(resource)}" in text
    assert kubectl(cluster, "get", full_name(resource)) == ""


def test_a_field_that_no_kind_has_is_refused(cluster: Seaway) -> None:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replica": 1}}
    assert 'unknown field "spec.replica"' in kubectl(
        cluster, "create", "-f", "-", stdin=json.dumps(manifest), fails=True
    )


def test_get_all_lists_every_kind_of_that_category(cluster: Seaway) -> None:
    names = kubectl(cluster, "api-resources", "--categories", "all", "-o", "name").split()
    assert set(names) == {full_name(resource) for resource in RESOURCES if "all" in resource.categories}
    assert kubectl(cluster, "get", "all", "-n", "kube-public") == ""
