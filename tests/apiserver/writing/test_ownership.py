"""Field ownership as clients see it: managedFields and server-side apply.

Rule: spec "api-machinery" §5.5, §4.4, §1.4.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.testing.builders import make_pod, make_service, make_slice
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
WEB, A = f"{SERVICES}/web", f"{CONFIG_MAPS}/a"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
APPLY = {"content-type": "application/apply-patch+yaml"}
PORT = 'k:{"port":80,"protocol":"TCP"}'
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def config_map(data: Json | None = None, **meta: Any) -> Json:
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **meta}}
    return body if data is None else {**body, "data": data}


def service(**spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


async def apply(ask: Conversation, target: str, config: Json | bytes, manager: str, *options: str) -> Reply:
    query = "&".join((f"fieldManager={manager}", *options))
    return await ask("PATCH", f"{target}?{query}", config, headers=APPLY)


def owners(obj: Json) -> dict[str, Json]:
    """`manager operation[ subresource]` to its fields; the order is the server's."""
    return {
        " ".join(filter(None, (entry["manager"], entry["operation"], entry.get("subresource", "")))): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
    }


def data_of(*keys: str, whole: bool = False) -> Json:
    return {"f:data": ({".": {}} if whole else {}) | {f"f:{key}": {} for key in keys}}


# Plain writes.


def test_a_create_owns_what_was_sent_and_defaulted_and_nothing_that_was_allocated() -> None:
    async def conversation(ask: Conversation) -> None:
        body = make_service(type="NodePort", ports=[{"port": 80, "targetPort": "http"}], meta={"labels": {"a": "b"}})
        made = await ask("POST", f"{SERVICES}?fieldManager=kubectl-create", body)
        assert made.body["metadata"]["managedFields"] == [
            {
                "manager": "kubectl-create",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-01-02T12:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                    "f:spec": {
                        "f:externalTrafficPolicy": {},
                        "f:internalTrafficPolicy": {},
                        "f:ports": {
                            ".": {},
                            PORT: {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}},
                        },
                        "f:selector": {},
                        "f:sessionAffinity": {},
                        "f:type": {},
                    },
                },
            }
        ]
        assert made.body["spec"]["clusterIP"] and made.body["spec"]["ports"][0]["nodePort"]

    talk(conversation)


def test_the_fields_of_a_slice_are_few_because_its_lists_are_atomic() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SLICES, make_slice("web-x", "web", ["10.0.0.1", "10.0.0.2"]))
        (fields,) = owners(made.body).values()
        assert fields["f:endpoints"] == fields["f:ports"] == fields["f:addressType"] == {}

    talk(conversation)


def test_the_fields_of_a_pod_are_those_of_upstream() -> None:
    async def conversation(ask: Conversation) -> None:
        body = make_pod("web", labels={"run": "web"})
        made = await ask("POST", "/api/v1/namespaces/default/pods?fieldManager=kubectl-run", body)
        fields = owners(made.body)["kubectl-run Update"]
        assert fields["f:metadata"] == {"f:labels": {".": {}, "f:run": {}}}
        assert set(fields["f:spec"]) >= {"f:containers", "f:dnsPolicy", "f:restartPolicy"}
        ((key, container),) = fields["f:spec"]["f:containers"].items()  # the list itself is always there: no "."
        assert key == 'k:{"name":"main"}'
        assert container.items() >= {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}.items()
        assert "f:status" not in fields, "a create has no say in the status"

    talk(conversation)


@pytest.mark.parametrize(
    ("query", "agent", "manager"),
    [
        pytest.param("?fieldManager=m", "kubectl/v1.36.0", "m", id="the manager is what the client calls itself"),
        pytest.param("", "kube-controller-manager/v1.36.0 (linux)", "kube-controller-manager", id="or its program"),
        pytest.param("", "OpenAPI-Generator/37.0.2/python", "OpenAPI-Generator", id="up to the first slash"),
        pytest.param("", "bad\u200bname/1", "badname", id="without what cannot be printed"),
        pytest.param("", "x" * 200, "x" * 128, id="cut to 128 bytes"),
        pytest.param("", "", "unknown", id="or nobody that is known"),
    ],
)
def test_the_name_of_the_writer(query: str, agent: str, manager: str) -> None:
    async def conversation(ask: Conversation) -> None:
        headers = {"user-agent": agent} if agent else {}
        made = await ask("POST", CONFIG_MAPS + query, config_map({"k": "v"}), headers=headers)
        assert list(owners(made.body)) == [f"{manager} Update"]

    talk(conversation)


def test_an_update_takes_what_it_changes_and_only_that() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1", "l": "1", "m": "1"}))
        await ask.effects.advance(5)
        after = await ask("PUT", f"{A}?fieldManager=two", config_map({"k": "1", "l": "2", "n": "2"}))
        assert owners(after.body) == {"one Update": data_of("k", whole=True), "two Update": data_of("l", "n")}
        one, two = after.body["metadata"]["managedFields"]
        assert (one["time"], two["time"]) == ("2026-01-02T12:00:00Z", "2026-01-02T12:00:05Z")
        again = await ask("PUT", f"{A}?fieldManager=three", config_map({"k": "3", "l": "3", "n": "3"}))
        assert owners(again.body) == {"one Update": {"f:data": {}}, "three Update": data_of("k", "l", "n")}

    talk(conversation)


