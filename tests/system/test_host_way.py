"""The host way, on a host that is a network and mount namespace of its own: made here, and counted afterwards."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seaway.node.runtime.images.archive import ARCHITECTURES
from tests.node.runtime.images.archives import Entry, ImageMaker, make_busybox
from tests.system.running import EXAMPLES, HOST_IP, OUTSIDE_IP, Up, free_port, ip, open_host, seaway

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the host way needs root; run the tests as root")

BUSYBOX = shutil.which("busybox")
HOST, OUTSIDE = "seaway-test-host", "seaway-test-outside"
OTHER_HOST, OTHER_OUTSIDE = "seaway-test-host-2", "seaway-test-outside-2"
SAYS_WHO_ASKED = """
import json, socket
with socket.create_server(("", 7070)) as server:
    print("listening", flush=True)
    while True:
        connection, peer = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + json.dumps({"pod": peer[0]}).encode())
"""


@pytest.fixture(scope="module")
def host() -> Iterator[list[str]]:
    with open_host(HOST, OUTSIDE) as prefix:
        yield prefix


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


def fetch_from(namespace: str, url: str) -> set[str]:
    """Who answers a program that knows nothing of Seaway."""
    command = [sys.executable, str(EXAMPLES / "node_side.py"), "fetch", url, "30"]
    done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    return set(json.loads(done.stdout))


def forwards(namespace: str) -> str:
    """The forwarding switch of the uplink."""
    command = ["ip", "netns", "exec", namespace, "cat", "/proc/sys/net/ipv4/conf/up0/forwarding"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


APPS = {"my-app-1", "my-app-2", "my-app-3"}


def test_the_host_itself_reaches_the_virtual_ip_and_the_node_port(up: Up) -> None:
    assert set(fetch(up, f"http://{up.cluster_ip('my-service')}/")) == APPS
    assert set(fetch(up, f"http://{HOST_IP}:30007/")) == APPS


def test_another_machine_reaches_the_node_port(up: Up) -> None:
    assert fetch_from(OUTSIDE, f"http://{HOST_IP}:30007/") == APPS


def test_a_pod_reaches_another_machine_which_sees_the_host(up: Up) -> None:
    client = up.get("pod", "client")["status"]["podIP"]
    command = ["ip", "netns", "exec", OUTSIDE, sys.executable, "-c", SAYS_WHO_ASKED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == "listening\n"
            seen = up.ask("get", f"http://{client}:8000/fetch?url=http://{OUTSIDE_IP}:7070/&count=3")
        finally:
            server.kill()
    assert seen == {HOST_IP: 3}


def test_a_pod_resolves_and_reaches_the_service_by_name(up: Up) -> None:
    client = up.get("pod", "client")["status"]["podIP"]
    assert set(up.ask("get", f"http://{client}:8000/fetch?url=http://my-service/&count=30")) == APPS


def test_a_pod_reaches_the_api_as_the_service_kubernetes(up: Up) -> None:
    client = up.get("pod", "client")["status"]["podIP"]
    found = up.ask("get", f"http://{client}:8000/lookup?name=kubernetes.default")
    assert found == [up.cluster_ip("kubernetes")]
    code = f"import socket; socket.create_connection(('{found[0]}', 443), 3)"
    up.inside(sys.executable, "-c", code)


@pytest.mark.skipif(BUSYBOX is None, reason="busybox is not installed; install the package busybox-static")
def test_a_pod_from_an_image_runs_as_the_images_user_with_files_of_its_own(up: Up, tmp_path: Path) -> None:
    assert BUSYBOX is not None
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    layer = make_busybox(
        Path(BUSYBOX).read_bytes(), ("sh", "id", "ls", "stat", "sleep"), Entry("mine", uid=101, gid=102)
    )
    maker = ImageMaker([layer], {"Cmd": ["/bin/sleep", "1000"], "User": "web"}, architecture=machine)
    archive = str(maker.write_layout(tmp_path / "image.tar"))
    up.run(*seaway("image", "import", "--data-dir", str(up.data_dir), "--name", "example.com/mine", archive))
    up.kubectl("run", "from-image", "--image=example.com/mine", "--image-pull-policy=Never")
    up.wait_pods("from-image")
    look = "id -u; id -g; stat -c %u:%g /mine; [ -e /home ] || echo alone"
    said = up.kubectl("exec", "from-image", "--", "/bin/sh", "-c", look)
    assert said.splitlines() == ["101", "102", "101:102", "alone"]
    up.kubectl("delete", "pod", "from-image", "--grace-period=1")


def test_stopping_leaves_pods_and_rules_and_the_next_start_finds_them(up: Up) -> None:
    before = {p["metadata"]["name"]: p["status"]["podIP"] for p in up.get("pods")["items"]}
    vip = up.cluster_ip("my-service")
    code, seconds = up.stop()
    assert code == 0
    assert seconds < 5
    assert fetch_from(HOST, f"http://{vip}/") == APPS
    assert fetch_from(OUTSIDE, f"http://{HOST_IP}:30007/") == APPS
    up.start()
    up.wait_pods(*APPS)
    pods = {p["metadata"]["name"]: p for p in up.get("pods")["items"]}
    assert {name: p["status"]["podIP"] for name, p in pods.items()} == before
    assert all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in pods.values())


def test_down_removes_every_trace(tmp_path: Path) -> None:
    def traces() -> list[str]:
        links = ip("-n", OTHER_HOST, "-br", "link").split("\n")
        routes = ip("-n", OTHER_HOST, "route").split("\n")
        tables = ip("netns", "exec", OTHER_HOST, "nft", "list", "tables").split("\n")
        shims = [c for c in read_commands() if str(tmp_path) in c]
        switch = f"forwarding {forwards(OTHER_HOST)}"
        return sorted(line.split("@")[0] for line in (*links, *routes, *tables, *shims, switch) if line)

    with open_host(OTHER_HOST, OTHER_OUTSIDE) as prefix:
        before = traces()
        up = Up(tmp_path, network="host", prefix=prefix).start(
            "--service-cidr", "10.97.0.0/16", "--cluster-cidr", "10.245.0.0/16"
        )
        try:
            up.kubectl("apply", "-f", str(EXAMPLES / "00-programs.yaml"), "-f", str(EXAMPLES / "01-selector.yaml"))
            up.wait_pods(*APPS)
            assert forwards(OTHER_HOST) == "1"
        finally:
            down = up.run(*seaway("down", "--data-dir", str(tmp_path)), check=False)
            up.stop()
        assert down.returncode == 0, down.stderr
        assert traces() == before
        assert "forwarding 0" in before
        assert not (tmp_path / "node").exists()
        assert not (tmp_path / "uplinks.json").exists()


def read_commands() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found
