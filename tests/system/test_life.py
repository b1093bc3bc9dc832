"""Start, stop, start again; and what is said when it cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.system.running import EXAMPLES, Up, free_port, seaway, until

SERVICE = json.dumps(
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kept"}, "spec": {"ports": [{"port": 80}]}}
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(seaway(*arguments), capture_output=True, text=True, timeout=60)


def run_up(*flags: str) -> subprocess.CompletedProcess[str]:
    return run("up", *flags)


def test_a_stop_takes_less_than_five_seconds_and_the_next_start_finds_everything(tmp_path: Path) -> None:
    up = Up(tmp_path).start()
    up.kubectl("apply", "-f", "-", stdin=SERVICE)
    address = up.cluster_ip("kept")
    code, seconds = up.stop()
    assert code == 0
    assert seconds < 5
    up.start()
    try:
        assert up.cluster_ip("kept") == address
    finally:
        up.stop()


def test_a_sandbox_starts_its_pods_again_with_the_addresses_they_had(tmp_path: Path) -> None:
    def addresses() -> dict[str, str]:
        return {p["metadata"]["name"]: p["status"]["podIP"] for p in up.get("pods")["items"]}

    names = ("my-app-1", "my-app-2", "my-app-3")
    up = Up(tmp_path).start()
    up.kubectl("apply", "-f", str(EXAMPLES / "00-programs.yaml"), "-f", str(EXAMPLES / "01-selector.yaml"))
    up.wait_pods(*names)
    before = addresses()
    assert up.stop()[0] == 0
    up.start()
    try:
        vip = f"http://{up.cluster_ip('my-service')}/"
        until(lambda: set(up.ask("fetch", vip, "20")) == set(names), "all three serve again")
        assert addresses() == before
    finally:
        up.stop()


def test_status_shell_kubeconfig_and_down_work_on_what_runs(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path))
    assert run("status", *data).returncode == 1
    assert "start Seaway first" in run("kubeconfig", *data).stderr
    up = Up(tmp_path).start()
    state = json.loads(run("status", *data, "-o", "json").stdout)
    assert (state["ready"], state["way"]) == (True, "sandbox")
    assert set(state["pieces"]) == {"apiserver", "controllers", "relay", "proxy", "dns", "node", "healthcheck"}
    assert run("kubeconfig", *data, "--path").stdout.strip() == str(up.kubeconfig)
    assert run("kubeconfig", *data).stdout == up.kubeconfig.read_text()
    assert run("shell", *data, "--", "sh", "-c", "exit 7").returncode == 7
    assert run("shell", *data, "--", "pwd").stdout.strip() == os.getcwd()
    assert run("shell", *data, "--", "no-such-program").returncode == 127
    assert "stopped" in run("down", *data).stdout
    assert up.stop()[0] == 0
    assert run("status", *data).returncode == 1
    assert "nothing" not in run("down", *data).stdout


def test_a_piece_that_is_killed_starts_again(tmp_path: Path) -> None:
    up = Up(tmp_path).start()
    try:
        for name in ("apiserver", "controllers", "dns"):
            pid = find_piece(name, up)
            os.kill(pid, signal.SIGKILL)
            until(lambda name=name, pid=pid: find_piece(name, up) not in (0, pid), f"{name} starts again")
        until(lambda: "kubernetes" in up.kubectl("get", "services", check=False), "the API answers again")
        address = up.cluster_ip("kubernetes")
        look = lambda: up.ask("dns", "10.96.0.10", "kubernetes.default.svc.cluster.local.", "A")  # noqa: E731
        until(lambda: address in "".join(look()), "DNS answers again")
    finally:
        code, _ = up.stop()
    assert code == 0


def test_nothing_is_left_when_up_itself_is_killed(tmp_path: Path) -> None:
    up = Up(tmp_path).start()
    holder = json.loads((tmp_path / "up.json").read_text())["holder_pid"]
    pieces = [find_piece(name, up) for name in ("apiserver", "controllers", "proxy", "node")]
    assert up.process is not None
    up.process.kill()
    up.process.communicate(timeout=10)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (holder, *pieces)), "all pieces end")
    up.start()
    assert up.stop()[0] == 0


def test_a_second_up_on_the_same_directory_is_refused_in_one_line(up: Up) -> None:
    second = run_up("--data-dir", str(up.data_dir), "--secure-port", str(free_port()))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "in use by process" in second.stderr
    assert "--data-dir" in second.stderr


def test_a_taken_port_is_named_with_the_mend(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run_up("--network", "none", "--data-dir", str(tmp_path), "--secure-port", str(port))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"seaway: API server 127.0.0.1:{port}: Address already in use; stop what listens there or choose "
        "--secure-port and --bind-address\n"
    )


def test_an_unreadable_database_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "seaway.db").write_bytes(b"this is no database at all, not even nearly" * 200)
    flags = ("--network", "none", "--data-dir", str(tmp_path), "--secure-port", str(free_port()))
    refused = run_up(*flags)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "seaway.db" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--service-cidr", "10.96.0.0/33"), "--service-cidr"),
        (("--service-cidr", "10.244.0.0/16"), "overlap"),
        (("--dns-ip", "10.1.1.1"), "--dns-ip"),
        (("--service-cidr", "172.16.0.0/16"), "a range within 10.0.0.0/8 of the loopback map"),
        (("--service-cidr", "10.0.0.0/16"), "127.0.0.0/24 is the host's own"),
        (
            ("--service-cidr", "10.96.0.0/16,fd10:96::/112", "--cluster-cidr", "10.244.0.0/16,fd10:244::/56"),
            "IPv6 found; with --network none there is IPv4 alone",
        ),
    ],
)
def test_bad_flags_are_refused_in_one_line(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    refused = run_up("--network", "none", "--data-dir", str(tmp_path), *flags)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="the host way needs root; run the tests as root")
def test_a_host_without_an_address_is_no_host_way_but_still_a_sandbox(tmp_path: Path) -> None:
    lonely = ["unshare", "-n", *seaway("up", "--data-dir", str(tmp_path), "--secure-port", str(free_port()))]
    refused = subprocess.run([*lonely, "--network", "host"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "no IPv4 address found, one needed for the node" in refused.stderr
    up = Up(tmp_path, network="", prefix=["unshare", "-n"])
    up.start()
    try:
        assert json.loads(run("status", "--data-dir", str(tmp_path), "-o", "json").stdout)["way"] == "sandbox"
    finally:
        up.stop()


def test_usage_errors_have_exit_code_2() -> None:
    assert run_up("--network", "elsewhere").returncode == 2


def find_piece(name: str, up: Up) -> int:
    """The process of the piece under this `up`: the one that writes its log; 0 when there is none."""
    log = str(up.data_dir / "logs" / f"{name}.log")
    for entry in Path("/proc").iterdir():
        try:
            comm = (entry / "comm").read_text().strip() if entry.name.isdigit() else ""
            if comm == f"seaway-{name}"[:15] and os.readlink(entry / "fd/1") == log:
                return int(entry.name)
        except OSError:
            continue
    return 0
