"""Refusals to the letter: code, reason, message. Rule: spec "api-machinery" §1.4."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.run import ServerConfig
from seaway.testing.builders import make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, talk

WEB = f"{SERVICES}/web"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
NOT_FOUND = "the server could not find the requested resource"
MODIFIED = (
    'Operation cannot be fulfilled on services "web": the object has been modified; please apply your changes to the '
    "latest version and try again"
)
LIST_OPTIONS = 'ListOptions.meta.k8s.io "" is invalid: '
NOT_ALLOWED = "the server does not allow this method on the requested resource"


@dataclass(frozen=True)
class Case:
    """One request to a server that holds the Service `web`, and its refusal."""

    id: str
    method: str
    target: str
    code: int
    reason: str
    message: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def make_token(revision: int, start: str, version: str = "meta.k8s.io/v1") -> str:
    """A continue token as upstream writes it."""
    raw = json.dumps({"v": version, "rv": revision, "start": start}).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


WEB_NAMED_ELSE = make_service("other")
CASES = [
    Case(
        "a version beyond 64 bits",
        "GET",
        f"{SERVICES}?resourceVersion=18446744073709551616",
        400,
        "BadRequest",
        'invalid resource version: resourceVersion: Invalid value: "18446744073709551616": strconv.ParseUint: '
        'parsing "18446744073709551616": value out of range',
    ),
    Case(
        "a version without end",
        "GET",
        f"{SERVICES}?resourceVersion={'9' * 5000}",
        400,
        "BadRequest",
        "invalid resource version: ",
    ),
    Case(
        "a version without end in a body",
        "PUT",
        WEB,
        500,
        "",
        "invalid resource version: ",
        make_service(meta={"resourceVersion": "9" * 5000}),
    ),
    Case(
        "a token beyond 63 bits",
        "GET",
        f"{SERVICES}?continue={make_token(1 << 63, '/a')}",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion",
    ),
    Case(
        "a watch path is for reading",
        "POST",
        "/api/v1/watch/namespaces/default/services",
        405,
        "MethodNotAllowed",
        NOT_ALLOWED,
        {},
    ),
    Case(
        "a watch path deletes nothing",
        "DELETE",
        "/api/v1/watch/namespaces/default/services/web",
        405,
        "MethodNotAllowed",
        NOT_ALLOWED,
    ),
    Case("putting a discovery document", "PUT", "/api/v1", 405, "MethodNotAllowed", NOT_ALLOWED, {}),
    Case("HEAD of a discovery document", "HEAD", "/apis", 405, "MethodNotAllowed", NOT_ALLOWED),
    Case("posting the version", "POST", "/version", 405, "MethodNotAllowed", NOT_ALLOWED, {}),
    Case(
        "a name with a percent sign",
        "GET",
        f"{SERVICES}/a%25b",
        400,
        "BadRequest",
        "Name parameter invalid: \"a%b\": may not contain '%'",
    ),
    Case(
        "an encoded dot", "GET", f"{SERVICES}/%2e", 400, "BadRequest", "Name parameter invalid: \".\": may not be '.'"
    ),
    Case(
        "a number beyond 64 bits",
        "GET",
        f"{SERVICES}?timeoutSeconds=99999999999999999999",
        400,
        "BadRequest",
        'strconv.ParseInt: parsing "99999999999999999999": value out of range',
    ),
    Case(
        "a timeout without a unit",
        "GET",
        f"{WEB}?timeout=5",
        400,
        "BadRequest",
        'invalid timeout specified in the request URL - time: missing unit in duration "5"',
    ),
    Case(
        "a bad timeout of a document",
        "GET",
        "/api?timeout=x",
        400,
        "BadRequest",
        'invalid timeout specified in the request URL - time: invalid duration "x"',
    ),
    Case(
        "a bad timeout of a write",
        "POST",
        f"{SERVICES}?timeout=x",
        400,
        "BadRequest",
        "invalid timeout specified in the request URL - ",
        {},
    ),
    Case(
        "a token without a revision",
        "GET",
        f"{SERVICES}?continue={make_token(0, '/a')}",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion",
    ),
    Case(
        "a token without a key",
        "GET",
        f"{SERVICES}?continue={make_token(5, '')}",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: encoded start key empty",
    ),
    Case(
        "a token that climbs",
        "GET",
        f"{SERVICES}?continue={make_token(5, '/../x')}",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: /../x",
    ),
    Case(
        "a token of another version",
        "GET",
        f"{SERVICES}?continue={make_token(5, '/a', 'v9')}",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: server does not recognize this encoded version",
    ),
    Case(
        "a bad token before a version beside it",
        "GET",
        f"{SERVICES}?continue=%21&resourceVersion=5",
        400,
        "BadRequest",
        "invalid continue token: ",
    ),
    Case(
        "a token and a version",
        "GET",
        f"{SERVICES}?continue={make_token(5, '/a')}&resourceVersion=5",
        400,
        "BadRequest",
        "specifying resource version is not allowed when using continue",
    ),
    Case(
        "a match beside a token",
        "GET",
        f"{SERVICES}?continue={make_token(5, '/a')}&resourceVersion=5&resourceVersionMatch=Exact",
        422,
        "Invalid",
        LIST_OPTIONS + "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
    ),
    Case(
        "exactly any version",
        "GET",
        f"{SERVICES}?resourceVersion=0&resourceVersionMatch=Exact",
        422,
        "Invalid",
        LIST_OPTIONS + 'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for '
        'resourceVersion "0"',
    ),
    Case(
        "an unknown match",
        "GET",
        f"{SERVICES}?resourceVersion=1&resourceVersionMatch=Newest",
        422,
        "Invalid",
        LIST_OPTIONS + 'resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", '
        '"NotOlderThan", ""',
    ),
    Case(
        "initial events of another match",
        "GET",
        f"{SERVICES}?watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
        422,
        "Invalid",
        LIST_OPTIONS + 'resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"',
    ),
    Case(
        "no initial events without match",
        "GET",
        f"{SERVICES}?watch=1&sendInitialEvents=false",
        422,
        "Invalid",
        LIST_OPTIONS + "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to "
        "NotOlderThan",
    ),
    Case(
        "a watch of one name that selects another",
        "GET",
        "/api/v1/watch/namespaces/default/services/web?fieldSelector=metadata.name%3Dx",
        400,
        "BadRequest",
        "fieldSelector metadata.name doesn't match requested name",
    ),
    Case(
        "a Node has no namespace to select",
        "GET",
        "/api/v1/nodes?fieldSelector=metadata.namespace%3Dx",
        400,
        "BadRequest",
        "field label not supported: metadata.namespace",
    ),
    Case(
        "includeObject of a Table",
        "GET",
        f"{SERVICES}?includeObject=All",
        400,
        "BadRequest",
        'Unable to convert to Table as requested: includeObject: Invalid value: "All": ',
        None,
        {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    ),
    Case(
        "application/* is no media type",
        "GET",
        WEB,
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\n",
        None,
        {"accept": "application/*"},
    ),
    Case(
        "yaml is no stream",
        "GET",
        f"{SERVICES}?watch=1",
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
        "application/vnd.kubernetes.protobuf;stream=watch",
        None,
        {"accept": "application/yaml"},
    ),
    Case(
        "the answer's type before the body's",
        "POST",
        SERVICES,
        406,
        "NotAcceptable",
        "406: Not Acceptable",
        b"{",
        {"accept": "text/html", "content-type": "text/plain"},
    ),
    Case(
        "the body's type before the options",
        "POST",
        f"{SERVICES}?dryRun=x",
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf",
        b"{",
        {"content-type": "application/cbor"},
    ),
    Case(
        "the options before the body",
        "PUT",
        f"{WEB}?dryRun=x",
        422,
        "Invalid",
        'UpdateOptions.meta.k8s.io "" is invalid: dryRun: ',
        b"{",
    ),
    Case(
        "the kind of patch before the answer's type",
        "PATCH",
        WEB,
        415,
        "UnsupportedMediaType",
        "415: Unsupported Media Type",
        {},
        {"accept": "text/html", "content-type": "application/json"},
    ),
    Case("a patch of no kind", "PATCH", WEB, 415, "UnsupportedMediaType", "415: Unsupported Media Type", {}),
    Case(
        "the namespace before the name",
        "PUT",
        WEB,
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
        make_service("a", "other"),
    ),
    Case(
        "the name before the object",
        "PUT",
        f"{SERVICES}/none",
        400,
        "BadRequest",
        "the name of the object (web) does not match the name on the URL (none)",
        make_service(),
    ),
    Case(
        "all rules before a version that a new object cannot have",
        "POST",
        CONFIG_MAPS,
        422,
        "Invalid",
        'ConfigMap ".." is invalid: metadata.name: ',
        {"metadata": {"name": "..", "resourceVersion": "7"}},
    ),
    Case(
        "a name from nowhere",
        "POST",
        CONFIG_MAPS,
        422,
        "Invalid",
        'ConfigMap ".." is invalid: metadata.name: Invalid value: "..": ',
        {"metadata": {"name": ".."}},
    ),
    Case(
        "a role's name is a path segment",
        "POST",
        CLUSTER_ROLES,
        422,
        "Invalid",
        'ClusterRole.rbac.authorization.k8s.io "a/b" is invalid: metadata.name: Invalid value: "a/b": '
        "may not contain '/'",
        {"metadata": {"name": "a/b"}},
    ),
    Case(
        "an invalid duplicate is invalid",
        "POST",
        SERVICES,
        422,
        "Invalid",
        'Service "web" is invalid: ',
        make_service(ports=[{"port": 0, "targetPort": 80}]),
    ),
    Case(
        "a Service without a name fails at its address",
        "POST",
        SERVICES,
        422,
        "Invalid",
        'Service "" is invalid: spec.clusterIPs: Invalid value: [""]: failed to allocate IP: ',
        {"spec": {"ports": [{"port": 80}]}},
    ),
    Case(
        "a generated name from a bad prefix",
        "POST",
        CONFIG_MAPS,
        422,
        "Invalid",
        'ConfigMap "Bad_',
        {"metadata": {"generateName": "Bad_"}},
    ),
    Case(
        "the namespace of a create",
        "POST",
        "/api/v1/namespaces",
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
        {"metadata": {"name": "n", "namespace": "n"}},
    ),
    Case(
        "an unknown key of an operation, quoted with the patched object",
        "PATCH",
        f"{WEB}?fieldValidation=Strict",
        422,
        "Invalid",
        ' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"v1\\",',
        [{"op": "add", "path": "/metadata/labels", "value": {}, "colour": 1}],
        JSON_PATCH,
    ),
    Case(
        "a duplicate key of a merge patch",
        "PATCH",
        f"{WEB}?fieldValidation=Strict",
        422,
        "Invalid",
        ' "" is invalid: patch: Invalid value: "{\\"',
        b'{"spec":{},"spec":{}}',
        MERGE,
    ),
    Case(
        "a strategic patch is quoted as it is",
        "PATCH",
        f"{WEB}?fieldValidation=Strict",
        422,
        "Invalid",
        ' "" is invalid: patch: Invalid value: "map[spec:map[colour:red]]": strict decoding error: '
        'unknown field "spec.colour"',
        {"spec": {"colour": "red"}},
        STRATEGIC,
    ),
    Case("a merge patch of null", "PATCH", WEB, 400, "BadRequest", "Invalid JSON Patch", b"null", MERGE),
    Case("a merge patch of a list", "PATCH", WEB, 400, "BadRequest", "error decoding patch: ", b"[]", MERGE),
    Case("a JSON patch of an object", "PATCH", WEB, 400, "BadRequest", "error decoding patch: ", b"{}", JSON_PATCH),
    Case(
        "an element without its merge key",
        "PATCH",
        WEB,
        500,
        "",
        "map: map[name:q] does not contain declared merge key: port",
        {"spec": {"ports": [{"name": "q"}]}},
        STRATEGIC,
    ),
    Case(
        "a version in a body that is no number",
        "PUT",
        WEB,
        500,
        "",
        "invalid resource version: ",
        make_service(meta={"resourceVersion": "x"}),
    ),
    Case(
        "the uid of what is not there",
        "PUT",
        f"{SERVICES}/none",
        409,
        "Conflict",
        'Operation cannot be fulfilled on services "none": StorageError: invalid object, Code: 4, Key: ',
        make_service("none", meta={"uid": "x"}),
    ),
    Case(
        "a body that is not the options of a delete",
        "DELETE",
        WEB,
        400,
        "BadRequest",
        'no kind "Pod" is registered for version "v1" in scheme ',
        {"kind": "Pod", "apiVersion": "v1"},
    ),
    Case(
        "a delete that speaks text",
        "DELETE",
        WEB,
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format",
        b"{}",
        {"content-type": "text/plain"},
    ),
    Case(
        "an unknown dry run of a delete",
        "DELETE",
        f"{WEB}?dryRun=x",
        422,
        "Invalid",
        'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["x"]: supported values: "All"',
    ),
    Case(
        "a delete of a collection with an unknown match",
        "DELETE",
        f"{SERVICES}?resourceVersionMatch=Exact",
        422,
        "Invalid",
        LIST_OPTIONS + "resourceVersionMatch: Forbidden: ",
    ),
    Case(
        "a manager that is too long",
        "POST",
        f"{SERVICES}?fieldManager={'m' * 129}",
        422,
        "Invalid",
        'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes',
        {},
    ),
    Case("an object that is not there", "GET", f"{SERVICES}/x", 404, "NotFound", 'services "x" not found'),
    Case(
        "an object of a group", "GET", f"{SLICES}/x", 404, "NotFound", 'endpointslices.discovery.k8s.io "x" not found'
    ),
    Case("deleting what is not there", "DELETE", f"{SERVICES}/x", 404, "NotFound", 'services "x" not found'),
    Case("patching what is not there", "PATCH", f"{SERVICES}/x", 404, "NotFound", 'services "x" not found', {}, MERGE),
    Case("an unknown resource", "GET", "/api/v1/gadgets", 404, "NotFound", NOT_FOUND),
    Case("an unknown subresource", "GET", f"{WEB}/shape", 404, "NotFound", NOT_FOUND),
    Case("a percent-encoded slash", "GET", f"{SERVICES}/web%2Fx", 404, "NotFound", NOT_FOUND),
    Case("an unknown version", "GET", "/api/v2", 404, "NotFound", NOT_FOUND),
    Case(
        "a missing namespace",
        "POST",
        "/api/v1/namespaces/n/configmaps",
        404,
        "NotFound",
        'namespaces "n" not found',
        {"metadata": {"name": "a"}},
    ),
    Case("a namespaced kind without one", "GET", "/api/v1/services/web", 404, "NotFound", NOT_FOUND),
    Case("posting to an object", "POST", WEB, 405, "MethodNotAllowed", NOT_ALLOWED, {}),
    Case("posting to all namespaces", "POST", "/api/v1/services", 405, "MethodNotAllowed", NOT_ALLOWED, {}),
    Case("deleting in all namespaces", "DELETE", "/api/v1/services", 405, "MethodNotAllowed", NOT_ALLOWED),
    Case("deleting all namespaces", "DELETE", "/api/v1/namespaces", 405, "MethodNotAllowed", NOT_ALLOWED),
    Case("putting a collection", "PUT", SERVICES, 405, "MethodNotAllowed", NOT_ALLOWED, {}),
    Case("HEAD", "HEAD", WEB, 405, "MethodNotAllowed", NOT_ALLOWED),
    Case("OPTIONS", "OPTIONS", WEB, 405, "MethodNotAllowed", NOT_ALLOWED),
    Case("getting a binding", "GET", "/api/v1/namespaces/default/pods/p/binding", 405, "MethodNotAllowed", NOT_ALLOWED),
    Case(
        "a name of dots", "GET", f"{SERVICES}/..", 400, "BadRequest", "Name parameter invalid: \"..\": may not be '..'"
    ),
    Case(
        "an empty body",
        "POST",
        SERVICES,
        400,
        "BadRequest",
        "the object provided is unrecognized (must be of type Service): ",
        b"",
    ),
    Case(
        "another kind",
        "POST",
        SERVICES,
        400,
        "BadRequest",
        'Pod in version "v1" cannot be handled as a Service: ',
        {"kind": "Pod", "apiVersion": "v1"},
    ),
    Case(
        "another namespace",
        "POST",
        SERVICES,
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
        make_service("x", "kube-system"),
    ),
    Case(
        "another name",
        "PUT",
        WEB,
        400,
        "BadRequest",
        "the name of the object (other) does not match the name on the URL (web)",
        WEB_NAMED_ELSE,
    ),
    Case(
        "no name",
        "PUT",
        WEB,
        400,
        "BadRequest",
        "the name of the object (web based on URL) was undeterminable: name must be provided",
        {"spec": {}},
    ),
    Case(
        "an unsupported field",
        "GET",
        f"{SERVICES}?fieldSelector=spec.foo%3D1",
        400,
        "BadRequest",
        "field label not supported: spec.foo",
    ),
    Case(
        "an unsupported field of a plain kind",
        "GET",
        f"{CONFIG_MAPS}?fieldSelector=a%3D1",
        400,
        "BadRequest",
        '"a" is not a known field selector: only "metadata.name", "metadata.namespace"',
    ),
    Case(
        "a bad label selector",
        "GET",
        f"{SERVICES}?labelSelector=a%3Db,",
        400,
        "BadRequest",
        "found '', expected: identifier after ','",
    ),
    Case(
        "a bad field selector",
        "GET",
        f"{SERVICES}?fieldSelector=x",
        400,
        "BadRequest",
        "invalid selector: 'x'; can't understand 'x'",
    ),
    Case(
        "a bad continue token",
        "GET",
        f"{SERVICES}?continue=%21",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: ",
    ),
    Case(
        "a list version that is no number",
        "GET",
        f"{SERVICES}?resourceVersion=abc",
        400,
        "BadRequest",
        'invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": '
        "invalid syntax",
    ),
    Case("a get version that is no number", "GET", f"{WEB}?resourceVersion=abc", 500, "", "invalid resource version: "),
    Case(
        "a version beyond 64 bits",
        "GET",
        f"{SERVICES}?resourceVersion={'9' * 5000}",
        400,
        "BadRequest",
        "invalid resource version: ",
    ),
    Case(
        "a get version beyond 64 bits", "GET", f"{WEB}?resourceVersion={1 << 64}", 500, "", "invalid resource version: "
    ),
    Case("a watch version that is no number", "GET", f"{SERVICES}?watch=1&resourceVersion=x", 500, "", "invalid resou"),
    Case("a limit that is no number", "GET", f"{SERVICES}?limit=x", 400, "BadRequest", "strconv.ParseInt"),
    Case(
        "a bad timeout",
        "GET",
        f"{SERVICES}?timeout=soon",
        400,
        "BadRequest",
        "invalid timeout specified in the request URL - ",
    ),
    Case(
        "export",
        "GET",
        f"{WEB}?export=true",
        400,
        "BadRequest",
        "the export parameter, deprecated since v1.14, is no longer supported",
    ),
    Case(
        "nothing acceptable",
        "GET",
        WEB,
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: ",
        None,
        {"accept": "text/html"},
    ),
    Case(
        "a transformation that is not served",
        "GET",
        WEB,
        406,
        "NotAcceptable",
        "only the following media types are accepted: ",
        None,
        {"accept": "application/json;as=Cake;g=x;v=v1"},
    ),
    Case(
        "a list as one object's metadata",
        "GET",
        SERVICES,
        406,
        "NotAcceptable",
        "you requested PartialObjectMetadata, but the requested object is a list",
        None,
        {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"},
    ),
    Case("a taken name", "POST", SERVICES, 409, "AlreadyExists", 'services "web" already exists', make_service()),
    Case("a stale version", "PUT", WEB, 409, "Conflict", MODIFIED, make_service(meta={"resourceVersion": "3"})),
    Case(
        "a patch with a stale version",
        "PATCH",
        WEB,
        409,
        "Conflict",
        'Operation cannot be fulfilled on services "web"',
        {"metadata": {"resourceVersion": "3"}},
        MERGE,
    ),
    Case(
        "another uid",
        "PUT",
        WEB,
        409,
        "Conflict",
        'Operation cannot be fulfilled on services "web": StorageError: invalid object, Code: 4, Key: ',
        make_service(meta={"uid": "x"}),
    ),
    Case(
        "a patch with another uid",
        "PATCH",
        WEB,
        422,
        "Invalid",
        'Service "web" is invalid: metadata.uid: Invalid value: "x": field is immutable',
        {"metadata": {"uid": "x"}},
        MERGE,
    ),
    Case(
        "a delete of another uid",
        "DELETE",
        WEB,
        409,
        "Conflict",
        'Operation cannot be fulfilled on Service "web": the UID in the precondition (x) does not match the UID in '
        "record (",
        {"preconditions": {"uid": "x"}},
    ),
    Case(
        "a delete of another version",
        "DELETE",
        WEB,
        409,
        "Conflict",
        'Operation cannot be fulfilled on Service "web": the ResourceVersion in the precondition (1) does not match '
        "the ResourceVersion in record (",
        {"preconditions": {"resourceVersion": "1"}},
    ),
    Case(
        "a uid where nothing is",
        "PUT",
        f"{SERVICES}/new",
        409,
        "Conflict",
        'Operation cannot be fulfilled on services "new"',
        make_service("new", meta={"uid": "x"}),
    ),
    Case(
        "a body too large",
        "POST",
        CONFIG_MAPS,
        413,
        "RequestEntityTooLarge",
        "Request entity too large: limit is 3145728",
        b" " * (3 << 20) + b"{}",
    ),
    Case(
        "an unknown body type",
        "POST",
        SERVICES,
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: ",
        b"x",
        {"content-type": "text/plain"},
    ),
    Case("a patch without type", "PATCH", WEB, 415, "UnsupportedMediaType", "415: Unsupported Media Type", {}),
    Case(
        "server-side apply by nobody",
        "PATCH",
        WEB,
        422,
        "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        {},
        {"content-type": "application/apply-patch+yaml"},
    ),
    Case(
        "a bad port",
        "POST",
        SERVICES,
        422,
        "Invalid",
        'Service "x" is invalid: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
        make_service("x", ports=[{"port": 0, "targetPort": 80}]),
    ),
    Case(
        "no name to create",
        "POST",
        CONFIG_MAPS,
        422,
        "Invalid",
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
        {"data": {}},
    ),
    Case(
        "no name for a namespace",
        "POST",
        "/api/v1/namespaces",
        422,
        "Invalid",
        'Namespace "" is invalid: metadata.name: Required value: name or generateName is required',
        {},
    ),
    Case(
        "a patch that cannot apply",
        "PATCH",
        WEB,
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
        [{"op": "remove", "path": "/none"}],
        {"content-type": "application/json-patch+json"},
    ),
    Case(
        "a patch into nonsense",
        "PATCH",
        WEB,
        422,
        "Invalid",
        ' "" is invalid: patch: Invalid value: ',
        {"spec": {"ports": "x"}},
        MERGE,
    ),
    Case(
        "an unknown dry run",
        "POST",
        f"{SERVICES}?dryRun=Some",
        422,
        "Invalid",
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
        make_service("x"),
    ),
    Case(
        "an unknown field validation",
        "PUT",
        f"{WEB}?fieldValidation=Hard",
        422,
        "Invalid",
        'UpdateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Hard": supported values: "", '
        '"Ignore", "Strict", "Warn"',
        make_service(),
    ),
    Case(
        "a field manager with a tab",
        "POST",
        f"{SERVICES}?fieldManager=a%09",
        422,
        "Invalid",
        'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\\t": invalid character U+0009 '
        "(at position 1)",
        make_service("x"),
    ),
    Case(
        "force without apply",
        "PATCH",
        f"{WEB}?force=true",
        422,
        "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
        {},
        MERGE,
    ),
    Case(
        "an unknown propagation",
        "DELETE",
        f"{WEB}?propagationPolicy=Slow",
        422,
        "Invalid",
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Slow": supported values: '
        '"Foreground", "Background", "Orphan", "nil"',
    ),
    Case(
        "two propagations",
        "DELETE",
        WEB,
        422,
        "Invalid",
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and '
        "deletionPropagation cannot be both set",
        {"orphanDependents": True, "propagationPolicy": "Orphan"},
    ),
    Case(
        "a match without version",
        "GET",
        f"{SERVICES}?resourceVersionMatch=Exact",
        422,
        "Invalid",
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden '
        "unless resourceVersion is provided",
    ),
    Case(
        "initial events of a list",
        "GET",
        f"{SERVICES}?sendInitialEvents=true",
        422,
        "Invalid",
        LIST_OPTIONS + "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
    ),
    Case(
        "initial events without match",
        "GET",
        f"{SERVICES}?watch=1&sendInitialEvents=true",
        422,
        "Invalid",
        LIST_OPTIONS + "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to "
        "NotOlderThan",
    ),
    Case(
        "a match without initial events",
        "GET",
        f"{SERVICES}?watch=1&resourceVersionMatch=NotOlderThan",
        422,
        "Invalid",
        LIST_OPTIONS + "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless "
        "sendInitialEvents is provided",
    ),
    Case(
        "a create with a version",
        "POST",
        CONFIG_MAPS,
        500,
        "",
        "resourceVersion should not be set on objects to be created",
        {"metadata": {"name": "a", "resourceVersion": "1"}},
    ),
    Case(
        "an immortal namespace",
        "DELETE",
        "/api/v1/namespaces/default",
        403,
        "Forbidden",
        'namespaces "default" is forbidden: this namespace may not be deleted',
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_a_refusal(case: Case) -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("POST", SERVICES, make_service())).status == 201
        answer = await ask(case.method, case.target, case.body, headers=case.headers)
        assert answer.body["kind"] == "Status" and answer.body["status"] == "Failure"
        assert (answer.status, answer.body["code"]) == (case.code, case.code), answer.body
        assert answer.body.get("reason", "") == case.reason
        assert answer.message.startswith(case.message), answer.message

    talk(conversation)


def test_a_group_that_is_not_served_is_plain_text() -> None:
    async def conversation(ask: Conversation) -> None:
        for path in ("/apis/example.com/v1/widgets", "/apis/example.com", "/nowhere"):
            answer = await ask("GET", path)
            assert (answer.status, answer.text) == (404, b"404 page not found\n"), path

    talk(conversation)


def test_a_refusal_says_nosniff_and_retries_only_where_wished() -> None:
    async def conversation(ask: Conversation) -> None:
        refused = await ask("GET", SERVICES, identity=Identity("ann"))
        assert refused.headers["X-Content-Type-Options"] == "nosniff" and "Retry-After" not in refused.headers

    talk(conversation)


def test_too_many_requests_at_once_are_told_to_come_back() -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("GET", SERVICES, identity=Identity("ann"))
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert answer.text == b"Too many requests, please try again later.\n"
        assert (await ask("GET", SERVICES)).status == 200, "masters are exempt"

    talk(conversation, config=ServerConfig(max_reads_in_flight=0))


def test_a_list_from_the_future_waits_and_says_so() -> None:
    import asyncio

    async def conversation(ask: Conversation) -> None:
        asked = asyncio.ensure_future(ask("GET", f"{SERVICES}?resourceVersion=99999"))
        await asyncio.sleep(0)
        await ask.effects.advance(3)
        answer = await asked
        assert answer.status == 504 and answer.headers["Retry-After"] == "1"
        assert answer.message.startswith("Timeout: Too large resource version: 99999, current: ")
        assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"

    talk(conversation)


def test_a_bug_is_a_500_that_is_reported() -> None:
    async def conversation(ask: Conversation) -> None:
        ask.server.state.find = None  # type: ignore[assignment,method-assign]
        answer = await ask("GET", f"{SERVICES}/web")
        assert answer.status == 500
        assert answer.text == b"This request caused apiserver to panic. Look in the logs for details.\n"
        assert len(ask.effects.reported) == 1
        ask.effects.reported.clear()

    talk(conversation)
