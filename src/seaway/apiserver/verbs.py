"""One function per verb: from a routed, authorized request to its response.

Rule: spec "api-machinery" §1.2, §1.3, §9.1, §9.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from seaway.api.machinery.errors import BadRequest, make_not_found
from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.machinery.selectors import FieldRequirement, FieldSelector
from seaway.api.registry import Resource
from seaway.apiserver.access.rbac import attributes_of
from seaway.apiserver.answers import is_packed, make_answer, make_kept_answer
from seaway.apiserver.encoding import PLAIN, accepts_gzip, choose_form, is_pretty
from seaway.apiserver.forms import show, store, store_made
from seaway.apiserver.managedfields import choose_manager
from seaway.apiserver.negotiation import Accepted
from seaway.apiserver.options import (
    ListOptions,
    is_apply_patch,
    parse_get_version,
    parse_list_options,
    parse_write_options,
)
from seaway.apiserver.reading.fieldlabels import check_field_selector
from seaway.apiserver.reading.lists import (
    Page,
    make_matcher,
    make_too_new,
    read_page,
    wants_all_now,
)
from seaway.apiserver.reading.render import EventEncoder, join_items, join_list, render_list, render_object
from seaway.apiserver.reading.watch import WatchStream
from seaway.apiserver.routes import Route
from seaway.apiserver.state import ServerState
from seaway.apiserver.writing.bodies import (
    check_body_type,
    check_patch_type,
    decode_delete_body,
    decode_object_body,
    decode_replacement,
    make_applier,
    make_patcher,
)
from seaway.apiserver.writing.deletes import delete, delete_collection
from seaway.apiserver.writing.systemfields import check_identity
from seaway.apiserver.writing.writes import Target, Written, create, update

_STREAM_HEADERS = (("Content-Type", "application/json"),)
# Below this, joining again costs less than a place in memory.
_KEEP_LIST_FROM_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request with everything that is known of it."""

    state: ServerState
    request: Request
    identity: Identity
    route: Route
    resource: Resource

    @property
    def include_object(self) -> str:
        return self.request.find_parameter("includeObject") or "Metadata"

    def target(self, *, dry_run: bool, manager: str | None = "") -> Target:
        """What a write of this request is about. manager: the client's word for itself; None for an apply."""
        namespace = self.route.namespace if self.resource.namespaced else ""
        return Target(
            self.resource.storage,
            namespace,
            self.route.name,
            self.identity,
            attributes_of(self.route),
            self.route.subresource,
            dry_run,
            None if manager is None else choose_manager(manager, self.request.headers.get("user-agent", "")),
        )

    @property
    def namespace(self) -> str:
        return self.route.namespace if self.resource.namespaced else ""


async def answer_get(call: Call) -> Response:
    """One object; with a resourceVersion, not older than that."""
    state, request, resource, route = call.state, call.request, call.resource, call.route
    form = choose_form(request)
    if request.query:
        wanted = parse_get_version(request) or 0
        if not await state.reach(resource, wanted):
            raise make_too_new(wanted, state.watch_cache.revision)
    record = state.find(resource, call.namespace, route.name)
    if record is None:
        raise make_not_found(resource.plural, resource.storage.group, route.name)
    body = record.stored if route.subresource else record.body
    return make_answer(request, 200, _render(call, body, form), form)


async def answer_list(call: Call) -> Response:
    """A page of the collection."""
    state, request, resource = call.state, call.request, call.resource
    form = choose_form(request, is_list=True)
    options = _check_options(call, parse_list_options(request, is_watch=False))
    kept = _find_kept(call, options, form)
    if kept is not None:
        return kept
    page = await read_page(state, resource, call.namespace, options)
    if form.kind != "object" or page.continue_token or options.continue_token:
        wall_now = state.effects.wall_now()
        body = render_list(resource, page, form, include_object=call.include_object, wall_now=wall_now)
    elif page.revision < state.watch_cache.cache(resource).changed_at:
        body = render_list(resource, page, PLAIN, include_object="", wall_now=state.effects.wall_now())
    else:
        return _answer_kept(call, page, options, form)
    return make_answer(request, 200, body, form)


def _find_kept(call: Call, options: ListOptions, form: Accepted) -> Response | None:
    """The answer that was given before to the same question, if nothing was written since."""
    state = call.state
    if form != PLAIN or is_pretty(call.request) or not wants_all_now(options, state.watch_cache.revision):
        return None
    is_gzip = accepts_gzip(call.request)
    body = state.list_bodies.get((_list_key(call, options), is_gzip), state.watch_cache.revision)
    return None if body is None else make_kept_answer(body, is_packed=is_gzip)


def _answer_kept(call: Call, page: Page, options: ListOptions, form: Accepted) -> Response:
    """A whole list of the present: joined once while its kind does not change, finished once while nothing does."""
    key = _list_key(call, options)
    answer = make_answer(call.request, 200, _join_kept(call, page, key), form)
    is_gzip = accepts_gzip(call.request)
    if form == PLAIN and not is_pretty(call.request) and is_packed(answer) is is_gzip:
        assert isinstance(answer.body, bytes)
        if len(answer.body) >= _KEEP_LIST_FROM_BYTES:
            call.state.list_bodies.put((key, is_gzip), page.revision, answer.body)
    return answer


def _list_key(call: Call, options: ListOptions) -> object:
    return call.resource.path_prefix, call.resource.plural, call.namespace, options.labels, options.fields


