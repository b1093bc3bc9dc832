"""IPAddresses and ServiceCIDRs as objects of the API: who may change them, and what they change.

Rule: spec "service-api" §5.4, §5.5, §5.8, and the rows of §4.4 that take and give back.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seaway.api.registry import IP_ADDRESSES, SERVICE_CIDRS
from seaway.apiserver.allocation.holdings import PORT_PREFIX
from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES as PATH
from tests.apiserver.conversation import Conversation, talk
from tests.apiserver.test_kubectl_apply import Kubectl, with_kubectl

Json = dict[str, Any]
DUAL = ServerConfig(service_cidrs=("10.96.0.0/24", "fd10::/120"))
GATEWAY = {"parentRef": {"group": "example.com", "resource": "gateways", "name": "edge"}}


async def _addresses(ask: Conversation) -> list[str]:
    return sorted(item["metadata"]["name"] for item in (await ask("GET", IP_ADDRESSES.path(""))).body["items"])


async def _ports(ask: Conversation) -> list[str]:
    entries = (await ask.server.state.store.list(PORT_PREFIX)).entries
    return sorted(entry.key.removeprefix(PORT_PREFIX) for entry in entries)


def test_somebodys_address_is_never_handed_out_until_it_is_deleted() -> None:
    async def conversation(ask: Conversation) -> None:
        mine = {"metadata": {"name": "10.96.0.9"}, "spec": GATEWAY}
        assert (await ask("POST", IP_ADDRESSES.path(""), mine)).status == 201
        refused = await ask("POST", PATH, make_service("a", clusterIP="10.96.0.9"))
        assert (refused.status, "provided IP is already allocated" in refused.message) == (422, True)
        assert (await ask("DELETE", IP_ADDRESSES.path("", "10.96.0.9"))).status == 200
        assert (await ask("POST", PATH, make_service("a", clusterIP="10.96.0.9"))).status == 201

    talk(conversation)


def test_an_address_does_not_change_hands() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PATH, make_service("a", clusterIP="10.96.0.9"))
        refused = await ask.patch(IP_ADDRESSES.path("", "10.96.0.9"), {"spec": {"parentRef": {"name": "b"}}})
        assert refused.status == 422
        assert refused.message == (
            'IPAddress.networking.k8s.io "10.96.0.9" is invalid: spec.parentRef: Invalid value: '
            '{"Group":"","Resource":"services","Namespace":"default","Name":"b"}: field is immutable'
        )

    talk(conversation)


def test_an_address_is_named_in_canonical_text_alone() -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("POST", IP_ADDRESSES.path(""), {"metadata": {"name": "FD10::5"}, "spec": GATEWAY})
        assert (refused.status, 'must be in canonical form ("fd10::5")' in refused.message) == (422, True)
        assert (
            await ask("POST", IP_ADDRESSES.path(""), {"metadata": {"name": "fd10::5"}, "spec": GATEWAY})
        ).status == 201
        assert (await ask("GET", IP_ADDRESSES.path("", "fd10::5"))).status == 200

    talk(conversation)


GIVEN_BACK: list[tuple[str, Json, int, int]] = [
    ("ExternalName", {"type": "ExternalName", "externalName": "a.b", "clusterIP": None, "clusterIPs": None}, 0, 0),
    ("ClusterIP", {"type": "ClusterIP"}, 2, 0),
    ("NodePort", {"type": "NodePort"}, 2, 1),
    ("one family", {"ipFamilyPolicy": "SingleStack"}, 1, 2),
    ("the cluster's traffic policy", {"externalTrafficPolicy": "Cluster"}, 2, 1),
]


@pytest.mark.parametrize(
    ("change", "addresses", "ports"), [pytest.param(*case[1:], id=f"to {case[0]}") for case in GIVEN_BACK]
)
def test_what_a_change_gives_up_is_free_with_its_answer(change: Json, addresses: int, ports: int) -> None:
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ipFamilyPolicy": "RequireDualStack"}

    async def conversation(ask: Conversation) -> None:
        before = (await ask("POST", PATH, make_service("a", **spec))).body["spec"]
        assert (len(await _addresses(ask)), len(await _ports(ask))) == (2, 2)
        assert (await ask.patch(f"{PATH}/a?dryRun=All", {"spec": change})).status == 200
        assert (len(await _addresses(ask)), len(await _ports(ask))) == (2, 2), "a dry run gives nothing back"
        changed = await ask.patch(f"{PATH}/a", {"spec": change})
        assert changed.status == 200, changed.body
        assert (len(await _addresses(ask)), len(await _ports(ask))) == (addresses, ports)
        for address in set(before["clusterIPs"]) - set(await _addresses(ask)):
            again = make_service(f"n{address.replace(':', '-').replace('.', '-')}", clusterIP=address)
            assert (await ask("POST", PATH, again)).status == 201
        assert (await ask("DELETE", f"{PATH}/a")).status == 200
        assert await _ports(ask) == []

    talk(conversation, config=DUAL)


def test_a_dry_run_keeps_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ipFamilyPolicy": "RequireDualStack"}
        shown = await ask("POST", f"{PATH}?dryRun=All", make_service("a", **spec))
        assert shown.status == 201
        assert len(shown.body["spec"]["clusterIPs"]) == 2
        assert shown.body["spec"]["ports"][0]["nodePort"]
        assert (await _addresses(ask), await _ports(ask)) == ([], [])
        made = (await ask("POST", PATH, make_service("a", **spec))).body
        await ask("DELETE", f"{PATH}/a?dryRun=All")
        assert sorted(made["spec"]["clusterIPs"]) == await _addresses(ask)

    talk(conversation, config=DUAL)


def test_a_refused_service_keeps_nothing() -> None:
    ports = [{"name": "a", "port": 80, "nodePort": 30010}, {"name": "b", "port": 81, "nodePort": 99}]

    async def conversation(ask: Conversation) -> None:
        spec = {"type": "NodePort", "ports": ports, "ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.96.0.9"}
        assert (await ask("POST", PATH, make_service("a", **spec))).status == 422
        assert (await ask("POST", PATH, make_service("b", clusterIP="10.96.0.9", sessionAffinity="Odd"))).status == 422
        assert (await _addresses(ask), await _ports(ask)) == ([], [])

    talk(conversation, config=DUAL)


def test_the_default_range_gets_its_second_family_and_keeps_its_first() -> None:
    async def conversation(ask: Conversation) -> None:
        path = SERVICE_CIDRS.path("", "kubernetes")
        assert (await ask.patch(path, {"spec": {"cidrs": ["10.97.0.0/16"]}})).status == 422
        assert (await ask.patch(path, {"spec": {"cidrs": ["10.96.0.0/16", "fd10::/112"]}})).status == 200

    talk(conversation)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_shows_addresses_and_ranges(tmp_path: Path) -> None:
    async def conversation(kubectl: Kubectl) -> None:
        await kubectl("create", "service", "clusterip", "web", "--tcp=80", "--clusterip=10.96.0.9")
        shown, _ = await kubectl("get", "ipaddresses,servicecidrs", "--no-headers")
        rows = [line.split()[:2] for line in shown.splitlines() if line]
        assert ["ipaddress.networking.k8s.io/10.96.0.9", "services/default/web"] in rows
        assert ["servicecidr.networking.k8s.io/kubernetes", "10.96.0.0/16"] in rows
        _, complaint = await kubectl(
            "create", "service", "clusterip", "other", "--tcp=80", "--clusterip=10.96.0.9", code=1
        )
        assert 'cluster IP 10.96.0.9 is held by Service "default/web"' in complaint
        assert "provided IP is already allocated" in complaint

    with_kubectl(tmp_path, conversation)
