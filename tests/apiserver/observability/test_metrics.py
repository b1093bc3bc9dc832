"""What is counted and how it is shown. Rule: spec "api-machinery" §11."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from seaway.api.machinery.http import Identity, Request
from seaway.api.registry import RESOURCES
from seaway.apiserver.observability.exposition import collect
from seaway.apiserver.observability.metrics import (
    DURATION_BOUNDS,
    METHODS,
    PATHS,
    SUBRESOURCES,
    Distribution,
    Metrics,
    label_request,
)
from seaway.apiserver.routes import route_request
from seaway.telemetry.exposition import Family
from seaway.testing.builders import make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, talk

GROUPS = {resource.group for resource in RESOURCES}
PLURALS = {resource.plural for resource in RESOURCES}
VERSIONS = {resource.version for resource in RESOURCES}
# Every label with what may stand in it: a label that is not here has no bound.
BOUNDED = {
    "verb": set(METHODS),
    "dry_run": {"", "All"},
    "group": GROUPS,
    "version": {"", *VERSIONS},
    "resource": {"", *PLURALS, *(f"{resource.plural}.{resource.group}" for resource in RESOURCES)},
    "subresource": {*SUBRESOURCES, *PATHS, "other"},
    "scope": {"", "resource", "namespace", "cluster", "static", "dynamic"},
    "component": {"apiserver"},
    "request_kind": {"mutating", "readOnly"},
    "priority_level": {"mutating", "readOnly"},
    "flow_schema": {"fair"},
    "reason": {"queue-full", "time-out", "total", "source"},
    "operation": {"get", "list", "commit", "CREATE", "UPDATE", "DELETE"},
    "result": {"success", "failure", "error", "allowed", "denied"},
    "rejected": {"true", "false"},
    "type": {"validate", "admit"},
    "plugin": {"log"},
    "listener": {"tcp", "unix"},
}
NUMBERS_AND_NAMES = {"code", "le", "cidr", "username", "name", *(["major", "minor", "compiler", "platform"])}
NUMBERS_AND_NAMES |= {"git_version", "git_commit", "git_tree_state", "build_date", "go_version"}


async def use(ask: Conversation) -> None:
    """A bit of everything, and words that no label may repeat."""
    await ask("POST", SERVICES, make_service())
    await ask("POST", f"{SERVICES}?dryRun=All", make_service("dry"))
    await ask("POST", f"{SERVICES}?dryRun=strange", make_service("dry"))
    await ask("GET", f"{SERVICES}/web")
    await ask("GET", SERVICES)
    await ask("GET", f"{SERVICES}?limit=1")
    await ask.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})
    await ask("STRANGE", f"{SERVICES}/web")
    await ask("GET", "/api/v1/namespaces/strange/strange/strange/strange")
    await ask("GET", "/strange/strange")
    await ask("GET", f"{SERVICES}/web/strange")
    await ask("DELETE", f"{SERVICES}/web")
    watch = await ask.watch(f"{CONFIG_MAPS}?allowWatchBookmarks=1")
    await watch.events()
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    await watch.events()
    await ask("GET", SERVICES, identity=Identity("strange"))


def families(ask: Conversation) -> Iterator[Family]:
    return collect(ask.server.state, ask.server.gates)


def test_every_metric_has_a_valid_name_help_and_bounded_labels() -> None:
    async def conversation(ask: Conversation) -> None:
        await use(ask)
        names = []
        for family in families(ask):
            names.append(family.name)
            assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name) and family.text.strip()
            assert family.kind in ("counter", "gauge", "histogram")
            assert not family.name.endswith("_count") and not family.name.endswith("_sum")
            for values, _ in family.rows:
                for label, value in zip(family.labels, values, strict=True):
                    assert label in NUMBERS_AND_NAMES or value in BOUNDED[label], (family.name, label, value)
            assert len({values for values, _ in family.rows}) == len(family.rows), f"{family.name} says a row twice"
        assert len(names) == len(set(names))
        assert "strange" not in (await ask("GET", "/metrics")).text.decode()

    talk(conversation)


def test_prometheus_reads_the_page_and_histograms_add_up() -> None:
    async def conversation(ask: Conversation) -> None:
        await use(ask)
        answer = await ask("GET", "/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        parsed = {family.name: family for family in text_string_to_metric_families(answer.text.decode())}
        durations = parsed["apiserver_request_duration_seconds"]
        counts = {s.labels["verb"]: s.value for s in durations.samples if s.name.endswith("_count")}
        ends = {s.labels["verb"]: s.value for s in durations.samples if s.labels.get("le") == "+Inf"}
        assert counts == ends and counts["PATCH"] == 1
        assert "WATCH" not in counts, "a watch has no duration"

    talk(conversation)


@pytest.mark.parametrize(
    "row",
    [
        'apiserver_request_total{verb="POST",dry_run="All",group="",version="v1",resource="services",subresource="",'
        'scope="namespace",component="apiserver",code="201"} 1',
        'apiserver_request_total{verb="WATCH",dry_run="",group="",version="v1",resource="configmaps",subresource="",'
        'scope="namespace",component="apiserver",code="200"} 1',
        'apiserver_longrunning_requests{verb="WATCH",group="",version="v1",resource="configmaps",subresource="",'
        'scope="namespace",component="apiserver"} 1',
        'apiserver_watch_events_total{group="",version="v1",resource="configmaps"} 2',
        'apiserver_watch_list_duration_seconds_count{group="",version="v1",resource="configmaps",scope="namespace"} 1',
        'apiserver_init_events_total{group="",resource="configmaps"} 0',
        'apiserver_watch_cache_events_dispatched_total{group="",resource="configmaps"} 1',
        'apiserver_current_inflight_requests{request_kind="readOnly"} 1',
        'apiserver_cache_list_total{group="",resource="services"} 2',
        'authorization_attempts_total{result="denied"} 1',
        'authorization_duration_seconds_count{result="denied"} 1',
        'authentication_duration_seconds_count{result="success"} 0',
        'apiserver_storage_objects{resource="configmaps"} 1',
        'kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.96.0.0/16"} 0',
        'kube_apiserver_clusterip_allocator_allocation_total{cidr="10.96.0.0/16",scope="dynamic"} 1',
        'kube_apiserver_clusterip_allocator_allocation_duration_seconds_count{cidr="10.96.0.0/16"} 1',
        "kube_apiserver_nodeport_allocator_available_ports 2768",
        "apiserver_clusterip_repair_reconcile_errors_total 0",
        "apiserver_nodeport_repair_reconcile_errors_total 0",
        'kubernetes_build_info{major="1",',
        "process_resident_memory_bytes ",
    ],
    ids=lambda row: row.split("{")[0].split(" ")[0],
)
def test_what_was_done_is_on_the_page(row: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await use(ask)
        text = (await ask("GET", "/metrics")).text.decode()
        assert row in text, [line for line in text.splitlines() if line.startswith(row.split("{")[0])]

    talk(conversation)


POD = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "program:1"}]}}
INGRESS = {"metadata": {"name": "a"}, "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}}


@pytest.mark.parametrize(
    ("method", "path", "body", "row"),
    [
        ("POST", "/api/v1/namespaces/default/pods", POD, ("Priority", "CREATE", "false", "admit")),
        ("POST", "/api/v1/namespaces/default/pods", POD | {"spec": POD["spec"] | {"priorityClassName": "none"}},
         ("Priority", "CREATE", "true", "admit")),
        ("POST", "/api/v1/namespaces/default/pods", POD | {"spec": POD["spec"] | {"serviceAccountName": "none"}},
         ("ServiceAccount", "CREATE", "true", "admit")),
        ("POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses", INGRESS,
         ("DefaultIngressClass", "CREATE", "false", "admit")),
        ("POST", SERVICES, make_service(), ("ExternalIPRanges", "CREATE", "false", "validate")),
        ("POST", SERVICES, make_service(), ("NamespaceLifecycle", "CREATE", "false", "validate")),
        ("POST", "/api/v1/namespaces/none/configmaps", {"metadata": {"name": "a"}},
         ("NamespaceLifecycle", "CREATE", "true", "validate")),
        ("DELETE", "/api/v1/namespaces/default", None, ("NamespaceLifecycle", "DELETE", "true", "validate")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_each_plugin_of_admission_is_timed(method: str, path: str, body: Any, row: tuple[str, ...]) -> None:
    async def conversation(ask: Conversation) -> None:
        admissions = ask.server.metrics.admissions
        before = sum(admissions[row].counts) if row in admissions else 0  # type: ignore[index]
        answer = await ask(method, path, body)
        assert (answer.status >= 400) is (row[2] == "true"), answer.text
        assert sum(admissions[row].counts) == before + 1  # type: ignore[index]

    talk(conversation)


def test_a_read_that_names_a_revision_is_timed_until_memory_has_it() -> None:
    async def conversation(ask: Conversation) -> None:
        waits = ask.server.metrics.read_waits
        await ask("GET", SERVICES)
        await ask("GET", f"{SERVICES}?resourceVersion=0")
        assert waits == {}
        await ask("GET", f"{SERVICES}?resourceVersion=1")
        await ask("GET", f"{SERVICES}/web?resourceVersion=1")
        assert sum(waits["", "services"].counts) == 2
        row = b'apiserver_watch_cache_read_wait_seconds_count{group="",resource="services"} 2'
        assert row in (await ask("GET", "/metrics")).text

    talk(conversation)


def test_the_end_of_a_watch_is_seen() -> None:
    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(CONFIG_MAPS)
        assert b'apiserver_longrunning_requests{verb="WATCH"' in (await ask("GET", "/metrics")).text
        await watch.stream.aclose()  # type: ignore[attr-defined]
        assert b'apiserver_longrunning_requests{verb="WATCH"' not in (await ask("GET", "/metrics")).text

    talk(conversation)


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"]),
    st.lists(
        st.sampled_from(["api", "apis", "v1", "apps", "namespaces", "services", "x", "status", "proxy"]), max_size=7
    ),
    st.text(alphabet="abc", max_size=3),
    st.sampled_from(["/", "", "*", "//"]),
)
def test_law_labels_never_come_from_the_client(method: str, parts: list[str], dry_run: str, start: str) -> None:
    request = Request(method, start + "/".join(parts), (("dryRun", dry_run),))
    labels = label_request(request, route_request(request))
    for name, value in labels._asdict().items():
        assert value in BOUNDED[name]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["GET", "BREW", "DELETE"])), max_size=200))
def test_law_cells_do_not_grow_with_what_clients_write(asked: list[tuple[str, str]]) -> None:
    metrics = Metrics()
    for word, method in asked:
        for path in (f"/{word}", f"/api/v1/namespaces/{word}/services/{word}", f"/apis/{word}/v1/{word}"):
            request = Request(method, path, (("dryRun", word),), {"content-type": word})
            metrics.cell(request, route_request(request))
    assert len(metrics.cells) <= 3 * 3


@given(st.lists(st.floats(0, 100), max_size=50))
def test_law_a_distribution_keeps_every_value(values: list[float]) -> None:
    distribution = Distribution(DURATION_BOUNDS)
    for value in values:
        distribution.observe(value)
    assert sum(distribution.counts) == len(values)
    assert distribution.total == pytest.approx(sum(values))


def test_the_time_without_the_wait_is_shown_apart() -> None:
    metrics = Metrics()
    request = Request("GET", f"{SERVICES}/web")
    cell = metrics.cell(request, route_request(request))
    cell.answer(200, 10, 3.0, 2.95)
    assert cell.durations.counts[DURATION_BOUNDS.index(5.0)] == 1
    shifted = [a + b for a, b in zip(cell.durations.counts, cell.waits.counts, strict=True)]
    assert shifted.index(1) == DURATION_BOUNDS.index(0.05) or shifted.index(1) == DURATION_BOUNDS.index(0.1)
    assert sum(shifted) == 1


def test_users_are_counted_by_what_kind_they_are() -> None:
    metrics = Metrics()
    for user in ("admin", "ann", "bob", "system:node:n1", "system:serviceaccount:a:b", "system:anonymous"):
        metrics.count_authentication(Identity(user), 0.00005)
    metrics.count_authentication(None, 0.002)
    assert metrics.users == {"admin": 1, "other": 2, "system:node": 1, "system:serviceaccount": 1}
    assert metrics.failed_authentications == 1
    assert metrics.authentication_seconds["success"].counts[1] == 5, "the anonymous one has no credentials"
    assert sum(metrics.authentication_seconds["failure"].counts) == 1