def test_what_is_removed_is_nobodys() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1", "l": "1"}))
        after = await ask.patch(f"{A}?fieldManager=two", {"data": {"l": None}})
        assert owners(after.body) == {"one Update": data_of("k", whole=True)}

    talk(conversation)


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge-patch+json", {"data": {"k": "2"}}),
        ("strategic-merge-patch+json", {"data": {"k": "2"}}),
        ("json-patch+json", [{"op": "replace", "path": "/data/k", "value": "2"}]),
    ],
)
def test_every_kind_of_patch_is_tracked(kind: str, patch: Any) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1"}))
        after = await ask.patch(f"{A}?fieldManager=two", patch, kind=kind)
        assert owners(after.body) == {"one Update": {"f:data": {}}, "two Update": data_of("k")}

    talk(conversation)


def test_a_write_that_changes_nothing_leaves_owners_times_and_version() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1"}))
        await ask.effects.advance(60)
        for answer in (
            await ask("PUT", f"{A}?fieldManager=two", config_map({"k": "1"})),
            await ask("PUT", f"{A}?fieldManager=two", made.body),
            await ask.patch(f"{A}?fieldManager=two", {"data": {"k": "1"}}),
            await ask.patch(f"{A}?fieldManager=two", {"metadata": {"uid": made.body["metadata"]["uid"]}}),
        ):
            assert answer.body == made.body

    talk(conversation)


def test_a_change_that_the_server_takes_back_puts_the_old_times_back() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", f"{SERVICES}?fieldManager=one", make_service())
        await ask.effects.advance(60)
        # One owns the port; dropping its own addresses changes nothing in the end.
        spec = {key: value for key, value in made.body["spec"].items() if key not in ("clusterIP", "clusterIPs")}
        body = {**made.body, "spec": spec}
        again = await ask("PUT", f"{WEB}?fieldManager=one", body)
        assert again.body == made.body

    talk(conversation)


def test_dry_run_answers_the_owners_that_would_be() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1"}))
        dry = await ask.patch(f"{A}?fieldManager=two&dryRun=All", {"data": {"k": "2"}})
        assert "two Update" in owners(dry.body)
        applied = await apply(ask, A, config_map({"k": "2"}), "three", "dryRun=All", "force=true")
        assert "three Apply" in owners(applied.body)
        assert (await ask("GET", A)).body == made.body
        dry = await apply(ask, f"{CONFIG_MAPS}/b", {**config_map(), "metadata": {"name": "b"}}, "m", "dryRun=All")
        assert dry.status == 201 and (await ask("GET", f"{CONFIG_MAPS}/b")).status == 404

    talk(conversation)


