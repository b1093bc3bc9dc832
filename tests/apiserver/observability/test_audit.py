"""The audit log: levels, policies, events. Rule: spec "api-machinery" §10.4, §1.4 (`Audit-Id`)."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity, Request, Response
from seaway.apiserver.observability.audit import (
    LEVELS,
    MAX_OBJECT_BYTES,
    AuditTrail,
    Level,
    Policy,
    Rule,
    make_event,
    make_policy,
    parse_policy,
)
from seaway.apiserver.observability.exchange import Exchange, is_safe_id
from seaway.apiserver.routes import route_request
from seaway.net.errors import OperationalError
from seaway.testing.builders import make_service
from tests.apiserver.conversation import CONFIG_MAPS, NOON, SERVICES, Conversation, talk

SECRETS = "/api/v1/namespaces/default/secrets"
HIDDEN = "c2Vzc2FtZQ=="
Json = dict[str, Any]


class Log:
    """Takes every line, until it is full."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.text = ""
        self.is_full = False

    def write(self, line: bytes) -> bool:
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        if self.is_full:
            return False
        self.text += line.decode()
        self.events.append(json.loads(line))
        return True


def audit(ask: Conversation, policy: Policy) -> Log:
    log = Log()
    ask.server.audit = AuditTrail(policy, log.write, ask.effects.wall_now)
    return log


ALL_STAGES = Policy((Rule(level=Level.METADATA),))


def test_an_event_says_who_did_what_from_where_and_how_it_ended() -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, make_policy(Level.METADATA))
        await ask("POST", SERVICES, make_service())
        headers = {"audit-id": "my-id-1", "user-agent": "kubectl/v1.36"}
        answer = await ask("GET", f"{SERVICES}/web?pretty=true", headers=headers)
        assert answer.headers["Audit-Id"] == "my-id-1"
        assert log.events[1] == {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": "my-id-1",
            "stage": "ResponseComplete",
            "requestURI": f"{SERVICES}/web?pretty=true",
            "verb": "get",
            "user": {"username": "admin", "groups": ["system:authenticated", "system:masters"]},
            "sourceIPs": [],
            "userAgent": "kubectl/v1.36",
            "objectRef": {"resource": "services", "namespace": "default", "name": "web", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": "2026-01-02T12:00:00.000000Z",
            "stageTimestamp": "2026-01-02T12:00:00.000000Z",
            "annotations": {"authorization.k8s.io/decision": "allow"},
        }

    talk(conversation)


def test_stages_of_a_request_and_of_a_watch() -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, ALL_STAGES)
        await ask("GET", SERVICES)
        watch = await ask.watch(SERVICES)
        assert [event["stage"] for event in log.events] == [
            "RequestReceived",
            "ResponseComplete",
            "RequestReceived",
            "ResponseStarted",
        ]
        await watch.stream.aclose()  # type: ignore[attr-defined]
        assert log.events[-1]["stage"] == "ResponseComplete" and log.events[-1]["verb"] == "watch"
        ask.server.state.find = None  # type: ignore[assignment,method-assign]
        await ask("GET", f"{SERVICES}/web")
        assert [event["stage"] for event in log.events[-2:]] == ["RequestReceived", "Panic"]
        assert "audit=" in "".join(ask.effects.reported[0].__notes__)
        ask.effects.reported.clear()

    talk(conversation)


def test_refusals_are_audited_with_their_reason_and_decision() -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, make_policy(Level.METADATA))
        await ask("GET", f"{SERVICES}/web", identity=ANONYMOUS)
        (event,) = log.events
        assert event["annotations"] == {"authorization.k8s.io/decision": "forbid"}
        assert (event["responseStatus"]["code"], event["responseStatus"]["reason"]) == (403, "Forbidden")
        await ask("GET", SERVICES, headers={"impersonate-user": "bob"})
        assert log.events[-1]["user"]["username"] == "admin"
        assert log.events[-1]["impersonatedUser"]["username"] == "bob"

    talk(conversation)


@pytest.mark.parametrize(
    ("level", "has_request", "has_response"),
    [("Metadata", False, False), ("Request", True, False), ("RequestResponse", True, True)],
)
def test_each_level_tells_more(level: str, has_request: bool, has_response: bool) -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, make_policy(LEVELS[level]))
        await ask("POST", SERVICES, make_service(), headers={"accept-encoding": "gzip"})
        (event,) = log.events
        assert ("requestObject" in event, "responseObject" in event) == (has_request, has_response)
        if has_response:
            assert event["requestObject"]["metadata"]["name"] == "web"
            assert event["responseObject"]["spec"]["clusterIP"]

    talk(conversation)


