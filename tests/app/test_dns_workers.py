"""`seaway dns --workers 2` as processes: all answer, and whichever is killed comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from seaway.testing.fixture import Seaway
from tests.dns.test_run import free_port

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
"""
PATIENCE_SECONDS = 60


class Workers:
    def __init__(self, cluster: Seaway) -> None:
        self.port = free_port()
        self.name = f"web.{cluster.namespace}.svc.cluster.local"
        command = [sys.executable, "-m", "seaway", "dns", "--kubeconfig", str(cluster.kubeconfig)]
        command += ["--listen", f"127.0.0.1:{self.port}", "--workers", "2", "--upstreams", ""]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def wait_for(self, words: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return line
        raise AssertionError(f"ended without {words!r}")

    def children(self) -> dict[str, int]:
        """Process ids by name."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(pid) for pid in path.read_text().split()]
        return {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in found}

    def ask(self, name: str) -> list[str]:
        """From sockets of their own, so that each worker is asked."""
        reply = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", timeout=2, port=self.port)
        return [each.address for rrset in reply.answer for each in rrset]

    def ask_until(self, name: str, times: int = 40) -> None:
        """So many answers in a row, so that nobody is left who knows nothing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        in_a_row = 0
        while in_a_row < times:
            assert time.monotonic() < deadline
            try:
                in_a_row = in_a_row + 1 if self.ask(name) else 0
            except (dns.exception.Timeout, OSError):
                in_a_row = 0


@pytest.fixture
def workers(seaway: Seaway) -> Iterator[Workers]:
    seaway.apply(SERVICE)
    found = Workers(seaway)
    try:
        found.wait_for("seaway: ready")
        yield found
    finally:
        found.process.terminate()
        found.process.communicate(timeout=PATIENCE_SECONDS)


def test_workers_answer_and_come_back_when_killed(workers: Workers) -> None:
    children = workers.children()
    assert sorted(children) == ["seaway-dns", "seaway-dns-1"]
    workers.ask_until(workers.name)
    for killed in ("seaway-dns-1", "seaway-dns"):
        os.kill(workers.children()[killed], signal.SIGKILL)
        assert "SIGKILL; starts again" in workers.wait_for(f"{killed.removeprefix('seaway-')}: ")
        workers.wait_for("ready listen=")
        workers.ask_until(workers.name)
    workers.process.terminate()
    assert workers.process.wait(PATIENCE_SECONDS) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children.values())


def test_an_address_that_somebody_has_is_an_error(workers: Workers, seaway: Seaway) -> None:
    command = [sys.executable, "-m", "seaway", "dns", "--kubeconfig", str(seaway.kubeconfig), "--workers", "2"]
    command += ["--listen", f"127.0.0.1:{workers.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 1
    assert f"dns 127.0.0.1:{workers.port}/udp: Address already in use" in done.stderr
