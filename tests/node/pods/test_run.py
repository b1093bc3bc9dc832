"""What one Pod goes through, on a runtime in memory. Rule: spec "node" §2.2, §2.4, §2.10, §10 (1-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import PODS
from seaway.client.requests import Client
from seaway.node.evictions import DiskUse
from seaway.testing.builders import make_pod
from seaway.testing.cluster import Cluster, open_cluster
from tests.node.manifests import decode_service
from tests.node.pods.fakes import Bench, open_bench

Json = dict[str, Any]
Story = Callable[[Bench, Cluster, Client], Awaitable[None]]


def play(story: Story, directory: Path, *, meta: Json | None = None, **spec: Any) -> None:
    """A Pod `web` with the spec, a worker for it, and what the story does."""

    async def run() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            usual = {"nodeName": "node-1", "terminationGracePeriodSeconds": 600, "automountServiceAccountToken": False}
            wire = make_pod("web", meta=meta or {}, **usual, **spec)
            wire.pop("status")
            for container in wire["spec"]["containers"]:
                container.setdefault("command", ["run"])
            await client.create(PODS, wire, "default")
            async with open_bench(client, "web", directory, disk_seconds=0.01) as bench:
                await story(bench, cluster, client)

    asyncio.run(run())


async def wait(cluster: Cluster, client: Client, check: Callable[[Json], bool]) -> Json:
    async def look() -> Json | None:
        pod = await client.get(PODS, "web", "default", as_type=dict)
        return pod if check(pod) else None

    return await cluster.eventually(look)


async def wait_gone(cluster: Cluster, client: Client) -> None:
    async def look() -> bool:
        try:
            await client.get(PODS, "web", "default", as_type=dict)
        except NotFound:
            return True
        return False

    await cluster.eventually(look)


def is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def test_the_last_status_is_written_before_the_object_goes(tmp_path: Path) -> None:
    """A finalizer keeps the object, so that what the agent wrote before its DELETE can be read."""

    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        await client.delete(PODS, "web", "default")
        pod = await wait(cluster, client, lambda p: p["metadata"].get("deletionGracePeriodSeconds") == 0)
        assert pod["status"]["phase"] == "Failed", "143 is no good end"
        [status] = pod["status"]["containerStatuses"]
        assert status["state"]["terminated"]["exitCode"] == 143
        ready = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
        assert ready["Ready"] == ready["ContainersReady"] == ready["PodReadyToStartContainers"] == "False"
        assert pod["status"]["podIP"] == "10.244.0.2", "endpoints are removed by address"
        await client.patch(PODS, "web", "default", patch={"metadata": {"finalizers": None}})
        await wait_gone(cluster, client)

    play(story, tmp_path, meta={"finalizers": ["example.com/keep"]})


def test_deletion_alone_makes_no_pod_unready(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        bench.runtime.ignores_signals = True
        await client.delete(PODS, "web", "default")
        await asyncio.wait_for(bench.runtime.signalled.wait(), 10)
        await bench.worker.flush()
        pod = await client.get(PODS, "web", "default", as_type=dict)
        assert is_ready(pod) and pod["status"]["phase"] == "Running"
        assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"], "deletion was seen"
        bench.runtime.end("main-0", 0)
        await wait_gone(cluster, client)

    play(story, tmp_path)


def test_what_cannot_be_removed_now_is_told_and_tried_again(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        bench.runtime.failing["remove_sandbox"] = 1
        await client.delete(PODS, "web", "default")
        await wait_gone(cluster, client)
        assert ("FailedKillPod", "error killing pod: remove_sandbox fails") in bench.told
        assert bench.runtime.released and not bench.runtime.sandboxes

    play(story, tmp_path)


def test_a_new_sandbox_for_a_pod_that_ran_is_told(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        assert "SandboxChanged" not in [reason for reason, _ in bench.told]
        bench.runtime.sandboxes.clear()
        bench.runtime.runs.clear()
        bench.worker.take_runtime_loss()
        pod = await wait(cluster, client, lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["reason"], last["exitCode"]) == ("ContainerStatusUnknown", 137)
        told = [message for reason, message in bench.told if reason == "SandboxChanged"]
        assert told == ["Pod sandbox changed, it will be killed and re-created."]

    play(story, tmp_path)


def test_a_pod_that_is_gone_from_the_api_ends_here(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        await client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 0})
        await asyncio.wait_for(bench.working, 10)
        assert bench.runtime.released and not bench.runtime.sandboxes

    play(story, tmp_path)


def test_a_pod_that_takes_more_disk_than_it_said_is_evicted(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        bench.runtime.disk = DiskUse({}, {"main": 6 << 20})
        pod = await wait(cluster, client, lambda p: p["status"]["phase"] == "Failed")
        text = "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "
        assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", text)
        assert bench.told.count(("Evicted", text)) == 1
        found = {c["type"]: c for c in pod["status"]["conditions"]}
        target = found["DisruptionTarget"]
        assert (target["status"], target["reason"], target["message"]) == ("True", "TerminationByKubelet", text)
        assert found["Ready"]["reason"] == "PodFailed"
        await wait(cluster, client, lambda p: not bench.runtime.sandboxes)

    limits = {"limits": {"ephemeral-storage": "5Mi"}}
    play(story, tmp_path, containers=[{"name": "main", "image": "program", "resources": limits}])


def test_variables_of_services_are_read_at_each_start_and_not_before_services_are_known(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        bench.services_known.clear()
        await wait(cluster, client, lambda p: _condition(p, "PodReadyToStartContainers") == "True")
        assert not bench.runtime.specs, "no container starts yet"
        bench.services_known.set()
        await wait(cluster, client, is_ready)
        assert "LATER_SERVICE_HOST" not in bench.runtime.specs[0].environment
        bench.services.append(decode_service("later", "10.96.0.7", ports=[{"port": 80}]))
        bench.runtime.end("main-0", 1)
        await wait(cluster, client, lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert bench.runtime.specs[1].environment["LATER_SERVICE_HOST"] == "10.96.0.7"

    play(story, tmp_path)


def _condition(pod: Json, kind: str) -> str:
    return next((c["status"] for c in pod["status"].get("conditions", ()) if c["type"] == kind), "")


def test_an_image_that_is_here_starts_whatever_its_pull_policy(tmp_path: Path) -> None:
    """An image without a tag is to be pulled always, and nothing is pulled here."""

    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        pod = await wait(cluster, client, is_ready)
        assert pod["spec"]["containers"][0]["imagePullPolicy"] == "Always"
        assert bench.runtime.specs[0].argv == ("run",)

    play(story, tmp_path, containers=[{"name": "main", "image": "program"}])


def test_what_ended_is_kept_through_the_next_runs_and_counts_never_fall(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, is_ready)
        bench.runtime.end("main-0", 3)
        pod = await wait(cluster, client, lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        [status] = pod["status"]["containerStatuses"]
        assert status["lastState"]["terminated"]["exitCode"] == 3 and status["state"]["running"]
        bench.runtime.end("main-1", 4)
        reason = "CrashLoopBackOff"
        pod = await wait(cluster, client, lambda p: _waiting(p) == reason)
        [status] = pod["status"]["containerStatuses"]
        assert status["lastState"]["terminated"]["exitCode"] == 4 and status["restartCount"] == 1
        assert status["state"]["waiting"]["message"].startswith(
            "back-off 10s restarting failed container=main pod=web_"
        )
        assert not status["ready"] and status["started"] is False

    play(story, tmp_path)


def _waiting(pod: Json) -> str:
    return str(pod["status"]["containerStatuses"][0]["state"].get("waiting", {}).get("reason", ""))


def test_a_readiness_gate_that_is_opened_makes_ready_and_is_left_alone(tmp_path: Path) -> None:
    async def story(bench: Bench, cluster: Cluster, client: Client) -> None:
        await wait(cluster, client, lambda p: _condition(p, "ContainersReady") == "True")
        assert not is_ready(await client.get(PODS, "web", "default", as_type=dict))
        gate = {"type": "example.com/open", "status": "True"}
        await client.patch(
            PODS, "web", "default", patch={"status": {"conditions": [gate]}},
            patch_type="application/strategic-merge-patch+json", subresource="status",
        )  # fmt: skip
        pod = await wait(cluster, client, is_ready)
        assert _condition(pod, "example.com/open") == "True"

    play(story, tmp_path, readinessGates=[{"conditionType": "example.com/open"}])
