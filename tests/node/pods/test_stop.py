"""How one run ends. Rule: spec "node" §2.10 step 3."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from seaway.node.pods.stop.run import Stopper
from seaway.node.podspec import Container
from seaway.node.probes import Outcome
from seaway.node.probing.run import Prober
from seaway.node.runtime.contract import Runtime, Stop
from tests.node.manifests import decode_pod, make_run

PASSED, FAILED = Outcome(True), Outcome(False, "secret")


class Body:
    """A runtime and a prober that note what is asked of them. `hook` waits as long as the test wants."""

    def __init__(self, *, hook: Callable[[], Awaitable[Outcome]]) -> None:
        self.said: list[str] = []
        self.told = asyncio.Event()
        self._hook = hook

    async def stop(self, stop: Stop) -> None:
        self.said.append("kill" if stop.kill else f"signal {stop.signal}")
        self.told.set()

    async def call(self, container: Container, run: Any, hook: Any) -> Outcome:
        self.said.append("hook")
        return await self._hook()


async def pass_hook() -> Outcome:
    return PASSED


async def fail_hook() -> Outcome:
    return FAILED


async def never() -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


def make_stopper(body: Body) -> Stopper:
    return Stopper(cast(Runtime, body), cast(Prober, body))


POD = decode_pod(
    terminationGracePeriodSeconds=600,
    containers=[{"name": "main", "lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}],
)
[MAIN] = POD.spec.containers
RUN = make_run()


@pytest.mark.parametrize(
    ("hook", "reported"),
    [
        pytest.param(pass_hook, [], id="the signal comes after the hook"),
        pytest.param(fail_hook, [("FailedPreStopHook", "PreStopHook failed")], id="a failure is told without a word"),
    ],
)
def test_pre_stop(hook: Callable[[], Awaitable[Outcome]], reported: list[tuple[str, str]]) -> None:
    async def run() -> tuple[list[str], list[tuple[str, str]]]:
        reports: list[tuple[str, str]] = []
        body = Body(hook=hook)
        stopper = make_stopper(body)
        stopping = asyncio.create_task(
            stopper.stop(POD, MAIN, RUN, grace_seconds=None, report=lambda *words: reports.append(words))
        )
        await body.told.wait()
        stopper.note_end(RUN.container_id)
        await stopping
        return body.said, reports

    assert asyncio.run(run()) == (["hook", "signal "], reported)


def test_a_shorter_grace_cuts_a_hook_short() -> None:
    async def run() -> tuple[list[str], list[tuple[str, str]]]:
        reports: list[tuple[str, str]] = []
        body = Body(hook=never)
        stopper = make_stopper(body)
        stopping = asyncio.create_task(
            stopper.stop(POD, MAIN, RUN, grace_seconds=None, report=lambda *words: reports.append(words))
        )
        await asyncio.sleep(0)
        stopper.set_deadline(0)  # which is a second
        await body.told.wait()
        stopper.note_end(RUN.container_id)
        await stopping
        return body.said, reports

    said, reports = asyncio.run(run())
    assert said == ["hook", "signal "] and reports == [("FailedPreStopHook", "PreStopHook failed")]


def test_the_end_of_the_run_ends_its_hook() -> None:
    async def run() -> list[str]:
        body = Body(hook=never)
        stopper = make_stopper(body)
        stopping = asyncio.create_task(
            stopper.stop(POD, MAIN, RUN, grace_seconds=None, report=lambda *words: body.said.append("reported"))
        )
        await asyncio.sleep(0)
        stopper.note_end(RUN.container_id)
        await stopping
        return body.said

    assert asyncio.run(run()) == ["hook", "signal "]


def test_a_sidecar_runs_its_hook_at_once_and_gets_its_signal_after_the_others() -> None:
    async def run() -> tuple[list[str], list[str]]:
        body = Body(hook=pass_hook)
        stopper = make_stopper(body)
        stopping = asyncio.create_task(
            stopper.stop(POD, MAIN, RUN, grace_seconds=None, after=["first", "second"], report=lambda *_: None)
        )
        for _ in range(20):
            await asyncio.sleep(0)
        early = list(body.said)
        stopper.note_end("second")
        stopper.note_end("first")
        await body.told.wait()
        stopper.note_end(RUN.container_id)
        await stopping
        return early, body.said

    assert asyncio.run(run()) == (["hook"], ["hook", "signal "])


@pytest.mark.parametrize(
    ("hook", "ends", "expected"),
    [
        pytest.param(pass_hook, False, True, id="a hook that goes well"),
        pytest.param(fail_hook, False, False, id="one that does not"),
        pytest.param(never, True, False, id="one that outlives its run"),
    ],
)
def test_post_start(hook: Callable[[], Awaitable[Outcome]], ends: bool, expected: bool) -> None:
    async def run() -> bool:
        stopper = make_stopper(Body(hook=hook))
        assert MAIN.lifecycle is not None and MAIN.lifecycle.pre_stop is not None
        calling = asyncio.create_task(stopper.run_post_start(MAIN, RUN, MAIN.lifecycle.pre_stop))
        await asyncio.sleep(0)
        if ends:
            stopper.note_end(RUN.container_id)
        return await calling

    assert asyncio.run(run()) is expected
