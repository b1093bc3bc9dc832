"""Runs inside namespaces of its own, as root: an API server, and the agent as a process that is killed again and again.

`python -m tests.kernel.node_killed DIRECTORY`. A line of JSON per scenario.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import EVENTS, NODES, PODS
from seaway.client.kubeconfig import parse_kubeconfig
from seaway.client.requests import Client
from seaway.client.transport import open_client
from seaway.node.cgroups.plan import name_groups
from seaway.node.run import remove_pods
from seaway.node.runtime.images.store import ImageStore
from seaway.testing.builders import make_pod
from seaway.testing.server import SeawayServer
from tests.kernel.node_program import NODE, NODE_IP, container_of, find_processes, is_ready, list_links
from tests.node.runtime.images.archives import ImageMaker, make_busybox

Json = dict[str, Any]
Look = Callable[[], Any]
PATIENCE_SECONDS = 20.0
BUSYBOX, CRUN = shutil.which("busybox"), shutil.which("crun", path="/usr/local/bin:/usr/bin:/bin")
BOX = "example.com/box:1"
HELD = "sleep\x00617"
"""The command line of a runtime that stands still."""
_RUNTIME = """#!/bin/sh
hold=$(cat {shared}/hold 2>/dev/null)
[ "$hold" = before ] && exec sleep 617
{crun} "$@" || exit $?
[ "$hold" = after ] && exec sleep 617
exit 0
"""


class Lacking(Exception):
    """What a scenario needs is not on this host."""


class Host:
    """The agent's process, and what can be seen of its work from outside."""

    def __init__(self, client: Client, kubeconfig: Path, directory: Path) -> None:
        self.client = client
        self.uids: list[str] = []
        self.state_dir = directory / "data" / "node"
        self.shared = directory / "shared"
        self.shared.mkdir(mode=0o777)
        self.shared.chmod(0o777)
        self._command = [sys.executable, "-m", "seaway", "node", "--kubeconfig", str(kubeconfig)]
        self._command += ["--data-dir", str(directory / "data"), "--node-name", NODE, "--node-ip", NODE_IP]
        self._command += ["--oci-runtime", self._make_runtime(directory) if CRUN else "none"]
        self._log = (directory / "agent.log").open("ab")
        self._agent: subprocess.Popen[bytes] | None = None

    def _make_runtime(self, directory: Path) -> str:
        """crun, which stands still before or after its work while the file `hold` says so."""
        program = directory / "crun-held"
        program.write_text(_RUNTIME.format(shared=self.shared, crun=CRUN))
        program.chmod(0o755)
        return str(program)

    def import_box(self) -> None:
        """An image with a shell."""
        if not CRUN or not BUSYBOX:
            raise Lacking("crun or busybox is not installed; install the packages crun and busybox-static")
        layer = make_busybox(Path(BUSYBOX).read_bytes(), ("sh", "sleep", "echo"))
        maker = ImageMaker([layer], {"Env": ["PATH=/bin"]}, names=(BOX,))
        archive = maker.write_saved(self.shared / "box.tar")
        ImageStore(self.state_dir.parent / "images").import_archive(archive, machine=platform.machine())
        archive.unlink()

    def read_traces(self) -> dict[str, Any]:
        """What Pods and runtimes leave where somebody sees it."""
        states = [path for name in ("crun", "runc") for path in Path("/run", name).glob("*")]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return {
            "mounts": [line for line in mounts if str(self.state_dir) in line],
            "runtimes": [pid for word in ("\x00--cgroup-manager", HELD) for pid in find_processes(word)],
            "programs": find_processes("sleep\x00618"),
            "states": states,
            "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/container")),
            "files": sorted(path.name for path in self.state_dir.glob("pods/*")),
            "links": list_links(),
        }

    def start_agent(self) -> None:
        self._agent = subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)

    def kill_agent(self) -> None:
        """Without a word of warning."""
        assert self._agent is not None and self._agent.poll() is None, "the agent ended by itself"
        self._agent.kill()
        self._agent.wait()

    async def create(self, name: str, script: str, **spec: Any) -> str:
        """A Pod whose container runs a script, with a directory that this program sees; its UID."""
        mount = [{"name": "shared", "mountPath": "/shared"}]
        volumes = [{"name": "shared", "hostPath": {"path": str(self.shared)}}]
        main = {"name": "main", "image": "x", "command": ["sh", "-c", script], "volumeMounts": mount}
        main |= spec.pop("container", {})
        pod = make_pod(name, nodeName=NODE, containers=[main], volumes=volumes, **spec)
        for container in pod["spec"].get("initContainers", ()):
            container["volumeMounts"] = mount
        pod.pop("status")
        created: Json = await self.client.create(PODS, pod, "default")
        self.uids.append(str(created["metadata"]["uid"]))
        return self.uids[-1]

    async def get(self, name: str) -> Json | None:
        with contextlib.suppress(NotFound):
            return await self.client.get(PODS, name, "default", as_type=dict)
        return None

    async def wait(self, look: Look, what: str) -> Any:
        """What the look found; it is asked every millisecond, so that a kill meets the moment."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    found = look()
                    if asyncio.iscoroutine(found):
                        found = await found
                    if found:
                        return found
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {PATIENCE_SECONDS:g} s") from None

    async def wait_pod(self, name: str, check: Callable[[Json], Any]) -> Json:
        last: list[Json | None] = [None]

        async def look() -> Json | None:
            last[0] = await self.get(name)
            return last[0] if last[0] is not None and check(last[0]) else None

        try:
            pod: Json = await self.wait(look, name)
            return pod
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps((last[0] or {}).get('status'), indent=1)}") from None

    async def wait_traces(self, before: dict[str, Any]) -> None:
        """Until all is as it was."""
        try:
            await self.wait(lambda: self.read_traces() == before, "nothing is left")
        except AssertionError as error:
            now = self.read_traces()
            different = {name: (before[name], now[name]) for name in before if now[name] != before[name]}
            raise AssertionError(f"{error}: before and now {different}") from None

    async def wait_gone(self, name: str) -> None:
        async def look() -> bool:
            return await self.get(name) is None

        await self.wait(look, f"{name} is gone")

    def read(self, name: str) -> list[str]:
        """Lines that a Pod left in the shared directory."""
        path = self.shared / name
        return path.read_text().splitlines() if path.exists() else []

    def read_log(self, uid: str, *, attempt: int = 0) -> str:
        path = self.state_dir / "logs" / uid / "main" / f"{attempt}.log"
        return "".join(line.split(" ", 3)[3] for line in path.read_text().splitlines(keepends=True))

    def holds_address(self, uid: str) -> bool:
        path = self.state_dir / "addresses.json"
        return path.exists() and uid in path.read_text()


Scenario = Callable[[Host], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


STARTS: dict[str, Callable[[Host, str], bool]] = {
    "created": lambda host, uid: True,
    "addressed": lambda host, uid: host.holds_address(uid),
    "linked": lambda host, uid: bool(list_links()),
    "prepared": lambda host, uid: (host.state_dir / "pods" / uid / "containers" / "first").exists(),
    "initializing": lambda host, uid: (host.state_dir / "logs" / uid / "first" / "0.log").exists(),
    "initialized": lambda host, uid: bool(host.read(f"{uid}-init")),
    "preparing": lambda host, uid: (host.state_dir / "pods" / uid / "containers" / "main").exists(),
    "starting": lambda host, uid: (host.state_dir / "logs" / uid / "main" / "0.log").exists(),
    "running": lambda host, uid: bool(host.read(f"{uid}-main")),
}
"""What is seen from outside of each step of a start, in their order."""


@scenario
async def killed_at_each_step_of_a_start(host: Host) -> None:
    """Each container has run once, and the Pod is ready."""
    own = {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    for step, has_come in STARTS.items():
        first = {"name": "first", "image": "x", "command": ["sh", "-c", "echo init >> /shared/$UID-init"], "env": [own]}
        uid = await host.create(
            f"start-{step}", "echo main >> /shared/$UID-main; exec sleep 600", initContainers=[first],
            container={"env": [own]}, terminationGracePeriodSeconds=1,
        )  # fmt: skip
        await host.wait(lambda uid=uid, has_come=has_come: has_come(host, uid), f"start-{step}")
        host.kill_agent()
        host.start_agent()
        pod = await host.wait_pod(f"start-{step}", is_ready)
        assert container_of(pod, "main")["restartCount"] == container_of(pod, "first")["restartCount"] == 0, step
        await host.wait(lambda uid=uid: host.read(f"{uid}-main"), f"start-{step} has written")
        assert (host.read(f"{uid}-init"), host.read(f"{uid}-main")) == (["init"], ["main"]), step
        await host.client.delete(PODS, f"start-{step}", "default", options={"gracePeriodSeconds": 1})
        await host.wait_gone(f"start-{step}")
        await host.wait(lambda: not list_links(), "links are gone")


@scenario
async def killed_while_pods_run(host: Host) -> None:
    """Nobody notices: the same runs, and what ended meanwhile is told with its exit code and its words."""
    await host.create("lasting", "echo begun; exec sleep 600")
    uid = await host.create("ending", "echo last words; until [ -e /shared/end ]; do sleep 0.05; done; exit 7",
                            restartPolicy="Never")  # fmt: skip
    before = await host.wait_pod("lasting", is_ready)
    await host.wait_pod("ending", lambda pod: pod["status"]["phase"] == "Running")
    host.kill_agent()
    (host.shared / "end").touch()
    await host.wait(lambda: not find_processes("last words"), "the program has ended")
    host.start_agent()
    ended = await host.wait_pod("ending", lambda pod: pod["status"]["phase"] == "Failed")
    assert container_of(ended, "main")["state"]["terminated"]["exitCode"] == 7
    assert host.read_log(uid) == "last words\n"
    for _ in range(3):
        host.kill_agent()
        host.start_agent()
    await host.create("afterwards", "exec sleep 600")
    await host.wait_pod("afterwards", is_ready)
    after = await host.wait_pod("lasting", is_ready)
    assert after["status"] == before["status"]
    assert after["status"]["podIP"] != (await host.wait_pod("afterwards", is_ready))["status"]["podIP"]


ENDS: dict[str, Callable[[Host, str], bool]] = {
    "asked": lambda host, uid: True,
    "hooked": lambda host, uid: "hook" in host.read(f"{uid}-end"),
    "signalled": lambda host, uid: "signal" in host.read(f"{uid}-end"),
    "ended": lambda host, uid: not find_processes(f"ends-{uid}"),
    "unlinked": lambda host, uid: not list_links(),
    "forgotten": lambda host, uid: not (host.state_dir / "pods" / uid).exists(),
}
"""What is seen from outside of each step of an end, in their order."""


@scenario
async def killed_at_each_step_of_an_end(host: Host) -> None:
    for name in ("lasting", "ending", "afterwards"):
        await host.client.delete(PODS, name, "default", options={"gracePeriodSeconds": 1})
        await host.wait_gone(name)
    await host.wait(lambda: not list_links(), "links are gone")
    own = {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /shared/$UID-end; sleep 0.3"]}}}
    script = "trap 'echo signal >> /shared/$UID-end; sleep 0.3; exit 0' TERM; : ends-$UID; sleep 600 & wait"
    for step, has_come in ENDS.items():
        uid = await host.create(f"end-{step}", script, container={"env": [own], "lifecycle": hook})
        await host.wait_pod(f"end-{step}", is_ready)
        await host.client.delete(PODS, f"end-{step}", "default", options={"gracePeriodSeconds": 8})
        await host.wait(lambda uid=uid, has_come=has_come: has_come(host, uid), f"end-{step}")
        host.kill_agent()
        host.start_agent()
        await host.wait_gone(f"end-{step}")
        await host.wait(lambda: not list_links(), "links are gone")
        assert "signal" in host.read(f"{uid}-end"), step


@scenario
async def killed_while_a_runtime_is_at_work(host: Host) -> None:
    """The agent, and then the runtime, before and after it has begun the program: the next run is whole, and alone."""
    host.import_box()
    await host.wait(lambda: (host.state_dir / "runtime.json").exists(), "the runtime has been tried")
    before = host.read_traces()
    for moment in ("before", "after"):
        (host.shared / "hold").write_text(moment)
        name = f"image-{moment}"
        uid = await host.create(name, "echo $$ >> /shared/" + name + "; exec sleep 618", container={"image": BOX})
        [held] = await host.wait(lambda: find_processes(HELD), "the runtime stands still")
        await host.wait(lambda moment=moment: bool(find_processes("sleep\x00618")) == (moment == "after"), "its work")
        host.kill_agent()
        (host.shared / "hold").unlink()
        os.kill(held, signal.SIGKILL)
        await host.wait(lambda: not find_processes("sleep\x00618"), "the program has ended with its runtime")
        await host.wait(lambda: not host.read_traces()["runtimes"], "and so have all")
        host.start_agent()
        pod = await host.wait_pod(name, is_ready)
        assert container_of(pod, "main")["lastState"]["terminated"]["reason"] == "StartError"
        await host.wait(lambda: find_processes("sleep\x00618"), "it runs")
        assert len(find_processes("sleep\x00618")) == 1, "and once"
        await host.client.delete(PODS, name, "default", options={"gracePeriodSeconds": 1})
        await host.wait_gone(name)
        await host.wait(lambda uid=uid: not (host.state_dir / "pods" / uid).exists(), "files are gone")
        await host.wait(lambda: not list_links(), "links are gone")
    await host.wait_traces(before)


@scenario
async def killed_while_images_run(host: Host) -> None:
    """The agent: nobody notices. The shim: its containers end, a runtime's as all others, and begin again."""
    host.import_box()
    await host.wait(lambda: (host.state_dir / "runtime.json").exists(), "the runtime has been tried")
    before = host.read_traces()
    await host.create("boxed", "exec sleep 618", container={"image": BOX})
    first = await host.wait_pod("boxed", is_ready)
    [program] = await host.wait(lambda: find_processes("sleep\x00618"), "it runs")
    host.kill_agent()
    host.start_agent()
    await host.create("beside", "exec sleep 600")
    await host.wait_pod("beside", is_ready)
    assert (await host.wait_pod("boxed", is_ready))["status"] == first["status"]
    assert find_processes("sleep\x00618") == [program]
    shims = [p for p in find_processes("seaway.node.shim.run") if _is_outside(p)]
    for shim in shims:
        os.kill(shim, signal.SIGKILL)
    pod = await host.wait_pod("boxed", lambda pod: is_ready(pod) and container_of(pod, "main")["restartCount"] == 1)
    assert pod["status"]["podIP"] == first["status"]["podIP"]
    await host.wait(lambda: len(find_processes("sleep\x00618")) == 1, "it runs once")
    assert find_processes("sleep\x00618") != [program]
    for name, grace in (("boxed", 0), ("beside", 1)):
        await host.client.delete(PODS, name, "default", options={"gracePeriodSeconds": grace})
        await host.wait_gone(name)
    await host.wait_traces(before)


