"""Accept headers in the wild, and what they get. Rule: spec "api-machinery" §2.2."""

from __future__ import annotations

import pytest

from seaway.api.machinery.errors import NotAcceptable
from seaway.apiserver.negotiation import Accepted, negotiate

OBJECT = Accepted("object", "", "application/json")
KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
METADATA = (
    "application/vnd.kubernetes.protobuf;as={0};g=meta.k8s.io;v=v1,application/json;as={0};g=meta.k8s.io;v=v1,"
    "application/json"
)
WATCH_FORMS = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
OFFERS = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", OBJECT),
        ("application/json", OBJECT),
        ("application/json, */*", OBJECT),
        ("*/*", OBJECT),
        ("application/vnd.kubernetes.protobuf,application/json", OBJECT),
        ("application/vnd.kubernetes.protobuf, */*", OBJECT),
        ("application/yaml", Accepted("object", "", "application/yaml")),
        ("application/yaml;q=0.5, application/json;q=0.9", OBJECT),
        ("application/json;q=0, application/yaml", Accepted("object", "", "application/yaml")),
        ("application/json;pretty=1", Accepted("object", "", "application/json", True)),
        ("application/json;profile=nopeer;x=y", OBJECT),
        ("text/html, application/xhtml+xml, */*;q=0.8", OBJECT),
        (KUBECTL_GET, Accepted("table", "v1", "application/json")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Accepted("table", "v1beta1", "application/json")),
        ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", OBJECT),
        ("application/json;as=Foo;v=v1;g=meta.k8s.io,application/json", OBJECT),
        (METADATA.format("PartialObjectMetadata"), Accepted("metadata", "v1", "application/json")),
    ],
)
def test_an_object(accept: str, wanted: Accepted) -> None:
    assert negotiate(accept, is_list=False, is_watch=False) == wanted


def test_a_list_has_its_own_metadata_form() -> None:
    accept = METADATA.format("PartialObjectMetadataList")
    assert negotiate(accept, is_list=True, is_watch=False) == Accepted("metadata", "v1", "application/json")
    with pytest.raises(NotAcceptable, match="you requested PartialObjectMetadata, but the requested object is a list"):
        negotiate(METADATA.format("PartialObjectMetadata"), is_list=True, is_watch=False)
    with pytest.raises(NotAcceptable, match="is not a list"):
        negotiate(accept, is_list=False, is_watch=False)


def test_a_watch_of_a_list_uses_the_form_of_items() -> None:
    accept = METADATA.format("PartialObjectMetadata")
    assert negotiate(accept, is_list=True, is_watch=True) == Accepted("metadata", "v1", "application/json")
    assert negotiate("application/json;stream=watch", is_list=True, is_watch=True) == OBJECT


@pytest.mark.parametrize(
    ("accept", "is_list", "message"),
    [
        ("text/plain", False, f"406: Not Acceptable\n\nAvailable representations: {OFFERS}"),
        ("application/*", False, f"406: Not Acceptable\n\nAvailable representations: {OFFERS}"),
        ("text/plain", True, f"406: Not Acceptable\n\nAvailable representations: {OFFERS}{WATCH_FORMS}"),
        ("application/json;as=Foo;v=v1;g=meta.k8s.io", False,
         f"only the following media types are accepted: {OFFERS}"),
    ],
)  # fmt: skip
def test_nothing_fits(accept: str, is_list: bool, message: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        negotiate(accept, is_list=is_list, is_watch=False)
    assert refused.value.message == message
