"""The audit log: which requests are told of, how much of them, and the events as `audit.k8s.io/v1` writes them.

A policy is a list of rules, of which the first that fits decides. Bodies of Secrets and tokens are never written, at
any level, unless a rule of the policy names that resource itself.
Rule: spec "api-machinery" §10.4 (audit), §1.4 (`Audit-Id`); upstream's `audit.k8s.io/v1` Policy and Event.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any
from urllib.parse import urlencode

import msgspec

from seaway.api.machinery.http import Identity, Response
from seaway.apiserver.observability.exchange import Exchange
from seaway.net.errors import OperationalError

Json = dict[str, Any]
API_VERSION = "audit.k8s.io/v1"
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_RECEIVED, _STARTED, _COMPLETE, _PANIC = STAGES
MAX_OBJECT_BYTES = 512 << 10
"""Larger bodies are left out, with an annotation that says so."""
CONFIDENTIAL = frozenset(
    (("", "secrets"), ("", "serviceaccounts/token"), ("authentication.k8s.io", "tokenreviews"))
)  # fmt: skip
_SECRET_PARAMETERS = re.compile("token|password|secret", re.IGNORECASE)


class Level(IntEnum):
    """Each tells what the one before it does, and more."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


LEVELS = {"None": Level.NONE, "Metadata": Level.METADATA, "Request": Level.REQUEST}
LEVELS["RequestResponse"] = Level.REQUEST_RESPONSE
_NAMES = {level: name for name, level in LEVELS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Fits a request when each list is empty or holds what the request has. resources: (group, resource, names)."""

    level: Level
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    resources: tuple[tuple[str, str, frozenset[str]], ...] = ()
    paths: tuple[str, ...] = ()
    omitted: frozenset[str] = frozenset()

    def fits(self, exchange: Exchange) -> bool:
        identity, route = exchange.identity, exchange.route
        if self.users and identity.user not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(identity.groups):
            return False
        if self.verbs and route.verb not in self.verbs:
            return False
        if not route.is_resource:
            return not (self.namespaces or self.resources) and (not self.paths or _matches(self.paths, route.path))
        if self.paths and not self.resources:
            return False
        if self.namespaces and route.namespace not in self.namespaces:
            return False
        return not self.resources or any(_names(each, exchange) for each in self.resources)

    def names_itself(self, group: str, resource: str) -> bool:
        """The resource is written in the rule, not covered by a pattern."""
        return any(each[:2] == (group, resource) for each in self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in order, and the stages that none of them tells of. What no rule fits is not audited."""

    rules: tuple[Rule, ...]
    omitted: frozenset[str] = frozenset()

    def decide(self, exchange: Exchange) -> tuple[Level, frozenset[str]]:
        """The level of the request, and the stages left out."""
        for rule in self.rules:
            if rule.fits(exchange):
                level = rule.level
                group, resource = exchange.route.group, _resource_of(exchange)
                if (group, resource) in CONFIDENTIAL and not rule.names_itself(group, resource):
                    level = min(level, Level.METADATA)
                return level, self.omitted | rule.omitted
        return Level.NONE, self.omitted


def make_policy(level: Level) -> Policy:
    """Everything at one level, without the stage that tells nothing new."""
    return Policy((Rule(level=level),), frozenset((_RECEIVED,)))


def parse_policy(document: Any, *, subject: str) -> Policy:
    """The policy of a decoded file. Raises OperationalError with the subject, the place and what is allowed."""
    if not isinstance(document, dict) or document.get("kind") != "Policy" or document.get("apiVersion") != API_VERSION:
        raise OperationalError(f"audit policy {subject}: not a Policy of {API_VERSION}")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise OperationalError(f"audit policy {subject}: no rules; give at least one, such as {{level: Metadata}}")
    parsed = tuple(_parse_rule(rule, f"audit policy {subject}: rules[{index}]") for index, rule in enumerate(rules))
    return Policy(parsed, _parse_stages(document, f"audit policy {subject}"))


def _parse_rule(rule: Any, where: str) -> Rule:
    known = {"level", "users", "userGroups", "verbs", "namespaces", "resources", "nonResourceURLs", "omitStages"}
    if not isinstance(rule, dict):
        raise OperationalError(f"{where}: not a mapping")
    unknown = sorted(map(str, set(rule) - known - {"omitManagedFields"}))
    if unknown:
        raise OperationalError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    if rule.get("level") not in LEVELS:
        raise OperationalError(f"{where}.level: {rule.get('level')!r} found, one of {', '.join(LEVELS)} needed")
    resources = []
    for entry in _list(rule, "resources", where, kind=dict):
        group = entry.get("group") or ""
        names = frozenset(_list(entry, "resourceNames", where))
        for name in _list(entry, "resources", where) or ["*", "*/*"]:
            resources.append((str(group), str(name), names))
    return Rule(
        level=LEVELS[rule["level"]],
        users=frozenset(_list(rule, "users", where)),
        groups=frozenset(_list(rule, "userGroups", where)),
        verbs=frozenset(_list(rule, "verbs", where)),
        namespaces=frozenset(_list(rule, "namespaces", where)),
        resources=tuple(resources),
        paths=tuple(_list(rule, "nonResourceURLs", where)),
        omitted=_parse_stages(rule, where),
    )


def _parse_stages(holder: Mapping[str, Any], where: str) -> frozenset[str]:
    stages = frozenset(_list(holder, "omitStages", where))
    unknown = sorted(stages - set(STAGES))
    if unknown:
        raise OperationalError(f"{where}.omitStages: {', '.join(unknown)} found, {', '.join(STAGES)} allowed")
    return stages


def _list(holder: Mapping[str, Any], key: str, where: str, *, kind: type = str) -> list[Any]:
    found = holder.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise OperationalError(f"{where}.{key}: a list of {'texts' if kind is str else 'mappings'} needed")
    return found


def _matches(patterns: Sequence[str], path: str) -> bool:
    return any(p in ("*", path) or (p.endswith("*") and path.startswith(p[:-1])) for p in patterns)


def _resource_of(exchange: Exchange) -> str:
    route = exchange.route
    return f"{route.plural}/{route.subresource}" if route.subresource else route.plural


def _names(entry: tuple[str, str, frozenset[str]], exchange: Exchange) -> bool:
    """Rule: upstream's Policy: `*` are all resources without subresources, `pods/*` and `*/scale` are patterns."""
    group, resource, names = entry
    route = exchange.route
    if group != route.group or (names and route.name not in names):
        return False
    if not route.subresource:
        return resource in ("*", route.plural)
    return resource in ("*/*", f"{route.plural}/*", f"*/{route.subresource}", _resource_of(exchange))


class AuditTrail:
    """Writes the events of requests. `write` takes a line and says whether it was taken."""

    def __init__(self, policy: Policy, write: Callable[[bytes], bool], wall_now: Callable[[], datetime]) -> None:
        self.events = 0
        self.lost = 0
        self._policy = policy
        self._write = write
        self._wall_now = wall_now

    def receive(self, exchange: Exchange) -> None:
        """The request is known, nothing was done yet."""
        exchange.level, exchange.omitted = self._policy.decide(exchange)
        if exchange.level is not Level.NONE:
            exchange.received = self._wall_now()
            self._tell(exchange, _RECEIVED, None)

    def start(self, exchange: Exchange, response: Response) -> None:
        """The header of an answer that goes on for long."""
        self._tell(exchange, _STARTED, response)

    def complete(self, exchange: Exchange, response: Response, *, panicked: bool = False) -> None:
        """The answer is made, or its stream has ended. Nothing more comes."""
        self._tell(exchange, _PANIC if panicked else _COMPLETE, response)
        exchange.received = None

    def _tell(self, exchange: Exchange, stage: str, response: Response | None) -> None:
        if exchange.received is None or stage in exchange.omitted:
            return
        event = make_event(exchange, stage, response, received=exchange.received, wall_now=self._wall_now())
        if self._write(msgspec.json.encode(event) + b"\n"):
            self.events += 1
        else:
            self.lost += 1


def make_event(
    exchange: Exchange, stage: str, response: Response | None, *, received: datetime, wall_now: datetime
) -> Json:
    """The event of one stage."""
    request, level = exchange.request, Level(exchange.level)
    annotations: dict[str, str] = {}
    event: Json = {
        "kind": "Event",
        "apiVersion": API_VERSION,
        "level": _NAMES[level],
        "auditID": exchange.audit_id,
        "stage": stage,
        "requestURI": _make_uri(request.path, request.query),
        "verb": exchange.route.verb or request.method.lower(),
        "user": _make_user(exchange.identity),
    }
    if exchange.impersonated is not None:
        event["impersonatedUser"] = _make_user(exchange.impersonated)
    event["sourceIPs"] = [request.source] if request.source else []
    if request.headers.get("user-agent"):
        event["userAgent"] = request.headers["user-agent"][:1024]
    if exchange.route.is_resource:
        event["objectRef"] = _make_reference(exchange)
    if response is not None:
        event["responseStatus"] = _make_status(response, is_confidential=_is_confidential(exchange))
    if level >= Level.REQUEST and request.body:
        _add_object(event, "requestObject", request.body, request.headers.get("content-type", ""), annotations)
    if level >= Level.REQUEST_RESPONSE and response is not None and isinstance(response.body, bytes):
        headers = dict(response.headers)
        body = response.body
        if headers.get("Content-Encoding") == "gzip":
            body = zlib.decompressobj(31).decompress(body, MAX_OBJECT_BYTES + 1)
        _add_object(event, "responseObject", body, headers.get("Content-Type", ""), annotations)
    event["requestReceivedTimestamp"] = _format_micro(received)
    event["stageTimestamp"] = _format_micro(wall_now)
    if exchange.decision:
        annotations["authorization.k8s.io/decision"] = exchange.decision
    if annotations:
        event["annotations"] = annotations
    return event


def _make_uri(path: str, query: Sequence[tuple[str, str]]) -> str:
    """As asked, but for values of parameters that are credentials by their name."""
    shown = [(key, "REDACTED" if _SECRET_PARAMETERS.search(key) else value) for key, value in query]
    return f"{path}?{urlencode(shown)}" if shown else path


def _make_user(identity: Identity) -> Json:
    user: Json = {"username": identity.user}
    if identity.uid:
        user["uid"] = identity.uid
    user["groups"] = list(identity.groups)
    if identity.extra:
        user["extra"] = {key: list(values) for key, values in identity.extra}
    return user


def _make_reference(exchange: Exchange) -> Json:
    route = exchange.route
    reference = {
        "resource": route.plural,
        "namespace": route.namespace,
        "name": route.name,
        "apiGroup": route.group,
        "apiVersion": route.version,
        "subresource": route.subresource,
    }
    return {key: value for key, value in reference.items() if value}


def _is_confidential(exchange: Exchange) -> bool:
    return (exchange.route.group, _resource_of(exchange)) in CONFIDENTIAL and exchange.level <= Level.METADATA


def _make_status(response: Response, *, is_confidential: bool) -> Json:
    """The code, and the words of a refusal; not where these may repeat what was sent (a 422 of a PATCH does)."""
    status: Json = {"metadata": {}, "code": response.status}
    if not is_confidential and response.status >= 400 and isinstance(response.body, bytes):
        found = _decode(response.body)
        if isinstance(found, dict) and found.get("kind") == "Status":
            status |= {key: found[key] for key in ("status", "message", "reason", "details") if key in found}
    return status


def _add_object(event: Json, key: str, body: bytes, content_type: str, annotations: dict[str, str]) -> None:
    """The body as JSON; of another encoding or too large, only that there was one."""
    media = content_type.partition(";")[0]
    found = _decode(body) if len(body) <= MAX_OBJECT_BYTES and (not media or media.endswith("json")) else None
    if found is None:
        annotations[f"audit.seaway/{key}"] = f"left out: {len(body)} bytes of {media[:64] or 'application/json'}"
    else:
        event[key] = found


def _decode(body: bytes) -> Any:
    """The JSON value, None for what is no JSON."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _format_micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
