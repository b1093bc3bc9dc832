"""A piece waits for the API server, says once what is wrong, and ends in one line where it can never start."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from seaway.api.machinery.http import Request, Response
from seaway.app import pieces
from seaway.client.requests import Client, TransportError
from seaway.client.transport import HttpTransport
from seaway.net.errors import OperationalError
from tests.client.test_transport import CA, render_pem


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


def account(folder: Path) -> Path:
    """The folder of a service account, as a Pod has it."""
    (folder / "ca.crt").write_text(render_pem(CA[0]))
    token = folder / "token"
    token.write_text("t0\n")
    return token


IN_CLUSTER = {
    "over IPv4": ("10.96.0.1", "", "https://10.96.0.1:443"),
    "over IPv6": ("fd10:96::1", "", "https://[fd10:96::1]:443"),
    "at another server": ("10.96.0.1", "https://192.0.2.1:6443", "https://192.0.2.1:6443"),
}


@pytest.mark.parametrize(("host", "server", "url"), IN_CLUSTER.values(), ids=IN_CLUSTER.keys())
def test_in_a_cluster_a_piece_logs_in_as_its_pod(tmp_path: Path, host: str, server: str, url: str) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    client = pieces.connect_in_cluster(
        user_agent="test", server=server, token_file=account(tmp_path), environment=environment
    )
    transport = client.transport
    assert isinstance(transport, HttpTransport)
    assert transport.server == url


def test_outside_of_a_cluster_a_kubeconfig_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match=r"token: No such file or directory; give --kubeconfig"):
        pieces.connect_in_cluster(user_agent="test", token_file=tmp_path / "token", environment={})
    with pytest.raises(OperationalError, match=r"KUBERNETES_SERVICE_PORT are not set; give --kubeconfig"):
        pieces.connect_in_cluster(user_agent="test", token_file=account(tmp_path), environment={})


def test_the_file_of_a_token_is_found_beside_its_kubeconfig(tmp_path: Path) -> None:
    account(tmp_path)
    file = tmp_path / "config"
    file.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://k:1', certificate-authority: ca.crt}}]\n"
        "users: [{name: u, user: {tokenFile: token}}]\n"
    )
    transport = pieces.connect(file, user_agent="test").transport
    assert isinstance(transport, HttpTransport)
    assert transport.token_file == tmp_path / "token"


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


def test_a_second_signal_does_not_break_off_what_the_first_began() -> None:
    """A process group gets one, and a supervisor sends another."""
    steps: list[str] = []

    async def work(on_ready: Callable[[], None]) -> None:
        on_ready()
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            steps.append("begun")
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(100):
                await asyncio.sleep(0)
            steps.append("done")

    assert pieces.run_daemon(work, steps.append) == 0
    assert steps == ["ready", "begun", "done"]
