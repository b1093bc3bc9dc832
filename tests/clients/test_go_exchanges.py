"""The conversations of Kubernetes' own programs with the API server, replayed.

Rule: spec "api-machinery" §13, row by row; Accept headers of §2.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from seaway.testing.fixture import Seaway
from tests.clients.exchanges import (
    AGGREGATED,
    BOOKMARK,
    COMPONENT,
    LIST,
    METADATA,
    METADATA_LIST,
    OLD_TYPED,
    PROTOBUF,
    TABLE,
    TYPED,
    WATCH_LIST,
    Answer,
    GoClient,
)

NOW = "2026-01-02T03:04:05.000000Z"


def check_watch_list(answer: Answer, *names: str) -> None:
    """The objects that are there, then the bookmark that says so, once."""
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    kinds = [kind for kind, _ in answer.events]
    marks = [o["metadata"] for kind, o in answer.events if kind == "BOOKMARK"]
    assert BOOKMARK in marks[0]["annotations"]
    assert int(marks[0]["resourceVersion"]) > 0
    before = [obj["metadata"]["name"] for kind, obj in answer.events[: kinds.index("BOOKMARK")]]
    assert set(names) <= set(before)
    assert set(kinds[: kinds.index("BOOKMARK")]) <= {"ADDED"}


def check_list_then_watch(client: GoClient, path: str, query: dict[str, str], *names: str) -> None:
    """LIST from memory, then a watch from its revision, which says nothing of what the list had."""
    listed = client.send("GET", path, {**query, **LIST})
    assert listed.status == 200
    assert set(names) <= {item["metadata"]["name"] for item in listed.json["items"]}
    version = listed.json["metadata"]["resourceVersion"]
    watch = {"allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": "1", "watch": "true"}
    watched = client.send("GET", path, {**query, **watch})
    assert watched.status == 200
    assert not set(names) & {obj["metadata"].get("name") for _, obj in watched.events}


def check_lists_then_watches(
    seaway: Seaway, agent: str, *informers: tuple[str, dict[str, str], tuple[str, ...]], token: str = ""
) -> None:
    """All informers of a program at once, as it starts them: each has a connection."""

    def run(informer: tuple[str, dict[str, str], tuple[str, ...]]) -> None:
        path, query, names = informer
        with GoClient(seaway, agent, COMPONENT, token=token) as client:
            check_list_then_watch(client, path, query, *names)

    with ThreadPoolExecutor(len(informers)) as threads:
        list(threads.map(run, informers))


@pytest.fixture
def web(seaway: Seaway) -> Seaway:
    """A Service with an endpoint, a headless one, and a node."""
    seaway.make_node(f"{seaway.namespace}-node")
    seaway.make_service("web")
    seaway.make_service("headless", clusterIP="None")
    seaway.make_pod("web-1", ready=True, node=f"{seaway.namespace}-node")
    seaway.wait_endpoints("web", {"web-1"})
    return seaway


@pytest.fixture
def proxy(web: Seaway) -> Iterator[GoClient]:
    user = web.user("system:kube-proxy")
    with GoClient(web, "kube-proxy/v1.36.1 (linux/amd64) kubernetes/abcdef0", COMPONENT, token=user.token) as client:
        yield client


@pytest.mark.covers("kube-proxy from 1.35", "start: WatchList", "Node", "ServiceCIDR", "EndpointSlice", "Service")
@pytest.mark.covers("kube-proxy from 1.35", "start: protobuf event", "Event (events.k8s.io)")
def test_kube_proxy(web: Seaway, proxy: GoClient) -> None:
    node = f"{web.namespace}-node"
    nodes = proxy.send("GET", "/api/v1/nodes", {"fieldSelector": f"metadata.name={node}", **WATCH_LIST})
    check_watch_list(nodes, node)
    check_watch_list(proxy.send("GET", "/apis/networking.k8s.io/v1/servicecidrs", WATCH_LIST), "kubernetes")
    headless = {"labelSelector": "!service.kubernetes.io/headless"}
    slices = proxy.send("GET", "/apis/discovery.k8s.io/v1/endpointslices", {**headless, **WATCH_LIST})
    check_watch_list(slices)
    owners = {obj["metadata"].get("labels", {}).get("kubernetes.io/service-name") for _, obj in slices.events}
    assert "web" in owners and "headless" not in owners
    selectors = {"labelSelector": "!service.kubernetes.io/service-proxy-name", "fieldSelector": "spec.clusterIP!=None"}
    services = proxy.send("GET", "/api/v1/services", {**selectors, **WATCH_LIST})
    check_watch_list(services, "web")
    assert "headless" not in {obj["metadata"].get("name") for _, obj in services.events}
    event: dict[str, Any] = {"apiVersion": "events.k8s.io/v1", "kind": "Event"}
    event |= {"metadata": {"name": f"{node}.1", "namespace": "default"}, "eventTime": NOW, "action": "StartKubeProxy"}
    event |= {"reportingController": "kube-proxy", "reportingInstance": f"kube-proxy-{node}", "reason": "Starting"}
    event |= {"regarding": {"kind": "Node", "name": node, "uid": node}, "type": "Normal"}
    posted = proxy.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", body=event)
    assert (posted.status, posted.json["kind"], posted.json["eventTime"]) == (201, "Event", NOW)


@pytest.mark.covers("kube-proxy before 1.35", "start: LIST and WATCH", "Service", "EndpointSlice", "Node")
def test_kube_proxy_of_old(web: Seaway) -> None:
    both = {"labelSelector": "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"}
    check_lists_then_watches(
        web,
        "kube-proxy/v1.32.4 (linux/amd64) kubernetes/59526cd",
        ("/api/v1/services", both, ("web",)),
        ("/apis/discovery.k8s.io/v1/endpointslices", both, ()),
        ("/api/v1/nodes", {"fieldSelector": f"metadata.name={web.namespace}-node"}, (f"{web.namespace}-node",)),
        token=web.user("system:kube-proxy").token,
    )


@pytest.mark.covers("CoreDNS", "start: LIST and WATCH", "Namespace", "Service", "EndpointSlice", "Pod")
def test_coredns(web: Seaway) -> None:
    phases = ",".join(f"status.phase!={phase}" for phase in ("Succeeded", "Failed", "Unknown"))
    check_lists_then_watches(
        web,
        "coredns/v0.0.0 (linux/amd64) kubernetes/$Format",
        ("/api/v1/namespaces", {}, (web.namespace,)),
        ("/api/v1/services", {}, ("web", "headless")),
        ("/apis/discovery.k8s.io/v1/endpointslices", {}, ()),
        ("/api/v1/pods", {"fieldSelector": phases}, ("web-1",)),
    )


@pytest.mark.covers("kube-controller-manager", "leader election", "Lease")
def test_controller_manager_leads(seaway: Seaway) -> None:
    with GoClient(seaway, "kube-controller-manager/v1.36.1 leader-election", COMPONENT) as client:
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{seaway.namespace}/leases"
        name, timeout = "kube-controller-manager", {"timeout": "5s"}
        missing = client.send("GET", f"{leases}/{name}", timeout)
        assert (missing.status, missing.json["reason"]) == (404, "NotFound")
        spec = {"holderIdentity": "a_1", "leaseDurationSeconds": 15, "acquireTime": NOW, "renewTime": NOW}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        lease["metadata"] = {"name": name, "namespace": seaway.namespace}
        made = client.send("POST", leases, timeout, body=lease)
        assert (made.status, made.json["spec"]["renewTime"]) == (201, NOW)
        renewed = {**made.json, "spec": {**spec, "renewTime": NOW.replace("05.", "06.")}}
        assert client.send("PUT", f"{leases}/{name}", timeout, body=renewed).status == 200
        assert client.send("PUT", f"{leases}/{name}", timeout, body=renewed).json["reason"] == "Conflict"


@pytest.mark.covers("kube-controller-manager", "health, discovery")
def test_controller_manager_looks_around(seaway: Seaway) -> None:
    with GoClient(seaway, "kube-controller-manager/v1.36.1", COMPONENT) as client:
        assert client.send("GET", "/healthz").body == b"ok"
        for path in ("/api", "/apis"):
            found = client.send("GET", path, accept=AGGREGATED)
            assert found.json["kind"] == "APIGroupDiscoveryList", path
            assert "as=APIGroupDiscoveryList" in found.headers["content-type"]


@pytest.mark.covers("kube-controller-manager", "service accounts and their tokens", "ServiceAccount", "TokenRequest")
def test_controller_manager_asks_for_tokens(seaway: Seaway) -> None:
    with GoClient(seaway, "kube-controller-manager/v1.36.1", COMPONENT) as client:
        accounts = f"/api/v1/namespaces/{seaway.namespace}/serviceaccounts"
        assert client.send("GET", f"{accounts}/endpoint-controller").status == 404
        meta = {"name": "endpoint-controller", "namespace": seaway.namespace}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
        assert client.send("POST", accounts, body=account).status == 201
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        made = client.send("POST", f"{accounts}/endpoint-controller/token", body=request)
        assert made.status == 201
        token = made.json["status"]["token"]
    with GoClient(seaway, "kube-controller-manager/v1.36.1", COMPONENT, token=token) as client:
        refused = client.send("GET", f"/api/v1/namespaces/{seaway.namespace}/services")
        assert f"system:serviceaccount:{seaway.namespace}:endpoint-controller" in refused.json["message"]


@pytest.mark.covers("kube-controller-manager", "informers: WatchList", "Pod", "Service", "Node", "EndpointSlice",
                    "Endpoints")  # fmt: skip
@pytest.mark.covers("kube-controller-manager", "protobuf writes", "EndpointSlice", "Endpoints", "Event")
def test_controller_manager_works(web: Seaway) -> None:
    with GoClient(web, "kube-controller-manager/v1.36.1 (linux/amd64) shared-informers", COMPONENT) as client:
        for path in ("/api/v1/pods", "/api/v1/services", "/api/v1/nodes", "/api/v1/endpoints"):
            check_watch_list(client.send("GET", path, WATCH_LIST))
        check_watch_list(client.send("GET", "/apis/discovery.k8s.io/v1/endpointslices", WATCH_LIST))
        own = {"namespace": web.namespace}
        piece: dict[str, Any] = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
        piece |= {"metadata": {"generateName": "web-", **own, "labels": {"kubernetes.io/service-name": "other"}}}
        piece |= {"endpoints": [{"addresses": ["192.0.2.8"], "conditions": {"ready": False}}]}
        piece |= {"ports": [{"name": "", "port": 80, "protocol": "TCP"}]}
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{web.namespace}/endpointslices"
        made = client.send("POST", slices, body=piece)
        assert made.status == 201
        assert made.json["endpoints"][0]["conditions"] == {"ready": False}
        name = made.json["metadata"]["name"]
        assert client.send("PUT", f"{slices}/{name}", body=made.json).status == 200
        gone = client.send("DELETE", f"{slices}/{name}")
        assert (gone.status, gone.json["kind"]) == (200, "Status")
        subset = {"addresses": [{"ip": "192.0.2.8"}], "ports": [{"port": 80, "protocol": "TCP"}]}
        ends = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "other", **own}, "subsets": [subset]}
        assert client.send("POST", f"/api/v1/namespaces/{web.namespace}/endpoints", body=ends).status == 201
        about = {"kind": "Endpoints", "name": "other", **own}
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "other.1", **own}, "involvedObject": about}
        event |= {"reason": "FailedToUpdateEndpoint", "message": "no", "type": "Warning", "count": 1}
        event |= {"firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:05Z"}
        assert client.send("POST", f"/api/v1/namespaces/{web.namespace}/events", body=event).status == 201


@pytest.mark.covers("kube-controller-manager", "metadata client", "Service")
def test_the_metadata_client_of_the_garbage_collector(web: Seaway) -> None:
    with GoClient(web, "kube-controller-manager/v1.36.1 metadata-informers", METADATA) as client:
        path = f"/api/v1/namespaces/{web.namespace}/services"
        one = client.send("GET", f"{path}/web").json
        assert (one["kind"], set(one)) == ("PartialObjectMetadata", {"kind", "apiVersion", "metadata"})
        many = client.send("GET", path, LIST, accept=METADATA_LIST).json
        assert many["kind"] == "PartialObjectMetadataList"
        watched = client.send("GET", path, WATCH_LIST)
        assert {obj["kind"] for _, obj in watched.events} == {"PartialObjectMetadata"}
        options = {"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        options["preconditions"] = {"uid": one["metadata"]["uid"]}
        gone = client.send("DELETE", f"{path}/web", body=options, media="application/json")
        assert gone.status == 200


@pytest.mark.covers("e2e.test", "BeforeSuite", "Node", "Pod", "Service")
def test_e2e_before_the_suite(web: Seaway) -> None:
    with GoClient(web, "e2e.test/v1.36.1 -- [It] before", COMPONENT) as client:
        schedulable = {"fieldSelector": "spec.unschedulable=false"}
        for query in ({**schedulable, "resourceVersion": "0"}, schedulable):
            items = client.send("GET", "/api/v1/nodes", query).json["items"]
            assert f"{web.namespace}-node" in {node["metadata"]["name"] for node in items}
        for path in ("/api/v1/namespaces/kube-system/replicationcontrollers", "/api/v1/namespaces/kube-system/pods",
                     "/apis/apps/v1/namespaces/kube-system/replicasets",
                     "/apis/apps/v1/namespaces/kube-system/daemonsets"):  # fmt: skip
            assert client.send("GET", path).status == 200, path
        assert client.send("GET", "/version").json["major"] == "1"


@pytest.mark.covers(
    "e2e.test", "each test: namespace, its defaults, its end", "Namespace", "ServiceAccount", "ConfigMap"
)
def test_e2e_each_test(seaway: Seaway) -> None:
    with GoClient(seaway, "e2e.test/v1.36.1 -- [It] each", COMPONENT) as client:
        name = f"{seaway.namespace}-services-1234"
        labels = {"e2e-framework": "services", "e2e-run": "run", "pod-security.kubernetes.io/enforce": "baseline"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        made = client.send("POST", "/api/v1/namespaces", body=body)
        assert (made.status, made.json["metadata"]["labels"]["e2e-run"]) == (201, "run")
        for kind, default in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
            query = {"fieldSelector": f"metadata.name={default}", **WATCH_LIST}
            seen = client.send("GET", f"/api/v1/namespaces/{name}/{kind}", query).events
            assert default in {obj["metadata"].get("name") for _, obj in seen}
        gone = client.send("DELETE", f"/api/v1/namespaces/{name}")
        assert (gone.json["kind"], gone.json["status"]["phase"]) == ("Namespace", "Terminating")
    seaway.wait_gone("namespace", name)


@pytest.mark.covers("kubectl 1.20 (recorded)", "get: discovery of every group, Table", "Service")
@pytest.mark.covers("kubectl 1.20 (recorded)", "OpenAPI v2 as protobuf")
def test_kubectl_of_old(web: Seaway) -> None:
    with GoClient(web, "kubectl/v1.20.2 (linux/amd64) kubernetes/faecb19", OLD_TYPED) as client:
        timeout = {"timeout": "32s"}
        assert client.send("GET", "/api", timeout).json["versions"] == ["v1"]
        groups = client.send("GET", "/apis", timeout).json["groups"]
        for group in groups:
            for version in group["versions"]:
                found = client.send("GET", f"/apis/{version['groupVersion']}", timeout).json
                assert found["kind"] == "APIResourceList"
        path = f"/api/v1/namespaces/{web.namespace}/services"
        table = client.send("GET", path, {"limit": "500"}, accept=TABLE).json
        assert (table["kind"], [row["cells"][0] for row in table["rows"]]) == ("Table", ["headless", "web"])
        openapi = client.send(
            "GET", "/openapi/v2", timeout, accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        )
        assert openapi.status == 200
        assert b"io.k8s.api.core.v1.Service" in openapi.body


@pytest.mark.covers("kubectl 1.37 (recorded)", "create service: protobuf", "Service")
@pytest.mark.covers("kubectl 1.37 (recorded)", "auth can-i, whoami: protobuf", "SelfSubjectAccessReview",
                    "SelfSubjectReview")  # fmt: skip
@pytest.mark.covers("kubectl 1.37 (recorded)", "wait: WatchList", "Service")
def test_kubectl_of_new(web: Seaway) -> None:
    with GoClient(web, "kubectl/v1.37.1 (linux/amd64) kubernetes/abcdef0", TYPED) as client:
        path = f"/api/v1/namespaces/{web.namespace}/services"
        query = {"fieldManager": "kubectl-create", "fieldValidation": "Strict"}
        port = {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}
        spec = {"ports": [port], "selector": {"app": "s1"}, "type": "ClusterIP"}
        meta = {"name": "s1", "labels": {"app": "s1"}}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
        made = client.send("POST", path, query, body=body)
        assert (made.status, made.json["spec"]["ports"][0]) == (201, port)
        review: dict[str, Any] = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        review["spec"] = {"resourceAttributes": {"namespace": web.namespace, "verb": "get", "resource": "services"}}
        answer = client.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        assert (answer.status, answer.json["status"]["allowed"]) == (201, True)
        who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = client.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=who)
        assert answer.json["status"]["userInfo"]["username"] == "kubernetes-admin"
        watched = client.send(
            "GET", path, {"fieldSelector": "metadata.name=s1", **WATCH_LIST}, accept="application/json"
        )
        check_watch_list(watched, "s1")


@pytest.mark.covers("kubectl 1.37 (recorded)", "CBOR is refused, so that JSON is sent from then on", "Service")
def test_cbor_is_refused_and_protobuf_is_not(web: Seaway) -> None:
    with GoClient(web, "dynamic/v1.37", TYPED) as client:
        path = f"/api/v1/namespaces/{web.namespace}/services"
        refused = client.send("POST", path, body=b"\xd9\xd9\xf7\xa0", media="application/cbor")
        assert (refused.status, refused.json["reason"]) == (415, "UnsupportedMediaType")
        assert PROTOBUF in refused.json["message"]


@pytest.mark.covers("client-go informers", "a revision that is gone: 410 as an event, LIST again", "Service")
def test_a_watch_that_is_too_old(web: Seaway) -> None:
    with GoClient(web, "informer/v1.36", COMPONENT) as client:
        web.fail_next(410, verb="watch", kind="service", namespace=web.namespace)
        path = f"/api/v1/namespaces/{web.namespace}/services"
        gone = client.send("GET", path, {"watch": "true", "resourceVersion": "1", "allowWatchBookmarks": "true"})
        ((kind, status),) = gone.events
        assert (gone.status, kind, status["code"], status["reason"]) == (200, "ERROR", 410, "Expired")
        check_list_then_watch(client, path, {}, "web")
