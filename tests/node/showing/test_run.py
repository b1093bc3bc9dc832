"""Rule: design §4 (`seaway node env POD`), against the API server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seaway.api.registry import PODS, SERVICES
from seaway.node.config import NodeConfig
from seaway.node.showing.run import ShowError, show_surroundings
from seaway.testing.builders import make_pod, make_service
from seaway.testing.cluster import open_cluster


def test_it_reads_the_pod_and_what_belongs_to_it(tmp_path: Path) -> None:
    asyncio.run(_converse(tmp_path))


async def _converse(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 192.0.2.53\nsearch corp.example\n")
    config = NodeConfig(
        node_name="", node_ip="127.0.0.1", dns_ip="10.96.0.10", resolv_conf=resolver,
        state_dir=tmp_path, data_dir=tmp_path,
    )  # fmt: skip
    async with open_cluster() as cluster:
        client = cluster.client()
        await client.create(SERVICES, make_service("web", "default", clusterIP="10.96.0.7"), "default")
        await client.create(PODS, make_pod("p", containers=[{"name": "main", "image": "x"}]), "default")
        text = await show_surroundings(config, client, "default", "p")
        assert "WEB_SERVICE_HOST=10.96.0.7" in text
        assert "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\n" in text
        with pytest.raises(ShowError, match="Pod default/nobody: there is none"):
            await show_surroundings(config, client, "default", "nobody")
        with pytest.raises(ShowError, match="container extra found nowhere in it"):
            await show_surroundings(config, client, "default", "p", container="extra")
