"""The proxy may write Services where it serves them on loopback, and nowhere else."""

from __future__ import annotations

import asyncio

import pytest

from seaway.api.machinery.errors import Forbidden
from seaway.api.registry import SERVICES
from seaway.app.identities import PIECE_IDENTITIES
from seaway.app.proxy_rights import set_served_at_right
from seaway.testing.builders import make_service
from seaway.testing.cluster import open_cluster

PATCH = {"metadata": {"annotations": {"seaway.dev/served-at": "10.96.0.10:80/TCP=127.96.0.10:31514"}}}


def test_the_right_comes_and_goes_with_the_way_to_run() -> None:
    async def scenario() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            proxy = cluster.client(user=PIECE_IDENTITIES["proxy"][0], groups=())
            await admin.create(SERVICES, make_service("web"), "default")
            for _ in range(2):
                await set_served_at_right(admin, is_given=False)
                with pytest.raises(Forbidden):
                    await proxy.patch(SERVICES, "web", "default", patch=PATCH)
                await set_served_at_right(admin, is_given=True)
                await set_served_at_right(admin, is_given=True)
                await proxy.patch(SERVICES, "web", "default", patch=PATCH)
                with pytest.raises(Forbidden):
                    await proxy.delete(SERVICES, "web", "default")

    asyncio.run(scenario())
