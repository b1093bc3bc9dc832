"""Rule: spec "node" §2.8 (retries of the prober, handlers), §2.10 (hooks)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from seaway.api.pod.types import ContainerPort
from seaway.node.podspec import (
    Container,
    EnvVar,
    ExecAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
    SleepAction,
    TCPSocketAction,
)
from seaway.node.probes import Outcome
from seaway.node.probing.run import Prober
from seaway.node.runtime.contract import ContainerError, ExecResult, Runtime
from tests.node.manifests import make_run

CONTAINER = Container(
    name="main", ports=(ContainerPort(name="web", container_port=1),), env=(EnvVar(name="WORD", value="yes"),)
)


class Programs:
    """A runtime that only executes: each call takes the next result."""

    def __init__(self, results: Sequence[ExecResult | None]) -> None:
        self.results = list(results)
        self.asked: list[tuple[tuple[str, ...], float | None]] = []

    async def exec(self, container_id: str, argv: tuple[str, ...], *, timeout_seconds: float | None) -> ExecResult:
        self.asked.append((argv, timeout_seconds))
        result = self.results.pop(0)
        if result is None:
            raise ContainerError("the container does not run")
        return result


def make_prober(programs: Programs) -> Prober:
    return Prober(cast(Runtime, programs), version="v1.36.2", find_address=lambda: "127.0.0.1")


GOOD, BAD, LATE = ExecResult(0, "fine"), ExecResult(3, "sick"), ExecResult(None)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        pytest.param([GOOD], (True, False, "fine"), id="exit code 0 passes"),
        pytest.param([BAD], (False, False, "sick"), id="another fails, with the output"),
        pytest.param([LATE], (False, False, "command timed out: 'check yes $(OTHER)' timed out after 4s"),
                     id="what takes too long fails"),
        pytest.param([None, None, GOOD], (True, False, "fine"), id="what cannot be made is tried again at once"),
        pytest.param([None] * 3, (False, True, "the container does not run"), id="three times in all"),
    ],
)  # fmt: skip
def test_exec(results: list[ExecResult | None], expected: tuple[bool, bool, str]) -> None:
    programs = Programs(results)
    probe = Probe(exec=ExecAction(command=("check", "$(WORD)", "$(OTHER)")), timeout_seconds=4)
    outcome = asyncio.run(make_prober(programs).attempt(CONTAINER, make_run(), probe))
    assert (outcome.passed, outcome.error, outcome.message) == expected
    assert set(programs.asked) == {(("check", "yes", "$(OTHER)"), 4.0)} and not programs.results


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        pytest.param(Probe(http_get=HTTPGetAction(port="absent")), "invalid port: absent", id="http, an unknown name"),
        pytest.param(Probe(tcp_socket=TCPSocketAction(port="x")), "invalid port: x", id="tcp, an unknown name"),
        pytest.param(Probe(), "missing probe handler", id="nothing to try"),
    ],
)
def test_a_probe_that_cannot_be_made_is_an_error(probe: Probe, message: str) -> None:
    outcome = asyncio.run(make_prober(Programs([])).attempt(CONTAINER, make_run(), probe))
    assert outcome == Outcome(False, message, error=True)


def call(hook: LifecycleHandler, results: Sequence[ExecResult | None] = ()) -> tuple[Outcome, list[Any]]:
    programs = Programs(results)
    return asyncio.run(make_prober(programs).call(CONTAINER, make_run(), hook)), programs.asked


def test_a_hook_runs_its_command_as_it_stands_and_without_a_limit() -> None:
    hook = LifecycleHandler(exec=ExecAction(command=("stop", "$(WORD)")))
    outcome, asked = call(hook, [GOOD])
    assert outcome.passed and asked == [(("stop", "$(WORD)"), None)]
    assert not call(hook, [BAD])[0].passed
    assert not call(hook, [None])[0].passed, "and is not tried again"


def test_other_hooks() -> None:
    assert call(LifecycleHandler(sleep=SleepAction(seconds=0)))[0].passed
    assert not call(LifecycleHandler(http_get=HTTPGetAction(port="absent")))[0].passed
    assert call(LifecycleHandler())[0].error


def test_what_an_http_server_answers_to_a_hook_does_not_matter() -> None:
    async def run() -> tuple[Outcome, bytes]:
        asked = b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        hook = LifecycleHandler(http_get=HTTPGetAction(port=port, path="/bye"))
        try:
            return await make_prober(Programs([])).call(CONTAINER, make_run(), hook), asked
        finally:
            server.close()
            await server.wait_closed()

    outcome, asked = asyncio.run(run())
    assert outcome.passed and asked.startswith(b"GET /bye ") and b"User-Agent: kube-lifecycle/1.36\r\n" in asked