def test_owners_are_shown_in_lists_watches_and_metadata() -> None:
    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(CONFIG_MAPS)
        made = await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1"}))
        wanted = made.body["metadata"]["managedFields"]
        (event,) = await watch.events()
        listed = (await ask("GET", CONFIG_MAPS)).body["items"][0]
        partial = {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
        table = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
        shown = (await ask("GET", A, headers=partial)).body
        row = (await ask("GET", CONFIG_MAPS, headers=table)).body["rows"][0]["object"]
        for obj in (event["object"], listed, shown, row):
            assert obj["metadata"]["managedFields"] == wanted

    talk(conversation)


def test_the_status_belongs_to_who_writes_it_through_the_subresource() -> None:
    async def conversation(ask: Conversation) -> None:
        balancer = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        await ask("POST", f"{SERVICES}?fieldManager=one", make_service(type="LoadBalancer"))
        await ask.patch(f"{WEB}?fieldManager=two", balancer)
        after = await ask.patch(
            f"{WEB}/status?fieldManager=three", {**balancer, "spec": {"sessionAffinity": "ClientIP"}}
        )
        found = owners(after.body)
        assert set(found) == {"one Update", "three Update status"}, "the main resource has no say in the status"
        assert found["three Update status"] == {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}
        assert "f:sessionAffinity" in found["one Update"]["f:spec"]

    talk(conversation)


def test_a_namespace_is_finalized_by_its_controller() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", "/api/v1/namespaces?fieldManager=one", {"metadata": {"name": "n"}})
        labels = {"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}}
        assert owners(made.body) == {"one Update": labels}
        after = await ask("PUT", "/api/v1/namespaces/n/finalize?fieldManager=two", {**made.body, "spec": {}})
        assert owners(after.body) == {"one Update": labels}, "nobody owned the finalizer, and nothing was added"
        more = {**made.body, "metadata": {"name": "n"}, "spec": {"finalizers": ["a.b/c"]}}
        after = await ask("PUT", "/api/v1/namespaces/n/finalize?fieldManager=two", more)
        assert owners(after.body)["two Update finalize"] == {"f:spec": {"f:finalizers": {}}}

    talk(conversation)


def test_a_binding_is_nobodys() -> None:
    async def conversation(ask: Conversation) -> None:
        pods = "/api/v1/namespaces/default/pods"
        made = await ask("POST", f"{pods}?fieldManager=one", make_pod("p"))
        bound = await ask("POST", f"{pods}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "n"}})
        assert bound.status == 201
        after = (await ask("GET", f"{pods}/p")).body
        assert after["spec"]["nodeName"] == "n" and owners(after) == owners(made.body)

    talk(conversation)


def test_the_servers_own_objects_are_its_own() -> None:
    async def conversation(ask: Conversation) -> None:
        namespace = await ask("GET", "/api/v1/namespaces/default")
        assert list(owners(namespace.body)) == ["kube-apiserver Update"]

    talk(conversation)


def test_eleven_writers_are_ten_and_ancient_changes() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=m00", config_map({"k00": ""}))
        for number in range(1, 12):
            await ask.effects.advance(1)
            await ask.patch(f"{A}?fieldManager=m{number:02}", {"data": {f"k{number:02}": ""}})
        found = owners((await ask("GET", A)).body)
        assert len(found) == 10
        assert found["ancient-changes Update"] == data_of("k00", "k01", "k02", whole=True)
        assert next(iter(found)) == "ancient-changes Update", "it has the time of the youngest in it"

    talk(conversation)


# What clients do to managedFields themselves.


@pytest.mark.parametrize("nothing", [[], [{}]])
@pytest.mark.parametrize("verb", ["PUT", "merge", "json"])
def test_owners_are_cleared_and_not_tracked_again(verb: str, nothing: list[Json]) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1"}))
        if verb == "PUT":
            after = await ask("PUT", A, config_map({"k": "2"}, managedFields=nothing))
        elif verb == "merge":
            after = await ask.patch(A, {"metadata": {"managedFields": nothing}})
        else:
            operation = {"op": "replace", "path": "/metadata/managedFields", "value": nothing}
            after = await ask.patch(A, [operation], kind="json-patch+json")
        assert after.status == 200 and "managedFields" not in after.body["metadata"]
        after = await ask.patch(f"{A}?fieldManager=two", {"data": {"k": "3"}})
        assert "managedFields" not in after.body["metadata"], "an object without owners is not tracked"
        after = await apply(ask, A, config_map({"l": "1"}), "three")
        assert owners(after.body) == {
            "three Apply": data_of("l"),
            "before-first-apply Update": data_of("k", whole=True),
        }

    talk(conversation)


def entry(fields: Json, **more: Any) -> Json:
    return {
        "manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, **more
    }  # fmt: skip


def test_owners_in_a_body_replace_the_stored_ones_in_canonical_form() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{SERVICES}?fieldManager=one", make_service())
        odd = 'k:{"protocol": "TCP", "port": 80}'
        mine = entry({"f:spec": {"f:ports": {odd: {".": {}}}}, "z:future": {}})
        after = await ask.patch(f"{WEB}?fieldManager=two", {"metadata": {"managedFields": [mine]}})
        assert owners(after.body) == {"x Apply": {"f:spec": {"f:ports": {PORT: {}}}}}

    talk(conversation)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(entry({"f:spec": {}}, operation="Delete"), id="an operation that nobody has"),
        pytest.param(entry({"f:spec": {}}, apiVersion=""), id="no version"),
        pytest.param(entry({"f:spec": {}}, fieldsType="FieldsV2"), id="another type of fields"),
        pytest.param(entry({"spec": {}}), id="an element without its kind"),
        pytest.param(entry({"f:a": {"k:{": {}}}), id="a key that is no JSON"),
        pytest.param(entry({"f:a": {"k:{}": {}}}), id="a key without keys"),
        pytest.param(entry({"f:a": {"i:x": {}}}), id="an index that is no number"),
        pytest.param(entry({"f:a": 1}), id="a set that is no object"),
    ],
)
def test_owners_that_make_no_sense_are_dropped_without_error(bad: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", f"{CONFIG_MAPS}?fieldManager=one", config_map({"k": "1"}, managedFields=[bad]))
        assert owners(made.body) == {"one Update": data_of("k", whole=True)}
        after = await ask.patch(A, {"metadata": {"managedFields": [bad]}})
        assert after.body == made.body

    talk(conversation)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"manager": "m" * 129}, "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes"),
        ({"manager": "a\tb"}, 'metadata.managedFields[0].manager: Invalid value: "a\\tb": invalid character U+0009'),
        ({"subresource": "s" * 257}, "metadata.managedFields[0].subresource: Too long: may not be more than 256 bytes"),
    ],
)
def test_owners_with_names_that_nobody_may_have_are_refused(more: Json, message: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, config_map({"k": "1"}))
        refused = await ask.patch(A, {"metadata": {"managedFields": [entry({"f:data": {}}, **more)]}})
        assert refused.status == 422 and message in refused.message

    talk(conversation)


def test_a_subresource_does_not_rewrite_history() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service())
        after = await ask.patch(f"{WEB}/status", {"metadata": {"managedFields": []}})
        assert after.body == made.body

    talk(conversation)


# Apply.


@dataclass(frozen=True)
class Step:
    """One apply to the ConfigMap, and its outcome: the data, or the conflict's message."""

    manager: str
    data: Json | None
    outcome: Json | str | None
    force: bool = False


