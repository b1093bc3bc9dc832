"""The API server without sockets: a request and who sends it in, a response out.

Order of work: route, turn (`gate.py`), impersonation, authorization, then the verb. Every refusal is an `ApiError` and
becomes a Status here; every answer gets its Audit-Id here, and is counted and audited here.
Rule: spec "api-machinery" §1, §2, §10, §11.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from seaway.api.machinery.errors import (
    ApiError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    ServerTimeout,
    Timeout,
    make_server_timeout,
)
from seaway.api.machinery.http import Bytes, Identity, Lasting, Request, Response, Tunnel
from seaway.api.registry import SERVED, Resource, find_resource
from seaway.apiserver.access.impersonation import impersonate, parse_impersonation
from seaway.apiserver.access.rbac import MASTERS, attributes_of
from seaway.apiserver.answers import make_status, make_text
from seaway.apiserver.observability.audit import AuditTrail
from seaway.apiserver.observability.exchange import Exchange, is_safe_id
from seaway.apiserver.observability.health import SHUTTING_DOWN, answer_health, is_health_path
from seaway.apiserver.overload.fairness import FairQueue, Phase
from seaway.apiserver.overload.gate import Gate, flow_of
from seaway.apiserver.overload.limits import MAX_BODY_BYTES, is_long_running, parse_timeout
from seaway.apiserver.proxying.kubelet import STREAMED, answer_stream
from seaway.apiserver.proxying.verb import METHODS, answer_proxy, is_proxied
from seaway.apiserver.record import encode_object
from seaway.apiserver.routes import route_request
from seaway.apiserver.state import ServerState
from seaway.apiserver.subresources.verbs import find_verb
from seaway.apiserver.verbs import Call
from seaway.pki.issuer import TokenIssuer
from seaway.pki.tokens import ALGORITHM
from seaway.store.contract import StoreError
from seaway.telemetry.exposition import CONTENT_TYPE

WAITING_PER_SEAT = 2
"""Requests that may wait for each that may be at work: upstream's queues hold about as many in all."""
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_KNOWN_GROUPS = frozenset(resource.group for resource in SERVED)
_OPERATIONS = {"patch": "update", "deletecollection": "delete"}
_TOO_MANY = b"Too many requests, please try again later.\n"
_PANIC = b"This request caused apiserver to panic. Look in the logs for details.\n"
_KEY_SET_CACHING = "public, max-age=3600"
CATCH_UP_SECONDS = 1.0
"""For memory to see what the store holds: a write that is on its way at that moment is no lack of readiness."""
_GONE = Timeout("Timeout: the client has gone before its request was answered", {})
_COMMON = (("Cache-Control", "no-cache, private"),)
Check = Callable[[], bool]


