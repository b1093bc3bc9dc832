"""kubectl's server-side apply, edit, label and diff against a server that listens. Rule: spec "api-machinery" §5.5."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.test_serve import Running, running

Json = dict[str, Any]
KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
CLIENT_SIDE, KUBECTL_APPLY = ("kubectl-client-side-apply", "Update"), ("kubectl", "Apply")


@functools.cache
def minor_version() -> int:
    """Of kubectl: what it sends has changed over the years."""
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, "version", "--client", "-o", "json"], capture_output=True, check=True)
    return int(re.sub(r"\D", "", json.loads(done.stdout)["clientVersion"]["minor"]))


def manifest(*, ports: tuple[Json, ...] = ({"port": 80},), labels: Json | None = None, **spec: Any) -> Json:
    meta = {"name": "web", "labels": labels} if labels else {"name": "web"}
    ports_spec = [{"protocol": "TCP", "targetPort": 8080, **port} for port in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": {"app": "web"}, "ports": ports_spec, **spec},
    }


class Kubectl:
    """kubectl with a home of its own."""

    def __init__(self, server: Running, home: Path) -> None:
        self._arguments = ["--server", server.url, "--token", "good", "--certificate-authority"]
        self._arguments.append(str(server.authority.path))
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"]}

    async def __call__(
        self, *arguments: str, stdin: Json | None = None, code: int = 0, editor: str = ""
    ) -> tuple[str, str]:
        """What it printed and what it complained of."""
        assert KUBECTL is not None
        program = await asyncio.create_subprocess_exec(
            KUBECTL,
            *self._arguments,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self._environment, "KUBE_EDITOR": editor},
        )
        body = json.dumps(stdin).encode() if stdin is not None else b""
        out, complaint = await asyncio.wait_for(program.communicate(body), 60)
        assert program.returncode == code, complaint.decode()
        return out.decode(), complaint.decode()

    async def apply(self, obj: Json, *arguments: str, code: int = 0) -> str:
        """`apply --server-side` of the manifest: what it printed or complained of."""
        out, complaint = await self("apply", "--server-side", "-f", "-", *arguments, stdin=obj, code=code)
        return complaint if code else out

    async def web(self) -> Json:
        """The Service as kubectl shows it."""
        shown = ("--show-managed-fields",) if minor_version() >= 21 else ()
        out, _ = await self("get", "service", "web", "-o", "json", *shown)
        obj: Json = json.loads(out)
        return obj

    async def managers(self) -> dict[tuple[str, str], Json]:
        """(manager, operation) to its fields."""
        entries = (await self.web())["metadata"]["managedFields"]
        return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def with_kubectl(tmp_path: Path, conversation: Callable[[Kubectl], Awaitable[None]]) -> None:
    running(tmp_path, lambda server: conversation(Kubectl(server, tmp_path)))


def test_apply_creates_then_finds_nothing_to_do(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        assert await kubectl.apply(manifest()) == "service/web serverside-applied\n"
        first = await kubectl.web()
        assert list(await kubectl.managers()) == [KUBECTL_APPLY]
        assert await kubectl.apply(manifest()) == "service/web serverside-applied\n"
        assert await kubectl.web() == first, "not even another resourceVersion"

    with_kubectl(tmp_path, conversation)


def test_what_another_changed_is_a_conflict_until_it_is_forced(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl.apply(manifest(type="ClusterIP"))
        await kubectl("patch", "service", "web", "-p", '{"spec":{"type":"NodePort"}}')
        complaint = await kubectl.apply(manifest(type="ClusterIP"), code=1)
        assert 'Apply failed with 1 conflict: conflict with "kubectl-patch" using v1: .spec.type' in complaint
        assert "--force-conflicts" in complaint, "kubectl knew the Status for what it is, and gave its advice"
        await kubectl.apply(manifest(type="ClusterIP"), "--force-conflicts")
        assert (await kubectl.web())["spec"]["type"] == "ClusterIP"
        assert "f:type" in (await kubectl.managers())[KUBECTL_APPLY]["f:spec"]

    with_kubectl(tmp_path, conversation)


def test_several_conflicts_are_listed(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl.apply(manifest(), "--field-manager", "first")
        other = manifest(ports=({"port": 80, "targetPort": 9090},), selector={"app": "other"})
        complaint = await kubectl.apply(other, "--field-manager", "second", code=1)
        assert 'Apply failed with 2 conflicts: conflicts with "first":' in complaint
        assert "- .spec.selector" in complaint
        assert '- .spec.ports[port=80,protocol="TCP"].targetPort' in complaint

    with_kubectl(tmp_path, conversation)


def test_a_field_that_is_no_longer_applied_goes(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl.apply(manifest(ports=({"port": 80, "name": "a"}, {"port": 81, "name": "b"}), labels={"a": "b"}))
        await kubectl.apply(manifest())
        web = await kubectl.web()
        assert [port["port"] for port in web["spec"]["ports"]] == [80]
        assert "name" not in web["spec"]["ports"][0] and "labels" not in web["metadata"]

    with_kubectl(tmp_path, conversation)


def test_an_object_of_client_side_apply_becomes_one_of_server_side_apply(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl("apply", "-f", "-", stdin=manifest(labels={"tier": "front"}))
        assert list(await kubectl.managers()) == [CLIENT_SIDE]
        await kubectl.apply(manifest(ports=({"port": 80, "targetPort": 9090},)))
        web, managers = await kubectl.web(), await kubectl.managers()
        assert web["spec"]["ports"][0]["targetPort"] == 9090, "its own earlier fields are no conflict"
        if minor_version() < 27:
            assert set(managers) == {KUBECTL_APPLY, CLIENT_SIDE}
            return
        assert set(managers) == {KUBECTL_APPLY, ("kubectl-last-applied", "Apply")}
        assert "labels" not in web["metadata"], "a field of client-side apply goes when it is not applied any more"
        annotation = "f:kubectl.kubernetes.io/last-applied-configuration"
        assert managers["kubectl-last-applied", "Apply"] == {"f:metadata": {"f:annotations": {annotation: {}}}}
        (text,) = web["metadata"]["annotations"].values()
        assert json.loads(text)["spec"]["ports"][0]["targetPort"] == 9090, "older clients see what is applied"

    with_kubectl(tmp_path, conversation)


def test_what_people_do_is_recorded_under_the_verb(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
        await kubectl("label", "service", "web", "stage=test")
        await kubectl("annotate", "service", "web", "note=this")
        await kubectl("edit", "service", "web", editor="sed -i s/:.None$/:\\ ClientIP/")
        managers = await kubectl.managers()
        if minor_version() < 21:
            assert {operation for _, operation in managers} == {"Update"}
            return
        labels = {"f:metadata": {"f:labels": {"f:stage": {}}}}
        assert managers["kubectl-label", "Update"] == labels
        assert managers["kubectl-annotate", "Update"] == {"f:metadata": {"f:annotations": {".": {}, "f:note": {}}}}
        assert "f:sessionAffinity" in managers["kubectl-edit", "Update"]["f:spec"]
        assert "f:sessionAffinity" not in managers["kubectl-create", "Update"]["f:spec"]

    with_kubectl(tmp_path, conversation)


def test_diff_shows_what_an_apply_would_do_and_does_nothing(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl.apply(manifest())
        before = await kubectl.web()
        out, _ = await kubectl("diff", "--server-side", "-f", "-", stdin=manifest())
        assert out == "", "no difference, and exit code 0"
        wanted = manifest(ports=({"port": 80, "targetPort": 9090},))
        out, _ = await kubectl("diff", "--server-side", "-f", "-", stdin=wanted, code=1)
        assert "-    targetPort: 8080" in out and "+    targetPort: 9090" in out
        assert await kubectl.web() == before

    with_kubectl(tmp_path, conversation)


def test_a_field_that_nobody_knows_is_refused_with_its_path(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        complaint = await kubectl.apply(manifest(colour="red"), "--validate=false", code=1)
        assert "failed to create typed patch object (default/web; /v1, Kind=Service)" in complaint
        assert ".spec.colour: field not declared in schema" in complaint

    with_kubectl(tmp_path, conversation)