SEQUENCES: dict[str, tuple[list[Step], dict[str, Json]]] = {
    "an apply creates what is missing": ([Step("a", {"k": "1"}, {"k": "1"})], {"a Apply": data_of("k")}),
    "a field that is not applied any more goes": (
        [Step("a", {"k": "1", "l": "1"}, {"k": "1", "l": "1"}), Step("a", {"k": "1"}, {"k": "1"})],
        {"a Apply": data_of("k")},
    ),
    "the last of several fields goes with what holds it": (
        [Step("a", {"k": "1"}, {"k": "1"}), Step("a", None, None)],
        {},
    ),
    "fields of two appliers live side by side": (
        [Step("a", {"k": "1"}, {"k": "1"}), Step("b", {"l": "1"}, {"k": "1", "l": "1"})],
        {"a Apply": data_of("k"), "b Apply": data_of("l")},
    ),
    "the same value is owned by both": (
        [Step("a", {"k": "1"}, {"k": "1"}), Step("b", {"k": "1"}, {"k": "1"})],
        {"a Apply": data_of("k"), "b Apply": data_of("k")},
    ),
    "a shared field stays until the last owner lets go": (
        [
            Step("a", {"k": "1", "l": "1"}, {"k": "1", "l": "1"}),
            Step("b", {"k": "1", "m": "1"}, {"k": "1", "l": "1", "m": "1"}),
            Step("a", {"l": "1"}, {"k": "1", "l": "1", "m": "1"}),
            Step("b", {"m": "1"}, {"l": "1", "m": "1"}),
        ],
        {"a Apply": data_of("l"), "b Apply": data_of("m")},
    ),
    "another value is a conflict, and nothing happens": (
        [
            Step("a", {"k": "1"}, {"k": "1"}),
            Step("b", {"k": "2"}, 'Apply failed with 1 conflict: conflict with "a": .data.k'),
        ],
        {"a Apply": data_of("k")},
    ),
    "force takes the field away": (
        [
            Step("a", {"k": "1", "l": "1"}, {"k": "1", "l": "1"}),
            Step("b", {"k": "2"}, {"k": "2", "l": "1"}, force=True),
        ],
        {"a Apply": data_of("l"), "b Apply": data_of("k")},
    ),
    "a shared field that is changed is a conflict with the other owner": (
        [
            Step("a", {"k": "1"}, {"k": "1"}),
            Step("b", {"k": "1"}, {"k": "1"}),
            Step("a", {"k": "2"}, 'Apply failed with 1 conflict: conflict with "b": .data.k'),
            Step("a", {"k": "2"}, {"k": "2"}, force=True),
        ],
        {"a Apply": data_of("k")},
    ),
    "several conflicts are listed by owner": (
        [
            Step("b", {"l": "1", "m": "1"}, {"l": "1", "m": "1"}),
            Step("a", {"k": "1"}, {"k": "1", "l": "1", "m": "1"}),
            Step(
                "c",
                {"k": "2", "l": "2", "m": "2"},
                'Apply failed with 3 conflicts: conflicts with "a":\n- .data.k\nconflicts with "b":\n- .data.l\n'
                "- .data.m",
            ),
        ],
        {"a Apply": data_of("k"), "b Apply": data_of("l", "m")},
    ),
    "a null is the zero value": (
        [Step("a", {"k": "1", "l": None}, {"k": "1", "l": ""})],
        {"a Apply": data_of("k", "l")},
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_applies_one_after_the_other(name: str) -> None:
    steps, owned = SEQUENCES[name]

    async def conversation(ask: Conversation) -> None:
        for step in steps:
            answer = await apply(ask, A, config_map(step.data), step.manager, *(["force=true"] if step.force else []))
            if isinstance(step.outcome, str):
                assert (answer.status, answer.body["reason"], answer.message) == (409, "Conflict", step.outcome)
            else:
                assert answer.status in (200, 201), answer.message
                assert answer.body.get("data") == step.outcome
                again = await apply(ask, A, config_map(step.data), step.manager)
                assert again.body == answer.body, "again is no change"
        assert owners((await ask("GET", A)).body) == owned

    talk(conversation)


def test_a_conflict_has_a_cause_for_each_field_and_no_name() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{SERVICES}?fieldManager=kubectl-edit", make_service(type="ClusterIP"))
        await ask.patch(f"{WEB}/status?fieldManager=lb", {"metadata": {"labels": {"a": "b"}}})
        port = {"port": 80, "protocol": "TCP", "targetPort": 1}
        config = {**service(ports=[port], type="NodePort"), "metadata": {"name": "web", "labels": {"a": "c"}}}
        refused = await apply(ask, WEB, config, "m")
        assert refused.message == (
            'Apply failed with 3 conflicts: conflicts with "kubectl-edit" using v1:\n- .spec.type\n'
            '- .spec.ports[port=80,protocol="TCP"].targetPort\n'
            'conflicts with "lb" with subresource "status" using v1:\n- .metadata.labels.a'
        )
        edit = 'conflict with "kubectl-edit" using v1'
        status = 'conflict with "lb" with subresource "status" using v1'
        paths = [(edit, ".spec.type"), (edit, '.spec.ports[port=80,protocol="TCP"].targetPort'),
                 (status, ".metadata.labels.a")]  # fmt: skip
        causes = [{"reason": "FieldManagerConflict", "message": text, "field": path} for text, path in paths]
        assert refused.body["details"] == {"causes": causes}

    talk(conversation)


def test_lists_merge_by_their_keys_and_a_missing_protocol_is_part_of_the_key() -> None:
    async def conversation(ask: Conversation) -> None:
        udp = {"name": "dns", "port": 53, "protocol": "UDP"}
        await apply(ask, WEB, service(ports=[udp]), "a")
        both = await apply(ask, WEB, service(ports=[{"name": "dns-tcp", "port": 53}]), "b")
        shown = [(port["name"], port["protocol"]) for port in both.body["spec"]["ports"]]
        assert shown == [("dns", "UDP"), ("dns-tcp", "TCP")], "two ports with one number are two"
        tcp = 'k:{"port":53,"protocol":"TCP"}'
        assert owners(both.body)["b Apply"] == {"f:spec": {"f:ports": {tcp: {".": {}, "f:name": {}, "f:port": {}}}}}
        gone = await apply(ask, WEB, service(ports=[{"name": "other", "port": 54}]), "b")
        assert [port["name"] for port in gone.body["spec"]["ports"]] == ["dns", "other"]

    talk(conversation)


def test_what_the_server_filled_in_survives_applies() -> None:
    async def conversation(ask: Conversation) -> None:
        ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
        made = await apply(ask, WEB, service(ports=ports, type="NodePort"), "a")
        after = await apply(ask, WEB, service(ports=ports[:1], type="NodePort"), "a")
        assert after.body["spec"]["clusterIP"] == made.body["spec"]["clusterIP"]
        assert after.body["spec"]["ports"] == made.body["spec"]["ports"][:1]

    talk(conversation)


def test_status_in_a_manifest_neither_fails_nor_changes_anything() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{SERVICES}?fieldManager=one", make_service(type="LoadBalancer"))
        balancer = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        before = await ask.patch(f"{WEB}/status?fieldManager=lb", {"status": balancer})
        config = {**service(selector={"app": "web"}), "status": {"loadBalancer": {}}}
        config["metadata"]["creationTimestamp"] = None
        after = await apply(ask, WEB, config, "m")
        assert after.status == 200 and after.body["status"] == before.body["status"] != {}
        assert owners(after.body)["m Apply"] == {"f:spec": {"f:selector": {}}}

    talk(conversation)


def test_the_status_is_applied_through_its_subresource() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{SERVICES}?fieldManager=one", make_service(type="LoadBalancer"))
        ready = {"type": "Ready", "status": "True", "reason": "R", "message": "",
                 "lastTransitionTime": "2026-01-02T12:00:00Z"}  # fmt: skip
        after = await apply(ask, f"{WEB}/status", {**service(type="ClusterIP"), "status": {"conditions": [ready]}}, "m")
        assert after.status == 200 and after.body["spec"]["type"] == "LoadBalancer"
        (element,) = owners(after.body)["m Apply status"]["f:status"]["f:conditions"]
        assert element == 'k:{"type":"Ready"}'
        assert (await apply(ask, f"{SERVICES}/none/status", service(), "m")).status in (400, 404)

    talk(conversation)


def test_an_apply_that_only_shares_has_no_time_and_stands_first() -> None:
    async def conversation(ask: Conversation) -> None:
        await apply(ask, A, config_map({"k": "1"}), "a")
        await ask.effects.advance(5)
        after = await apply(ask, A, config_map({"k": "1"}), "b")
        first, second = after.body["metadata"]["managedFields"]
        assert (first["manager"], "time" in first) == ("b", False)
        assert (second["manager"], second["time"]) == ("a", "2026-01-02T12:00:00Z")

    talk(conversation)


def test_applies_stand_before_updates_and_the_older_before_the_younger() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=z", config_map({"k": "1"}))
        for manager in ("y", "x", "w"):
            await ask.effects.advance(1)
            await apply(ask, A, config_map({manager: "1"}), manager)
        await ask.patch(f"{A}?fieldManager=v", {"data": {"v": "1"}})
        found = list(owners((await ask("GET", A)).body))
        assert found == ["y Apply", "x Apply", "w Apply", "z Update", "v Update"]

    talk(conversation)


def test_an_apply_and_an_update_of_one_manager_are_two_entries() -> None:
    async def conversation(ask: Conversation) -> None:
        await apply(ask, A, config_map({"k": "1"}), "m")
        after = await ask.patch(f"{A}?fieldManager=m", {"data": {"k": "2"}})
        assert owners(after.body) == {"m Update": data_of("k")}
        refused = await apply(ask, A, config_map({"k": "1"}), "m")
        assert 'conflict with "m" using v1: .data.k' in refused.message

    talk(conversation)


def test_yaml_is_the_bodys_language_and_repeated_keys_are_told() -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: one\n  k: two\n"

    async def conversation(ask: Conversation) -> None:
        warned = await apply(ask, A, body, "m")
        assert warned.status == 201 and warned.body["data"] == {"k": "two"}
        assert (await apply(ask, A, body, "m", "fieldValidation=Ignore")).headers.get("Warning") is None
        refused = await apply(ask, A, body, "m", "fieldValidation=Strict")
        assert (refused.status, refused.body["reason"]) == (400, "BadRequest")
        assert refused.message.startswith("error strict decoding YAML: ")
        assert 'line 6: key "k" already set in map' in refused.message

    talk(conversation)


def test_a_create_by_apply_needs_the_permission_to_create() -> None:
    role = {"metadata": {"name": "patcher"}, "rules": [{"verbs": ["patch"], "apiGroups": [""], "resources": ["*"]}]}
    subject = {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": "patcher", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "patcher"}, "subjects": [subject], "roleRef": reference}

    async def conversation(ask: Conversation) -> None:
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        await ask("POST", f"{rbac}/clusterroles", role)
        await ask("POST", f"{rbac}/clusterrolebindings", binding)
        ann = Identity("ann", ("system:authenticated",))
        target = f"{A}?fieldManager=m"
        refused = await ask("PATCH", target, config_map({"k": "1"}), headers=APPLY, identity=ann)
        assert refused.status == 403 and 'User "ann" cannot create resource "configmaps"' in refused.message
        await ask("POST", CONFIG_MAPS, config_map({"k": "1"}))
        allowed = await ask("PATCH", target, config_map({"l": "1"}), headers=APPLY, identity=ann)
        assert allowed.status == 200

    talk(conversation)


def test_a_lost_race_is_decided_again_on_what_is_there() -> None:
    async def conversation(ask: Conversation) -> None:
        answers = await asyncio.gather(
            *(apply(ask, A, config_map({f"k{n}": "1"}), f"m{n}") for n in range(5)),
            *(ask.patch(f"{A}?fieldManager=p{n}", {"data": {f"p{n}": "1"}}) for n in range(3)),
        )
        assert [answer.status for answer in answers[:5]].count(201) == 1
        assert all(answer.status in (200, 201, 404) for answer in answers)
        after = (await ask("GET", A)).body
        for n in range(5):
            assert owners(after)[f"m{n} Apply"] == data_of(f"k{n}"), "no entry was lost"
        assert set(after["data"]) >= {f"k{n}" for n in range(5)}

    talk(conversation)


def test_a_version_in_the_configuration_is_a_precondition() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await apply(ask, A, config_map({"k": "1"}), "m")
        version = made.body["metadata"]["resourceVersion"]
        fine = await apply(ask, A, config_map({"k": "2"}, resourceVersion=version), "m")
        assert fine.status == 200
        stale = await apply(ask, A, config_map({"k": "3"}, resourceVersion=version), "m")
        assert stale.status == 409 and "the object has been modified" in stale.message

    talk(conversation)


@dataclass(frozen=True)
class Refusal:
    """An apply to the ConfigMap `a` of manager `one`, or to the Service `web`, and how it is refused."""

    id: str
    target: str
    body: Json | bytes
    code: int
    message: str
    reason: str = ""
    options: tuple[str, ...] = field(default=())


TYPED = "failed to create typed patch object (/web; /v1, Kind=Service): "
REFUSALS = [
    Refusal("another version", WEB, {**service(), "apiVersion": "v2"}, 400, "invalid object type: /v2, Kind=Service",
            "BadRequest"),
    Refusal("neither kind nor version", WEB, {}, 400, "invalid object type: /, Kind=", "BadRequest"),
    Refusal("an empty body", WEB, b"", 400, "invalid object type: /, Kind=", "BadRequest"),
    Refusal("another kind", WEB, config_map(), 400, "invalid object type: /v1, Kind=ConfigMap", "BadRequest"),
    Refusal("owners in the body", A, config_map(managedFields=[entry({})]), 400, "metadata.managedFields must be nil",
            "BadRequest"),
    Refusal("no owners in the body", A, config_map(managedFields=[]), 400, "metadata.managedFields must be nil",
            "BadRequest"),
    Refusal("no YAML", A, b"a: [", 400, "error decoding YAML: error converting YAML to JSON: yaml: ", "BadRequest"),
    Refusal("a list", A, b"[]", 400, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            "unmarshal array into Go value of type map[string]interface {}", "BadRequest"),
    Refusal("an alias", A, b"a: &x 1\nb: *x\n", 400, "error decoding YAML: ", "BadRequest"),
    Refusal("an unknown field", WEB, service(foo=1), 500, f"{TYPED}.spec.foo: field not declared in schema"),
    Refusal("an unknown field, ignoring", WEB, service(foo=1), 500,
            f"{TYPED}.spec.foo: field not declared in schema", options=("fieldValidation=Ignore",)),
    Refusal("a text for a list", WEB, service(ports="x"), 500, f"{TYPED}.spec.ports: expected list, got &{{x}}"),
    Refusal("a list for a struct", WEB, {**service(), "spec": ["a", 1]}, 500,
            f"{TYPED}.spec: expected map, got &{{[a 1]}}"),
    Refusal("a number for a text", WEB, service(type=1), 500,
            f"{TYPED}.spec.type: expected string, got &value.valueUnstructured{{Value:1}}"),
    Refusal("an object for a text", WEB, service(type={"a": "b"}), 500,
            f"{TYPED}.spec.type: expected string, got &value.valueUnstructured"
            '{Value:map[string]interface {}{"a":"b"}}'),
    Refusal("a text for a number", WEB, service(ports=[{"port": "80"}]), 500,
            f'{TYPED}.spec.ports[port="80",protocol="TCP"].port: expected numeric (int or float), got string'),
    Refusal("a text for a boolean", WEB, service(publishNotReadyAddresses="yes"), 500,
            f"{TYPED}.spec.publishNotReadyAddresses: expected boolean, got &{{yes}}"),
    Refusal("a struct for a scalar of any type", WEB, service(ports=[{"port": 80, "targetPort": {}}]), 500,
            f'{TYPED}.spec.ports[port=80,protocol="TCP"].targetPort: expected any scalar, got &{{map[]}}'),
    Refusal("one key twice", WEB, service(ports=[{"port": 80}, {"port": 80, "protocol": "TCP"}]), 500,
            f'{TYPED}.spec.ports: duplicate entries for key [port=80,protocol="TCP"]'),
    Refusal("an item without its key", WEB, service(ports=[{"name": "a"}]), 500,
            f'{TYPED}.spec.ports: element 0: associative list with keys has an element that omits key field "port" '
            "(and doesn't have default value)"),
    Refusal("an item that is null", WEB, service(ports=[None]), 500,
            f"{TYPED}.spec.ports: element 0: associative list with keys may not have a null element"),
    Refusal("an item that is no struct", WEB, service(ports=[80]), 500,
            f"{TYPED}.spec.ports: element 0: associative list with keys may not have non-map elements"),
    Refusal("several errors", WEB, service(type=1, ports="x"), 500,
            f"{TYPED}errors:\n  .spec.ports: expected list, got &{{x}}\n  .spec.type: expected string, got "
            "&value.valueUnstructured{Value:1}"),
    Refusal("an error inside an atomic list", WEB, service(externalIPs=[1]), 500,
            f"{TYPED}.spec.externalIPs[0]: expected string, got &value.valueUnstructured{{Value:1}}"),
    Refusal("the namespace of the body is named", WEB,
            {**service(foo=1), "metadata": {"name": "web", "namespace": "default"}}, 500,
            "failed to create typed patch object (default/web; /v1, Kind=Service): .spec.foo: field not declared"),
    Refusal("another name", A, {**config_map(), "metadata": {"name": "b"}}, 400,
            "the name of the object (b) does not match the name on the URL (a)", "BadRequest"),
    Refusal("another namespace", A, config_map(namespace="n"), 400,
            "the namespace of the provided object does not match the namespace sent on the request", "BadRequest"),
    Refusal("a uid of nothing", f"{CONFIG_MAPS}/b", {**config_map(), "metadata": {"name": "b", "uid": "X"}}, 409,
            'Operation cannot be fulfilled on configmaps "b": uid mismatch: the provided object specified uid X, and '
            "no existing object was found", "Conflict"),
    Refusal("another uid", A, config_map(uid="X"), 422,
            'ConfigMap "a" is invalid: metadata.uid: Invalid value: "X": field is immutable', "Invalid"),
    Refusal("an invalid result", WEB, service(type="Odd"), 422,
            'Service "web" is invalid: spec.type: Unsupported value', "Invalid", ("force=true",)),
    Refusal("a bad name for the applier", A, config_map(), 422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes', "Invalid",
            (f"fieldManager={'m' * 129}",)),
]  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in REFUSALS])
def test_an_apply_is_refused(case: Refusal) -> None:
    async def conversation(ask: Conversation) -> None:
        before = [await ask("POST", CONFIG_MAPS, config_map({"k": "1"})), await ask("POST", SERVICES, make_service())]
        query = "&".join((*case.options, "fieldManager=m"))
        answer = await ask("PATCH", f"{case.target}?{query}", case.body, headers=APPLY)
        assert (answer.status, answer.body.get("reason", "")) == (case.code, case.reason), answer.message
        assert answer.message.startswith(case.message), answer.message
        assert [(await ask("GET", target)).body for target in (A, WEB)] == [reply.body for reply in before]

    talk(conversation)


# What kubectl may do because of its past.


def annotated(config: Json, applied: Json) -> Json:
    text = json.dumps(applied, separators=(",", ":"))
    return {**config, "metadata": {**config["metadata"], "annotations": {LAST_APPLIED: text}}}


def test_kubectl_takes_over_what_its_client_side_apply_wrote() -> None:
    async def conversation(ask: Conversation) -> None:
        old = config_map({"k": "1", "l": "1"})
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply", annotated(old, old))
        new = config_map({"k": "2", "l": "1"})
        assert (await apply(ask, A, new, "other")).status == 409, "only kubectl may"
        after = await apply(ask, A, new, "kubectl")
        assert after.status == 200 and after.body["data"] == {"k": "2", "l": "1"}
        text = after.body["metadata"]["annotations"][LAST_APPLIED]
        assert text == '{"apiVersion":"v1","data":{"k":"2","l":"1"},"kind":"ConfigMap","metadata":{"name":"a"}}\n'

    talk(conversation)


def test_kubectl_does_not_take_over_what_somebody_changed_since() -> None:
    async def conversation(ask: Conversation) -> None:
        old = config_map({"k": "1", "l": "1"})
        await ask("POST", f"{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply", annotated(old, old))
        await ask.patch(f"{A}?fieldManager=other", {"data": {"l": "2"}})
        refused = await apply(ask, A, config_map({"k": "2", "l": "3"}), "kubectl")
        assert refused.message == 'Apply failed with 1 conflict: conflict with "other" using v1: .data.l', (
            "what the annotation proves is not counted"
        )

    talk(conversation)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no JSON"),
        pytest.param('{"apiVersion":"v2","data":{"k":"1"}}', id="of another version"),
        pytest.param('{"apiVersion":"v1","data":"k"}', id="that does not fit"),
        pytest.param("[]", id="no object"),
    ],
)
def test_an_annotation_that_proves_nothing_allows_nothing(text: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, config_map({"k": "1"}, annotations={LAST_APPLIED: text}))
        assert (await apply(ask, A, config_map({"k": "2"}), "kubectl")).status == 409

    talk(conversation)


