"""Deployments against the real API server. Rule: spec "controllers" §7.5."""

from __future__ import annotations

import asyncio
from typing import Any

from seaway.api.registry import DEPLOYMENTS, PODS, REPLICA_SETS
from seaway.client.run import Change, Informer
from tests.scenarios.workloads import Json, World, make_template, play

REVISION = "deployment.kubernetes.io/revision"


def make_deployment(name: str = "web", replicas: int = 3, **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": make_template(), **spec,
        },
    }  # fmt: skip


def image(tag: str) -> Json:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": f"program:{tag}"}]}}}}


async def rolled_out(world: World, replicas: int = 3, name: str = "web") -> Json:
    return await world.settles(
        DEPLOYMENTS, name, updatedReplicas=replicas, replicas=replicas, availableReplicas=replicas
    )


async def list_sizes(world: World) -> dict[str, int]:
    """Replicas by revision."""
    found = await world.list(REPLICA_SETS)
    return {rs["metadata"]["annotations"][REVISION]: rs["spec"]["replicas"] for rs in found}


def test_a_deployment_is_told_of_step_by_step() -> None:
    """The observed order of a new Deployment's status."""

    async def scenario(world: World) -> None:
        seen: list[Json] = []

        def note(change: Change[Json]) -> None:
            if change.new is not None:
                seen.append(change.new.get("status") or {})

        informer: Informer[Json] = Informer(world.client, DEPLOYMENTS, dict)
        informer.subscribe(note)
        world.cluster.tasks.append(asyncio.create_task(informer.run()))
        await world.create(DEPLOYMENTS, make_deployment())
        live = await rolled_out(world)
        await asyncio.sleep(1)
        said = [
            tuple(sorted((c["type"], c["status"], c["reason"]) for c in status.get("conditions", ())))
            for status in seen
        ]
        order = list(dict.fromkeys(said))
        not_available = ("Available", "False", "MinimumReplicasUnavailable")
        available = ("Available", "True", "MinimumReplicasAvailable")
        assert order == [
            (),
            (("Progressing", "True", "NewReplicaSetCreated"),),
            (not_available, ("Progressing", "True", "NewReplicaSetCreated")),
            (not_available, ("Progressing", "True", "ReplicaSetUpdated")),
            (available, ("Progressing", "True", "NewReplicaSetAvailable")),
        ]
        rs = (await world.list(REPLICA_SETS))[0]
        name, digest = rs["metadata"]["name"], rs["metadata"]["labels"]["pod-template-hash"]
        assert name == f"web-{digest}" and rs["spec"]["selector"]["matchLabels"]["pod-template-hash"] == digest
        assert rs["metadata"]["annotations"] == {
            REVISION: "1",
            "deployment.kubernetes.io/desired-replicas": "3",
            "deployment.kubernetes.io/max-replicas": "4",
        }  # fmt: skip
        assert live["metadata"]["annotations"] == {REVISION: "1"}
        messages = {c["type"]: c["message"] for c in live["status"]["conditions"]}
        assert messages == {
            "Available": "Deployment has minimum availability.",
            "Progressing": f'ReplicaSet "{name}" has successfully progressed.',
        }
        counts = {key: value for key, value in live["status"].items() if key != "conditions"}
        assert counts == {
            "observedGeneration": live["metadata"]["generation"], "replicas": 3, "updatedReplicas": 3,
            "readyReplicas": 3, "availableReplicas": 3, "terminatingReplicas": 0,
        }  # fmt: skip
        events = await world.events("ScalingReplicaSet")
        assert [(e["type"], e["message"]) for e in events] == [("Normal", f"Scaled up replica set {name} from 0 to 3")]
        assert events[0]["source"]["component"] == "deployment-controller"

    play(scenario)


