"""Rules meet any object that the codec lets through, and stumble over none: what is wrong is said, not raised."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seaway.api.columns import load_printer
from seaway.api.machinery.field import FieldError
from seaway.api.machinery.objectmeta import validate_create_meta
from seaway.api.registry import RESOURCES, Resource
from seaway.api.schema import find_definition
from tests.api.manifests import CONTEXT, decode
from tests.wire.objects import draw_objects

Json = dict[str, Any]
RULED = [resource for resource in RESOURCES if resource.folder and resource.stored_as is None]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
NEEDS_ADMISSION = ("services",)  # the allocator fills a Service before it is judged


def decode_any(resource: Resource, drawn: Json) -> Json:
    obj = {**drawn, "apiVersion": resource.api_version, "kind": resource.kind}
    return decode(resource, {**obj, "metadata": {**(drawn.get("metadata") or {}), "name": "x"}})


@pytest.mark.parametrize("resource", RULED, ids=lambda r: r.kind)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_object_is_judged(resource: Resource, data: st.DataObject) -> None:
    definition = find_definition(resource.group, resource.version, resource.kind)
    assert definition is not None
    strategy, objects = resource.strategy, draw_objects(definition)
    first, second = (strategy.default(decode_any(resource, data.draw(objects))) for _ in range(2))
    old = strategy.prepare_create(first, CONTEXT)
    new = strategy.prepare_update(copy.deepcopy(second), copy.deepcopy(old), CONTEXT)
    status = strategy.prepare_status_update(copy.deepcopy(second), copy.deepcopy(old), CONTEXT)
    found = [*validate_create_meta(old, resource), *strategy.validate_status_update(status, old)]
    if resource.plural not in NEEDS_ADMISSION:
        found += [*strategy.validate_create(old), *strategy.validate_update(new, old)]
        strategy.warnings(new, old)
    assert all(isinstance(error, FieldError) and str(error) for error in found)
    assert all(isinstance(value, str) for value in strategy.fields(old).values())
    assert isinstance(strategy.spec_changed(new, old), bool)
    printer = load_printer(resource)
    assert len(printer.cells(old, NOW)) >= len(printer.columns)
