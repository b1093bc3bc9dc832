"""StatefulSets against the real API server. Rule: spec "controllers" §7.9."""

from __future__ import annotations

import asyncio
from typing import Any

from seaway.api.registry import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from tests.scenarios.workloads import Json, World, make_template, play

LOOPS = ("statefulset", "scheduler", "garbage")
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def make_stateful_set(replicas: int = 3, *, image: str = "program:1", **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "web"}},
            "template": make_template(image=image), **spec,
        },
    }  # fmt: skip


async def images(world: World) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in await world.pods()}


def first_seen(world: World) -> list[str]:
    """Names in the order in which their Pods came."""
    return list(dict.fromkeys(pod["metadata"]["name"] for pod in world.seen))


async def steady(world: World, replicas: int) -> Json:
    return await world.settles(STATEFUL_SETS, "db", replicas=replicas, readyReplicas=replicas, updatedReplicas=replicas)


def test_ordinals_come_one_after_the_other_with_names_that_last() -> None:
    async def scenario(world: World) -> None:
        await world.create(STATEFUL_SETS, make_stateful_set())
        live = await steady(world, 3)
        assert first_seen(world) == ["db-0", "db-1", "db-2"]
        for earlier, later in (("db-0", "db-1"), ("db-1", "db-2")):
            ready_at = next(
                i for i, p in enumerate(world.seen) if p["metadata"]["name"] == earlier and p["status"].get("podIP")
            )
            assert ready_at < next(i for i, p in enumerate(world.seen) if p["metadata"]["name"] == later)
        pod = await world.get(PODS, "db-1")
        revision = live["status"]["updateRevision"]
        assert pod["metadata"]["labels"] == {
            "app": "web", "controller-revision-hash": revision,
            "statefulset.kubernetes.io/pod-name": "db-1", "apps.kubernetes.io/pod-index": "1",
        }  # fmt: skip
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
        assert live["status"] == {
            "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "currentReplicas": 3, "updatedReplicas": 3,
            "currentRevision": revision, "updateRevision": revision, "observedGeneration": 1, "collisionCount": 0,
        }  # fmt: skip
        before = pod["metadata"]["uid"]
        await world.delete(PODS, "db-1")

        async def is_back() -> bool:
            found = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await world.pods()}
            return found.get("db-1", before) != before

        await world.until(is_back)
        await asyncio.sleep(1)
        messages = {e["message"] for e in await world.events("SuccessfulCreate")}
        assert messages == {f"create Pod db-{n} in StatefulSet db successful" for n in range(3)}

    play(scenario, enabled=LOOPS)


def test_the_highest_goes_first_and_one_at_a_time() -> None:
    async def scenario(world: World) -> None:
        await world.create(STATEFUL_SETS, make_stateful_set(4))
        await steady(world, 4)
        world.seen.clear()
        world.end_seconds = 5
        await world.client.patch(STATEFUL_SETS, "db", "default", patch={"spec": {"replicas": 1}}, subresource="scale")
        await steady(world, 1)
        ending = [p["metadata"]["name"] for p in world.seen if p["metadata"].get("deletionTimestamp")]
        assert list(dict.fromkeys(ending)) == ["db-3", "db-2", "db-1"]

    play(scenario, enabled=LOOPS)


def test_in_parallel_all_come_at_once() -> None:
    async def scenario(world: World) -> None:
        world.breaks = lambda pod: pod["metadata"]["name"] == "db-0"
        await world.create(STATEFUL_SETS, make_stateful_set(podManagementPolicy="Parallel"))
        await world.settles(STATEFUL_SETS, "db", replicas=3, readyReplicas=2)
        await world.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 0}})
        await world.settles(STATEFUL_SETS, "db", replicas=0)

    play(scenario, enabled=LOOPS)


def test_an_update_goes_from_the_last_to_the_partition_and_back() -> None:
    async def scenario(world: World) -> None:
        def update(partition: int) -> Json:
            return {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}

        await world.create(STATEFUL_SETS, make_stateful_set(updateStrategy=update(2)))
        old = (await steady(world, 3))["status"]["updateRevision"]
        await world.patch(STATEFUL_SETS, "db", make_stateful_set(image="program:2", updateStrategy=update(2)))
        live = await world.settles(STATEFUL_SETS, "db", updatedReplicas=1, readyReplicas=3)
        assert await images(world) == {"db-0": "program:1", "db-1": "program:1", "db-2": "program:2"}
        assert live["status"]["currentRevision"] == old != live["status"]["updateRevision"]
        await world.delete(PODS, "db-0")
        await asyncio.sleep(5)
        assert (await images(world))["db-0"] == "program:1"
        world.seen.clear()
        await world.patch(STATEFUL_SETS, "db", {"spec": {"updateStrategy": update(0)}})
        live = await steady(world, 3)
        assert set((await images(world)).values()) == {"program:2"}
        ending = [p["metadata"]["name"] for p in world.seen if p["metadata"].get("deletionTimestamp")]
        assert list(dict.fromkeys(ending)) == ["db-1", "db-0"]

        async def is_current() -> bool:
            status = (await world.get(STATEFUL_SETS, "db"))["status"]
            return bool(status["currentRevision"] == status["updateRevision"] != old)

        await world.until(is_current)
        assert sorted(r["revision"] for r in await world.list(CONTROLLER_REVISIONS)) == [1, 2]

    play(scenario, enabled=LOOPS)


