"""Lists: selection, versions, pages. Rule: spec "api-machinery" §6."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, Reply, talk

EVERYWHERE = "/api/v1/configmaps"


async def fill(ask: Conversation, *names: str, namespace: str = "default", **labels: str) -> None:
    for name in names:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        assert (await ask("POST", path, {"metadata": {"name": name, "labels": labels}})).status == 201


def names(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [item["metadata"]["name"] for item in reply.body["items"]]


def token(reply: Reply) -> str:
    return str(reply.body["metadata"]["continue"])


def test_objects_come_in_the_order_of_their_keys_and_of_their_namespace() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask, "b", "a", "c.d", "c-d")
        await fill(ask, "z", namespace="kube-system")
        assert names(await ask("GET", CONFIG_MAPS)) == ["a", "b", "c-d", "c.d"]
        assert names(await ask("GET", EVERYWHERE)) == ["a", "b", "c-d", "c.d", "z"]
        assert names(await ask("GET", "/api/v1/namespaces/kube-system/configmaps")) == ["z"]
        assert names(await ask("GET", "/api/v1/namespaces/none/configmaps")) == []

    talk(conversation)


def test_namespaces_whose_names_begin_alike_are_not_mixed() -> None:
    async def conversation(ask: Conversation) -> None:
        for namespace in ("a", "a-b", "a0"):
            await ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            await fill(ask, f"in-{namespace}", namespace=namespace)
        assert names(await ask("GET", "/api/v1/namespaces/a/configmaps")) == ["in-a"]

    talk(conversation)


def test_selectors_select() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask, "a", "b", x="1")
        await fill(ask, "c", x="2")
        assert names(await ask("GET", f"{CONFIG_MAPS}?labelSelector=x%3D1")) == ["a", "b"]
        assert names(await ask("GET", f"{CONFIG_MAPS}?labelSelector=x+notin+(1)")) == ["c"]
        assert names(await ask("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc")) == ["c"]
        assert names(await ask("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc&labelSelector=x%3D1")) == []
        await ask("POST", SERVICES, make_service())
        await ask("POST", SERVICES, make_service("headless", clusterIP="None"))
        assert names(await ask("GET", f"{SERVICES}?fieldSelector=spec.clusterIP%3DNone")) == ["headless"]

    talk(conversation)


def test_pages_show_the_snapshot_of_the_first() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask, "a", "b", "c", "d", "e")
        first = await ask("GET", f"{CONFIG_MAPS}?limit=2")
        assert names(first) == ["a", "b"] and first.body["metadata"]["remainingItemCount"] == 3
        await fill(ask, "bb")
        await ask("DELETE", f"{CONFIG_MAPS}/d")
        second = await ask("GET", f"{CONFIG_MAPS}?limit=2&continue={token(first)}")
        assert names(second) == ["c", "d"]
        third = await ask("GET", f"{CONFIG_MAPS}?limit=2&continue={token(second)}")
        assert names(third) == ["e"] and "continue" not in third.body["metadata"]
        assert {page.body["metadata"]["resourceVersion"] for page in (first, second, third)} == {
            first.body["metadata"]["resourceVersion"]
        }

    talk(conversation)


def test_a_page_of_a_selection_is_filled_and_counts_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        for index in range(6):
            await fill(ask, f"c{index}", even=str(index % 2 == 0).lower())
        page = await ask("GET", f"{CONFIG_MAPS}?limit=2&labelSelector=even%3Dtrue")
        assert names(page) == ["c0", "c2"] and "remainingItemCount" not in page.body["metadata"]
        rest = await ask("GET", f"{CONFIG_MAPS}?limit=2&labelSelector=even%3Dtrue&continue={token(page)}")
        assert names(rest) == ["c4"]

    talk(conversation)


def test_pages_over_all_namespaces_go_on_where_they_stopped() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask, "a", "b")
        await fill(ask, "a", "b", namespace="kube-system")
        first = await ask("GET", f"{EVERYWHERE}?limit=3")
        second = await ask("GET", f"{EVERYWHERE}?limit=3&continue={token(first)}")
        assert names(first) + names(second) == ["a", "b", "a", "b"]

    talk(conversation)


def test_a_page_whose_snapshot_is_gone_offers_a_token_that_resumes() -> None:
    store = MemoryStore()

    async def conversation(ask: Conversation) -> None:
        await fill(ask, "a", "b", "c")
        first = await ask("GET", f"{CONFIG_MAPS}?limit=1")
        await fill(ask, "d")
        await store.compact(store.current_revision)
        gone = await ask("GET", f"{CONFIG_MAPS}?limit=1&continue={token(first)}")
        assert (gone.status, gone.body["reason"]) == (410, "Expired")
        assert gone.message.startswith(
            "The provided continue parameter is too old to display a consistent list result."
        )
        assert names(await ask("GET", f"{CONFIG_MAPS}?continue={token(gone)}")) == ["b", "c", "d"]

    talk(conversation, store=store)


def test_a_list_at_an_exact_version_reads_history_or_says_that_it_is_gone() -> None:
    store = MemoryStore()

    async def conversation(ask: Conversation) -> None:
        await fill(ask, "a")
        then = (await ask("GET", CONFIG_MAPS)).body["metadata"]["resourceVersion"]
        await fill(ask, "b")
        exact = f"{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion={then}"
        assert names(await ask("GET", exact)) == ["a"]
        assert names(await ask("GET", f"{CONFIG_MAPS}?limit=5&resourceVersion={then}")) == ["a"]
        assert names(await ask("GET", f"{CONFIG_MAPS}?resourceVersion={then}")) == ["a", "b"]
        await store.compact(store.current_revision)
        gone = await ask("GET", exact)
        assert (gone.status, gone.message) == (410, "The resourceVersion for the provided list is too old.")

    talk(conversation, store=store)


def test_any_version_is_the_whole_list() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask, "a", "b", "c")
        assert names(await ask("GET", f"{CONFIG_MAPS}?resourceVersion=0&limit=1")) == ["a", "b", "c"]

    talk(conversation)


def test_a_list_waits_for_a_version_that_is_about_to_come() -> None:
    async def conversation(ask: Conversation) -> None:
        now = int((await ask("GET", CONFIG_MAPS)).body["metadata"]["resourceVersion"])
        asked = asyncio.ensure_future(ask("GET", f"{CONFIG_MAPS}?resourceVersion={now + 1}"))
        await asyncio.sleep(0)
        await fill(ask, "a")
        assert names(await asked) == ["a"]

    talk(conversation)


def test_the_kept_list_is_never_older_than_the_objects() -> None:
    async def conversation(ask: Conversation) -> None:
        big: dict[str, Any] = {"metadata": {"name": "big"}, "data": {"k": "x" * 20_000}}
        await ask("POST", CONFIG_MAPS, big)
        first = await ask("GET", CONFIG_MAPS)
        await ask("POST", SERVICES, make_service())
        second = await ask("GET", CONFIG_MAPS)
        assert second.body["items"] == first.body["items"]
        assert int(second.body["metadata"]["resourceVersion"]) > int(first.body["metadata"]["resourceVersion"])
        await fill(ask, "more")
        assert names(await ask("GET", CONFIG_MAPS)) == ["big", "more"]
        await ask("DELETE", f"{CONFIG_MAPS}/big")
        assert names(await ask("GET", CONFIG_MAPS)) == ["more"]

    talk(conversation)


def test_a_kept_compressed_list_equals_a_fresh_one() -> None:
    async def conversation(ask: Conversation) -> None:
        big = {"text": "x" * 3000}

        async def add(name: str) -> None:
            await ask("POST", CONFIG_MAPS, {"metadata": {"name": name}, "data": big})

        async def read() -> Any:
            reply = await ask("GET", CONFIG_MAPS, headers={"accept-encoding": "gzip"})
            assert reply.headers["Content-Encoding"] == "gzip"
            return json.loads(gzip.decompress(reply.text))

        for number in range(60):
            await add(f"m{number:02}")
        plain = (await ask("GET", CONFIG_MAPS)).body
        assert await read() == plain
        assert await read() == plain
        await add("later")
        assert names(await ask("GET", CONFIG_MAPS))[0] == "later"
        assert (await read())["items"][0]["metadata"]["name"] == "later"
        await ask("POST", SERVICES, make_service())  # another kind: the same items at a later revision
        assert (await read())["metadata"] == (await ask("GET", CONFIG_MAPS)).body["metadata"]

    talk(conversation)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("limit=1", id="a page"),
        pytest.param("resourceVersion={before}&resourceVersionMatch=Exact", id="the past"),
        pytest.param("labelSelector=no", id="another selection"),
        pytest.param("pretty=true", id="another spelling"),
    ],
)
def test_a_kept_list_is_no_answer_to_another_question(query: str) -> None:
    async def conversation(ask: Conversation) -> None:
        before = (await ask("GET", CONFIG_MAPS)).body["metadata"]["resourceVersion"]
        for name in ("a", "b"):
            await ask("POST", CONFIG_MAPS, {"metadata": {"name": name}, "data": {"k": "x" * 20_000}})
        path = f"{CONFIG_MAPS}?{query.format(before=before)}"
        fresh = await ask("GET", path)
        for _ in range(2):
            kept = await ask("GET", CONFIG_MAPS)
            assert names(kept) == ["a", "b"]
        again = await ask("GET", path)
        assert again.text == fresh.text != kept.text

    talk(conversation)


def test_any_version_and_no_older_than_now_are_the_same_question() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "x" * 20_000}})
        version = made.body["metadata"]["resourceVersion"]
        first = await ask("GET", CONFIG_MAPS)
        for query in ("resourceVersion=0&limit=1", f"resourceVersion={version}", f"resourceVersion={version}&limit=0"):
            assert (await ask("GET", f"{CONFIG_MAPS}?{query}")).text == first.text

    talk(conversation)
