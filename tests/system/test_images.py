"""Pods from images: made here from busybox, imported and named by the real command.

All of it through crun, and by the shim alone. Rule: spec "node" §2.4, §6.5; issue "node agent", part 3.
"""

from __future__ import annotations

import json
import os
import platform
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seaway.node.runtime.images.archive import ARCHITECTURES
from tests.node.runtime.images.archives import Entry, ImageMaker, directory, make_busybox
from tests.system.running import Up, seaway, until

APPLETS = (
    "sh",
    "ls",
    "cat",
    "id",
    "sleep",
    "echo",
    "httpd",
    "wget",
    "touch",
    "env",
    "pwd",
    "nslookup",
    "stat",
    "kill",
    "grep",
    "test",
)
BUSYBOX = shutil.which("busybox")
CRUN = shutil.which("crun", path="/usr/local/bin:/usr/bin:/bin")
CONFIG = {
    "Entrypoint": ["/bin/httpd"],
    "Cmd": ["-f", "-p", "8080", "-h", "/www"],
    "Env": ["FROM=image", "PATH=/bin", "BOTH=image"],
    "WorkingDir": "/www",
}
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: example.com/web:1
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: main
    image: example.com/web:1
    command: ["sh", "-c", "pwd; echo $FROM $BOTH $(BOTH); touch /written && echo wrote; ls /; sleep 1000"]
    env: [{name: BOTH, value: pod}]
    volumeMounts: [{name: data, mountPath: /data}]
  - name: sealed
    image: example.com/web:1
    command: ["sh", "-c", "touch /written || echo refused; touch /data/x && echo kept; sleep 1000"]
    securityContext: {readOnlyRootFilesystem: true}
    volumeMounts: [{name: data, mountPath: /data}]
---
apiVersion: v1
kind: Pod
metadata: {name: alias}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "example.com/program"}
  - {name: other, image: "example.com/program", args: ["said"]}
---
apiVersion: v1
kind: Pod
metadata: {name: missing-program}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: "example.com/web:1", command: [no-such-program]}
---
apiVersion: v1
kind: Pod
metadata: {name: unconfined}
spec:
  restartPolicy: Never
  securityContext: {seccompProfile: {type: Unconfined}}
  containers:
  - {name: main, image: "example.com/web:1", command: ["grep", "Seccomp:", "/proc/self/status"]}
---
apiVersion: v1
kind: Pod
metadata: {name: terminal}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: example.com/web:1
    stdin: true
    tty: true
    command: ["sh", "-c", "test -t 0 && echo it is one; read word; echo got $word"]
---
apiVersion: v1
kind: Pod
metadata: {name: impatient}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: example.com/web:1
    command: ["sleep", "1000"]
    readinessProbe: {exec: {command: ["sleep", "1234"]}, timeoutSeconds: 1, periodSeconds: 1}
