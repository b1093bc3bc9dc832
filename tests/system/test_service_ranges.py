"""A ServiceCIDR added with kubectl is drawn from, reached and guarded, and goes again: in the sandbox and on a host.

Rule: spec "service-api" §5.5.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import EXAMPLES, Up, free_port, open_host, seaway, until

APPS = {"my-app-1", "my-app-2", "my-app-3"}
RANGE = """
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.97.0.0/24]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: further}
spec:
  clusterIP: 10.97.0.7
  selector: {app.kubernetes.io/name: MyApp}
  ports: [{port: 80, targetPort: 9376}]
"""
ASK = """
import errno, socket, sys
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    asked.sendto(b"?", (sys.argv[1], 80))
    print("sent")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.fixture(scope="module", params=["sandbox", "host"])
def apps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = Path(tmp_path_factory.mktemp(f"ranges-{request.param}"))
    if request.param == "sandbox":
        yield from started(Up(folder))
        return
    if os.geteuid() != 0:
        pytest.skip("the host way needs root; run the tests as root")
    with open_host("seaway-test-ranges", "seaway-test-ranges-outside") as prefix:
        yield from started(Up(folder, network="host", prefix=prefix, port=free_port()))


def started(up: Up) -> Iterator[Up]:
    up.start()
    try:
        up.kubectl("apply", "-f", str(EXAMPLES))
        up.wait_pods(*APPS, "client")
        yield up
    finally:
        code, _ = up.stop()
        up.run(*seaway("down", "--data-dir", str(up.data_dir)))
        assert code == 0


def from_the_node(up: Up, address: str) -> str:
    """What becomes of a datagram; EPERM is the rule for what no Service has."""
    return up.inside(sys.executable, "-c", ASK, address).stdout.strip()


def from_a_pod(up: Up, url: str, count: int) -> dict[str, int]:
    client = up.get("pod", "client")["status"]["podIP"]
    shares: dict[str, int] = up.ask("get", f"http://{client}:8000/fetch?url={url}&count={count}")
    return shares


def test_a_range_added_live_is_reached_and_guarded_until_it_goes(apps: Up) -> None:
    assert from_the_node(apps, "10.96.250.250") == "EPERM", "so the first range is guarded"
    before = from_the_node(apps, "10.97.0.99")
    assert before != "EPERM"
    apps.kubectl("apply", "-f", "-", stdin=RANGE)
    try:
        until(lambda: from_the_node(apps, "10.97.0.99") == "EPERM", "unknown addresses of the range are refused")
        until(lambda: "created" in apps.kubectl("apply", "-f", "-", stdin=SERVICE, check=False), "it is drawn from")
        until(lambda: set(apps.ask("fetch", "http://10.97.0.7/", "3")) <= APPS, "the node reaches the Service")
        assert set(apps.ask("fetch", "http://10.97.0.7/", "40")) == APPS
        assert set(from_a_pod(apps, "http://10.97.0.7/", 40)) == APPS
        assert set(from_a_pod(apps, "http://further/", 40)) == APPS
        refused = from_a_pod(apps, "http://10.97.0.99/", 1)
        assert [who.startswith("error") for who in refused] == [True]
    finally:
        apps.kubectl("delete", "service", "further", "--ignore-not-found")
        apps.kubectl("delete", "servicecidr", "more", "--wait=false")
    until(lambda: not apps.kubectl("get", "servicecidr", "more", "--ignore-not-found"), "the range goes", 60)
    until(lambda: from_the_node(apps, "10.97.0.99") == before, "its addresses are nobody's again")
    assert json.loads(apps.kubectl("get", "servicecidr", "kubernetes", "-o", "json"))["spec"]["cidrs"] == [
        "10.96.0.0/16"
    ]
