"""Owners of a workload as owners of its Scale, and back: the one field that both have is the number of replicas.

Rule: spec "api-machinery" §5.5, §9.1.
"""

from __future__ import annotations

from dataclasses import replace

from seaway.apiserver.managedfields.entries import Entries
from seaway.apiserver.managedfields.fieldsets import Tree, intersection
from seaway.apiserver.managedfields.tracking import release_fields

REPLICAS: Tree = {"f:spec": {"f:replicas": {}}}


def narrow_to_scale(entries: Entries, api_version: str) -> Entries:
    """The entries of the Scale: of whoever owns the replicas, and of nothing else. api_version: the Scale's."""
    owners = (entry for entry in entries.values() if intersection(entry.fields, REPLICAS))
    narrowed = (replace(entry, fields=REPLICAS, api_version=api_version) for entry in owners)
    return {entry.identity: entry for entry in narrowed}


def widen_from_scale(entries: Entries, scale_entries: Entries, api_version: str) -> Entries:
    """The workload's entries after its Scale was applied. api_version: the workload's."""
    result = release_fields(entries, REPLICAS)
    for scaled in scale_entries.values():
        if not intersection(scaled.fields, REPLICAS):
            continue
        owner = replace(scaled, fields=REPLICAS, api_version=api_version)
        had = entries.get(owner.identity)
        result[owner.identity] = owner if had is None else replace(had, time=owner.time)
    return result
