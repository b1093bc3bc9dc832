"""Bodies to objects. Rule: spec "api-machinery" §1.4, §2.1, §4.6."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.codec import Decoded, decode_body, decode_delete_options, prune_patched
from seaway.api.machinery.errors import ApiError, BadRequest, Invalid, UnsupportedMediaType
from seaway.api.machinery.yaml_codec import encode_yaml
from seaway.api.registry import (
    BINDINGS,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    EVENTS,
    LEASES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RESOURCES,
    SECRETS,
    SERVICES,
    Resource,
)
from seaway.api.schema import find_definition
from tests.wire.objects import draw_objects
from tests.wire.protobuf_encoder import encode_body, encode_bytes

Json = dict[str, Any]
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"


def decode(resource: Resource, value: Any, **options: str) -> Json:
    return decode_body(resource, JSON, json.dumps(value).encode(), **options).obj


def refuse(resource: Resource, body: bytes, media: str = JSON, **options: str) -> str:
    with pytest.raises(BadRequest) as refused:
        decode_body(resource, media, body, **options)
    return refused.value.message


CANNOT = 'Service in version "v1" cannot be handled as a Service: '


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"spec":{"ports":[{"port":"x"}]}}',
            CANNOT + "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            '{"spec":{"ports":{}}}',
            CANNOT
            + "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
        ),
        (
            '{"metadata":{"labels":{"a":1}}}',
            CANNOT + "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            '{"metadata":[]}',
            CANNOT + "json: cannot unmarshal array into Go struct field Service.metadata of type v1.ObjectMeta",
        ),
        (
            '{"spec":{"ports":[{"port":1.5}]}}',
            CANNOT + "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            '{"spec":{"ports":[{"port":true}]}}',
            CANNOT + "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            '{"spec":{"healthCheckNodePort":2147483648}}',
            CANNOT
            + "json: cannot unmarshal number 2147483648 into Go struct field ServiceSpec.spec.healthCheckNodePort"
            + " of type int32",
        ),
        (
            '{"spec":{"ports":[{"targetPort":true}]}}',
            CANNOT + "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            '{"metadata":{"creationTimestamp":"now"}}',
            CANNOT + 'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"',
        ),
        (
            '{"kind":"Service","apiVersion":"v2"}',
            'Service in version "v2" cannot be handled as a Service: no kind "Service" is registered for version "v2" '
            'in scheme "pkg/api/legacyscheme/scheme.go:30"',
        ),
        (
            '{"kind":"Pod","apiVersion":"v1"}',
            'Pod in version "v1" cannot be handled as a Service: converting (v1.Pod) to (core.Service): '
            "unknown conversion",
        ),
        (
            '{"kind":"Foo"}',
            'Foo in version "v1" cannot be handled as a Service: no kind "Foo" is registered for version "v1" '
            'in scheme "pkg/api/legacyscheme/scheme.go:30"',
        ),
        (
            "",
            "the object provided is unrecognized (must be of type Service): couldn't get version/kind; json parse "
            "error: unexpected end of JSON input (<empty>)",
        ),
        (
            '{"spec":',
            "the object provided is unrecognized (must be of type Service): couldn't get version/kind; json parse "
            'error: unexpected end of JSON input ({"spec":)',
        ),
        (
            "spec: x",
            "the object provided is unrecognized (must be of type Service): couldn't get version/kind; json parse "
            "error: invalid character 's' looking for beginning of value (737065633a2078)",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_the_words_of_the_decoder(body: str, message: str) -> None:
    assert refuse(SERVICES, body.encode()) == message


def test_long_bodies_are_quoted_by_their_beginning() -> None:
    assert refuse(SERVICES, b'{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').endswith(
        '({"aaaaaaaaaaaaaaaaaaaaaaaaaaaa ...)'
    )


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "true"])
def test_what_is_no_object_is_refused(body: str) -> None:
    assert "couldn't get version/kind; json parse error: json: cannot unmarshal" in refuse(SERVICES, body.encode())


@pytest.mark.parametrize("body", ["NaN", '{"a":Infinity}', '{"a":1}x', '{"a" 1}', "{'a':1}", '{"a":"\x01"}'])
def test_what_is_no_json_is_refused(body: str) -> None:
    assert "json parse error" in refuse(SERVICES, body.encode())


@pytest.mark.parametrize(
    ("media", "opening", "closing"), [(JSON, "[", "]"), (JSON, '{"a":', "}"), (YAML, "[", "]"), (YAML, "{a: ", "}")]
)
def test_deep_nesting_is_refused(media: str, opening: str, closing: str) -> None:
    depth = 100_000 if media == JSON else 500  # PyYAML has a limit of its own beyond
    body = '{"x": ' + opening * depth + "1" + closing * depth + "}"
    assert "exceeded max depth" in refuse(SERVICES, body.encode(), media)


def test_kind_and_api_version_come_from_the_endpoint() -> None:
    obj = decode(ENDPOINT_SLICES, {"addressType": "IPv4"})
    assert obj == {
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "metadata": {},
    }  # fmt: skip


def test_a_binding_is_filled_in_from_its_own_row() -> None:
    obj = decode(BINDINGS, {"target": {"kind": "Node", "name": "n"}})
    assert (obj["kind"], obj["apiVersion"], obj["target"]) == ("Binding", "v1", {"kind": "Node", "name": "n"})


def test_another_version_of_a_known_kind_is_refused() -> None:
    body = b'{"kind":"Event","apiVersion":"events.k8s.io/v1"}'
    assert refuse(EVENTS, body) == (
        "the API version in the data (events.k8s.io/v1) does not match the expected API version (v1)"
    )


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"clusterIP": "", "type": None}, {}),
        ({"ports": []}, {}),
        ({"selector": {}}, {}),
        ({"publishNotReadyAddresses": False, "healthCheckNodePort": 0}, {}),
        ({"allocateLoadBalancerNodePorts": False}, {"allocateLoadBalancerNodePorts": False}),
        ({"loadBalancerClass": ""}, {"loadBalancerClass": ""}),
        ({"sessionAffinityConfig": {}}, {"sessionAffinityConfig": {}}),
        ({"ports": [{"port": 0, "nodePort": 0, "targetPort": 0}]}, {"ports": [{"port": 0, "targetPort": 0}]}),
        ({"ports": [None]}, {"ports": [{}]}),
        ({"clusterIPs": ["b", "a"]}, {"clusterIPs": ["b", "a"]}),
        ({"selector": {"b": "1", "a": None}}, {"selector": {"a": "", "b": "1"}}),
    ],
)
def test_zero_and_absence_are_one_where_the_field_has_no_presence(spec: Json, wanted: Json) -> None:
    assert decode(SERVICES, {"spec": spec})["spec"] == wanted


def test_the_zero_time_is_absent_where_a_time_may_be_missing_and_where_it_may_not() -> None:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "0001-01-01T00:00:00Z"}
    status = {"startTime": "0001-01-01T00:00:00Z", "conditions": [condition]}
    decoded = decode(PODS, {"metadata": {"name": "p"}, "status": status})
    assert decoded["status"] == {"conditions": [{"status": "True", "type": "Ready"}]}
    required = decode(SERVICES, {"spec": {}, "status": {"conditions": [condition]}})
    assert required["status"] == {"conditions": [{"status": "True", "type": "Ready"}]}
    in_a_map = decode(POD_DISRUPTION_BUDGETS, {"status": {"disruptedPods": {"a": None, "b": "0001-01-01T00:00:00Z"}}})
    assert in_a_map["status"]["disruptedPods"] == {"a": None, "b": None}
    assert decode(POD_DISRUPTION_BUDGETS, in_a_map) == in_a_map


def test_fields_are_in_one_order_whatever_the_client_sent() -> None:
    body = b'{"spec":{"type":"x","clusterIP":"y"},"metadata":{"name":"n","labels":{"b":"1","a":"2"}}}'
    assert json.dumps(decode_body(SERVICES, "", body).obj, separators=(",", ":")) == (
        '{"kind":"Service","apiVersion":"v1","metadata":{"labels":{"a":"2","b":"1"},"name":"n"},'
        '"spec":{"clusterIP":"y","type":"x"}}'
    )


def test_special_scalars_are_canonical() -> None:
    pod = decode(
        PODS,
        {
            "metadata": {"creationTimestamp": "2026-01-02T05:04:05+02:00"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": 1, "memory": "1024Mi"}}}]},
        },
    )
    assert pod["metadata"] == {"creationTimestamp": "2026-01-02T03:04:05Z"}
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert refuse(LEASES, b'{"spec":{"renewTime":"2026-01-02T03:04:05Z"}}').startswith("Lease in version")
    assert "illegal base64" in refuse(SECRETS, b'{"data":{"a":"*"}}')


STRICT_BODY = b'{"spec":{"foo":1,"type":"a","type":"b","ports":[{"port":1,"bar":2}]}}'


def test_unknown_and_duplicate_fields_are_errors_warnings_or_nothing() -> None:
    texts = ('unknown field "spec.foo"', 'unknown field "spec.ports[0].bar"', 'duplicate field "spec.type"')
    assert sorted(decode_body(SERVICES, JSON, STRICT_BODY).warnings) == sorted(texts)
    assert decode_body(SERVICES, JSON, STRICT_BODY, field_validation="Warn").obj["spec"]["type"] == "b"
    assert decode_body(SERVICES, JSON, STRICT_BODY, field_validation="Ignore").warnings == ()
    message = refuse(SERVICES, STRICT_BODY, field_validation="Strict")
    assert message.startswith(CANNOT + "strict decoding error: unknown field")
    assert all(text in message for text in texts)


def test_field_names_are_case_sensitive() -> None:
    assert decode_body(SERVICES, JSON, b'{"Spec":{}}').warnings == ('unknown field "Spec"',)


def test_half_a_surrogate_pair_can_be_stored() -> None:
    obj = decode_body(CONFIG_MAPS, JSON, rb'{"data":{"a":"x\ud800y","b":"\ud83d\ude00"}}').obj
    assert obj["data"] == {"a": "x�y", "b": "😀"}
    json.dumps(obj, ensure_ascii=False).encode()


@pytest.mark.parametrize("media", ["", "application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_the_default(media: str) -> None:
    assert decode_body(SERVICES, media, b"{}").obj["kind"] == "Service"


@pytest.mark.parametrize("media", ["text/plain", "application/cbor", "application/x-www-form-urlencoded"])
def test_other_media_types_are_refused(media: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="the body of the request was in an unknown format"):
        decode_body(SERVICES, media, b"{}")


class TestYaml:
    def test_a_manifest_is_read(self) -> None:
        body = b"""
