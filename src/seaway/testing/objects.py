"""Objects of the API as a test makes, reads and removes them: in process, as an administrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from seaway.api.machinery.errors import AlreadyExists, NotFound
from seaway.api.registry import EVENTS, Resource
from seaway.client.requests import JSON_PATCH
from seaway.testing.manifests import find_kind, parse_manifest
from seaway.testing.view import View, on_server

if TYPE_CHECKING:
    from seaway.testing.credentials import User
    from seaway.testing.server import SeawayServer

Json = dict[str, Any]
Objects = list[Json]
FORCE = {"gracePeriodSeconds": 0}


class ObjectHelpers(View):
    """Manifests in, objects out. `_made`: what no namespace takes with it, for the end."""

    def __init__(self, server: SeawayServer, namespace: str, user: User) -> None:
        super().__init__(server, namespace, user)
        self._made: list[tuple[Resource, str]] = []

    @on_server
    async def create(self, manifest: str | Mapping[str, Any]) -> Objects:
        """POST each object of the YAML text, or the one that is given. Returns what the server made of them."""
        return [await self._create(resource, obj) for resource, obj in parse_manifest(manifest)]

    @on_server
    async def apply(self, manifest: str | Mapping[str, Any]) -> Objects:
        """Create each object, or merge it into the one that is there. Returns them as they are now."""
        applied = []
        for resource, obj in parse_manifest(manifest):
            try:
                applied.append(await self._create(resource, obj))
            except AlreadyExists:
                name, namespace = obj["metadata"]["name"], self._namespace_of(resource, obj)
                applied.append(await self.server.client().patch(resource, name, namespace, patch=obj))
        return applied

    @on_server
    async def get(self, kind: str, name: str, namespace: str = "") -> Json:
        """The object. Raises NotFound."""
        return await self._get(find_kind(kind), name, namespace)

    @on_server
    async def list(self, kind: str, *, label_selector: str = "", namespace: str = "") -> Objects:
        """The objects of the namespace, or of the cluster where the kind has none."""
        resource = find_kind(kind)
        return await self._list(resource, namespace, label_selector=label_selector)

    @on_server
    async def patch(
        self, kind: str, name: str, patch: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, subresource: str = ""
    ) -> Json:
        """Merge a mapping into the object, or apply a list of JSON Patch operations."""
        resource = find_kind(kind)
        options = {"subresource": subresource} if isinstance(patch, Mapping) else {"patch_type": JSON_PATCH}
        options["subresource"] = subresource
        client = self.server.client()
        return await client.patch(resource, name, self._namespace_of(resource), patch=patch, **options)

    @on_server
    async def delete(self, kind: str, name: str, *, force: bool = False) -> None:
        """DELETE the object; force: at once, where it would end gracefully."""
        resource = find_kind(kind)
        options = FORCE if force else None
        await self.server.client().delete(resource, name, self._namespace_of(resource), options=options)

    @on_server
    async def events(self, about: str = "") -> Objects:
        """The Events of the namespace, or those about the object of that name; the oldest first."""
        found = await self._list(EVENTS)
        return [event for event in found if not about or event["involvedObject"].get("name") == about]

    # The parts. Only on the server's loop.

    def _namespace_of(self, resource: Resource, obj: Json | None = None, namespace: str = "") -> str:
        if not resource.namespaced:
            return ""
        return namespace or (obj or {}).get("metadata", {}).get("namespace") or self.namespace

    async def _create(self, resource: Resource, obj: Json) -> Json:
        made = await self.server.client().create(resource, obj, self._namespace_of(resource, obj))
        if not resource.namespaced:
            self._made.append((resource, made["metadata"]["name"]))
        return made

    async def _create_namespaced(self, obj: Json) -> Json:
        ((resource, _),) = parse_manifest(obj)
        return await self._create(resource, obj)

    async def _get(self, resource: Resource, name: str, namespace: str = "") -> Json:
        of = self._namespace_of(resource, namespace=namespace)
        found: Json = await self.server.client().get(resource, name, of, as_type=dict)
        return found

    async def _find(self, resource: Resource, name: str) -> Json | None:
        try:
            return await self._get(resource, name)
        except NotFound:
            return None

    async def _list(self, resource: Resource, namespace: str = "", **selectors: str) -> Objects:
        of = self._namespace_of(resource, namespace=namespace)
        page = await self.server.client().list(resource, of, **selectors)  # type: ignore[arg-type]
        meta = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**meta, **msgspec.json.decode(raw)} for raw in page.items]

    async def _list_all(self, resource: Resource, **selectors: str) -> Objects:
        page = await self.server.client().list(resource, **selectors)  # type: ignore[arg-type]
        return [msgspec.json.decode(raw) for raw in page.items]

    async def _put_status(self, resource: Resource, obj: Json, status: Json) -> Json:
        """The status as it shall be, whatever it was in between."""
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        client = self.server.client()
        return await client.patch(resource, name, namespace, patch={"status": status}, subresource="status")
