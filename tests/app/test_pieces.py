"""A piece waits for the API server, says once what is wrong, and ends in one line where it can never start."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from seaway.api.machinery.http import Request, Response
from seaway.app import pieces
from seaway.client.requests import Client, TransportError
from seaway.net.errors import OperationalError


class Late:
    """A server that answers from the given attempt on."""

    def __init__(self, attempts: int) -> None:
        self.left = attempts

    async def send(self, request: Request) -> Response:
        self.left -= 1
        if self.left > 0:
            raise TransportError("server: refused")
        return Response(200, (), b"ok")

    async def close(self) -> None:
        return


def test_a_server_that_comes_late_is_waited_for_and_its_absence_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "API_POLL_SECONDS", 0.0001)
    monkeypatch.setattr(pieces, "API_POLL_LONGEST_SECONDS", 0.0002)
    late = Late(20)
    with caplog.at_level(logging.WARNING):
        asyncio.run(pieces.wait_for_api(Client(late)))
    assert late.left == 0
    assert [record.getMessage() for record in caplog.records] == ["api=unreachable error='server: refused'"]


def test_a_kubeconfig_that_is_not_there_is_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match=r"none.kubeconfig: No such file or directory; give another with --kube"):
        pieces.connect(tmp_path / "none.kubeconfig", user_agent="test")


@pytest.mark.parametrize("error", [OperationalError("x: broken; mend it"), PermissionError(1, "denied")])
def test_an_error_that_an_operator_can_mend_ends_a_daemon_with_its_words(error: Exception) -> None:
    said: list[str] = []

    async def fail(on_ready: pieces.Ready) -> None:
        on_ready()
        raise error

    assert pieces.run_daemon(fail, said.append) == 1
    assert said == ["ready", f"fatal {error}"]


def test_work_that_ends_unasked_is_a_bug_and_loud() -> None:
    async def end(on_ready: pieces.Ready) -> None:
        return

    with pytest.raises(RuntimeError, match="nobody asked for it"):
        pieces.run_daemon(end, lambda line: None)
