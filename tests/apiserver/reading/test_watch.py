"""Watches: what is seen, in which order, and how they end. Rule: spec "api-machinery" §7."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from seaway.apiserver.reading import watchcache
from seaway.testing.builders import make_service
from tests.apiserver.conversation import ADMIN, CONFIG_MAPS, SERVICES, Conversation, talk

Json = dict[str, Any]
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
METADATA = {"accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"}
WATCH_LIST = f"{CONFIG_MAPS}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


async def make(ask: Conversation, name: str, **labels: str) -> Json:
    made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    assert made.status == 201, made.body
    body: Json = made.body
    return body


async def label(ask: Conversation, name: str, **labels: str | None) -> Json:
    body: Json = (await ask.patch(f"{CONFIG_MAPS}/{name}", {"metadata": {"labels": labels}})).body
    return body


def version(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_without_a_version_the_state_comes_first_and_then_what_happens() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, "a")
        watch = await ask.watch(CONFIG_MAPS)
        assert await watch.names() == [("ADDED", "a")]
        await make(ask, "b")
        await label(ask, "a", x="y")
        await ask("DELETE", f"{CONFIG_MAPS}/b")
        assert await watch.names() == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]

    talk(conversation)


def test_from_a_version_only_later_events_come_each_once_and_in_order() -> None:
    async def conversation(ask: Conversation) -> None:
        first = await make(ask, "a")
        for name in ("b", "c"):
            await make(ask, name)
        watch = await ask.watch(f"{CONFIG_MAPS}?resourceVersion={version(first)}")
        await make(ask, "d")
        events = await watch.events()
        assert [event["object"]["metadata"]["name"] for event in events] == ["b", "c", "d"]
        versions = [version(event["object"]) for event in events]
        assert versions == sorted(set(versions))

    talk(conversation)


def test_a_deleted_object_shows_its_last_state_at_the_revision_of_its_end() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await make(ask, "a", x="y")
        watch = await ask.watch(f"{CONFIG_MAPS}?resourceVersion={version(made)}")
        other = await make(ask, "b")
        await ask("DELETE", f"{CONFIG_MAPS}/a")
        _, deleted = await watch.events()
        assert deleted["type"] == "DELETED" and version(deleted["object"]) == version(other) + 1
        assert deleted["object"]["metadata"]["labels"] == {"x": "y"}

    talk(conversation)


def test_objects_enter_and_leave_a_selection() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, "a")
        watch = await ask.watch(f"{CONFIG_MAPS}?labelSelector=x%3Dy")
        assert await watch.events() == []
        entered = await label(ask, "a", x="y")
        stayed = await label(ask, "a", z="1")
        left = await label(ask, "a", x="n")
        await label(ask, "a", x="m")
        events = await watch.events()
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert [version(event["object"]) for event in events] == [version(entered), version(stayed), version(left)]
        assert events[2]["object"]["metadata"]["labels"] == {"x": "y", "z": "1"}, "the old object, the new revision"

    talk(conversation)


def test_field_selectors_and_namespaces_select_events() -> None:
    async def conversation(ask: Conversation) -> None:
        headless = await ask.watch("/api/v1/services?fieldSelector=spec.clusterIP%21%3DNone")
        elsewhere = await ask.watch("/api/v1/namespaces/kube-system/services")
        one = await ask.watch(f"{SERVICES}?fieldSelector=metadata.name%3Dweb")
        await ask("POST", SERVICES, make_service())
        await ask("POST", SERVICES, make_service("db", clusterIP="None"))
        assert await headless.names() == [("ADDED", "web")]
        assert await elsewhere.names() == []
        assert await one.names() == [("ADDED", "web")]

    talk(conversation)


def test_a_version_that_history_no_longer_covers_is_one_error_event() -> None:
    async def conversation(ask: Conversation) -> None:
        first = await make(ask, "a")
        for index in range(30):
            await label(ask, "a", x=str(index))
        watch = await ask.watch(f"{CONFIG_MAPS}?resourceVersion={version(first)}")
        (error,) = await watch.events()
        assert watch.ended and error["type"] == "ERROR"
        status = error["object"]
        assert (status["code"], status["reason"]) == (410, "Expired")
        assert status["message"].startswith(f"too old resource version: {version(first)} (")

    keep = watchcache.MAX_CHANGES
    watchcache.MAX_CHANGES = 10
    try:
        talk(conversation)
    finally:
        watchcache.MAX_CHANGES = keep


def test_a_watch_list_ends_its_first_part_with_a_bookmark() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, "a")
        last = await make(ask, "b")
        watch = await ask.watch(WATCH_LIST)
        *added, bookmark = await watch.events()
        assert [event["type"] for event in added] == ["ADDED", "ADDED"]
        assert bookmark == {
            "type": "BOOKMARK",
            "object": {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {
                    "resourceVersion": str(version(last)),
                    "annotations": {"k8s.io/initial-events-end": "true"},
                },
            },
        }
        await make(ask, "c")
        assert await watch.names() == [("ADDED", "c")]

    talk(conversation)


def test_a_watch_list_from_the_future_is_an_error_event() -> None:
    async def conversation(ask: Conversation) -> None:
        asked = asyncio.ensure_future(ask.watch(f"{WATCH_LIST}&resourceVersion=9999"))
        await asyncio.sleep(0)
        await ask.effects.advance(3)
        (error,) = await (await asked).events()
        assert error["type"] == "ERROR" and error["object"]["code"] == 504

    talk(conversation)


def test_a_watch_from_the_future_waits() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await make(ask, "a")
        watch = await ask.watch(f"{CONFIG_MAPS}?resourceVersion={version(made) + 1}")
        await make(ask, "b")
        assert await watch.events() == []
        await make(ask, "c")
        assert await watch.names() == [("ADDED", "c")]

    talk(conversation)


def test_without_initial_events_a_watch_starts_now() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, "a")
        watch = await ask.watch(f"{CONFIG_MAPS}?sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
        assert await watch.events() == []
        await make(ask, "b")
        assert await watch.names() == [("ADDED", "b")]

    talk(conversation)


def test_bookmarks_tell_the_revision_each_minute_and_before_the_end() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await make(ask, "a")
        watch = await ask.watch(
            f"{CONFIG_MAPS}?resourceVersion={version(made)}&allowWatchBookmarks=1&timeoutSeconds=90"
        )
        plain = await ask.watch(f"{CONFIG_MAPS}?resourceVersion={version(made)}&timeoutSeconds=90")
        service = (await ask("POST", SERVICES, make_service())).body
        assert await watch.events() == []
        await ask.effects.advance(61)
        (bookmark,) = await watch.events()
        assert bookmark["type"] == "BOOKMARK" and version(bookmark["object"]) == version(service)
        await ask.effects.advance(28)
        assert [event["type"] for event in await watch.events()] == ["BOOKMARK"] and not watch.ended
        await ask.effects.advance(2)
        assert await watch.events() == [] and watch.ended
        assert await plain.events() == [] and plain.ended

    talk(conversation)


def test_a_watch_ends_by_itself_between_half_an_hour_and_an_hour() -> None:
    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(CONFIG_MAPS)
        await ask.effects.advance(1799)
        assert await watch.events() == [] and not watch.ended
        await ask.effects.advance(1801)
        assert await watch.events() == [] and watch.ended

    talk(conversation)


def test_the_end_of_the_server_ends_its_watches_after_what_is_queued() -> None:
    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(CONFIG_MAPS)
        await make(ask, "a")
        ask.server.end_streams()
        assert await watch.names() == [("ADDED", "a")]
        assert await watch.events() == [] and watch.ended
        assert not ask.server.state.streams

    talk(conversation)


def test_a_reader_that_has_gone_leaves_nothing_behind() -> None:
    async def conversation(ask: Conversation) -> None:
        response = await ask.send("GET", f"{CONFIG_MAPS}?watch=1")
        assert len(ask.server.state.streams) == 1
        await response.body.aclose()  # type: ignore[union-attr]
        assert not ask.server.state.streams
        assert all(cache.watcher_count == 0 for cache in ask.server.state.watch_cache)

    talk(conversation)


def test_a_reader_that_is_too_slow_is_cut_off_and_never_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seaway.apiserver.reading.watch.MAX_PENDING_EVENTS", 5)

    async def conversation(ask: Conversation) -> None:
        slow = await ask.watch(CONFIG_MAPS)
        assert await slow.events() == []
        for index in range(7):
            await make(ask, f"c{index}")
        assert await slow.events() == [] and slow.ended
        text = (await ask("GET", "/metrics")).text.decode()
        assert 'apiserver_terminated_watchers_total{group="",resource="configmaps"} 1\n' in text

    talk(conversation)


def test_a_watch_of_tables_names_its_columns_once() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service())
        watch = await ask.watch(f"{SERVICES}?allowWatchBookmarks=1", headers=TABLE)
        first, bookmark = await watch.events()
        await ask("POST", SERVICES, make_service("db"))
        (second,) = await watch.events()
        assert first["object"]["kind"] == "Table" and first["object"]["columnDefinitions"][0]["name"] == "Name"
        assert second["object"]["columnDefinitions"] is None and second["object"]["rows"][0]["cells"][0] == "db"
        assert bookmark["object"]["rows"][0]["object"]["metadata"]["annotations"]

    talk(conversation)


def test_rows_that_cannot_be_are_refused_before_a_watch_begins_or_a_write_is_done() -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("GET", f"{SERVICES}?watch=1&includeObject=x", headers=TABLE)
        assert (refused.status, refused.body["reason"]) == (400, "BadRequest")
        refused = await ask("POST", f"{SERVICES}?includeObject=x", make_service(), headers=TABLE)
        assert (refused.status, refused.body["reason"]) == (400, "BadRequest")
        assert (await ask("GET", f"{SERVICES}/web")).status == 404

    talk(conversation)


def test_a_watch_of_metadata_shows_metadata() -> None:
    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(CONFIG_MAPS, headers=METADATA)
        await make(ask, "a")
        (event,) = await watch.events()
        assert event["object"]["kind"] == "PartialObjectMetadata" and event["object"]["metadata"]["name"] == "a"

    talk(conversation)


def test_an_event_is_encoded_once_for_all_watchers() -> None:
    async def conversation(ask: Conversation) -> None:
        streams = [(await ask.send("GET", f"{CONFIG_MAPS}?watch=1")).body for _ in range(3)]
        await make(ask, "a")
        lines = [stream._pending[0] for stream in streams]  # type: ignore[union-attr]
        assert lines[0] is lines[1] is lines[2]
        assert json.loads(lines[0])["type"] == "ADDED" and lines[0].endswith(b"}\n") and lines[0].count(b"\n") == 1

    talk(conversation)


def test_the_old_watch_paths_watch() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, "a")
        await make(ask, "b")
        response = await ask.send("GET", "/api/v1/watch/namespaces/default/configmaps/b", identity=ADMIN)
        assert not isinstance(response.body, bytes)
        assert json.loads(await anext(response.body))["object"]["metadata"]["name"] == "b"

    talk(conversation)


@pytest.mark.parametrize("has_objects", [False, True], ids=["of nothing", "of something"])
def test_rows_that_no_table_has_are_refused_before_the_watch_starts(has_objects: bool) -> None:
    async def conversation(ask: Conversation) -> None:
        if has_objects:
            await make(ask, "a")
        refused = await ask("GET", f"{CONFIG_MAPS}?watch=1&includeObject=All", headers=TABLE)
        assert refused.status == 400 and "includeObject: Invalid value" in refused.message
        assert (await ask.send("GET", f"{CONFIG_MAPS}?watch=1&includeObject=All")).status == 200, "no Table was asked"

    talk(conversation)


def test_a_printer_that_fails_ends_its_watch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ValueError("a bug")

    async def conversation(ask: Conversation) -> None:
        table, plain = await ask.watch(CONFIG_MAPS, headers=TABLE), await ask.watch(CONFIG_MAPS)
        monkeypatch.setattr("seaway.apiserver.reading.render.render_table", fail)
        await make(ask, "a")
        (error,) = await table.events()
        assert error["type"] == "ERROR" and error["object"]["reason"] == "InternalError" and table.ended
        assert await plain.names() == [("ADDED", "a")]
        assert len(ask.effects.reported) == 1
        ask.effects.reported.clear()

    talk(conversation)


START = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
SKIP = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan"


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        pytest.param("", "ab", id="no version: the state"),
        pytest.param("resourceVersion=0", "ab", id="any version: the state"),
        pytest.param("allowWatchBookmarks=1", "ab.", id="no version, with bookmarks: the state and its end"),
        pytest.param("resourceVersion=0&allowWatchBookmarks=1", "ab.", id="any version, with bookmarks: the same"),
        pytest.param("resourceVersion=FIRST", "b", id="a version: what came after it"),
        pytest.param("resourceVersion=FIRST&allowWatchBookmarks=1", "b", id="and no end of a state"),
        pytest.param(START, "ab", id="the state is wanted, bookmarks are not"),
        pytest.param(f"{START}&allowWatchBookmarks=1", "ab.", id="the state and its end are wanted"),
        pytest.param(f"{START}&allowWatchBookmarks=1&resourceVersion=0", "ab.", id="of any version"),
        pytest.param(f"{START}&allowWatchBookmarks=1&resourceVersion=FIRST", "ab.", id="not older than a version"),
        pytest.param(f"{START}&allowWatchBookmarks=1&resourceVersion=1", "ab.", id="of a version long gone"),
        pytest.param(SKIP, "", id="the state is not wanted"),
        pytest.param(f"{SKIP}&resourceVersion=0&allowWatchBookmarks=1", "", id="nor that of any version"),
        pytest.param(f"{SKIP}&resourceVersion=FIRST", "b", id="not wanted, from a version: what came after it"),
    ],
)
def test_how_a_watch_starts(query: str, seen: str) -> None:
    async def conversation(ask: Conversation) -> None:
        first = await make(ask, "a")
        await make(ask, "b")
        watch = await ask.watch(f"{CONFIG_MAPS}?{query.replace('FIRST', str(version(first)))}")
        events = await watch.events()
        shown = "".join("." if e["type"] == "BOOKMARK" else e["object"]["metadata"]["name"] for e in events)
        assert shown == seen
        assert all(event["object"]["kind"] == "ConfigMap" and event["object"]["apiVersion"] == "v1" for event in events)
        await make(ask, "c")
        assert await watch.names() == [("ADDED", "c")], "and then what happens"

    talk(conversation)


def test_a_watch_goes_on_however_short_the_timeout_of_the_request() -> None:
    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(f"{CONFIG_MAPS}?timeout=1s&timeoutSeconds=600")
        odd = await ask.watch(f"{CONFIG_MAPS}?timeout=soon")
        await ask.effects.advance(300)
        await make(ask, "a")
        assert await watch.names() == [("ADDED", "a")]
        assert await odd.names() == [("ADDED", "a")]

    talk(conversation)


def test_an_expired_version_names_the_oldest_that_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchcache, "MAX_CHANGES", 3)

    async def conversation(ask: Conversation) -> None:
        first = await make(ask, "a")
        last = [version(await label(ask, "a", x=str(index))) for index in range(5)]
        (error,) = await (await ask.watch(f"{CONFIG_MAPS}?resourceVersion={version(first)}")).events()
        oldest = last[-4]
        assert error["object"]["message"] == f"too old resource version: {version(first)} ({oldest})"
        served = await (await ask.watch(f"{CONFIG_MAPS}?resourceVersion={oldest}")).events()
        assert [version(event["object"]) for event in served] == last[-3:]

    talk(conversation)