def _join_kept(call: Call, page: Page, key: object) -> bytes:
    resource, changed_at = call.resource, call.state.watch_cache.cache(call.resource).changed_at
    items = call.state.list_bodies.get(key, changed_at)
    if items is None:
        items = join_items(resource, page.records)
        if len(items) >= _KEEP_LIST_FROM_BYTES:
            call.state.list_bodies.put(key, changed_at, items)
    meta = {"resourceVersion": str(page.revision)}
    return join_list(f"{resource.kind}List", resource.api_version, meta, items)


async def answer_watch(call: Call) -> Response:
    """A stream of events. Refusals before it starts are ordinary answers; later ones are its last line."""
    state, request, resource = call.state, call.request, call.resource
    form = choose_form(request, is_watch=True)
    options = _check_options(call, parse_list_options(request, is_watch=True))
    stream = WatchStream(state.effects, namespace=call.namespace)
    wanted = (options.revision or 0) if options.send_initial else 0
    if not await state.reach(resource, wanted):
        stream.fail(make_too_new(wanted, state.watch_cache.revision))
        return Response(200, _STREAM_HEADERS, stream)
    wall_now = state.effects.wall_now
    encoder = EventEncoder(resource, form, include_object=call.include_object, wall_now=wall_now)
    matches = make_matcher(options.labels, options.fields)
    stream.start(state, state.watch_cache.cache(resource), encoder, matches, options)
    return Response(200, _STREAM_HEADERS, stream)


async def answer_create(call: Call) -> Response:
    """POST to a collection."""
    form = choose_form(call.request)
    check_body_type(call.request)
    options = parse_write_options(call.request, "CreateOptions")
    decoded = decode_object_body(call.request, call.resource, options)
    target = call.target(dry_run=options.dry_run, manager=options.field_manager)
    written = await create(call.state, target, store(call.resource, decoded))
    return answer_written(call, written, form)


async def answer_update(call: Call) -> Response:
    """PUT of an object, its status, or a Namespace's finalizers."""
    form = choose_form(call.request)
    check_body_type(call.request)
    options = parse_write_options(call.request, "UpdateOptions")
    replacement = decode_replacement(call.request, call.resource, options)
    check_identity(replacement.decoded.obj, call.resource, namespace=call.namespace, name=call.route.name)
    creates = call.resource.strategy.creates_on_update and not call.route.subresource
    make = store_made(call.resource, replacement)
    target = call.target(dry_run=options.dry_run, manager=options.field_manager)
    written = await update(call.state, target, make, is_patch=False, creates=creates)
    return answer_written(call, written, form)


async def answer_patch(call: Call) -> Response:
    """PATCH of an object or its status; an apply also creates."""
    check_patch_type(call.request)
    form = choose_form(call.request)
    options = parse_write_options(call.request, "PatchOptions")
    is_apply = is_apply_patch(call.request)
    target = call.target(dry_run=options.dry_run, manager=None if is_apply else options.field_manager)
    if is_apply:
        make = make_applier(call.request, call.resource, target, options, call.state.effects.wall_now)
    else:
        make = make_patcher(call.request, call.resource, options)
    creates = is_apply and not call.route.subresource
    make = store_made(call.resource, make)
    written = await update(call.state, target, make, is_patch=True, creates=creates)
    return answer_written(call, written, form)


async def answer_delete(call: Call) -> Response:
    """DELETE of an object."""
    form = choose_form(call.request)
    options = decode_delete_body(call.request)
    written = await delete(call.state, call.target(dry_run=options.dry_run), options)
    return answer_written(call, written, form)


async def answer_delete_collection(call: Call) -> Response:
    """DELETE of what is selected in a collection; answers the list of it."""
    form = choose_form(call.request, is_list=True)
    selection = _check_options(call, parse_list_options(call.request, is_watch=False))
    options = decode_delete_body(call.request)
    page = await read_page(call.state, call.resource, call.namespace, selection)
    await delete_collection(call.state, call.target(dry_run=options.dry_run), page, options)
    wall_now = call.state.effects.wall_now()
    body = render_list(call.resource, page, form, include_object=call.include_object, wall_now=wall_now)
    return make_answer(call.request, 200, body, form)


def _check_options(call: Call, options: ListOptions) -> ListOptions:
    """The options with the field selector of the path: `/watch/…/name` is a watch of one name. Raises BadRequest."""
    fields = check_field_selector(call.resource, options.fields)
    if call.route.name:
        named = fields.find_exact("metadata.name")
        if named is not None and named != call.route.name:
            raise BadRequest("fieldSelector metadata.name doesn't match requested name")
        fields = FieldSelector((*fields.requirements, FieldRequirement("metadata.name", call.route.name)))
    return options if fields is options.fields else replace(options, fields=fields)


def answer_written(call: Call, written: Written, form: Accepted) -> Response:
    """What a write left, in the form that the client asked for."""
    if written.is_status:
        return make_answer(call.request, written.status, written.body, replace(PLAIN, media=form.media))
    body = _render(call, written.body, form)
    return make_answer(call.request, written.status, body, form, warnings=written.warnings)


def _render(call: Call, body: bytes, form: Accepted) -> bytes:
    if form.kind == "object":
        return show(call.resource, body)
    wall_now = call.state.effects.wall_now()
    return render_object(call.resource, body, form, include_object=call.include_object, wall_now=wall_now)


Verb = Callable[[Call], Awaitable[Response]]
VERBS: dict[tuple[str, str], Verb] = {
    ("get", ""): answer_get,
    ("get", "status"): answer_get,
    ("list", ""): answer_list,
    ("watch", ""): answer_watch,
    ("create", ""): answer_create,
    ("update", ""): answer_update,
    ("update", "status"): answer_update,
    ("update", "finalize"): answer_update,
    ("patch", ""): answer_patch,
    ("patch", "status"): answer_patch,
    ("delete", ""): answer_delete,
    ("deletecollection", ""): answer_delete_collection,
}
