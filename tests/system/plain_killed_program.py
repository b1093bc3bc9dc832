"""Runs as an ordinary user: an API server, and the agent without namespaces as a process that is killed time and again.

`python -m tests.system.plain_killed_program DIRECTORY`. A line of JSON per scenario.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.api.registry import PODS
from seaway.client.kubeconfig import parse_kubeconfig
from seaway.client.transport import open_client
from seaway.node.run import remove_pods
from seaway.node.runtime.plain.run import find_leftovers
from seaway.testing.builders import make_pod
from seaway.testing.server import SeawayServer
from tests.kernel.node_killed import ENDS, STARTS, Host
from tests.kernel.node_program import NODE, container_of, is_ready

Json = dict[str, Any]
SECOND, THIRD = 28 + os.getpid() // 250 % 100, os.getpid() % 250


class PlainHost(Host):
    """The same, but Pods see the shared directory where it is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        address, pods = f"10.{SECOND}.{THIRD}.254", f"10.{SECOND}.{THIRD}.0/24"
        at = self._command.index("--node-ip")
        self._command[at : at + 2] = ["--node-ip", address, "--pod-cidr", pods, "--network", "none"]

    async def create(self, name: str, script: str, **spec: Any) -> str:
        uid = {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
        shared = {"name": "SHARED", "value": str(self.shared)}
        main = {"name": "main", "image": "x", "command": ["sh", "-c", script], "env": [uid, shared]}
        main |= spec.pop("container", {})
        for container in spec.get("initContainers", ()):
            container["env"] = [uid, shared]
        pod = make_pod(name, nodeName=NODE, containers=[main], **spec)
        pod.pop("status")
        created: Json = await self.client.create(PODS, pod, "default")
        self.uids.append(str(created["metadata"]["uid"]))
        return self.uids[-1]

    def is_running(self, uid: str) -> bool:
        """A process of the Pod is there."""
        mark = f"/pods/{uid}/".encode()
        for pid in find_leftovers(self.state_dir):
            try:
                if mark in Path(f"/proc/{pid}/environ").read_bytes():
                    return True
            except OSError:
                continue
        return False


Scenario = Callable[[PlainHost], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def killed_at_each_step_of_a_start(host: PlainHost) -> None:
    """Each container has run once, and the Pod is ready."""
    for step, has_come in STARTS.items():
        if step == "linked":
            continue
        first = {"name": "first", "image": "x", "command": ["sh", "-c", "echo init >> $SHARED/$UID-init"]}
        uid = await host.create(
            f"start-{step}", "echo main >> $SHARED/$UID-main; exec sleep 600", initContainers=[first],
            terminationGracePeriodSeconds=1,
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


@scenario
async def killed_at_each_step_of_an_end(host: PlainHost) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> $SHARED/$UID-end; sleep 0.3"]}}}
    script = "trap 'echo signal >> $SHARED/$UID-end; sleep 0.3; exit 0' TERM; sleep 600 & wait"
    steps = {
        "asked": ENDS["asked"],
        "hooked": ENDS["hooked"],
        "signalled": ENDS["signalled"],
        "ended": lambda host, uid: not host.is_running(uid),
        "forgotten": ENDS["forgotten"],
    }
    for step, has_come in steps.items():
        uid = await host.create(f"end-{step}", script, container={"lifecycle": hook})
        await host.wait_pod(f"end-{step}", is_ready)
        await host.client.delete(PODS, f"end-{step}", "default", options={"gracePeriodSeconds": 8})
        await host.wait(lambda uid=uid, has_come=has_come: has_come(host, uid), f"end-{step}")
        host.kill_agent()
        host.start_agent()
        await host.wait_gone(f"end-{step}")
        assert "signal" in host.read(f"{uid}-end"), step


@scenario
async def killed_before_a_forced_deletion(host: PlainHost) -> None:
    """What the API knows nothing of any more is ended when the agent comes back."""
    uid = await host.create("forced", "exec sleep 600")
    await host.wait_pod("forced", is_ready)
    host.kill_agent()
    await host.client.delete(PODS, "forced", "default", options={"gracePeriodSeconds": 0})
    assert host.is_running(uid)
    host.start_agent()
    await host.wait(lambda: not host.is_running(uid), "the orphan has ended")
    await host.wait(lambda: not host.holds_address(uid), "its address is free")


@scenario
async def nothing_is_left(host: PlainHost) -> None:
    await host.wait(lambda: not os.listdir(host.state_dir / "pods"), "directories are gone")
    await host.wait(lambda: not os.listdir(host.state_dir / "logs"), "logs are gone")
    assert not [uid for uid in host.uids if host.holds_address(uid)], "addresses are held"
    assert not find_leftovers(host.state_dir)


async def main(directory: Path, only: list[str]) -> None:
    (directory / "data").mkdir()
    async with SeawayServer() as seaway:
        node = await asyncio.to_thread(seaway.server.make_user, f"system:node:{NODE}", ("system:nodes",), "default")
        client = open_client(parse_kubeconfig(seaway.kubeconfig.read_text()))
        host = PlainHost(client, node.kubeconfig, directory)
        host.start_agent()
        try:
            for name, function in SCENARIOS.items():
                if only and name not in only:
                    continue
                error = ""
                try:
                    await asyncio.wait_for(function(host), 120)
                except Exception:
                    error = traceback.format_exc() + (directory / "agent.log").read_text()[-3000:]
                print(json.dumps({"scenario": name, "error": error}), flush=True)
        finally:
            host.kill_agent()
            await remove_pods(host.state_dir)
            await client.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
