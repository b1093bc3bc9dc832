"""Logs, exec, attach and port-forward of a Pod: which container, which node, and what is asked of its agent.

The agent's server speaks with the client itself: after the 101 bytes pass untouched. A node that does not say that it
can do so over WebSockets gets none; clients then ask again over SPDY, which every node speaks.
Rule: spec "node" §5.3, §5.4.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from seaway.api.machinery.errors import (
    ApiError,
    BadRequest,
    InternalError,
    NotFound,
    ServiceUnavailable,
    make_invalid,
    make_not_found,
)
from seaway.api.machinery.field import FieldError, forbidden, invalid
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import NODES, PODS
from seaway.apiserver.access.rbac import Attributes
from seaway.apiserver.proxying.headers import find_field, make_request_fields, wants_upgrade
from seaway.apiserver.proxying.links import Links
from seaway.apiserver.proxying.targets import Target, choose_kubelet
from seaway.apiserver.proxying.verb import Outgoing, take_incoming
from seaway.apiserver.record import Json, decode_object
from seaway.apiserver.routes import is_true
from seaway.apiserver.verbs import Call

STREAMED = frozenset(("exec", "attach", "portforward"))
"""Subresources whose requests leave HTTP."""
WEBSOCKET_FEATURE = "ExtendWebSocketsToKubelet"
MAX_REFUSAL_BYTES = 4096
_STREAM_FLAGS = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
_LOG_FLAGS = ("follow", "previous", "timestamps")
_NO_LINKS = Links("", "", "")


async def answer_log(call: Call) -> Response:
    """The log of a container, as it comes. Raises ApiError."""
    pod = _find_pod(call)
    query = _make_log_query(call.request, call.route.name)
    container = choose_container(pod, call.request.find_parameter("container") or "")
    node = pod["spec"].get("nodeName")
    if not node:
        return Response(200, (("Content-Type", "text/plain"),))
    path = _make_path("containerLogs", call.namespace, call.route.name, container)
    response = await _ask(call, node, Outgoing("GET", _with_query(path, query), (), None, False, _NO_LINKS))
    if response.status == 200:
        return response
    raise _make_refusal(response.status, await _read_text(response))


async def answer_stream(call: Call) -> Response:
    """Pass a request for exec, attach or port-forward to the Pod's node. Raises ApiError."""
    request, route, state = call.request, call.route, call.state
    if request.method == "GET":  # who may not create may not exec, whatever the method
        asked = Attributes("create", "", PODS.plural, route.subresource, route.namespace, route.name)
        state.authorize(call.identity, asked)
    pod = _find_pod(call)
    node = pod["spec"].get("nodeName")
    if route.subresource == "portforward":
        path = _make_path("portForward", call.namespace, route.name)
        query = [(name, value) for name, value in request.query if name in ("port", "ports")]
    else:
        container = choose_container(pod, request.find_parameter("container") or "")
        path = _make_path(route.subresource, call.namespace, route.name, container)
        query = [(theirs, "1") for ours, theirs in _STREAM_FLAGS if is_true(request.find_parameter(ours))]
        query += [(name, value) for name, value in request.query if name == "command"]
    if not node:
        raise BadRequest(f"pod {route.name} does not have a host assigned")
    fields, _, _ = take_incoming(request)
    if not wants_upgrade(fields):
        raise BadRequest("Upgrade request required")
    if (find_field(fields, "upgrade") or "").lower() == "websocket" and not _speaks_websocket(call, node):
        raise BadRequest(f"unable to upgrade: node {node} does not offer {WEBSOCKET_FEATURE}")
    sent = make_request_fields(fields, source=request.source, uri=request.path, is_upgrade=True)
    return await _ask(call, node, Outgoing(request.method, _with_query(path, query), sent, None, True, _NO_LINKS))


