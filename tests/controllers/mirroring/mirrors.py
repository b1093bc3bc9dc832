"""Builders of hand-made Endpoints, and a server of two lines: what a plan leads to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from seaway.api.endpoints.types import Endpoints
from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.controllers.mirroring.plan import MirrorPlan, render_slice
from seaway.testing.builders import make_service

Json = dict[str, Any]
UID = "22222222-2222-4222-8222-222222222222"
HTTP: Json = {"name": "http", "port": 80}


def service(*, annotations: Json | None = None, **spec: Any) -> Service:
    meta = {"uid": "uid-service", "annotations": annotations or {}}
    return msgspec.convert(make_service("web", meta=meta, **{"selector": {}, **spec}), Service)


def subset(*ready: str | Json, rest: Iterable[str | Json] = (), ports: Iterable[Json] = (HTTP,)) -> Json:
    """Addresses by their text, or whole."""
    ready_, not_ready = ([{"ip": a} if isinstance(a, str) else a for a in some] for some in (ready, rest))
    return {"addresses": ready_, "notReadyAddresses": not_ready, "ports": list(ports)}


def endpoints(*subsets: Json, **meta: Any) -> Endpoints:
    raw = {"metadata": {"name": "web", "namespace": "default", "uid": UID, **meta}, "subsets": list(subsets)}
    return msgspec.convert(raw, Endpoints)


def apply(about: Endpoints, existing: Iterable[EndpointSlice], plan: MirrorPlan) -> list[EndpointSlice]:
    """The slices after the plan, as a server would keep them."""
    result = {s.metadata.name: s for s in existing}
    names = (f"new-{n}" for n in itertools.count() if f"new-{n}" not in result)
    for write in plan.create + plan.update:
        body = render_slice(about.metadata, write)
        body["metadata"].setdefault("name", next(names))
        name = body["metadata"]["name"]
        body["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "7"}
        result[name] = msgspec.convert(body, EndpointSlice)
    for slice_ in plan.delete:
        del result[slice_.metadata.name]
    return list(result.values())


def say(slices: Iterable[EndpointSlice]) -> list[str]:
    """A line per slice: type, ports, endpoints; the ones that are not ready in brackets."""
    lines = []
    for slice_ in slices:
        ports = " ".join(f"{p.name}:{p.port}" for p in slice_.ports or ())
        found = " ".join(e.addresses[0] if e.is_ready else f"({e.addresses[0]})" for e in slice_.endpoints or ())
        lines.append(f"{slice_.address_type} {ports} | {found}")
    return sorted(lines)
