"""The generic calls of each Python client behind one face, so that one matrix of verbs and kinds drives them all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

from seaway.testing.fixture import Seaway
from tests.clients.samples import Sample

Json = dict[str, Any]
COLOUR = "tests.example.com/colour"
PATCHES: dict[str, tuple[str, Any]] = {
    "patch (strategic)": (
        "application/strategic-merge-patch+json",
        {"metadata": {"annotations": {COLOUR: "patch (strategic)"}}},
    ),
    "patch (merge)": ("application/merge-patch+json", {"metadata": {"annotations": {COLOUR: "patch (merge)"}}}),
    "patch (json)": (
        "application/json-patch+json",
        [{"op": "add", "path": "/metadata/annotations", "value": {COLOUR: "patch (json)"}}],
    ),
}


class Driver(Protocol):
    """One client in one namespace. Every call raises what the client raises, and answers with plain JSON."""

    async def create(self, sample: Sample) -> Json: ...
    async def get(self, sample: Sample) -> Json: ...
    async def list(self, sample: Sample) -> list[str]: ...
    async def watch(self, sample: Sample) -> str:
        """The name in the first event of the collection."""

    async def patch(self, sample: Sample, media: str, patch: Any) -> Json: ...
    async def replace(self, obj: Json, sample: Sample) -> Json: ...
    async def apply(self, sample: Sample, obj: Json) -> Json: ...
    async def delete(self, sample: Sample) -> None: ...


Opener = Callable[[Seaway, Path], contextlib.AbstractAsyncContextManager[Driver]]


class KubernetesDriver:
    """`kubernetes.dynamic`."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def _find(self, sample: Sample) -> tuple[Any, Json]:
        resource = self._client.resources.get(api_version=sample.resource.api_version, kind=sample.resource.kind)
        return resource, {"namespace": self._namespace} if sample.resource.namespaced else {}

    async def create(self, sample: Sample) -> Json:
        resource, where = self._find(sample)
        return dict(resource.create(body=sample.obj, **where).to_dict())

    async def get(self, sample: Sample) -> Json:
        resource, where = self._find(sample)
        return dict(resource.get(name=sample.name, **where).to_dict())

    async def list(self, sample: Sample) -> list[str]:
        resource, where = self._find(sample)
        return [item.metadata.name for item in resource.get(**where).items]

    async def watch(self, sample: Sample) -> str:
        resource, where = self._find(sample)
        field = f"metadata.name={sample.name}"
        for event in resource.watch(timeout=5, field_selector=field, **where):
            return str(event["object"].metadata.name)
        return ""

    async def patch(self, sample: Sample, media: str, patch: Any) -> Json:
        resource, where = self._find(sample)
        return dict(resource.patch(name=sample.name, body=patch, content_type=media, **where).to_dict())

    async def replace(self, obj: Json, sample: Sample) -> Json:
        resource, where = self._find(sample)
        return dict(resource.replace(body=obj, **where).to_dict())

    async def apply(self, sample: Sample, obj: Json) -> Json:
        resource, where = self._find(sample)
        done = resource.server_side_apply(
            body=obj, name=sample.name, field_manager="tests", force_conflicts=True, **where
        )
        return dict(done.to_dict())

    async def delete(self, sample: Sample) -> None:
        resource, where = self._find(sample)
        resource.delete(name=sample.name, body={}, **where)


@contextlib.asynccontextmanager
async def open_kubernetes(seaway: Seaway, folder: Path) -> AsyncIterator[Driver]:
    from kubernetes import config, dynamic

    client = config.new_client_from_config_dict(seaway.kubeconfig_dict)
    try:
        yield KubernetesDriver(dynamic.DynamicClient(client, cache_file=str(folder / "cache")), seaway.namespace)
    finally:
        client.close()


