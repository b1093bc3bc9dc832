"""What there is to ask for: every resource and subresource with its verbs, as the server's discovery tells it.

A kind that is added to the table of kinds is therefore fuzzed without a word here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.http import Request
from seaway.api.schema import Definition, find_definition, parse_api_version
from seaway.apiserver.handler import ApiServer
from tests.fuzz.steps import WHO


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A resource, or one of its subresources. `kind` is that of the bodies it takes."""

    group: str
    version: str
    plural: str
    subresource: str
    namespaced: bool
    verbs: frozenset[str]
    kind: tuple[str, str, str]

    @property
    def prefix(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def label(self) -> str:
        """`pods`, `pods/status`, `events.events.k8s.io`."""
        name = f"{self.plural}.{self.group}" if self.group and self.plural == "events" else self.plural
        return f"{name}/{self.subresource}" if self.subresource else name

    @property
    def api_version(self) -> str:
        group, version, _ = self.kind
        return f"{group}/{version}" if group else version

    @property
    def definition(self) -> Definition | None:
        return find_definition(*self.kind)

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of the collection or the item, names taken as they are."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
            if self.subresource:
                parts.append(self.subresource)
        return "/".join(parts)


async def discover(server: ApiServer) -> tuple[Endpoint, ...]:
    """All endpoints, sorted."""
    groups = (await _get(server, "/apis"))["groups"]
    versions = ["v1", *(version["groupVersion"] for group in groups for version in group["versions"])]
    found = []
    for api_version in versions:
        group, version = parse_api_version(api_version)
        document = await _get(server, f"/apis/{api_version}" if group else f"/api/{api_version}")
        for entry in document["resources"]:
            plural, _, subresource = entry["name"].partition("/")
            kind = (entry.get("group", group), entry.get("version", version), entry["kind"])
            verbs = frozenset(entry["verbs"])
            found.append(Endpoint(group, version, plural, subresource, entry["namespaced"], verbs, kind))
    return tuple(sorted(found, key=lambda e: (e.group, e.plural, e.subresource)))


async def _get(server: ApiServer, path: str) -> dict[str, Any]:
    response = await server.handle(Request("GET", path), WHO["admin"])
    assert response.status == 200, (path, response)
    assert isinstance(response.body, bytes)
    document: dict[str, Any] = json.loads(response.body)
    return document