class ApiServer:
    """Answers requests from one store. Made by `run.open_server`."""

    def __init__(
        self,
        state: ServerState,
        *,
        on_close: Callable[[], Awaitable[None]],
        hooks: Mapping[str, Check] | None = None,
    ) -> None:
        self.state = state
        self.metrics = state.metrics
        self.audit: AuditTrail | None = None
        self.backlog = 0
        """Requests that have come and that `handle` was not called for yet. Kept by `serving/connection.py`."""
        self._on_close = on_close
        self._hooks = hooks or {}
        self._is_stopping = False
        self._audit_prefix = state.effects.new_uid()[:24]
        self._audit_count = 0
        self._broken_off: Exchange | None = None
        """The last whose work was cancelled. Whoever did that says `refuse` or `abandon` at once."""
        config = state.config
        reads, writes = config.max_reads_in_flight, config.max_writes_in_flight
        self._reads = Gate(state.effects, FairQueue(reads, max_waiting=reads * WAITING_PER_SEAT))
        self._writes = Gate(state.effects, FairQueue(writes, max_waiting=writes * WAITING_PER_SEAT))
        self._address = f"{config.advertise_address or 'localhost'}:{config.secure_port}"

    async def handle(self, request: Request, identity: Identity) -> Response:
        """The response; never raises but for cancellation. A watch's body is an iterator of whole lines."""
        exchange = self._begin(request, identity)
        try:
            exchange.route = route = route_request(request)
        except ApiError as error:
            return self._finish(exchange, make_status(error, request))
        if self.audit is not None:
            self.audit.receive(exchange)
        if MASTERS in identity.groups or is_long_running(route) or (not route.plural and is_health_path(route.path)):
            return self._finish(exchange, await self._respond(exchange))
        gate = self._reads if request.method in _READS else self._writes
        ticket = gate.enter(flow_of(request, identity), exchange.started, backlog=self.backlog)
        if ticket.phase is Phase.WAITING:
            try:
                await gate.wait(ticket)
            except BaseException:
                self._broken_off = exchange
                raise
            exchange.waited = self.state.effects.monotonic() - exchange.started
        if ticket.phase is not Phase.STARTED:
            self.metrics.cell(request, route).terminate(429)
            return self._finish(exchange, make_text(429, _TOO_MANY, (("Retry-After", "1"),)))
        try:
            response = await self._respond(exchange)
        finally:
            gate.leave(ticket)
        return self._finish(exchange, response)

    def refuse(self, request: Request, identity: Identity, error: ApiError) -> Response:
        """The answer to a request that does not get as far as `handle`, or that takes too long in it."""
        exchange = self._take_broken_off(request)
        if exchange is None:
            exchange = self._begin(request, identity)
            with contextlib.suppress(ApiError):  # it has one fault already
                exchange.route = route_request(request)
            if self.audit is not None:
                self.audit.receive(exchange)
        if isinstance(error, Timeout):
            self.metrics.cell(request, exchange.route).terminate(error.status_code)
        return self._finish(exchange, make_status(error, request))

    def abandon(self, request: Request) -> None:
        """The client has gone. What was cancelled for it is counted and audited like what takes too long; a write goes
        on, and is counted when it is done.
        """
        exchange = self._take_broken_off(request)
        if exchange is not None:
            self.metrics.cell(request, exchange.route).terminate(_GONE.status_code)
            self._finish(exchange, make_status(_GONE, request))

    def count_abort(self, request: Request) -> None:
        """An answer was broken off after its header."""
        try:
            self.metrics.cell(request, route_request(request)).aborts += 1
        except ApiError:
            return

    @property
    def is_stopping(self) -> bool:
        """Kept connections shall be given up."""
        return self._is_stopping

    @property
    def gates(self) -> dict[str, Gate]:
        """Where requests wait for their turn, by the kind of request as metrics name it."""
        return {"mutating": self._writes, "readOnly": self._reads}

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
        self.stop_streaming()
        await self._on_close()

    def stop_accepting(self) -> None:
        """Fail readiness from now on."""
        self._is_stopping = True

    def stop_streaming(self) -> None:
        """End every watch, and from now on any that still starts."""
        self.state.ends_streams = True
        self.end_streams()

    def end_streams(self) -> None:
        """End every watch after what is queued for it."""
        for stream in list(self.state.streams):
            stream.end()

    def _take_broken_off(self, request: Request) -> Exchange | None:
        exchange, self._broken_off = self._broken_off, None
        return exchange if exchange is not None and exchange.request is request else None

    def _begin(self, request: Request, identity: Identity) -> Exchange:
        audit_id = request.headers.get("audit-id", "")
        if not audit_id or not is_safe_id(audit_id):
            self._audit_count += 1
            audit_id = f"{self._audit_prefix}{self._audit_count:012x}"
        return Exchange(request, identity, audit_id, self.state.effects.monotonic())

    async def _respond(self, exchange: Exchange) -> Response:
        """The verb's answer, or the refusal. A bug is told to the operator with the request's id, not to the client."""
        request = exchange.request
        running = self.metrics.in_flight
        kind = "readOnly" if request.method in _READS else "mutating"
        running[kind] += 1
        try:
            return await self._answer(exchange)
        except (ServerTimeout, StoreError) as error:
            route = exchange.route
            self.state.effects.report(error)
            operation = _OPERATIONS.get(route.verb, route.verb)
            return make_status(make_server_timeout(route.plural, route.group, operation), request)
        except ApiError as error:
            return make_status(error, request)
        except Exception as error:
            error.add_note(f"audit={exchange.audit_id} verb={request.method} path={request.path!r}")
            self.state.effects.report(error)
            response = make_text(500, _PANIC)
            if self.audit is not None:
                self.audit.complete(exchange, response, panicked=True)
            return response
        except BaseException:
            self._broken_off = exchange
            raise
        finally:
            running[kind] -= 1

    def _finish(self, exchange: Exchange, response: Response) -> Response:
        """Count and audit the answer; its headers complete."""
        request, body = exchange.request, response.body
        cell = self.metrics.cell(request, exchange.route)
        tunnel = response.tunnel
        if isinstance(body, bytes) and tunnel is None:
            seconds = self.state.effects.monotonic() - exchange.started
            cell.answer(response.status, len(body), seconds, exchange.waited)
            if request.body:
                cell.bodies.observe(len(request.body))
            if self.audit is not None:
                self.audit.complete(exchange, response)
        else:
            cell.begin_stream(response.status)
            if self.audit is not None:
                self.audit.start(exchange, response)
            if tunnel is not None:
                tunnel = self._finish_after(tunnel, exchange, response)
            elif isinstance(body, Lasting):
                body.when_ended(lambda: self._finish_stream(exchange, response))
        headers = (("Audit-Id", exchange.audit_id), *response.headers)
        for name, _ in response.headers:
            if name == "Cache-Control":
                return Response(response.status, headers, body, tunnel=tunnel)
        return Response(response.status, (*_COMMON, *headers), body, tunnel=tunnel)

    def _finish_after(self, tunnel: Tunnel, exchange: Exchange, response: Response) -> Tunnel:
        async def converse(peer: Bytes) -> None:
            try:
                await tunnel(peer)
            finally:
                self._finish_stream(exchange, response)

        return converse

    def _finish_stream(self, exchange: Exchange, response: Response) -> None:
        self.metrics.cell(exchange.request, exchange.route).end_stream()
        if self.audit is not None:
            self.audit.complete(exchange, response)

    async def _answer(self, exchange: Exchange) -> Response:
        state, request, identity, route = self.state, exchange.request, exchange.identity, exchange.route
        if len(request.body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}")
        if request.query and not is_long_running(route):
            parse_timeout(request)
        asked = attributes_of(route)
        exchange.decision = "forbid"
        wanted = parse_impersonation(request.headers)
        if wanted is not None:
            identity = exchange.impersonated = impersonate(wanted, identity, asked, state.decide)
        state.authorize(identity, asked)
        exchange.decision = "allow"
        if not route.is_resource:
            return await self._answer_path(request, route.path.rstrip("/") or "/")
        resource = find_resource(route.group, route.version, route.plural)
        if resource is None:
            if route.group not in _KNOWN_GROUPS:
                return make_text(404, b"404 page not found\n")
            raise NotFound("the server could not find the requested resource", {})
        return await _call_verb(Call(state, request, identity, route, resource))

    async def _answer_path(self, request: Request, path: str) -> Response:
        """Discovery, OpenAPI, version, health and metrics."""
        from seaway.apiserver.documents import (
            discovery,
            openapi,  # documents of the whole API: only met when asked for
        )

        if request.method == "GET":
            if is_health_path(path):
                found = answer_health(request, path, await self._find_checks())
                return found or make_text(404, b"404 page not found\n")
            if path == "/metrics":
                return self._answer_metrics()
            found = (
                _answer_issuer(path, self.state.authenticator.issuer, self._address)
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

    def _answer_metrics(self) -> Response:
        from seaway.apiserver.observability import exposition  # only met when asked for

        if self.audit is not None:
            self.metrics.audit_events, self.metrics.audit_drops = self.audit.events, self.audit.lost
        return make_text(200, exposition.render(self.state, self.gates), content_type=CONTENT_TYPE)

    async def _find_checks(self) -> dict[str, str | None]:
        """Each check's failure, None when it passes. Rule: §11."""
        state = self.state
        written = state.store.current_revision
        store_failure = await state.find_store_failure()
        is_behind = not await state.watch_cache.wait_for(written, CATCH_UP_SECONDS)
        return {
            "ping": None,
            "log": None,
            "etcd": store_failure,
            "informer-sync": "memory is behind the store" if is_behind else None,
            **{
                f"poststarthook/{name}": None if holds() else "not yet, or it has ended"
                for name, holds in self._hooks.items()
            },
            "shutdown": SHUTTING_DOWN if self._is_stopping else None,
        }


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
    if is_proxied(route.subresource):
        if call.request.method not in METHODS or route.is_watch_path:
            raise MethodNotAllowed("the server does not allow this method on the requested resource", {})
        return await answer_proxy(call)
    if route.subresource in STREAMED and call.request.method in ("GET", "POST"):
        return await answer_stream(call)
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