class KubernetesAsyncioDriver:
    """`kubernetes_asyncio.dynamic`."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def _find(self, sample: Sample) -> tuple[Any, Json]:
        resource = await self._client.resources.get(api_version=sample.resource.api_version, kind=sample.resource.kind)
        return resource, {"namespace": self._namespace} if sample.resource.namespaced else {}

    async def create(self, sample: Sample) -> Json:
        resource, where = await self._find(sample)
        return dict((await resource.create(body=sample.obj, **where)).to_dict())

    async def get(self, sample: Sample) -> Json:
        resource, where = await self._find(sample)
        return dict((await resource.get(name=sample.name, **where)).to_dict())

    async def list(self, sample: Sample) -> list[str]:
        resource, where = await self._find(sample)
        return [item.metadata.name for item in (await resource.get(**where)).items]

    async def watch(self, sample: Sample) -> str:
        resource, where = await self._find(sample)
        field = f"metadata.name={sample.name}"
        async with contextlib.aclosing(resource.watch(timeout=5, field_selector=field, **where)) as events:
            async for event in events:
                return str(event["object"].metadata.name)
        return ""

    async def patch(self, sample: Sample, media: str, patch: Any) -> Json:
        resource, where = await self._find(sample)
        return dict((await resource.patch(name=sample.name, body=patch, content_type=media, **where)).to_dict())

    async def replace(self, obj: Json, sample: Sample) -> Json:
        resource, where = await self._find(sample)
        return dict((await resource.replace(body=obj, **where)).to_dict())

    async def apply(self, sample: Sample, obj: Json) -> Json:
        resource, where = await self._find(sample)
        done = await resource.server_side_apply(
            body=obj, name=sample.name, field_manager="tests", force_conflicts=True, **where
        )
        return dict(done.to_dict())

    async def delete(self, sample: Sample) -> None:
        resource, where = await self._find(sample)
        await resource.delete(name=sample.name, body={}, **where)


@contextlib.asynccontextmanager
async def open_kubernetes_asyncio(seaway: Seaway, folder: Path) -> AsyncIterator[Driver]:
    from kubernetes_asyncio import config, dynamic

    client = await config.new_client_from_config_dict(seaway.kubeconfig_dict)
    async with client, dynamic.DynamicClient(client, cache_file=str(folder / "cache")) as opened:
        yield KubernetesAsyncioDriver(opened, seaway.namespace)


class LightkubeDriver:
    """`lightkube.AsyncClient`; the models of the kinds are its own."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def _find(self, sample: Sample) -> tuple[Any, Json]:
        from lightkube.core.resource_registry import resource_registry

        kind = resource_registry.load(sample.resource.api_version, sample.resource.kind)
        return kind, {"namespace": self._namespace} if sample.resource.namespaced else {}

    async def create(self, sample: Sample) -> Json:
        from lightkube import codecs

        _, where = self._find(sample)
        return dict((await self._client.create(codecs.from_dict(sample.obj), **where)).to_dict())

    async def get(self, sample: Sample) -> Json:
        kind, where = self._find(sample)
        return dict((await self._client.get(kind, sample.name, **where)).to_dict())

    async def list(self, sample: Sample) -> list[str]:
        kind, where = self._find(sample)
        return [item.metadata.name async for item in self._client.list(kind, **where)]

    async def watch(self, sample: Sample) -> str:
        kind, where = self._find(sample)
        fields = {"metadata.name": sample.name}
        async with contextlib.aclosing(
            self._client.watch(kind, fields=fields, server_timeout=5, resource_version="0", **where)
        ) as events:
            async for _, item in events:
                return str(item.metadata.name)
        return ""

    async def patch(self, sample: Sample, media: str, patch: Any) -> Json:
        from lightkube.types import PatchType

        kind, where = self._find(sample)
        done = await self._client.patch(kind, sample.name, patch, patch_type=PatchType(media), **where)
        return dict(done.to_dict())

    async def replace(self, obj: Json, sample: Sample) -> Json:
        from lightkube import codecs

        _, where = self._find(sample)
        return dict((await self._client.replace(codecs.from_dict(obj), **where)).to_dict())

    async def apply(self, sample: Sample, obj: Json) -> Json:
        from lightkube import codecs

        _, where = self._find(sample)
        return dict((await self._client.apply(codecs.from_dict(obj), force=True, **where)).to_dict())

    async def delete(self, sample: Sample) -> None:
        kind, where = self._find(sample)
        await self._client.delete(kind, sample.name, **where)


@contextlib.asynccontextmanager
async def open_lightkube(seaway: Seaway, folder: Path) -> AsyncIterator[Driver]:
    from lightkube import AsyncClient, KubeConfig

    config = KubeConfig.from_file(seaway.kubeconfig)
    async with AsyncClient(config, field_manager="tests") as client:
        yield LightkubeDriver(client, seaway.namespace)


class Kr8sDriver:
    """`kr8s.asyncio`; it has no replace and no apply."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def _make(self, sample: Sample) -> Any:
        from kr8s.asyncio.objects import get_class, new_class

        obj = json.loads(json.dumps(sample.obj))
        if sample.resource.namespaced:
            obj["metadata"]["namespace"] = self._namespace
        resource = sample.resource
        try:
            cls = get_class(resource.kind, resource.api_version)
        except KeyError:
            kind = f"{resource.kind}.{resource.api_version}"
            cls = new_class(kind, namespaced=resource.namespaced, plural=resource.plural)
        return cls(obj, api=self._api)

    async def create(self, sample: Sample) -> Json:
        made = await self._make(sample)
        await made.create()
        return dict(made.to_dict())

    async def get(self, sample: Sample) -> Json:
        made = await self._make(sample)
        await made.refresh()
        return dict(made.to_dict())

    async def list(self, sample: Sample) -> list[str]:
        cls = type(await self._make(sample))
        return [item.name async for item in self._api.get(cls, namespace=self._namespace)]

    async def watch(self, sample: Sample) -> str:
        cls = type(await self._make(sample))
        events = self._api.watch(cls, namespace=self._namespace, field_selector=f"metadata.name={sample.name}")
        async with contextlib.aclosing(events):
            async for _, item in events:
                return str(item.name)
        return ""

    async def patch(self, sample: Sample, media: str, patch: Any) -> Json:
        made = await self._make(sample)
        if "strategic" in media:
            raise NotImplementedError
        await made.patch(patch, type="json" if "json-patch" in media else None)
        return dict(made.to_dict())

    async def replace(self, obj: Json, sample: Sample) -> Json:
        raise NotImplementedError

    async def apply(self, sample: Sample, obj: Json) -> Json:
        raise NotImplementedError

    async def delete(self, sample: Sample) -> None:
        await (await self._make(sample)).delete()


@contextlib.asynccontextmanager
async def open_kr8s(seaway: Seaway, folder: Path) -> AsyncIterator[Driver]:
    import kr8s

    api = await kr8s.asyncio.api(kubeconfig=str(seaway.kubeconfig), namespace=seaway.namespace)
    try:
        yield Kr8sDriver(api, seaway.namespace)
    finally:
        await api._session.aclose()
        await asyncio.sleep(0)
