"""Which objects a LIST shows, at which revision, in which pages.

Rule: spec "api-machinery" §6. The first page is the present state; later pages are read from the store's history at
the revision of the first, unless nothing has changed since.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from seaway.api.machinery.errors import ApiError, BadRequest, Expired, Timeout
from seaway.api.machinery.selectors import FieldSelector, LabelSelector
from seaway.api.registry import Resource
from seaway.apiserver.options import ListOptions
from seaway.apiserver.record import Record, encode_object, make_record
from seaway.apiserver.state import ServerState
from seaway.store.contract import Compacted, FutureRevision

_TOKEN_VERSION = "meta.k8s.io/v1"
_EXPIRED_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
Matcher = Callable[[Record], bool]


@dataclass(frozen=True, slots=True)
class Page:
    """What one LIST answers. `remaining` None: not known, as selectors are in play."""

    records: tuple[Record, ...]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str


def make_matcher(labels: LabelSelector, fields: FieldSelector) -> Matcher | None:
    """Whether a record is selected; None when all are."""
    label_terms, field_terms = labels.requirements, fields.requirements
    if not label_terms and not field_terms:
        return None
    if not field_terms:
        return lambda record: labels.matches(record.labels)

    def matches(record: Record) -> bool:
        for term in field_terms:
            if (record.find_field(term.key) == term.value) is term.negated:
                return False
        return labels.matches(record.labels)

    return matches


async def read_page(state: ServerState, resource: Resource, namespace: str, options: ListOptions) -> Page:
    """Raises BadRequest, Expired (410) and Timeout (504)."""
    matches = make_matcher(options.labels, options.fields)
    if options.continue_token:
        return await _read_next(state, resource, namespace, options, matches)
    wanted = options.revision or 0
    if not await state.reach(resource, wanted):
        raise make_too_new(wanted, state.watch_cache.revision)
    is_exact = options.match == "Exact" or (wanted > 0 and not options.match and options.limit > 0)
    if is_exact:
        return await _read_at(state, resource, namespace, options, matches, revision=wanted, after="")
    # Upstream ignores the limit for "any version": the whole list comes from memory.
    limit = 0 if options.revision == 0 else options.limit
    return _read_present(
        state, resource, namespace, matches, limit=limit, after="", revision=state.watch_cache.revision
    )


def wants_all_now(options: ListOptions, current: int) -> bool:
    """Whether the answer is the whole list at the current revision: what `read_page` makes of these options."""
    wanted = options.revision or 0
    is_limited = bool(options.limit) and options.revision != 0
    return not (options.continue_token or options.match == "Exact" or is_limited) and wanted <= current


def make_too_new(revision: int, current: int) -> ApiError:
    """The 504 for a revision that is not there yet."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return Timeout(f"Timeout: Too large resource version: {revision}, current: {current}", details)


async def _read_next(
    state: ServerState, resource: Resource, namespace: str, options: ListOptions, matches: Matcher | None
) -> Page:
    token = _decode_token(options.continue_token)
    if options.revision:
        raise BadRequest("specifying resource version is not allowed when using continue")
    after = token.start.rstrip("\0").removeprefix("/")
    after = f"{namespace}/{after}" if namespace and resource.namespaced else after
    if token.rv < 0:
        now = state.watch_cache.revision
        return _read_present(state, resource, namespace, matches, limit=options.limit, after=after, revision=now)
    try:
        return await _read_at(state, resource, namespace, options, matches, revision=token.rv, after=after)
    except Expired:
        error = Expired(_EXPIRED_TOKEN, {})
        raise ExpiredToken(error.message, _encode_token(-1, namespace, after)) from None


class ExpiredToken(Expired):
    """A page whose snapshot is gone; `resume_token` goes on at the latest state."""

    def __init__(self, message: str, resume_token: str) -> None:
        super().__init__(message)
        self.resume_token = resume_token

    def to_status(self) -> dict[str, object]:
        """The Status, with the token in its metadata."""
        return {**super().to_status(), "metadata": {"continue": self.resume_token}}


async def _read_at(
    state: ServerState,
    resource: Resource,
    namespace: str,
    options: ListOptions,
    matches: Matcher | None,
    *,
    revision: int,
    after: str,
) -> Page:
    cache = state.watch_cache.cache(resource)
    if cache.changed_at <= revision <= state.watch_cache.revision:
        limit = options.limit
        return _read_present(state, resource, namespace, matches, limit=limit, after=after, revision=revision)
    prefix = f"{resource.store_prefix}{namespace}/" if namespace else resource.store_prefix
    start = f"{resource.store_prefix}{after}" if after else ""
    begun = state.effects.monotonic()
    try:
        page = await state.store.list(prefix, revision=revision, after=start)
    except Compacted:
        raise Expired("The resourceVersion for the provided list is too old.") from None
    except FutureRevision as error:
        raise make_too_new(error.revision, error.current_revision) from None
    skip = len(resource.store_prefix)
    family = state.allocator.families[0]
    records = (make_record(resource, entry.key[skip:], entry.value, entry.revision, family) for entry in page.entries)
    found = _cut(records, matches, limit=options.limit, namespace=namespace, revision=revision)
    state.metrics.count_store("list", state.effects.monotonic() - begun)
    state.metrics.count_list(state.metrics.store_lists, resource, len(page.entries), len(found.records))
    return found


def _read_present(
    state: ServerState,
    resource: Resource,
    namespace: str,
    matches: Matcher | None,
    *,
    limit: int,
    after: str,
    revision: int,
) -> Page:
    records = tuple(state.watch_cache.cache(resource).select(namespace, after=after))
    page = _cut(records, matches, limit=limit, namespace=namespace, revision=revision)
    state.metrics.count_list(state.metrics.cache_lists, resource, len(records), len(page.records))
    return page


def _cut(records: Iterable[Record], matches: Matcher | None, *, limit: int, namespace: str, revision: int) -> Page:
    selected = tuple(records if matches is None else filter(matches, records))
    if not limit or len(selected) <= limit:
        return Page(selected, revision)
    shown = selected[:limit]
    remaining = len(selected) - limit if matches is None else None
    return Page(shown, revision, _encode_token(revision, namespace, shown[-1].key), remaining)


def _encode_token(revision: int, namespace: str, key: str) -> str:
    start = key.removeprefix(f"{namespace}/") if namespace else key
    raw = encode_object({"v": _TOKEN_VERSION, "rv": revision, "start": f"/{start}\0"})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode_token(text: str) -> _Token:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, ValueError) as error:
        raise _make_bad_token(str(error)) from None
    if token.v != _TOKEN_VERSION:
        raise _make_bad_token(f'server does not recognize this encoded version "{token.v}"')
    if token.rv == 0 or token.rv >= 1 << 63:
        raise _make_bad_token(f"incorrect encoded start resourceVersion (version {_TOKEN_VERSION})")
    if not token.start:
        raise _make_bad_token(f"encoded start key empty (version {_TOKEN_VERSION})")
    start = token.start if token.start.startswith("/") else f"/{token.start}"
    if posixpath.normpath(start) != start:
        raise _make_bad_token(token.start)
    return token


def _make_bad_token(found: str) -> BadRequest:
    return BadRequest(f"invalid continue token: continue key is not valid: {found}")