"""

pytestmark = pytest.mark.skipif(BUSYBOX is None, reason="busybox is not installed; install the package busybox-static")


def image(up: Up, *arguments: str, check: bool = True) -> str:
    done = up.run(*seaway("image", *arguments[:1], "--data-dir", str(up.data_dir), *arguments[1:]), check=check)
    return done.stdout if done.returncode == 0 else done.stderr


def kubectl_argv(up: Up, *arguments: str) -> list[str]:
    return ["kubectl", "--kubeconfig", str(up.kubeconfig), *arguments]


@pytest.fixture(scope="module", params=["crun", "shim"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "crun" and CRUN is None:
        pytest.skip("crun is not installed; install the package crun")
    return str(request.param)


@pytest.fixture(scope="module")
def up(way: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(Path(tmp_path_factory.mktemp("seaway"))).start("--oci-runtime", str(CRUN) if way == "crun" else "none")
    yield running
    code, _ = running.stop()
    assert code == 0


@pytest.fixture(scope="module")
def images(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Up:
    assert BUSYBOX is not None
    page = [directory("www"), Entry("www/index.html", b"from an image\n", 0o644)]
    layer = make_busybox(Path(BUSYBOX).read_bytes(), APPLETS, *page)
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    maker = ImageMaker([layer], CONFIG, names=("example.com/web:1",), architecture=machine)
    image(up, "import", str(maker.write_layout(tmp_path_factory.mktemp("image") / "web.tar")))
    program = tmp_path_factory.mktemp("program")
    program.chmod(0o755)
    image(up, "alias", "-e", "SAID=hello", "example.com/program=/bin/sh", "-c", "echo $SAID; exec sleep 1000")
    up.kubectl("apply", "-f", "-", stdin=PODS)
    up.wait_pods("web", "shell")
    return up


def test_an_image_serves_by_its_own_entrypoint(images: Up) -> None:
    page = images.kubectl("exec", "shell", "-c", "main", "--", "wget", "-qO-", "http://web/")
    assert page == "from an image\n"


def test_a_program_sees_the_image_and_nothing_of_the_host(images: Up) -> None:
    said = images.kubectl("logs", "shell", "-c", "main").splitlines()
    assert said[:3] == ["/www", "image pod pod", "wrote"]
    assert set(said[3:]) == {"bin", "data", "dev", "etc", "proc", "sys", "tmp", "var", "written", "www"}


def test_what_a_run_writes_is_its_own(images: Up) -> None:
    missing = images.kubectl("exec", "web", "--", "ls", "/written", check=False)
    assert "No such file" in missing
    images.kubectl("exec", "web", "--", "sh", "-c", "touch /before; kill 1", check=False)  # it ends with the container
    until(lambda: images.get("pod", "web")["status"]["containerStatuses"][0]["restartCount"] == 1, "it runs again")
    images.wait_pods("web")
    assert "No such file" in images.kubectl("exec", "web", "--", "ls", "/before", check=False)


def test_a_sealed_root_leaves_volumes_open(images: Up) -> None:
    said = images.kubectl("logs", "shell", "-c", "sealed")
    assert "Read-only file system" in said
    assert said.splitlines()[-2:] == ["refused", "kept"]


def test_the_status_names_the_image_and_an_event_says_that_it_is_here(images: Up) -> None:
    listed = json.loads(image(images, "ls", "-o", "json"))
    (id,) = (row["id"] for row in listed if "sizeBytes" in row)
    assert images.get("pod", "web")["status"]["containerStatuses"][0]["imageID"] == id
    events = images.get("events", "--field-selector", "involvedObject.name=web,reason=Pulled")["items"]
    assert events[0]["message"].startswith('Container image "example.com/web:1" already present on machine')


def test_a_name_may_stand_for_a_program_of_the_host(images: Up) -> None:
    until(lambda: images.kubectl("logs", "alias", "-c", "main", check=False) == "hello\n", "the program speaks")
    refused = images.kubectl("logs", "alias", "-c", "other", check=False)
    assert "said" in refused


@pytest.mark.parametrize(
    ("name", "policy", "reason", "event"),
    [
        ("never", "Never", "ErrImageNeverPull", 'Container image "example.com/none:1" is not present with pull policy'),
        ("missing", "IfNotPresent", "ImagePullBackOff", 'Failed to pull image "example.com/none:1"'),
    ],
)
def test_an_image_that_is_not_there_says_how_to_bring_it(
    images: Up, name: str, policy: str, reason: str, event: str
) -> None:
    images.kubectl("run", name, "--image=example.com/none:1", f"--image-pull-policy={policy}")

    def waiting() -> dict[str, str]:
        statuses = images.get("pod", name)["status"].get("containerStatuses") or [{"state": {}}]
        found: dict[str, str] = statuses[0]["state"].get("waiting") or {}
        return found

    until(lambda: waiting().get("reason") == reason, f"the container waits with {reason}")
    assert "seaway image import FILE" in waiting()["message"]
    events = images.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
    assert any(each["message"].startswith(event) for each in events)
    image(images, "alias", "example.com/none:1=example.com/web:1")
    images.wait_pods(name)
    image(images, "rm", "example.com/none:1")
    images.kubectl("delete", "pod", name, "--wait=false")


def test_what_cannot_be_named_is_one_error(images: Up) -> None:
    assert "not imported" in image(images, "alias", "a=b", check=False)
    assert "no program that can be executed" in image(images, "alias", "a=/nonexistent", check=False)
    assert "REF=IMAGE or REF=/PROGRAM needed" in image(images, "alias", "a", check=False)
    assert "not found" in image(images, "rm", "a", check=False)


def test_node_and_status_tell_what_runs_images(images: Up, way: str) -> None:
    (node,) = images.get("nodes")["items"]
    said = node["status"]["nodeInfo"]["containerRuntimeVersion"]
    shown = json.loads(images.run(*seaway("status", "--data-dir", str(images.data_dir), "-o", "json")).stdout)["images"]
    if way == "crun":
        assert said.startswith("process://1+crun-") and shown.startswith(f"{CRUN} ")
    else:
        assert (said, shown) == ("process://1", "shim (the setting is none)")


def test_a_filter_refuses_what_leads_out_of_a_container(images: Up, way: str) -> None:
    """For the program and for what is executed beside it."""
    looks = (
        "for p in /proc/[0-9]*; do grep -q httpd $p/cmdline && grep -E '^(Seccomp|NoNewPrivs):' $p/status; done; true"
    )
    lines = images.kubectl("exec", "web", "--", "sh", "-c", looks).splitlines()
    assert len(lines) >= 4, "the server, and the shell that looks"
    assert {tuple(line.split()) for line in lines} == {
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2" if way == "crun" else "0"),
    }


def test_a_pod_may_ask_for_no_filter(images: Up) -> None:
    said = until(lambda: images.kubectl("logs", "unconfined", check=False), "the program has spoken")
    assert said.split() == ["Seccomp:", "0"]


def test_process_one_shows_nothing_of_the_host(images: Up) -> None:
    seen = images.kubectl("exec", "web", "--", "sh", "-c", "ls /proc/1/root/ 2>&1; ls /proc/1/fd 2>&1", check=False)
    assert "usr" not in seen and "home" not in seen


def test_a_program_that_is_not_in_the_image_is_named(images: Up) -> None:
    def terminated() -> dict[str, str]:
        statuses = images.get("pod", "missing-program")["status"].get("containerStatuses") or [{"state": {}}]
        found: dict[str, str] = statuses[0]["state"].get("terminated") or {}
        return found

    until(terminated, "the container has ended")
    assert (terminated()["exitCode"], terminated()["reason"]) == (128, "StartError")
    assert "no-such-program" in terminated()["message"]
    assert "no-such-program" in images.kubectl("exec", "web", "--", "no-such-program", check=False)


def test_exit_codes_and_signals_of_executed_programs_are_told(images: Up) -> None:
    for script, code in (("exit 7", 7), ("kill -TERM $$", 143), ("true", 0)):
        argv = kubectl_argv(images, "exec", "web", "--", "sh", "-c", script)
        assert subprocess.run(argv, capture_output=True, timeout=30).returncode == code


def test_a_container_may_have_a_terminal(images: Up) -> None:
    images.wait_pods("terminal")
    until(lambda: "it is one" in images.kubectl("logs", "terminal"), "the program has looked")
    images.kubectl("attach", "-i", "terminal", stdin="word\n", check=False)  # ends with the program
    until(lambda: "got word" in images.kubectl("logs", "terminal"), "what is typed arrives")


def test_an_executed_program_may_have_a_terminal(images: Up) -> None:
    argv = kubectl_argv(images, "exec", "-it", "web", "--", "sh", "-c", "test -t 0 && echo $TERM > /dev/tty")
    ours, theirs = pty.openpty()
    try:
        ended = subprocess.run(argv, stdin=theirs, capture_output=True, timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (ended.returncode, ended.stdout.decode().strip()) == (0, "xterm"), ended.stderr


def test_a_probe_that_takes_too_long_is_ended(images: Up) -> None:
    """Each time anew: they do not pile up in the container."""
    argument = "field-selector=involvedObject.name=impatient,reason=Unhealthy"

    def count() -> int:
        return sum(int(each.get("count", 1)) for each in images.get("events", f"--{argument}")["items"])

    until(lambda: count() >= 4, "four probes have failed")
    seen = images.kubectl("exec", "impatient", "--", "sh", "-c", "grep -l 1234 /proc/[0-9]*/cmdline", check=False)
    programs = [line for line in seen.splitlines() if line.startswith("/proc/")]
    assert len(programs) <= 3, seen  # the one of now, and the shell and grep that look
