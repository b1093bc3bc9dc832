"""ReplicaSets and ReplicationControllers against the real API server. Rule: spec "controllers" §7.4."""

from __future__ import annotations

import asyncio
from typing import Any

from seaway.api.registry import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS
from seaway.testing.builders import make_pod
from tests.scenarios.workloads import Json, World, make_template, play


def make_replica_set(name: str = "web", replicas: int = 3, **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": make_template(), **spec,
        },
    }  # fmt: skip


async def has_pods(world: World, count: int) -> None:
    async def check() -> bool:
        return len(await world.pods()) == count

    await world.until(check)


def test_a_replica_set_makes_its_pods_and_says_how_they_are() -> None:
    async def scenario(world: World) -> None:
        await world.create(REPLICA_SETS, make_replica_set())
        live = await world.settles(REPLICA_SETS, "web", availableReplicas=3)
        assert live["status"] == {
            "replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "terminatingReplicas": 0, "observedGeneration": 1,
        }  # fmt: skip
        pods = await world.pods()
        assert len(pods) == 3
        for pod in pods:
            assert pod["metadata"]["generateName"] == "web-"
            assert pod["metadata"]["labels"] == {"app": "web"}
            assert pod["metadata"]["ownerReferences"] == [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": live["metadata"]["uid"],
                 "controller": True, "blockOwnerDeletion": True}
            ]  # fmt: skip
        await asyncio.sleep(1)
        made = await world.events("SuccessfulCreate")
        assert sorted(e["message"] for e in made) == [f"Created pod: {p['metadata']['name']}" for p in pods]
        assert {e["source"]["component"] for e in made} == {"replicaset-controller"}

    play(scenario)


def test_what_is_deleted_is_replaced_and_what_ends_does_not_count() -> None:
    async def scenario(world: World) -> None:
        await world.create(REPLICA_SETS, make_replica_set())
        await world.settles(REPLICA_SETS, "web", availableReplicas=3)
        first = (await world.pods())[0]["metadata"]["name"]
        world.end_seconds = 50
        await world.delete(PODS, first)
        live = await world.settles(REPLICA_SETS, "web", availableReplicas=3, terminatingReplicas=1)
        assert first not in {pod["metadata"]["name"] for pod in await world.pods()}
        await world.settles(REPLICA_SETS, "web", availableReplicas=3, terminatingReplicas=0)
        assert live["status"]["replicas"] == 3

    play(scenario)


def test_it_scales_by_the_subresource_and_tells_what_goes() -> None:
    async def scenario(world: World) -> None:
        await world.create(REPLICA_SETS, make_replica_set(replicas=5))
        await world.settles(REPLICA_SETS, "web", availableReplicas=5)
        await world.client.patch(REPLICA_SETS, "web", "default", patch={"spec": {"replicas": 2}}, subresource="scale")
        await world.settles(REPLICA_SETS, "web", replicas=2, availableReplicas=2)
        await asyncio.sleep(1)
        gone = await world.events("SuccessfulDelete")
        assert len(gone) == 3 and all(e["message"].startswith("Deleted pod: web-") for e in gone)
        assert len(await world.events("SuccessfulCreate")) == 5

    play(scenario)


def test_a_lone_pod_is_adopted_and_one_whose_label_changes_is_let_go() -> None:
    async def scenario(world: World) -> None:
        await world.create(PODS, make_pod("lone", labels={"app": "web"}))
        live = await world.create(REPLICA_SETS, make_replica_set(replicas=2))
        await world.settles(REPLICA_SETS, "web", availableReplicas=2)
        lone = await world.get(PODS, "lone")
        assert lone["metadata"]["ownerReferences"][0]["uid"] == live["metadata"]["uid"]
        await world.patch(PODS, "lone", {"metadata": {"labels": {"app": "other"}}})
        await has_pods(world, 3)
        lone = await world.get(PODS, "lone")
        assert "ownerReferences" not in lone["metadata"]
        await world.patch(PODS, "lone", {"metadata": {"labels": {"app": "web"}}})
        await has_pods(world, 2)

    play(scenario)


