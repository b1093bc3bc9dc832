"""What a request asks for: the resource, its scope and the verb that authorization sees.

Rule: spec "api-machinery" §1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote

from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.http import Request
from seaway.api.machinery.remember import remember_short
from seaway.api.machinery.selectors import SelectorError, parse_field_selector

_VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "GET": "get",
    "HEAD": "get",
}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class Route:
    """A path taken apart. For a non-resource path `plural` is empty and only `path` counts."""

    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    is_watch_path: bool = False
    verb: str = ""
    selected_name: str = ""
    """The name that a field selector demands: authorization sees it as the request's name."""

    @property
    def is_resource(self) -> bool:
        return bool(self.plural)

    @property
    def is_collection(self) -> bool:
        return not self.name


def is_true(value: str | None) -> bool:
    """How query strings say yes: everything does, but absence, `0` and `false`."""
    return value is not None and value != "0" and value.lower() != "false"


def route_request(request: Request) -> Route:
    """The route of the request with its verb. Raises BadRequest for a name that no path may hold."""
    route = parse_path(request.path)
    if not route.is_resource:
        return replace(route, verb=request.method.lower())
    if "%" in route.name or route.name in (".", ".."):
        raise BadRequest(_describe_bad_name(route.name))
    verb = _VERBS.get(request.method, "")
    if route.name and not request.query and not route.is_watch_path:
        return _with_verb(request.path, verb)
    if route.is_watch_path or (verb == "get" and not route.name and is_true(request.find_parameter("watch"))):
        verb = "watch"
    elif not route.name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    route = _with_verb(request.path, verb)
    if verb in ("list", "watch", "deletecollection") and not route.name:
        return _name_from_selector(route, request.find_parameter("fieldSelector"))
    return route


@remember_short(4096)
def _with_verb(path: str, verb: str) -> Route:
    return replace(parse_path(path), verb=verb)


def _name_from_selector(route: Route, field_selector: str | None) -> Route:
    if not field_selector:
        return route
    try:
        name = parse_field_selector(field_selector).find_exact("metadata.name")
    except SelectorError:
        return route
    return replace(route, selected_name=name) if name else route


PROXY = "proxy"
"""The subresource whose path goes on in a backend: rights, audit and metrics know nothing of what comes after it."""


@remember_short(4096)
def parse_path(path: str) -> Route:
    """The route of a percent-encoded path, without a verb."""
    decoded = unquote(path)
    parts = decoded.strip("/").split("/")
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Route(decoded)
    is_watch = rest[0] == "watch" and len(rest) > 1
    if is_watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    plural, name = rest[0], "".join(rest[1:2])
    subresource = PROXY if rest[2:3] == [PROXY] else "/".join(rest[2:])
    return Route(decoded, group, version, namespace, plural, name, subresource, is_watch)


def _describe_bad_name(name: str) -> str:
    found = f"may not be '{name}'" if name in (".", "..") else "may not contain '%'"
    return f'Name parameter invalid: "{name}": {found}'
