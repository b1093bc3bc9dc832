"""DaemonSets against the real API server. Rule: spec "controllers" §7.6."""

from __future__ import annotations

import asyncio
from typing import Any

from seaway.api.registry import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from tests.scenarios.workloads import Json, World, make_template, play

LOOPS = ("daemonset", "scheduler", "garbage")


def make_daemon_set(
    *, image: str = "program:1", update: Json | None = None, pod: Json | None = None, **spec: Any
) -> Json:
    template = make_template(image=image, **(pod or {}))
    strategy = {"updateStrategy": update} if update else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **strategy, **spec},
    }


async def placed(world: World) -> list[tuple[str, str]]:
    """(node, image) of each Pod that stays, sorted."""
    pods = await world.pods()
    return sorted((p["spec"].get("nodeName", ""), p["spec"]["containers"][0]["image"]) for p in pods)


def test_each_node_gets_one_and_a_new_node_too() -> None:
    async def scenario(world: World) -> None:
        await world.create(DAEMON_SETS, make_daemon_set())
        live = await world.settles(DAEMON_SETS, "web", numberAvailable=2)
        assert live["status"] == {
            "currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 2, "numberReady": 2,
            "numberAvailable": 2, "updatedNumberScheduled": 2, "observedGeneration": 1,
        }  # fmt: skip
        await world.add_node("n3")
        await world.settles(DAEMON_SETS, "web", numberAvailable=3)
        assert [node for node, _ in await placed(world)] == ["n1", "n2", "n3"]
        pod = (await world.pods())[0]
        revision = (await world.list(CONTROLLER_REVISIONS))[0]
        digest = revision["metadata"]["labels"]["controller-revision-hash"]
        assert pod["metadata"]["labels"] == {
            "app": "web", "controller-revision-hash": digest, "pod-template-generation": "1",
        }  # fmt: skip
        assert revision["revision"] == 1 and revision["metadata"]["name"] == f"web-{digest}"
        effects = {(t["key"], t["effect"]) for t in pod["spec"]["tolerations"]}
        assert ("node.kubernetes.io/unschedulable", "NoSchedule") in effects
        assert ("node.kubernetes.io/network-unavailable", "NoSchedule") not in effects
        await asyncio.sleep(1)
        assert {e["source"]["component"] for e in await world.events("SuccessfulCreate")} == {"daemonset-controller"}

    play(scenario, enabled=LOOPS)


def test_only_nodes_that_fit_are_taken_and_one_that_fits_no_longer_is_left() -> None:
    async def scenario(world: World) -> None:
        await world.add_node("gpu", meta={"labels": {"kind": "gpu"}})
        await world.add_node("kept", meta={"labels": {"kind": "gpu"}}, taints=[{"key": "mine", "effect": "NoSchedule"}])
        await world.create(DAEMON_SETS, make_daemon_set(pod={"nodeSelector": {"kind": "gpu"}}))
        await world.settles(DAEMON_SETS, "web", numberAvailable=1, desiredNumberScheduled=1)
        assert [node for node, _ in await placed(world)] == ["gpu"]
        await world.client.patch(NODES, "gpu", patch={"metadata": {"labels": {"kind": "plain"}}})
        await world.settles(DAEMON_SETS, "web", desiredNumberScheduled=0, numberMisscheduled=0)
        assert await placed(world) == []

    play(scenario, enabled=LOOPS)