def test_what_the_server_refuses_is_a_condition_until_it_goes_well() -> None:
    async def scenario(world: World) -> None:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
        await world.create(RESOURCE_QUOTAS, {**quota, "spec": {"hard": {"pods": "1"}}})
        await world.create(REPLICA_SETS, make_replica_set(replicas=4))

        async def has_failed() -> Json | None:
            status = (await world.get(REPLICA_SETS, "web"))["status"]
            return next(iter(status.get("conditions", ())), None)

        condition = await world.until(has_failed)
        assert (condition["type"], condition["status"], condition["reason"]) == (
            "ReplicaFailure", "True", "FailedCreate",
        )  # fmt: skip
        assert "exceeded quota" in condition["message"]
        await asyncio.sleep(0.5)
        assert (await world.events("FailedCreate"))[0]["message"].startswith("Error creating: pods ")
        await world.patch(RESOURCE_QUOTAS, "few", {"spec": {"hard": {"pods": "10"}}})
        live = await world.settles(REPLICA_SETS, "web", availableReplicas=4)
        assert "conditions" not in live["status"]

    play(scenario)


def test_a_pod_is_available_when_it_has_been_ready_for_long_enough() -> None:
    async def scenario(world: World) -> None:
        await world.create(REPLICA_SETS, make_replica_set(replicas=1, minReadySeconds=30))
        await world.settles(REPLICA_SETS, "web", readyReplicas=1, availableReplicas=0)
        begun = asyncio.get_running_loop().time()
        await world.settles(REPLICA_SETS, "web", availableReplicas=1)
        assert asyncio.get_running_loop().time() - begun >= 28

    play(scenario)


def test_pods_go_with_their_replica_set_or_stay_as_orphans() -> None:
    async def scenario(world: World) -> None:
        await world.create(REPLICA_SETS, make_replica_set(replicas=2))
        await world.settles(REPLICA_SETS, "web", availableReplicas=2)
        before = [pod["metadata"]["uid"] for pod in await world.pods()]
        await world.delete(REPLICA_SETS, "web", propagationPolicy="Orphan")
        await asyncio.sleep(5)
        assert [pod["metadata"]["uid"] for pod in await world.pods()] == before
        await world.create(REPLICA_SETS, make_replica_set(replicas=2))
        await world.settles(REPLICA_SETS, "web", availableReplicas=2)
        assert [pod["metadata"]["uid"] for pod in await world.pods()] == before
        await world.delete(REPLICA_SETS, "web", propagationPolicy="Background")
        await has_pods(world, 0)

    play(scenario)


def test_a_replication_controller_does_the_same_by_plain_labels() -> None:
    async def scenario(world: World) -> None:
        owner = make_replica_set(replicas=2)
        owner |= {"apiVersion": "v1", "kind": "ReplicationController"}
        owner["spec"]["selector"] = {"app": "web"}
        await world.create(REPLICATION_CONTROLLERS, owner)
        live = await world.settles(REPLICATION_CONTROLLERS, "web", availableReplicas=2)
        assert "terminatingReplicas" not in live["status"]
        await world.client.patch(
            REPLICATION_CONTROLLERS, "web", "default", patch={"spec": {"replicas": 1}}, subresource="scale"
        )
        await world.settles(REPLICATION_CONTROLLERS, "web", replicas=1)
        await asyncio.sleep(1)
        assert {e["source"]["component"] for e in await world.events("SuccessfulDelete")} == {"replication-controller"}

    play(scenario)


def test_a_loop_that_is_killed_between_any_two_writes_is_continued_by_the_next() -> None:
    async def scenario(world: World) -> None:
        await world.create(REPLICA_SETS, make_replica_set(replicas=6))
        for rounds in range(3, 60, 3):
            await world.kill(rounds, enabled=("replicaset", "scheduler"))
        await world.settles(REPLICA_SETS, "web", replicas=6, availableReplicas=6)
        assert len(await world.pods()) == 6

    play(scenario)
