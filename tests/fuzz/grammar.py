"""Whole requests: drawn from what the server offers and from what earlier answers showed.

The generator sees the answers through `World`, so later requests meet objects, revisions and tokens that exist. Names
and namespaces come from small pools, so requests meet each other, and the state stays small.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from seaway.api.machinery.http import Request
from seaway.api.machinery.yaml_codec import encode_yaml
from seaway.apiserver.verbs import VERBS
from tests.fuzz import values
from tests.fuzz.mutation import YAML_TRICKS, damage, encode, is_plain, mutate, repeat_key
from tests.fuzz.objects import Corpus, grow
from tests.fuzz.patches import APPLY, TYPES, make_patch
from tests.fuzz.steps import WHO, Advance, Break, Check, Close, Compact, Read, Send, Step, Together
from tests.fuzz.surface import Endpoint
from tests.wire.protobuf_encoder import encode_body

Json = dict[str, Any]
PROTOBUF = "application/vnd.kubernetes.protobuf"
CHECK_EVERY = 1500
MAX_OPEN_WATCHES = 12
MAX_OBJECTS_OF_A_KIND = 120
_VERBS = ("create", "update", "patch", "get", "list", "delete", "deletecollection", "watch", "path", "raw")
_WEIGHTS = (24, 13, 20, 11, 10, 9, 1, 5, 3, 4)
_ACCEPTS = (
    "*/*", "application/json", "application/yaml", "application/json, */*", f"{PROTOBUF},application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=Table;v=v9;g=meta.k8s.io", "application/xml", PROTOBUF, "application/*", "text/html", ";;;",
    ",", "application/json;q=0",
    "application/json;q=nan", "application/json;q=inf,*/*;q=-1", "application/yaml;as=Table;v=v1;g=meta.k8s.io",
    "application/json;pretty=1",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "application/json;stream=watch", "a/b;=;q",
    "application/json;as", "\u00e9",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)  # fmt: skip
_PATHS = (
    "/", "/api", "/apis", "/api/v1", "/apis/apps/v1", "/version", "/healthz", "/livez", "/readyz", "/readyz/etcd",
    "/metrics", "/openapi/v2",
    "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/discovery.k8s.io/v1", "/.well-known/openid-configuration",
    "/openid/v1/jwks",
    "/swagger-2.0.0.pb-v1", "/apis/nope", "/apis/nope/v1", "/api/v2", "/favicon.ico", "/apis/discovery.k8s.io",
    "/logs", "/debug/pprof",
)  # fmt: skip
_SEGMENTS = ("api", "apis", "v1", "namespaces", "default", "pods", "services", "watch", "status", "scale", "proxy",
"finalize", "binding", "",
             ".", "..", "%2e%2e", "%2F", "%00", "%ff", "%", "%zz", "é", "a%20b", "apps", "*", "a" * 300, "%25", "web",
             "exec", "log", "events", "~")  # fmt: skip
_LABEL_SELECTORS = (
    "app=web", "app", "!app", "app!=web", "app in (web,a)", "app notin (a)", "a>1", "a<x", "a in ()", "a in (", "=",
    ",", "a=b,,c", "a==b", "a=b=c",
    "x/y=z", "!!a", "a!", "(a)", "a b", " app = web ", "a in (b,c),d", "é=é", "a=" + "b" * 64, "/=", "a/b/c",
    "app=web,", "in in (in)", "notin", "\x00",
)  # fmt: skip
_FIELD_SELECTORS = (
    "metadata.name=web", "metadata.name!=web", "metadata.namespace=default", "spec.nodeName=node-1",
    "spec.clusterIP=None", "status.phase=Running",
    "metadata.name=a,metadata.name=b", "spec.foo=1", "=", "a", ",", "metadata.name=a\\,b", "metadata.name=\\",
    "metadata.name==web", "type=Opaque",
    "involvedObject.name=web", "spec.type!=ClusterIP", "status.replicas=1", "metadata.name=", "\\=",
    "metadata.name=a=b", "spec.unschedulable=true",
)  # fmt: skip
_NUMBERS = (
    "0",
    "1",
    "2",
    "5",
    "500",
    "-1",
    "",
    "x",
    "1e3",
    "99999999999999999999",
    "0x1",
    " 1",
    "+1",
    "٣",
    "9223372036854775807",
    "1.5",
)
_FLAGS = ("true", "false", "1", "0", "", "True", "x")
_DURATIONS = ("1s", "32s", "5m", "", "x", "-1s", "1h2m", "0", "1", "99999999999h", "1.5s", "ns", "1s" * 50)

_RUINOUS = ("clusterroles", "clusterrolebindings")


def _is_tampering(verb: str, endpoint: Endpoint) -> bool:
    """IPAddresses are the allocator's: whoever deletes one lets two Services have one address, as upstream."""
    return endpoint.plural == "ipaddresses" and verb not in ("get", "list", "watch")


