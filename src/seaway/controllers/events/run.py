"""Posts Events. They are a courtesy: a sync never fails for want of one."""

from __future__ import annotations

import datetime
import logging

from seaway.api.machinery.errors import AlreadyExists, ApiError
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.registry import EVENTS, Resource
from seaway.client.requests import MERGE_PATCH, Client, TransportError
from seaway.controllers.events.plan import Happening, plan_repetition, render_event

log = logging.getLogger(__name__)


async def post_event(client: Client, resource: Resource, about: ObjectMeta, happening: Happening) -> None:
    """Create the Event about the object, or count it once more. Never raises for a refusal.

    Upstream's roles allow loops to create and patch Events, and not to read them: a patch of nothing writes nothing,
    and answers with what is there. Rule: spec "controllers" §0.5.
    """
    event = render_event(resource, about, happening, wall_now())
    name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
    try:
        try:
            await client.create(EVENTS, event, namespace)
        except AlreadyExists:
            existing = await client.patch(EVENTS, name, namespace, patch={}, patch_type=MERGE_PATCH)
            patch = plan_repetition(existing, event)
            await client.patch(EVENTS, name, namespace, patch=patch, patch_type=MERGE_PATCH)
    except (ApiError, TransportError) as error:
        log.info("event kind=%s object=%s/%s error=%r", resource.kind, namespace, about.name, error)


def wall_now() -> str:
    """The time as Events and conditions have it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
