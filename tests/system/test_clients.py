"""Real clients, unmodified: kubectl, the Python client, lightkube."""

from __future__ import annotations

import json
import os
import re

import kubernetes
import lightkube
import pytest
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service

from tests.system.running import Up

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web, labels: {tier: front}}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture
def web(up: Up) -> Up:
    up.kubectl("apply", "-f", "-", stdin=MANIFEST)
    yield up
    up.kubectl("delete", "service", "web", "--ignore-not-found")


def test_kubectl_apply_says_created_then_unchanged_then_configured(web: Up) -> None:
    assert "unchanged" in web.kubectl("apply", "-f", "-", stdin=MANIFEST)
    changed = MANIFEST.replace("port: 80,", "port: 81,")
    assert "configured" in web.kubectl("apply", "-f", "-", stdin=changed)
    assert [p["port"] for p in web.get("service", "web")["spec"]["ports"]] == [81]


def test_kubectl_get_prints_the_servers_table(web: Up) -> None:
    head, row = web.kubectl("get", "service", "web", "-o", "wide").splitlines()
    assert head.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert row.split()[:2] == ["web", "ClusterIP"]
    assert row.split()[3:5] == ["<none>", "80/TCP"]


def test_kubectl_describe_names_selector_and_endpoints(web: Up) -> None:
    text = web.kubectl("describe", "service", "web")
    assert "Selector:" in text
    assert "app=web" in text
    assert "TargetPort:" in text


def test_kubectl_explain_describes_the_fields(web: Up) -> None:
    text = web.kubectl("explain", "service.spec.ports.targetPort")
    assert "targetPort" in text
    assert "Service" in text


def test_kubectl_edit_writes_what_the_editor_left(web: Up) -> None:
    program = web.run("sh", "-c", "command -v kubectl").stdout.strip()
    editing = {**os.environ, "KUBE_EDITOR": "sed -i s/tier:.front/tier:\\ back/"}
    web.run(program, "--kubeconfig", str(web.kubeconfig), "edit", "service", "web", env=editing)
    assert web.get("service", "web")["metadata"]["labels"] == {"tier": "back"}


def test_kubectl_label_patch_and_delete(web: Up) -> None:
    web.kubectl("label", "service", "web", "stage=test")
    web.kubectl("patch", "service", "web", "-p", json.dumps({"spec": {"sessionAffinity": "ClientIP"}}))
    service = web.get("service", "web")
    assert service["metadata"]["labels"]["stage"] == "test"
    assert service["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert "deleted" in web.kubectl("delete", "service", "web")
    assert "NotFound" in web.kubectl("get", "service", "web", check=False)


def test_kubectl_create_service_sends_what_the_server_reads(up: Up) -> None:
    up.kubectl("create", "service", "clusterip", "made", "--tcp=80:8080")
    assert up.get("service", "made")["spec"]["ports"][0]["targetPort"] == 8080
    up.kubectl("delete", "service", "made")


@pytest.mark.parametrize(
    ("change", "words"),  # older kubectl judges types and names itself, from our OpenAPI
    [
        ("port: 0", r"spec\.ports\[0\]\.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ("port: 80, protocol: HTTP", 'Unsupported value: "HTTP"'),
        ("port: 80, colour: red", r'unknown field "(spec\.ports\[0\]\.)?colour"'),
        ("port: eighty", 'cannot unmarshal|got "string", expected "integer"'),
    ],
)
def test_a_bad_manifest_gets_the_field_and_the_reason(up: Up, change: str, words: str) -> None:
    bad = MANIFEST.replace("port: 80", change).replace("name: web", "name: bad")
    assert re.search(words, up.kubectl("apply", "-f", "-", stdin=bad, check=False))
    assert "NotFound" in up.kubectl("get", "service", "bad", check=False)


def test_the_python_client_creates_lists_watches_and_deletes(up: Up) -> None:
    api = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(up.kubeconfig)))
    spec = kubernetes.client.V1ServiceSpec(
        selector={"app": "py"}, ports=[kubernetes.client.V1ServicePort(port=80, target_port="http")]
    )
    body = kubernetes.client.V1Service(metadata=kubernetes.client.V1ObjectMeta(name="py"), spec=spec)
    made = api.create_namespaced_service("default", body)
    try:
        assert made.spec.cluster_ip.startswith("10.96.")
        assert "py" in [s.metadata.name for s in api.list_namespaced_service("default").items]
        watch = kubernetes.watch.Watch()
        names = [
            event["object"].metadata.name
            for event in watch.stream(api.list_namespaced_service, "default", timeout_seconds=1)
        ]
        assert "py" in names
    finally:
        gone = api.delete_namespaced_service("py", "default")
        api.api_client.close()
    assert gone.metadata.name == "py"


def test_lightkube_creates_reads_and_deletes(up: Up) -> None:
    config = lightkube.KubeConfig.from_file(str(up.kubeconfig))
    with lightkube.Client(config=config) as client:
        use_lightkube(client)


def use_lightkube(client: lightkube.Client) -> None:
    made = client.create(
        Service(
            metadata=ObjectMeta(name="light", namespace="default"),
            spec=ServiceSpec(selector={"app": "light"}, ports=[ServicePort(port=80)]),
        )
    )
    assert made.spec is not None
    assert client.get(Service, "light").spec == made.spec
    assert [s.metadata.name for s in client.list(Service, namespace="default", fields={"metadata.name": "light"})] == [
        "light"
    ]
    client.delete(Service, "light")


def test_kubectl_works_inside_the_sandbox_by_the_service_kubernetes(up: Up) -> None:
    assert "kubernetes" in up.inside("kubectl", "get", "services").stdout
