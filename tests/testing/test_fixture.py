"""The fixture as its users have it: helpers, users, trouble, restarts, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.errors import (
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    InternalError,
    NotFound,
    TooManyRequests,
)
from seaway.api.registry import PODS, SERVICES
from seaway.client.kubeconfig import parse_kubeconfig
from seaway.client.requests import Client, TransportError
from seaway.client.run import Informer
from seaway.client.transport import open_client
from seaway.testing.credentials import User
from seaway.testing.fixture import AsyncSeaway, Seaway
from seaway.testing.kubelet import make_finished_status, make_running_status
from seaway.testing.server import SeawayServer

T = TypeVar("T")
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
"""


def ask(seaway: Seaway, user: User, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """What the work gives with a client of the user, over TLS, on the server's loop."""

    async def run() -> T:
        client = open_client(user.connection)
        try:
            return await work(client)
        finally:
            await client.close()

    return seaway.server.wait(run)


def get_service(seaway: Seaway, user: User | None = None) -> object:
    return ask(seaway, user or seaway.admin, lambda client: client.get(SERVICES, "web", seaway.namespace, as_type=dict))


# Helpers.


def test_a_pod_that_is_ready_is_an_endpoint_and_one_that_is_not_is_none(seaway: Seaway) -> None:
    seaway.make_service("web")
    seaway.make_pod("web-1")
    seaway.make_pod("web-2", ready=True)
    (first,) = seaway.wait_endpoints("web", {"web-2"})
    pod = seaway.pod_ready("web-1")
    assert seaway.wait_endpoints("web", 2) == tuple(sorted((first, pod["status"]["podIP"])))
    seaway.pod_not_ready("web-2")
    assert seaway.wait_endpoints("web", {"web-1"}) == (pod["status"]["podIP"],)


def test_a_pod_that_terminates_leaves_the_ready_endpoints_and_goes_when_its_kubelet_says_so(seaway: Seaway) -> None:
    seaway.make_service("web")
    seaway.make_pod("web-1", ready=True)
    seaway.wait_endpoints("web", 1)
    assert seaway.pod_terminating("web-1")["metadata"]["deletionTimestamp"]
    seaway.wait_endpoints("web", 0)
    assert seaway.get("pod", "web-1")
    seaway.pod_gone("web-1")
    seaway.wait_gone("pod", "web-1")


def test_a_pod_that_finished_has_a_phase_and_an_exit_code(seaway: Seaway) -> None:
    seaway.make_pod("job-1", ready=True)
    status = seaway.pod_finished("job-1", exit_code=3)["status"]
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


def test_a_lost_node_takes_its_pods_out_of_service(seaway: Seaway) -> None:
    seaway.make_node("alpha", zone="a")
    seaway.make_node("beta", zone="b")
    seaway.make_service("web")
    seaway.make_pod("web-1", ready=True, node="alpha")
    seaway.make_pod("web-2", ready=True, node="beta")
    seaway.wait_endpoints("web", 2)
    seaway.node_lost("alpha")
    seaway.wait_endpoints("web", {"web-2"})
    (slice_,) = seaway.list("endpointslices", label_selector="kubernetes.io/service-name=web")
    assert {endpoint["zone"] for endpoint in slice_["endpoints"]} == {"a", "b"}


def test_a_manifest_is_created_once_and_applied_again_and_again(seaway: Seaway) -> None:
    assert [obj["kind"] for obj in seaway.apply(MANIFEST)] == ["Service", "ConfigMap"]
    seaway.apply(MANIFEST.replace("red", "blue"))
    assert seaway.get("cm", "settings")["data"] == {"colour": "blue"}
    with pytest.raises(ApiError, match="already exists"):
        seaway.create(MANIFEST)


def test_objects_are_patched_listed_and_deleted_by_any_name_of_their_kind(seaway: Seaway) -> None:
    seaway.apply(MANIFEST)
    seaway.patch("ConfigMap", "settings", {"metadata": {"labels": {"tier": "front"}}})
    seaway.patch("configmaps", "settings", [{"op": "replace", "path": "/data/colour", "value": "green"}])
    (found,) = seaway.list("cm", label_selector="tier=front")
    assert found["data"] == {"colour": "green"}
    seaway.delete("svc", "web")
    with pytest.raises(NotFound):
        seaway.get("services", "web")
    with pytest.raises(ValueError, match="kind 'teapot' is not served"):
        seaway.get("teapot", "web")


def test_what_is_waited_for_in_vain_is_told(seaway: Seaway) -> None:
    seaway.make_service("web")
    with pytest.raises(TimeoutError, match=r"endpoints of web: 1 wanted, \(\) found; not within 0.05 s"):
        seaway.wait_endpoints("web", timeout_seconds=0.05)
    with pytest.raises(TimeoutError, match="pod web-9: not found"):
        seaway.wait_for("pod", "web-9", timeout_seconds=0.05)


def test_events_are_found_by_what_they_are_about(seaway: Seaway) -> None:
    about = {"kind": "Service", "name": "web", "namespace": seaway.namespace, "apiVersion": "v1"}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"}, "involvedObject": about}
    seaway.create({**event, "reason": "Seen", "message": "there it is", "type": "Normal"})
    assert seaway.wait_event("Seen", "web")["message"] == "there it is"
    assert seaway.events("other") == []


# Namespaces and users.


def test_each_test_has_a_namespace_of_its_own_with_its_default_objects(seaway: Seaway) -> None:
    assert seaway.namespace.startswith("test-")
    assert seaway.get("serviceaccount", "default")
    assert parse_kubeconfig(seaway.kubeconfig.read_text()).namespace == seaway.namespace
    with seaway.server.open_namespace("other") as other:
        assert other.namespace != seaway.namespace
        other.make_service("web")
        assert seaway.list("service") == []
        gone = other.namespace
    seaway.wait_gone("namespace", gone)


def test_cluster_objects_that_a_test_made_go_with_it(seaway: Seaway) -> None:
    with seaway.server.open_namespace("other") as other:
        other.make_node("alpha")
        other.create("{apiVersion: v1, kind: Node, metadata: {name: beta}}")
    assert {node["metadata"]["name"] for node in seaway.list("nodes")} & {"alpha", "beta"} == set()


def test_another_user_may_what_rbac_says(seaway: Seaway) -> None:
    seaway.make_service("web")
    alice = seaway.user("alice", "readers")
    with pytest.raises(Forbidden, match='User "alice" cannot get resource "services"'):
        get_service(seaway, alice)
    seaway.apply(
        """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [services], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}]
"""
    )
    assert get_service(seaway, alice)
    assert "alice" in {request.user for request in seaway.requests}


def test_secrets_are_not_printed_and_files_are_private(seaway: Seaway) -> None:
    assert seaway.token not in repr(seaway.admin)
    assert "PRIVATE KEY" not in repr(seaway.admin)
    for path in seaway.server.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(seaway.server.folder.stat().st_mode) == 0o700


# Trouble.


@pytest.mark.parametrize(
    ("status", "error"),
    [(409, Conflict), (410, Expired), (429, TooManyRequests), (500, InternalError), (403, Forbidden), (418, ApiError)],
)
def test_the_next_request_that_matches_is_refused_and_the_one_after_is_not(
    seaway: Seaway, status: int, error: type[ApiError]
) -> None:
    seaway.make_service("web")
    order = seaway.fail_next(status, verb="get", kind="service", namespace=seaway.namespace)
    assert ask(seaway, seaway.admin, lambda client: client.list(SERVICES, seaway.namespace))
    with pytest.raises(error) as caught:
        get_service(seaway)
    assert caught.value.status_code == status
    assert get_service(seaway)
    assert [(met.method, met.status) for met in order.met] == [("GET", status)]


def test_orders_that_were_not_met_end_with_their_test(seaway: Seaway) -> None:
    with seaway.server.open_namespace("other") as other:
        order = other.fail_next(500, times=5)
    assert order.is_spent
    seaway.make_service("web")
    assert get_service(seaway)


def test_a_late_answer_is_the_true_one(seaway: Seaway) -> None:
    seaway.make_service("web")
    order = seaway.delay_next(0.01, verb="get", name="web")
    assert get_service(seaway)
    assert len(order.met) == 1


def count(seaway: Seaway, verb: str) -> int:
    return len([r for r in seaway.requests if r.verb == verb and f"/{seaway.namespace}/" in r.path])


def follow(seaway: Seaway, trouble: Callable[[], object]) -> None:
    """An informer over TLS sees what happens after the trouble. It lives on the server's loop, as a guest."""

    async def run() -> None:
        client = open_client(seaway.admin.connection)
        informer: Informer[dict[str, Any]] = Informer(client, PODS, dict, namespace=seaway.namespace)
        seen = asyncio.Event()
        informer.subscribe(lambda change: seen.set())
        task = asyncio.create_task(informer.run())
        try:
            await seaway.server.cluster.eventually(lambda: asyncio.sleep(0, count(seaway, "watch")))
            await asyncio.to_thread(trouble)
            await seaway.as_async().make_pod("web-1")
            async with asyncio.timeout(10):
                await seen.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()

    seaway.server.wait(run)


def test_a_watch_that_is_cut_is_taken_up_again(seaway: Seaway) -> None:
    follow(seaway, lambda: seaway.cut_watches("pods"))
    assert (count(seaway, "list"), count(seaway, "watch")) == (1, 2)


def test_a_watch_that_has_expired_lists_again(seaway: Seaway) -> None:
    follow(seaway, lambda: seaway.cut_watches("pods", expired=True))
    assert (count(seaway, "list"), count(seaway, "watch")) == (2, 2)


def test_only_the_watches_of_the_kind_are_cut(seaway: Seaway) -> None:
    follow(seaway, lambda: seaway.cut_watches("services"))
    assert (count(seaway, "list"), count(seaway, "watch")) == (1, 1)


@pytest.mark.seaway(server="test")
def test_a_restart_keeps_objects_and_address_and_ends_watches(seaway: Seaway) -> None:
    before = seaway.make_service("web"), seaway.url
    follow(seaway, seaway.restart)
    assert (seaway.get("service", "web"), seaway.url) == before
    assert get_service(seaway)


@pytest.mark.seaway(server="test")
def test_in_an_outage_connections_are_refused(seaway: Seaway) -> None:
    seaway.make_service("web")
    with seaway.outage():
        with pytest.raises(TransportError, match="no answer"):
            get_service(seaway)
        with pytest.raises(RuntimeError, match="is stopped"):
            seaway.list("service")
    assert get_service(seaway)


# Forms, and the end.


def test_a_server_without_pytest_and_without_a_trace() -> None:
    threads = set(threading.enumerate())
    with SeawayServer() as seaway:
        seaway.make_service("web")
        folder, port = seaway.server.folder, seaway.server.port
        assert folder.exists()
        assert get_service(seaway)
    assert not folder.exists()
    assert set(threading.enumerate()) == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    with pytest.raises(RuntimeError, match="was closed"):
        seaway.list("service")


def test_a_server_of_a_loop_that_goes_on_meanwhile() -> None:
    async def run() -> None:
        async with SeawayServer(controllers=()) as seaway:
            assert isinstance(seaway, AsyncSeaway)
            made, listed = await asyncio.gather(seaway.make_service("web"), seaway.list("namespaces"))
            assert made["metadata"]["name"] == "web"
            assert listed

    asyncio.run(run())


def test_a_server_that_cannot_start_leaves_nothing() -> None:
    threads = set(threading.enumerate())
    server = SeawayServer(controllers=("teapot",))
    with pytest.raises(Exception, match="teapot"):
        server.start()
    assert set(threading.enumerate()) == threads


def test_two_servers_know_nothing_of_each_other(seaway: Seaway, seaway_factory: Callable[..., Seaway]) -> None:
    one, two = seaway_factory(), seaway_factory(controllers=())
    one.make_service("web")
    assert two.list("services") == seaway.list("services", namespace="default")
    assert len({one.url, two.url, seaway.url}) == 3


# What a kubelet says, as values.


@given(st.lists(st.booleans(), max_size=5))
def test_a_condition_changes_its_time_only_with_its_status(history: list[bool]) -> None:
    pod: dict[str, object] = {"spec": {"containers": [{"name": "main"}]}, "status": {}}
    last: bool | None = None
    since = ""
    for moment, ready in enumerate(history):
        now = f"2026-01-02T00:00:{moment:02}Z"
        pod["status"] = make_running_status(pod, ip="10.0.0.1", host_ip="192.0.2.1", ready=ready, now=now)
        since = since if ready == last else now
        last = ready
        conditions = {c["type"]: c for c in pod["status"]["conditions"]}
        assert conditions["Ready"]["lastTransitionTime"] == since
        assert conditions["Ready"]["status"] == str(ready)
        assert conditions["Initialized"]["lastTransitionTime"] == "2026-01-02T00:00:00Z"


def test_a_readiness_gate_of_others_stays() -> None:
    gate = {"type": "example.com/gate", "status": "True"}
    pod = {"spec": {"containers": [{"name": "main"}]}, "status": {"conditions": [gate]}}
    running = make_running_status(pod, ip="10.0.0.1", host_ip="", ready=True, now="2026-01-02T00:00:00Z")
    finished = make_finished_status({**pod, "status": running}, exit_code=0, now="2026-01-02T00:00:01Z")
    assert gate in running["conditions"]
    assert gate in finished["conditions"]


def test_paths_are_paths(seaway: Seaway) -> None:
    assert isinstance(seaway.kubeconfig, Path)
    assert seaway.ca_file.read_text() == seaway.ca_pem