@pytest.mark.parametrize("level", ["Request", "RequestResponse"])
def test_the_bodies_of_secrets_are_written_at_no_level(level: str) -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, make_policy(LEVELS[level]))
        secret = {"metadata": {"name": "s"}, "data": {"k": HIDDEN}}
        await ask("POST", SECRETS, secret)
        await ask("GET", f"{SECRETS}/s")
        await ask("GET", SECRETS)
        await ask.patch(f"{SECRETS}/s", {"data": {"k": HIDDEN, "bad": 5}})
        await ask("POST", SECRETS, {"metadata": {"name": "S"}, "data": {"k": "not base64: sesame"}})
        assert len(log.events) == 5 and all(event["level"] == "Metadata" for event in log.events)
        assert HIDDEN not in log.text and base64.b64decode(HIDDEN).decode() not in log.text

    talk(conversation)


def test_a_rule_that_names_secrets_itself_is_obeyed_and_a_pattern_is_not() -> None:
    def decide(rule: Json) -> Level:
        request = Request("GET", f"{SECRETS}/s")
        exchange = Exchange(request, Identity("ann"), "id", 0.0)
        exchange.route = route_request(request)
        document = {"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [{"level": "RequestResponse", **rule}]}
        return parse_policy(document, subject="x").decide(exchange)[0]

    assert decide({}) is Level.METADATA
    assert decide({"resources": [{"group": ""}]}) is Level.METADATA
    assert decide({"resources": [{"group": "", "resources": ["*"]}]}) is Level.METADATA
    assert decide({"resources": [{"group": "", "resources": ["secrets"]}]}) is Level.REQUEST_RESPONSE


def test_credentials_in_a_query_are_not_written() -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, make_policy(Level.METADATA))
        await ask("GET", f"{SERVICES}?access_token=sesame&limit=5")
        assert "sesame" not in log.text and "limit=5" in log.events[0]["requestURI"]

    talk(conversation)


def test_bodies_that_are_large_or_no_json_are_only_mentioned() -> None:
    def event_of(body: bytes, content_type: str, answer: Response) -> Json:
        request = Request("POST", CONFIG_MAPS, (), {"content-type": content_type}, body)
        exchange = Exchange(request, Identity("ann"), "id", 0.0)
        exchange.route, exchange.level = route_request(request), Level.REQUEST_RESPONSE
        return make_event(exchange, "ResponseComplete", answer, received=NOON, wall_now=NOON)

    large = b'{"a":"' + b"x" * MAX_OBJECT_BYTES + b'"}'
    packed = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    event = event_of(large, "application/json", Response(200, packed, gzip.compress(large)))
    assert "requestObject" not in event and "responseObject" not in event
    assert event["annotations"]["audit.seaway/requestObject"] == f"left out: {len(large)} bytes of application/json"
    event = event_of(b"k8s\x00", "application/vnd.kubernetes.protobuf", Response(200, packed, gzip.compress(b"[1]")))
    assert event["annotations"] == {
        "audit.seaway/requestObject": "left out: 4 bytes of application/vnd.kubernetes.protobuf"
    }
    assert event["responseObject"] == [1]
    event = event_of(b'[{"op":"remove"}]', "application/json-patch+json", Response(200))
    assert event["requestObject"] == [{"op": "remove"}]


def test_a_log_that_is_full_is_counted() -> None:
    async def conversation(ask: Conversation) -> None:
        log = audit(ask, make_policy(Level.METADATA))
        await ask("GET", SERVICES)
        log.is_full = True
        await ask("GET", SERVICES)
        text = (await ask("GET", "/metrics")).text
        assert b"apiserver_audit_event_total 1\n" in text
        assert b'apiserver_audit_error_total{plugin="log"} 1\n' in text

    talk(conversation)


# Policies.


