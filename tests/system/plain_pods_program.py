"""Runs as an ordinary user, without a namespace: the API in this process, the agent, and Pods that are plain children.

`python -m tests.system.plain_pods_program DIRECTORY [SCENARIO...]`. A line of JSON per scenario.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import AlreadyExists
from seaway.api.registry import CONFIG_MAPS, SECRETS, SERVICES
from seaway.api.service.served import SERVED_AT
from seaway.net.loopback import LoopbackMap
from seaway.node.run import NodeConfig, remove_pods
from seaway.node.run import run as run_agent
from seaway.node.runtime.local.client import ShimClient
from seaway.node.runtime.local.run import LocalConfig
from seaway.node.runtime.plain.run import PlainRuntime, find_leftovers
from seaway.node.shim.descent import parse_parent
from seaway.node.streaming.forwards.run import dial
from seaway.node.streaming.protocol import Wanted
from seaway.node.streaming.run import Pipes
from seaway.testing.builders import make_service
from seaway.testing.cluster import open_cluster
from tests.kernel.node_program import NODE, World, fetch, find_processes, find_waiting_reason, is_ready

Json = dict[str, Any]
MAP = LoopbackMap()
SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["HOSTNAME"].encode())
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["POD_IP"], 8080), Answer).serve_forever()
"""
DAEMON = (
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(WORD)\n    os._exit(0)\n"
)
"""Leaves a process behind in another session, whose parent has ended."""
OWN = os.getpid()
"""Of the commands in this run: other runs may be beside it."""


