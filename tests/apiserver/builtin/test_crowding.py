"""Events about ranges of which four fifths are taken. Rule: issue 4 (beyond upstream)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seaway.api.registry import EVENTS, SERVICES
from seaway.apiserver.allocation.crowding import Crowding, is_crowded
from seaway.apiserver.allocation.pool import make_address_pool
from seaway.apiserver.builtin.crowding import CrowdingWarnings
from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import open_cluster
from tests.apiserver.conversation import SERVICES as PATH
from tests.apiserver.conversation import Conversation, talk

CONFIG = ServerConfig(service_cidrs=("10.96.0.0/28",), node_port_range=(30000, 30009))


async def _events(ask: Conversation) -> list[dict[str, Any]]:
    return list((await ask("GET", EVENTS.path("default"))).body["items"])


def test_a_crowded_range_is_said_once_each_time_it_fills() -> None:
    async def conversation(ask: Conversation) -> None:
        warnings = CrowdingWarnings(ask.server.state)

        async def make(name: str) -> None:
            assert (await ask("POST", PATH, make_service(name))).status == 201
            await warnings.look()

        for index in range(11):
            await make(f"s{index}")
        assert await _events(ask) == [], "11 of 14 are less than 80 %"
        await make("s11")
        (event,) = await _events(ask)
        assert (event["type"], event["reason"]) == ("Warning", "ServiceCIDRNearlyFull")
        assert event["involvedObject"]["kind"] == "ServiceCIDR"
        assert event["involvedObject"]["name"] == "kubernetes"
        assert event["message"] == (
            "80 % of the 14 addresses of 10.96.0.0/28 are taken; add a ServiceCIDR before none is left"
        )
        await make("s12")
        assert await _events(ask) == [event], "it is crowded still"
        for index in (11, 12):
            await ask("DELETE", f"{PATH}/s{index}")
        await warnings.look()
        await make("again")
        (event,) = await _events(ask)
        assert event["series"]["count"] == 2

    talk(conversation, config=CONFIG)


def test_crowded_node_ports_are_said() -> None:
    async def conversation(ask: Conversation) -> None:
        warnings = CrowdingWarnings(ask.server.state)
        for index in range(8):
            assert (await ask("POST", PATH, make_service(f"s{index}", type="NodePort"))).status == 201
        await warnings.look()
        (event,) = await _events(ask)
        assert (event["reason"], event["involvedObject"]["name"]) == ("NodePortsNearlyFull", "kubernetes")
        assert event["message"].startswith("80 % of the 10 node ports 30000-30009 are taken")

    talk(conversation, config=CONFIG)


def test_a_restart_says_nothing_again() -> None:
    async def conversation(ask: Conversation) -> None:
        for index in range(13):
            await ask("POST", PATH, make_service(f"s{index}"))
        await CrowdingWarnings(ask.server.state).look()
        assert await _events(ask) == []

    talk(conversation, config=CONFIG)


def test_the_server_looks_by_itself() -> None:
    async def main() -> None:
        async with open_cluster(config=CONFIG) as cluster:
            client = cluster.client()
            for index in range(12):
                await client.create(SERVICES, make_service(f"s{index}"), "default")

            async def is_said() -> bool | None:
                return bool((await client.list(EVENTS, "default")).items) or None

            await cluster.eventually(is_said)

    run_virtually(main())


@given(st.sets(st.integers(1, 14)))
def test_crowded_means_four_fifths_of_what_can_be_taken(taken: set[int]) -> None:
    pool = make_address_pool("10.96.0.0/28")
    crowding = Crowding([("r", pool)])
    for offset in taken:
        pool.mark(0x0A600000 + offset, True)
    assert is_crowded(pool) == (len(taken) >= 0.8 * 14)
    assert crowding.find_crossings([("r", pool)]) == (["r"] if is_crowded(pool) else [])
    assert crowding.find_crossings([("r", pool)]) == []
