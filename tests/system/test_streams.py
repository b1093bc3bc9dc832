"""What people do with a Pod that runs: logs, exec, attach, cp, port-forward; real clients. Rule: spec "node" §5."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import Up, free_port, until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: tools}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: x
    stdin: true
    command: ["sh", "-c", "echo to out; echo to err >&2; while read l; do echo got $l; done; sleep 1000"]
  - name: web
    image: x
    command: ["python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/usr/share"]
    readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
  - name: terminal
    image: x
    stdin: true
    tty: true
    command: ["sh"]
  - name: twice
    image: x
    command: ["sh", "-c", "echo run $(date +%s%N); sleep 0.3; exit 1"]
"""


@pytest.fixture(scope="module")
def tools(up: Up) -> Up:
    up.kubectl("apply", "-f", "-", stdin=POD)
    until(
        lambda: len(statuses(up)) == 4 and all(s.get("started") for n, s in statuses(up).items() if n != "twice"), "up"
    )
    return up


def statuses(up: Up) -> dict[str, dict[str, object]]:
    return {s["name"]: s for s in up.get("pod", "tools")["status"].get("containerStatuses", [])}


def run(tools: Up, *command: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    kubectl = ["kubectl", "--kubeconfig", str(tools.kubeconfig), *command]
    return subprocess.run(kubectl, input=stdin, capture_output=True, timeout=60)


def test_output_errors_and_the_exit_code_are_the_programs(tools: Up) -> None:
    done = run(tools, "exec", "tools", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert done.stderr.startswith(b"err\n")


def test_what_is_piped_in_comes_out(tools: Up) -> None:
    sent = os.urandom(1_000_000)
    done = run(tools, "exec", "-i", "tools", "-c", "main", "--", "cat", stdin=sent)
    assert (done.returncode, done.stdout == sent) == (0, True)


def test_a_program_that_is_not_there_says_so(tools: Up) -> None:
    done = run(tools, "exec", "tools", "-c", "main", "--", "nosuch")
    assert done.returncode == 1
    assert b"nosuch" in done.stderr


def test_an_exec_sees_what_the_container_sees(tools: Up) -> None:
    done = run(
        tools, "exec", "tools", "-c", "main", "--", "sh", "-c", "hostname; echo $KUBERNETES_SERVICE_PORT; ls /root"
    )
    assert done.stdout == b"tools\n443\n", done.stderr


def test_a_terminal_is_a_terminal_and_its_end_has_a_code(tools: Up) -> None:
    master, slave = pty.openpty()
    command = ["kubectl", "--kubeconfig", str(tools.kubeconfig), "exec", "-it", "tools", "-c", "main", "--", "sh"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        os.write(master, b"tty; exit 5\n")
        shown = read_until(master, b"/dev/pts/0")
        assert process.wait(timeout=30) == 5, shown
    finally:
        process.kill()
        process.wait()
        os.close(master)


def read_until(handle: int, wanted: bytes, seconds: float = 30.0) -> bytes:
    shown, deadline = b"", time.monotonic() + seconds
    while wanted not in shown:
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} not shown in {seconds} s: {shown!r}"
        shown += os.read(handle, 4096)
    return shown


def test_attach_reaches_the_program_itself(tools: Up) -> None:
    command = ["kubectl", "--kubeconfig", str(tools.kubeconfig), "attach", "-i", "tools", "-c", "main"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    try:
        for _ in range(100):  # what is typed before the attachment stands is read as well, once it does
            process.stdin.write(b"typed\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], 0.3)[0]:
                break
        assert os.read(process.stdout.fileno(), 100).startswith(b"got typed\n")
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    until(lambda: "got typed" in tools.kubectl("logs", "tools", "-c", "main"), "the log has it too")


def test_logs_tell_lines_from_their_end_and_with_their_times(tools: Up) -> None:
    lines = tools.kubectl("logs", "tools", "-c", "main").splitlines()
    assert sorted(lines[:2]) == ["to err", "to out"]
    (last,) = tools.kubectl("logs", "tools", "-c", "main", "--tail=1", "--timestamps").splitlines()
    assert last.split(" ", 1)[1] == lines[-1]
    assert tools.kubectl("logs", "tools", "-c", "main", "--limit-bytes=3") == lines[0][:3]


def test_the_log_of_the_run_before_is_kept(tools: Up) -> None:
    until(lambda: int(str(statuses(tools)["twice"]["restartCount"])) >= 1, "it has run twice")
    now, before = (tools.kubectl("logs", "tools", "-c", "twice", *flag) for flag in ((), ("--previous",)))
    assert now.startswith("run ") and before.startswith("run ")
    refused = tools.kubectl("logs", "tools", "-c", "main", "--previous", check=False)
    assert 'previous terminated container "main" in pod "tools" not found' in refused


def test_files_are_copied_both_ways(tools: Up, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(os.urandom(200_000))
    tools.kubectl("cp", "-c", "main", str(tmp_path / "sent"), "tools:/tmp/there")
    tools.kubectl("cp", "-c", "main", "tools:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


@pytest.fixture
def forwarded(tools: Up) -> Iterator[int]:
    port = free_port()
    command = ["kubectl", "--kubeconfig", str(tools.kubeconfig), "port-forward", "pod/tools", f"{port}:8000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        read_until(process.stdout.fileno(), b"Forwarding from")
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_port_of_the_pods_loopback_is_reached(forwarded: int) -> None:
    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{forwarded}/", timeout=30) as answer:
            assert b"Directory listing" in answer.read()


PYTHON_EXEC = """
running = stream(core.connect_get_namespaced_pod_exec, "tools", "default", container="main", stdout=True, stderr=True,
                 command=["sh", "-c", "echo out; echo err >&2; exit 4"], stdin=False, tty=False, _preload_content=False)
running.run_forever(timeout=30)
print(repr((running.read_stdout(), running.read_stderr(), running.returncode)))
"""
PYTHON_FORWARD = """
sock = portforward(core.connect_get_namespaced_pod_portforward, "tools", "default", ports="8000").socket(8000)
sock.setblocking(True)
sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(sock.recv(15).decode())
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        pytest.param(PYTHON_EXEC, "('out\\n', 'err\\n', 4)\n", id="exec"),
        pytest.param(PYTHON_FORWARD, "HTTP/1.0 200 OK\n", id="port-forward"),
    ],
)
def test_the_python_client_speaks_the_older_protocol(tools: Up, program: str, printed: str) -> None:
    """In a process of its own: it leaves its sockets to the collector."""
    head = (
        "import sys; from kubernetes import client, config; from kubernetes.stream import portforward, stream\n"
        "core = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", head + program, str(tools.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == printed, done.stderr


@pytest.mark.parametrize(
    ("profile", "has_net_admin"),
    [
        pytest.param("baseline", False, id="baseline asks for nothing"),
        pytest.param("general", False, id="general runs without SYS_PTRACE, which nobody is given"),
        pytest.param("netadmin", True, id="netadmin may change the Pod's own network"),
    ],
)
def test_debug_adds_a_container_that_sees_the_pods_name(tools: Up, profile: str, has_net_admin: bool) -> None:
    name = f"helper-{profile}"
    debug = ["debug", "tools", "--image=x", f"--profile={profile}", "--attach=false", "-q", "-c", name]
    change = "ip addr add 192.0.2.99/32 dev lo 2>/dev/null && ip addr del 192.0.2.99/32 dev lo && echo changed"
    script = f"hostname; {change}; exit 3"
    done = run(tools, *debug, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr

    def ended() -> object:
        found = tools.get("pod", "tools")["status"].get("ephemeralContainerStatuses") or []
        return next((each["state"].get("terminated") for each in found if each["name"] == name), None)

    terminated = until(ended, "the debugger has ended")
    assert terminated["exitCode"] == 3
    assert run(tools, "logs", "tools", "-c", name).stdout == b"tools\n" + (b"changed\n" if has_net_admin else b"")


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        pytest.param("sysadmin", "privileged containers are not supported on this node", id="sysadmin is privileged"),
        pytest.param(
            "restricted", "container has runAsNonRoot and image will run as root", id="a sandbox has only root"
        ),
    ],
)
def test_what_debug_asks_in_vain_is_said(tools: Up, profile: str, reason: str) -> None:
    name = f"helper-{profile}"
    debug = ["debug", "tools", "--image=x", f"--profile={profile}", "--attach=false", "-q", "-c", name]
    assert run(tools, *debug, "--", "true").returncode == 0

    def waiting() -> object:
        found = tools.get("pod", "tools")["status"].get("ephemeralContainerStatuses") or []
        states = [each["state"].get("waiting", {}).get("message", "") for each in found if each["name"] == name]
        return next((message for message in states if message), None)

    assert reason in str(until(waiting, "the debugger says why"))