@pytest.mark.parametrize(
    ("rule", "target", "fits"),
    [
        pytest.param({}, f"{SERVICES}/web", True, id="an empty rule fits all"),
        pytest.param({"users": ["ann"]}, SERVICES, True, id="one of the users"),
        pytest.param({"users": ["bob"]}, SERVICES, False, id="none of the users"),
        pytest.param({"userGroups": ["devs"]}, SERVICES, True, id="one of the groups"),
        pytest.param({"userGroups": ["ops"]}, SERVICES, False, id="none of the groups"),
        pytest.param({"verbs": ["list"]}, SERVICES, True, id="the verb"),
        pytest.param({"verbs": ["get"]}, SERVICES, False, id="another verb"),
        pytest.param({"namespaces": ["default"]}, SERVICES, True, id="the namespace"),
        pytest.param({"namespaces": ["x"]}, SERVICES, False, id="another namespace"),
        pytest.param({"namespaces": ["default"]}, "/metrics", False, id="a path has no namespace"),
        pytest.param({"resources": [{"resources": ["services"]}]}, SERVICES, True, id="the resource"),
        pytest.param({"resources": [{"resources": ["*"]}]}, SERVICES, True, id="any resource"),
        pytest.param({"resources": [{}]}, f"{SERVICES}/web/status", True, id="no resources are all of the group"),
        pytest.param({"resources": [{"resources": ["services"]}]}, f"{SERVICES}/web/status", False, id="not a part"),
        pytest.param({"resources": [{"resources": ["services/*"]}]}, f"{SERVICES}/web/status", True, id="any part"),
        pytest.param(
            {"resources": [{"resources": ["*/status"]}]}, f"{SERVICES}/web/status", True, id="the part of any"
        ),
        pytest.param({"resources": [{"group": "apps"}]}, SERVICES, False, id="another group"),
        pytest.param(
            {"resources": [{"resources": ["services"], "resourceNames": ["web"]}]}, f"{SERVICES}/web", True, id="a name"
        ),
        pytest.param(
            {"resources": [{"resources": ["services"], "resourceNames": ["db"]}]},
            f"{SERVICES}/web",
            False,
            id="no name",
        ),
        pytest.param({"nonResourceURLs": ["/healthz*"]}, "/healthz/ping", True, id="a path by its beginning"),
        pytest.param({"nonResourceURLs": ["/healthz"]}, "/metrics", False, id="another path"),
        pytest.param({"nonResourceURLs": ["/healthz"]}, SERVICES, False, id="paths are no resources"),
    ],
)
def test_which_requests_a_rule_fits(rule: Json, target: str, fits: bool) -> None:
    document = {"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [{"level": "Request", **rule}]}
    request = Request("GET", target)
    exchange = Exchange(request, Identity("ann", ("devs",)), "id", 0.0)
    exchange.route = route_request(request)
    level, _ = parse_policy(document, subject="x").decide(exchange)
    assert (level is Level.REQUEST) is fits


def test_the_first_rule_that_fits_decides_and_stages_are_left_out() -> None:
    document = {
        "kind": "Policy",
        "apiVersion": "audit.k8s.io/v1",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": ["system:kube-proxy"]},
            {"level": "Metadata", "omitStages": ["ResponseStarted"]},
        ],
    }
    policy = parse_policy(document, subject="x")

    def decide(user: str) -> tuple[Level, frozenset[str]]:
        return policy.decide(Exchange(Request("GET", "/"), Identity(user), "id", 0.0))

    assert decide("system:kube-proxy")[0] is Level.NONE
    assert decide("ann") == (Level.METADATA, frozenset(("RequestReceived", "ResponseStarted")))


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "audit policy p.yaml: not a Policy of audit.k8s.io/v1"),
        ({"kind": "Policy", "apiVersion": "v1"}, "audit policy p.yaml: not a Policy of audit.k8s.io/v1"),
        ({}, "no rules"),
        ({"rules": []}, "no rules"),
        ({"rules": ["x"]}, "audit policy p.yaml: rules[0]: not a mapping"),
        ({"rules": [{"level": "All"}]}, "rules[0].level: 'All' found, one of None, Metadata, Request, RequestResponse"),
        ({"rules": [{"level": "None"}, {"level": "None", "user": ["x"]}]}, "rules[1]: unknown user; known are"),
        ({"rules": [{"level": "None", "users": "x"}]}, "rules[0].users: a list of texts needed"),
        ({"rules": [{"level": "None", "resources": ["x"]}]}, "rules[0].resources: a list of mappings needed"),
        ({"rules": [{"level": "None", "omitStages": ["End"]}]}, "rules[0].omitStages: End found"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_the_place(document: Any, text: str) -> None:
    if isinstance(document, dict):
        document = {"kind": "Policy", "apiVersion": "audit.k8s.io/v1", **document}
    with pytest.raises(OperationalError) as raised:
        parse_policy(document, subject="p.yaml")
    assert text in str(raised.value)


# Request ids.


@pytest.mark.parametrize(
    ("text", "is_safe"),
    [
        ("5e3d1d3c-7a30-4d8c-9c0f-0d9c9a3b7d11", True),
        ("a.b_c:d-1", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("a\nb", False),
        ('a"b', False),
        ("ä", False),
    ],
)
def test_which_ids_of_clients_are_repeated(text: str, is_safe: bool) -> None:
    assert is_safe_id(text) is is_safe


def test_an_id_that_is_not_safe_is_replaced() -> None:
    async def conversation(ask: Conversation) -> None:
        for path in (SERVICES, f"{SERVICES}/..", "/nowhere"):
            answer = await ask("GET", path, headers={"audit-id": "x" * 100})
            assert len(answer.headers["Audit-Id"]) == 36

    talk(conversation)
