"""Verbs that speak of another kind than the resource, or of nothing that is kept: scale, eviction, binding, token,
reviews; and the table of all verbs.

Rule: spec "api-machinery" §9.1, §9.2, §9.6, §10.3, §10.4.
"""

from __future__ import annotations

from dataclasses import replace

from seaway.api.machinery.codec import Decoded
from seaway.api.machinery.errors import BadRequest, make_invalid, make_not_found
from seaway.api.machinery.field import FieldError, not_supported, required
from seaway.api.machinery.http import Response
from seaway.api.pod.ephemeral import take_ephemeral_containers
from seaway.api.registry import BINDINGS, EVICTIONS, PODS, SCALES, TOKEN_REQUESTS, Resource
from seaway.apiserver.access.reviews import Asker, answer_review
from seaway.apiserver.access.tokenrequests import issue_token
from seaway.apiserver.answers import make_answer
from seaway.apiserver.effects import format_time
from seaway.apiserver.encoding import PLAIN, choose_form
from seaway.apiserver.forms import Make
from seaway.apiserver.negotiation import Accepted
from seaway.apiserver.options import WriteOptions, is_apply_patch, parse_write_options, read_delete_options
from seaway.apiserver.proxying.kubelet import answer_log
from seaway.apiserver.reading.render import render_object
from seaway.apiserver.record import Json, decode_object, encode_object
from seaway.apiserver.subresources.evict import evict
from seaway.apiserver.subresources.scale import make_scaler, read_scale
from seaway.apiserver.verbs import VERBS, Call, Verb, answer_get, answer_written
from seaway.apiserver.writing.bodies import (
    check_body_type,
    check_patch_type,
    decode_object_body,
    decode_replacement,
    make_applier,
    make_binder,
    make_patcher,
)
from seaway.apiserver.writing.systemfields import check_identity, settle_namespace
from seaway.apiserver.writing.writes import Target, update


async def answer_scale(call: Call) -> Response:
    """How many copies there are and shall be."""
    form = choose_form(call.request)
    resource, name = call.resource, call.route.name
    record = call.state.find(resource, call.namespace, name)
    if record is None:
        raise make_not_found(resource.plural, resource.group, name)
    return _answer_scale(call, 200, record.body, form)


async def update_scale(call: Call) -> Response:
    """PUT of a Scale."""
    form = choose_form(call.request)
    make, options = _read_replacement(call, SCALES)
    return await _write_scale(call, make, call.target(dry_run=options.dry_run, manager=options.field_manager), form)


async def patch_scale(call: Call) -> Response:
    """PATCH of a Scale."""
    check_patch_type(call.request)
    form = choose_form(call.request)
    options = parse_write_options(call.request, "PatchOptions")
    if is_apply_patch(call.request):
        target = call.target(dry_run=options.dry_run, manager=None)
        change = make_applier(call.request, SCALES, target, options, call.state.effects.wall_now)
        return await _write_scale(call, change, target, form)
    target = call.target(dry_run=options.dry_run, manager=options.field_manager)
    return await _write_scale(call, make_patcher(call.request, SCALES, options), target, form)


async def _write_scale(call: Call, change: Make, target: Target, form: Accepted) -> Response:
    make = make_scaler(call.resource, target.namespace, target.name, change)
    written = await update(call.state, target, make, is_patch=True)
    return _answer_scale(call, written.status, written.body, form, written.warnings)


def _answer_scale(call: Call, status: int, body: bytes, form: Accepted, warnings: tuple[str, ...] = ()) -> Response:
    scale = encode_object(read_scale(decode_object(body)))
    wall_now = call.state.effects.wall_now()
    shown = render_object(SCALES, scale, form, include_object=call.include_object, wall_now=wall_now)
    return make_answer(call.request, status, shown, form, warnings=warnings)


async def update_ephemeral_containers(call: Call) -> Response:
    """PUT of a Pod of which only the ephemeral containers count."""
    form = choose_form(call.request)
    make, options = _read_replacement(call, PODS)
    return await _write_ephemeral_containers(call, make, options, form, is_patch=False)


async def patch_ephemeral_containers(call: Call) -> Response:
    """PATCH of a Pod of which only the ephemeral containers count."""
    check_patch_type(call.request)
    form = choose_form(call.request)
    options = parse_write_options(call.request, "PatchOptions")
    change = make_patcher(call.request, PODS, options)
    return await _write_ephemeral_containers(call, change, options, form, is_patch=True)


async def _write_ephemeral_containers(
    call: Call, change: Make, options: WriteOptions, form: Accepted, *, is_patch: bool
) -> Response:
    target = call.target(dry_run=options.dry_run, manager=options.field_manager)

    def make(current: Json) -> Decoded:
        decoded = change(current)
        check_identity(decoded.obj, PODS, namespace=target.namespace, name=target.name)
        return replace(decoded, obj=take_ephemeral_containers(decoded.obj, current))

    written = await update(call.state, target, make, is_patch=is_patch)
    return answer_written(call, written, form)


