"""The two forms of what one group stores and another serves as well: Events.

A row of the registry with `stored_as` has a `conversion.py` in its folder with `to_stored` and `from_stored`. What
lies between a request's body and its answer (selectors, validation, commit, watch cache) sees the stored form alone.
Rule: spec "api-machinery" §12 (Event); design §5.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seaway.api.machinery.codec import Decoded
from seaway.api.registry import Resource
from seaway.apiserver.record import decode_object, encode_object

Json = dict[str, Any]
Make = Callable[[Json], Decoded]


def show(resource: Resource, body: bytes) -> bytes:
    """A stored object's bytes as the resource shows them."""
    return body if resource.stored_as is None else encode_object(_conversion(resource).from_stored(decode_object(body)))


def store(resource: Resource, decoded: Decoded) -> Decoded:
    """An object of the resource in the form that is stored."""
    if resource.stored_as is None:
        return decoded
    return replace(decoded, obj=_conversion(resource).to_stored(decoded.obj))


def store_made(resource: Resource, make: Make) -> Make:
    """`make` of the resource's own form, as a change of the stored form."""
    if resource.stored_as is None:
        return make

    def make_stored(current: Json) -> Decoded:
        return store(resource, make(_conversion(resource).from_stored(current) if current else current))

    return make_stored


@functools.cache
def _conversion(resource: Resource) -> Any:
    return importlib.import_module(f"seaway.api.{resource.folder}.conversion")
