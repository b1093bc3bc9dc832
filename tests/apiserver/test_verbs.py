"""Requests and replies, verb by verb. Rule: spec "api-machinery" §1.3, §4, §9."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.testing.builders import make_pod, make_service, make_slice
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, talk

Json = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def config_map(name: str = "a", **meta: Any) -> Json:
    return {"metadata": {"name": name, **meta}, "data": {"k": "v"}}


def test_a_created_object_is_read_listed_and_deleted() -> None:
    async def conversation(ask: Conversation) -> None:
        created = await ask("POST", SERVICES, make_service())
        assert created.status == 201
        assert created.body["spec"]["clusterIP"].startswith("10.96.")
        read = await ask("GET", f"{SERVICES}/web")
        assert (read.status, read.body) == (200, created.body)
        assert read.headers["Cache-Control"] == "no-cache, private" and read.headers["Audit-Id"]
        listed = await ask("GET", SERVICES)
        assert listed.body["kind"] == "ServiceList" and listed.body["items"] == [created.body]
        assert listed.body["metadata"] == {"resourceVersion": created.body["metadata"]["resourceVersion"]}
        deleted = await ask("DELETE", f"{SERVICES}/web")
        assert deleted.status == 200 and deleted.body["kind"] == "Service"
        assert int(deleted.body["metadata"]["resourceVersion"]) > int(created.body["metadata"]["resourceVersion"])
        assert (await ask("GET", f"{SERVICES}/web")).status == 404
        assert (await ask("GET", SERVICES)).body["items"] == []

    talk(conversation)


def test_the_server_sets_what_is_the_servers() -> None:
    async def conversation(ask: Conversation) -> None:
        mine = {"uid": "x", "creationTimestamp": "2000-01-01T00:00:00Z", "deletionTimestamp": "2000-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": 3, "managedFields": [{"manager": "m"}], "selfLink": "/x"}  # fmt: skip
        meta = (await ask("POST", CONFIG_MAPS, config_map(**mine))).body["metadata"]
        assert meta.pop("resourceVersion") and meta.pop("uid") != "x"
        assert [entry["manager"] for entry in meta.pop("managedFields")] == ["unknown"]
        assert meta == {"name": "a", "namespace": "default", "creationTimestamp": "2026-01-02T12:00:00Z"}

    talk(conversation)


def test_a_name_is_generated_from_its_prefix() -> None:
    async def conversation(ask: Conversation) -> None:
        body = {"metadata": {"generateName": "p" * 70}}
        names = {(await ask("POST", CONFIG_MAPS, body)).body["metadata"]["name"] for _ in range(3)}
        assert len(names) == 3 and all(len(name) == 63 and name.startswith("p" * 58) for name in names)

    talk(conversation)


def test_a_write_that_changes_nothing_is_no_write() -> None:
    async def conversation(ask: Conversation) -> None:
        created = await ask("POST", SERVICES, make_service())
        again = await ask("PUT", f"{SERVICES}/web", created.body)
        assert again.body == created.body
        patched = await ask.patch(f"{SERVICES}/web", {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}})
        assert patched.body == created.body

    talk(conversation)


def test_put_keeps_what_it_may_not_change_and_patch_merges() -> None:
    async def conversation(ask: Conversation) -> None:
        created = (await ask("POST", SERVICES, make_service())).body
        replaced = (await ask("PUT", f"{SERVICES}/web", make_service(ports=[{"port": 81}]))).body
        assert replaced["metadata"]["uid"] == created["metadata"]["uid"]
        assert replaced["spec"]["clusterIP"] == created["spec"]["clusterIP"]
        assert replaced["spec"]["ports"] == [{"port": 81, "protocol": "TCP", "targetPort": 81}]
        merged = await ask.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})
        assert merged.body["metadata"]["labels"] == {"a": "b"}
        operation = {"op": "replace", "path": "/spec/ports/0/port", "value": 82}
        assert (await ask.patch(f"{SERVICES}/web", [operation], kind="json-patch+json")).body["spec"]["ports"][0][
            "port"
        ] == 82
        ports = {"spec": {"ports": [{"port": 83, "name": "new"}, {"port": 82, "name": "old"}]}}
        strategic = await ask.patch(f"{SERVICES}/web", ports, kind="strategic-merge-patch+json")
        assert [port["name"] for port in strategic.body["spec"]["ports"]] == ["new", "old"]

    talk(conversation)


def test_put_creates_where_the_kind_allows_it() -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("PUT", f"{SERVICES}/web", make_service())).status == 201
        assert (await ask("PUT", f"{SERVICES}/web", make_service())).status == 200
        assert (await ask("PUT", f"{CONFIG_MAPS}/a", config_map())).status == 404
        assert (await ask.patch(f"{SERVICES}/none", {})).status == 404

    talk(conversation)


def test_the_status_subresource_changes_the_status_alone_and_the_object_keeps_it() -> None:
    async def conversation(ask: Conversation) -> None:
        pod = (await ask("POST", PODS, make_pod())).body
        pod["status"] = {"phase": "Running", "podIP": "10.244.0.9"}
        pod["spec"]["nodeName"] = "elsewhere"
        written = (await ask("PUT", f"{PODS}/web-1/status", pod)).body
        assert written["status"]["podIP"] == "10.244.0.9" and "nodeName" not in written["spec"]
        labelled = (
            await ask.patch(f"{PODS}/web-1", {"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Failed"}})
        ).body
        assert labelled["status"]["phase"] == "Running"
        assert (await ask("GET", f"{PODS}/web-1/status")).body == labelled

    talk(conversation)


def test_generation_follows_the_specification_of_kinds_that_count() -> None:
    async def conversation(ask: Conversation) -> None:
        created = (await ask("POST", SLICES, make_slice("s", "web", ["10.0.0.1"]))).body
        assert created["metadata"]["generation"] == 1
        annotated = await ask.patch(f"{SLICES}/s", {"metadata": {"annotations": {"a": "b"}}})
        assert annotated.body["metadata"]["generation"] == 1
        moved = await ask.patch(f"{SLICES}/s", {"endpoints": [{"addresses": ["10.0.0.2"]}]})
        assert moved.body["metadata"]["generation"] == 2
        assert "generation" not in (await ask("POST", SERVICES, make_service())).body["metadata"]

    talk(conversation)


def test_a_binding_gives_the_pod_its_node_once() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod())
        binding = {"metadata": {"name": "web-1"}, "target": {"kind": "Node", "name": "n1"}}
        bound = await ask("POST", f"{PODS}/web-1/binding", binding)
        assert (bound.status, bound.body["status"]) == (201, "Success")
        pod = (await ask("GET", f"{PODS}/web-1")).body
        assert pod["spec"]["nodeName"] == "n1"
        assert {"type": "PodScheduled", "status": "True"}.items() <= pod["status"]["conditions"][-1].items()
        again = await ask("POST", f"{PODS}/web-1/binding", binding)
        assert again.status == 409
        why = 'pod web-1 is already assigned to node "n1"'
        assert again.message == f'Operation cannot be fulfilled on pods/binding "web-1": {why}'

    talk(conversation)


def test_a_dry_run_answers_and_leaves_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        tried = await ask("POST", f"{SERVICES}?dryRun=All", make_service())
        assert tried.status == 201 and "resourceVersion" not in tried.body["metadata"]
        assert (await ask("GET", SERVICES)).body["items"] == []
        assert (await ask("GET", "/apis/networking.k8s.io/v1/ipaddresses")).body["items"] == []
        created = (await ask("POST", SERVICES, make_service())).body
        assert (await ask("POST", f"{SERVICES}?dryRun=All", make_service())).status == 409
        update = await ask("PUT", f"{SERVICES}/web?dryRun=All", make_service(ports=[{"port": 90}]))
        assert update.body["spec"]["ports"][0]["port"] == 90
        assert update.body["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
        assert (await ask("DELETE", f"{SERVICES}/web?dryRun=All")).body == created
        assert (await ask("GET", f"{SERVICES}/web")).body == created

    talk(conversation)


def test_answers_come_as_table_metadata_yaml_and_indented() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service())
        table = (await ask("GET", SERVICES, headers=TABLE)).body
        assert table["kind"] == "Table" and table["rows"][0]["cells"][:2] == ["web", "ClusterIP"]
        assert (await ask("GET", f"{SERVICES}/web", headers=TABLE)).body["rows"][0]["cells"][0] == "web"
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        partial = (await ask("GET", SERVICES, headers={"accept": accept})).body
        assert partial["kind"] == "PartialObjectMetadataList" and set(partial["items"][0]) == {
            "kind",
            "apiVersion",
            "metadata",
        }
        as_yaml = await ask("GET", f"{SERVICES}/web", headers={"accept": "application/yaml"})
        assert as_yaml.headers["Content-Type"] == "application/yaml" and b"\nkind: Service\n" in as_yaml.text
        await ask("POST", CONFIG_MAPS, {**config_map(), "data": {"k": "y", "e": "1e3"}})
        texts = await ask("GET", f"{CONFIG_MAPS}/a", headers={"accept": "application/yaml"})
        assert texts.text.startswith(b"apiVersion: v1\ndata:\n  e: '1e3'\n  k: 'y'\nkind: ConfigMap\n")
        pretty = await ask("GET", f"{SERVICES}/web", headers={"user-agent": "curl/8"})
        assert pretty.text.startswith(b'{\n  "kind"') and b"\n  " not in (await ask("GET", f"{SERVICES}/web")).text

    talk(conversation)


def test_a_big_answer_is_compressed_when_asked() -> None:
    async def conversation(ask: Conversation) -> None:
        for index in range(3):
            await ask("POST", CONFIG_MAPS, {**config_map(f"c{index}"), "data": {"k": "x" * 60_000}})
        plain = await ask("GET", CONFIG_MAPS)
        packed = await ask("GET", CONFIG_MAPS, headers={"accept-encoding": "gzip, deflate"})
        assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Vary"] == "Accept-Encoding"
        assert json.loads(gzip.decompress(packed.text)) == plain.body
        small = await ask("GET", f"{CONFIG_MAPS}/c1", headers={"accept-encoding": "gzip"})
        assert "Content-Encoding" not in small.headers

    talk(conversation)


def test_unknown_fields_warn_or_fail_as_asked() -> None:
    async def conversation(ask: Conversation) -> None:
        odd = {**config_map(), "colour": "red"}
        strict = await ask("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", odd)
        assert strict.status == 400 and 'strict decoding error: unknown field "colour"' in strict.message
        warned = await ask("POST", CONFIG_MAPS, odd)
        assert warned.status == 201 and warned.headers["Warning"] == '299 - "unknown field \\"colour\\""'
        ignored = await ask("POST", f"{CONFIG_MAPS}?fieldValidation=Ignore", {**config_map("b"), "colour": "red"})
        assert "Warning" not in ignored.headers
        patched = await ask("PATCH", f"{CONFIG_MAPS}/a?fieldValidation=Strict", {"colour": "red"},
                            headers={"content-type": "application/merge-patch+json"})  # fmt: skip
        assert patched.status == 422 and 'unknown field "colour"' in patched.message

    talk(conversation)


def test_a_lease_wants_its_version_in_a_put() -> None:
    async def conversation(ask: Conversation) -> None:
        lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
        created = (await ask("POST", LEASES, lease)).body
        refused = await ask("PUT", f"{LEASES}/l", lease)
        assert refused.message == (
            'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
            "must be specified for an update"
        )
        created["spec"]["holderIdentity"] = "b"
        assert (await ask("PUT", f"{LEASES}/l", created)).status == 200
        assert (await ask("PUT", f"{LEASES}/l", created)).status == 409
        assert (await ask.patch(f"{LEASES}/l", {"spec": {"holderIdentity": "c"}})).status == 200

    talk(conversation)


def test_rbac_decides_from_what_is_stored() -> None:
    ann = Identity("ann", ("system:authenticated",))
    role = {"metadata": {"name": "see"}, "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["services"]}]}
    bound = {
        "metadata": {"name": "see"},
        "subjects": [{"kind": "User", "name": "ann"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "see"},
    }

    async def conversation(ask: Conversation) -> None:
        assert (await ask("GET", SERVICES, identity=ann)).status == 403
        assert (await ask("POST", ROLES, role)).status == 201
        assert (await ask("POST", f"{ROLES.removesuffix('s')}bindings", bound)).status == 201
        assert (await ask("GET", SERVICES, identity=ann)).status == 200
        await ask("DELETE", f"{ROLES}/see")
        refused = await ask("GET", SERVICES, identity=ann)
        assert refused.message.endswith(': RBAC: clusterrole.rbac.authorization.k8s.io "see" not found')
        assert (await ask("GET", SERVICES, identity=ANONYMOUS)).status == 403

    talk(conversation)


def test_nobody_grants_what_they_do_not_hold() -> None:
    loops = Identity("system:kube-controller-manager", ("system:authenticated",))

    async def conversation(ask: Conversation) -> None:
        await ask("POST", ROLES, {"metadata": {"name": "r"}, "rules": []})
        more = {"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
        headers = {"content-type": "application/merge-patch+json"}
        refused = await ask("PATCH", f"{ROLES}/r", more, identity=loops, headers=headers)
        assert refused.status == 403
        assert "is attempting to grant RBAC permissions not currently held" in refused.message
        less = {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["services"]}]}
        assert (await ask("PATCH", f"{ROLES}/r", less, identity=loops, headers=headers)).status == 200

    talk(conversation)


def test_impersonation_needs_the_right_and_takes_the_others_place() -> None:
    async def conversation(ask: Conversation) -> None:
        as_ann = {"impersonate-user": "ann"}
        refused = await ask("GET", SERVICES, headers=as_ann)
        assert 'User "ann" cannot list' in refused.message
        ben = Identity("ben", ("system:authenticated",))
        assert (
            'User "ben" cannot impersonate-on:user-info:list resource "services"'
            in (await ask("GET", SERVICES, headers=as_ann, identity=ben)).message
        )
        groups = {**as_ann, "impersonate-group": "x\nsystem:masters"}
        assert (await ask("GET", SERVICES, headers=groups)).status == 200
        assert (await ask("GET", SERVICES, headers={"impersonate-group": "x"})).status == 400

    talk(conversation)


NODE = Identity("system:node:n1", ("system:authenticated", "system:nodes"))


def test_a_node_touches_what_is_its_own() -> None:
    async def conversation(ask: Conversation) -> None:
        for name, node in (("mine", "n1"), ("other", "n2")):
            await ask("POST", PODS, make_pod(name, nodeName=node))
        headers = {"content-type": "application/merge-patch+json"}
        status = {"status": {"phase": "Running"}}
        assert (await ask("PATCH", f"{PODS}/mine/status", status, identity=NODE, headers=headers)).status == 200
        refused = await ask("PATCH", f"{PODS}/other/status", status, identity=NODE, headers=headers)
        assert refused.status == 403
        assert "can only update pod status for pods with spec.nodeName set to itself" in refused.message
        assert (await ask("DELETE", f"{PODS}/other", identity=NODE)).status == 403
        for name, code in (("n1", 201), ("n2", 403)):
            assert (await ask("POST", "/api/v1/nodes", {"metadata": {"name": name}}, identity=NODE)).status == code
            leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
            lease = {"metadata": {"name": name}, "spec": {"holderIdentity": name}}
            assert (await ask("POST", leases, lease, identity=NODE)).status == code
        assert (await ask("POST", LEASES, {"metadata": {"name": "n1"}}, identity=NODE)).status == 403

    talk(conversation)


def test_a_node_reads_the_secrets_of_its_pods_alone() -> None:
    secrets = "/api/v1/namespaces/default/secrets"

    async def conversation(ask: Conversation) -> None:
        for name in ("used", "unused"):
            await ask("POST", secrets, {"metadata": {"name": name}})
        volume = {"name": "v", "secret": {"secretName": "used"}}
        await ask("POST", PODS, make_pod("mine", nodeName="n1", volumes=[volume]))
        assert (await ask("GET", f"{secrets}/used", identity=NODE)).status == 200
        assert (await ask("GET", f"{secrets}/unused", identity=NODE)).status == 403
        assert (await ask("GET", secrets, identity=NODE)).status == 403

    talk(conversation)


def test_the_service_takes_its_endpoints_with_it() -> None:
    endpoints = "/api/v1/namespaces/default/endpoints"

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service())
        await ask("POST", endpoints, {"metadata": {"name": "web"}})
        await ask("DELETE", f"{SERVICES}/web")
        assert (await ask("GET", f"{endpoints}/web")).status == 404

    talk(conversation)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/api", "application/json"),
        ("/apis", "application/json"),
        ("/api/v1", "application/json"),
        ("/version", "application/json"),
        ("/openapi/v3", ""),
        ("/healthz", "text/plain"),
        ("/readyz/ping", "text/plain"),
        ("/metrics", "text/plain"),
    ],
)
def test_paths_that_are_no_resources(path: str, content_type: str) -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("GET", path)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(content_type)

    talk(conversation)


def test_readiness_fails_before_the_end_and_says_why() -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("GET", "/readyz")).text == b"ok"
        ask.server.stop_accepting()
        answer = await ask("GET", "/readyz")
        assert answer.status == 500
        assert b"[-]shutdown failed: reason withheld\nreadyz check failed\n" in answer.text
        assert (await ask("GET", "/livez")).status == 200
        assert (await ask("GET", "/readyz?exclude=shutdown")).status == 200

    talk(conversation)


def test_metrics_count_requests_by_known_labels() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("GET", f"{SERVICES}/none")
        await ask("GET", "/api/v1/strange")
        text = (await ask("GET", "/metrics")).text.decode()
        labels = 'verb="GET",dry_run="",group="",version="v1",resource="services",subresource="",scope="resource"'
        assert f'apiserver_request_total{{{labels},component="apiserver",code="404"}} 1\n' in text
        assert 'apiserver_storage_objects{resource="namespaces"} 4\n' in text
        assert 'apiserver_resource_objects{group="",resource="namespaces"} 4\n' in text
        assert "strange" not in text

    talk(conversation)
