"""Stored bytes and what clients see of them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seaway.api.registry import CONFIG_MAPS, SERVICES
from seaway.apiserver.record import (
    decode_object,
    encode_metadata_only,
    encode_stored,
    make_record,
    replace_revision,
    splice_revision,
)
from seaway.testing.builders import make_service

TEXT = st.text(max_size=20) | st.just('"metadata":{"resourceVersion":"1"') | st.just('\\"metadata\\":{')
OBJECTS = st.builds(
    lambda name, data, note: {
        "data": data,
        "note": note,
        "metadata": {"name": name, "annotations": data},
        "apiVersion": "v1",
        "kind": "ConfigMap",
    },
    TEXT.filter(bool),
    st.dictionaries(TEXT, TEXT, max_size=3),
    TEXT,
)


@given(OBJECTS, st.integers(1, 2**60), st.integers(1, 2**60))
def test_the_revision_is_spliced_into_the_objects_own_metadata(obj: dict[str, Any], first: int, second: int) -> None:
    stored = encode_stored(obj)
    spliced = splice_revision(stored, first)
    seen = json.loads(spliced)
    assert seen["metadata"].pop("resourceVersion") == str(first)
    expected = {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if value}}
    assert seen == expected
    assert replace_revision(spliced, second) == splice_revision(stored, second)
    assert encode_stored(decode_object(spliced)) == stored, "what was read is stored as it was"


def test_what_only_the_server_knows_is_not_stored() -> None:
    obj = make_service(meta={"resourceVersion": "7", "managedFields": [], "selfLink": "/", "labels": {}})
    assert json.loads(encode_stored(obj))["metadata"] == {"name": "web", "namespace": "default"}


def test_a_record_knows_what_selectors_ask_for() -> None:
    obj = make_service(clusterIP="None", type="ClusterIP", meta={"labels": {"a": "b"}, "uid": "u"})
    record = make_record(SERVICES, "default/web", encode_stored(obj), 9)
    assert (record.namespace, record.name, record.uid, record.labels) == ("default", "web", "u", {"a": "b"})
    assert record.find_field("spec.clusterIP") == "None" and record.find_field("metadata.name") == "web"
    assert (record.revision, record.is_deleting) == (9, False)
    ended = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "deletionTimestamp": "t"}}
    assert make_record(CONFIG_MAPS, "default/a", encode_stored(ended), 9).is_deleting


def test_metadata_alone_is_the_metadata_whole() -> None:
    spliced = splice_revision(encode_stored(make_service()), 5)
    assert json.loads(encode_metadata_only(spliced, "v1")) == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": json.loads(spliced)["metadata"],
    }
