"""The `/scale` of workloads: one form for all of them. Rule: spec "api-machinery" §9.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.selectors import (
    LabelSelector,
    Operator,
    Requirement,
    parse_label_selector,
    render_label_selector,
)
from seaway.api.registry import DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, Resource
from seaway.api.schema import find_definition
from seaway.apiserver.subresources.scale import read_scale
from tests.apiserver.conversation import Conversation, talk
from tests.wire.protobuf_encoder import encode_body

Json = dict[str, Any]
KINDS = (REPLICATION_CONTROLLERS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS)
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def make_workload(resource: Resource, **spec: Any) -> Json:
    labels = {"app": "web"}
    selector = labels if resource is REPLICATION_CONTROLLERS else {"matchLabels": labels}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    more = {"serviceName": "web"} if resource is STATEFUL_SETS else {}
    return {"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": selector, "template": template,
                                                  **more, **spec}}  # fmt: skip


def collection_of(resource: Resource) -> str:
    return resource.path("default")


def scale_of(resource: Resource) -> str:
    return resource.path("default", "web", "scale")


@pytest.mark.parametrize("resource", KINDS, ids=lambda r: r.kind)
def test_every_workload_is_scaled_in_the_same_form(resource: Resource) -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", collection_of(resource), make_workload(resource))).body
        scale = (await ask("GET", scale_of(resource))).body
        meta = made["metadata"]
        assert scale == {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: meta[key] for key in
                         ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
            "spec": {"replicas": 2},
            "status": {"replicas": 0, "selector": "app=web"},
        }  # fmt: skip
        patched = await ask.patch(scale_of(resource), {"spec": {"replicas": 5}})
        assert (patched.status, patched.body["kind"], patched.body["spec"]) == (200, "Scale", {"replicas": 5})
        stored = (await ask("GET", resource.path("default", "web"))).body
        assert stored["spec"]["replicas"] == 5 and stored["spec"]["template"] == made["spec"]["template"]
        assert stored["metadata"]["resourceVersion"] == patched.body["metadata"]["resourceVersion"]
        zero = await ask("PUT", scale_of(resource), {**scale, "metadata": {"name": "web"}, "spec": {}})
        assert zero.body["spec"] == {}
        assert (await ask("GET", resource.path("default", "web"))).body["spec"]["replicas"] == 0

    talk(conversation)


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        pytest.param("merge-patch+json", {"spec": {"replicas": 3}}, id="merge"),
        pytest.param("strategic-merge-patch+json", {"spec": {"replicas": 3}}, id="strategic"),
        pytest.param("json-patch+json", [{"op": "replace", "path": "/spec/replicas", "value": 3}], id="JSON"),
    ],
)
def test_all_patches_scale(kind: str, patch: Any) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", collection_of(DEPLOYMENTS), make_workload(DEPLOYMENTS))
        assert (await ask.patch(scale_of(DEPLOYMENTS), patch, kind=kind)).body["spec"] == {"replicas": 3}

    talk(conversation)


@pytest.mark.parametrize(
    ("method", "change", "code", "message"),
    [
        pytest.param("PUT", {"spec": {"replicas": -1}}, 422, 'Scale.autoscaling "web" is invalid: spec.replicas: '
                     "Invalid value: -1: must be greater than or equal to 0", id="not less than none"),
        pytest.param("PATCH", {"spec": {"replicas": -1}}, 422, 'Scale.autoscaling "web" is invalid: spec.replicas: '
                     "Invalid value: -1: must be greater than or equal to 0", id="nor by a patch"),
        pytest.param("PUT", {"metadata": {"name": "x"}}, 400,
                     "the name of the object (x) does not match the name on the URL (web)", id="of another name"),
        pytest.param("PUT", {"metadata": {"name": "web", "namespace": "n"}}, 400, "the namespace of the provided "
                     "object does not match the namespace sent on the request", id="of another namespace"),
        pytest.param("PUT", {"metadata": {"name": "web", "resourceVersion": "1"}}, 409, "Operation cannot be fulfilled "
                     'on deployments.apps "web": the object has been modified; please apply your changes to the latest '
                     "version and try again", id="of an older version"),
        pytest.param("PUT", {"metadata": {"name": "web", "uid": "x"}}, 409, "Operation cannot be fulfilled on "
                     'deployments/scale.apps "web": Precondition failed: UID in precondition: x, UID in object meta: ',
                     id="of another object"),
        pytest.param("PUT", {"kind": "Deployment", "apiVersion": "apps/v1"}, 400, 'Deployment in version "v1" cannot '
                     "be handled as a Scale: converting (v1.Deployment) to (autoscaling.Scale): unknown conversion",
                     id="of another kind"),
        pytest.param("PUT", {"spec": {"replicas": "3"}}, 400, 'Scale in version "v1" cannot be handled as a Scale: '
                     "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32",
                     id="of another type"),
    ],
)  # fmt: skip
def test_what_is_no_scale_of_it(method: str, change: Json, code: int, message: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", collection_of(DEPLOYMENTS), make_workload(DEPLOYMENTS))
        headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
        body = {"metadata": {"name": "web"}, "spec": {"replicas": 1}, **change} if method == "PUT" else change
        answer = await ask(method, scale_of(DEPLOYMENTS), body, headers=headers)
        assert answer.status == code and answer.message.startswith(message), answer.message

    talk(conversation)


def test_a_kind_without_a_scale_says_so() -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("GET", "/api/v1/namespaces/default/services/web/scale")
        assert (answer.status, answer.message) == (404, "the server could not find the requested resource")
        gone = await ask("GET", scale_of(DEPLOYMENTS))
        assert (gone.status, gone.message) == (404, 'deployments.apps "web" not found')
        assert (await ask("DELETE", scale_of(DEPLOYMENTS))).status == 405

    talk(conversation)


def test_a_rehearsed_scale_and_one_in_protobuf() -> None:
    definition = find_definition("autoscaling", "v1", "Scale")
    assert definition is not None
    scale = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"}, "spec": {"replicas": 7}}

    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", collection_of(DEPLOYMENTS), make_workload(DEPLOYMENTS))).body
        tried = await ask("PUT", f"{scale_of(DEPLOYMENTS)}?dryRun=All", scale)
        assert tried.body["spec"] == {"replicas": 7}
        assert tried.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        headers = {"content-type": "application/vnd.kubernetes.protobuf"}
        written = await ask("PUT", scale_of(DEPLOYMENTS), encode_body(scale, definition), headers=headers)
        assert written.body["spec"] == {"replicas": 7}
        table = (await ask("GET", scale_of(DEPLOYMENTS), headers=TABLE)).body
        assert table["rows"][0]["cells"][:3] == ["web", 7, 0]

    talk(conversation)


_KEYS = st.from_regex("[a-z]{1,4}", fullmatch=True)
_VALUES = st.from_regex("[a-z0-9]{1,3}", fullmatch=True)


def _draw_requirement(key: str) -> st.SearchStrategy[Requirement]:
    some = st.frozensets(_VALUES, min_size=1, max_size=3)
    return st.one_of(
        st.sampled_from((Operator.EXISTS, Operator.DOES_NOT_EXIST)).map(lambda operator: Requirement(key, operator)),
        st.builds(Requirement, st.just(key), st.sampled_from((Operator.IN, Operator.NOT_IN)), some),
        st.integers(0, 99).map(lambda n: Requirement(key, Operator.GREATER, frozenset((str(n),)))),
    )


@settings(deadline=None)
@given(st.lists(_KEYS, unique=True, max_size=4).flatmap(lambda keys: st.tuples(*map(_draw_requirement, keys))))
def test_the_selector_of_a_scale_can_be_asked_with(requirements: tuple[Requirement, ...]) -> None:
    text = render_label_selector(LabelSelector(requirements))
    assert parse_label_selector(text).requirements == tuple(sorted(requirements, key=lambda term: term.key))


def test_owners_that_make_no_sense_are_dropped() -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("POST", collection_of(DEPLOYMENTS), make_workload(DEPLOYMENTS))).status == 201
        patch = {"metadata": {"managedFields": [{}, {"operation": "a"}]}, "spec": {"replicas": 3}}
        patched = await ask.patch(scale_of(DEPLOYMENTS), patch)
        assert (patched.status, patched.body["spec"]) == (200, {"replicas": 3})

    talk(conversation)


def test_a_selector_that_cannot_be_read_is_not_shown() -> None:
    broken = {"matchExpressions": [{"key": "a", "operator": "Like"}]}
    obj = {"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": broken}}
    assert "selector" not in read_scale(obj)["status"]


def test_expressions_of_a_selector_are_text_too() -> None:
    expressions = [{"key": "tier", "operator": "In", "values": ["b", "a"]}, {"key": "old", "operator": "DoesNotExist"}]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    scale = read_scale({"metadata": {"name": "web"}, "spec": {"selector": selector}, "status": {"replicas": 2}})
    assert scale["status"] == {"replicas": 2, "selector": "app=web,!old,tier in (a,b)"}
