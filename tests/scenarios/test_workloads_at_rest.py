"""What all workloads have in common: once all is as wished, nobody writes. Rule: design §5 (reconcilers)."""

from __future__ import annotations

import asyncio

from seaway.api.registry import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from tests.scenarios.test_daemonsets import make_daemon_set
from tests.scenarios.test_deployments import make_deployment
from tests.scenarios.test_jobs import make_job
from tests.scenarios.test_replicasets import make_replica_set
from tests.scenarios.test_statefulsets import make_stateful_set
from tests.scenarios.workloads import Json, World, make_template, play

LOOPS = ("daemonset", "deployment", "garbage", "job", "replicaset", "replicationcontroller", "scheduler", "statefulset")
KINDS = (
    CONTROLLER_REVISIONS, DAEMON_SETS, DEPLOYMENTS, JOBS, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS,
)  # fmt: skip


def for_app(obj: Json, app: str) -> Json:
    """The workload with labels of its own."""
    obj["spec"]["selector"] = {"matchLabels": {"app": app}}
    obj["spec"]["template"]["metadata"]["labels"] = {"app": app}
    return obj


def test_at_rest_nobody_writes() -> None:
    async def scenario(world: World) -> None:
        await world.create(DEPLOYMENTS, for_app(make_deployment(), "a"))
        await world.create(DAEMON_SETS, for_app(make_daemon_set(), "b"))
        await world.create(STATEFUL_SETS, for_app(make_stateful_set(), "c"))
        await world.create(REPLICA_SETS, for_app(make_replica_set(), "d"))
        plain = make_replica_set() | {"apiVersion": "v1", "kind": "ReplicationController"}
        plain["spec"] |= {"selector": {"app": "e"}, "template": make_template("e")}
        await world.create(REPLICATION_CONTROLLERS, plain)
        await world.create(JOBS, make_job(completions=2, parallelism=2))
        await world.settles(STATEFUL_SETS, "db", availableReplicas=3)
        await asyncio.sleep(30)

        async def look() -> dict[str, str]:
            return {
                f"{kind.plural}/{obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
                for kind in KINDS
                for obj in await world.list(kind)
            }

        before = await look()
        assert len(before) == 3 + 2 + 3 + 3 + 3 + 2 + 6 + 1 + 2
        await asyncio.sleep(3600)
        assert await look() == before

    play(scenario, enabled=LOOPS)
