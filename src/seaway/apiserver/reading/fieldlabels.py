"""Which field selectors a kind supports. Rule: spec "api-machinery" §6.2."""

from __future__ import annotations

import functools
from dataclasses import replace

from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.selectors import FieldRequirement, FieldSelector
from seaway.api.registry import NAMESPACES, NODES, Resource


@functools.cache
def supported_fields(resource: Resource) -> frozenset[str]:
    """The kind's own selectable fields and those of metadata."""
    empty = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}, "spec": {}, "status": {}}
    common = {"metadata.name"} if resource in (NODES, NAMESPACES) else {"metadata.name", "metadata.namespace"}
    return frozenset((*resource.strategy.fields(empty), *resource.strategy.field_aliases)) | common


def check_field_selector(resource: Resource, selector: FieldSelector) -> FieldSelector:
    """The selector with aliases resolved. Raises BadRequest for a field that the kind does not offer."""
    if not selector:
        return selector
    requirements = tuple(_resolve(resource, requirement) for requirement in selector.requirements)
    return FieldSelector(requirements)


def _resolve(resource: Resource, requirement: FieldRequirement) -> FieldRequirement:
    key = requirement.key
    supported = supported_fields(resource)
    if key not in supported:
        if supported == {"metadata.name", "metadata.namespace"}:
            known = '"metadata.name", "metadata.namespace"'
            raise BadRequest(f'"{key}" is not a known field selector: only {known}')
        raise BadRequest(f"field label not supported: {key}")
    stored = resource.strategy.field_aliases.get(key)
    return requirement if stored is None else replace(requirement, key=stored)
