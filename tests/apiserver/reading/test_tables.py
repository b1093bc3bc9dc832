"""Tables: what people see. Rule: spec "service-api" §11, "api-machinery" §2.3."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from seaway.api.columns import load_printer
from seaway.api.machinery.columns import render_duration
from seaway.api.machinery.errors import BadRequest
from seaway.api.registry import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    INGRESS_CLASSES,
    IP_ADDRESSES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_CIDRS,
    SERVICES,
    Resource,
)
from seaway.apiserver.reading.tables import render_table

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
CREATED = "2026-01-01T00:55:00Z"


def make(name: str = "x", **fields: Any) -> Json:
    return {"metadata": {"name": name, "creationTimestamp": CREATED}, **fields}


def cells(resource: Resource, obj: Json) -> list[Any]:
    before = copy.deepcopy(obj)
    row = load_printer(resource).cells(obj, NOW)
    assert obj == before
    return row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-1, "0s"), (-0.5, "0s"), (0, "0s"), (1.9, "1s"), (119, "119s"), (120, "2m"), (121, "2m1s"),
        (599, "9m59s"), (600, "10m"), (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28799, "7h59m"), (28800, "8h"),
        (172799, "47h"), (172800, "2d"), (176400, "2d1h"), (691199, "7d23h"), (691200, "8d"), (63071999, "729d"),
        (63072000, "2y"), (63158400, "2y1d"), (252287999, "7y364d"), (252288000, "8y"), (999999999, "31y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert render_duration(seconds) == text


SERVICE_ROWS: list[tuple[str, Json, Json, list[Any]]] = [
    ("a cluster IP", {"type": "ClusterIP", "clusterIPs": ["10.96.0.10", "fd10::1"], "selector": {"b": "2", "a": "1"},
                      "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}, {},
     ["ClusterIP", "10.96.0.10", "<none>", "80/TCP,53/UDP", "5m", "a=1,b=2"]),
    ("headless", {"type": "ClusterIP", "clusterIPs": ["None"]}, {},
     ["ClusterIP", "None", "<none>", "<none>", "5m", "<none>"]),
    ("node ports", {"type": "NodePort", "clusterIPs": ["10.96.0.1"], "externalIPs": ["192.0.2.1", "192.0.2.2"],
                    "ports": [{"port": 80, "nodePort": 30007, "protocol": "TCP"}]}, {},
     ["NodePort", "10.96.0.1", "192.0.2.1,192.0.2.2", "80:30007/TCP", "5m", "<none>"]),
    ("a pending load balancer", {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]}, {},
     ["LoadBalancer", "10.96.0.1", "<pending>", "<none>", "5m", "<none>"]),
    ("a load balancer", {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "externalIPs": ["198.51.100.1"]},
     {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example"}, {"ip": "192.0.2.9"}]}},
     ["LoadBalancer", "10.96.0.1", "192.0.2.9,lb.example,198.51.100.1", "<none>", "5m", "<none>"]),
    ("an external name", {"type": "ExternalName", "externalName": "db.example.com"}, {},
     ["ExternalName", "<none>", "db.example.com", "<none>", "5m", "<none>"]),
    ("an unknown type", {"type": "Foo"}, {}, ["Foo", "<none>", "<unknown>", "<none>", "5m", "<none>"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "status", "wanted"), [r[1:] for r in SERVICE_ROWS], ids=[r[0] for r in SERVICE_ROWS])
def test_services(spec: Json, status: Json, wanted: list[Any]) -> None:
    assert cells(SERVICES, make(spec=spec, status=status)) == ["x", *wanted]


def addresses(count: int) -> list[Json]:
    return [{"ip": f"10.0.0.{i}"} for i in range(1, count + 1)]


@pytest.mark.parametrize(
    ("subsets", "text"),
    [
        pytest.param([], "<none>", id="no subsets"),
        pytest.param([{"notReadyAddresses": addresses(1), "ports": [{"port": 80}]}], "", id="none is ready"),
        pytest.param([{"addresses": [*addresses(1), {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 443}]}],
                     "10.0.0.1:80,[fd00::1]:80,10.0.0.1:443 + 1 more...", id="port by port"),
        pytest.param([{"addresses": addresses(2)}], "10.0.0.1,10.0.0.2", id="no ports"),
    ],
)  # fmt: skip
def test_endpoints(subsets: list[Json], text: str) -> None:
    assert cells(ENDPOINTS, make(subsets=subsets)) == ["x", text, "5m"]


@pytest.mark.parametrize(
    ("fields", "ports", "endpoints"),
    [
        ({"ports": [{"port": 80}, {"name": "any"}, {}], "endpoints": [{"addresses": ["a", "b"]}, {"addresses": ["c"]}]},
         "80,any,*", "a,b,c"),
        ({"ports": [{"name": ""}], "endpoints": []}, "<unset>", "<unset>"),
        ({"ports": None, "endpoints": None}, "<unset>", "<unset>"),
        ({"ports": [{"port": n} for n in range(5)], "endpoints": [{"addresses": [str(n)]} for n in range(4)]},
         "0,1,2 + 2 more...", "0,1,2 + 1 more..."),
    ],
)  # fmt: skip
def test_endpoint_slices(fields: Json, ports: str, endpoints: str) -> None:
    assert cells(ENDPOINT_SLICES, make(addressType="IPv4", **fields)) == ["x", "IPv4", ports, endpoints, "5m"]


READY = {"type": "Ready", "status": "True"}
SYSTEM = {"kubeletVersion": "v1.36.1", "osImage": "Debian", "kernelVersion": "6.18", "architecture": "amd64"}


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        (make(status={"conditions": [READY]}),
         ["x", "Ready", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        ({"metadata": {"name": "x", "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "a"}},
          "spec": {"unschedulable": True},
          "status": {"conditions": [{"type": "Ready", "status": "False"}], "nodeInfo": SYSTEM,
                     "addresses": [{"type": "InternalIP", "address": "10.0.0.1"},
                                   {"type": "InternalIP", "address": "fd00::1"}]}},
         ["x", "NotReady,SchedulingDisabled", "a,control-plane", "<unknown>", "v1.36.1", "10.0.0.1", "<none>",
          "Debian", "6.18 (amd64)", "<unknown>"]),
        (make(), ["x", "Unknown", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        (make(status={"conditions": [{"type": "Ready", "status": "Unknown"}]}, spec={"unschedulable": True}),
         ["x", "NotReady,SchedulingDisabled", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>",
          "<unknown>"]),
        (make(status={"conditions": [{"type": "Other", "status": "True"}], "nodeInfo": {"architecture": "arm64"}},
              spec={"unschedulable": True}),
         ["x", "Unknown,SchedulingDisabled", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown> (arm64)",
          "<unknown>"]),
        (make(status={"nodeInfo": {"kernelVersion": "6.18", "containerRuntimeVersion": "seaway://1"},
                      "addresses": [{"type": "ExternalIP", "address": "192.0.2.1"},
                                    {"type": "InternalIP", "address": "10.0.0.1"}]}),
         ["x", "Unknown", "<none>", "5m", "", "10.0.0.1", "192.0.2.1", "<unknown>", "6.18", "seaway://1"]),
    ],
    ids=["ready", "cordoned", "unheard of", "not heard of any more", "of an unknown kernel", "with both addresses"],
)  # fmt: skip
def test_nodes(obj: Json, wanted: list[Any]) -> None:
    assert cells(NODES, obj) == wanted


def pod(status: Json, *, inits: int = 0, deleted: bool = False, **spec: Any) -> Json:
    obj = make(spec={"containers": [{"name": "a"}, {"name": "b"}], **spec}, status={"phase": "Running", **status})
    if inits:
        obj["spec"]["initContainers"] = [{"name": f"i{n}"} for n in range(inits)]
    if deleted:
        obj["metadata"]["deletionTimestamp"] = CREATED
    return obj


def running(name: str, *, ready: bool = True, **more: Any) -> Json:
    return {"name": name, "ready": ready, "restartCount": 0, "state": {"running": {}}, **more}


def ended(name: str, code: int = 0, **more: Any) -> Json:
    return {"name": name, "ready": False, "restartCount": 1, "state": {"terminated": {"exitCode": code, **more}}}


def waiting(name: str, reason: str) -> Json:
    return {"name": name, "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}}


RESTARTED = running("a", restartCount=3, lastState={"terminated": {"finishedAt": "2026-01-01T00:58:00Z"}})
SIDECAR = [{"name": "s", "restartPolicy": "Always"}]


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        pytest.param(pod({"phase": "Pending"}), ["0/2", "Pending", "0"], id="pending"),
        pytest.param(pod({"containerStatuses": [running("a"), running("b")]}), ["2/2", "Running", "0"], id="running"),
        pytest.param(pod({"containerStatuses": [running("a"), waiting("b", "CrashLoopBackOff")]}),
                     ["1/2", "CrashLoopBackOff", "0"], id="waiting"),
        pytest.param(pod({"containerStatuses": [RESTARTED]}), ["1/2", "Running", "3 (2m ago)"], id="restarted"),
        pytest.param(pod({"containerStatuses": [ended("a", 1), running("b")]}), ["1/2", "ExitCode:1", "1"], id="exit"),
        pytest.param(pod({"containerStatuses": [ended("a", 137, signal=9)]}), ["0/2", "Signal:9", "1"], id="signal"),
        pytest.param(pod({"containerStatuses": [ended("a", 0, reason="Completed"), running("b")],
                          "conditions": [READY]}), ["1/2", "Running", "1"], id="one completed, ready"),
        pytest.param(pod({"containerStatuses": [ended("a", 0, reason="Completed"), running("b")]}),
                     ["1/2", "NotReady", "1"], id="one completed, not ready"),
        pytest.param(pod({"containerStatuses": [ended("a", 0, reason="Completed"), ended("b", 2, reason="Error")]}),
                     ["0/2", "Error", "2"], id="an error is remembered"),
        pytest.param(pod({"phase": "Failed", "reason": "Evicted"}), ["0/2", "Evicted", "0"], id="a reason"),
        pytest.param(pod({"conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
                     ["0/2", "SchedulingGated", "0"], id="gated"),
        pytest.param(pod({"phase": "Pending", "initContainerStatuses": [ended("i0"), running("i1")]}, inits=2),
                     ["0/2", "Init:1/2", "1"], id="initialising"),
        pytest.param(pod({"initContainerStatuses": [ended("i0", 3)]}, inits=1), ["0/2", "Init:ExitCode:3", "1"],
                     id="init failed"),
        pytest.param(pod({"initContainerStatuses": [waiting("i0", "ImagePullBackOff")]}, inits=1),
                     ["0/2", "Init:ImagePullBackOff", "0"], id="init waits"),
        pytest.param(pod({"initContainerStatuses": [waiting("i0", "PodInitializing")]}, inits=1),
                     ["0/2", "Init:0/1", "0"], id="init starts"),
        pytest.param(pod({"initContainerStatuses": [running("s", started=True)],
                          "containerStatuses": [running("a"), running("b")]}, initContainers=SIDECAR),
                     ["3/3", "Running", "0"], id="a sidecar counts"),
        pytest.param(pod({}, deleted=True), ["0/2", "Terminating", "0"], id="deleted"),
        pytest.param(pod({"reason": "NodeLost"}, deleted=True), ["0/2", "Unknown", "0"], id="node lost"),
        pytest.param(pod({"phase": "Succeeded"}, deleted=True), ["0/2", "Succeeded", "0"], id="deleted when ended"),
    ],
)  # fmt: skip
def test_pods(obj: Json, wanted: list[str]) -> None:
    assert cells(PODS, obj)[1:4] == wanted


def test_wide_cells_of_pods() -> None:
    gates = [{"conditionType": "Ready"}, {"conditionType": "other"}]
    status = {"podIPs": [{"ip": "10.244.0.5"}], "conditions": [READY], "nominatedNodeName": "m"}
    assert cells(PODS, pod(status, nodeName="n", readinessGates=gates))[4:] == ["5m", "10.244.0.5", "n", "m", "1/2"]
    assert cells(PODS, pod({}))[4:] == ["5m", "<none>", "<none>", "<none>", "<none>"]


def test_a_pod_that_has_ended_says_so_in_its_row() -> None:
    table = render(PODS, [pod({"phase": "Succeeded"}), pod({})])
    assert table["rows"][0]["conditions"] == [
        {"type": "Completed", "status": "True", "reason": "Succeeded",
         "message": "The pod has completed successfully."},
    ]  # fmt: skip
    assert "conditions" not in table["rows"][1]


@pytest.mark.parametrize(
    ("resource", "obj", "wanted"),
    [
        (NAMESPACES, make(status={"phase": "Active"}), ["x", "Active", "5m"]),
        (NAMESPACES, make(status={"phase": "Terminating"}), ["x", "Terminating", "5m"]),
        (SERVICE_CIDRS, make(spec={"cidrs": ["10.96.0.0/16"]}), ["x", "10.96.0.0/16", "5m"]),
        (SERVICE_CIDRS, make(spec={"cidrs": ["fd00::/64"]}), ["x", "fd00::/64", "5m"]),
        (SERVICE_CIDRS, make(spec={"cidrs": ["10.96.0.0/16", "fd00::/64"]}), ["x", "10.96.0.0/16,fd00::/64", "5m"]),
        (INGRESS_CLASSES, make(spec={"controller": "a.b/c"}), ["x", "a.b/c", "<none>", "5m"]),
        (INGRESS_CLASSES, make(spec={"controller": "a.b/c", "parameters": {"kind": "K", "name": "n"}}),
         ["x", "a.b/c", "K/n", "5m"]),
        (INGRESS_CLASSES,
         make(spec={"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "apiGroup": "example.com"}}),
         ["x", "a.b/c", "K.example.com/n", "5m"]),
        (CONFIG_MAPS, make(data={"a": "1"}, binaryData={"b": "Yg=="}), ["x", 2, "5m"]),
        (SECRETS, make(type="Opaque", data={"a": "YQ=="}), ["x", "Opaque", 1, "5m"]),
        (SERVICE_ACCOUNTS, make(), ["x", "5m"]),
        (LEASES, make(spec={"holderIdentity": "me"}), ["x", "me", "5m"]),
        (IP_ADDRESSES, make(spec={"parentRef": {"resource": "Services", "namespace": "default", "name": "kubernetes"}}),
         ["x", "services/default/kubernetes", "5m"]),
        (IP_ADDRESSES, make(spec={"parentRef": {"group": "a.b", "resource": "r", "name": "n"}}),
         ["x", "r.a.b/n", "5m"]),
        (IP_ADDRESSES, make(), ["x", "<none>", "5m"]),
        (CLUSTER_ROLES, make(), ["x", CREATED]),
        (ROLE_BINDINGS, make(roleRef={"kind": "Role", "name": "r"},
                             subjects=[{"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"},
                                       {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]),
         ["x", "Role/r", "5m", "u", "g", "n/s"]),
    ],
)  # fmt: skip
def test_small_kinds(resource: Resource, obj: Json, wanted: list[Any]) -> None:
    assert cells(resource, obj) == wanted


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"firstTimestamp": "2026-01-01T00:30:00Z", "lastTimestamp": CREATED, "count": 3,
          "source": {"component": "kubelet", "host": "n"}}, ["5m", "kubelet, n", "30m", 3]),
        ({"eventTime": "2026-01-01T00:30:00.000000Z", "reportingComponent": "binder"}, ["30m", "binder", "30m", 1]),
        ({"eventTime": "2026-01-01T00:30:00.000000Z", "reportingComponent": "c", "reportingInstance": "i",
          "series": {"count": 7, "lastObservedTime": "2026-01-01T00:59:00.000000Z"}}, ["60s", "c, i", "30m", 7]),
        ({"source": {}}, ["<unknown>", "", "<unknown>", 1]),
    ],
)  # fmt: skip
def test_events(fields: Json, wanted: list[Any]) -> None:
    event = make(type="Normal", reason="R", message=" m \n", involvedObject={"kind": "Pod", "name": "p"}, **fields)
    seen, source, first, count = wanted
    assert cells(EVENTS, event) == [seen, "Normal", "R", "pod/p", "", source, "m", first, count, "x"]


def render(resource: Resource, objects: list[Json], **options: Any) -> Json:
    arguments = {"version": "v1", "include_object": "", "wall_now": NOW, "list_meta": {"resourceVersion": "7"}}
    return render_table(resource, objects, **{**arguments, **options})


def test_a_table_holds_columns_and_a_row_per_object() -> None:
    table = render(NAMESPACES, [make("a"), make("b")])
    assert (table["kind"], table["apiVersion"], table["metadata"]) == (
        "Table",
        "meta.k8s.io/v1",
        {"resourceVersion": "7"},
    )
    assert [(c["name"], c["type"], c["format"], c["priority"]) for c in table["columnDefinitions"]] == [
        ("Name", "string", "name", 0), ("Status", "string", "", 0), ("Age", "string", "", 0),
    ]  # fmt: skip
    assert [row["cells"][0] for row in table["rows"]] == ["a", "b"]
    assert table["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": make("a")["metadata"],
    }  # fmt: skip


def test_what_the_rows_carry_is_the_clients_choice() -> None:
    obj = make("a")
    assert render(NAMESPACES, [obj], include_object="Object")["rows"][0]["object"] == obj
    assert render(NAMESPACES, [obj], include_object="None")["rows"][0]["object"] is None
    beta = render(NAMESPACES, [obj], include_object="Metadata", version="v1beta1")
    assert (beta["apiVersion"], beta["rows"][0]["object"]["apiVersion"]) == ("meta.k8s.io/v1beta1",) * 2
    with pytest.raises(BadRequest) as refused:
        render(NAMESPACES, [], include_object="x")
    assert refused.value.message == (
        "Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', "
        "'None', or empty"
    )


def test_later_events_of_a_watch_have_no_columns() -> None:
    assert render(NAMESPACES, [make()], with_columns=False)["columnDefinitions"] is None


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_every_kind_fills_its_columns_from_a_bare_object(resource: Resource) -> None:
    printer = load_printer(resource)
    row = printer.cells({"metadata": {"name": "x"}}, NOW)
    assert len(row) >= len(printer.columns)
    assert "x" in row
