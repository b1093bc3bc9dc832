"""Discovery: what the server has, for clients that ask before they act.

Each document follows from the table of kinds (`api/registry.py`) and is made once. Both forms are served: one document
per group and version, and the aggregated list of all (v2, and v2beta1 for clients before 1.30).
Rule: spec "api-machinery" §3.1 to §3.3, §1.4 (404).
"""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from seaway.api.machinery.errors import NotFound
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import SERVED, Resource
from seaway.apiserver.negotiation import parse_accept

# The Kubernetes release whose behaviour is served: clients choose what they send by it.
VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.1",
    "gitCommit": "seaway",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
AGGREGATED_GROUP = "apidiscovery.k8s.io"
AGGREGATED_VERSIONS = ("v2", "v2beta1")
_READ_WRITE = ("get", "patch", "update")
_CONNECT = ("create", "get")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SubresourceFacts:
    """What discovery says of a subresource. Empty group, version or kind: those of the resource."""

    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""
    kind: str = ""


SUBRESOURCES = {
    "status": SubresourceFacts(_READ_WRITE),
    "finalize": SubresourceFacts(("update",)),
    "binding": SubresourceFacts(("create",), kind="Binding"),
    "eviction": SubresourceFacts(("create",), "policy", "v1", "Eviction"),
    "ephemeralcontainers": SubresourceFacts(_READ_WRITE),
    "resize": SubresourceFacts(_READ_WRITE),
    "scale": SubresourceFacts(_READ_WRITE, "autoscaling", "v1", "Scale"),
    "token": SubresourceFacts(("create",), "authentication.k8s.io", "v1", "TokenRequest"),
    "log": SubresourceFacts(("get",)),
    "exec": SubresourceFacts(_CONNECT, kind="PodExecOptions"),
    "attach": SubresourceFacts(_CONNECT, kind="PodAttachOptions"),
    "portforward": SubresourceFacts(_CONNECT, kind="PodPortForwardOptions"),
}
_OTHER_PATHS = ("/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")


def answer(request: Request, *, address: str) -> Response | None:
    """The answer to a discovery request, or None for any other. address: `host:port` that clients use.

    Raises NotFound for an unserved version of a served group.
    """
    if request.method != "GET":
        return None
    parts = tuple(part for part in request.path.split("?", 1)[0].split("/") if part)
    if not parts:
        return _respond(_encode({"paths": _paths()}))
    if parts == ("version",):
        return _respond(_encode(VERSION))
    if parts in (("api",), ("apis",)):
        return _answer_root(request, parts[0], address)
    if len(parts) == 2 and parts[0] == "api":
        if parts[1] not in _versions("", SERVED):
            raise _unknown()
        return _respond(_resource_list("", parts[1]))
    if parts[:1] == ("apis",) and len(parts) in (2, 3):
        if parts[1] not in _groups():
            return Response(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")
        if len(parts) == 2:
            return _respond(_group(parts[1]))
        if parts[2] not in _versions(parts[1], SERVED):
            raise _unknown()
        return _respond(_resource_list(parts[1], parts[2]))
    return None


def _paths() -> list[str]:
    """What a visitor of `/` may ask next: every document and check, sorted."""
    groups = [f"/apis/{group}" for group in _groups()]
    versions = [resource.path_prefix for resource in SERVED]
    return sorted({"/api", "/apis", *groups, *versions, *_OTHER_PATHS})


def _answer_root(request: Request, root: str, address: str) -> Response:
    version = _wanted_aggregation(request.headers.get("accept", ""))
    if version is None:
        body = _api_versions(address) if root == "api" else _group_list()
        return _respond(body, ("Vary", "Accept"))
    body = _aggregated(root, version)
    etag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    headers = (
        ("Content-Type", f"application/json;g={AGGREGATED_GROUP};v={version};as=APIGroupDiscoveryList"),
        ("ETag", etag),
        ("Vary", "Accept"),
        ("Cache-Control", "public"),
    )
    if matches_etag(request.headers.get("if-none-match", ""), etag):
        return Response(304, headers)
    return Response(200, headers, body)


def matches_etag(if_none_match: str, etag: str) -> bool:
    """Whether the client has that version already."""
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or "*" in known


def _wanted_aggregation(accept: str) -> str | None:
    """The version of the aggregated document that the client prefers to the plain one, or None."""
    for clause in parse_accept(accept):
        if clause.media not in ("application/json", "*/*"):
            continue
        form = clause.parameters.get("as", "")
        if not form:
            return None
        version = clause.parameters.get("v", "")
        is_aggregation = form == "APIGroupDiscoveryList" and clause.parameters.get("g") == AGGREGATED_GROUP
        if is_aggregation and version in AGGREGATED_VERSIONS:
            return version
    return None


def _unknown() -> NotFound:
    return NotFound("the server could not find the requested resource", {})


def _respond(body: bytes, *headers: tuple[str, str]) -> Response:
    return Response(200, (("Content-Type", "application/json"), ("Cache-Control", "no-cache, private"), *headers), body)


def _encode(document: Json) -> bytes:
    return msgspec.json.encode(document) + b"\n"


def _groups() -> tuple[str, ...]:
    """The named groups in order of priority."""
    return tuple(dict.fromkeys(resource.group for resource in SERVED if resource.group))


def _versions(group: str, resources: tuple[Resource, ...]) -> tuple[str, ...]:
    """The versions of the group, the preferred one first."""
    return tuple(dict.fromkeys(resource.version for resource in resources if resource.group == group))


def _api_versions(address: str) -> bytes:
    return _encode(
        {
            "kind": "APIVersions",
            "versions": list(_versions("", SERVED)),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }
    )


@functools.cache
def _group_list() -> bytes:
    groups = [_describe_group(group) for group in _groups()]
    return _encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})


