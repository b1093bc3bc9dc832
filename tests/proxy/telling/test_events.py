"""Rule: spec "proxy" §11.4."""

from __future__ import annotations

from seaway.proxy.telling.events import Occurrence, Told, format_event_time, make_event, starting

TIME = format_event_time(1_700_000_000.5)


def test_starting_is_told_of_the_node_without_a_note() -> None:
    assert make_event(starting("node-1"), host_name="host-1", time=TIME, name_suffix="17f") == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "node-1.17f", "namespace": "default"},
        "eventTime": "2023-11-14T22:13:20.500000Z",
        "reportingController": "kube-proxy",
        "reportingInstance": "kube-proxy-host-1",
        "action": "StartKubeProxy",
        "reason": "Starting",
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
        "type": "Normal",
    }


def refusal(note: str) -> Occurrence:
    return Occurrence("Service", "shop/web", "Warning", "InvalidAnnotation", "Sync", note, "u-1")


def test_of_a_service_it_is_in_its_namespace_and_names_its_uid() -> None:
    event = make_event(refusal("a"), host_name="h", time=TIME)
    assert event["metadata"]["namespace"] == "shop"
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "name": "web",
        "namespace": "shop",
        "uid": "u-1",
    }


def test_the_same_refusal_has_the_same_name_on_every_node() -> None:
    names = [
        make_event(refusal(n), host_name=h, time=TIME)["metadata"]["name"]
        for n, h in (("a", "h"), ("a", "i"), ("b", "h"))
    ]
    assert names[0] == names[1] != names[2]


def test_long_names_and_notes_are_cut() -> None:
    told = Occurrence("Service", f"shop/{'w' * 250}", "Warning", "R", "Sync", "n" * 2000)
    event = make_event(told, host_name="h" * 300, time=TIME)
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["note"]) == 1024
    assert len(event["reportingInstance"]) == 128


def test_each_is_told_once_and_the_oldest_are_forgotten() -> None:
    told = Told(limit=2)
    assert [told.is_new(refusal(n)) for n in "aababc"] == [True, False, True, False, False, True]
    assert told.is_new(refusal("a"))


def test_of_one_object_not_much_is_told_until_it_is_forgotten() -> None:
    told = Told(limit=4, limit_of_one=2)
    of_one = [Occurrence("Service", "shop/web", "Warning", "R", "Sync", str(n)) for n in range(4)]
    assert [told.is_new(o) for o in of_one] == [True, True, False, False]
    others = [Occurrence("Service", f"shop/{n}", "Warning", "R", "Sync") for n in range(3)]
    assert all(told.is_new(o) for o in others)
    assert told.is_new(of_one[3]), "the oldest was forgotten"
