"""What holds whatever is written, and whenever: watches replay, pages are one list, patches lead where they point.

Rule: spec "api-machinery" §5, §6.3, §7.2, §7.3.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.schema import find_definition
from seaway.apiserver.patch.json_patch import apply_json_patch, parse_operations
from seaway.apiserver.patch.merge import apply_merge_patch
from seaway.apiserver.patch.strategic import apply_strategic_patch
from tests.apiserver.conversation import CONFIG_MAPS, Conversation, talk

Json = dict[str, Any]
ALL = "/api/v1/configmaps"
OTHERS = "/api/v1/namespaces/kube-public/configmaps"
SELECTED = "labelSelector=l%3Da"
# A write: where, which object, and its label; without a label it is a delete.
WRITES = st.lists(
    st.tuples(st.sampled_from((CONFIG_MAPS, OTHERS)), st.sampled_from("abcd"), st.sampled_from(("a", "b", ""))),
    min_size=1,
    max_size=14,
)


async def write(ask: Conversation, path: str, name: str, label: str) -> None:
    """Create, change or delete; what is not there is not deleted."""
    if not label:
        await ask("DELETE", f"{path}/{name}")
        return
    meta = {"name": name, "labels": {"l": label}}
    if (await ask("POST", path, {"metadata": meta})).status == 409:
        count = (await ask("GET", f"{path}/{name}")).body.get("data", {}).get("n", "")
        await ask.patch(f"{path}/{name}", {"metadata": {"labels": {"l": label}}, "data": {"n": f"{count}."}})


def by_key(items: list[Json]) -> Json:
    return {f"{item['metadata']['namespace']}/{item['metadata']['name']}": item for item in items}


async def read(ask: Conversation, target: str) -> tuple[str, Json]:
    """The revision of a list, and its objects."""
    listed = (await ask("GET", target)).body
    return listed["metadata"]["resourceVersion"], by_key(listed["items"])


def replay(state: Json, events: list[Json]) -> Json:
    """The state as a reflector keeps it. An event that does not fit what it follows is an error."""
    kept = dict(state)
    for event in events:
        (key,) = by_key([event["object"]])
        assert (key in kept) == (event["type"] != "ADDED"), event
        if event["type"] == "DELETED":
            del kept[key]
        else:
            kept[key] = event["object"]
    return kept


@settings(deadline=None, max_examples=40)
@given(WRITES, st.sampled_from((ALL, CONFIG_MAPS, f"{ALL}?{SELECTED}", f"{CONFIG_MAPS}?{SELECTED}")))
def test_a_watch_from_any_version_replays_to_the_list_of_the_present(
    writes: list[tuple[str, str, str]], target: str
) -> None:
    async def conversation(ask: Conversation) -> None:
        past = [await read(ask, target)]
        live = await ask.watch(f"{target}{'&' if '?' in target else '?'}resourceVersion={past[0][0]}")
        for each in writes:
            await write(ask, *each)
            past.append(await read(ask, target))
        _, present = past[-1]
        assert replay(past[0][1], await live.events()) == present
        for revision, state in past:
            later = await ask.watch(f"{target}{'&' if '?' in target else '?'}resourceVersion={revision}")
            events = await later.events()
            versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
            assert versions == sorted(set(versions)) and all(version > int(revision) for version in versions)
            assert replay(state, events) == present

    talk(conversation)


@settings(deadline=None, max_examples=40)
@given(WRITES, WRITES, st.integers(1, 5), st.sampled_from((ALL, f"{ALL}?{SELECTED}")))
def test_pages_of_any_size_are_one_list_while_writes_go_on(
    before: list[tuple[str, str, str]], during: list[tuple[str, str, str]], limit: int, target: str
) -> None:
    async def conversation(ask: Conversation) -> None:
        for each in before:
            await write(ask, *each)
        whole = (await ask("GET", target)).body
        paged = f"{target}{'&' if '?' in target else '?'}limit={limit}"
        items, token, waiting = [], "", list(during)
        while True:
            page = (await ask("GET", f"{paged}&continue={token}" if token else paged)).body
            assert page["metadata"]["resourceVersion"] == whole["metadata"]["resourceVersion"]
            items += page["items"]
            token = page["metadata"].get("continue", "")
            left = page["metadata"].get("remainingItemCount", 0)
            assert bool(left) == bool(token and target == ALL) and (
                not left or left == len(whole["items"]) - len(items)
            )
            if not token:
                break
            assert len(page["items"]) == limit, "a page is filled as far as possible"
            for each in waiting[:3]:
                await write(ask, *each)
            waiting = waiting[3:]
        assert items == whole["items"]
        keys = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]
        assert keys == sorted(keys)

    talk(conversation)


_LEAVES = st.integers(0, 3) | st.sampled_from(("x", "y")) | st.lists(st.integers(0, 2), max_size=2)
_TREES = st.recursive(_LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _TREES, max_size=3)


def make_merge_patch(old: Json, new: Json) -> Json:
    """The smallest merge patch from one object to the other."""
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        had = old.get(key)
        if isinstance(value, dict) and isinstance(had, dict):
            if inner := make_merge_patch(had, value):
                patch[key] = inner
        elif had != value or type(had) is not type(value):
            patch[key] = value
    return patch


def make_operations(old: Json, new: Json, path: str = "") -> list[Json]:
    """A JSON patch from one object to the other that first tests what it replaces."""
    operations = [{"op": "remove", "path": f"{path}/{key}"} for key in old if key not in new]
    for key, value in new.items():
        at = f"{path}/{key}"
        if key not in old:
            operations.append({"op": "add", "path": at, "value": value})
        elif isinstance(value, dict) and isinstance(old[key], dict):
            operations += make_operations(old[key], value, at)
        elif old[key] != value:
            operations += [{"op": "test", "path": at, "value": old[key]}, {"op": "replace", "path": at, "value": value}]
    return operations


@settings(deadline=None)
@given(_OBJECTS, _OBJECTS)
def test_the_difference_of_two_objects_leads_from_one_to_the_other(old: Json, new: Json) -> None:
    assert apply_merge_patch(make_merge_patch(old, new), old) == new
    assert apply_json_patch(parse_operations(make_operations(old, new)), old) == new
    assert make_merge_patch(old, old) == {} and make_operations(old, old) == []


_NUMBERS = st.lists(st.integers(1, 6), unique=True, max_size=5)


def make_service(numbers: list[int]) -> Json:
    return {"spec": {"ports": [{"port": number, "protocol": "TCP"} for number in numbers]}}


def patch_service(patch: Json, current: Json) -> list[int]:
    definition = find_definition("", "v1", "Service")
    assert definition is not None
    patched = apply_strategic_patch({"spec": patch}, current, definition)
    return [port["port"] for port in patched["spec"].get("ports", ())]


@settings(deadline=None)
@given(_NUMBERS, _NUMBERS)
def test_a_strategic_patch_with_orders_and_deletes_leads_where_kubectl_wants(old: list[int], new: list[int]) -> None:
    """As kubectl computes it: what goes is deleted, what comes is there, and the order of all is said."""
    gone = [{"port": number, "$patch": "delete"} for number in old if number not in new]
    come = [{"port": number, "protocol": "TCP"} for number in new if number not in old]
    patch = {"$setElementOrder/ports": [{"port": number} for number in new], "ports": [*come, *gone]}
    assert patch_service(patch, make_service(old)) == new
    replace = {"ports": [*make_service(new)["spec"]["ports"], {"$patch": "replace"}]}
    assert patch_service(replace, make_service(old)) == new


_WORDS = ("metadata", "name", "namespace", "uid", "resourceVersion", "labels", "spec", "replicas", "status", "target",
          "kind", "apiVersion", "deleteOptions", "preconditions", "gracePeriodSeconds", "dryRun", "ephemeralContainers",
          "image", "finalizers", "phase", "eventTime", "series", "count", "regarding", "involvedObject",
          "note")  # fmt: skip
_TEXTS = ("", "web-1", "default", "Node", "v1", "1", "All", "x/y", "2026-01-02T03:04:05.000006Z", "a b")
_ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 40) | st.sampled_from(_TEXTS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=10,
)
_NAMESPACE = "/api/v1/namespaces/default"
_SPOKEN_TO = st.sampled_from((
    ("POST", f"{_NAMESPACE}/pods/web-1/eviction"), ("POST", f"{_NAMESPACE}/pods/web-1/binding"),
    ("POST", f"{_NAMESPACE}/bindings"), ("PUT", f"{_NAMESPACE}/pods/web-1/ephemeralcontainers"),
    ("PATCH", f"{_NAMESPACE}/pods/web-1/ephemeralcontainers"), ("PUT", f"{_NAMESPACE}/pods/web-1/status"),
    ("PUT", "/apis/apps/v1/namespaces/default/deployments/web/scale"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/web/scale"),
    ("POST", f"{_NAMESPACE}/events"), ("POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
    ("PUT", "/apis/events.k8s.io/v1/namespaces/default/events/e"), ("PUT", "/api/v1/namespaces/n/finalize"),
    ("PATCH", "/apis/events.k8s.io/v1/namespaces/default/events/e"), ("DELETE", f"{_NAMESPACE}/pods/web-1"),
    ("DELETE", f"{_NAMESPACE}/pods"),
))  # fmt: skip
_NAMED_ERRORS = ("invalid resource version: ", "resourceVersion should not be set on objects to be created")
"""The answers of 500 that the spec names (§1.4)."""


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(_SPOKEN_TO, st.dictionaries(st.sampled_from(_WORDS), _ODD, max_size=4)), max_size=12))
def test_odd_bodies_are_taken_or_refused_and_find_no_bug(requests: list[tuple[tuple[str, str], Json]]) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "m", "image": "x"}]}}
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-1"}}

    async def conversation(ask: Conversation) -> None:
        for path, body in (
            ("/api/v1/namespaces", {"metadata": {"name": "n"}}),
            (f"{_NAMESPACE}/pods", {"metadata": {"name": "web-1", "labels": labels}, "spec": template["spec"]}),
            ("/apis/apps/v1/namespaces/default/deployments",
             {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}),
            (f"{_NAMESPACE}/events", event),
        ):  # fmt: skip
            made = await ask("POST", path, body)
            assert made.status == 201, made.body
        for (method, path), body in requests:
            headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
            answer = await ask(method, path, body, headers=headers)
            named = answer.status == 500 and answer.message.startswith(_NAMED_ERRORS)
            assert answer.status < 500 or named, answer.body

    talk(conversation)
