"""Pods. Rule: spec "node" §2.1, §2.17, §1.10; "api-machinery" §6.2; upstream's Pod validation."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.machinery.strategy import Context
from seaway.api.pod.defaults import default_pod, default_pull_policy
from seaway.api.pod.qos import choose_qos_class
from seaway.api.pod.strategy import STRATEGY
from seaway.testing.builders import make_pod, merge
from tests.api.machinery.test_addresses import IP
from tests.api.machinery.test_names import LABEL, SUBDOMAIN

Json = dict[str, Any]
CONTEXT = Context("2024-01-01T00:00:00Z")
PORT = "must be between 1 and 65535, inclusive"


def make(**spec: Any) -> Json:
    return default_pod(make_pod(**copy.deepcopy(spec)))


def container(**fields: Any) -> Json:
    return {"containers": [{"name": "main", "image": "program", **fields}]}


def test_defaults_of_the_spec() -> None:
    spec = make()["spec"]
    del spec["containers"]
    seconds = {"effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 300}
    assert spec == {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [
            {**seconds, "key": "node.kubernetes.io/not-ready"},
            {**seconds, "key": "node.kubernetes.io/unreachable"},
        ],
    }


def test_what_the_client_says_stays() -> None:
    given = {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "enableServiceLinks": False,
        "serviceAccountName": "app", "tolerations": [{"operator": "Exists"}],
    }  # fmt: skip
    spec = make(**given)["spec"]
    assert {key: spec[key] for key in given} == given


def test_defaults_of_a_container() -> None:
    given = container(
        ports=[{"containerPort": 80}],
        resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
        readinessProbe={"httpGet": {"port": 80}},
        lifecycle={"preStop": {"httpGet": {"port": 80}}},
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    )
    (found,) = make(**given)["spec"]["containers"]
    request = {"port": 80, "path": "/", "scheme": "HTTP"}
    assert found == {
        "name": "main",
        "image": "program",
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
        "readinessProbe": {
            "httpGet": request, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"httpGet": request}},
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}],
    }  # fmt: skip


def test_on_the_hosts_network_host_ports_are_the_containers() -> None:
    spec = make(hostNetwork=True, **container(ports=[{"containerPort": 80}]))["spec"]
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_volumes() -> None:
    volumes = make(volumes=[{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}])["spec"]["volumes"]
    assert volumes == [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}}]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"), ("a:latest", "Always"), ("host:5000/a", "Always"), ("host:5000/a:1", "IfNotPresent"),
        ("a:1", "IfNotPresent"), ("a@sha256:0", "IfNotPresent"),
    ],
)  # fmt: skip
def test_pull_policy(image: str, policy: str) -> None:
    assert default_pull_policy(image) == policy


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"ephemeral-storage": "1Gi"}}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_class(resources: Json, expected: str) -> None:
    assert choose_qos_class(make(**container(resources=resources))["spec"]) == expected


def test_all_containers_count_for_the_class() -> None:
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    spec = make(containers=[{"name": "a", "image": "a", "resources": limits}, {"name": "b", "image": "b"}])["spec"]
    assert choose_qos_class(spec) == "Burstable"


def test_a_new_pod_is_pending() -> None:
    pod = STRATEGY.prepare_create(merge(make(), {"status": {"phase": "Running", "podIP": "10.0.0.1"}}), CONTEXT)
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_one_that_names_its_node_is_scheduled() -> None:
    pod = STRATEGY.prepare_create(make(nodeName="n1"), CONTEXT)
    (condition,) = pod["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    assert condition["lastTransitionTime"] == CONTEXT.wall_now


MOUNT = {"volumeMounts": [{"name": "a", "mountPath": "/a"}], "volumes": [{"name": "a"}]}
CREATE: list[tuple[str, Json, list[str]]] = [
    ("good", {}, []),
    ("a container is needed", {"containers": []}, ["spec.containers: Required value"]),
    ("a container has a name and an image", {"containers": [{}]},
     ["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"]),
    ("a container's name is a label", container(name="A"), [f'spec.containers[0].name: Invalid value: "A": {LABEL}']),
    ("names differ over all containers", {"initContainers": [{"name": "main", "image": "a"}]},
     ['spec.initContainers[0].name: Duplicate value: "main"']),
    ("an image has no blanks around", container(image=" a"),
     ['spec.containers[0].image: Invalid value: " a": must not have leading or trailing whitespace']),
    ("a container port is needed", container(ports=[{"name": "web"}]),
     ["spec.containers[0].ports[0].containerPort: Required value"]),
    ("a container port", container(ports=[{"containerPort": 70000}]),
     [f"spec.containers[0].ports[0].containerPort: Invalid value: 70000: {PORT}"]),
    ("a port name", container(ports=[{"name": "80", "containerPort": 80}]),
     ['spec.containers[0].ports[0].name: Invalid value: "80": must contain at least one letter (a-z)']),
    ("a port name occurs once in a container",
     container(ports=[{"name": "a", "containerPort": 80}, {"name": "a", "containerPort": 81}]),
     ['spec.containers[0].ports[1].name: Duplicate value: "a"']),
    ("a known protocol", container(ports=[{"containerPort": 80, "protocol": "x"}]),
     ['spec.containers[0].ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"']),
    ("a host port once", container(ports=[{"containerPort": 80, "hostPort": 8080},
                                          {"containerPort": 81, "hostPort": 8080}]),
     ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"']),
    ("host network ports agree", {"hostNetwork": True, **container(ports=[{"containerPort": 80, "hostPort": 81}])},
     ["spec.containers[0].ports[0].containerPort: Invalid value: 80: "
      "must match `hostPort` when `hostNetwork` is true"]),
    ("an environment name", container(env=[{"name": "a=b", "value": "c"}]),
     ['spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of '
      "printable ASCII characters other than '='"]),
    ("a value or a source", container(env=[{"name": "a", "value": "b", "valueFrom": {"fieldRef": {}}}]),
     ['spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
    ("a mounted volume exists", container(volumeMounts=[{"name": "a", "mountPath": "/a"}]),
     ['spec.containers[0].volumeMounts[0].name: Not found: "a"']),
    ("a mounted volume",
     {**container(volumeMounts=[{"name": "a", "mountPath": "/a"}]), "volumes": [{"name": "a"}]}, []),
    ("a volume name occurs once", {"volumes": [{"name": "a"}, {"name": "a"}]},
     ['spec.volumes[1].name: Duplicate value: "a"']),
    ("a volume has one source", {"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]},
     ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]),
    ("a probe has a handler", container(readinessProbe={"periodSeconds": 1}),
     ["spec.containers[0].readinessProbe: Required value: must specify a handler type"]),
    ("a probe has one handler", container(readinessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
     ["spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]),
    ("a probe's port", container(readinessProbe={"httpGet": {"port": "80"}}),
     ['spec.containers[0].readinessProbe.httpGet.port: Invalid value: "80": must contain at least one letter (a-z)']),
    ("a probe's command", container(readinessProbe={"exec": {}}),
     ["spec.containers[0].readinessProbe.exec.command: Required value"]),
    ("a probe's numbers", container(readinessProbe={"tcpSocket": {"port": 1}, "initialDelaySeconds": -1}),
     ["spec.containers[0].readinessProbe.initialDelaySeconds: Invalid value: -1: "
      "must be greater than or equal to 0"]),
    ("liveness succeeds at once", container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
     ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    ("an init container has no probes",
     {"initContainers": [{"name": "a", "image": "a", "readinessProbe": {"tcpSocket": {"port": 1}}}]},
     ["spec.initContainers[0].readinessProbe: Forbidden: "
      "may not be set for init containers without restartPolicy=Always"]),
    ("a known restart policy", {"restartPolicy": "Sometimes"},
     ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"']),
    ("a grace period", {"terminationGracePeriodSeconds": -1},
     ["spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ("a deadline", {"activeDeadlineSeconds": 0},
     ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
    ("a host name", {"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots']),
    ("a node name", {"nodeName": "A"}, [f'spec.nodeName: Invalid value: "A": {SUBDOMAIN}']),
    ("no policy of names without servers", {"dnsPolicy": "None", "dnsConfig": {}},
     ["spec.dnsConfig.nameservers: Required value: "
      "must provide at least one DNS nameserver when `dnsPolicy` is None"]),
    ("a name server", {"dnsConfig": {"nameservers": ["x"]}},
     [f'spec.dnsConfig.nameservers[0]: Invalid value: "x": {IP}']),
    ("a host alias", {"hostAliases": [{"ip": "x", "hostnames": ["A"]}]},
     [f'spec.hostAliases[0].ip: Invalid value: "x": {IP}',
      f'spec.hostAliases[0].hostnames: Invalid value: "A": {SUBDOMAIN}']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CREATE])
def test_create(spec: Json, texts: list[str]) -> None:
    pod = make(**spec)
    kept = copy.deepcopy(pod)
    assert [str(error) for error in STRATEGY.validate_create(pod)] == texts
    assert pod == kept


def test_any_mount_of_the_pods_volumes() -> None:
    pod = make(**container(volumeMounts=MOUNT["volumeMounts"] * 2), volumes=MOUNT["volumes"])
    assert [str(error) for error in STRATEGY.validate_create(pod)] == [
        'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique'
    ]


UPDATE: list[tuple[str, Json, bool]] = [
    ("nothing", {}, True),
    ("an image", container(image="other", imagePullPolicy="Always"), True),
    ("a deadline", {"activeDeadlineSeconds": 5}, True),
    ("the node", {"nodeName": "n1"}, False),
    ("a command", container(command=["a"]), False),
    ("a container more", {"containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]}, False),
    ("a host name", {"hostname": "a"}, False),
]


@pytest.mark.parametrize(("changes", "allowed"), [pytest.param(*case[1:], id=case[0]) for case in UPDATE])
def test_what_may_change(changes: Json, allowed: bool) -> None:
    errors = [str(error) for error in STRATEGY.validate_update(make(**changes), make())]
    assert (errors == []) == allowed
    if not allowed:
        assert ": Forbidden: pod updates may not " in errors[0]


def test_tolerations_are_only_added() -> None:
    old = make(tolerations=[{"key": "a", "operator": "Exists"}])
    more = make(tolerations=[{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}])
    assert STRATEGY.validate_update(more, old) == []
    (error,) = STRATEGY.validate_update(old, more)
    assert error.path == "spec.tolerations"


def test_gates_are_only_taken_away() -> None:
    gates = [{"name": "example.com/a"}, {"name": "example.com/b"}]
    assert STRATEGY.validate_update(make(schedulingGates=gates[:1]), make(schedulingGates=gates)) == []
    assert STRATEGY.validate_update(make(), make(schedulingGates=gates)) == []
    (error,) = STRATEGY.validate_update(make(schedulingGates=gates), make(schedulingGates=gates[:1]))
    assert error.path == "spec.schedulingGates"
    assert error.detail == "only deletion is allowed, but found new scheduling gate 'example.com/b'"


def test_a_pod_with_gates_begins_with_the_condition_that_says_so() -> None:
    made = STRATEGY.prepare_create(make(schedulingGates=[{"name": "example.com/a"}]), CONTEXT)
    (condition,) = made["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


def test_a_status_write_keeps_owners_and_class() -> None:
    owners = [{"apiVersion": "v1", "kind": "Service", "name": "a", "uid": "1"}]
    old = STRATEGY.prepare_create(merge(make(), {"metadata": {"ownerReferences": owners}}), CONTEXT)
    sent = {"metadata": {"name": "web-1", "labels": {"a": "b"}}, "spec": {}, "status": {"phase": "Running"}}
    new = STRATEGY.prepare_status_update(sent, old, CONTEXT)
    assert new["spec"] == old["spec"]
    assert new["metadata"] == {"name": "web-1", "labels": {"a": "b"}, "ownerReferences": owners}
    assert new["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def test_status_addresses() -> None:
    good = {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}
    assert STRATEGY.validate_status_update(good, {}) == []
    two = {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}}
    (error,) = STRATEGY.validate_status_update(two, {})
    assert error.detail == "may specify no more than one IP for each IP family"


def test_selectable_fields() -> None:
    fields = STRATEGY.fields(make_pod(ip="10.0.0.1", nodeName="n1"))
    assert fields["spec.nodeName"] == "n1"
    assert fields["spec.hostNetwork"] == "false"
    assert fields["status.podIPs"] == fields["status.podIP"] == "10.0.0.1"
    assert STRATEGY.fields({})["status.phase"] == ""