def test_a_taint_against_scheduling_leaves_the_pod_and_one_against_running_takes_it() -> None:
    async def scenario(world: World) -> None:
        await world.create(DAEMON_SETS, make_daemon_set())
        await world.settles(DAEMON_SETS, "web", numberAvailable=2)
        await world.client.patch(NODES, "n1", patch={"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}})
        await world.settles(DAEMON_SETS, "web", desiredNumberScheduled=1, numberMisscheduled=1)
        assert len(await placed(world)) == 2
        await world.client.patch(NODES, "n1", patch={"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}})
        await world.settles(DAEMON_SETS, "web", desiredNumberScheduled=1, numberMisscheduled=0)
        assert [node for node, _ in await placed(world)] == ["n2"]

    play(scenario, enabled=LOOPS)


def test_an_update_replaces_as_many_as_may_be_missing() -> None:
    async def scenario(world: World) -> None:
        await world.create(DAEMON_SETS, make_daemon_set())
        await world.settles(DAEMON_SETS, "web", numberAvailable=4)
        await world.patch(DAEMON_SETS, "web", make_daemon_set(image="program:2"))
        least = 4

        async def is_done() -> bool:
            nonlocal least
            ready = [pod for pod in await world.pods() if has_address(pod)]
            least = min(least, len(ready))
            return sorted({image for _, image in await placed(world)}) == ["program:2"] and len(ready) == 4

        await world.until(is_done)
        assert least == 3
        await world.settles(DAEMON_SETS, "web", updatedNumberScheduled=4, numberAvailable=4)
        assert len(await world.list(CONTROLLER_REVISIONS)) == 2
        await world.patch(DAEMON_SETS, "web", make_daemon_set(image="program:1"))
        await world.settles(DAEMON_SETS, "web", updatedNumberScheduled=4, numberAvailable=4)
        assert sorted(r["revision"] for r in await world.list(CONTROLLER_REVISIONS)) == [2, 3]

    play(scenario, enabled=LOOPS, nodes=4)


def has_address(pod: Json) -> bool:
    return bool(pod["status"].get("podIP"))


def test_with_surge_the_new_one_serves_before_the_old_one_goes() -> None:
    async def scenario(world: World) -> None:
        surging = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await world.create(DAEMON_SETS, make_daemon_set(update=surging))
        await world.settles(DAEMON_SETS, "web", numberAvailable=3)
        await world.patch(DAEMON_SETS, "web", make_daemon_set(image="program:2", update=surging))
        least = 3

        async def is_done() -> bool:
            nonlocal least
            pods = await world.pods()
            least = min(least, len({p["spec"].get("nodeName") for p in pods if has_address(p)}))
            return sorted({image for _, image in await placed(world)}) == ["program:2"]

        await world.until(is_done)
        assert least == 3
        await world.settles(DAEMON_SETS, "web", updatedNumberScheduled=3, numberAvailable=3)
        assert len(await placed(world)) == 3

    play(scenario, enabled=LOOPS, nodes=3)


def test_on_delete_waits_for_the_user() -> None:
    async def scenario(world: World) -> None:
        update = {"type": "OnDelete"}
        await world.create(DAEMON_SETS, make_daemon_set(update=update))
        await world.settles(DAEMON_SETS, "web", numberAvailable=2)
        await world.patch(DAEMON_SETS, "web", make_daemon_set(image="program:2", update=update))
        await world.settles(DAEMON_SETS, "web", updatedNumberScheduled=0)
        await asyncio.sleep(5)
        assert {image for _, image in await placed(world)} == {"program:1"}
        await world.delete(PODS, (await world.pods())[0]["metadata"]["name"])
        await world.settles(DAEMON_SETS, "web", updatedNumberScheduled=1, numberAvailable=2)

    play(scenario, enabled=LOOPS)


def test_a_pod_that_failed_is_replaced_after_a_wait_that_grows() -> None:
    async def scenario(world: World) -> None:
        failing = 3

        def finish(pod: Json) -> int | None:
            nonlocal failing
            failing -= 1
            return 1 if failing >= 0 else None

        world.finishes = finish
        await world.create(DAEMON_SETS, make_daemon_set())
        await world.settles(DAEMON_SETS, "web", numberAvailable=1)
        await asyncio.sleep(30)
        live = await world.settles(DAEMON_SETS, "web", numberAvailable=1, numberReady=1)
        assert live["status"]["currentNumberScheduled"] == 1
        events = await world.events("FailedDaemonPod")
        assert events[0]["type"] == "Warning" and events[0]["message"].endswith(" on node n1, will try to kill it")

    play(scenario, enabled=LOOPS, nodes=1)
