"""`seaway up --network none` as somebody with no rights at all, on a host where no namespace can be made.

The host is a network namespace with nothing but loopback, in a user namespace that allows no other: there the way is
chosen by itself. Ports below 1024 may not be bound in it.
Rule: issue "the userspace data plane", 1, 4 and 6.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from seaway.testing.ordinary_user import as_ordinary_user
from tests.system.running import EXAMPLES, ROOT, Up, free_port, seaway, until

TOOLS = ("unshare", "nsenter", "ip")
missing = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"{missing} not found; install the packages of .ci/run")

APPS = ("my-app-1", "my-app-2", "my-app-3")
INSIDE = "echo 0 >/proc/sys/user/max_user_namespaces && ip link set lo up && echo ready && exec sleep infinity"
USER = "1000"


@contextlib.contextmanager
def open_bare_host(home: Path) -> Iterator[list[str]]:
    """The prefix runs a command on the host, as a user who has no rights there. home: becomes that user's."""
    make = ["unshare", "-U", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps", "-n", "sh", "-c", INSIDE]
    command = as_ordinary_user(make, home=home, needed=[ROOT])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != "ready\n":
                holder.kill()
                pytest.skip(f"no bare host can be made here: {holder.communicate()[1].strip()}")
            identity = ["-S", USER, "-G", USER] if os.geteuid() == 0 else ["--preserve-credentials"]
            mount = ["-m"] if os.geteuid() == 0 else []
            yield ["nsenter", "-t", str(holder.pid), *mount, "-n", "-U", *identity]
        finally:
            holder.kill()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o755)
    with open_bare_host(home) as prefix:
        yield home, prefix


@pytest.fixture(scope="module")
def up(host: tuple[Path, list[str]]) -> Iterator[Up]:
    home, prefix = host
    running = Up(home / "data", network="", prefix=prefix, port=free_port())
    running.start()
    try:
        running.kubectl("apply", "-f", str(EXAMPLES))
        running.wait_pods(*APPS, "client")
        yield running
    finally:
        code, seconds = running.stop()
        assert code == 0
        assert seconds < 5


def status(up: Up) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(up.run(*seaway("status", "--data-dir", str(up.data_dir), "-o", "json")).stdout)
    return found


def find_places(up: Up, service: str) -> dict[str, str]:
    """Where the frontends of the Service are, as `seaway status` says."""
    return {each["frontend"]: each["at"] for each in status(up)["services"] if each["service"] == service}


def find_place(up: Up, service: str = "my-service") -> str:
    """Of the first of them, once somebody answers there."""
    (place, *_) = find_places(up, f"default/{service}").values()
    return place


def fetch(up: Up, place: str, count: int = 20) -> dict[str, int]:
    found: dict[str, int] = up.ask("fetch", f"http://{place}/", str(count))
    return found


def test_the_way_is_chosen_by_itself_and_the_reason_is_said(up: Up) -> None:
    state = status(up)
    assert (state["way"], state["ready"]) == ("none", True)
    assert "root needed" in state["reason"]
    assert "user.max_user_namespaces" in state["reason"]
    assert set(state["pieces"]) == {"apiserver", "controllers", "proxy", "dns", "node"}