def test_a_rolling_update_keeps_its_bounds_and_can_be_undone() -> None:
    async def scenario(world: World) -> None:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
        await world.create(DEPLOYMENTS, make_deployment(replicas=5, strategy=rolling))
        await rolled_out(world, 5)
        bounds: list[tuple[int, int]] = []
        live: dict[str, Json] = {pod["metadata"]["name"]: pod for pod in await world.pods()}

        def watch(change: Change[Json]) -> None:
            live.pop(change.key.partition("/")[2], None)
            if change.new is not None:
                live[change.new["metadata"]["name"]] = change.new
            here = [pod for pod in live.values() if not pod["metadata"].get("deletionTimestamp")]
            bounds.append((len(here), sum(is_ready(pod) for pod in here)))

        informer: Informer[Json] = Informer(world.client, PODS, dict)
        informer.subscribe(watch)
        world.cluster.tasks.append(asyncio.create_task(informer.run()))
        await informer.wait_synced()
        bounds.clear()
        await world.patch(DEPLOYMENTS, "web", image("2"))
        await rolled_out(world, 5)
        assert max(count for count, _ in bounds) <= 7 and min(ready for _, ready in bounds) >= 4
        assert await list_sizes(world) == {"1": 0, "2": 5}
        await world.patch(DEPLOYMENTS, "web", image("1"))
        done = await rolled_out(world, 5)
        assert await list_sizes(world) == {"2": 0, "3": 5}
        assert done["metadata"]["annotations"][REVISION] == "3"
        new = next(rs for rs in await world.list(REPLICA_SETS) if rs["spec"]["replicas"])
        assert new["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        assert {pod["spec"]["containers"][0]["image"] for pod in await world.pods()} == {"program:1"}

    play(scenario)


def is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_recreate_starts_nothing_new_while_anything_old_runs() -> None:
    async def scenario(world: World) -> None:
        world.end_seconds = 20
        await world.create(DEPLOYMENTS, make_deployment(strategy={"type": "Recreate"}))
        await rolled_out(world)
        mixed: list[set[str]] = []
        live: dict[str, str] = {}

        def watch(change: Change[Json]) -> None:
            live.pop(change.key, None)
            if change.new is not None:
                live[change.key] = change.new["spec"]["containers"][0]["image"]
            mixed.append(set(live.values()))

        informer: Informer[Json] = Informer(world.client, PODS, dict)
        informer.subscribe(watch)
        world.cluster.tasks.append(asyncio.create_task(informer.run()))
        await world.patch(DEPLOYMENTS, "web", image("2"))
        await rolled_out(world)
        assert {"program:1"} in mixed and {"program:2"} in mixed
        assert all(len(images) <= 1 for images in mixed)

    play(scenario)


def test_a_paused_deployment_is_scaled_in_proportion_and_goes_on_when_resumed() -> None:
    async def scenario(world: World) -> None:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
        await world.create(DEPLOYMENTS, make_deployment(replicas=10, strategy=rolling))
        await rolled_out(world, 10)
        world.breaks = lambda pod: pod["spec"]["containers"][0]["image"] == "program:2"
        await world.patch(DEPLOYMENTS, "web", image("2"))

        async def is_stuck() -> bool:
            return await list_sizes(world) == {"1": 8, "2": 5}

        await world.until(is_stuck)
        await world.patch(DEPLOYMENTS, "web", {"spec": {"paused": True}})
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 20}})

        async def has_grown() -> bool:
            sizes = await list_sizes(world)
            return sum(sizes.values()) == 23

        await world.until(has_grown)
        assert await list_sizes(world) == {"1": 14, "2": 9}
        live = await world.get(DEPLOYMENTS, "web")
        progress = next(c for c in live["status"]["conditions"] if c["type"] == "Progressing")
        assert (progress["status"], progress["reason"]) == ("Unknown", "DeploymentPaused")
        await world.patch(DEPLOYMENTS, "web", {"spec": {"paused": False, **image("3")["spec"]}})
        await rolled_out(world, 20)

    play(scenario)


