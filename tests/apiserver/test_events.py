"""Events: one storage, two groups, each in its own words. Rule: spec "api-machinery" §12 (Event), §2.5, §6.2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from seaway.api.event.defaults import default_event
from seaway.api.events_k8s_io.conversion import from_stored, to_stored
from seaway.api.machinery.http import Identity
from seaway.api.registry import EVENTS, EVENTS_OF_GROUP
from seaway.api.schema import find_definition
from tests.apiserver.conversation import Conversation, talk
from tests.wire.objects import draw_objects
from tests.wire.protobuf_encoder import encode_body

Json = dict[str, Any]
CORE = "/api/v1/namespaces/default/events"
GROUP = "/apis/events.k8s.io/v1/namespaces/default/events"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
PROTOBUF = {"content-type": "application/vnd.kubernetes.protobuf"}
AT = "2026-01-02T12:00:00.000001Z"
ABOUT = {"kind": "Pod", "namespace": "default", "name": "web-0"}


def make_old(**fields: Any) -> Json:
    """As recorders of core/v1 write it."""
    return {
        "metadata": {"name": "old"},
        "involvedObject": ABOUT,
        "reason": "Pulled",
        "message": "image is there",
        "source": {"component": "kubelet", "host": "n1"},
        "firstTimestamp": "2026-01-02T12:00:00Z",
        "lastTimestamp": "2026-01-02T12:00:00Z",
        "count": 1,
        "type": "Normal",
        **fields,
    }


def make_new(**fields: Any) -> Json:
    """As recorders of events.k8s.io write it."""
    return {
        "metadata": {"name": "new"},
        "eventTime": AT,
        "reportingController": "binder",
        "reportingInstance": "binder-1",
        "action": "Binding",
        "reason": "Scheduled",
        "regarding": ABOUT,
        "note": "bound to n1",
        "type": "Normal",
        **fields,
    }


def without(obj: Json, *names: str) -> Json:
    return {name: value for name, value in obj.items() if name not in names}


def of_definition(group: str) -> Any:
    definition = find_definition(group, "v1", "Event")
    assert definition is not None
    return definition


@settings(deadline=None)
@given(draw_objects(of_definition("")))
def test_showing_and_storing_again_is_the_same_event(drawn: Json) -> None:
    event = default_event({"kind": "Event", "apiVersion": "v1", "metadata": {}, **drawn})
    before = json.dumps(event)
    assert to_stored(from_stored(event)) == event
    assert json.dumps(event) == before, "the stored Event is shared"


@settings(deadline=None)
@given(draw_objects(of_definition("events.k8s.io")))
def test_storing_loses_nothing(drawn: Json) -> None:
    event = {"kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": {}, **drawn}
    shown = from_stored(to_stored(event))
    assert {name: shown[name] for name in event if name != "series"} == without(event, "series")
    assert event.get("series", {}).items() <= shown.get("series", {}).items()


def test_an_event_of_core_shows_in_the_other_group_under_its_names() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", CORE, make_old())).body
        shown = (await ask("GET", f"{GROUP}/old")).body
        assert shown == {
            "kind": "Event",
            "apiVersion": "events.k8s.io/v1",
            "metadata": made["metadata"],
            "eventTime": None,
            "regarding": ABOUT,
            "reason": "Pulled",
            "note": "image is there",
            "type": "Normal",
            "deprecatedSource": {"component": "kubelet", "host": "n1"},
            "deprecatedFirstTimestamp": "2026-01-02T12:00:00Z",
            "deprecatedLastTimestamp": "2026-01-02T12:00:00Z",
            "deprecatedCount": 1,
        }
        listed = (await ask("GET", GROUP)).body
        assert (listed["kind"], listed["apiVersion"]) == ("EventList", "events.k8s.io/v1")
        assert listed["items"] == [shown]
        assert (await ask("GET", CORE)).body["items"] == [made]

    talk(conversation)


def test_times_that_an_event_lacks_are_null_and_what_it_always_has_is_there() -> None:
    async def conversation(ask: Conversation) -> None:
        bare = {"metadata": {"name": "bare"}, "involvedObject": {}, "series": {"count": 2}}
        core = (await ask("POST", CORE, bare)).body
        assert [core[name] for name in ("eventTime", "firstTimestamp", "lastTimestamp")] == [None] * 3
        assert core["series"] == {"count": 2, "lastObservedTime": None}
        assert core["source"] == {} and core["involvedObject"] == {}
        assert core["reportingComponent"] == core["reportingInstance"] == ""
        group = (await ask("GET", f"{GROUP}/bare")).body
        assert [group[n] for n in ("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp")] == [None] * 3
        assert group["deprecatedSource"] == {} and "reportingController" not in group
        again = await ask("PUT", f"{CORE}/bare", core)
        assert again.body == core, "sending back what was read changes nothing"

    talk(conversation)


def test_each_groups_watch_sees_what_the_other_writes_in_its_own_form() -> None:
    async def conversation(ask: Conversation) -> None:
        core, group = await ask.watch(CORE), await ask.watch(GROUP)
        await ask("POST", GROUP, make_new())
        await ask("POST", CORE, make_old())
        patch = {"count": 2, "lastTimestamp": "2026-01-02T12:00:09Z"}
        await ask.patch(f"{CORE}/old", patch, kind="strategic-merge-patch+json")
        await ask("DELETE", f"{GROUP}/old")
        in_core, in_group = await core.events(), await group.events()
        assert [(e["type"], e["object"]["apiVersion"]) for e in in_core] == [
            ("ADDED", "v1"), ("ADDED", "v1"), ("MODIFIED", "v1"), ("DELETED", "v1")]  # fmt: skip
        assert [event["type"] for event in in_group] == [event["type"] for event in in_core]
        assert [event["object"]["metadata"] for event in in_group] == [event["object"]["metadata"] for event in in_core]
        assert in_core[0]["object"]["message"] == in_group[0]["object"]["note"] == "bound to n1"
        assert in_group[2]["object"]["deprecatedCount"] == 2

    talk(conversation)


def test_a_change_is_converted_once_for_all_watchers_and_kept_once() -> None:
    async def conversation(ask: Conversation) -> None:
        streams = [(await ask.send("GET", f"{GROUP}?watch=1")).body for _ in range(3)]
        await ask("POST", CORE, make_old())
        lines = [stream._pending[0] for stream in streams]  # type: ignore[union-attr]
        assert lines[0] is lines[1] is lines[2]
        cache = ask.server.state.watch_cache
        assert cache.cache(EVENTS) is cache.cache(EVENTS_OF_GROUP)
        prefixes = [kept.resource.store_prefix for kept in cache]
        assert len(prefixes) == len(set(prefixes))

    talk(conversation)


@pytest.mark.parametrize(("path", "event"), [(CORE, make_old()), (GROUP, make_new())], ids=["core/v1", "events.k8s.io"])
def test_protobuf_bodies_are_taken_in_both_groups(path: str, event: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        group = "" if path is CORE else "events.k8s.io"
        typed = {"kind": "Event", "apiVersion": "v1" if path is CORE else "events.k8s.io/v1", **event}
        made = await ask("POST", path, encode_body(typed, of_definition(group)), headers=PROTOBUF)
        assert made.status == 201, made.body
        assert without(made.body, "metadata").items() >= without(event, "metadata").items()

    talk(conversation)


def test_both_groups_print_the_same_columns() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CORE, make_old())
        tables = [(await ask("GET", path, headers=TABLE)).body for path in (CORE, GROUP)]
        assert tables[0]["columnDefinitions"] == tables[1]["columnDefinitions"]
        assert tables[0]["rows"][0]["cells"] == tables[1]["rows"][0]["cells"]
        assert tables[0]["rows"][0]["cells"][3] == "pod/web-0"
        full = (await ask("GET", f"{GROUP}?includeObject=Object", headers=TABLE)).body
        assert full["rows"][0]["object"]["note"] == "image is there"

    talk(conversation)


ABOUT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


@pytest.mark.parametrize(
    ("path", "selector", "found"),
    [
        *(pytest.param(CORE, f"involvedObject.{name}!=none", 2, id=f"core: involvedObject.{name}")
          for name in ABOUT_FIELDS),
        *(pytest.param(GROUP, f"regarding.{name}!=none", 2, id=f"the group: regarding.{name}")
          for name in ABOUT_FIELDS),
        pytest.param(CORE, "involvedObject.kind=Pod,reason=Pulled", 1, id="core: what it is about and why"),
        pytest.param(CORE, "reportingComponent=binder", 1, id="core: the reporter"),
        pytest.param(CORE, "source=kubelet", 1, id="core: the source"),
        pytest.param(CORE, "source=binder", 1, id="core: the source is the reporter where there is no source"),
        pytest.param(CORE, "type=Normal", 2, id="core: the type"),
        pytest.param(GROUP, "regarding.name=web-0,reason=Pulled", 1, id="the group: what it is about and why"),
        pytest.param(GROUP, "reportingController=binder", 1, id="the group: the reporter"),
        pytest.param(GROUP, "type=Warning", 0, id="the group: the type"),
        pytest.param(GROUP, "metadata.name=new,metadata.namespace=default", 1, id="the group: name and namespace"),
        pytest.param(CORE, "regarding.kind=Pod", "regarding.kind", id="core does not know the group's names"),
        pytest.param(GROUP, "involvedObject.kind=Pod", "involvedObject.kind", id="nor the group those of core"),
        pytest.param(GROUP, "source=kubelet", "source", id="the group has no source"),
        pytest.param(GROUP, "reportingComponent=binder", "reportingComponent", id="the group has no component"),
    ],
)  # fmt: skip
def test_field_labels(path: str, selector: str, found: int | str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CORE, make_old())
        await ask("POST", GROUP, make_new())
        query = selector.replace("!=", "%21%3D").replace("=", "%3D")
        answer = await ask("GET", f"{path}?fieldSelector={query}")
        if isinstance(found, str):
            assert (answer.status, answer.message) == (400, f"field label not supported: {found}")
        else:
            assert len(answer.body["items"]) == found, answer.body

    talk(conversation)


QUALIFIED = "must consist of alphanumeric characters"


@pytest.mark.parametrize(
    ("event", "texts"),
    [
        pytest.param(make_new(), [], id="an Event of the newer style is fine"),
        pytest.param(
            without(make_new(), "eventTime", "type"),
            ["eventTime: Required value", 'type: Invalid value: "": has invalid value: '],
            id="it says when, and whether it is a warning",
        ),
        pytest.param(
            make_new(reportingController="a b", action="a" * 129, note="n" * 1025),
            [f'reportingController: Invalid value: "a b": name part {QUALIFIED}',
             'action: Invalid value: "": can have at most 128 characters',
             'message: Invalid value: "": can have at most 1024 characters'],
            id="texts have limits, and errors the names of core",
        ),
        pytest.param(
            without(make_new(), "reportingController", "reportingInstance", "reason"),
            ["reportingController: Required value", "reportingInstance: Required value", "reason: Required value"],
            id="it says who and why",
        ),
        pytest.param(
            make_new(deprecatedCount=1, deprecatedFirstTimestamp="2026-01-02T12:00:00Z", deprecatedSource={"host": "n"},
                     deprecatedLastTimestamp="2026-01-02T12:00:00Z"),
            [f'{name}: Invalid value: "": needs to be unset'
             for name in ("firstTimestamp", "lastTimestamp", "count", "source")],
            id="deprecated fields are unset",
        ),
        pytest.param(
            make_new(series={"count": 1}),
            ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"],
            id="a series is of two or more",
        ),
        pytest.param(
            make_new(type="Odd"), ['type: Invalid value: "": has invalid value: Odd'], id="there are two types"
        ),
    ],
)  # fmt: skip
def test_what_events_k8s_io_asks_of_a_new_event(event: Json, texts: list[str]) -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("POST", GROUP, event)
        if not texts:
            assert answer.status == 201, answer.body
            return
        assert (answer.status, answer.body["details"]["kind"]) == (422, "Event")
        assert answer.message.startswith('Event "new" is invalid: ') and "group" not in answer.body["details"]
        found = [f"{cause['field']}: {cause['message']}" for cause in answer.body["details"]["causes"]]
        assert len(found) == len(texts) and all(f.startswith(t) for f, t in zip(found, texts, strict=True)), found

    talk(conversation)


def test_through_the_group_only_series_and_metadata_change_and_through_core_anything() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", GROUP, make_new())
        refused = await ask.patch(f"{GROUP}/new", {"note": "else", "reportingController": "other"})
        assert refused.message == (
            'Event "new" is invalid: [message: Invalid value: "else": field is immutable, '
            'reportingController: Invalid value: "other": field is immutable]'
        )
        series = {"series": {"count": 2, "lastObservedTime": AT}, "metadata": {"labels": {"a": "b"}}}
        counted = await ask.patch(f"{GROUP}/new", series, kind="strategic-merge-patch+json")
        assert counted.status == 200 and counted.body["series"]["count"] == 2
        assert (await ask.patch(f"{GROUP}/new", {"series": {"count": 1}})).status == 422
        freed = await ask.patch(f"{CORE}/new", {"message": "else"})
        assert (freed.status, freed.body["message"]) == (200, "else")

    talk(conversation)


@pytest.mark.parametrize(("path", "event"), [(CORE, make_old()), (GROUP, make_new())], ids=["core/v1", "events.k8s.io"])
def test_a_put_of_a_missing_event_creates_it(path: str, event: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        name = event["metadata"]["name"]
        assert (await ask("PUT", f"{path}/{name}", event)).status == 201
        assert (await ask("PUT", f"{path}/{name}", event)).status == 200

    talk(conversation)


def test_refusals_name_the_storage_and_authorization_the_group() -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("GET", f"{GROUP}/x")).message == 'events "x" not found'
        ann = Identity("ann", ("system:authenticated",))
        assert (await ask("GET", GROUP, identity=ann)).message.startswith("events.events.k8s.io is forbidden: ")
        wrong = await ask("POST", GROUP, {"kind": "Event", "apiVersion": "v1", **make_old()})
        assert wrong.message == (
            "the API version in the data (v1) does not match the expected API version (events.k8s.io/v1)"
        )

    talk(conversation)


def test_a_propagation_policy_leaves_no_finalizer_on_an_event() -> None:
    async def conversation(ask: Conversation) -> None:
        for policy in ("Foreground", "Orphan"):
            await ask("POST", CORE, make_old())
            gone = await ask("DELETE", f"{CORE}/old?propagationPolicy={policy}")
            assert gone.body["kind"] == "Status", policy

    talk(conversation)


def test_a_dry_run_and_a_collection_answer_in_the_form_of_the_group() -> None:
    async def conversation(ask: Conversation) -> None:
        tried = await ask("POST", f"{GROUP}?dryRun=All", make_new())
        assert tried.body["note"] == "bound to n1" and (await ask("GET", CORE)).body["items"] == []
        await ask("POST", CORE, make_old())
        gone = (await ask("DELETE", GROUP)).body
        assert gone["apiVersion"] == "events.k8s.io/v1" and gone["items"][0]["deprecatedCount"] == 1

    talk(conversation)


def test_bookmarks_and_metadata_are_of_the_group_that_is_watched() -> None:
    metadata = {"accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}

    async def conversation(ask: Conversation) -> None:
        await ask("POST", CORE, make_old())
        watch = await ask.watch(f"{GROUP}?allowWatchBookmarks=1")
        added, bookmark = await watch.events()
        assert added["object"]["apiVersion"] == bookmark["object"]["apiVersion"] == "events.k8s.io/v1"
        assert bookmark["object"]["kind"] == "Event"
        (partial,) = await (await ask.watch(GROUP, headers=metadata)).events()
        assert partial["object"] == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                                     "metadata": added["object"]["metadata"]}  # fmt: skip

    talk(conversation)


def test_pages_of_either_group_are_of_one_list() -> None:
    async def conversation(ask: Conversation) -> None:
        for number in range(3):
            await ask("POST", CORE, make_old(metadata={"name": f"e{number}"}))
        page = (await ask("GET", f"{GROUP}?limit=2")).body
        assert [item["note"] for item in page["items"]] == ["image is there"] * 2
        assert page["metadata"]["remainingItemCount"] == 1
        await ask("DELETE", f"{GROUP}/e2")
        rest = (await ask("GET", f"{GROUP}?limit=2&continue={page['metadata']['continue']}")).body
        assert [(item["metadata"]["name"], item["apiVersion"]) for item in rest["items"]] == [
            ("e2", "events.k8s.io/v1")
        ]

    talk(conversation)