@functools.cache
def _group(group: str) -> bytes:
    return _encode({"kind": "APIGroup", "apiVersion": "v1", **_describe_group(group)})


def _describe_group(group: str) -> Json:
    versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in _versions(group, SERVED)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


@functools.cache
def _resource_list(group: str, version: str) -> bytes:
    entries: list[Json] = []
    for resource in _served(group, version):
        entries.append(_describe_resource(resource))
        entries.extend(_describe_subresource(resource, name) for name in sorted(resource.subresources))
    head: Json = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    return _encode({**head, "groupVersion": f"{group}/{version}" if group else version, "resources": entries})


def _served(group: str, version: str) -> list[Resource]:
    found = [r for r in SERVED if (r.group, r.version) == (group, version)]
    return sorted(found, key=lambda resource: resource.plural)


def subresource_facts(resource: Resource, name: str) -> SubresourceFacts:
    """What discovery says of the subresource; a proxy's kind is named after its resource."""
    if name == "proxy":
        return SubresourceFacts(_PROXY_VERBS, kind=f"{resource.kind}ProxyOptions")
    return SUBRESOURCES.get(name, SubresourceFacts(_READ_WRITE))


def _describe_resource(resource: Resource) -> Json:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.is_stored:
        entry["storageVersionHash"] = _hash_storage_version(resource)
    return entry


def _hash_storage_version(resource: Resource) -> str:
    digest = hashlib.sha256(f"{resource.group}/{resource.version}/{resource.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _describe_subresource(resource: Resource, name: str) -> Json:
    facts = subresource_facts(resource, name)
    entry: Json = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if facts.group:
        entry |= {"group": facts.group, "version": facts.version}
    return {**entry, "kind": facts.kind or resource.kind, "verbs": list(facts.verbs)}


@functools.cache
def _aggregated(root: str, version: str) -> bytes:
    groups = ("",) if root == "api" else _groups()
    return _encode(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"{AGGREGATED_GROUP}/{version}",
            "metadata": {},
            "items": [{"metadata": {"name": g} if g else {}, "versions": _aggregate_versions(g)} for g in groups],
        }
    )


def _aggregate_versions(group: str) -> list[Json]:
    return [
        {
            "version": version,
            "resources": [_aggregate_resource(resource) for resource in _served(group, version)],
            "freshness": "Current",
        }
        for version in _versions(group, SERVED)
    ]


def _aggregate_resource(resource: Resource) -> Json:
    entry: Json = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregate_subresource(resource, name) for name in sorted(resource.subresources)]
    return entry


def _aggregate_subresource(resource: Resource, name: str) -> Json:
    facts = subresource_facts(resource, name)
    kind = {"group": facts.group, "version": facts.version, "kind": facts.kind or resource.kind}
    return {"subresource": name, "responseKind": kind, "verbs": list(facts.verbs)}
