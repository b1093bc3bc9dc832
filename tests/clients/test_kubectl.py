"""kubectl's other commands, scripted. A command that came later than the installed kubectl is skipped aloud.

Rule: spec "api-machinery" §3.6 (who needs what), §13 (start-up requests).
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.proxying.backends import Network
from tests.clients.kubectl import PATIENCE_SECONDS, Kubectl, get_name, get_version

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web, labels: {tier: front}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "program:1"}]}
"""
PROTOBUF = "application/vnd.kubernetes.protobuf"
Test = Callable[..., None]


def covers(verb: str, *kinds: str, since: tuple[int, int] = (1, 20)) -> Callable[[Test], Test]:
    """The test proves that the command works with the kinds. since: the kubectl that brought it."""

    def mark(test: Test) -> Test:
        have, want = (".".join(map(str, version)) for version in (get_version(), since))
        skip = pytest.mark.skipif(get_version() < since, reason=f"kubectl {have}: `{verb}` came with {want}")
        marked: Test = skip(pytest.mark.covers(get_name(), verb, *kinds)(test))
        return marked

    return mark


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    """A Service with a ready Pod behind it."""
    kubectl.seaway.apply(MANIFEST)
    kubectl.seaway.make_pod("web-1", ready=True)
    kubectl.seaway.wait_endpoints("web", {"web-1"})
    return kubectl


# Reading.


