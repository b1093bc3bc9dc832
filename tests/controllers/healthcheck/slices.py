"""Builders of slices by hand, and a server of two lines for their patches."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.controllers.healthcheck.plan import ConditionsPlan
from seaway.testing.builders import make_slice

Json = dict[str, Any]


def raw_slice(*endpoints: str | Json, ports: list[Json] | None = None, name: str = "web-1", **meta: Any) -> Json:
    """An endpoint is an address, which is wanted, or a whole one."""
    body = make_slice(name, "web", [], ports=ports)
    body["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "7", **meta}
    body["endpoints"] = [{"addresses": [e], "conditions": {}} if isinstance(e, str) else e for e in endpoints]
    return body


def decode(body: Json) -> EndpointSlice:
    return msgspec.convert(body, EndpointSlice)


def by_hand(*endpoints: str | Json, **rest: Any) -> EndpointSlice:
    return decode(raw_slice(*endpoints, **rest))


def apply(body: Json, plan: ConditionsPlan) -> Json:
    """The slice after the patch, as RFC 6902 has it: the three operations that are used."""
    result = copy.deepcopy(body)
    for operation in plan.operations:
        *path, last = [part.replace("~1", "/") for part in operation["path"].split("/")[1:]]
        where: Any = result
        for part in path:
            where = where[int(part)] if isinstance(where, list) else where[part]
        if operation["op"] == "remove":
            del where[last]
        else:
            assert operation["op"] == "add" or last in where
            where[last] = operation["value"]
    return result