kind: Service
metadata:
  name: web
  creationTimestamp: 2026-01-02T03:04:05Z
spec:
  publishNotReadyAddresses: yes
  clusterIP: 'None'
  ports: [{port: 0x50, targetPort: "80"}, {port: 53, protocol: UDP}]
"""
        obj = decode_body(SERVICES, YAML, body).obj
        assert obj["metadata"] == {"creationTimestamp": "2026-01-02T03:04:05Z", "name": "web"}
        assert obj["spec"] == {
            "clusterIP": "None",
            "ports": [{"port": 80, "targetPort": "80"}, {"port": 53, "protocol": "UDP"}],
            "publishNotReadyAddresses": True,
        }

    @pytest.mark.parametrize(
        ("text", "value"),
        [("12:30:45", "12:30:45"), ("2026-01-02", "2026-01-02"), ("1_000", 1000), ("010", 8), ("0o17", 15), ("~", "")],
    )
    def test_plain_scalars_resolve_as_go_resolves_them(self, text: str, value: Any) -> None:
        quoted = decode_body(CONFIG_MAPS, YAML, f"data: {{a: '{text}'}}".encode()).obj["data"]["a"]
        assert quoted == text
        if isinstance(value, str):
            assert decode_body(CONFIG_MAPS, YAML, f"data: {{a: {text}}}".encode()).obj["data"]["a"] == value
        else:
            body = f"spec: {{healthCheckNodePort: {text}}}".encode()
            assert decode_body(SERVICES, YAML, body).obj["spec"]["healthCheckNodePort"] == value

    def test_a_duplicate_key_is_told_with_its_line(self) -> None:
        decoded = decode_body(CONFIG_MAPS, YAML, b"data:\n  a: x\n  a: z\n")
        assert decoded.warnings == ('line 3: key "a" already set in map',)
        assert decoded.obj["data"] == {"a": "z"}

    @pytest.mark.parametrize(
        "body",
        [b"a: &x 1\nb: *x", b"a: [", b"\t- x", b"? [a]\n: b", b"\xff\xfe\x00", b"--- |\n ok\n...\n- ["],
        ids=["aliases", "unclosed", "tab", "a list as key", "no text", "a scalar"],
    )
    def test_what_is_no_plain_yaml_is_refused(self, body: bytes) -> None:
        refuse(CONFIG_MAPS, body, YAML)

    def test_the_number_of_nodes_is_limited(self) -> None:
        body = b"data:\n" + b"".join(b"  k%d: v\n" % i for i in range(60_000))
        assert "more than 100000 nodes" in refuse(CONFIG_MAPS, body, YAML)

    def test_of_several_documents_the_first_counts(self) -> None:
        assert decode_body(CONFIG_MAPS, YAML, b"data: {a: x}\n---\ndata: {a: z}\n").obj["data"] == {"a": "x"}


class TestDeleteOptions:
    @pytest.mark.parametrize(
        ("body", "wanted"),
        [
            (b"", {}),
            (b"{}", {}),
            (b'{"propagationPolicy":"Background"}', {"propagationPolicy": "Background"}),
            (b'{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":0}', {"gracePeriodSeconds": 0}),
            (b'{"preconditions":{"uid":"x"},"foo":1}', {"preconditions": {"uid": "x"}}),
            (b'{"orphanDependents":false,"dryRun":["All"]}', {"dryRun": ["All"], "orphanDependents": False}),
        ],
    )
    def test_any_version_or_none_is_taken(self, body: bytes, wanted: Json) -> None:
        assert decode_delete_options(JSON, body) == wanted

    def test_another_kind_is_refused(self) -> None:
        with pytest.raises(BadRequest, match=r'^no kind "Pod" is registered for version "v1" in scheme '):
            decode_delete_options(JSON, b'{"kind":"Pod","apiVersion":"v1"}')

    def test_protobuf_is_taken(self) -> None:
        definition = find_definition("", "v1", "DeleteOptions")
        assert definition is not None
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "propagationPolicy": "Foreground"}
        body = encode_body({"kind": "DeleteOptions", "apiVersion": "policy/v1", **options}, definition)
        assert decode_delete_options(PROTOBUF, body) == options


class TestPatched:
    def test_an_undecodable_result_is_invalid(self) -> None:
        obj = {"kind": "Service", "apiVersion": "v1", "spec": {"ports": "x"}}
        with pytest.raises(Invalid) as refused:
            prune_patched(SERVICES, obj, field_validation="Warn")
        shown = '"{\\"apiVersion\\":\\"v1\\",\\"kind\\":\\"Service\\",\\"spec\\":{\\"ports\\":\\"x\\"}}"'
        assert refused.value.message == (
            f' "" is invalid: patch: Invalid value: {shown}: json: cannot unmarshal string into Go struct field '
            "ServiceSpec.spec.ports of type []v1.ServicePort"
        )
        assert refused.value.details is not None
        assert [cause["field"] for cause in refused.value.details["causes"]] == ["patch"]

    def test_strict_findings_are_invalid_and_quote_a_strategic_patch_as_a_map(self) -> None:
        obj = {"kind": "Service", "apiVersion": "v1", "spec": {"foo": 1}}
        with pytest.raises(Invalid) as refused:
            prune_patched(SERVICES, obj, field_validation="Strict", patch={"spec": {"foo": 1}})
        assert refused.value.message == (
            ' "" is invalid: patch: Invalid value: "map[spec:map[foo:1]]": '
            'strict decoding error: unknown field "spec.foo"'
        )

    def test_the_object_is_not_modified(self) -> None:
        obj = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"foo": 1, "type": None}}
        before = json.dumps(obj)
        assert prune_patched(SERVICES, obj, field_validation="Warn") == Decoded(
            {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {}},
            ('unknown field "spec.foo"',),
        )
        assert json.dumps(obj) == before


class TestProtobuf:
    def test_the_check_vector_of_a_go_client_is_read(self) -> None:
        """Recorded from `kubectl create service clusterip s1 --tcp=80:8080`, as far as the spec gives it."""
        definition = find_definition("", "v1", "Service")
        assert definition is not None
        wanted = {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"labels": {"app": "s1"}, "name": "s1"},
            "spec": {
                "ports": [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}],
                "selector": {"app": "s1"},
                "type": "ClusterIP",
            },
            "status": {"loadBalancer": {}},
        }
        body = encode_body(wanted, definition)
        assert body.startswith(bytes.fromhex("6b3873000a0d0a027631120753657276696365"))
        assert body.endswith(bytes.fromhex("1a002200"))
        assert decode_body(SERVICES, PROTOBUF, body).obj == wanted

    def test_explicit_zeros_are_absent(self) -> None:
        definition = find_definition("", "v1", "Service")
        assert definition is not None
        zeros = {"clusterIP": "", "sessionAffinity": "", "publishNotReadyAddresses": False, "healthCheckNodePort": 0}
        body = encode_body({"kind": "Service", "apiVersion": "v1", "metadata": {"name": ""}, "spec": zeros}, definition)
        assert decode_body(SERVICES, PROTOBUF, body).obj == {
            "kind": "Service", "apiVersion": "v1", "metadata": {}, "spec": {},
        }  # fmt: skip

    def test_unknown_fields_are_skipped(self) -> None:
        type_meta = encode_bytes(1, encode_bytes(1, b"v1") + encode_bytes(2, b"ConfigMap"))
        raw = encode_bytes(99, b"x") + bytes.fromhex("c03e05c13e0000000000000000c53e00000000")
        assert decode_body(CONFIG_MAPS, PROTOBUF, b"k8s\0" + type_meta + encode_bytes(2, raw)).obj["metadata"] == {}

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", b"k8s\0\xff", b"k8s\0\x0a\x7f", b"k8s\0\x12\x02\x0a\x7f", b"k8s\0\x0b", b"k8s\0\x08\x01",
         b"k8s\0\x12\x02\x08\x01", b"k8s\0" + b"\xff" * 11],
        ids=["empty", "json", "no tag", "short envelope", "short message", "a group", "wrong envelope type",
             "wrong type of metadata", "an endless number"],
    )  # fmt: skip
    def test_what_is_no_message_is_refused(self, body: bytes) -> None:
        refuse(SERVICES, body, PROTOBUF)

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=60))
    def test_any_bytes_are_an_object_or_an_api_error(self, raw: bytes) -> None:
        body = b"k8s\0" + encode_bytes(1, b"") + encode_bytes(2, raw)
        try:
            decode_body(PODS, PROTOBUF, body)
        except ApiError as error:
            assert error.status_code == 400


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_json_yaml_and_protobuf_mean_the_same(resource: Resource) -> None:
    definition = find_definition(resource.group, resource.version, resource.kind)
    assert definition is not None

    @settings(deadline=None, max_examples=25)
    @given(draw_objects(definition))
    def check(drawn: Json) -> None:
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}, **drawn}
        body = json.dumps(obj).encode()
        wanted = decode_body(resource, JSON, body, field_validation="Strict").obj
        assert wanted == obj
        assert decode_body(resource, PROTOBUF, encode_body(obj, definition)).obj == wanted
        assert decode_body(resource, YAML, encode_yaml(obj)).obj == wanted

    check()


@settings(deadline=None, max_examples=150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("metadata", "spec", "ports", "labels", "name", "kind", "apiVersion", "x")), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_an_object_or_an_api_error(value: Any) -> None:
    try:
        decoded = decode_body(SERVICES, JSON, json.dumps(value).encode())
    except ApiError as error:
        assert error.status_code == 400
    else:
        again = decode_body(SERVICES, JSON, json.dumps(decoded.obj).encode(), field_validation="Strict")
        assert again.obj == decoded.obj