def test_an_annotation_that_grows_too_long_is_dropped() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, config_map({"k": "1"}, annotations={LAST_APPLIED: "{}"}))
        after = await apply(ask, A, config_map({"l": "x" * 262144}), "kubectl")
        assert after.status == 200 and "annotations" not in after.body["metadata"]

    talk(conversation)


# Kinds with more than one face.

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(**spec: Any) -> Json:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


def scale(replicas: int) -> Json:
    return {
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}
    }  # fmt: skip


def test_a_template_is_always_there_and_its_selector_is_one_value() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", f"{DEPLOYMENTS}?fieldManager=one", deployment(replicas=2))
        spec = owners(made.body)["one Update"]["f:spec"]
        assert spec["f:selector"] == spec["f:replicas"] == {}
        assert spec["f:template"]["f:metadata"] == {"f:labels": {".": {}, "f:a": {}}}
        assert "." not in spec["f:template"] and "." not in spec["f:template"]["f:spec"]["f:containers"]

    talk(conversation)


def test_who_scales_owns_the_replicas() -> None:
    async def conversation(ask: Conversation) -> None:
        await apply(ask, f"{DEPLOYMENTS}/d", deployment(replicas=2), "one")
        await ask.patch(f"{DEPLOYMENTS}/d/scale?fieldManager=two", {"spec": {"replicas": 3}})
        found = owners((await ask("GET", f"{DEPLOYMENTS}/d")).body)
        assert found["two Update scale"] == {"f:spec": {"f:replicas": {}}}
        assert "f:replicas" not in found["one Apply"]["f:spec"]
        refused = await apply(ask, f"{DEPLOYMENTS}/d", deployment(replicas=2), "one")
        assert 'conflict with "two" with subresource "scale" using apps/v1: .spec.replicas' in refused.message

    talk(conversation)


