"""The roles of control loops: one per loop, with upstream's names, so that a loop may also run with its own account.

Seaway's loops run in one process with one identity, which is bound to each of the roles whose loops it has.
Rule: spec "api-machinery" §10.4 (table), "controllers" (what each loop reads and writes); upstream's controller policy.
"""

from __future__ import annotations

from seaway.apiserver.access.policyrules import (
    ANY,
    APPS,
    BATCH,
    COORDINATION,
    CORE,
    CREATE,
    DISCOVERY,
    EVENTS,
    GET,
    LIST_WATCH,
    NETWORKING,
    POLICY,
    RBAC,
    READ,
    UPDATE,
    Json,
    rule,
)

CONTROLLER_PREFIX = "system:controller:"
_OWNED = ("create", "delete", "get", "list", "patch", "update", "watch")
_KEPT = ("create", "delete", "get", "list", "update", "watch")
_MADE_PODS = rule(("create", "delete", "get", "list", "patch", "watch"), CORE, "pods")


def _workload(group: str, plural: str) -> list[Json]:
    """What every loop over a kind of workload does with the kind itself."""
    return [
        rule(("get", "list", "patch", "update", "watch"), group, plural),
        rule(("patch", "update"), group, f"{plural}/status"),
        rule(UPDATE, group, f"{plural}/finalizers"),
        EVENTS,
    ]


CONTROLLER_RULES: dict[str, list[Json]] = {
    "endpoint-controller": [
        rule(READ, CORE, "pods", "services"),
        rule(_KEPT, CORE, "endpoints"),
        rule(CREATE, CORE, "endpoints/restricted"),
        EVENTS,
    ],
    "endpointslice-controller": [
        rule(READ, CORE, "nodes", "pods", "services"),
        rule(UPDATE, CORE, "services/finalizers"),
        rule(_KEPT, DISCOVERY, "endpointslices"),
        rule(CREATE, DISCOVERY, "endpointslices/restricted"),
        EVENTS,
    ],
    "endpointslicemirroring-controller": [
        rule(READ, CORE, "endpoints", "services"),
        rule(UPDATE, CORE, "endpoints/finalizers", "services/finalizers"),
        rule(_KEPT, DISCOVERY, "endpointslices"),
        rule(CREATE, DISCOVERY, "endpointslices/restricted"),
        EVENTS,
    ],
    "service-controller": [
        rule(READ, CORE, "services"),
        rule(("patch", "update"), CORE, "services/status"),
        rule(LIST_WATCH, CORE, "nodes"),
        EVENTS,
    ],
    "service-cidrs-controller": [
        rule(("get", "list", "patch", "update", "watch"), NETWORKING, "servicecidrs"),
        rule(("patch", "update"), NETWORKING, "servicecidrs/finalizers", "servicecidrs/status"),
        rule(READ, NETWORKING, "ipaddresses"),
        EVENTS,
    ],
    "namespace-controller": [
        rule(("delete", "get", "list", "watch"), CORE, "namespaces"),
        rule(UPDATE, CORE, "namespaces/finalize", "namespaces/status"),
        rule(("delete", "deletecollection", "get", "list", "watch"), ANY, "*"),
    ],
    "generic-garbage-collector": [rule(("delete", "get", "list", "patch", "update", "watch"), ANY, "*"), EVENTS],
    "root-ca-cert-publisher": [rule(("create", "update"), CORE, "configmaps"), EVENTS],
    "service-account-controller": [rule(CREATE, CORE, "serviceaccounts"), EVENTS],
    "node-controller": [
        rule(("delete", "get", "list", "patch", "update", "watch"), CORE, "nodes"),
        rule(("patch", "update"), CORE, "nodes/status", "pods/status"),
        rule(("delete", "get", "list", "watch"), CORE, "pods"),
        rule(READ, COORDINATION, "leases"),
        EVENTS,
    ],
    "pod-garbage-collector": [
        rule(("delete", "get", "list", "watch"), CORE, "pods"),
        rule(("patch", "update"), CORE, "pods/status"),
        rule(READ, CORE, "nodes"),
    ],
    "deployment-controller": [
        *_workload(APPS, "deployments"),
        rule(_OWNED, APPS, "replicasets"),
        rule(("get", "list", "update", "watch"), CORE, "pods"),
    ],
    "replicaset-controller": [*_workload(APPS, "replicasets"), _MADE_PODS],
    "replication-controller": [*_workload(CORE, "replicationcontrollers"), _MADE_PODS],
    "daemon-set-controller": [
        *_workload(APPS, "daemonsets"),
        rule(_OWNED, APPS, "controllerrevisions"),
        rule(READ, CORE, "nodes"),
        rule(CREATE, CORE, "pods/binding"),
        _MADE_PODS,
    ],
    "statefulset-controller": [
        *_workload(APPS, "statefulsets"),
        rule(_OWNED, APPS, "controllerrevisions"),
        rule(_OWNED, CORE, "pods"),
        rule(("create", "get", "list", "update", "watch"), CORE, "persistentvolumeclaims"),
    ],
    "job-controller": [*_workload(BATCH, "jobs"), rule(("delete",), BATCH, "jobs"), _MADE_PODS],
    "disruption-controller": [
        rule(READ, APPS, "deployments", "replicasets", "statefulsets"),
        rule(READ, CORE, "pods", "replicationcontrollers"),
        rule(READ, POLICY, "poddisruptionbudgets"),
        rule(("patch", "update"), POLICY, "poddisruptionbudgets/status"),
        rule(("patch", "update"), CORE, "pods/status"),
        rule(GET, ANY, "*/scale"),
        EVENTS,
    ],
    "resourcequota-controller": [
        rule(LIST_WATCH, ANY, "*"),
        rule(("patch", "update"), CORE, "resourcequotas/status"),
        EVENTS,
    ],
    "clusterrole-aggregation-controller": [
        rule(("escalate", "get", "list", "patch", "update", "watch"), RBAC, "clusterroles"),
    ],
}

# Loops of the server itself; nobody else is to hold what they hold.
_NOT_OURS = frozenset(("clusterrole-aggregation-controller",))

OWN_LOOPS: tuple[str, ...] = tuple(sorted(set(CONTROLLER_RULES) - _NOT_OURS))
"""What the one identity of `seaway controllers` is bound to."""
