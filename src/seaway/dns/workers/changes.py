"""What the leader tells its followers, and they it, as values and as frames.

A follower that connects gets the whole state as changes from nothing, then each change as it happens; `Signal.SYNCED`
says that what came so far is all. Changes carry the leader's time, so that serials are the same everywhere.

Law: an index that took `list_changes(index)` answers as `index` does. A frame is its length in four bytes, then
MessagePack.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from seaway.dns.forwarding.paths import PodNamespaces
from seaway.dns.index import Index, Source
from seaway.dns.objects import DetailedSlice, EndpointSlice, Meta, Namespace, Pod, PodStatus, Service

MAX_FRAME_BYTES = 64 << 20


class Kind(enum.Enum):
    """Of the object that changed."""

    NAMESPACE = "namespace"
    SERVICE = "service"
    SLICE = "slice"
    POD = "pod"


class Signal(enum.Enum):
    """Words without an object."""

    SYNCED = "synced"
    RELOAD = "reload"
    COUNT = "count"
    READY = "ready"


class ObjectChange(msgspec.Struct, frozen=True):
    """An object before and after; None: it was not there, or is not any more."""

    kind: Kind
    old: Any
    new: Any
    wall_seconds: int


class Counted(msgspec.Struct, frozen=True):
    """What a follower has counted: `encode_families`."""

    families: bytes


Word = ObjectChange | Signal | Counted


class _Frame(msgspec.Struct, array_like=True):
    """kind: of an object, or a signal, or `counted`."""

    kind: str
    old: msgspec.Raw = msgspec.Raw(b"\xc0")
    new: msgspec.Raw = msgspec.Raw(b"\xc0")
    wall_seconds: int = 0


_COUNTED = "counted"
_encode = msgspec.msgpack.Encoder().encode
_decode_frame = msgspec.msgpack.Decoder(_Frame).decode


def encode_word(word: Word) -> bytes:
    """The frame."""
    match word:
        case ObjectChange(kind, old, new, wall_seconds):
            frame = _Frame(kind.value, msgspec.Raw(_encode(old)), msgspec.Raw(_encode(new)), wall_seconds)
        case Signal():
            frame = _Frame(word.value)
        case Counted(families):
            frame = _Frame(_COUNTED, msgspec.Raw(_encode(families)))
    body = _encode(frame)
    return len(body).to_bytes(4, "big") + body


class WordDecoder:
    """Reads frames without their length. has_details: slices are kept with what names of Pods need."""

    def __init__(self, *, has_details: bool = False) -> None:
        types: dict[Kind, Any] = {
            Kind.NAMESPACE: Namespace,
            Kind.SERVICE: Service,
            Kind.SLICE: DetailedSlice if has_details else EndpointSlice,
            Kind.POD: Pod,
        }
        self._decoders = {kind.value: msgspec.msgpack.Decoder(found | None) for kind, found in types.items()}

    def decode(self, body: bytes) -> Word:
        """The word. Raises msgspec.DecodeError, and ValueError for a kind that there is not."""
        frame = _decode_frame(body)
        if frame.kind == _COUNTED:
            return Counted(msgspec.msgpack.decode(frame.old, type=bytes))
        decoder = self._decoders.get(frame.kind)
        if decoder is None:
            return Signal(frame.kind)
        old, new = decoder.decode(frame.old), decoder.decode(frame.new)
        return ObjectChange(Kind(frame.kind), old, new, frame.wall_seconds)


def apply_change(change: ObjectChange, index: Index, pods: PodNamespaces) -> list[Source]:
    """Take the change in; what answers it touched."""
    old, new, wall_seconds = change.old, change.new, change.wall_seconds
    match change.kind:
        case Kind.NAMESPACE:
            return index.apply_namespace(old, new)
        case Kind.SERVICE:
            return index.apply_service(old, new, wall_seconds=wall_seconds)
        case Kind.SLICE:
            return index.apply_slice(old, new, wall_seconds=wall_seconds)
        case Kind.POD:
            pods.apply(old, new)
            return index.apply_pod(old, new, wall_seconds=wall_seconds)


def list_changes(index: Index) -> Iterator[ObjectChange]:
    """All that is in the index as it is now, as changes from nothing; what changes later is not in it."""
    names, shards, pods = sorted(index.namespaces), index.list_all(), index.list_pods()
    return _list_changes(names, shards, pods, index.serial)


def _list_changes(
    names: Iterable[str],
    shards: Iterable[tuple[Service | None, tuple[EndpointSlice, ...]]],
    pods: Iterable[tuple[str, str, str]],
    serial: int,
) -> Iterator[ObjectChange]:
    for name in names:
        yield ObjectChange(Kind.NAMESPACE, None, Namespace(metadata=Meta(name=name)), serial)
    for service, slices in shards:
        if service is not None:
            yield ObjectChange(Kind.SERVICE, None, service, serial)
        for each in slices:
            yield ObjectChange(Kind.SLICE, None, each, serial)
    for namespace, address, name in pods:
        pod = Pod(metadata=Meta(name=name, namespace=namespace), status=PodStatus(pod_ip=address))
        yield ObjectChange(Kind.POD, None, pod, serial)
