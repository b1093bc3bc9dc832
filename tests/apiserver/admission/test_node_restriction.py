"""A node writes what is its own and reads what its Pods use. Rule: spec "api-machinery" §10.4; design §12."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.rbac import Attributes
from seaway.apiserver.admission.noderestriction import find_pod_uses, find_write_refusal
from seaway.apiserver.record import encode_object
from seaway.testing.builders import make_pod
from tests.apiserver.conversation import Conversation, Json, talk

NODE = Identity("system:node:n1", ("system:authenticated", "system:nodes"))
OTHER = Identity("system:node:n2", ("system:authenticated", "system:nodes"))
BASE = "/api/v1/namespaces/default"
OWN = 'node "n1"'


def node(name: str = "n1", *, labels: Json | None = None, taints: list[Json] | None = None, **meta: Any) -> Json:
    return {"metadata": {"name": name, "labels": labels or {}, **meta}, "spec": {"taints": taints or []}}


def pod(node_name: str = "n1", *, labels: Json | None = None, mirror: bool = False, **spec: Any) -> Json:
    annotations = {"annotations": {"kubernetes.io/config.mirror": "x"}} if mirror else {}
    return make_pod("p", labels=labels, meta=annotations, nodeName=node_name, **spec)


def nodes(verb: str, name: str = "n1", subresource: str = "") -> Attributes:
    return Attributes(verb, "", "nodes", subresource, "", name)


def pods(verb: str, subresource: str = "") -> Attributes:
    return Attributes(verb, "", "pods", subresource, "default", "" if verb == "create" and not subresource else "p")


def leases(verb: str, namespace: str = "kube-node-lease", name: str = "n1") -> Attributes:
    return Attributes(verb, "coordination.k8s.io", "leases", "", namespace, name)


ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
SECRET_VOLUME = {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}
WRITES = [
    ("its own Node, made", nodes("create", ""), None, node(), None),
    ("another Node, made", nodes("create", ""), None, node("n2"), f'{OWN} is not allowed to modify node "n2"'),
    ("its own Node", nodes("patch"), node(), node(), None),
    ("its own Node's status", nodes("update", "n1", "status"), node(), node(), None),
    ("another Node", nodes("patch", "n2"), node("n2"), node("n2"), f'{OWN} is not allowed to modify node "n2"'),
    ("labels that agents set", nodes("patch"), node(), node(labels={ZONE: "a", HOST: "n1"}), None),
    ("labels of the kubelet's own domain", nodes("patch"), node(), node(labels={"a.kubelet.kubernetes.io/x": ""}),
     None),
    ("labels of nodes' own domain", nodes("patch"), node(), node(labels={"node.kubernetes.io/x": ""}), None),
    ("labels of nobody's domain", nodes("patch"), node(), node(labels={"x": "", "example.com/y": ""}), None),
    ("a guarded label, added", nodes("patch"), node(), node(labels={"node-restriction.kubernetes.io/x": ""}),
     f"{OWN} is not allowed to modify labels: node-restriction.kubernetes.io/x"),
    ("guarded labels, changed and removed", nodes("update"),
     node(labels={"k8s.io/a": "1", "x.k8s.io/b": "1"}), node(labels={"k8s.io/a": "2"}),
     f"{OWN} is not allowed to modify labels: k8s.io/a, x.k8s.io/b"),
    ("a guarded label, kept", nodes("update"), node(labels={"kubernetes.io/role": "x"}),
     node(labels={"kubernetes.io/role": "x", "y": ""}), None),
    ("a guarded label at its birth", nodes("create", ""), None, node(labels={"node-role.kubernetes.io/master": ""}),
     f"{OWN} is not allowed to set the following labels: node-role.kubernetes.io/master"),
    ("a domain that only ends alike is free", nodes("patch"), node(), node(labels={"notk8s.io/x": ""}), None),
    ("taints at its birth", nodes("create", ""), None, node(taints=[{"key": "a"}]), None),
    ("taints later", nodes("patch"), node(taints=[{"key": "a"}]), node(), f"{OWN} is not allowed to modify taints"),
    ("an owner, by which it could be deleted", nodes("patch"), node(), node(ownerReferences=[{"uid": "u"}]),
     f"{OWN} is not allowed to modify ownerReferences"),
    ("its own Pod's status", pods("patch", "status"), pod(), pod(), None),
    ("another's Pod's status", pods("patch", "status"), pod("n2"), pod("n2"),
     f"{OWN} can only update pod status for pods with spec.nodeName set to itself"),
    ("a Pod's status that says it is ours now", pods("patch", "status"), pod("n2"), pod("n1"),
     f"{OWN} can only update pod status for pods with spec.nodeName set to itself"),
    ("labels by way of the status", pods("patch", "status"), pod(), pod(labels={"app": "web"}),
     f"{OWN} cannot update labels through pod status"),
    ("its own Pod, ended", pods("delete"), pod(), None, None),
    ("another's Pod, ended", pods("delete"), pod("n2"), None,
     f"{OWN} can only delete pods with spec.nodeName set to itself"),
    ("a Pod of no node, ended", pods("delete"), pod(""), None,
     f"{OWN} can only delete pods with spec.nodeName set to itself"),
    ("another's Pod, evicted", pods("create", "eviction"), pod("n2"), None,
     f"{OWN} can only evict pods with spec.nodeName set to itself"),
    ("its own Pod, evicted", pods("create", "eviction"), pod(), None, None),
    ("a Pod, made", pods("create"), None, pod(),
     f'pod does not have "kubernetes.io/config.mirror" annotation, {OWN} can only create mirror pods'),
    ("a mirror Pod, made", pods("create"), None, pod(mirror=True), None),
    ("a mirror Pod for another node", pods("create"), None, pod("n2", mirror=True),
     f"{OWN} can only create pods with spec.nodeName set to itself"),
    ("a mirror Pod that would let it read a Secret", pods("create"), None, pod(mirror=True, **SECRET_VOLUME),
     f"{OWN} can not create pods that reference secrets"),
    ("its Lease", leases("update"), None, None, None),
    ("its Lease, made", leases("create", name=""), None, {"metadata": {"name": "n1"}}, None),
    ("another's Lease", leases("update", name="n2"), None, None,
     "can only access node lease with the same name as the requesting node"),
    ("a Lease elsewhere", leases("update", "default"), None, None,
     'can only access leases in the "kube-node-lease" system namespace'),
    ("Events are not restricted", Attributes("create", "", "events", "", "default"), None, {"metadata": {}}, None),
    ("reading is not writing", nodes("get", "n2"), None, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "old", "new", "refusal"), [row[1:] for row in WRITES], ids=[r[0] for r in WRITES])
def test_what_a_node_writes(asked: Attributes, old: Json | None, new: Json | None, refusal: str | None) -> None:
    assert find_write_refusal("n1", asked, old, new) == refusal


def container(**fields: Any) -> Json:
    return {"containers": [{"name": "c", **fields}]}


SECRET, MAP = ("secrets", "s"), ("configmaps", "m")
ACCOUNT = ("serviceaccounts", "default")
USES = [
    ("a Secret as a volume", SECRET_VOLUME, {SECRET}),
    ("a ConfigMap as a volume", {"volumes": [{"name": "v", "configMap": {"name": "m"}}]}, {MAP}),
    ("parts of a projected volume",
     {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "m"}}]}}]},
     {SECRET, MAP}),
    ("variables", container(env=[
        {"name": "a", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "b", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]), {SECRET, MAP}),
    ("all variables of one", container(envFrom=[{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "m"}}]),
     {SECRET, MAP}),
    ("init containers", {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]}, {SECRET}),
    ("ephemeral containers", {"ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "s"}}]}]},
     {SECRET}),
    ("pull secrets", {"imagePullSecrets": [{"name": "s"}]}, {SECRET}),
    ("volumes that others serve", {"volumes": [{"name": "v", "cephfs": {"secretRef": {"name": "s"}}}]}, {SECRET}),
    ("CSI volumes", {"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "s"}}}]}, {SECRET}),
    ("its account", {"serviceAccountName": "robot"}, {("serviceaccounts", "robot")}),
    ("a name that merely stands somewhere", container(args=["s", "m"], image="s"), set()),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "uses"), [row[1:] for row in USES], ids=[row[0] for row in USES])
def test_what_a_pod_uses(spec: Json, uses: set[tuple[str, str]]) -> None:
    own = set() if "serviceAccountName" in spec else {ACCOUNT}
    assert find_pod_uses(encode_object({"metadata": {"name": "p"}, "spec": spec})).objects == uses | own


async def fill(ask: Conversation) -> None:
    for name in ("used", "unused"):
        await ask("POST", f"{BASE}/secrets", {"metadata": {"name": name}})
        await ask("POST", f"{BASE}/configmaps", {"metadata": {"name": name}})
        await ask("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": name}})
    volumes = [
        {"name": "a", "secret": {"secretName": "used"}},
        {"name": "b", "configMap": {"name": "used"}},
        {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
    ]
    labels = {"note": "unused"}
    mine = make_pod("mine", labels=labels, nodeName="n1", volumes=volumes, serviceAccountName="used")
    assert (await ask("POST", f"{BASE}/pods", mine)).status == 201


@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
def test_a_node_reads_by_name_what_its_pods_use(plural: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask)
        one, all_of_one = f"{BASE}/{plural}/used", f"{BASE}/{plural}?fieldSelector=metadata.name%3Dused"
        for target in (one, all_of_one):
            assert (await ask("GET", target, identity=NODE)).status == 200
            assert (await ask("GET", target, identity=OTHER)).status == 403
        refused = await ask("GET", f"{BASE}/{plural}/unused", identity=NODE)
        assert refused.message == (
            f'{plural} "unused" is forbidden: User "system:node:n1" cannot get resource "{plural}" in API group "" in '
            "the namespace \"default\": no relationship found between node 'n1' and this object"
        )
        for target, why in (
            (f"{BASE}/{plural}", "No Object name found"),
            (f"/api/v1/{plural}", "No Object name found"),
            (f"/api/v1/{plural}?fieldSelector=metadata.name%3Dused", "can only read namespaced object"),
        ):
            refused = await ask("GET", target, identity=NODE)
            assert refused.status == 403 and why in refused.message
        for method in ("PUT", "DELETE"):
            assert (await ask(method, one, {}, identity=NODE)).status == 403

    talk(conversation)


def test_what_a_pod_used_is_closed_with_the_pods_end() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask)
        await ask("DELETE", f"{BASE}/pods/mine", {"gracePeriodSeconds": 0})
        assert (await ask("GET", f"{BASE}/secrets/used", identity=NODE)).status == 403

    talk(conversation)


def token_request(uid: str, *audiences: str, kind: str = "Pod", name: str = "mine") -> Json:
    reference = {"kind": kind, "apiVersion": "v1", "name": name, **({"uid": uid} if uid else {})}
    return {"spec": {"boundObjectRef": reference, **({"audiences": list(audiences)} if audiences else {})}}


def test_a_node_gets_tokens_for_its_own_pods_alone() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask)
        other = await ask("POST", f"{BASE}/pods", make_pod("other", nodeName="n2", serviceAccountName="used"))
        mine = (await ask("GET", f"{BASE}/pods/mine")).body["metadata"]["uid"]
        used = f"{BASE}/serviceaccounts/used/token"
        for body in (token_request(mine), token_request(mine, "vault")):
            assert (await ask("POST", used, body, identity=NODE)).status == 201
        for path, body, why in (
            (f"{BASE}/serviceaccounts/unused/token", token_request(mine), "no relationship found"),
            (used, {}, "node requested token not bound to a pod"),
            (used, token_request(""), "node requested token with a pod binding without a uid"),
            (used, token_request(other.body["metadata"]["uid"], name="other"),
             "node requested token bound to a pod scheduled on a different node"),
            (used, token_request(mine, "bank"), 'audience "bank" not found in pod spec volume'),
            (used, token_request(mine, "vault", "bank"), 'audience "bank" not found in pod spec volume'),
        ):  # fmt: skip
            reply = await ask("POST", path, body, identity=NODE)
            assert reply.status == 403 and why in reply.message, reply.message
        assert (await ask("POST", used, token_request(mine), identity=OTHER)).status == 403

    talk(conversation)


def test_a_review_knows_what_a_nodes_pods_use() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask)
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        for name, allowed in (("used", True), ("unused", False)):
            about = {"verb": "get", "resource": "secrets", "namespace": "default", "name": name}
            spec = {"user": NODE.user, "groups": list(NODE.groups), "resourceAttributes": about}
            assert (await ask("POST", path, {"spec": spec})).body["status"]["allowed"] is allowed

    talk(conversation)


def test_an_eviction_that_is_refused_has_touched_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        await fill(ask)
        before = (await ask("GET", f"{BASE}/pods/mine")).body
        eviction = {"metadata": {"name": "mine"}}
        refused = await ask("POST", f"{BASE}/pods/mine/eviction", eviction, identity=OTHER)
        assert refused.status == 403 and "can only evict pods with spec.nodeName set to itself" in refused.message
        assert (await ask("GET", f"{BASE}/pods/mine")).body == before
        assert (await ask("POST", f"{BASE}/pods/mine/eviction", eviction, identity=NODE)).status == 201

    talk(conversation)