def test_a_scale_is_applied() -> None:
    async def conversation(ask: Conversation) -> None:
        await apply(ask, f"{DEPLOYMENTS}/d", deployment(replicas=2), "one")
        refused = await apply(ask, f"{DEPLOYMENTS}/d/scale", scale(3), "two")
        assert refused.message == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
        shared = await apply(ask, f"{DEPLOYMENTS}/d/scale", scale(2), "two")
        assert shared.body["spec"] == {"replicas": 2} and "managedFields" not in shared.body["metadata"]
        found = owners((await ask("GET", f"{DEPLOYMENTS}/d")).body)
        assert found["two Apply scale"] == {"f:spec": {"f:replicas": {}}}
        assert "f:replicas" in found["one Apply"]["f:spec"]
        await apply(ask, f"{DEPLOYMENTS}/d/scale", scale(4), "two", "force=true")
        after = (await ask("GET", f"{DEPLOYMENTS}/d")).body
        found = owners(after)
        assert after["spec"]["replicas"] == 4 and set(found) == {"one Apply", "two Apply scale"}
        assert "f:replicas" not in found["one Apply"]["f:spec"] and "f:template" in found["one Apply"]["f:spec"]
        for entry in after["metadata"]["managedFields"]:
            assert entry["apiVersion"] == "apps/v1"
        wrong = await apply(ask, f"{DEPLOYMENTS}/d/scale", deployment(), "two")
        assert wrong.message == "invalid object type: apps/v1, Kind=Deployment"

    talk(conversation)


