"""Jobs against the real API server. Rule: spec "controllers" §7.9."""

from __future__ import annotations

import asyncio
from typing import Any

from seaway.api.registry import JOBS, PODS
from tests.scenarios.workloads import Json, World, make_template, play

LOOPS = ("job", "scheduler", "garbage")


def make_job(**spec: Any) -> Json:
    restart = spec.pop("restart", "Never")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {"template": make_template("work", restartPolicy=restart), **spec},
    }


async def ends(world: World, kind: str) -> Json:
    async def check() -> Json | None:
        job = await world.get(JOBS, "work")
        conditions = (job.get("status") or {}).get("conditions", ())
        return job if any(c["type"] == kind and c["status"] == "True" for c in conditions) else None

    found: Json = await world.until(check)
    return found


def test_a_job_runs_its_pods_a_few_at_a_time_and_counts_them() -> None:
    async def scenario(world: World) -> None:
        world.finishes = lambda pod: 0
        await world.create(JOBS, make_job(completions=5, parallelism=2))
        job = await ends(world, "Complete")
        status = job["status"]
        assert (status["succeeded"], status.get("failed"), status.get("active")) == (5, None, None)
        assert status["uncountedTerminatedPods"] == {} and status["completionTime"] and status["startTime"]
        assert [(c["type"], c["reason"]) for c in status["conditions"]] == [
            ("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached"),
        ]  # fmt: skip
        pods = await world.list(PODS)
        assert len(pods) == 5 and not any(pod["metadata"].get("finalizers") for pod in pods)
        await asyncio.sleep(1)
        assert [e["message"] for e in await world.events("Completed")] == ["Job completed"]

    play(scenario, enabled=LOOPS)


def test_each_index_is_done_once_and_knows_itself() -> None:
    async def scenario(world: World) -> None:
        failing = [1]
        world.finishes = lambda pod: failing.pop() if failing else 0
        await world.create(JOBS, make_job(completions=3, parallelism=3, completionMode="Indexed"))
        job = await ends(world, "Complete")
        assert job["status"]["completedIndexes"] == "0-2"
        assert (job["status"]["succeeded"], job["status"]["failed"]) == (3, 1)
        index = "batch.kubernetes.io/job-completion-index"
        pods = [p for p in await world.list(PODS) if p["status"]["phase"] == "Succeeded"]
        assert sorted(p["metadata"]["annotations"][index] for p in pods) == ["0", "1", "2"]
        pod = pods[0]
        number = pod["metadata"]["labels"][index]
        assert pod["spec"]["hostname"] == f"work-{number}"
        assert pod["metadata"]["generateName"] == f"work-{number}-"
        assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"

    play(scenario, enabled=LOOPS)


def test_failures_are_tried_again_later_and_later_until_there_were_too_many() -> None:
    async def scenario(world: World) -> None:
        world.finishes = lambda pod: 1
        begun = asyncio.get_running_loop().time()
        await world.create(JOBS, make_job(backoffLimit=2))
        job = await ends(world, "Failed")
        assert asyncio.get_running_loop().time() - begun >= 25  # 10 s and 20 s, in whole seconds
        assert job["status"]["failed"] == 3
        failed = job["status"]["conditions"][-1]
        assert (failed["reason"], failed["message"]) == (
            "BackoffLimitExceeded", "Job has reached the specified backoff limit",
        )  # fmt: skip
        await asyncio.sleep(1)
        assert [e["type"] for e in await world.events("BackoffLimitExceeded")] == ["Warning"]

    play(scenario, enabled=LOOPS)


def test_a_job_that_takes_too_long_is_ended_with_its_pods() -> None:
    async def scenario(world: World) -> None:
        await world.create(JOBS, make_job(activeDeadlineSeconds=30, parallelism=2, completions=2))
        job = await ends(world, "Failed")
        assert job["status"]["conditions"][-1]["reason"] == "DeadlineExceeded"
        assert job["status"]["failed"] == 2 and "active" not in job["status"]
        assert await world.pods() == []

    play(scenario, enabled=LOOPS)


def test_a_suspended_job_has_no_pods_and_goes_on_when_resumed() -> None:
    async def scenario(world: World) -> None:
        await world.create(JOBS, make_job(parallelism=2, completions=2))
        await has_active(world, 2)
        await world.patch(JOBS, "work", {"spec": {"suspend": True}})
        await has_active(world, 0)
        status = (await world.get(JOBS, "work"))["status"]
        assert status["conditions"][0]["reason"] == "JobSuspended" and "startTime" not in status
        world.finishes = lambda pod: 0
        await world.patch(JOBS, "work", {"spec": {"suspend": False}})
        job = await ends(world, "Complete")
        assert (job["status"]["succeeded"], job["status"].get("failed")) == (2, None)
        assert [e["message"] for e in await world.events("Suspended")] == ["Job suspended"]
        assert [e["message"] for e in await world.events("Resumed")] == ["Job resumed"]

    play(scenario, enabled=LOOPS)


async def has_active(world: World, count: int) -> None:
    async def check() -> bool:
        status = (await world.get(JOBS, "work")).get("status") or {}
        return (status.get("active") or 0) == count == len(await world.pods())

    await world.until(check)


def test_a_finished_job_goes_when_its_time_is_over_with_its_pods() -> None:
    async def scenario(world: World) -> None:
        world.finishes = lambda pod: 0
        await world.create(JOBS, make_job(ttlSecondsAfterFinished=60))
        await ends(world, "Complete")

        async def is_gone() -> bool:
            return not await world.list(JOBS) and not await world.list(PODS)

        await world.until(is_gone)

    play(scenario, enabled=LOOPS)


def test_pods_of_a_job_that_is_deleted_are_not_kept_by_their_finalizer() -> None:
    async def scenario(world: World) -> None:
        await world.create(JOBS, make_job(parallelism=2, completions=2))
        await has_active(world, 2)
        await world.delete(JOBS, "work", propagationPolicy="Background")

        async def is_gone() -> bool:
            return not await world.list(PODS)

        await world.until(is_gone)

    play(scenario, enabled=LOOPS)


def test_an_exit_code_can_end_the_job_at_once_and_another_can_be_ignored() -> None:
    async def scenario(world: World) -> None:
        codes = [7, 42]
        world.finishes = lambda pod: codes.pop(0) if codes else None
        rules = [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}},
        ]
        await world.create(JOBS, make_job(backoffLimit=0, podFailurePolicy={"rules": rules}))
        job = await ends(world, "Failed")
        assert job["status"]["failed"] == 1
        failed = job["status"]["conditions"][-1]
        assert failed["reason"] == "PodFailurePolicy"
        assert failed["message"].endswith("failed with exit code 42 matching FailJob rule at index 0")

    play(scenario, enabled=LOOPS)


def test_no_pod_is_lost_or_counted_twice_when_the_loop_is_killed_between_any_two_writes() -> None:
    async def scenario(world: World) -> None:
        world.finishes = lambda pod: 0
        await world.create(JOBS, make_job(completions=6, parallelism=3))
        for rounds in range(3, 60, 3):
            await world.kill(rounds, enabled=("job", "scheduler"))
        job = await ends(world, "Complete")
        assert job["status"]["succeeded"] == 6 and "failed" not in job["status"]
        assert len([p for p in await world.list(PODS) if p["status"]["phase"] == "Succeeded"]) == 6

    play(scenario, enabled=LOOPS)
