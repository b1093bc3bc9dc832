"""The host way, on a host that is a network and mount namespace of its own: made here, and counted afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import EXAMPLES, Up, free_port, seaway, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the host way needs root; run the tests as root")

HOST = "seaway-test-host"
HOST_IP = "192.0.2.10"
OUTSIDE_IP = "192.0.2.1"
OUTSIDE = "seaway-test-outside"


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def host() -> Iterator[list[str]]:
    """A host with an uplink to another machine; the prefix runs a command on it."""
    for name in (HOST, OUTSIDE):
        ip("netns", "add", name)
    try:
        ip("link", "add", "up0", "netns", HOST, "type", "veth", "peer", "name", "up0", "netns", OUTSIDE)
        for name, address in ((HOST, HOST_IP), (OUTSIDE, OUTSIDE_IP)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "up0")
            ip("-n", name, "link", "set", "up0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", HOST, "route", "add", "default", "via", OUTSIDE_IP)
        yield ["ip", "netns", "exec", HOST]
    finally:
        for name in (HOST, OUTSIDE):
            ip("netns", "del", name)


@pytest.fixture(scope="module")
def up(host: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(Path(tmp_path_factory.mktemp("host")), network="host", prefix=host, port=free_port()).start()
    try:
        running.kubectl("apply", "-f", str(EXAMPLES))
        running.wait_pods("my-app-1", "my-app-2", "my-app-3", "client")
        yield running
    finally:
        running.stop()
        running.run(*seaway("down", "--data-dir", str(running.data_dir)))


def fetch(up: Up, url: str, count: int = 30) -> dict[str, int]:
    shares: dict[str, int] = up.ask("fetch", url, str(count))
    return shares


APPS = {"my-app-1", "my-app-2", "my-app-3"}


def test_the_host_itself_reaches_the_virtual_ip_and_the_node_port(up: Up) -> None:
    assert set(fetch(up, f"http://{up.cluster_ip('my-service')}/")) == APPS
    assert set(fetch(up, f"http://{HOST_IP}:30007/")) == APPS


def test_another_machine_reaches_the_node_port(up: Up) -> None:
    command = [sys.executable, str(EXAMPLES / "node_side.py"), "fetch", f"http://{HOST_IP}:30007/", "30"]
    done = subprocess.run(["ip", "netns", "exec", OUTSIDE, *command], capture_output=True, text=True, timeout=60)
    assert set(json.loads(done.stdout)) == APPS, done


def test_a_pod_resolves_and_reaches_the_service_by_name(up: Up) -> None:
    client = up.get("pod", "client")["status"]["podIP"]
    assert set(up.ask("get", f"http://{client}:8000/fetch?url=http://my-service/&count=30")) == APPS


def test_a_pod_reaches_the_api_as_the_service_kubernetes(up: Up) -> None:
    client = up.get("pod", "client")["status"]["podIP"]
    found = up.ask("get", f"http://{client}:8000/lookup?name=kubernetes.default")
    assert found == [up.cluster_ip("kubernetes")]
    code = f"import socket; socket.create_connection(('{found[0]}', 443), 3)"
    up.inside(sys.executable, "-c", code)


def test_stopping_leaves_pods_and_rules_and_the_next_start_finds_them(up: Up) -> None:
    before = {p["metadata"]["name"]: p["status"]["podIP"] for p in up.get("pods")["items"]}
    vip = up.cluster_ip("my-service")
    code, seconds = up.stop()
    assert code == 0
    assert seconds < 5
    command = [sys.executable, str(EXAMPLES / "node_side.py"), "fetch", f"http://{vip}/", "30"]
    served = subprocess.run([*up.prefix, *command], capture_output=True, text=True, timeout=60)
    assert set(json.loads(served.stdout)) == APPS, served
    up.start()
    up.wait_pods(*APPS)
    pods = {p["metadata"]["name"]: p for p in up.get("pods")["items"]}
    assert {name: p["status"]["podIP"] for name, p in pods.items()} == before
    assert all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in pods.values())


def test_down_removes_every_trace(host: list[str], tmp_path: Path) -> None:
    def traces() -> list[str]:
        links = ip("-n", HOST, "-br", "link").split("\n")
        routes = ip("-n", HOST, "route").split("\n")
        tables = subprocess.run([*host, "nft", "list", "tables"], capture_output=True, text=True).stdout.split("\n")
        shims = [c for c in read_commands() if str(tmp_path) in c]
        return sorted(line.split("@")[0] for line in (*links, *routes, *tables, *shims) if line)

    before = traces()
    up = Up(tmp_path, network="host", prefix=host).start(
        "--service-cidr", "10.97.0.0/16", "--cluster-cidr", "10.245.0.0/16"
    )
    up.kubectl("apply", "-f", str(EXAMPLES / "00-programs.yaml"), "-f", str(EXAMPLES / "01-selector.yaml"))
    up.wait_pods(*APPS)
    assert traces() != before
    up.run(*seaway("down", "--data-dir", str(tmp_path)))
    until(lambda: up.process is not None and up.process.poll() is not None, "up has ended")
    assert traces() == before
    assert not (tmp_path / "node").exists()


def read_commands() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found