def test_ephemeral_containers_are_not_applied() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", "/api/v1/namespaces/default/pods", make_pod("p"))
        answer = await apply(ask, "/api/v1/namespaces/default/pods/p/ephemeralcontainers", make_pod("p"), "m")
        assert (answer.status, answer.message) == (415, "415: Unsupported Media Type")

    talk(conversation)


def test_an_event_of_either_group_can_be_applied() -> None:
    event = {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "hello", "type": "Normal",
        "eventTime": "2026-01-02T12:00:00.000000Z", "reason": "R", "action": "A", "reportingController": "a.b/c",
        "reportingInstance": "i", "regarding": {"kind": "Service", "name": "web", "namespace": "default"},
    }  # fmt: skip

    async def conversation(ask: Conversation) -> None:
        made = await apply(ask, "/apis/events.k8s.io/v1/namespaces/default/events/e", event, "m")
        assert made.status == 201, made.message
        assert owners(made.body)["m Apply"].keys() >= {"f:note", "f:reason"}
        shown = await ask("GET", "/api/v1/namespaces/default/events/e")
        assert shown.body["message"] == "hello"

    talk(conversation)


def test_nobody_owns_what_a_status_write_puts_back() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{DEPLOYMENTS}?fieldManager=one", deployment(replicas=2))
        change = {"metadata": {"labels": {"x": "y"}, "annotations": {"x": "y"}}, "spec": {"replicas": 9},
                  "status": {"replicas": 1}}  # fmt: skip
        after = await ask.patch(f"{DEPLOYMENTS}/d/status?fieldManager=two", change)
        assert owners(after.body)["two Update status"] == {
            "f:metadata": {"f:annotations": {".": {}, "f:x": {}}},
            "f:status": {"f:replicas": {}},
        }

    talk(conversation)
