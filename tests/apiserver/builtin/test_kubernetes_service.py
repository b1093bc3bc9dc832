"""The Service of the API server, row by row. Rule: spec "service-api" §7, "controllers" §8.3."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from seaway.apiserver.run import KUBERNETES_SERVICE_SECONDS, ServerConfig, _keep_kubernetes_service
from seaway.client.requests import Client
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import open_cluster
from tests.apiserver.conversation import SERVICES, Conversation, talk

Json = dict[str, Any]
CONFIG = ServerConfig(advertise_address="10.1.2.3", secure_port=6444)
SERVICE = f"{SERVICES}/kubernetes"
ENDPOINTS = "/api/v1/namespaces/default/endpoints/kubernetes"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
PORTS = [{"name": "https", "port": 6444, "protocol": "TCP"}]


async def read(ask: Conversation, path: str) -> Json:
    body: Json = (await ask("GET", path)).body
    return body


async def keep(ask: Conversation, **changes: Any) -> None:
    state = ask.server.state
    state.config = dataclasses.replace(state.config, **changes)
    await _keep_kubernetes_service(state)


def test_it_is_single_stack_with_the_first_address_and_leads_from_443_to_the_secure_port() -> None:
    async def conversation(ask: Conversation) -> None:
        service = await read(ask, SERVICE)
        assert service["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
        assert service["spec"] == {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6444}],
        }

    talk(conversation, config=dataclasses.replace(CONFIG, service_cidrs=("10.96.0.0/16", "fd10:96::/112")))


def test_endpoints_and_slice_name_the_server_and_nobody_mirrors_them() -> None:
    async def conversation(ask: Conversation) -> None:
        endpoints, slice_ = await read(ask, ENDPOINTS), await read(ask, SLICE)
        assert endpoints["subsets"] == [{"addresses": [{"ip": "10.1.2.3"}], "ports": PORTS}]
        assert endpoints["metadata"]["labels"] == {SKIP_MIRROR: "true"}
        assert (slice_["addressType"], slice_["ports"]) == ("IPv4", PORTS)
        assert slice_["endpoints"] == [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}]
        assert slice_["metadata"]["labels"] == {"kubernetes.io/service-name": "kubernetes"}
        assert "ownerReferences" not in slice_["metadata"]

    talk(conversation, config=CONFIG)


def test_an_existing_service_is_never_corrected() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask.patch(SERVICE, {"metadata": {"labels": {"mine": "yes"}}, "spec": {"sessionAffinity": "ClientIP"}})
        before = await read(ask, SERVICE)
        await keep(ask, secure_port=7000)
        assert await read(ask, SERVICE) == before

    talk(conversation, config=CONFIG)


def test_what_is_deleted_is_made_again() -> None:
    async def conversation(ask: Conversation) -> None:
        before = [(await read(ask, path)) for path in (SERVICE, ENDPOINTS, SLICE)]
        for path in (SERVICE, ENDPOINTS, SLICE):
            await ask("DELETE", path)
        await keep(ask)
        after = [(await read(ask, path)) for path in (SERVICE, ENDPOINTS, SLICE)]
        for old, new in zip(before, after, strict=True):
            assert {k: v for k, v in old.items() if k != "metadata"} == {
                k: v for k, v in new.items() if k != "metadata"
            }
            assert old["metadata"]["labels"] == new["metadata"]["labels"]

    talk(conversation, config=CONFIG)


EDITS = {
    "other addresses of Endpoints": (ENDPOINTS, {"subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": PORTS}]}),
    "no subsets": (ENDPOINTS, {"subsets": []}),
    "more subsets than one": (ENDPOINTS, {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": PORTS}] * 2}),
    "Endpoints that may be mirrored": (ENDPOINTS, {"metadata": {"labels": {SKIP_MIRROR: "false"}}}),
    "another endpoint of the slice": (SLICE, {"endpoints": [{"addresses": ["10.9.9.9"]}]}),
    "another port of the slice": (SLICE, {"ports": [{"name": "https", "port": 1}]}),
    "a slice that a control loop would take for its own": (
        SLICE, {"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "somebody"}}}
    ),
    "a slice of another Service": (SLICE, {"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_it_is_put_right(edit: tuple[str, Json]) -> None:
    async def conversation(ask: Conversation) -> None:
        path, change = edit
        before = await read(ask, path)
        assert (await ask.patch(path, change)).status == 200
        await keep(ask)
        after = await read(ask, path)
        assert after["metadata"]["labels"] == before["metadata"]["labels"]
        for key in ("subsets", "endpoints", "ports", "addressType"):
            assert after.get(key) == before.get(key)
        revision = ask.server.state.watch_cache.revision
        await keep(ask)
        assert ask.server.state.watch_cache.revision == revision, "what is right is left alone"

    talk(conversation, config=CONFIG)


def test_labels_of_others_on_endpoints_stay() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask.patch(ENDPOINTS, {"metadata": {"labels": {"mine": "yes"}}})
        await keep(ask, advertise_address="10.1.2.4")
        endpoints = await read(ask, ENDPOINTS)
        assert endpoints["metadata"]["labels"] == {SKIP_MIRROR: "true", "mine": "yes"}
        assert endpoints["subsets"][0]["addresses"] == [{"ip": "10.1.2.4"}]

    talk(conversation, config=CONFIG)


def test_an_address_of_another_family_makes_another_slice() -> None:
    async def conversation(ask: Conversation) -> None:
        before = await read(ask, SLICE)
        await keep(ask, advertise_address="fd00::5")
        after = await read(ask, SLICE)
        assert after["addressType"] == "IPv6" and after["metadata"]["uid"] != before["metadata"]["uid"]
        assert (await read(ask, ENDPOINTS))["subsets"][0]["addresses"] == [{"ip": "fd00::5"}]

    talk(conversation, config=CONFIG)


def test_without_an_address_to_advertise_there_is_none() -> None:
    async def conversation(ask: Conversation) -> None:
        assert [(await ask("GET", path)).status for path in (SERVICE, ENDPOINTS, SLICE)] == [404] * 3

    talk(conversation, config=dataclasses.replace(CONFIG, advertise_address=None))


def test_it_comes_back_within_ten_seconds() -> None:
    async def main() -> None:
        async with open_cluster(config=CONFIG) as cluster:
            client: Client = cluster.client()
            await client.send("DELETE", SERVICE)
            await asyncio.sleep(KUBERNETES_SERVICE_SECONDS + 0.1)
            assert b"10.96.0.1" in await client.send("GET", SERVICE)

    assert KUBERNETES_SERVICE_SECONDS == 10
    run_virtually(main())


def test_a_taken_address_keeps_no_server_from_starting() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with open_cluster(config=dataclasses.replace(CONFIG, advertise_address=None), store=store) as cluster:
            thief = make_service("thief", clusterIP="10.96.0.1")
            await cluster.client().send("POST", SERVICES, body=msgspec.json.encode(thief))
        async with open_cluster(config=CONFIG, store=store) as cluster:
            client = cluster.client()
            await client.send("DELETE", f"{SERVICES}/thief")
            await asyncio.sleep(KUBERNETES_SERVICE_SECONDS + 0.1)
            assert b"10.96.0.1" in await client.send("GET", SERVICE), "it takes the address once it is free"
        await store.close()

    run_virtually(main())


def test_with_a_node_port_it_is_of_that_type() -> None:
    async def conversation(ask: Conversation) -> None:
        spec = (await read(ask, SERVICE))["spec"]
        assert (spec["type"], [port["nodePort"] for port in spec["ports"]]) == ("NodePort", [30443])

    talk(conversation, config=dataclasses.replace(CONFIG, kubernetes_node_port=30443))