@covers("get -o wide, yaml, jsonpath, custom-columns, go-template", "Service")
def test_get_in_all_outputs(web: Kubectl) -> None:
    head, row = web("get", "svc", "web", "-o", "wide").lines
    assert head.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert row.split()[-1] == "app=web"
    assert "clusterIP:" in web("get", "svc", "web", "-o", "yaml").stdout
    address = web("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert web("get", "svc", "web", "-o", "custom-columns=IP:.spec.clusterIP", "--no-headers").lines == [address]
    assert web("get", "svc", "web", "-o", "go-template={{.spec.clusterIP}}").stdout == address
    assert web("get", "svc", "web", "-o", "name").lines == ["service/web"]
    assert web("get", "svc", "--show-labels", "--no-headers").lines[0].split()[-1] == "tier=front"
    assert web("get", "svc", "-L", "tier", "--no-headers").lines[0].split()[-1] == "front"


@covers("get all, several kinds, selectors, sorted, in all namespaces", "Service", "Pod")
def test_get_of_many(web: Kubectl) -> None:
    web("create", "configmap", "other")
    assert {line.split()[0] for line in web("get", "all", "--no-headers").lines if line} == {"service/web", "pod/web-1"}
    assert web("get", "svc,cm", "-l", "tier=front", "-o", "name").lines == ["service/web"]
    assert web("get", "pods", "--field-selector=status.phase=Running", "-o", "name").lines == ["pod/web-1"]
    assert web("get", "pods", "--field-selector=status.phase=Failed", "-o", "name").lines == []
    with web.seaway.server.open_namespace("other") as other:
        other.make_service("alone")
        rows = web("get", "svc", "-A", "--sort-by=.metadata.name", "--no-headers").lines
        mine = [[other.namespace, "alone"], [web.seaway.namespace, "web"]]
        assert [row.split()[:2] for row in rows if row.split()[:2] in mine] == mine
        assert {"service/alone", "service/web"} <= set(web("get", "svc", "--chunk-size=1", "-A", "-o", "name").lines)


@covers("get -w", "Service")
def test_get_watches(web: Kubectl) -> None:
    # By selector: of one named object kubectl throws the first event away, which may be the change if it comes at once.
    selected = ("get", "svc", "--field-selector", "metadata.name=web", "-w", "--no-headers")
    watching = subprocess.Popen(
        web.command(*selected, "-o", "custom-columns=T:.metadata.labels.tier"),
        stdout=subprocess.PIPE,
        text=True,
        env=web.environment(),
    )
    patience = threading.Timer(
        PATIENCE_SECONDS, watching.kill
    )  # a watch that says nothing is no reason to wait for ever
    patience.start()
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().strip() == "front"
        web.seaway.patch("service", "web", {"metadata": {"labels": {"tier": "back"}}})
        assert watching.stdout.readline().strip() == "back"
    finally:
        patience.cancel()
        watching.terminate()
        watching.communicate(timeout=10)


@covers("describe, with endpoints", "Service")
def test_describe_of_a_service_shows_its_endpoints_and_events(web: Kubectl) -> None:
    """Before 1.31 kubectl reads Endpoints for it, since then slices."""
    address = web.seaway.get("pod", "web-1")["status"]["podIP"]
    web.seaway.wait_for("endpoints", "web", lambda found: found.get("subsets"))
    assert f"{address}:8080" in web("get", "endpoints", "web").stdout
    shown = web("describe", "service", "web").stdout
    assert re.search(rf"Endpoints:\s+{re.escape(address)}:8080", shown)
    assert "Selector:" in shown


@covers("get --raw", "Service")
def test_get_raw(web: Kubectl) -> None:
    path = f"/api/v1/namespaces/{web.seaway.namespace}/services/web"
    assert web("get", "--raw", path).json["kind"] == "Service"
    assert web("get", "--raw", "/readyz").stdout == "ok"
    assert "[+]ping ok" in web("get", "--raw", "/livez?verbose").stdout
    assert "apiserver_request_total" in web("get", "--raw", "/metrics").stdout


@covers("explain --recursive", "Service")
def test_explain(kubectl: Kubectl) -> None:
    assert "The port at which the Service listens." in kubectl("explain", "service.spec.ports.port").stdout
    tree = kubectl("explain", "service", "--recursive").stdout
    assert "targetPort" in tree and "sessionAffinityConfig" in tree


@covers("api-resources, api-versions")
def test_discovery(kubectl: Kubectl) -> None:
    rows = {line.split()[0]: line.split() for line in kubectl("api-resources", "--no-headers").lines}
    assert rows["services"] == ["services", "svc", "v1", "true", "Service"]
    wide = kubectl("api-resources", "-o", "wide", "--api-group=discovery.k8s.io").stdout
    for verb in ("create", "deletecollection", "get", "list", "patch", "update", "watch"):
        assert verb in wide
    assert "endpointslices.discovery.k8s.io" in kubectl("api-resources", "-o", "name", "--namespaced").lines
    assert {"v1", "discovery.k8s.io/v1"} <= set(kubectl("api-versions").lines)


@covers("version, cluster-info", "Service")
def test_version_and_cluster_info(kubectl: Kubectl) -> None:
    assert kubectl("version", "-o", "json").json["serverVersion"]["major"] == "1"
    assert kubectl.seaway.url in kubectl("cluster-info").stdout


@covers("events", "Event", since=(1, 26))
def test_events(web: Kubectl) -> None:
    make_event(web)
    shown = web("events", "--for", "service/web").stdout
    assert "Seen" in shown and "there it is" in shown


@covers("get events", "Event")
def test_get_events(web: Kubectl) -> None:
    make_event(web)
    shown = web("get", "events", "--no-headers").stdout
    assert re.search(r"Normal\s+Seen\s+service/web\s+there it is", shown)
    assert "there it is" in web("describe", "service", "web").stdout


def make_event(kubectl: Kubectl) -> None:
    service = kubectl.seaway.get("service", "web")
    about = {"kind": "Service", "apiVersion": "v1", "name": "web", "namespace": kubectl.seaway.namespace}
    about["uid"] = service["metadata"]["uid"]
    event: dict[str, Any] = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"}}
    event |= {"involvedObject": about, "reason": "Seen", "message": "there it is", "type": "Normal"}
    event |= {"lastTimestamp": "2026-01-02T03:04:05Z", "firstTimestamp": "2026-01-02T03:04:05Z", "count": 1}
    kubectl.seaway.create(event)


@covers("top (says that there are no metrics)", "Pod")
def test_top(kubectl: Kubectl) -> None:
    assert "Metrics API not available" in kubectl("top", "pods", code=1).stderr


@covers("proxy")
def test_proxy(web: Kubectl) -> None:
    path = f"/api/v1/namespaces/{web.seaway.namespace}/services/web"
    with proxying(web) as address, urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        assert json.load(answer)["metadata"]["name"] == "web"


@contextlib.contextmanager
def proxying(kubectl: Kubectl) -> Iterator[str]:
    """The address of a `kubectl proxy`."""
    command = kubectl.command("proxy", "--port=0")
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kubectl.environment())
    try:
        assert proxy.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        proxy.terminate()
        proxy.communicate(timeout=10)


