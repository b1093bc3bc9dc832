"""Every verb of the Python clients with every kind that is served.

Rule: spec "api-machinery" §13 (start-up requests), §0.4 (what a DELETE answers: the typed clients check it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seaway.testing.fixture import Seaway
from tests.clients.drivers import (
    COLOUR,
    PATCHES,
    Driver,
    Opener,
    open_kr8s,
    open_kubernetes,
    open_kubernetes_asyncio,
    open_lightkube,
)
from tests.clients.record import Record
from tests.clients.samples import Sample, make_samples

CLIENTS: Mapping[str, Opener] = {
    "kubernetes": open_kubernetes,
    "kubernetes-asyncio": open_kubernetes_asyncio,
    "lightkube": open_lightkube,
    "kr8s": open_kr8s,
}
PATIENCE_SECONDS = 5.0
DOUBT_SECONDS = 0.5
"""For what is known not to work: a watch of an object that could not be created never ends by itself."""
KNOWN: Mapping[tuple[str, str], str] = {
    (
        "lightkube",
        "Event (events.k8s.io)",
    ): "lightkube writes eventTime without decimals, which Kubernetes refuses too, and reads no null",
}
"""(client, kind): why none of its verbs works. What works after all fails the test."""


@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")  # kr8s of servers that are newer than itself
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections that clients leave open
@pytest.mark.parametrize("client", CLIENTS)
def test_every_verb_with_every_kind(client: str, seaway: Seaway, tmp_path: Path, record: Record) -> None:
    wrong = asyncio.run(drive(client, seaway, tmp_path, record))
    assert wrong == {}, "\n".join(f"{what}: {problem}" for what, problem in wrong.items())


async def drive(client: str, seaway: Seaway, folder: Path, record: Record) -> dict[str, str]:
    """What went otherwise than it is known to."""
    wrong: dict[str, str] = {}
    async with CLIENTS[client](seaway, folder) as driver:
        for verb, step in make_steps(driver).items():
            for sample in make_samples(seaway.namespace):
                reason = KNOWN.get((client, sample.kind))
                problem = await attempt(step, sample, DOUBT_SECONDS if reason else PATIENCE_SECONDS)
                if problem is None:
                    continue
                if bool(problem) is (reason is None):
                    wrong[f"{verb} {sample.kind}"] = problem or "works, but is said not to"
                record.note(client, verb, sample.kind, reason or "yes")
    return wrong


async def attempt(step: Callable[[Sample], Awaitable[None]], sample: Sample, seconds: float) -> str | None:
    """ "" when it went well, None when the client has no such verb, else what was wrong."""
    try:
        async with asyncio.timeout(seconds):
            await step(sample)
    except NotImplementedError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def make_steps(driver: Driver) -> dict[str, Callable[[Sample], Awaitable[None]]]:
    """The verbs in the order in which an object goes through them."""

    async def create(sample: Sample) -> None:
        check((await driver.create(sample))["metadata"]["uid"])

    async def get(sample: Sample) -> None:
        found = await driver.get(sample)
        check((found["kind"], found["metadata"]["name"]) == (sample.resource.kind, sample.name))

    async def list_(sample: Sample) -> None:
        check(sample.name in await driver.list(sample))

    async def watch(sample: Sample) -> None:
        check(await driver.watch(sample) == sample.name)

    def patch_as(verb: str) -> Callable[[Sample], Awaitable[None]]:
        media, patch = PATCHES[verb]

        async def patch_(sample: Sample) -> None:
            check((await driver.patch(sample, media, patch))["metadata"]["annotations"][COLOUR] == verb)

        return patch_

    async def replace(sample: Sample) -> None:
        obj = await driver.get(sample)
        obj["metadata"]["annotations"] = {COLOUR: "replace"}
        check((await driver.replace(obj, sample))["metadata"]["annotations"][COLOUR] == "replace")

    async def apply(sample: Sample) -> None:
        meta: dict[str, Any] = {**sample.obj["metadata"], "annotations": {COLOUR: "apply"}}
        done = await driver.apply(sample, {**sample.obj, "metadata": meta})
        check(done["metadata"]["annotations"][COLOUR] == "apply")

    async def delete(sample: Sample) -> None:
        await driver.delete(sample)

    steps = {"create": create, "get": get, "list": list_, "watch": watch}
    steps |= {verb: patch_as(verb) for verb in PATCHES}
    return steps | {"replace": replace, "apply (server-side)": apply, "delete": delete}


def check(holds: object) -> None:
    if not holds:
        raise AssertionError("another answer than was expected")