def _read_replacement(call: Call, kind: Resource) -> tuple[Make, WriteOptions]:
    """The body of a PUT and its options."""
    check_body_type(call.request)
    options = parse_write_options(call.request, "UpdateOptions")
    return decode_replacement(call.request, kind, options), options


async def answer_eviction(call: Call) -> Response:
    """POST of an Eviction: the Pod is deleted if its budget allows it."""
    form, options, eviction = _read_named(call, EVICTIONS)
    if eviction["metadata"].get("name", "") != call.route.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    delete_options = read_delete_options(eviction.get("deleteOptions") or {})
    dry_run = options.dry_run or delete_options.dry_run
    await evict(call.state, call.target(dry_run=dry_run), replace(delete_options, dry_run=dry_run))
    return _answer_success(call, form)


async def answer_binding(call: Call) -> Response:
    """POST of a Binding: the Pod gets its node. The Pod is that of the path, or of the body at `/bindings`."""
    form, options, binding = _read_named(call, BINDINGS)
    name = binding["metadata"].get("name", "")
    if call.route.name and name not in ("", call.route.name):
        raise BadRequest("name in URL does not match name in Binding object")
    name = call.route.name or name
    if not name:
        raise BadRequest("name must be provided")
    errors = _validate_binding(binding)
    if errors:
        raise make_invalid(BINDINGS.kind, BINDINGS.group, name, errors)
    now = format_time(call.state.effects.wall_now())
    make = make_binder(binding, PODS, name, now)
    target = replace(call.target(dry_run=options.dry_run), resource=PODS, name=name, subresource="binding")
    await update(call.state, target, make, is_patch=True)
    return _answer_success(call, form)


def _validate_binding(binding: Json) -> list[FieldError]:
    target = binding.get("target") or {}
    errors = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(not_supported("target.kind", target["kind"], ("<empty>", "Node")))
    if not target.get("name"):
        errors.append(required("target.name"))
    return errors


def _read_named(call: Call, kind: Resource) -> tuple[Accepted, WriteOptions, Json]:
    """The body of a POST that makes nothing that is kept. Raises BadRequest for another namespace."""
    form = choose_form(call.request)
    check_body_type(call.request)
    options = parse_write_options(call.request, "CreateOptions")
    obj = decode_object_body(call.request, kind, options).obj
    settle_namespace(obj["metadata"], kind, call.route.namespace)
    return form, options, obj


async def answer_token(call: Call) -> Response:
    """POST of a TokenRequest: a token of the service account. A rehearsal gets one too: nothing is stored anyway."""
    state, route = call.state, call.route
    form = choose_form(call.request)
    check_body_type(call.request)
    options = parse_write_options(call.request, "CreateOptions")
    request = decode_object_body(call.request, TOKEN_REQUESTS, options).obj
    token = issue_token(state, call.identity, route.namespace, route.name, request)
    return make_answer(call.request, 201, encode_object(token), replace(PLAIN, media=form.media))


async def answer_question(call: Call) -> Response:
    """POST of a review: its answer, and nothing is kept."""
    form = choose_form(call.request)
    check_body_type(call.request)
    options = parse_write_options(call.request, "CreateOptions")
    decoded = decode_object_body(call.request, call.resource, options)
    state = call.state
    asker = Asker(
        identity=call.identity,
        namespace=call.namespace,
        wall_now=format_time(state.effects.wall_now()),
        decide=state.decide,
        rules_of=state.read_policy().rules_of,
        authenticator=state.authenticator,
    )
    body = encode_object(answer_review(call.resource, decoded.obj, asker))
    return make_answer(call.request, 201, body, replace(PLAIN, media=form.media), warnings=decoded.warnings)


def _answer_success(call: Call, form: Accepted) -> Response:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return make_answer(call.request, 201, encode_object(status), replace(PLAIN, media=form.media))


_SUBRESOURCE_VERBS: dict[tuple[str, str], Verb] = {
    ("get", "scale"): answer_scale,
    ("update", "scale"): update_scale,
    ("patch", "scale"): patch_scale,
    ("get", "log"): answer_log,
    ("create", "eviction"): answer_eviction,
    ("create", "binding"): answer_binding,
    ("create", "token"): answer_token,
    ("get", "ephemeralcontainers"): answer_get,
    ("update", "ephemeralcontainers"): update_ephemeral_containers,
    ("patch", "ephemeralcontainers"): patch_ephemeral_containers,
}


def find_verb(resource: Resource, verb: str, subresource: str) -> Verb | None:
    """The function that answers, None where the resource has no such verb."""
    if not resource.is_stored:
        answer = answer_binding if resource is BINDINGS else answer_question
        return answer if (verb, subresource) == ("create", "") else None
    return VERBS.get((verb, subresource)) or _SUBRESOURCE_VERBS.get((verb, subresource))