def _spare(send: Send, *, tampers: bool) -> Send:
    """The request, or a GET instead: to delete all cluster roles would take the administrator's own rights, and nothing
    would be answered but 403 from then on."""
    request = send.request
    path = unquote(request.path).rstrip("/")
    is_ruinous = request.method == "DELETE" and path.endswith(_RUINOUS)
    if is_ruinous or (not tampers and request.method != "GET" and "ipaddresses" in path):
        return replace(send, request=replace(request, method="GET"))
    return send


@dataclass(slots=True)
class World:
    """What answers have shown."""

    objects: dict[tuple[str, str, str], deque[bytes]] = field(default_factory=dict)
    revisions: deque[int] = field(default_factory=lambda: deque((1,), maxlen=64))
    tokens: deque[str] = field(default_factory=lambda: deque(maxlen=16))
    open_watches: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Objects of each resource at the last check."""
    terminating: list[bytes] = field(default_factory=list)
    """Namespaces that wait for somebody to finalize them, at the last check."""

    def remember(self, kind: tuple[str, str, str], body: bytes) -> None:
        self.objects.setdefault(kind, deque(maxlen=24)).append(body)


class Grammar:
    """An endless row of steps, each decided when it is asked for."""

    def __init__(
        self, rng: random.Random, corpus: Corpus, endpoints: tuple[Endpoint, ...], world: World, *, tampers: bool
    ) -> None:
        """tampers: also write IPAddresses, which are the allocator's; what Services hold may then be taken away."""
        self._rng, self._corpus, self._world = rng, corpus, world
        self._by_verb = {
            verb: [e for e in endpoints if verb in e.verbs and (tampers or not _is_tampering(verb, e))]
            for verb in _VERBS
        }
        self._tampers = tampers
        self._all = endpoints
        self._subresources = sorted({subresource for _, subresource in VERBS} | {e.subresource for e in endpoints})
        self._main = {(e.group, e.plural): e for e in endpoints if not e.subresource}

    def steps(self) -> Iterator[Step]:
        """For ever."""
        rng, since_check = self._rng, 0
        while True:
            since_check += 1
            if since_check >= CHECK_EVERY:
                since_check = 0
                yield Check()
                yield from self._tidy()
            draw = rng.random()
            if draw < 0.07:
                yield Together(tuple(self._rivals()))
            elif draw < 0.12 and self._world.open_watches:
                yield Read(rng.choice(self._world.open_watches))
            elif (draw < 0.125 and self._world.open_watches) or len(self._world.open_watches) > MAX_OPEN_WATCHES:
                yield Close(rng.choice(self._world.open_watches))
            elif draw < 0.13:
                yield Advance(rng.choice((0.1, 1.0, 1.0, 30.0, 61.0)))
            elif draw < 0.1305:
                yield Compact(rng.choice((0, 10, 200)))
            elif draw < 0.1315:
                yield Break(rng.choice((1, 1, 2)))
            else:
                yield self.draw_send()

    def draw_send(self) -> Send:
        """One request."""
        return _spare(self._draw_any(), tampers=self._tampers)

    def _draw_any(self) -> Send:
        verb = self._rng.choices(_VERBS, _WEIGHTS)[0]
        if verb == "path":
            return self._draw_path()
        if verb == "raw":
            return self._draw_raw()
        return self._draw_for(verb, self._rng.choice(self._by_verb[verb]), self._draw_who())

    def _tidy(self) -> Iterator[Step]:
        """Keep the state small: what there is too much of goes, and what finalizers hold is let go."""
        for endpoint in self._main.values():
            is_few = self._world.counts.get(endpoint.label, 0) <= MAX_OBJECTS_OF_A_KIND
            if is_few or endpoint.plural in _RUINOUS or endpoint not in self._by_verb["deletecollection"]:
                continue
            spaces = sorted(set(values.NAMESPACES)) if endpoint.namespaced else [""]
            for namespace in spaces:
                query = (("gracePeriodSeconds", "0"),)
                yield Send("admin", Request("DELETE", endpoint.path(namespace), query))
        for body in self._world.terminating:
            namespace = msgspec.json.decode(body)
            namespace["spec"] = {}
            namespace["metadata"].pop("finalizers", None)
            path = f"/api/v1/namespaces/{namespace['metadata']['name']}/finalize"
            yield Send("admin", Request("PUT", path, (), {}, encode(namespace)))
        for name in ("a", "b"):
            yield Send("admin", Request("POST", "/api/v1/namespaces", (), {}, encode({"metadata": {"name": name}})))

    def _rivals(self) -> Iterator[Send]:
        """Requests for the same few things."""
        rng = self._rng
        first = self.draw_send()
        yield first
        for _ in range(rng.choice((1, 1, 2, 4))):
            if rng.random() < 0.4:
                yield Send("admin", first.request)
            elif rng.random() < 0.7:
                path = first.request.path
                method = rng.choice(("DELETE", "PUT", "PATCH", "GET"))
                headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
                body = (
                    first.request.body
                    if method == "PUT"
                    else encode({"metadata": {"labels": {"app": rng.choice("abc")}}})
                )
                send = Send("admin", Request(method, path, (), headers, b"" if method in ("GET", "DELETE") else body))
                yield _spare(send, tampers=self._tampers)
            else:
                yield self.draw_send()

    def _draw_who(self) -> str:
        rng = self._rng
        return "admin" if rng.random() < 0.9 else rng.choice(list(WHO))

    def _draw_for(self, verb: str, endpoint: Endpoint, who: str) -> Send:
        rng = self._rng
        namespace = rng.choice(values.NAMESPACES) if endpoint.namespaced else ""
        obj = self._draw_object(endpoint, stored=verb in ("update", "patch"))
        meta = obj.get("metadata")
        if rng.random() < 0.7 and isinstance(meta, dict):
            if endpoint.namespaced and isinstance(meta.get("namespace"), str):
                namespace = meta["namespace"] or "default"
            name = str(meta.get("name") or rng.choice(values.NAMES))
        else:
            name = self._draw_name(endpoint)
        if verb in ("list", "watch", "deletecollection"):
            name = ""
            if endpoint.namespaced and verb != "deletecollection" and rng.random() < 0.4:
                namespace = ""
        if verb == "create" and not endpoint.subresource:
            name = ""
        path = endpoint.path(quote(namespace, safe=""), quote(name, safe=":"))
        if verb == "watch" and rng.random() < 0.1:
            path = path.replace(endpoint.prefix, f"{endpoint.prefix}/watch", 1)
        headers = self._draw_headers()
        query = self._draw_query(verb)
        method, body = self._draw_body(verb, endpoint, obj, headers)
        verifies = rng.random() < 0.15 and not query and len(headers) <= 1
        return Send(who, Request(method, path, query, headers, body), verifies)

    def _draw_name(self, endpoint: Endpoint) -> str:
        rng = self._rng
        if rng.random() < 0.04:
            return values.text(rng)
        if endpoint.plural == "ipaddresses":
            return rng.choice(values.ADDRESSES)
        if endpoint.plural == "namespaces" and rng.random() < 0.8:
            return rng.choice(values.NAMESPACES)
        return rng.choice(values.NAMES)

    def _draw_object(self, endpoint: Endpoint, *, stored: bool) -> Json:
        """An object of the endpoint's kind: one that was answered, one of the corpus, or grown; nearly always a map."""
        rng = self._rng
        known = self._world.objects.get(endpoint.kind)
        if known and rng.random() < (0.85 if stored else 0.15):
            obj: Json = msgspec.json.decode(rng.choice(known))
            return obj
        obj = self._corpus.pick(rng, endpoint.kind)
        meta = obj.get("metadata")
        if isinstance(meta, dict) and rng.random() < 0.8:
            meta["name"] = self._draw_name(endpoint)
            if rng.random() < 0.85:
                meta.pop("namespace", None)
            if rng.random() < 0.05:
                meta["generateName"] = meta.pop("name") + "-"
        return obj

    def _draw_body(self, verb: str, endpoint: Endpoint, obj: Json, headers: dict[str, str]) -> tuple[str, bytes]:
        match verb:
            case "create":
                return "POST", self._draw_object_body(endpoint, obj, headers)
            case "update":
                return "PUT", self._draw_object_body(endpoint, obj, headers)
            case "patch":
                return "PATCH", self._draw_patch_body(endpoint, obj, headers)
            case "delete" | "deletecollection":
                return "DELETE", self._draw_delete_body(headers)
        return "GET", b"" if self._rng.random() < 0.98 else b"{}"

    def _draw_object_body(self, endpoint: Endpoint, obj: Json, headers: dict[str, str]) -> bytes:
        rng = self._rng
        definition = endpoint.definition
        if definition is not None and rng.random() < 0.4:
            for _ in range(rng.choice((1, 1, 2, 4))):
                grow(rng, obj, definition)
        if rng.random() < 0.4:
            for _ in range(rng.choice((1, 1, 1, 2, 3, 10))):
                mutate(rng, obj, other=self._corpus.pick_any(rng) if rng.random() < 0.2 else None)
        return self._encode(obj, endpoint, headers)

    def _encode(self, obj: Json, endpoint: Endpoint, headers: dict[str, str]) -> bytes:
        rng, draw = self._rng, self._rng.random()
        if draw < 0.12 and endpoint.definition is not None:
            try:
                body = encode_body(obj, endpoint.definition)
            except Exception:  # what has become of it has no protobuf form
                return encode(obj)
            headers["content-type"] = PROTOBUF
            while rng.random() < 0.4:
                body = damage(rng, body)
            return body
        if draw < 0.2:
            headers["content-type"] = "application/yaml"
            if rng.random() < 0.3:
                return rng.choice(YAML_TRICKS)
            if rng.random() < 0.4 and is_plain(obj):
                try:
                    return encode_yaml(obj)
                except Exception:  # PyYAML has no form for lone surrogates
                    return encode(obj)
            return encode(obj) if rng.random() < 0.7 else damage(rng, encode(obj))
        if draw < 0.3:
            headers["content-type"] = "application/json; charset=utf-8"
        elif draw < 0.32:
            headers["content-type"] = rng.choice(
                ("text/plain", "application/cbor", "", ";", "application/json;", "APPLICATION/JSON", PROTOBUF, *TYPES)
            )
        body = encode(obj)
        if draw > 0.95:
            body = damage(rng, body)
        elif draw > 0.93:
            body = repeat_key(rng, body)
        return body

    def _draw_patch_body(self, endpoint: Endpoint, obj: Json, headers: dict[str, str]) -> bytes:
        rng = self._rng
        patch_type = rng.choice(TYPES)
        headers["content-type"] = patch_type
        body = make_patch(rng, patch_type, obj, endpoint.definition)
        if rng.random() < 0.05:
            headers["content-type"] = rng.choice(("application/json", "", f"{patch_type};charset=utf-8", *TYPES))
        if rng.random() < 0.04:
            body = damage(rng, body)
        return body if patch_type != APPLY or rng.random() < 0.95 else rng.choice(YAML_TRICKS)

    def _draw_delete_body(self, headers: dict[str, str]) -> bytes:
        rng = self._rng
        if rng.random() < 0.5:
            return b""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"} if rng.random() < 0.5 else {}
        for key in ("propagationPolicy", "gracePeriodSeconds"):
            if rng.random() < 0.4:
                options[key] = values.plausible(rng, key)
        if rng.random() < 0.2:
            options["preconditions"] = {"resourceVersion": str(rng.choice(self._world.revisions))}
        if rng.random() < 0.1:
            options["orphanDependents"] = rng.random() < 0.5
        if rng.random() < 0.1:
            options["dryRun"] = ["All"]
        if rng.random() < 0.1:
            options["gracePeriodSeconds"] = rng.choice(values.HOSTILE_NUMBERS)
        if rng.random() < 0.15 and options:
            mutate(rng, options)
        body = encode(options)
        if rng.random() < 0.05:
            headers["content-type"] = rng.choice((PROTOBUF, "application/yaml", "text/plain"))
        return damage(rng, body) if rng.random() < 0.05 else body

    def _draw_headers(self) -> dict[str, str]:
        rng = self._rng
        headers: dict[str, str] = {}
        if rng.random() < 0.25:
            headers["accept"] = rng.choice(_ACCEPTS)
        if rng.random() < 0.05:
            headers["accept-encoding"] = rng.choice(("gzip", "gzip;q=0", "br", "identity"))
        if rng.random() < 0.03:
            headers["user-agent"] = rng.choice(("curl/8", "kubectl/v1.32", "", "a" * 300, "\x00", "é/1"))
        if rng.random() < 0.02:
            headers["audit-id"] = rng.choice(("abc", "", "é", "a" * 500))
        if rng.random() < 0.02:
            headers["impersonate-user"] = rng.choice(
                ("jane", "nobody", "system:serviceaccount:default:default", "system:anonymous", "")
            )
        if rng.random() < 0.01:
            headers[
                rng.choice(
                    (
                        "impersonate-group",
                        "impersonate-uid",
                        "impersonate-extra-a",
                        "impersonate-extra-%zz",
                        "impersonate-x",
                    )
                )
            ] = "a\nb"
        if rng.random() < 0.01:
            headers["if-none-match"] = rng.choice(("*", '"x"', 'W/"x"'))
        return headers

    def _draw_query(self, verb: str) -> tuple[tuple[str, str], ...]:
        rng = self._rng
        query: list[tuple[str, str]] = []

        def add(chance: float, key: str, choices: tuple[str, ...]) -> None:
            if rng.random() < chance:
                query.append((key, rng.choice(choices)))

        versions = ("0", str(rng.choice(self._world.revisions)), str(self._world.revisions[-1]), "")
        if rng.random() < 0.06:
            versions = (
                "1",
                "01",
                "-1",
                "x",
                "18446744073709551616",
                "9223372036854775807",
                str(self._world.revisions[-1] + 1),
                "٣",
                " 1",
                "1" * 5000,
            )
        match verb:
            case "get":
                add(0.15, "resourceVersion", versions)
                add(0.01, "export", _FLAGS)
            case "list" | "watch" | "deletecollection":
                add(0.3, "labelSelector", _LABEL_SELECTORS)
                add(0.3, "fieldSelector", _FIELD_SELECTORS)
                add(0.4, "resourceVersion", versions)
                add(0.15, "resourceVersionMatch", ("Exact", "NotOlderThan", "", "x"))
                add(0.3, "limit", _NUMBERS)
                add(0.1, "timeoutSeconds", _NUMBERS)
                if rng.random() < 0.15:
                    add(
                        1,
                        "continue",
                        (
                            *self._world.tokens,
                            "x",
                            "e30",
                            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiIn0",
                            "eyJydiI6IngifQ",
                            "é",
                            "====",
                        ),
                    )
                if verb == "watch":
                    query.append(("watch", rng.choice(("true", "1", "True", "", "yes"))))
                    add(0.5, "allowWatchBookmarks", _FLAGS)
                    if rng.random() < 0.3:
                        query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
                add(0.03, "sendInitialEvents", _FLAGS)
            case "delete":
                add(0.1, "gracePeriodSeconds", _NUMBERS)
                add(0.1, "propagationPolicy", ("Foreground", "Background", "Orphan", "x", ""))
                add(0.05, "orphanDependents", _FLAGS)
            case _:
                add(0.12, "fieldValidation", ("Strict", "Warn", "Ignore", "", "x"))
                add(
                    0.15 if verb != "patch" else 0.5,
                    "fieldManager",
                    ("kubectl", "me", "other", "", "a" * 129, "a\tb", "é"),
                )
                add(0.3 if verb == "patch" else 0.01, "force", _FLAGS)
        if verb in ("create", "update", "patch", "delete", "deletecollection"):
            add(0.06, "dryRun", ("All", "All", "All", "", "x"))
        add(0.02, "pretty", _FLAGS)
        add(0.02, "timeout", _DURATIONS)
        add(0.02, "includeObject", ("None", "Metadata", "Object", "x"))
        add(0.01, values.text(rng), values.NAMES)
        if query and rng.random() < 0.02:
            query.append((query[0][0], values.text(rng)))
        return tuple(query)

    def _draw_path(self) -> Send:
        """A path that is no resource."""
        rng = self._rng
        query = rng.choice(
            ((), (), (("verbose", ""),), (("exclude", "etcd"),), (("hash", "x"),), (("timeout", "32s"),))
        )
        path = rng.choice(_PATHS) + rng.choice(("", "", "", "/", "/x", "//"))
        return Send(
            self._draw_who(),
            Request(rng.choice(("GET", "GET", "GET", "GET", "POST", "HEAD")), path, query, self._draw_headers()),
        )

    def _draw_raw(self) -> Send:
        """Any method on any path."""
        rng = self._rng
        endpoint = rng.choice(self._all)
        if rng.random() < 0.5:
            path = endpoint.path(rng.choice(("default", "", "nope", "%2e")), rng.choice(("", *values.NAMES)))
            path += rng.choice(("", "/", f"/{rng.choice(self._subresources)}", "/status/x", "//", "/%2e%2e", "?x"))
        else:
            path = "/" + "/".join(rng.choice(_SEGMENTS) for _ in range(rng.randrange(1, 9)))
        method = rng.choice(
            ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "FOO", "get")
        )
        headers = self._draw_headers()
        body = b""
        if rng.random() < 0.6:
            body = encode(self._corpus.pick_any(rng)) if rng.random() < 0.7 else rng.randbytes(rng.randrange(60))
            headers["content-type"] = rng.choice(("application/json", "application/yaml", PROTOBUF, *TYPES))
        return Send(
            self._draw_who(),
            Request(method, path, self._draw_query(rng.choice(("get", "list", "create"))), headers, body),
        )
