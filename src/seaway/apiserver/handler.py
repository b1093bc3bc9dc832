"""The API server without sockets: a request and who sends it in, a response out.

Order of work: in-flight limit, route, impersonation, authorization, then the verb. Every refusal is an `ApiError` and
becomes a Status here; every answer gets its Audit-Id here.
Rule: spec "api-machinery" §1, §2, §10, §11.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from seaway.api.machinery.errors import (
    ApiError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    ServerTimeout,
    make_server_timeout,
)
from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.registry import SERVED, Resource, find_resource
from seaway.apiserver.answers import make_status, make_text
from seaway.apiserver.health import answer_health
from seaway.apiserver.impersonation import impersonate, parse_impersonation
from seaway.apiserver.metrics import Gauges, Metrics
from seaway.apiserver.options import check_timeout
from seaway.apiserver.rbac import MASTERS, attributes_of
from seaway.apiserver.record import encode_object
from seaway.apiserver.routes import Route, route_request
from seaway.apiserver.state import ServerState
from seaway.apiserver.subresources import find_verb
from seaway.apiserver.verbs import Call
from seaway.pki.issuer import TokenIssuer
from seaway.pki.tokens import ALGORITHM
from seaway.store.contract import StoreError

MAX_BODY_BYTES = 3 << 20
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_KNOWN_GROUPS = frozenset(resource.group for resource in SERVED)
_OPERATIONS = {"patch": "update", "deletecollection": "delete"}
_TOO_MANY = b"Too many requests, please try again later.\n"
_KEY_SET_CACHING = "public, max-age=3600"
_COMMON = (("Cache-Control", "no-cache, private"),)


class ApiServer:
    """Answers requests from one store. Made by `run.open_server`."""

    def __init__(self, state: ServerState, *, on_close: Callable[[], Awaitable[None]]) -> None:
        self.state = state
        self.metrics = Metrics(self._read_gauges)
        self._on_close = on_close
        self._is_stopping = False
        self._audit_prefix = state.effects.new_uid()[:24]
        self._audit_count = 0
        config = state.config
        self._address = f"{config.advertise_address or 'localhost'}:{config.secure_port}"

    async def handle(self, request: Request, identity: Identity) -> Response:
        """The response; never raises but for cancellation. A watch's body is an iterator of whole lines."""
        started = self.state.effects.monotonic()
        kind = "readOnly" if request.method in _READS else "mutating"
        running = self.metrics.in_flight
        config = self.state.config
        limit = config.max_reads_in_flight if kind == "readOnly" else config.max_writes_in_flight
        if running[kind] >= limit and MASTERS not in identity.groups:
            self.metrics.refused_in_flight += 1
            return make_text(429, _TOO_MANY, (("Retry-After", "1"),))
        running[kind] += 1
        route = _NO_ROUTE
        try:
            route = route_request(request)
            response = await self._answer(request, identity, route)
        except (ServerTimeout, StoreError) as error:
            operation = _OPERATIONS.get(route.verb, route.verb)
            response = make_status(make_server_timeout(route.plural, route.group, operation), request)
            self.state.effects.report(error)
        except ApiError as error:
            response = make_status(error, request)
        except Exception as error:
            response = make_status(InternalError(f"Internal error occurred: {error!r}"), request)
            self.state.effects.report(error)
        finally:
            running[kind] -= 1
        self.metrics.observe(_labels_of(route), response.status, self.state.effects.monotonic() - started)
        return Response(response.status, self._add_headers(request, response), response.body)

    @property
    def allows_anonymous(self) -> bool:
        """Whether a request without credentials is answered as the anonymous user's; else it is 401."""
        return self.state.authenticator.credentials.allows_anonymous

    def find_identity(self, token: str) -> Identity | None:
        """Whom a bearer token stands for, None when it is not good."""
        return self.state.authenticator.find_identity(token)

    async def close(self) -> None:
        """End all watches, then the loops; the store stays open. Safe to repeat."""
        self.stop_accepting()
        self.end_streams()
        await self._on_close()

    def stop_accepting(self) -> None:
        """Fail readiness from now on."""
        self._is_stopping = True

    def end_streams(self) -> None:
        """End every watch after what is queued for it."""
        for stream in list(self.state.streams):
            stream.end()

    async def _answer(self, request: Request, identity: Identity, route: Route) -> Response:
        state = self.state
        if len(request.body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}")
        if request.query and route.verb != "watch":
            check_timeout(request)
        asked = attributes_of(route)
        wanted = parse_impersonation(request.headers)
        if wanted is not None:
            identity = impersonate(wanted, identity, asked, state.decide)
        state.authorize(identity, asked)
        if not route.is_resource:
            return self._answer_path(request, route)
        resource = find_resource(route.group, route.version, route.plural)
        if resource is None:
            if route.group not in _KNOWN_GROUPS:
                return make_text(404, b"404 page not found\n")
            raise NotFound("the server could not find the requested resource", {})
        return await _call_verb(Call(state, request, identity, route, resource))

    def _answer_path(self, request: Request, route: Route) -> Response:
        """Discovery, OpenAPI, version, health and metrics."""
        from seaway.apiserver import discovery, openapi  # documents of the whole API: only met when asked for

        path = route.path.rstrip("/") or "/"
        if request.method == "GET":
            if path == "/metrics":
                return make_text(200, self.metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")
            found = (
                answer_health(request, path, self._checks())
                or _answer_issuer(path, self.state.authenticator.issuer, self._address)
                or discovery.answer(request, address=self._address)
                or openapi.answer(request)
            )
            if found is not None:
                return found
        elif discovery.answer(replace(request, method="GET"), address=self._address) is not None:
            raise MethodNotAllowed("the server does not allow this method on the requested resource", {})
        if path.startswith(("/api/", "/apis/")) and path.count("/") <= 3:
            group = path.split("/")[2] if path.startswith("/apis/") else ""
            if group in _KNOWN_GROUPS:
                raise NotFound("the server could not find the requested resource", {})
        return make_text(404, b"404 page not found\n")

    def _checks(self) -> dict[str, bool]:
        return {"ping": True, "log": True, "etcd": True, "informer-sync": True, "shutdown": not self._is_stopping}

    def _add_headers(self, request: Request, response: Response) -> tuple[tuple[str, str], ...]:
        audit_id = request.headers.get("audit-id")
        if not audit_id:
            self._audit_count += 1
            audit_id = f"{self._audit_prefix}{self._audit_count:012x}"
        headers = (("Audit-Id", audit_id), *response.headers)
        for name, _ in response.headers:
            if name.lower() == "cache-control":
                return headers
        return (*_COMMON, *headers)

    def _read_gauges(self) -> Gauges:
        caches = [(cache.resource, cache) for cache in self.state.watch_cache]
        objects = {(resource.group, resource.plural): len(cache) for resource, cache in caches}
        watchers = {(resource.group, resource.plural): cache.watcher_count for resource, cache in caches}
        return Gauges(objects, watchers, self.state.watch_cache.revision)


def _answer_issuer(path: str, issuer: TokenIssuer, address: str) -> Response | None:
    """By which others verify tokens of ours; None for other paths. Rule: spec "api-machinery" §10.3."""
    if path == "/openid/v1/jwks":
        headers = (("Content-Type", "application/jwk-set+json"), ("Cache-Control", _KEY_SET_CACHING))
        return Response(200, headers, encode_object(issuer.make_key_set()))
    if path != "/.well-known/openid-configuration":
        return None
    document = {
        "issuer": issuer.url,
        "jwks_uri": f"https://{address}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }
    headers = (("Content-Type", "application/json"), ("Cache-Control", _KEY_SET_CACHING))
    return Response(200, headers, encode_object(document))


async def _call_verb(call: Call) -> Response:
    """Raises NotFound for an unknown subresource, MethodNotAllowed for what the path does not do."""
    resource, route = call.resource, call.route
    if route.subresource and (route.subresource not in resource.subresources or not route.name):
        raise NotFound("the server could not find the requested resource", {})
    if resource.namespaced and not route.namespace and route.name:
        raise NotFound("the server could not find the requested resource", {})
    if not resource.namespaced and route.namespace and resource.plural != "namespaces":
        raise NotFound("the server could not find the requested resource", {})
    verb = find_verb(resource, route.verb, route.subresource)
    method = call.request.method
    if verb is not None and not route.subresource and route.verb not in resource.verbs:
        raise MethodNotAllowed(_describe_refused_verb(resource), {})
    if verb is None or method in ("HEAD", "OPTIONS") or (route.is_watch_path and method != "GET") or not _fits(call):
        raise MethodNotAllowed("the server does not allow this method on the requested resource", {})
    return await verb(call)


def _describe_refused_verb(resource: Resource) -> str:
    """Upstream's words, and why: a client that gets this for a kind that it knows wants to know."""
    text = "the server does not allow this method on the requested resource"
    if "create" in resource.verbs:
        return text
    return f"{text}: this server keeps no {resource.plural}.{resource.group}, it only answers {_list(resource.verbs)}"


def _list(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _fits(call: Call) -> bool:
    """The method suits an item, a collection or the collection of all namespaces."""
    route, resource = call.route, call.resource
    match route.verb:
        case "get" | "update" | "patch" | "delete":
            return bool(route.name)
        case "create" if route.subresource:
            return bool(route.name)
        case "create":
            return not route.name and (not resource.namespaced or bool(route.namespace))
        case "deletecollection":
            return not resource.namespaced or bool(route.namespace)
    return True


_NO_ROUTE = Route("")


def _labels_of(route: Route) -> tuple[str, str, str, str, str, str]:
    if not route.is_resource:
        return (route.verb.upper(), "", "", "", "", "")
    if find_resource(route.group, route.version, route.plural) is None:
        return (route.verb.upper(), "", "", "", "", "")  # a stranger's words must not become label values
    scope = "resource" if route.name else "namespace" if route.namespace else "cluster"
    verb = _METRIC_VERBS.get(route.verb, "OTHER")
    subresource = (
        route.subresource
        if route.subresource in ("", "status", "binding", "finalize", "scale", "eviction", "ephemeralcontainers")
        else "other"
    )
    return (verb, route.group, route.version, route.plural, subresource, scope)


_METRIC_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}
