"""The typed Python client reads what a create answers: it refuses an object that lacks a field it counts on.

Rule: spec "api-machinery" §2.5; the client's models are made from upstream's OpenAPI.
"""

from __future__ import annotations

import json
from typing import Any

import kubernetes
import pytest

from seaway.api.registry import RESOURCES, Resource
from tests.api.manifests import make_manifest
from tests.apiserver.conversation import Conversation, talk

CREATABLE = [resource for resource in RESOURCES if "create" in resource.verbs]
MODELS = {("", "Event"): "CoreV1Event", ("events.k8s.io", "Event"): "EventsV1Event"}
"""What the client calls kinds whose name two groups have."""
_CLIENT = kubernetes.client.ApiClient()


def read_as(model: str, obj: Any) -> Any:
    """The object as the client's model; raises where the model misses something."""
    return _CLIENT.deserialize(json.dumps(obj), model, "application/json")


def model_of(resource: Resource) -> str:
    return MODELS.get((resource.group, resource.kind), f"V1{resource.kind}")


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda r: f"{r.group or 'core'}-{r.kind}")
def test_a_new_object_and_a_list_of_it_are_read(resource: Resource) -> None:
    collection = resource.path("default" if resource.namespaced else "")

    async def conversation(ask: Conversation) -> None:
        created = await ask("POST", collection, make_manifest(resource))
        assert created.status == 201, created.body
        read = read_as(model_of(resource), created.body)
        assert read.metadata.uid == created.body["metadata"]["uid"]
        listed = read_as(f"{model_of(resource)}List", (await ask("GET", collection)).body)
        assert read.metadata.name in {item.metadata.name for item in listed.items}

    talk(conversation)
