"""Rule: spec "node" §2.9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.node.admission import Rejection, find_rejection
from seaway.node.podspec import PodManifest
from tests.node.manifests import decode_pod

NODE = msgspec.convert(
    {"metadata": {"name": "node-1", "labels": {"disk": "ssd", "cpus": "8"}}, "spec": {}, "status": {}}, Node
)
ALLOCATABLE = {"pods": "2", "cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi"}
NO_MATCH = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
NO_PORT = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
NO_TOLERATION = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"


def require(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


def expect(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def expect_name(name: str) -> dict[str, Any]:
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}


def hold(port: int, *, ip: str = "", protocol: str = "TCP", kind: str = "containers", **extra: Any) -> dict[str, Any]:
    ports = [{"containerPort": 80, "hostPort": port, "hostIP": ip, "protocol": protocol}]
    return {kind: [{"name": "main", "ports": ports, **extra}]}


def judge(pod: PodManifest, *others: PodManifest, node: Node | None = NODE) -> Rejection | None:
    return find_rejection(pod, others, node, allocatable=ALLOCATABLE)


@pytest.mark.parametrize(
    ("spec", "is_taken"),
    [
        pytest.param({}, True, id="a Pod that asks for nothing"),
        pytest.param({"nodeName": "node-1"}, True, id="one that names this node"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, True, id="a selector that fits"),
        pytest.param({"nodeSelector": {"disk": "hdd"}}, False, id="one that does not"),
        pytest.param(require(expect("disk", "In", "ssd", "nvme")), True, id="a term that holds"),
        pytest.param(require(expect("disk", "NotIn", "ssd")), False, id="a term that does not"),
        pytest.param(require(expect("disk", "NotIn", "ssd"), expect("cpus", "Exists")), True, id="terms are choices"),
        pytest.param(require(expect("cpus", "Gt", "4")), True, id="more than"),
        pytest.param(require(expect("cpus", "Lt", "4")), False, id="less than"),
        pytest.param(require(expect("cpus", "Lt", "many")), False, id="a bound that is no number"),
        pytest.param(require(expect("cpus", "Like", "8")), False, id="an operator that nobody knows"),
        pytest.param(require({}), False, id="a term without conditions holds nowhere"),
        pytest.param(require(expect_name("node-1")), True, id="the node by name, as DaemonSets have it"),
        pytest.param(require(expect_name("node-2")), False, id="another node by name"),
    ],
)
def test_affinity(spec: dict[str, Any], is_taken: bool) -> None:
    assert judge(decode_pod(**spec)) == (None if is_taken else Rejection("NodeAffinity", NO_MATCH))


def test_another_node_is_named() -> None:
    rejection = judge(decode_pod(nodeName="node-2"))
    assert rejection is not None and rejection.reason == "NodeName"


@pytest.mark.parametrize(
    ("wanted", "held", "is_taken"),
    [
        pytest.param(hold(80), hold(81), True, id="another port"),
        pytest.param(hold(80), hold(80), False, id="the same port"),
        pytest.param(hold(80), hold(80, protocol="UDP"), True, id="of another protocol"),
        pytest.param(hold(80, ip="192.0.2.1"), hold(80, ip="192.0.2.2"), True, id="at another address"),
        pytest.param(hold(80, ip="192.0.2.1"), hold(80, ip="0.0.0.0"), False, id="at all addresses"),
        pytest.param(hold(80, ip="::"), hold(80, ip="192.0.2.1"), False, id="at all addresses, by IPv6's name"),
        pytest.param(hold(80, ip="2001:db8::1"), hold(80, ip="::"), False, id="an address of IPv6, and all"),
        pytest.param(hold(80, ip="0.0.0.0"), hold(80, ip="::"), False, id="all addresses by both names"),
        pytest.param(hold(80, ip="192.0.2.1"), hold(80, ip="2001:db8::1"), True, id="addresses of two families"),
        pytest.param(hold(80, ip="2001:DB8:0::1"), hold(80, ip="2001:db8::1"), False, id="one address spelt two ways"),
        pytest.param(hold(80, ip="0.0.0.0", protocol="SCTP"), hold(80), True, id="all addresses, of another protocol"),
        pytest.param(hold(80, protocol="SCTP"), hold(80, ip="::", protocol="SCTP"), False, id="SCTP as well"),
        pytest.param(hold(80), hold(80, kind="initContainers"), True, id="an init container holds none"),
        pytest.param(hold(80), hold(80, kind="initContainers", restartPolicy="Always"), False, id="a sidecar does"),
    ],
)
def test_host_ports(wanted: dict[str, Any], held: dict[str, Any], is_taken: bool) -> None:
    assert judge(decode_pod(**wanted), decode_pod(**held)) == (None if is_taken else Rejection("NodePorts", NO_PORT))


@pytest.mark.parametrize(
    ("effect", "toleration", "is_taken"),
    [
        pytest.param("NoExecute", None, False, id="a taint that ends Pods"),
        pytest.param("NoSchedule", None, True, id="one that only keeps the scheduler away"),
        pytest.param("NoExecute", {"operator": "Exists"}, True, id="who tolerates all"),
        pytest.param("NoExecute", {"key": "k", "operator": "Exists", "effect": "NoExecute"}, True, id="or this one"),
        pytest.param("NoExecute", {"key": "k", "operator": "Equal", "value": "v"}, True, id="with its value"),
        pytest.param("NoExecute", {"key": "k", "operator": "Equal", "value": "w"}, False, id="but not another"),
        pytest.param("NoExecute", {"key": "k", "operator": "Exists", "effect": "NoSchedule"}, False,
                     id="nor another effect"),
    ],
)  # fmt: skip
def test_taints(effect: str, toleration: dict[str, str] | None, is_taken: bool) -> None:
    taints = [{"key": "k", "value": "v", "effect": effect}]
    node = msgspec.convert({"metadata": {"name": "node-1"}, "spec": {"taints": taints}}, Node)
    pod = decode_pod(tolerations=[toleration] if toleration else [])
    assert judge(pod, node=node) == (None if is_taken else Rejection("TaintToleration", NO_TOLERATION))


def test_a_node_that_is_full() -> None:
    text = "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2"
    assert judge(decode_pod(), decode_pod("a"), decode_pod("b")) == Rejection("OutOfpods", text)
    assert judge(decode_pod(), decode_pod("a")) is None


def ask(kind: str = "containers", **amounts: str) -> dict[str, Any]:
    requests = {name.replace("_", "-"): amount for name, amount in amounts.items()}
    return {kind: [{"name": "main", "resources": {"requests": requests}}]}


@pytest.mark.parametrize(
    ("wanted", "held", "reason", "numbers"),
    [
        pytest.param(ask(cpu="2"), ask(), "", "", id="all that there is"),
        pytest.param(ask(cpu="2500m"), ask(), "OutOfcpu", "cpu, requested: 2500, used: 0, capacity: 2000",
                     id="more cpu than there is"),
        pytest.param(ask(cpu="1500m"), ask(cpu="600m"), "OutOfcpu", "cpu, requested: 1500, used: 600, capacity: 2000",
                     id="more cpu than is left"),
        pytest.param(ask(memory="600Mi"), ask(memory="600Mi"), "OutOfmemory",
                     "memory, requested: 629145600, used: 629145600, capacity: 1073741824", id="more memory"),
        pytest.param(ask(ephemeral_storage="11Gi"), ask(), "OutOfephemeral-storage",
                     "ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240", id="more disk"),
        pytest.param(ask(), ask(cpu="4"), "", "", id="who asks for nothing is taken by a node that is over-full"),
        pytest.param(ask(**{"example.com/gpu": "1"}), ask(), "", "", id="nor what the node does not know"),
        pytest.param(ask("initContainers", cpu="3"), ask(), "OutOfcpu", "cpu, requested: 3000, used: 0, capacity: 2000",
                     id="init containers count"),
        pytest.param({"resources": {"requests": {"cpu": "3"}}}, ask(), "OutOfcpu",
                     "cpu, requested: 3000, used: 0, capacity: 2000", id="what the Pod asks for as a whole counts"),
    ],
)  # fmt: skip
def test_resources(wanted: dict[str, Any], held: dict[str, Any], reason: str, numbers: str) -> None:
    text = f"Node didn't have enough resource: {numbers}"
    assert judge(decode_pod(**wanted), decode_pod(**held)) == (Rejection(reason, text) if reason else None)


def sysctl(name: str, **spec: Any) -> dict[str, Any]:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}, **spec}


WRONG_LABEL = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
EARLY: dict[str, tuple[dict[str, Any], Rejection | None]] = {
    "what is the Pod's own network's": (sysctl("net.ipv4.tcp_syncookies"), None),
    "what is its own IPC namespace's": (sysctl("kernel.shm_rmid_forced"), None),
    "what is the host's": (
        sysctl("kernel.panic"), Rejection("SysctlForbidden", 'forbidden sysctl: "kernel.panic" not allowlisted')),
    "the network's, where that is the host's": (
        sysctl("net.core.somaxconn", hostNetwork=True),
        Rejection("SysctlForbidden", 'forbidden sysctl: "net.core.somaxconn" not allowed with host net enabled')),
    "linux": ({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux"}}, None),
    "windows": (
        {"os": {"name": "windows"}},
        Rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")),
    "windows by its label": (
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        Rejection("PodOSSelectorNodeLabelDoesNotMatch", WRONG_LABEL)),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), EARLY.values(), ids=EARLY)
def test_what_can_never_run_here(spec: dict[str, Any], expected: Rejection | None) -> None:
    linux = msgspec.convert({"metadata": {"name": "node-1", "labels": {"kubernetes.io/os": "linux"}}}, Node)
    assert judge(decode_pod(**spec), node=linux) == expected


@pytest.mark.parametrize(
    ("policy", "sets_groups", "is_taken"),
    [
        pytest.param("Strict", True, True, id="a node that sets groups"),
        pytest.param("Strict", False, False, id="one that does not refuses what asks for no others"),
        pytest.param("Merge", False, True, id="and takes what does not"),
    ],
)
def test_the_policy_of_groups(policy: str, sets_groups: bool, is_taken: bool) -> None:
    pod = decode_pod(securityContext={"supplementalGroupsPolicy": policy})
    found = find_rejection(pod, (), NODE, allocatable=ALLOCATABLE, sets_groups=sets_groups)
    text = "SupplementalGroupsPolicy=Strict is not supported in this node"
    assert found == (None if is_taken else Rejection("SupplementalGroupsPolicyNotSupported", text))


def test_before_the_node_is_known_only_what_is_here_counts() -> None:
    assert judge(decode_pod(nodeSelector={"disk": "hdd"}), node=None) is None
    assert judge(decode_pod(**hold(80)), decode_pod(**hold(80)), node=None) is not None
