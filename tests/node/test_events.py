"""Rule: spec "node" §2.4 (events), §1.7."""

from __future__ import annotations

import pytest

from seaway.node.events import Happening, involve_node, involve_pod, make_event, make_field_path, make_repeat_patch
from tests.node.manifests import NOW, decode_pod

POD = decode_pod(initContainers=[{"name": "first"}], ephemeralContainers=[{"name": "shell"}])


@pytest.mark.parametrize(
    ("container", "path"),
    [
        ("main", "spec.containers{main}"),
        ("first", "spec.initContainers{first}"),
        ("shell", "spec.ephemeralContainers{shell}"),
    ],
)
def test_paths(container: str, path: str) -> None:
    assert make_field_path(POD, container) == path


def test_an_event_of_a_pod_is_beside_it() -> None:
    happening = Happening("Warning", "Failed", "x" * 2000, "spec.containers{main}")
    event = make_event(involve_pod(POD), happening, suffix="1", node="node-1", wall_now=NOW)
    assert event["metadata"] == {"name": "web-1.1", "namespace": "default"}
    about = event["involvedObject"]
    assert (about["kind"], about["uid"], about["fieldPath"]) == ("Pod", "uid-1", "spec.containers{main}")
    assert event["source"] == {"component": "kubelet", "host": "node-1"} and len(event["message"]) == 1024
    assert make_repeat_patch(3, NOW) == {"count": 3, "lastTimestamp": event["lastTimestamp"]}


def test_an_event_of_the_node_is_found_by_its_name() -> None:
    event = make_event(involve_node("node-1"), Happening("Normal", "NodeReady", "m"), suffix="1", node="node-1",
                       wall_now=NOW)  # fmt: skip
    assert event["involvedObject"] == {"kind": "Node", "name": "node-1", "uid": "node-1"}
    assert event["metadata"]["namespace"] == "default"