def choose_container(pod: Json, name: str) -> str:
    """The container of the name; without one, the only one. Raises BadRequest."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    fields = ("initContainers", "containers", "ephemeralContainers")
    known = [container["name"] for field in fields for container in spec.get(field) or ()]
    if name:
        if name not in known:
            raise BadRequest(f"container {name} is not valid for pod {pod_name}")
        return name
    regular: str = spec["containers"][0]["name"]
    if len(spec["containers"]) > 1:
        raise BadRequest(f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(known)}]")
    return regular


def _find_pod(call: Call) -> Json:
    record = call.state.find(PODS, call.namespace, call.route.name)
    if record is None:
        raise make_not_found(PODS.plural, "", call.route.name)
    return decode_object(record.body)


def _speaks_websocket(call: Call, node: str) -> bool:
    record = call.state.find(NODES, "", node)
    status = decode_object(record.body).get("status") or {} if record is not None else {}
    return WEBSOCKET_FEATURE in (status.get("declaredFeatures") or ())


async def _ask(call: Call, node: str, outgoing: Outgoing) -> Response:
    """The agent's answer. Raises ApiError."""
    if call.state.backends is None:
        raise ServiceUnavailable("error dialing backend: this server has no way to nodes")
    target: Target = choose_kubelet(node, call.state.find)
    if not outgoing.is_upgrade:
        fields = (("Host", target.host), ("Connection", "close"))
        outgoing = Outgoing(outgoing.method, outgoing.target, fields, None, False, outgoing.links)
    try:
        return await call.state.backends.exchange(target, outgoing)
    except ServiceUnavailable as error:
        text = str(error).removeprefix("error trying to reach service: ")
        raise InternalError(f"error dialing backend: {text}") from None


def _make_path(kind: str, *names: str) -> str:
    return "/" + "/".join((kind, *(quote(name, safe="") for name in names)))


def _with_query(path: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _make_log_query(request: Request, name: str) -> list[tuple[str, str]]:
    """What the agent is asked. Raises BadRequest and Invalid. Rule: spec "node" §5.3."""
    numbers = {key: _read_number(request, key) for key in ("sinceSeconds", "tailLines", "limitBytes")}
    since_time = request.find_parameter("sinceTime")
    errors: list[FieldError] = []
    seconds, tail, limit = numbers["sinceSeconds"], numbers["tailLines"], numbers["limitBytes"]
    if tail is not None and tail < 0:
        errors.append(invalid("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        errors.append(invalid("limitBytes", limit, "must be greater than 0"))
    if seconds is not None and since_time:
        errors.append(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif seconds is not None and seconds < 1:
        errors.append(invalid("sinceSeconds", seconds, "must be greater than 0"))
    if errors:
        raise make_invalid("PodLogOptions", "", name, errors)
    query = [(flag, "true") for flag in _LOG_FLAGS if is_true(request.find_parameter(flag))]
    query += [(key, str(value)) for key, value in numbers.items() if value is not None]
    if since_time:
        try:
            datetime.fromisoformat(since_time)
        except ValueError:
            raise BadRequest(f'parsing time "{since_time}" as RFC 3339 has not succeeded') from None
        query.append(("sinceTime", since_time))
    stream = request.find_parameter("stream")
    return [*query, ("stream", stream)] if stream else query


def _read_number(request: Request, key: str) -> int | None:
    text = request.find_parameter(key)
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


async def _read_text(response: Response) -> str:
    """The beginning of the agent's words."""
    body = response.body
    if isinstance(body, bytes):
        return body[:MAX_REFUSAL_BYTES].decode("utf-8", "replace").strip()
    assert isinstance(body, AsyncIterable)
    found = b""
    try:
        async for piece in body:
            found += piece
            if len(found) >= MAX_REFUSAL_BYTES:
                break
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
    return found[:MAX_REFUSAL_BYTES].decode("utf-8", "replace").strip()


def _make_refusal(status: int, text: str) -> ApiError:
    if status == 400:
        return BadRequest(text)
    if status == 404:
        return NotFound(text, {})
    return InternalError(f"the node answered {status}: {text}")
