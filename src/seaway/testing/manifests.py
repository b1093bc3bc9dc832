"""Manifests as objects: YAML or JSON text with any number of documents, and kinds by any name that kubectl knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from seaway.api.registry import RESOURCES, Resource

Json = dict[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_manifest(manifest: str | Mapping[str, Any]) -> list[tuple[Resource, Json]]:
    """The objects with their kinds, Lists taken apart. Raises ValueError for a kind that is not served."""
    documents = list(yaml.load_all(manifest, Loader=_LOADER)) if isinstance(manifest, str) else [dict(manifest)]
    return [(_find_kind(obj), obj) for document in documents if document for obj in _flatten(document)]


def find_kind(name: str) -> Resource:
    """The kind by its name, plural, singular or short name, in any case, with or without its group.

    Raises ValueError.
    """
    wanted = name.lower()
    for resource in RESOURCES:
        names = {resource.kind.lower(), resource.plural, resource.singular, *resource.short_names}
        if wanted in names or wanted in {f"{plain}.{resource.group}" for plain in names}:
            return resource
    raise ValueError(f"kind {name!r} is not served; known are {', '.join(sorted(r.plural for r in RESOURCES))}")


def _flatten(document: Any) -> Iterator[Json]:
    if not isinstance(document, dict):
        raise ValueError(f"a manifest must be a mapping, found {type(document).__name__}")
    if document.get("kind") == "List":
        yield from document.get("items") or ()
    else:
        yield document


def _find_kind(obj: Json) -> Resource:
    for resource in RESOURCES:
        if (resource.api_version, resource.kind) == (obj.get("apiVersion"), obj.get("kind")):
            return resource
    raise ValueError(f"kind {obj.get('kind')!r} of {obj.get('apiVersion')!r} is not served")