def test_a_rollout_that_does_not_move_is_called_stuck_and_recovers() -> None:
    async def scenario(world: World) -> None:
        await world.create(DEPLOYMENTS, make_deployment(progressDeadlineSeconds=60))
        await rolled_out(world)
        world.breaks = lambda pod: pod["spec"]["containers"][0]["image"] == "program:bad"
        await world.patch(DEPLOYMENTS, "web", image("bad"))

        async def progress() -> Json | None:
            live = await world.get(DEPLOYMENTS, "web")
            found = next(c for c in live["status"]["conditions"] if c["type"] == "Progressing")
            return found if found["status"] == "False" else None

        stuck = await world.until(progress)
        assert stuck["reason"] == "ProgressDeadlineExceeded" and stuck["message"].endswith(
            '" has timed out progressing.'
        )
        await world.patch(DEPLOYMENTS, "web", image("1"))
        await rolled_out(world)

        async def is_fine() -> bool:
            return await progress() is None

        await world.until(is_fine)

    play(scenario)


def test_old_replica_sets_are_forgotten_beyond_the_limit() -> None:
    async def scenario(world: World) -> None:
        await world.create(DEPLOYMENTS, make_deployment(revisionHistoryLimit=2))
        await rolled_out(world)
        for tag in "23456":
            await world.patch(DEPLOYMENTS, "web", image(tag))
            await rolled_out(world)

        async def are_few() -> bool:
            return set(await list_sizes(world)) == {"4", "5", "6"}

        await world.until(are_few)

    play(scenario)


def test_scaling_needs_no_rollout() -> None:
    async def scenario(world: World) -> None:
        await world.create(DEPLOYMENTS, make_deployment())
        await rolled_out(world)
        for size in (7, 1, 0, 2):
            await world.client.patch(
                DEPLOYMENTS, "web", "default", patch={"spec": {"replicas": size}}, subresource="scale"
            )
            await rolled_out(world, size)
        assert await list_sizes(world) == {"1": 2}

    play(scenario)


def test_a_name_that_is_taken_counts_as_a_collision_and_another_is_found() -> None:
    async def scenario(world: World) -> None:
        first = await world.create(DEPLOYMENTS, make_deployment())
        await rolled_out(world)
        name = (await world.list(REPLICA_SETS))[0]["metadata"]["name"]
        await world.delete(DEPLOYMENTS, "web", propagationPolicy="Foreground")

        async def is_gone() -> bool:
            return not await world.list(DEPLOYMENTS) and not await world.list(REPLICA_SETS)

        await world.until(is_gone)
        assert first["metadata"]["uid"]
        stranger = {
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": make_template("x")},
        }  # fmt: skip
        await world.create(REPLICA_SETS, stranger)
        await world.create(DEPLOYMENTS, make_deployment())
        live = await rolled_out(world)
        assert live["status"]["collisionCount"] == 1
        assert {rs["metadata"]["name"] for rs in await world.list(REPLICA_SETS)} > {name}

    play(scenario)


def test_a_deployment_goes_with_all_that_it_owns() -> None:
    async def scenario(world: World) -> None:
        await world.create(DEPLOYMENTS, make_deployment())
        await rolled_out(world)
        await world.delete(DEPLOYMENTS, "web", propagationPolicy="Background")

        async def is_empty() -> bool:
            return not await world.list(REPLICA_SETS) and not await world.pods()

        await world.until(is_empty)

    play(scenario)


def test_a_rollout_whose_loops_are_killed_between_any_two_writes_ends_as_wished() -> None:
    async def scenario(world: World) -> None:
        await world.create(DEPLOYMENTS, make_deployment(replicas=4))
        await world.patch(DEPLOYMENTS, "web", image("2"))
        for rounds in range(3, 60, 3):
            await world.kill(rounds, enabled=("deployment", "replicaset", "scheduler"))
        await rolled_out(world, 4)
        assert sum((await list_sizes(world)).values()) == 4

    play(scenario)