@covers("get --raw and proxy, through to a Pod", "Service", "Pod")
def test_requests_reach_a_program_behind_a_service(web: Kubectl) -> None:
    class Program(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = f"<a href='/next'>{self.path}</a>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            return

    program = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Program)
    threading.Thread(target=program.serve_forever, daemon=True).start()
    cluster = web.seaway.server._cluster
    assert cluster is not None
    state = cluster.server.state
    network = Network()
    state.backends = network.backends
    own, pod = web.seaway.namespace, web.seaway.get("pod", "web-1")
    ip = pod["status"]["podIP"]
    network.ports[ip, 8080] = program.server_address[1]
    target = {"kind": "Pod", "namespace": own, "name": "web-1"}
    subset = {"addresses": [{"ip": ip, "targetRef": target}], "ports": [{"port": 8080}]}
    service = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "by-hand"},
        "spec": {"ports": [{"port": 80}]},
    }
    endpoints = {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": "by-hand"}, "subsets": [subset]}
    try:
        web.seaway.create(service)
        web.seaway.create(endpoints)
        base = f"/api/v1/namespaces/{own}"
        proxied = f"{base}/services/by-hand:80/proxy"
        page = web("get", "--raw", f"{proxied}/here?a=b").stdout
        assert page == f"<a href='{proxied}/next'>/here?a=b</a>"
        assert "/there" in web("get", "--raw", f"{base}/pods/web-1:8080/proxy/there").stdout
        refused = web("get", "--raw", f"{base}/services/by-hand:81/proxy/", code=1).stderr
        assert refused == 'Error from server (ServiceUnavailable): no service port 81 found for service "by-hand"\n'
        with proxying(web) as address, urllib.request.urlopen(f"http://{address}{proxied}", timeout=10) as answer:
            assert answer.read().decode() == f"<a href='{proxied}/next'>/</a>"
    finally:
        state.backends = None
        program.shutdown()
        program.server_close()


# Making.


def test_a_quota_is_shown_and_refuses(kubectl: Kubectl) -> None:
    """Rule: spec "service-api" §3.6."""
    kubectl("create", "quota", "few", "--hard=services=1,services.nodeports=0")
    kubectl("create", "service", "clusterip", "one", "--tcp=80")
    told = "exceeded quota: few, requested: services=1, used: services=1, limited: services=1"
    assert told in kubectl("create", "service", "clusterip", "two", "--tcp=80", code=1).stderr
    assert "services: 1/1, services.nodeports: 0/0" in kubectl("get", "quota", "few").stdout
    rows = [line.split() for line in kubectl("describe", "quota", "few").lines]
    assert ["services", "1", "1"] in rows
    kubectl("delete", "service", "one")
    assert ["services", "0", "1"] in [line.split() for line in kubectl("describe", "quota", "few").lines]


@covers("create namespace, configmap, secret, service, serviceaccount, role, …",
        "Namespace", "ConfigMap", "Secret", "Service", "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
        "ClusterRoleBinding")  # fmt: skip
def test_create_commands(kubectl: Kubectl) -> None:
    own = kubectl.seaway.namespace
    commands = [
        ("namespace", f"{own}-made"),
        ("configmap", "made", "--from-literal=a=b"),
        ("secret", "generic", "made", "--from-literal=a=b"),
        ("service", "clusterip", "made", "--tcp=80:8080"),
        ("service", "nodeport", "made-node", "--tcp=80:8080"),
        ("service", "loadbalancer", "made-lb", "--tcp=80:8080"),
        ("service", "externalname", "made-name", "--external-name=example.com"),
        ("serviceaccount", "made"),
        ("role", "made", "--verb=get", "--resource=services"),
        ("rolebinding", "made", "--role=made", "--serviceaccount=default:made"),
        ("clusterrole", f"{own}-made", "--verb=get", "--resource=services"),
        ("clusterrolebinding", f"{own}-made", "--clusterrole=view", "--user=nobody"),
    ]
    for command in commands:
        assert kubectl("create", *command).stdout.endswith(" created\n")
    assert kubectl.get("service", "made")["spec"]["ports"][0]["targetPort"] == 8080
    assert kubectl.get("service", "made-name")["spec"]["externalName"] == "example.com"
    assert kubectl.get("configmap", "made")["data"] == {"a": "b"}
    assert kubectl.get("rolebinding", "made")["subjects"][0]["name"] == "made"
    bodies = {r.content_type for r in kubectl.seaway.requests if r.method == "POST" and r.path.endswith("/configmaps")}
    assert PROTOBUF in bodies or get_version() < (1, 32)
    kubectl("delete", "namespace", f"{own}-made")
    kubectl("delete", "clusterrole,clusterrolebinding", f"{own}-made")


@pytest.mark.xfail(get_version() < (1, 21), reason="CronJob: v1beta1, which Kubernetes 1.25 removed", strict=True)
@covers("create deployment, job, cronjob, ingress, quota, poddisruptionbudget, priorityclass",
        "Deployment", "Job", "CronJob", "Ingress", "ResourceQuota", "PodDisruptionBudget", "PriorityClass")  # fmt: skip
def test_create_commands_of_workloads(kubectl: Kubectl) -> None:
    own = kubectl.seaway.namespace
    commands = [
        ("deployment", "made", "--image=program", "--replicas=0"),
        ("job", "made", "--image=program"),
        ("cronjob", "made", "--image=program", "--schedule=0 0 1 1 *"),
        ("ingress", "made", "--rule=example.com/*=made:80"),
        ("quota", "made", "--hard=pods=100"),
        ("poddisruptionbudget", "made", "--selector=app=made", "--min-available=1"),
        ("priorityclass", f"{own}-made", "--value=10"),
    ]
    for command in commands:
        assert kubectl("create", *command).stdout.endswith(" created\n")
    assert kubectl.get("deployment", "made")["spec"]["template"]["spec"]["containers"][0]["image"] == "program"
    kubectl("delete", "priorityclass", f"{own}-made")


@covers("run", "Pod")
def test_run(kubectl: Kubectl) -> None:
    assert kubectl("run", "made", "--image=program", "--port=80", "--labels=app=made").stdout == "pod/made created\n"
    assert kubectl.get("pod", "made")["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


@covers("expose", "Pod", "Service")
def test_expose(web: Kubectl) -> None:
    assert web("expose", "pod", "web-1", "--port=80", "--name=exposed").stdout == "service/exposed exposed\n"
    assert web.get("service", "exposed")["spec"]["selector"] == {"app": "web"}
    assert web("expose", "service", "web", "--port=90", "--name=again").stdout == "service/again exposed\n"


@covers("create --dry-run=server, --dry-run=client", "Service")
def test_dry_runs_leave_nothing(kubectl: Kubectl) -> None:
    shown = kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", stdin=MANIFEST).json
    assert shown["spec"]["clusterIP"]
    assert (
        "clusterIP" not in kubectl("create", "-f", "-", "--dry-run=client", "-o", "json", stdin=MANIFEST).json["spec"]
    )
    assert "NotFound" in kubectl("get", "svc", "web", code=1).stderr


@covers("create with a bad manifest says field and reason", "Service")
@pytest.mark.parametrize(
    ("change", "words"),  # older kubectl judges types and names itself, from our OpenAPI
    [
        ("port: 0", r"spec\.ports\[0\]\.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ("port: 80, protocol: HTTP", 'Unsupported value: "HTTP"'),
        ("port: 80, colour: red", r'unknown field "(spec\.ports\[0\]\.)?colour"'),
        ("port: eighty", 'cannot unmarshal|got "string", expected "integer"'),
    ],
)
def test_a_bad_manifest(kubectl: Kubectl, change: str, words: str) -> None:
    assert re.search(words, kubectl("create", "-f", "-", stdin=MANIFEST.replace("port: 80", change), code=1).stderr)


# Changing.


@covers("apply: created, unchanged, configured", "Service")
def test_apply(kubectl: Kubectl) -> None:
    for manifest, word in (
        (MANIFEST, "created"),
        (MANIFEST, "unchanged"),
        (MANIFEST.replace("port: 80,", "port: 81,"), "configured"),
    ):
        assert kubectl("apply", "-f", "-", stdin=manifest).stdout == f"service/web {word}\n"
    assert [port["port"] for port in kubectl.get("svc", "web")["spec"]["ports"]] == [81]
    assert "last-applied" not in kubectl("apply", "view-last-applied", "svc", "web").stdout


@covers("apply --server-side: conflicts, --force-conflicts, after client-side apply", "Service")
def test_apply_on_the_server(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST).stdout
    other = MANIFEST.replace("tier: front", "tier: back")
    refused = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other, code=1).stderr
    assert "conflict" in refused and ".metadata.labels.tier" in refused
    forced = ("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-")
    assert "serverside-applied" in kubectl(*forced, stdin=other).stdout
    assert kubectl.get("svc", "web")["metadata"]["labels"] == {"tier": "back"}
    managers = kubectl.get("svc", "web", *(("--show-managed-fields",) if get_version() >= (1, 21) else ()))
    assert {entry["manager"] for entry in managers["metadata"]["managedFields"]} >= {"other"}


@covers("apply --prune", "ConfigMap")
def test_apply_prunes_what_the_manifest_lost(kubectl: Kubectl) -> None:
    both = "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: mine}}}}" for name in "ab"
    )
    allowed = "--prune-allowlist" if get_version() >= (1, 26) else "--prune-whitelist"
    prune = ("apply", "--prune", "-l", "set=mine", f"{allowed}=core/v1/ConfigMap", "-f", "-")
    kubectl(*prune, stdin=both)
    assert "configmap/b pruned" in kubectl(*prune, stdin=both.partition("\n---\n")[0]).lines
    assert kubectl("get", "cm", "-l", "set=mine", "-o", "name").lines == ["configmap/a"]


@covers("kustomize | apply, apply -k", "Service", "ConfigMap")
def test_kustomize(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(MANIFEST)
    text = "resources: [service.yaml]\nnamePrefix: my-\nconfigMapGenerator: [{name: settings, literals: [a=b]}]\n"
    (tmp_path / "kustomization.yaml").write_text(text)
    built = kubectl("kustomize", str(tmp_path)).stdout
    assert "service/my-web created" in kubectl("apply", "-f", "-", stdin=built).lines
    assert "service/my-web unchanged" in kubectl("apply", "-k", str(tmp_path)).lines


@covers("diff", "Service")
def test_diff(web: Kubectl) -> None:
    changed = web("diff", "-f", "-", stdin=MANIFEST.replace("front", "back"), code=1).stdout
    assert "-    tier: front" in changed and "+    tier: back" in changed
    assert web.get("svc", "web")["metadata"]["labels"] == {"tier": "front"}


@covers("edit", "Service")
def test_edit_writes_what_the_editor_left(web: Kubectl) -> None:
    assert "edited" in web("edit", "svc", "web", KUBE_EDITOR="sed -i s/tier:.front/tier:\\ back/").stdout
    assert web.get("svc", "web")["metadata"]["labels"] == {"tier": "back"}


@covers("replace, replace --force", "Service")
def test_replace(web: Kubectl) -> None:
    address = web.get("svc", "web")["spec"]["clusterIP"]
    assert web("replace", "-f", "-", stdin=MANIFEST.replace("front", "back")).stdout == "service/web replaced\n"
    assert web.get("svc", "web")["spec"]["clusterIP"] == address
    assert "service/web replaced" in web("replace", "--force", "-f", "-", stdin=MANIFEST).lines


@covers("replace refuses what changed in between", "Service")
def test_replace_with_a_stale_version(web: Kubectl) -> None:
    read = web("get", "svc", "web", "-o", "json").stdout
    web("label", "svc", "web", "x=y")
    assert "the object has been modified" in web("replace", "-f", "-", stdin=read, code=1).stderr


@covers("patch: strategic lists, null, json, merge", "Service")
@pytest.mark.parametrize(
    ("kind", "patch", "ports"),
    [
        ("strategic", {"spec": {"ports": [{"port": 81, "name": "other"}]}}, [81, 80]),
        ("strategic", {"spec": {"ports": [{"$patch": "replace"}, {"port": 82}]}}, [82]),
        ("merge", {"spec": {"ports": [{"port": 83}]}}, [83]),
        ("json", [{"op": "replace", "path": "/spec/ports/0/port", "value": 84}], [84]),
    ],
)
def test_patch(web: Kubectl, kind: str, patch: Any, ports: list[int]) -> None:
    assert web("patch", "svc", "web", f"--type={kind}", "-p", json.dumps(patch)).stdout == "service/web patched\n"
    assert [port["port"] for port in web.get("svc", "web")["spec"]["ports"]] == ports


@covers("patch --subresource", "Pod", since=(1, 24))
def test_patch_of_a_subresource(web: Kubectl) -> None:
    status = json.dumps({"status": {"message": "seen"}})
    web("patch", "pod", "web-1", "--subresource=status", "--type=merge", "-p", status)
    assert web.get("pod", "web-1")["status"]["message"] == "seen"


@covers("label, annotate: overwrite, remove, all, resource-version", "Service")
def test_label_and_annotate(web: Kubectl) -> None:
    assert "already has a value" in web("label", "svc", "web", "tier=back", code=1).stderr
    web("label", "svc", "web", "tier=back", "--overwrite")
    web("annotate", "svc", "--all", "note=text")
    web("label", "svc", "web", "tier-")
    meta = web.get("svc", "web")["metadata"]
    assert (meta.get("labels"), meta["annotations"]["note"]) == (None, "text")
    refused = web("annotate", "svc", "web", "note=new", "--overwrite", "--resource-version=1", code=1)
    assert "the object has been modified" in refused.stderr


@covers("set selector", "Service")
def test_set_selector(web: Kubectl) -> None:
    web("set", "selector", "svc", "web", "app=other")
    assert web.get("svc", "web")["spec"]["selector"] == {"app": "other"}


@covers("set image, env, resources, serviceaccount", "Deployment")
def test_set_on_a_deployment(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("set", "image", "deployment/web", "main=program:2")
    kubectl("set", "env", "deployment/web", "COLOUR=red")
    kubectl("set", "resources", "deployment/web", "--limits=cpu=200m")
    kubectl("set", "serviceaccount", "deployment", "web", "default")
    template = kubectl.get("deployment", "web")["spec"]["template"]["spec"]
    container = template["containers"][0]
    assert (container["image"], container["env"]) == ("program:2", [{"name": "COLOUR", "value": "red"}])
    assert (container["resources"]["limits"], template["serviceAccountName"]) == ({"cpu": "200m"}, "default")


@covers("scale", "Deployment", "ReplicaSet", "StatefulSet")
def test_scale(kubectl: Kubectl) -> None:
    replica_set = DEPLOYMENT.replace("Deployment", "ReplicaSet").replace("name: web", "name: alone")
    stateful_set = DEPLOYMENT.replace("Deployment", "StatefulSet").replace(
        "spec:\n  rep", "spec:\n  serviceName: web\n  rep"
    )
    kubectl("apply", "-f", "-", stdin="---".join((DEPLOYMENT, replica_set, stateful_set)))
    for name in ("deployment/web", "replicaset/alone", "statefulset/web"):
        assert kubectl("scale", name, "--replicas=5").stdout.endswith(" scaled\n")
        assert kubectl.get(name)["spec"]["replicas"] == 5
    refused = kubectl("scale", "deployment/web", "--current-replicas=1", "--replicas=2", code=1).stderr
    assert "Expected replicas to be 1, was 5" in refused


@covers("scale of what cannot be scaled (says so)", "Service")
def test_scale_of_a_service(web: Kubectl) -> None:
    assert (
        "the server could not find the requested resource" in web("scale", "svc", "web", "--replicas=1", code=1).stderr
    )


@pytest.mark.xfail(reason="HorizontalPodAutoscaler is not served", strict=True)
@covers("autoscale", "HorizontalPodAutoscaler")
def test_autoscale(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "autoscaled" in kubectl("autoscale", "deployment", "web", "--max=3").stdout


@covers("rollout restart, pause, resume", "Deployment")
def test_rollout_restart(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert kubectl("rollout", "restart", "deployment/web").stdout == "deployment.apps/web restarted\n"
    template = kubectl.get("deployment", "web")["spec"]["template"]["metadata"]
    assert "kubectl.kubernetes.io/restartedAt" in template["annotations"]
    kubectl("rollout", "pause", "deployment/web")
    assert kubectl.get("deployment", "web")["spec"]["paused"] is True
    kubectl("rollout", "resume", "deployment/web")
    assert "paused" not in kubectl.get("deployment", "web")["spec"]


@covers("rollout status, history", "Deployment")
def test_rollout_status_and_history(kubectl: Kubectl) -> None:
    """The Deployment's Pods come by themselves; that they are ready is the test's word, where no node runs them."""
    seaway = kubectl.seaway
    seaway.make_node()
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    replicas = kubectl.get("deployment", "web")["spec"]["replicas"]
    seaway.wait_for("deployment", "web", lambda found: found.get("status", {}).get("replicas") == replicas)
    for pod in seaway.list("pod", label_selector="app=web"):
        seaway.pod_ready(pod["metadata"]["name"])
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=10s").stdout
    assert re.search(r"^1\s", kubectl("rollout", "history", "deployment/web").stdout, re.MULTILINE)


# Deleting and waiting.


@covers("delete: --cascade=background, foreground, orphan; --now; --force; -l; --all", "ReplicaSet", "Pod", "Service")
@pytest.mark.parametrize(("cascade", "leaves"), [("background", False), ("foreground", False), ("orphan", True)])
def test_delete_cascades(kubectl: Kubectl, cascade: str, leaves: bool) -> None:
    kubectl("create", "configmap", "owner")
    uid = kubectl.get("cm", "owner")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "blockOwnerDeletion": True}
    meta = {"name": "owned", "ownerReferences": [owner]}
    kubectl.seaway.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    kubectl("delete", "cm", "owner", f"--cascade={cascade}")
    if leaves:
        kubectl.seaway.wait_for("cm", "owned", lambda obj: "ownerReferences" not in obj["metadata"])
    else:
        kubectl.seaway.wait_gone("cm", "owned")


@covers("delete: --now, --force, -l, --all, --ignore-not-found, --wait=false", "Pod", "Service")
def test_delete_in_its_forms(web: Kubectl) -> None:
    web("delete", "pod", "web-1", "--wait=false")
    assert web.get("pod", "web-1")["metadata"]["deletionTimestamp"]
    web("delete", "pod", "web-1", "--force", "--grace-period=0")
    web.seaway.wait_gone("pod", "web-1")
    assert "deleted" in web("delete", "svc", "-l", "tier=front").stdout
    web("create", "configmap", "one")
    web("delete", "cm", "one", "--now")
    assert web("delete", "svc", "web", "--ignore-not-found").stdout == ""
    assert "NotFound" in web("delete", "svc", "web", code=1).stderr
    web("create", "service", "clusterip", "last", "--tcp=80")
    assert '"last" deleted' in web("delete", "svc", "--all").stdout


@covers("delete namespace, with everything in it", "Namespace")
def test_delete_of_a_namespace_waits_for_its_end(kubectl: Kubectl) -> None:
    name = f"{kubectl.seaway.namespace}-inner"
    kubectl("create", "namespace", name)
    kubectl("-n", name, "create", "configmap", "inside")
    kubectl("delete", "namespace", name)
    assert "NotFound" in kubectl("get", "namespace", name, code=1).stderr


@covers("wait --for=condition, --for=delete", "Pod")
def test_wait(web: Kubectl) -> None:
    assert "condition met" in web("wait", "--for=condition=Ready", "pod/web-1", "--timeout=10s").stdout
    web.seaway.make_pod("web-2")
    waiting = subprocess.Popen(
        web.command("wait", "--for=condition=Ready", "pod/web-2", "--timeout=20s"),
        stdout=subprocess.PIPE, text=True, env=web.environment(),
    )  # fmt: skip
    web.seaway.pod_ready("web-2")
    assert "condition met" in waiting.communicate(timeout=30)[0]
    gone = subprocess.Popen(
        web.command("wait", "--for=delete", "pod/web-2", "--timeout=20s"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=web.environment(),
    )  # fmt: skip
    web.seaway.pod_gone("web-2")
    printed, _ = gone.communicate(timeout=30)
    assert gone.returncode == 0 or "not found" in printed or "no matching resources" in printed, printed
    assert "timed out" in web("wait", "--for=condition=Ready=False", "pod/web-1", "--timeout=1s", code=1).stderr


@covers("wait --for=jsonpath", "Service", since=(1, 23))
def test_wait_for_a_field(web: Kubectl) -> None:
    assert "condition met" in web("wait", "--for=jsonpath={.spec.type}=ClusterIP", "svc/web", "--timeout=10s").stdout


# Nodes.


@covers("cordon, uncordon, taint", "Node")
def test_cordon_and_taint(kubectl: Kubectl) -> None:
    name = f"{kubectl.seaway.namespace}-node"
    kubectl.seaway.make_node(name)
    assert kubectl("cordon", name).stdout == f"node/{name} cordoned\n"
    assert "Ready,SchedulingDisabled" in kubectl("get", "node", name).stdout
    kubectl("uncordon", name)
    assert kubectl("taint", "node", name, "key=value:NoSchedule").stdout == f"node/{name} tainted\n"
    assert {"key": "key", "value": "value", "effect": "NoSchedule"} in kubectl.get("node", name)["spec"]["taints"]
    assert kubectl("taint", "node", name, "key:NoSchedule-").stdout == f"node/{name} untainted\n"


@pytest.mark.xfail(get_version() < (1, 22), reason="it evicts with policy/v1beta1, which is not served", strict=True)
@covers("drain, with a disruption budget", "Node", "Pod", "PodDisruptionBudget")
def test_drain_evicts(kubectl: Kubectl) -> None:
    seaway = kubectl.seaway
    name = f"{seaway.namespace}-node"
    seaway.make_node(name)
    seaway.make_pod("web-1", ready=True, node=name)
    drain = ("drain", name, "--force", "--ignore-daemonsets", "--disable-eviction=false", "--grace-period=0")
    done = kubectl(*drain, "--timeout=20s")
    assert "drained" in done.stdout
    assert any(r.resource == "pods/eviction" and r.status == 201 for r in seaway.requests)
    seaway.wait_gone("pod", "web-1")


# Who may what.


@covers("auth can-i, --list, --as")
def test_auth_can_i(kubectl: Kubectl) -> None:
    alice = kubectl.as_user("alice")
    assert alice("auth", "can-i", "get", "services", code=1).stdout == "no\n"
    kubectl("create", "role", "reader", "--verb=get", "--resource=services")
    kubectl("create", "rolebinding", "alice", "--role=reader", "--user=alice")
    assert alice("auth", "can-i", "get", "services").stdout == "yes\n"
    assert "services" in alice("auth", "can-i", "--list").stdout
    assert kubectl("auth", "can-i", "get", "services", "--as=alice").stdout == "yes\n"
    assert kubectl("auth", "can-i", "delete", "services", "--as=alice", code=1).stdout == "no\n"


@covers("auth whoami", "SelfSubjectReview", since=(1, 28))  # 1.27 has it, for v1beta1
def test_auth_whoami(kubectl: Kubectl) -> None:
    shown = kubectl.as_user("alice", "readers")("auth", "whoami", "-o", "json").json
    info = shown["status"]["userInfo"]
    assert (info["username"], sorted(info["groups"])) == ("alice", ["readers", "system:authenticated"])


@covers("auth reconcile", "Role")
def test_auth_reconcile(kubectl: Kubectl) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    role |= {"metadata": {"name": "reader", "namespace": kubectl.seaway.namespace}}
    role |= {"rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}]}
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps(role)).stdout


@covers("create token", "ServiceAccount", since=(1, 24))
def test_create_token(kubectl: Kubectl) -> None:
    token = kubectl("create", "token", "default", "--duration=1h").stdout.strip()
    assert token.count(".") == 2
    shown = kubectl("--token", token, "--kubeconfig", os.devnull, "--server", kubectl.seaway.url,
                    "--certificate-authority", str(kubectl.seaway.ca_file), "get", "svc", code=1)  # fmt: skip
    assert f"system:serviceaccount:{kubectl.seaway.namespace}:default" in shown.stderr


@covers("a bearer token instead of a certificate", "Service")
def test_a_token_is_enough(web: Kubectl) -> None:
    server = ("--server", web.seaway.url, "--certificate-authority", str(web.seaway.ca_file))
    anonymous = ("--kubeconfig", os.devnull, "--token", web.seaway.token, "-n", web.seaway.namespace)
    done = web(*server, *anonymous, "get", "svc", "-o", "name")
    assert done.lines == ["service/web"]


@covers("denials say who, what, where", "Secret")
def test_a_denial(kubectl: Kubectl) -> None:
    refused = kubectl.as_user("alice")("get", "secrets", code=1).stderr
    where = f'in the namespace "{kubectl.seaway.namespace}"'
    assert f'User "alice" cannot list resource "secrets" in API group "" {where}' in refused


@covers("wrong credentials (says so)")
def test_wrong_credentials(kubectl: Kubectl) -> None:
    done = kubectl("--token", "wrong", "--kubeconfig", os.devnull, "--server", kubectl.seaway.url,
                   "--certificate-authority", str(kubectl.seaway.ca_file), "get", "svc", code=1)  # fmt: skip
    assert "You must be logged in to the server" in done.stderr