def test_objects_look_as_always(up: Up) -> None:
    assert up.cluster_ip("kubernetes") == "10.96.0.1"
    pods = up.get("pods")["items"]
    assert {p["status"]["podIP"].rpartition(".")[0] for p in pods} == {"10.244.0"}
    node = up.get("nodes")["items"][0]
    assert [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"] == ["10.95.0.1"]


def test_a_service_is_served_at_a_free_port_of_its_loopback_address(up: Up) -> None:
    address = up.cluster_ip("my-service")
    place = find_place(up)
    host, _, port = place.rpartition(":")
    assert host == address.replace("10.", "127.", 1)
    assert int(port) >= 1024, "port 80 may not be bound by this user"
    annotation = up.get("service", "my-service")["metadata"]["annotations"]["seaway.dev/served-at"]
    assert annotation == f"{address}:80/TCP={place}"
    assert set(fetch(up, place, 30)) == set(APPS)


def test_a_node_port_is_at_localhost(up: Up) -> None:
    assert set(fetch(up, "127.0.0.1:30007", 30)) == set(APPS)
    assert find_places(up, "default/my-node-port")["10.95.0.1:30007/TCP"] == "127.0.0.1:30007"


def test_dns_tells_what_works(up: Up) -> None:
    server = status(up)["dns"]

    def ask(name: str, kind: str) -> list[list[str]]:
        return [line.split()[4:] for line in up.ask("dns", server, name, kind)]

    place = find_place(up)
    host, _, _ = place.rpartition(":")
    assert ask("my-service.default.svc.cluster.local.", "A") == [[host]]
    assert ask("my-service.default.svc.cluster.local.", "AAAA") == []
    pods = {
        p["status"]["podIP"].replace("10.", "127.", 1)
        for p in up.get("pods", "-l", "app.kubernetes.io/name=MyApp")["items"]
    }
    assert {line[0] for line in ask("my-headless.default.svc.cluster.local.", "A")} == pods
    (srv,) = ask("_http._tcp.my-two-ports.default.svc.cluster.local.", "SRV")
    assert find_places(up, "default/my-two-ports")[f"{up.cluster_ip('my-two-ports')}:80/TCP"].endswith(f":{srv[2]}")
    reverse = ".".join(reversed(host.split("."))) + ".in-addr.arpa."
    assert ask(reverse, "PTR") == [["my-service.default.svc.cluster.local."]]


def test_dns_is_a_service_too(up: Up) -> None:
    place = find_places(up, "kube-system/kube-dns")["10.96.0.10:53/UDP"]
    assert place.startswith("127.96.0.10:")
    assert up.ask("dns", place, "kubernetes.default.svc.cluster.local.", "A")[0].endswith("127.96.0.1")


def test_the_api_is_reached_as_a_service_with_its_certificate(up: Up) -> None:
    place = find_places(up, "default/kubernetes")["10.96.0.1:443/TCP"]
    ca = str(up.data_dir / "pki" / "ca.crt")
    program = f"import ssl, urllib.request as u; print(u.urlopen('https://{place}/readyz', " \
        f"context=ssl.create_default_context(cafile={ca!r})).read().decode())"  # fmt: skip
    assert up.run(sys.executable, "-c", program).stdout.strip() == "ok"


def test_kubectl_reaches_pods_by_logs_exec_proxy_and_port_forward(up: Up) -> None:
    assert up.kubectl("exec", "my-app-1", "--", "sh", "-c", "echo $HOSTNAME").strip() == "my-app-1"
    assert up.kubectl("logs", "my-app-1") == ""
    raw = up.kubectl("get", "--raw", "/api/v1/namespaces/default/services/my-service:80/proxy/")
    assert json.loads(raw)["pod"] in APPS
    raw = up.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/my-app-2:9376/proxy/")
    assert json.loads(raw)["pod"] == "my-app-2"
    port = free_port()
    kubectl = [*up.prefix, shutil.which("kubectl") or "kubectl", "--kubeconfig", str(up.kubeconfig)]
    with subprocess.Popen(
        [*kubectl, "port-forward", "svc/my-service", f"{port}:80"], stdout=subprocess.PIPE
    ) as forward:
        try:
            assert forward.stdout is not None
            assert b"Forwarding from" in forward.stdout.readline()
            assert set(fetch(up, f"127.0.0.1:{port}", 2)) <= set(APPS)
        finally:
            forward.terminate()


def test_a_deployment_is_scaled_and_its_service_follows(up: Up) -> None:
    container = {
        "name": "app",
        "image": "python:3-alpine",
        "workingDir": "/programs",
        "command": ["python3", "serve.py", "9376"],
        "readinessProbe": {"httpGet": {"port": 9376}, "periodSeconds": 1},
        "volumeMounts": [{"name": "programs", "mountPath": "/programs"}],
    }
    volume = {"name": "programs", "configMap": {"name": "programs"}}
    template = {
        "metadata": {"labels": {"app": "scaled"}},
        "spec": {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "scaled"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scaled"}, "spec": spec}
    up.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
    up.kubectl("expose", "deployment", "scaled", "--port", "8080", "--target-port", "9376")
    up.kubectl("rollout", "status", "deployment/scaled", "--timeout=30s")
    place = f"{up.cluster_ip('scaled').replace('10.', '127.', 1)}:8080"
    assert find_place(up, "scaled") == place, "a port that may be bound is the Service's own"
    until(lambda: len(fetch(up, place)) == 1 and all("error" not in who for who in fetch(up, place)), "one serves")
    up.kubectl("scale", "deployment/scaled", "--replicas=3")
    up.kubectl("rollout", "status", "deployment/scaled", "--timeout=30s")
    until(lambda: len(fetch(up, place, 40)) == 3, "three serve")
    up.kubectl("scale", "deployment/scaled", "--replicas=0")
    until(lambda: all("refused" in who for who in fetch(up, place, 3)), "a Service without endpoints refuses")
    up.kubectl("delete", "deployment/scaled", "service/scaled")
    until(lambda: not find_listeners(up, place), "nobody listens where the Service was")


def find_listeners(up: Up, place: str) -> str:
    return up.run("ss", "-Hltn", "src", place).stdout


def test_a_program_that_dies_is_out_at_once_and_comes_back(up: Up) -> None:
    place = find_place(up)
    restarts = lambda: up.get("pod", "my-app-2")["status"]["containerStatuses"][0]["restartCount"]  # noqa: E731
    before = restarts()
    up.ask("kill", "my-app-2", str(up.data_dir))
    until(lambda: restarts() > before, "the program is started again")
    until(lambda: set(fetch(up, place, 30)) == set(APPS), "all three serve again")


@pytest.mark.parametrize("piece", ["proxy", "dns", "node"])
def test_a_piece_that_is_killed_starts_again_and_serves(up: Up, piece: str) -> None:
    place = find_place(up)
    started = {
        p["metadata"]["name"]: p["status"]["containerStatuses"][0]["containerID"] for p in up.get("pods")["items"]
    }
    pid = find_piece(piece, up)
    os.kill(pid, signal.SIGKILL)
    until(lambda: find_piece(piece, up) not in (0, pid), f"{piece} starts again")
    until(lambda: set(fetch(up, place, 30)) == set(APPS), "all three serve")
    assert find_place(up) == place, "a port that was chosen stays"
    server = status(up)["dns"]
    until(
        lambda: (
            up.run(*node_side("dns", server, "my-service.default.svc.cluster.local.", "A"), check=False).stdout.strip()
            not in ("", "[]")
        ),
        "DNS answers",
    )
    now = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["containerID"] for p in up.get("pods")["items"]}
    assert now == started, "Pods outlive the agent"


def node_side(*arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / "node_side.py"), *arguments]


def find_piece(name: str, up: Up) -> int:
    """The process of the piece of this `up`; 0 when there is none."""
    assert up.process is not None
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or (entry / "comm").read_text().strip() != f"seaway-{name}"[:15]:
                continue
            if os.readlink(entry / "fd/1") == str(up.data_dir / "logs" / f"{name}.log"):
                return int(entry.name)
        except OSError:
            continue
    return 0


def list_processes(data_dir: Path) -> Sequence[str]:
    """Of this Seaway: what has its directory among its arguments or in its environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(data_dir).encode() in (
                (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            ):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_the_demo_takes_this_way_by_itself_beside_another_seaway(up: Up) -> None:
    done = up.run(sys.executable, str(EXAMPLES / "demo.py"))
    assert "no sandbox: tried and refused" in done.stdout
    assert "10.96.0.0/14 is served as 127." in done.stdout
    assert "0 after its removal" in done.stdout
    assert "all of it held" in done.stdout


def test_a_stop_leaves_nothing_and_the_next_start_has_the_same_addresses(host: tuple[Path, list[str]], up: Up) -> None:
    """Last in this module: it stops what the others use, and starts it again."""
    pods = {p["metadata"]["name"]: p["status"]["podIP"] for p in up.get("pods")["items"]}
    place = find_place(up)
    code, seconds = up.stop()
    assert (code, seconds < 5) == (0, True)
    until(lambda: not list_processes(up.data_dir), "no process is left")
    assert up.run("ss", "-Hltun").stdout == "", "nobody listens"
    up.start()
    until(lambda: set(fetch(up, find_place(up), 30)) == set(APPS), "all three serve again")
    assert {p["metadata"]["name"]: p["status"]["podIP"] for p in up.get("pods")["items"]} == pods
    assert find_place(up) == place


def test_down_ends_the_pods_of_an_agent_that_was_killed(host: tuple[Path, list[str]], up: Up) -> None:
    assert up.process is not None
    parent, agent = status(up)["pid"], find_piece("node", up)
    for pid, number in ((parent, signal.SIGSTOP), (agent, signal.SIGKILL), (parent, signal.SIGKILL)):
        os.kill(pid, number)
    up.process.communicate(timeout=20)
    assert list_processes(up.data_dir), "the Pods are there, and wait for another agent"
    printed = up.run(*seaway("down", "--data-dir", str(up.data_dir))).stdout
    assert "removed  Pods\n" in printed
    assert not list_processes(up.data_dir)
    up.start()
    until(lambda: set(fetch(up, find_place(up), 30)) == set(APPS), "all three serve again")


def test_nothing_is_left_when_up_itself_is_killed(host: tuple[Path, list[str]], up: Up) -> None:
    """The agent has been told by the kernel that its parent is gone, and ends its Pods."""
    assert up.process is not None
    os.kill(status(up)["pid"], signal.SIGKILL)
    up.process.communicate(timeout=20)
    until(lambda: not list_processes(up.data_dir), "no process is left")
    until(lambda: up.run("ss", "-Hltun").stdout == "", "nobody listens")
    up.start()
    until(lambda: set(fetch(up, find_place(up), 30)) == set(APPS), "all three serve again")
