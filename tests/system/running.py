"""A running `seaway up` as tests see it: a process, a data directory, kubectl, and a way inside."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
READY_SECONDS = 30.0


def seaway(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "seaway", *arguments]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(look: Any, what: str, seconds: float = READY_SECONDS) -> Any:
    """What `look` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)  # polls a real system
    return found


@dataclass
class Up:
    """`prefix` is put before every command that must run where the host is (a namespace, another user)."""

    data_dir: Path
    network: str = "sandbox"
    prefix: Sequence[str] = ()
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self, *flags: str) -> Up:
        self.port = self.port or free_port()
        ready = self.data_dir / "ready"
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                *self.prefix,
                *seaway("up", *(("--network", self.network) if self.network else ()), "--data-dir", str(self.data_dir)),
                *("--secure-port", str(self.port), "--ready-file", str(ready), *flags),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process = self.process
        until(lambda: ready.exists() or process.poll() is not None, "seaway up is ready")
        assert process.poll() is None, process.communicate()
        return self

    def stop(self) -> tuple[int, float]:
        """The exit code, and the seconds that it took."""
        assert self.process is not None
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - begun

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "admin.kubeconfig"

    def run(
        self, *command: str, check: bool = True, stdin: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, input=stdin, timeout=120, **options
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        """What kubectl printed; on failure (without check) its errors."""
        program = shutil.which("kubectl")
        assert program, "kubectl is not installed; install the package kubernetes-client"
        done = self.run(program, "--kubeconfig", str(self.kubeconfig), *arguments, check=check, stdin=stdin)
        return done.stdout if done.returncode == 0 else done.stderr

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def inside(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command where Services can be reached."""
        return self.run(*seaway("shell", "--data-dir", str(self.data_dir), "--"), *command, check=check)

    def ask(self, action: str, *arguments: str) -> Any:
        """One action of examples/node_side.py, where Services can be reached."""
        return json.loads(self.inside(sys.executable, str(EXAMPLES / "node_side.py"), action, *arguments).stdout)

    def wait_pods(self, *names: str) -> None:
        """Until the Pods are ready, and endpoints of the Services that select them: that is a moment later."""

        def ready() -> bool:
            pods = {p["metadata"]["name"]: p for p in self.get("pods")["items"]}
            return all(n in pods and is_ready(pods[n]) for n in names)

        def selected() -> set[tuple[str, str]]:
            """(Service, Pod), as it should be."""
            labels = {p["metadata"]["name"]: p["metadata"].get("labels", {}).items() for p in self.get("pods")["items"]}
            return {
                (service["metadata"]["name"], name)
                for service in self.get("services")["items"]
                if (selector := service["spec"].get("selector")) and service["spec"]["type"] != "ExternalName"
                for name in names
                if selector.items() <= labels[name]
            }

        def served() -> set[tuple[str, str]]:
            return {
                (
                    piece["metadata"].get("labels", {}).get("kubernetes.io/service-name", ""),
                    endpoint["targetRef"]["name"],
                )
                for piece in self.get("endpointslices")["items"]
                for endpoint in piece.get("endpoints") or ()
                if endpoint["conditions"].get("ready") and "targetRef" in endpoint
            }

        until(ready, f"Pods {names} are ready")
        wanted = selected()
        until(lambda: wanted <= served(), f"{sorted(wanted)} are in EndpointSlices")

    def cluster_ip(self, service: str) -> str:
        return str(self.get("service", service)["spec"]["clusterIP"])


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


HOST_IP = "192.0.2.10"
OUTSIDE_IP = "192.0.2.1"
HOST_IP6, OUTSIDE_IP6 = "2001:db8::10", "2001:db8::1"


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@contextlib.contextmanager
def open_host(name: str, outside: str, *, has_ipv6: bool = False) -> Iterator[list[str]]:
    """A host with an uplink to another machine; the prefix runs a command on it. has_ipv6: as far as that machine."""
    for namespace in (name, outside):
        ip("netns", "add", namespace)
    try:
        ip("link", "add", "up0", "netns", name, "type", "veth", "peer", "name", "up0", "netns", outside)
        for namespace, address in ((name, HOST_IP), (outside, OUTSIDE_IP)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", "up0")
            ip("-n", namespace, "link", "set", "up0", "up")
            ip("-n", namespace, "link", "set", "lo", "up")
            # a new namespace takes over what this machine does
            ip("netns", "exec", namespace, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
        ip("-n", name, "route", "add", "default", "via", OUTSIDE_IP)
        if has_ipv6:
            for namespace, address in ((name, HOST_IP6), (outside, OUTSIDE_IP6)):
                ip("-n", namespace, "address", "add", f"{address}/64", "dev", "up0", "nodad")
            ip("-n", name, "route", "add", "default", "via", OUTSIDE_IP6)
        yield ["ip", "netns", "exec", name]
    finally:
        for namespace in (name, outside):
            ip("netns", "del", namespace)
