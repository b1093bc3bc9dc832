"""The least that a user writes for an object of each kind; every kind that can be created has one."""

from __future__ import annotations

import copy
import json
from typing import Any

from seaway.api import registry
from seaway.api.machinery.codec import JSON, decode_body
from seaway.api.machinery.strategy import Context
from seaway.api.registry import Resource
from seaway.testing.builders import merge

Json = dict[str, Any]
CONTEXT = Context("2026-01-01T00:00:00Z", "admin")
UID = "00000000-0000-4000-8000-000000000001"
TEMPLATE: Json = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main", "image": "program"}]},
}
JOB_TEMPLATE: Json = merge(TEMPLATE, {"spec": {"restartPolicy": "Never"}})
SELECTOR: Json = {"matchLabels": {"app": "web"}}
BACKEND: Json = {"service": {"name": "web", "port": {"number": 80}}}
ROLE_REF: Json = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
VOLUME: Json = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}
CLAIM: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}

CONTENT: dict[Resource, Json] = {
    registry.SERVICES: {"spec": {"ports": [{"port": 80}]}},
    registry.PODS: {"spec": TEMPLATE["spec"]},
    registry.NODES: {},
    registry.NAMESPACES: {},
    registry.ENDPOINTS: {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
    registry.EVENTS: {"involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"}},
    registry.EVENTS_OF_GROUP: {"eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/a",
                               "reportingInstance": "a-1", "action": "Look", "reason": "Seen", "type": "Normal",
                               "regarding": {"kind": "Pod", "name": "web", "namespace": "default"}},
    registry.CONFIG_MAPS: {"data": {"a": "b"}},
    registry.SECRETS: {"data": {"a": "Yg=="}},
    registry.SERVICE_ACCOUNTS: {},
    registry.REPLICATION_CONTROLLERS: {"spec": {"template": TEMPLATE}},
    registry.RESOURCE_QUOTAS: {"spec": {"hard": {"pods": "10"}}},
    registry.LIMIT_RANGES: {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    registry.POD_TEMPLATES: {"template": TEMPLATE},
    registry.PERSISTENT_VOLUMES: {"spec": VOLUME},
    registry.PERSISTENT_VOLUME_CLAIMS: {"spec": CLAIM},
    registry.DEPLOYMENTS: {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    registry.REPLICA_SETS: {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    registry.STATEFUL_SETS: {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "web",
                                      "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}]}},
    registry.DAEMON_SETS: {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    registry.CONTROLLER_REVISIONS: {"data": {"spec": {}}, "revision": 1},
    registry.JOBS: {"spec": {"template": JOB_TEMPLATE}},
    registry.CRON_JOBS: {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
    registry.INGRESSES: {"spec": {"defaultBackend": BACKEND}},
    registry.INGRESS_CLASSES: {"spec": {"controller": "example.com/ingress"}},
    registry.NETWORK_POLICIES: {"spec": {"podSelector": {}}},
    registry.SERVICE_CIDRS: {"spec": {"cidrs": ["10.100.0.0/16"]}},
    registry.IP_ADDRESSES: {"metadata": {"name": "10.1.2.3"},
                            "spec": {"parentRef": {"resource": "widgets", "group": "example.com", "name": "w"}}},
    registry.POD_DISRUPTION_BUDGETS: {"spec": {"minAvailable": 1, "selector": SELECTOR}},
    registry.CLUSTER_ROLES: {"rules": []},
    registry.CLUSTER_ROLE_BINDINGS: {"roleRef": ROLE_REF},
    registry.ROLES: {"rules": []},
    registry.ROLE_BINDINGS: {"roleRef": ROLE_REF},
    registry.STORAGE_CLASSES: {"provisioner": "example.com/disk"},
    registry.PRIORITY_CLASSES: {"value": 10},
    registry.LEASES: {"spec": {"holderIdentity": "a"}},
    registry.ENDPOINT_SLICES: {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]},
}  # fmt: skip


def make_manifest(resource: Resource, name: str = "web", **changes: Any) -> Json:
    """The least object of the kind, as a user writes it, with `changes` merged in."""
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}
    return merge(merge(obj, CONTENT[resource]), changes)


def decode(resource: Resource, obj: Json) -> Json:
    """As the server reads a body: pruned, scalars canonical. Unknown fields fail."""
    return decode_body(resource, JSON, json.dumps(obj).encode(), field_validation="Strict").obj


def make_new(resource: Resource, obj: Json) -> Json:
    """What the kind's rules make of the body of a create, up to validation."""
    decoded = resource.strategy.default(decode(resource, obj))
    meta = decoded["metadata"]
    meta.setdefault("uid", UID)
    if resource.namespaced:
        meta.setdefault("namespace", "default")
    return resource.strategy.prepare_create(decoded, CONTEXT)


def make_stored(resource: Resource, **changes: Any) -> Json:
    """The least object of the kind as it is stored."""
    return make_new(resource, make_manifest(resource, **changes))


def create_texts(resource: Resource, **changes: Any) -> list[str]:
    """What the server says of the least object with the changes."""
    return [str(error) for error in resource.strategy.validate_create(make_stored(resource, **changes))]


def update_texts(resource: Resource, changes: Json, *, old: Json | None = None) -> list[str]:
    """What the server says when the changes are merged into the stored object."""
    strategy = resource.strategy
    before = make_stored(resource) if old is None else old
    after = strategy.default(decode(resource, merge(before, changes)))
    after = strategy.prepare_update(after, copy.deepcopy(before), CONTEXT)
    return [str(error) for error in strategy.validate_update(after, before)]
