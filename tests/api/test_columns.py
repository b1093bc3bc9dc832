"""What `kubectl get` prints of each kind. Rule: spec "api-machinery" §2.3, "service-api" §11.

The columns of kinds that the specification leaves to "any other" although upstream prints more are upstream's.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from seaway.api.columns import load_printer
from seaway.api.machinery.columns import Column
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.registry import RESOURCES, Resource

Json = dict[str, Any]
KINDS = Path(__file__).parents[1] / "wire" / "kinds"
NOW = datetime(2026, 1, 2, 3, 9, 5, tzinfo=UTC)  # five minutes after the golden objects were made
AGE = "5m"
# A `+` marks a column for wide output, `#` one of whole numbers.
COLUMNS = {
    "services": "Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector+",
    "endpointslices": "Name, AddressType, Ports, Endpoints, Age",
    "endpoints": "Name, Endpoints, Age",
    "pods": "Name, Ready, Status, Restarts, Age, IP+, Node+, Nominated Node+, Readiness Gates+",
    "nodes": "Name, Status, Roles, Age, Version, Internal-IP+, External-IP+, OS-Image+, Kernel-Version+, "
    "Container-Runtime+",
    "namespaces": "Name, Status, Age",
    "events": "Last Seen, Type, Reason, Object, Subobject+, Source+, Message, First Seen+, Count+, Name+",
    "configmaps": "Name, Data, Age",
    "secrets": "Name, Type, Data, Age",
    "serviceaccounts": "Name, Age",
    "leases": "Name, Holder, Age",
    "ipaddresses": "Name, ParentRef",
    "servicecidrs": "Name, CIDRs, Age",
    "ingresses": "Name, Class, Hosts, Address, Ports, Age",
    "ingressclasses": "Name, Controller, Parameters, Age",
    "deployments": "Name, Ready, Up-to-date, Available, Age, Containers+, Images+, Selector+",
    "replicasets": "Name, Desired#, Current#, Ready#, Age, Containers+, Images+, Selector+",
    "replicationcontrollers": "Name, Desired#, Current#, Ready#, Age, Containers+, Images+, Selector+",
    "rolebindings": "Name, Role, Age, Users+, Groups+, ServiceAccounts+",
    "clusterrolebindings": "Name, Role, Age, Users+, Groups+, ServiceAccounts+",
    "networkpolicies": "Name, Pod-Selector, Age",
    "controllerrevisions": "Name, Controller, Revision, Age",
    "roles": "Name, Created At",
    "clusterroles": "Name, Created At",
    "limitranges": "Name, Created At",
    "customresourcedefinitions": "Name, Created At",
    "apiservices": "Name, Created At",
    "statefulsets": "Name, Ready, Age, Containers+, Images+",
    "daemonsets": "Name, Desired#, Current#, Ready#, Up-to-date#, Available#, Node Selector, Age, Containers+, "
    "Images+, Selector+",
    "jobs": "Name, Status, Completions, Duration, Age, Containers+, Images+, Selector+",
    "cronjobs": "Name, Schedule, Timezone, Suspend, Active#, Last Schedule, Age, Containers+, Images+, Selector+",
    "poddisruptionbudgets": "Name, Min Available, Max Unavailable, Allowed Disruptions#, Age",
    "podtemplates": "Name, Containers, Images, Pod Labels",
    "persistentvolumes": "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, "
    "VolumeAttributesClass, Reason, Age, VolumeMode+",
    "persistentvolumeclaims": "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, "
    "VolumeMode+",
    "resourcequotas": "Name, Request, Limit, Age",
    "storageclasses": "Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age",
    "priorityclasses": "Name, Value#, Global-Default, Age, PreemptionPolicy",
}
SELECTOR = "app=web,tier in (a,b),x"
TEMPLATE = ["main", "nginx"]
# Of the golden objects.
ROWS: dict[str, list[Any]] = {
    "deployments": ["web", "1/0", 1, 1, AGE, *TEMPLATE, SELECTOR],
    "replicasets": ["web", 0, 0, 1, AGE, *TEMPLATE, SELECTOR],
    "replicationcontrollers": ["web", 0, 0, 1, AGE, *TEMPLATE, "app=web"],
    "statefulsets": ["web", "1/0", AGE, *TEMPLATE],
    "daemonsets": ["web", 0, 0, 0, 1, 1, "<none>", AGE, *TEMPLATE, "app=web"],
    "controllerrevisions": ["web-1", "<none>", 1, AGE],
    "jobs": ["web", "Complete", "1/1", "0s", AGE, *TEMPLATE, "app=web"],
    "cronjobs": ["web", "*/5 * * * *", "Europe/Berlin", "False", 1, AGE, AGE, *TEMPLATE, "<none>"],
    "poddisruptionbudgets": ["web", "N/A", "50%", 0, AGE],
    "podtemplates": ["web", *TEMPLATE, "app=web"],
    "networkpolicies": ["web", "<none>", AGE],
    "servicecidrs": ["more", "10.100.0.0/16,fd00:100::/112", AGE],
    "ingresses": ["web", "nginx", "*.example.com,b.example.com", "192.0.2.1", "80, 443", AGE],
    "ingressclasses": ["nginx", "example.com/ingress", "Parameters.example.com/p", AGE],
    "persistentvolumes": ["web", "1Gi", "RWO", "Retain", "Bound", "default/web", "fast", "<unset>", "R", AGE,
                          "Filesystem"],
    "persistentvolumeclaims": ["web", "Bound", "web", "1Gi", "RWO", "", "<unset>", AGE, "Filesystem"],
    "resourcequotas": ["web", "pods: 0/10", "", AGE],
    "storageclasses": ["fast", "csi.example.com", "Delete", "WaitForFirstConsumer", "false", AGE],
    "priorityclasses": ["high", 0, True, AGE, "Never"],
    "limitranges": ["web", "2026-01-02T03:04:05Z"],
}  # fmt: skip


def spell(column: Column) -> str:
    return column.name + ("+" if column.priority else "") + ("#" if column.type == "integer" else "")


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_columns(resource: Resource) -> None:
    columns = load_printer(resource).columns
    assert ", ".join(map(spell, columns)) == COLUMNS[resource.plural]
    assert all(column.description for column in columns)
    named = [column.name for column in columns if column.format == "name"]
    assert named == ([] if resource.plural == "events" else ["Name"])


@pytest.mark.parametrize("plural", sorted(ROWS))
def test_row(plural: str) -> None:
    resource = next(r for r in RESOURCES if r.plural == plural)
    assert load_printer(resource).cells(json.loads((KINDS / f"{plural}.json").read_text()), NOW) == ROWS[plural]


def row(plural: str, **fields: Any) -> list[Any]:
    resource = next(r for r in RESOURCES if r.plural == plural)
    meta = {"name": "x", "creationTimestamp": "2026-01-02T03:04:05Z", **fields.pop("metadata", {})}
    return load_printer(resource).cells({"metadata": meta, **fields}, NOW)


@pytest.mark.parametrize(
    ("hosts", "more", "shown"),
    [
        pytest.param([], 0, "*", id="no host"),
        pytest.param(["a", "b"], 1, "a,b", id="a rule without a host does not count"),
        pytest.param(["a", "b", "c"], 0, "a,b,c", id="three"),
        pytest.param(["a", "b", "c", "d"], 1, "a,b,c + 2 more...", id="rules beyond three"),
    ],
)
def test_hosts_of_an_ingress(hosts: list[str], more: int, shown: str) -> None:
    rules = [{"host": host} for host in hosts] + [{}] * more
    assert row("ingresses", spec={"rules": rules})[1:5] == ["<none>", shown, "", "80"]


def test_an_ingress_shows_each_address_once_and_sorted() -> None:
    entries = [{"ip": "192.0.2.9"}, {"hostname": "lb"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.9"}]
    assert row("ingresses", status={"loadBalancer": {"ingress": entries}})[3] == "192.0.2.1,192.0.2.9,lb"


def test_default_classes_are_marked() -> None:
    marked = {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    assert row("ingressclasses", metadata=marked, spec={"controller": "a.b/c"})[:3] == [
        "x (default)",
        "a.b/c",
        "<none>",
    ]
    marked = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    assert row("storageclasses", metadata=marked)[0] == "x (default)"


def test_a_revision_names_its_controller() -> None:
    owners = [{"kind": "Node", "apiVersion": "v1", "name": "n"},
              {"kind": "StatefulSet", "apiVersion": "apps/v1", "name": "web", "controller": True}]  # fmt: skip
    assert row("controllerrevisions", metadata={"ownerReferences": owners})[1] == "statefulset.apps/web"


@pytest.mark.parametrize(
    ("conditions", "deleting", "shown"),
    [
        ([], False, "Running"),
        ([("Failed", "True")], True, "Failed"),
        ([("Failed", "False")], True, "Terminating"),
        ([("Suspended", "True")], False, "Suspended"),
        ([("FailureTarget", "True")], False, "FailureTarget"),
        ([("SuccessCriteriaMet", "True")], False, "SuccessCriteriaMet"),
    ],
)
def test_the_state_of_a_job(conditions: list[tuple[str, str]], deleting: bool, shown: str) -> None:
    meta = {"deletionTimestamp": "2026-01-02T03:04:05Z"} if deleting else {}
    status = {"conditions": [{"type": kind, "status": state} for kind, state in conditions]}
    assert row("jobs", metadata=meta, status=status)[1] == shown


@pytest.mark.parametrize(
    ("spec", "status", "shown"),
    [
        ({"completions": 3}, {"succeeded": 1}, ["1/3", ""]),
        ({"parallelism": 1}, {"startTime": "2026-01-02T03:04:05Z"}, ["0/1", "5m"]),
        ({"parallelism": 4}, {"startTime": "2026-01-02T03:00:00Z", "completionTime": "2026-01-02T03:00:30Z"},
         ["0/1 of 4", "30s"]),
    ],
)  # fmt: skip
def test_the_progress_of_a_job(spec: Json, status: Json, shown: list[str]) -> None:
    assert row("jobs", spec=spec, status=status)[2:4] == shown


def test_a_claim_shows_what_it_has_once_it_is_bound() -> None:
    status = {"phase": "Pending", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadOnlyMany"]}
    assert row("persistentvolumeclaims", spec={}, status=status)[1:5] == ["Pending", "", "", ""]
    assert row("persistentvolumeclaims", spec={"volumeName": "v"}, status=status)[1:5] == [
        "Pending", "v", "1Gi", "ROX,RWX",
    ]  # fmt: skip


def test_a_quota_tells_requests_from_limits() -> None:
    hard = {"pods": "3", "limits.cpu": "2", "requests.cpu": "1"}
    assert row("resourcequotas", status={"hard": hard, "used": {"pods": "1"}})[1:3] == [
        "pods: 1/3, requests.cpu: 0/1", "limits.cpu: 0/2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (None, "<none>"),
        ({}, "<none>"),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["y", "x"]},
                               {"key": "a", "operator": "DoesNotExist"}]}, "!a,b notin (x,y)"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}]}, "a=x"),
        ({"matchExpressions": [{"key": "a", "operator": "x"}]}, "<error>"),
    ],
)  # fmt: skip
def test_selectors(selector: Json | None, text: str) -> None:
    assert render_label_selector(selector) == text


def test_rows_are_tested_where_a_kind_has_columns_of_its_own() -> None:
    elsewhere = {"services", "endpointslices", "endpoints", "pods", "nodes", "namespaces", "events", "configmaps",
                 "secrets", "serviceaccounts", "leases", "ipaddresses", "rolebindings",
                 "clusterrolebindings"}  # fmt: skip
    """In tests/apiserver/test_tables.py."""
    own = {r.plural for r in RESOURCES if load_printer(r).columns[-1].name != "Created At"}
    assert own <= ROWS.keys() | elsewhere
