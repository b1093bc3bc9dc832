"""One stored object as the server holds it: the bytes that a GET returns, and the little that selectors ask for.

Stored bytes have no resourceVersion: it is the store's revision and is spliced in as the first member of `metadata`.
Invariant of everything written here: `kind` and `apiVersion` come first, then `metadata`, so that the first
`"metadata":{` of the bytes is the object's own (a string value cannot hold it: its quotes would be escaped).
"""

from __future__ import annotations

from sys import intern
from typing import Any

import msgspec

from seaway.api.machinery.strategy import Strategy
from seaway.api.registry import Resource

Json = dict[str, Any]

_METADATA = b'"metadata":{'
_REVISION = b'"resourceVersion":"'
_encoder = msgspec.json.Encoder()
_ONLY_STORED = Strategy()
_NOTHING: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, gc=False):
    """`key` is `namespace/name` or `name`; `body` is the whole object with its resourceVersion, as a GET returns it.

    hidden: the same as it is stored, where that is something else; empty where it is not.
    """

    key: str
    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    fields: dict[str, str]
    revision: int
    body: bytes
    is_deleting: bool
    hidden: bytes = b""

    @property
    def stored(self) -> bytes:
        """The object as it is stored, its resourceVersion in place: what a write begins with."""
        return self.hidden or self.body

    def find_field(self, key: str) -> str:
        """A selectable field, empty when the object has none."""
        if key == "metadata.name":
            return self.name
        return self.namespace if key == "metadata.namespace" else self.fields.get(key, "")


class _Meta(msgspec.Struct, gc=False, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    deletion_timestamp: str | None = None


class _Envelope(msgspec.Struct, gc=False):
    metadata: _Meta


class _RawMetadata(msgspec.Struct, gc=False):
    metadata: msgspec.Raw


_envelope_decoder = msgspec.json.Decoder(_Envelope)
_metadata_decoder = msgspec.json.Decoder(_RawMetadata)
_decoder = msgspec.json.Decoder()


def encode_stored(obj: Json) -> bytes:
    """The bytes that the store keeps: no resourceVersion, no selfLink; kind and metadata first."""
    meta = obj["metadata"]
    dropped = ("resourceVersion", "selfLink")
    meta = {key: value for key, value in meta.items() if key not in dropped and value not in (None, {}, [])}
    ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": meta}
    return _encoder.encode({**ordered, **{key: value for key, value in obj.items() if key not in ordered}})


def splice_revision(value: bytes, revision: int) -> bytes:
    """The object as clients see it."""
    at = value.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def replace_revision(body: bytes, revision: int) -> bytes:
    """The spliced object with another resourceVersion: deletions show the revision that removed the object."""
    start = body.index(_REVISION) + len(_REVISION)
    return b"%b%d%b" % (body[:start], revision, body[body.index(b'"', start) :])


def show_stored(resource: Resource, obj: Json, value: bytes, primary_family: str) -> bytes:
    """The bytes that the main resource shows of a stored value, which is `obj`; without a resourceVersion."""
    shown = resource.strategy.on_read(obj, primary_family)
    return value if shown is None else encode_stored(shown)


def make_record(resource: Resource, key: str, value: bytes, revision: int, primary_family: str = "IPv4") -> Record:
    """The record of a stored value. Kinds without selectable fields decode metadata alone.

    What is the same in thousands of records is there once: namespaces, keys of labels, and nothing at all.
    """
    strategy = resource.strategy
    meta = _envelope_decoder.decode(value).metadata
    fields, shown = _NOTHING, value
    if strategy.fields is not _ONLY_STORED.fields or strategy.on_read is not _ONLY_STORED.on_read:
        obj = _decoder.decode(value)
        fields, shown = strategy.fields(obj), show_stored(resource, obj, value, primary_family)
    return Record(
        key=key,
        namespace=intern(meta.namespace),
        name=meta.name,
        uid=meta.uid,
        labels={intern(name): text for name, text in meta.labels.items()} if meta.labels else _NOTHING,
        fields=fields,
        revision=revision,
        body=splice_revision(shown, revision),
        is_deleting=meta.deletion_timestamp is not None,
        hidden=b"" if shown is value else splice_revision(value, revision),
    )


def decode_object(body: bytes) -> Json:
    """A fresh dict of the object, owned by the caller, its resourceVersion in place."""
    decoded: Json = _decoder.decode(body)
    return decoded


def encode_object(obj: Any) -> bytes:
    """Compact JSON."""
    return _encoder.encode(obj)


def encode_metadata_only(body: bytes, version: str) -> bytes:
    """The object as PartialObjectMetadata. Rule: spec "api-machinery" §2.4."""
    meta = _metadata_decoder.decode(body).metadata
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (version.encode(), meta)
