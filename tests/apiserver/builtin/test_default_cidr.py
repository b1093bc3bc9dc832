"""The ServiceCIDR `kubernetes`. Rule: spec "service-api" §5.5 (default object)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from seaway.api.machinery.errors import ApiError, Conflict
from seaway.api.registry import EVENTS, SERVICE_CIDRS, SERVICES
from seaway.apiserver.builtin.default_cidr import describe_failure, find_trouble, plan_default_cidr
from seaway.apiserver.config import ServerConfig
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import open_cluster
from tests.apiserver.conversation import Conversation, talk

Json = dict[str, Any]
IPV4, IPV6 = "10.96.0.0/16", "fd10:96::/112"
ONE, TWO = ServerConfig(service_cidrs=(IPV4,)), ServerConfig(service_cidrs=(IPV4, IPV6))
NOW = "2026-01-02T12:00:00Z"


def make(*cidrs: str, ready: str = "", **meta: Any) -> Json:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    return {"metadata": {"name": "kubernetes", **meta}, "spec": {"cidrs": list(cidrs)},
            "status": {"conditions": conditions}}  # fmt: skip


def test_it_is_made_of_the_servers_ranges_in_their_order() -> None:
    write = plan_default_cidr(None, TWO, now=NOW)
    assert write is not None and write.obj is not None
    assert (write.name, write.obj["spec"], write.subresource) == ("kubernetes", {"cidrs": [IPV4, IPV6]}, "")


def test_a_second_range_is_added_to_the_first() -> None:
    write = plan_default_cidr(make(IPV4, ready="True"), TWO, now=NOW)
    assert write is not None and write.obj is not None
    assert write.obj["spec"] == {"cidrs": [IPV4, IPV6]}


@pytest.mark.parametrize("ready", ["", "Unknown"])
def test_it_is_called_ready_when_nobody_has_judged_it(ready: str) -> None:
    write = plan_default_cidr(make(IPV4, ready=ready), ONE, now=NOW)
    assert write is not None and write.obj is not None
    assert write.subresource == "status"
    (condition,) = write.obj["status"]["conditions"]
    assert (condition["status"], condition["lastTransitionTime"]) == ("True", NOW)
    assert condition["message"] == "Kubernetes default Service CIDR is ready"


@pytest.mark.parametrize(
    "existing",
    [
        pytest.param(make(IPV4, ready="True"), id="ready"),
        pytest.param(make(IPV4, ready="False"), id="somebody says not"),
        pytest.param(make("10.0.0.0/16"), id="other ranges"),
        pytest.param(make(IPV4, deletionTimestamp=NOW), id="it is being deleted"),
    ],
)
def test_nothing_else_is_touched(existing: Json) -> None:
    assert plan_default_cidr(existing, ONE, now=NOW) is None


TROUBLES: list[tuple[str, Json, tuple[str, str] | None]] = [
    ("other ranges", make("10.0.0.0/16"),
     ("KubernetesDefaultServiceCIDRInconsistent", "The default ServiceCIDR [10.0.0.0/16] does not match the controller "
      "flag configurations [10.96.0.0/16 fd10:96::/112]")),
    ("somebody says not ready", {**make(IPV4, IPV6), "status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "Broken", "message": "it is"}]}},
     ("Broken", "Configuration matches, but it is")),
    ("ready", make(IPV4, IPV6, ready="True"), None),
    ("being deleted", make("10.0.0.0/16", deletionTimestamp=NOW), None),
]  # fmt: skip


@pytest.mark.parametrize(("existing", "expected"), [pytest.param(*case[1:], id=case[0]) for case in TROUBLES])
def test_what_no_write_mends_is_said(existing: Json, expected: tuple[str, str] | None) -> None:
    found = find_trouble(existing, TWO)
    assert (found and (found.reason, found.note)) == expected


def test_other_ranges_than_the_flags_go_on_and_are_said_once() -> None:
    store = MemoryStore()

    async def main() -> None:
        async with open_cluster(config=ServerConfig(service_cidrs=("10.0.0.0/24",)), store=store):
            pass
        async with open_cluster(config=ONE, store=store) as cluster:
            client = cluster.client()
            made = await client.create(SERVICES, make_service(), "default")
            assert made["spec"]["clusterIP"].startswith("10.0.0.")
            await asyncio.sleep(25)
            (raw,) = (await client.list(EVENTS, "default")).items
            event = json.loads(bytes(raw))
            assert event["reason"] == "KubernetesDefaultServiceCIDRInconsistent"
            assert (event["count"], event["type"]) == (1, "Warning"), "said once"
            assert event["source"] == {"component": "kubernetes-service-cidr-controller"}
            about = (event["involvedObject"]["kind"], event["involvedObject"]["name"])
            assert about == ("ServiceCIDR", "kubernetes")
            kept = await client.get(SERVICE_CIDRS, "kubernetes", as_type=dict)
            assert kept["spec"]["cidrs"] == ["10.0.0.0/24"]
        await store.close()

    run_virtually(main())


def test_a_server_has_it_from_the_start() -> None:
    async def conversation(ask: Conversation) -> None:
        found = (await ask("GET", SERVICE_CIDRS.path("", "kubernetes"))).body
        assert found["spec"] == {"cidrs": [IPV4]}
        assert [(c["type"], c["status"]) for c in found["status"]["conditions"]] == [("Ready", "True")]
        assert plan_default_cidr(found, ONE, now=NOW) is None
        owners = [
            (e["manager"], e["operation"], e.get("subresource", ""), e["fieldsV1"])
            for e in found["metadata"]["managedFields"]
            if "f:status" in e["fieldsV1"]
        ]
        ready = {"f:type": {}, "f:status": {}, "f:reason": {}, "f:message": {}, "f:lastTransitionTime": {}, ".": {}}
        fields = {"f:status": {"f:conditions": {'k:{"type":"Ready"}': ready}}}
        assert owners == [("kubernetes-service-cidr-controller", "Apply", "status", fields)]

    talk(conversation)


FAILURES = [
    ("it cannot be made", None, ONE, ApiError("no", code=500), "The default ServiceCIDR can not be created"),
    ("it cannot get its second range", make(IPV4, ready="True"), TWO, Conflict("somebody was first", {}),
     "The default ServiceCIDR can not be upgraded from 10.96.0.0/16 to dual stack [10.96.0.0/16 fd10:96::/112] : "
     "somebody was first"),
    ("it cannot be called ready", make(IPV4), ONE, ApiError("no", code=500),
     "The default ServiceCIDR Status can not be set to Ready=True"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("existing", "config", "error", "note"), [pytest.param(*case[1:], id=case[0]) for case in FAILURES]
)
def test_a_write_that_fails_is_said(existing: Json | None, config: ServerConfig, error: ApiError, note: str) -> None:
    write = plan_default_cidr(existing, config, now=NOW)
    assert write is not None
    notice = describe_failure(existing, write, config, error)
    assert (notice.reason, notice.note) == ("KubernetesDefaultServiceCIDRError", note)
    assert (notice.name, notice.reporter) == ("kubernetes", "kubernetes-service-cidr-controller")


def test_the_condition_is_applied_beside_those_of_others() -> None:
    async def main() -> None:
        async with open_cluster(config=ONE) as cluster:
            client = cluster.client()
            found = await client.get(SERVICE_CIDRS, "kubernetes", as_type=dict)
            when = {"lastTransitionTime": NOW, "reason": "Some", "message": ""}
            others = [{"type": "Watched", "status": "True", **when}, {"type": "Ready", "status": "Unknown", **when}]
            status = {"conditions": others}
            await client.update(SERVICE_CIDRS, {**found, "status": status}, subresource="status")
            await asyncio.sleep(11)
            kept = await client.get(SERVICE_CIDRS, "kubernetes", as_type=dict)
            conditions = {c["type"]: c for c in kept["status"]["conditions"]}
            assert conditions["Watched"] == others[0]
            assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", "")

    run_virtually(main())


def test_a_server_with_two_ranges_upgrades_the_object_of_one() -> None:
    store = MemoryStore()

    async def main() -> None:
        async with open_cluster(config=ONE, store=store):
            pass
        async with open_cluster(config=TWO, store=store) as cluster:
            client = cluster.client()
            kept = await client.get(SERVICE_CIDRS, "kubernetes", as_type=dict)
            assert kept["spec"]["cidrs"] == [IPV4, IPV6]
            assert not (await client.list(EVENTS, "default")).items
        await store.close()

    run_virtually(main())


def test_what_somebody_calls_not_ready_is_said_once_and_stays() -> None:
    async def main() -> None:
        async with open_cluster(config=ONE) as cluster:
            client = cluster.client()
            found = await client.get(SERVICE_CIDRS, "kubernetes", as_type=dict)
            no = {"type": "Ready", "status": "False", "reason": "Mine", "message": "not now", "lastTransitionTime": NOW}
            status = {"conditions": [no]}
            await client.update(SERVICE_CIDRS, {**found, "status": status}, subresource="status")
            await asyncio.sleep(35)
            (raw,) = (await client.list(EVENTS, "default")).items
            event = json.loads(bytes(raw))
            assert (event["reason"], event["message"]) == ("Mine", "Configuration matches, but not now")
            assert event["count"] == 1
            kept = await client.get(SERVICE_CIDRS, "kubernetes", as_type=dict)
            assert kept["status"]["conditions"] == [no]

    run_virtually(main())