def test_on_delete_waits_for_the_user() -> None:
    async def scenario(world: World) -> None:
        await world.create(STATEFUL_SETS, make_stateful_set(2, updateStrategy={"type": "OnDelete"}))
        await steady(world, 2)
        await world.patch(
            STATEFUL_SETS, "db", make_stateful_set(2, image="program:2", updateStrategy={"type": "OnDelete"})
        )
        await asyncio.sleep(10)
        assert set((await images(world)).values()) == {"program:1"}
        await world.delete(PODS, "db-1")
        await world.settles(STATEFUL_SETS, "db", readyReplicas=2, updatedReplicas=1)
        assert (await images(world))["db-1"] == "program:2"

    play(scenario, enabled=LOOPS)


async def claims(world: World) -> list[str]:
    return sorted(claim["metadata"]["name"] for claim in await world.list(PERSISTENT_VOLUME_CLAIMS))


def test_each_ordinal_has_its_claim_which_outlives_it() -> None:
    async def scenario(world: World) -> None:
        await world.create(STATEFUL_SETS, make_stateful_set(2, volumeClaimTemplates=[CLAIM]))
        await steady(world, 2)
        assert await claims(world) == ["data-db-0", "data-db-1"]
        volumes = (await world.get(PODS, "db-1"))["spec"]["volumes"]
        assert volumes[0] == {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}
        claim = await world.get(PERSISTENT_VOLUME_CLAIMS, "data-db-1")
        assert claim["metadata"]["labels"] == {"app": "web"} and "ownerReferences" not in claim["metadata"]
        await world.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
        await steady(world, 1)
        await world.delete(STATEFUL_SETS, "db")
        await asyncio.sleep(5)
        assert await claims(world) == ["data-db-0", "data-db-1"]

    play(scenario, enabled=LOOPS)


def test_claims_go_when_the_policy_says_so() -> None:
    async def scenario(world: World) -> None:
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        await world.create(
            STATEFUL_SETS,
            make_stateful_set(3, volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy),
        )
        await steady(world, 3)
        await world.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 2}})

        async def has_two() -> bool:
            return await claims(world) == ["data-db-0", "data-db-1"]

        await world.until(has_two)
        await world.delete(STATEFUL_SETS, "db")

        async def has_none() -> bool:
            return not await claims(world)

        await world.until(has_none)

    play(scenario, enabled=LOOPS)


def test_a_pod_that_failed_is_made_anew_under_its_name() -> None:
    async def scenario(world: World) -> None:
        failing = [1]
        world.finishes = lambda pod: failing.pop() if failing else None
        await world.create(STATEFUL_SETS, make_stateful_set(2))
        await steady(world, 2)
        assert {p["status"]["phase"] for p in await world.pods()} == {"Running"}
        events = await world.events("RecreatingFailedPod")
        assert [e["message"] for e in events] == ["StatefulSet default/db is recreating failed Pod db-0"]

    play(scenario, enabled=LOOPS)


def test_ordinals_may_start_elsewhere() -> None:
    async def scenario(world: World) -> None:
        await world.create(STATEFUL_SETS, make_stateful_set(2, ordinals={"start": 5}))
        await steady(world, 2)
        assert sorted(await images(world)) == ["db-5", "db-6"]

    play(scenario, enabled=LOOPS)


def test_a_loop_that_is_killed_between_any_two_writes_is_continued_by_the_next() -> None:
    async def scenario(world: World) -> None:
        await world.create(STATEFUL_SETS, make_stateful_set(3, volumeClaimTemplates=[CLAIM]))
        await world.patch(STATEFUL_SETS, "db", make_stateful_set(3, image="program:2", volumeClaimTemplates=[CLAIM]))
        for rounds in range(3, 60, 3):
            await world.kill(rounds, enabled=("statefulset", "scheduler"))
        await steady(world, 3)
        assert set((await images(world)).values()) == {"program:2"}
        assert len(await claims(world)) == 3

    play(scenario, enabled=LOOPS)