class PlainWorld(World):
    """The same, without namespaces. Its range is of this process: tests may run beside each other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        second, third = 128 + os.getpid() // 250 % 100, os.getpid() % 250
        self.pod_cidr = f"10.{second}.{third}.0/24"
        self.node_ip = f"10.{second}.{third}.254"

    async def start_agent(self) -> None:
        ready = asyncio.Event()
        config = NodeConfig(
            node_name=NODE, node_ip=self.node_ip, pod_cidr=self.pod_cidr, dns_ip="10.96.0.10", resolv_conf=None,
            state_dir=self.state_dir, data_dir=self.data_dir, network="none", loopback=MAP, lease_renew_seconds=0.5,
        )  # fmt: skip
        identity = self.cluster.client(user=f"system:node:{NODE}", groups=("system:nodes",))
        self._agent = asyncio.create_task(run_agent(config, identity, on_ready=ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._agent, waiting}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._agent.done():
            self._agent.result()
        assert ready.is_set(), "the agent was not ready in 20 s"

    async def eventually(self, look: Callable[[], Any]) -> None:
        """Until it is so. Asked every few milliseconds."""

        async def ask() -> bool:
            return bool(look())

        await self.cluster.eventually(ask)

    async def wait_log(self, pod: Json, word: str) -> None:
        await self.eventually(lambda: word in self.read_log(pod))

    def list_programs(self, word: str) -> list[int]:
        """Processes of Pods of this node with the word in their command line."""
        return [pid for pid in find_leftovers(self.state_dir) if word.encode() in read_command(pid)]

    async def read_environment(self, word: str) -> dict[str, str]:
        """Of the one program with the word in its command line."""
        await self.eventually(lambda: self.list_programs(word))
        [pid] = self.list_programs(word)
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
        return dict(pair.partition("=")[::2] for pair in pairs if pair)

    def open_runtime(self) -> PlainRuntime:
        """Another client of the shim, as the agent is one."""
        local = LocalConfig(
            state_dir=self.state_dir, data_dir=self.data_dir, pod_cidrs=self.pod_cidr, sandboxed=False
        )  # fmt: skip
        return PlainRuntime(local, MAP, "127.0.0.1")

    def container_of(self, pod: Json) -> str:
        return str(pod["status"]["containerStatuses"][0]["containerID"]).removeprefix("process://")

    async def find_shim(self) -> int:
        answer = await ShimClient(self.state_dir).ask("list")
        return int(answer["pid"])


def make_daemon(seconds: int) -> str:
    return DAEMON.replace("WORD", f"{seconds}.{OWN}")


def find_everywhere(word: str) -> list[int]:
    """Processes of this user with the word in their command line."""
    found = []
    for pid in find_processes(word):
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            if pid != os.getpid() and os.stat(f"/proc/{pid}").st_uid == os.getuid():
                found.append(pid)
    return found


def read_parent(pid: int) -> int:
    return parse_parent(Path(f"/proc/{pid}/stat").read_bytes())


def read_command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes()
    return b""


def restarts(pod: Json) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))


def place_of(pod: Json) -> str:
    place = MAP.to_loopback(pod["status"]["podIP"])
    assert place is not None
    return place


Scenario = Callable[[PlainWorld], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def a_pod_serves_on_its_loopback_address(world: PlainWorld) -> None:
    """The API tells of the address that it would have anywhere, and probes ask where it is."""
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    await world.create("web-1", ["python3", "-c", SERVER], container={"readinessProbe": probe})
    pod = await world.wait("web-1", is_ready)
    assert pod["status"]["podIP"].startswith(world.pod_cidr.removesuffix("0/24"))
    assert pod["status"]["hostIP"] == world.node_ip
    assert fetch(f"{place_of(pod)}:8080") == "web-1"


@scenario
async def two_pods_serve_on_one_port(world: PlainWorld) -> None:
    await world.create("web-2", ["python3", "-c", SERVER], container={"readinessProbe": {"tcpSocket": {"port": 8080}}})
    pod = await world.wait("web-2", is_ready)
    assert fetch(f"{place_of(pod)}:8080") == "web-2"
    assert fetch(f"{place_of(await world.wait('web-1', is_ready))}:8080") == "web-1"


@scenario
async def programs_are_told_what_works_here(world: PlainWorld) -> None:
    """Addresses that can be bound and dialled, ports where they are served, paths that exist."""
    service = make_service("db", clusterIP="10.96.7.7", ports=[{"name": "sql", "port": 543, "protocol": "TCP"}])
    service["metadata"]["annotations"] = {SERVED_AT: "10.96.7.7:543/TCP=127.96.7.7:31000"}
    await world.client.create(SERVICES, service, "default")
    fields = {"MY_IP": "status.podIP", "HOST": "status.hostIP"}
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    env.append({"name": "CONFIG", "value": "$(SEAWAY_ROOT)/etc/config"})
    script = "import json, os; print(json.dumps(dict(os.environ) | {'cwd': os.getcwd()}))"
    container = {"command": ["python3", "-c", script], "env": env}
    pod, text = await world.run_to_end("told", "", container=container)
    found, own = json.loads(text), place_of(pod)
    assert found["POD_IP"] == found["POD_IPS"] == found["MY_IP"] == own and found["HOST"] == MAP.to_loopback(
        world.node_ip
    )
    assert (found["DB_SERVICE_HOST"], found["DB_SERVICE_PORT"]) == ("127.96.7.7", "31000")
    assert found["DB_PORT_543_TCP"] == "tcp://127.96.7.7:31000" and found["DB_PORT_543_TCP_PORT"] == "31000"
    assert found["KUBERNETES_SERVICE_HOST"].startswith("127."), found["KUBERNETES_SERVICE_HOST"]
    assert found["cwd"] == found["HOME"] == found["SEAWAY_ROOT"] and found["CONFIG"] == found["cwd"] + "/etc/config"
    assert found["HOSTNAME"] == "told" and "LOCALDOMAIN" not in found, "the host's resolver is not the cluster's"


@scenario
async def volumes_lie_below_the_root_of_a_run(world: PlainWorld) -> None:
    await world.client.create(CONFIG_MAPS, {"metadata": {"name": "conf"}, "data": {"a.txt": "from a map"}}, "default")
    await world.client.create(SECRETS, {"metadata": {"name": "key"}, "stringData": {"k": "secret"}}, "default")
    volumes = [
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
        {"name": "shared", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [
        {"name": "conf", "mountPath": "/etc/conf"},
        {"name": "key", "mountPath": "/etc/one", "subPath": "k"},
        {"name": "shared", "mountPath": "/data"},
    ]
    writer = {"name": "first", "image": "x", "command": ["sh", "-c", "echo passed on > $SEAWAY_ROOT/data/file"],
              "volumeMounts": mounts[2:]}  # fmt: skip
    script = "cd $SEAWAY_ROOT; cat etc/conf/a.txt; echo; cat etc/one; echo; cat data/file; stat -L -c %a etc/one"
    pod, text = await world.run_to_end(
        "mounting", f"{script}; echo last words > $SEAWAY_TERMINATION_LOG",
        container={"volumeMounts": mounts}, initContainers=[writer], volumes=volumes,
    )  # fmt: skip
    assert text.splitlines() == ["from a map", "secret", "passed on", "400"]
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["message"] == "last words\n" and ended["exitCode"] == 0
    told = await world.wait_event("mounting", "NotHonoured")
    assert "/etc/conf of container main is $SEAWAY_ROOT/etc/conf" in told["message"]
    assert "volume shared lies on disk" in told["message"] and told["type"] == "Normal"


@scenario
async def the_account_of_a_pod_is_in_a_kubeconfig(world: PlainWorld) -> None:
    """Clients look for its files at a path that cannot be made; a kubeconfig names them where they are."""
    await world.create("account", ["sh", "-c", "sleep 600"])
    pod = await world.wait("account", is_ready)
    [mount] = pod["spec"]["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount", "admission mounts it"
    environment = await world.read_environment("sleep\x00600")
    config = json.loads(Path(environment["KUBECONFIG"]).read_text())
    token = Path(config["users"][0]["user"]["tokenFile"])
    assert token.read_text().count(".") == 2 and token.parent == Path(environment["SEAWAY_SERVICEACCOUNT"])
    assert (token.parent / "namespace").read_text() == "default"
    assert config["clusters"][0]["cluster"]["server"].startswith("https://127.")
    assert not [e for e in await world.read_events("account") if e["reason"] == "NotHonoured"], "nothing is lacking"
    await world.delete("account", grace=1)
    await world.wait_gone("account")


@scenario
async def exit_codes_restarts_and_starts_that_fail(world: PlainWorld) -> None:
    pod, _ = await world.run_to_end("seven", "exit 7")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    pod, _ = await world.run_to_end("signalled", "kill -9 $$$$")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    await world.create("missing", ["/no/such/program"], restartPolicy="Never")
    pod = await world.wait("missing", lambda p: p["status"]["phase"] == "Failed")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "StartError" and "No such file" in ended["message"]
    assert not [e for e in await world.read_events("missing") if e["reason"] == "Started"]
    await world.create("again", ["sh", "-c", "[ ! -e $SEAWAY_ROOT/been ] && touch $SEAWAY_ROOT/been && exit 1; exit 0"])
    pod = await world.wait("again", lambda p: restarts(p) == 1)
    await world.delete("again", grace=0)


@scenario
async def what_escapes_ends_with_its_container(world: PlainWorld) -> None:
    """In another session, its parent gone, its environment empty: a keeper still has it below itself."""
    script = f"exec env -i python3 -c '{make_daemon(7001)}'"
    pod, _ = await world.run_to_end("escaping", f'({script}); [ -n "$SEAWAY_ROOT" ]')
    assert pod["status"]["phase"] == "Succeeded"
    assert not find_everywhere(f"time.sleep(7001.{OWN})")
    await world.create("escaped", ["sh", "-c", f"({script}); exec sleep 602.{OWN}"])
    await world.wait("escaped", is_ready)
    await world.eventually(lambda: len(find_everywhere(f"time.sleep(7001.{OWN})")) == 1)
    await world.delete("escaped", grace=1)
    await world.wait_gone("escaped")
    assert not find_everywhere(f"time.sleep(7001.{OWN})")


@scenario
async def a_pod_ends_within_its_grace(world: PlainWorld) -> None:
    """The signal first, then what does not heed it is killed, with all that is below it."""
    polite = "trap 'echo heard; exit 0' TERM; while :; do sleep 0.05; done"
    await world.create("polite", ["sh", "-c", polite])
    deaf = f"trap '' TERM; python3 -c 'import time; time.sleep(7002.{OWN})' & while :; do sleep 0.05; done"
    await world.create("deaf", ["sh", "-c", deaf])
    pod = await world.wait("polite", is_ready)
    await world.wait("deaf", is_ready)
    await world.delete("polite", grace=20)
    await world.wait_log(pod, "heard")
    await world.wait_gone("polite")
    await world.delete("deaf", grace=1)
    await world.wait_gone("deaf")
    assert not find_everywhere(f"time.sleep(7002.{OWN})")


@scenario
async def programs_are_executed_in_a_container(world: PlainWorld) -> None:
    """In its environment, with its exit code; what they leave running ends with the container, and not before."""
    await world.create("host", ["sh", "-c", f"exec sleep 603.{OWN}"])
    pod = await world.wait("host", is_ready)
    runtime, run = world.open_runtime(), world.container_of(pod)
    result = await runtime.exec(run, ("sh", "-c", "echo $POD_IP; exit 3"), timeout_seconds=10)
    assert (result.exit_code, result.output) == (3, f"{place_of(pod)}\n")
    result = await runtime.exec(run, ("sh", "-c", f"sleep 7003.{OWN}"), timeout_seconds=0.2)
    assert result.exit_code is None
    await world.eventually(lambda: not find_everywhere(f"sleep\x007003.{OWN}"))
    result = await runtime.exec(
        run, ("sh", "-c", f"sleep 7004.{OWN} </dev/null >/dev/null 2>&1 & exit 0"), timeout_seconds=10
    )
    assert result.exit_code == 0
    await world.eventually(lambda: len(find_everywhere(f"sleep\x007004.{OWN}")) == 1)
    assert (await runtime.exec(run, ("/no/such",), timeout_seconds=10)).exit_code == 128
    await world.delete("host", grace=1)
    await world.wait_gone("host")
    await world.eventually(lambda: not find_everywhere(f"sleep\x007004.{OWN}"))


@scenario
async def a_program_is_spoken_with(world: PlainWorld) -> None:
    """Over pipes and over a terminal of its own, as container and as program executed in one."""
    talk = "read word; echo heard $word; if [ -t 0 ]; then echo terminal; fi; exec sleep 600"
    await world.create("piped", ["sh", "-c", talk], container={"stdin": True})
    await world.create("typed", ["sh", "-c", talk], container={"stdin": True, "tty": True})
    runtime = world.open_runtime()
    for name, expected in (("piped", "heard you"), ("typed", "terminal")):
        pod = await world.wait(name, is_ready)
        reading, writing = os.pipe()
        try:
            assert await runtime.attach(world.container_of(pod), {"stdin": reading}) is (name == "typed")
            os.write(writing, b"you\n")
            await world.wait_log(pod, expected)
        finally:
            os.close(reading)
            os.close(writing)
    run = world.container_of(pod)
    with Pipes() as pipes:
        asking = asyncio.ensure_future(runtime.exec_on(run, ("sh", "-c", "tty; exit 4"), pipes.make(Wanted(tty=True))))
        assert await pipes.take_terminal(asking)
        assert await asking == 4
        assert os.read(pipes.ours["stdout"], 100).startswith(b"/dev/pts/")
    for name in ("piped", "typed"):
        await world.delete(name, grace=1)
        await world.wait_gone(name)


@scenario
async def the_shim_keeps_no_descriptor_of_what_has_ended(world: PlainWorld) -> None:
    shim, runtime = await world.find_shim(), world.open_runtime()

    def count() -> int:
        return len(os.listdir(f"/proc/{shim}/fd"))

    before = count()
    for number in range(3):
        await world.create(f"brief-{number}", ["sh", "-c", "exec sleep 600"])
        pod = await world.wait(f"brief-{number}", is_ready)
        for _ in range(3):
            await runtime.exec(world.container_of(pod), ("true",), timeout_seconds=10)
        assert count() > before
        await world.delete(f"brief-{number}", grace=1)
        await world.wait_gone(f"brief-{number}")
    await world.eventually(lambda: count() <= before)


@scenario
async def connections_are_forwarded_to_the_pods_own_address(world: PlainWorld) -> None:
    pod = await world.wait("web-2", is_ready)
    runtime = world.open_runtime()
    await runtime.connect()
    reader, writer = await dial(runtime, pod["metadata"]["uid"], 8080)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await reader.read()).endswith(b"web-2"), "not the other Pod's, at the same port"
    writer.close()
    await runtime.close()


@scenario
async def probes_kill_and_hooks_are_called(world: PlainWorld) -> None:
    container = {
        "livenessProbe": {"exec": {"command": ["sh", "-c", "[ ! -e $SEAWAY_ROOT/sick ]"]}, "periodSeconds": 1,
                          "failureThreshold": 1, "terminationGracePeriodSeconds": 1},
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "touch $SEAWAY_ROOT/hooked"]}}},
    }  # fmt: skip
    script = "until [ -e $SEAWAY_ROOT/hooked ]; do sleep 0.05; done; touch $SEAWAY_ROOT/sick; exec sleep 604"
    await world.create("probed", ["sh", "-c", script], container=container)
    await world.wait("probed", lambda p: restarts(p) >= 1, seconds=30)
    await world.delete("probed", grace=0)


@scenario
async def a_new_agent_takes_over_what_runs(world: PlainWorld) -> None:
    before = await world.wait("web-1", is_ready)
    await world.create("once", ["sh", "-c", "until [ -e $SEAWAY_ROOT/go ]; do sleep 0.05; done; exit 5"],
                       restartPolicy="Never")  # fmt: skip
    await world.wait("once", lambda p: p["status"]["phase"] == "Running")
    root = Path((await world.read_environment("exit 5"))["SEAWAY_ROOT"])
    await world.stop_agent()
    assert fetch(f"{place_of(before)}:8080") == "web-1", "Pods run on without an agent"
    (root / "go").touch()
    await world.eventually(lambda: not world.list_programs("exit 5"))
    await world.start_agent()
    after = await world.wait("web-1", is_ready)
    assert after["status"] == before["status"], "nothing flaps"
    ended = await world.wait("once", lambda p: p["status"]["phase"] == "Failed")
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 5


@scenario
async def a_keeper_that_is_killed_takes_its_program_along(world: PlainWorld) -> None:
    script = f"python3 -c '{make_daemon(7005)}'; exec sleep 605.{OWN}"
    await world.create("kept", ["sh", "-c", script])
    await world.wait("kept", is_ready)
    await world.eventually(
        lambda: find_everywhere(f"sleep\x00605.{OWN}") and find_everywhere(f"time.sleep(7005.{OWN})")
    )
    [program] = find_everywhere(f"sleep\x00605.{OWN}")
    os.kill(read_parent(program), signal.SIGKILL)
    pod = await world.wait("kept", lambda p: p["status"]["containerStatuses"][0]["lastState"])
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    await world.eventually(lambda: program not in find_everywhere(f"sleep\x00605.{OWN}"))
    await world.delete("kept", grace=0)
    await world.wait_gone("kept")
    await world.eventually(
        lambda: not find_everywhere(f"time.sleep(7005.{OWN})") and not find_everywhere(f"sleep\x00605.{OWN}")
    )


@scenario
async def a_shim_that_is_killed_takes_all_along_and_pods_start_again(world: PlainWorld) -> None:
    before = await world.wait("web-1", is_ready)
    await world.create("left", ["sh", "-c", f"python3 -c '{make_daemon(7006)}'; exec sleep 606.{OWN}"])
    await world.wait("left", is_ready)
    await world.eventually(lambda: len(find_everywhere(f"time.sleep(7006.{OWN})")) == 1)
    old = {
        *find_everywhere(f"sleep\x00606.{OWN}"),
        *find_everywhere(f"time.sleep(7006.{OWN})"),
        *world.list_programs("HTTPServer"),
    }
    os.kill(await world.find_shim(), signal.SIGKILL)
    after = await world.wait("web-1", lambda p: restarts(p) == 1 and is_ready(p))
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert fetch(f"{place_of(after)}:8080") == "web-1"
    await world.wait("left", lambda p: restarts(p) == 1 and is_ready(p))
    assert not old & {
        *find_everywhere(f"sleep\x00606.{OWN}"),
        *find_everywhere(f"time.sleep(7006.{OWN})"),
        *world.list_programs("HTTPServer"),
    }


@scenario
async def a_shim_and_its_keepers_killed_at_once_leave_nothing(world: PlainWorld) -> None:
    """By the mark in their environment what they leave is found."""
    await world.wait("left", is_ready)
    await world.eventually(lambda: len(find_everywhere(f"time.sleep(7006.{OWN})")) == 1)
    [daemon] = find_everywhere(f"time.sleep(7006.{OWN})")
    shim = await world.find_shim()
    keepers = [pid for pid in find_everywhere("seaway.node.shim.run") if read_parent(pid) == shim]
    for pid in (shim, *keepers):
        os.kill(pid, signal.SIGSTOP)
    for pid in (shim, *keepers):
        os.kill(pid, signal.SIGKILL)
    await world.wait("left", lambda p: restarts(p) == 2 and is_ready(p), seconds=40)
    await world.eventually(lambda: len(find_everywhere(f"time.sleep(7006.{OWN})")) == 1)
    assert daemon not in find_everywhere(f"time.sleep(7006.{OWN})")
    await world.delete("left", grace=0)
    await world.wait_gone("left")


LISTENING = """
import os, socket, time
listening = socket.create_server((os.environ.get("BIND", ""), int(os.environ["PORT"])))
time.sleep(600)
"""


@scenario
async def a_program_that_binds_all_addresses_is_told_of(world: PlainWorld) -> None:
    """And so is who comes too late for the port, with the mend."""
    env = [{"name": "PORT", "value": str(20000 + OWN % 10000)}]
    ports = [{"containerPort": 20000 + OWN % 10000}]
    await world.create("greedy", ["python3", "-c", LISTENING], container={"env": env})
    greedy = await world.wait("greedy", is_ready)
    event = await world.wait_event("greedy", "BindsAllAddresses")
    assert event["type"] == "Warning" and f"bind $POD_IP ({place_of(greedy)}:{env[0]['value']})" in event["message"]
    mine = [*env, {"name": "BIND", "value": "$(POD_IP)"}]
    await world.create("modest", ["python3", "-c", LISTENING], container={"env": mine, "ports": ports})
    event = await world.wait_event("modest", "PortTaken")
    assert f"taken by Pod default/greedy, which listens on 0.0.0.0:{env[0]['value']}" in event["message"]
    for name in ("greedy", "modest"):
        await world.delete(name, grace=1)  # with grace 0 the object goes before the program, and its port
        await world.wait_gone(name)
    await world.create("modest", ["python3", "-c", LISTENING], container={"env": mine})
    await world.wait("modest", is_ready)
    await world.create("greedy", ["python3", "-c", LISTENING], container={"env": env})
    event = await world.wait_event("greedy", "PortTaken")
    assert "no program can have all addresses" in event["message"] and "bind $POD_IP" in event["message"]
    assert not [e for e in await world.read_events("modest") if e["reason"] == "BindsAllAddresses"]
    for name in ("greedy", "modest"):
        await world.delete(name, grace=1)  # with grace 0 the object goes before the program, and its port
        await world.wait_gone(name)


REFUSED: dict[str, tuple[Json, str]] = {
    "user": ({"securityContext": {"runAsUser": 1}}, "user 1 and group"),
    "privileged": ({"securityContext": {"privileged": True}}, "privileged"),
    "capability": ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "capability NET_ADMIN"),
}


@scenario
async def what_cannot_be_honoured_is_refused(world: PlainWorld) -> None:
    for name, (container, words) in REFUSED.items():
        await world.create(f"refused-{name}", ["sleep", "1"], container=container)
        pod = await world.wait(f"refused-{name}", lambda p: find_waiting_reason(p) == "CreateContainerConfigError")
        assert words in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        assert words in (await world.wait_event(f"refused-{name}", "Failed"))["message"]
        await world.delete(f"refused-{name}", grace=0)
        await world.wait_gone(f"refused-{name}")


@scenario
async def removal_leaves_no_trace(world: PlainWorld) -> None:
    await world.stop_agent()
    before = len(os.listdir("/proc/self/fd"))
    await remove_pods(world.state_dir)
    await remove_pods(world.state_dir)
    assert not world.state_dir.exists() and not find_leftovers(world.state_dir)
    assert not find_everywhere(str(world.state_dir)), "the shim and its keepers have it in their command line"
    assert len(os.listdir("/proc/self/fd")) <= before


async def main(directory: Path, only: list[str]) -> None:
    async with open_cluster(controllers=True) as cluster:
        world = PlainWorld(cluster, directory, sandbox=False)
        try:
            with contextlib.suppress(AlreadyExists):
                ports = [{"name": "https", "port": 443, "protocol": "TCP"}]
                api = make_service("kubernetes", clusterIP="10.96.0.1", ports=ports)
                api["metadata"]["annotations"] = {SERVED_AT: "10.96.0.1:443/TCP=127.96.0.1:31443"}
                await world.client.create(SERVICES, api, "default")
            await world.start_agent()
            for name, function in SCENARIOS.items():
                if only and name not in only:
                    continue
                error = ""
                try:
                    await asyncio.wait_for(function(world), 60)
                except Exception:
                    error = traceback.format_exc()
                print(json.dumps({"scenario": name, "error": error}), flush=True)
        finally:
            with contextlib.suppress(Exception):
                await world.stop_agent()
            await remove_pods(world.state_dir)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