def _is_outside(pid: int) -> bool:
    """The shim itself and not a container's init, which has its PID namespace."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    return False


@scenario
async def a_full_disk_holds_pods_back_and_ends_none(host: Host) -> None:
    """What runs goes on, what is to start says why it does not, and starts when there is room again."""
    await host.create("early", "while true; do echo words; sleep 0.1; done")
    before = await host.wait_pod("early", is_ready)
    filler = host.state_dir / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    await host.create("late", "exec sleep 600")

    async def is_told() -> bool:
        page = await host.client.list(EVENTS, "default")
        events = [json.loads(bytes(item)) for item in page.items]
        return any("No space left" in e["message"] for e in events if e["involvedObject"]["name"] == "late")

    await host.wait(is_told, "an event says why")

    async def is_pressed() -> bool:
        node = await host.client.get(NODES, NODE, as_type=dict)
        return any(c["type"] == "DiskPressure" and c["status"] == "True" for c in node["status"]["conditions"])

    await host.wait(is_pressed, "the Node tells of the disk")
    host.kill_agent()
    host.start_agent()
    await host.client.delete(PODS, "early", "default", options={"gracePeriodSeconds": 1})
    await host.wait_gone("early")
    assert container_of(before, "main")["restartCount"] == 0
    filler.unlink()
    await host.wait_pod("late", is_ready)
    await host.client.delete(PODS, "late", "default", options={"gracePeriodSeconds": 1})
    await host.wait_gone("late")


@scenario
async def killed_before_a_forced_deletion(host: Host) -> None:
    """What the API knows nothing of any more is ended when the agent comes back."""
    uid = await host.create("forced", "exec sleep 612")
    await host.wait_pod("forced", is_ready)
    await host.wait(lambda: find_processes("sleep\x00612"), "it has begun")
    host.kill_agent()
    await host.client.delete(PODS, "forced", "default", options={"gracePeriodSeconds": 0})
    await host.create("successor", "exec sleep 600")
    assert find_processes("sleep\x00612")
    host.start_agent()
    await host.wait(lambda: not find_processes("sleep\x00612"), "the orphan has ended")
    await host.wait(lambda: not host.holds_address(uid), "its address is free")
    await host.wait_pod("successor", is_ready)
    await host.client.delete(PODS, "successor", "default", options={"gracePeriodSeconds": 1})
    await host.wait_gone("successor")


@scenario
async def nothing_is_left(host: Host) -> None:
    await host.wait(lambda: not list_links(), "links are gone")
    await host.wait(lambda: not os.listdir(host.state_dir / "pods"), "directories are gone")
    await host.wait(lambda: not os.listdir(host.state_dir / "logs"), "logs are gone")
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "10.244.0." not in routes.replace("10.244.0.0/24", ""), routes
    assert not [uid for uid in host.uids if host.holds_address(uid)], "addresses are held"
    assert not find_processes("sleep\x00600")
    assert str(host.state_dir / "pods") not in Path("/proc/self/mounts").read_text()
    assert not os.listdir(host.state_dir / "memory"), "secrets are gone"
    group = name_groups(host.state_dir)
    left = [path for depth in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{depth}{group}/*/")]
    assert not left, "cgroups are left"


async def main(directory: Path, only: list[str]) -> None:
    for command in (["ip", "link", "set", "lo", "up"], ["ip", "addr", "add", f"{NODE_IP}/32", "dev", "lo"]):
        subprocess.run(command, check=True)
    (directory / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(directory / "data")], check=True)
    async with SeawayServer() as seaway:
        node = await asyncio.to_thread(seaway.server.make_user, f"system:node:{NODE}", ("system:nodes",), "default")
        client = open_client(parse_kubeconfig(seaway.kubeconfig.read_text()))
        host = Host(client, node.kubeconfig, directory)
        host.start_agent()
        try:
            for name, function in SCENARIOS.items():
                if only and name not in only:
                    continue
                error = ""
                try:
                    await asyncio.wait_for(function(host), 120)
                except Lacking as lacking:
                    error = f"skipped: {lacking}"
                except Exception:
                    error = traceback.format_exc() + (directory / "agent.log").read_text()[-3000:]
                print(json.dumps({"scenario": name, "error": error}), flush=True)
        finally:
            host.kill_agent()
            await remove_pods(host.state_dir)
            await client.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
