"""The options of a request, read from its query or body and checked. Rule: spec "api-machinery" §1.2, §6.1, §7.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.errors import ApiError, BadRequest
from seaway.api.machinery.errors import make_invalid as make_invalid_status
from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required, too_long
from seaway.api.machinery.http import Request
from seaway.api.machinery.selectors import (
    FieldSelector,
    LabelSelector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from seaway.apiserver.patch import APPLY_PATCH
from seaway.apiserver.routes import is_true

META_GROUP = "meta.k8s.io"
_MAX_INT64 = (1 << 63) - 1
_MAX_UINT64 = (1 << 64) - 1
_MAX_DIGITS = 40
_SHOWN_DIGITS = 100


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Of POST, PUT and PATCH."""

    dry_run: bool = False
    field_validation: str = "Warn"
    field_manager: str = ""
    force: bool = False
    """Of an apply: take over what others own."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Of DELETE. `grace_seconds` None: the kind's own."""

    dry_run: bool = False
    grace_seconds: int | None = None
    propagation: str = ""
    orphan_dependents: bool | None = None
    uid: str | None = None
    resource_version: str | None = None


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Of LIST and WATCH. `revision` is None when unset; `send_initial` None when unset."""

    labels: LabelSelector
    fields: FieldSelector
    revision: int | None = None
    match: str = ""
    limit: int = 0
    continue_token: str = ""
    timeout_seconds: int = 0
    allow_bookmarks: bool = False
    send_initial: bool | None = None


NO_WRITE_OPTIONS = WriteOptions()


def parse_write_options(request: Request, kind: str) -> WriteOptions:
    """kind: `CreateOptions`, `UpdateOptions` or `PatchOptions`. Raises BadRequest, Invalid."""
    is_apply = kind == "PatchOptions" and is_apply_patch(request)
    if not request.query and not is_apply:
        return NO_WRITE_OPTIONS
    errors: list[FieldError] = []
    force = request.find_parameter("force")
    if kind == "PatchOptions" and not is_apply and force is not None:
        errors.append(forbidden("force", "may not be specified for non-apply patch"))
    manager = request.find_parameter("fieldManager") or ""
    if is_apply and not manager:
        errors.append(required("fieldManager", "is required for apply patch"))
    errors += _validate_manager(manager)
    dry_run = [value for key, value in request.query if key == "dryRun" and value]
    errors += _validate_dry_run(dry_run)
    validation = request.find_parameter("fieldValidation") or ""
    if validation not in ("", "Ignore", "Strict", "Warn"):
        errors.append(not_supported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    _raise_invalid(kind, errors)
    return WriteOptions(bool(dry_run), validation or "Warn", manager, is_apply and force is not None and is_true(force))


def is_apply_patch(request: Request) -> bool:
    """Whether the body is a configuration to apply."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == APPLY_PATCH


def parse_delete_options(request: Request, body_options: Mapping[str, Any] | None) -> DeleteOptions:
    """body_options: what the body held, None when it was empty. Raises BadRequest, Invalid."""
    return read_delete_options(_delete_options_of_query(request) if body_options is None else body_options)


def read_delete_options(body_options: Mapping[str, Any]) -> DeleteOptions:
    """A DeleteOptions object, checked. Raises Invalid."""
    errors: list[FieldError] = []
    dry_run = [str(value) for value in body_options.get("dryRun") or ()]
    errors += _validate_dry_run(dry_run)
    propagation = body_options.get("propagationPolicy") or ""
    orphan = body_options.get("orphanDependents")
    if propagation and orphan is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(invalid("propagationPolicy", propagation, detail))
    elif propagation not in ("", "Foreground", "Background", "Orphan"):
        errors.append(not_supported("propagationPolicy", propagation, ("Foreground", "Background", "Orphan", "nil")))
    _raise_invalid("DeleteOptions", errors)
    preconditions = body_options.get("preconditions") or {}
    grace = body_options.get("gracePeriodSeconds")
    return DeleteOptions(
        dry_run=bool(dry_run),
        grace_seconds=None if grace is None else int(grace),
        propagation=str(propagation),
        orphan_dependents=orphan,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
    )


def parse_list_options(request: Request, *, is_watch: bool) -> ListOptions:
    """Raises BadRequest, Invalid, and the bare 500 that a watch gives for a version that is no number."""
    if not request.query:
        return ListOptions(parse_label_selector(""), parse_field_selector(""))
    given = dict(reversed(request.query))
    try:
        labels = parse_label_selector(given.get("labelSelector", ""))
        fields = parse_field_selector(given.get("fieldSelector", ""))
    except SelectorError as error:
        raise BadRequest(str(error)) from None
    send_initial = given.get("sendInitialEvents")
    options = ListOptions(
        labels=labels,
        fields=fields,
        revision=_parse_version(given.get("resourceVersion", ""), is_watch=is_watch),
        match=given.get("resourceVersionMatch", ""),
        limit=max(0, _parse_number(request, "limit")),
        continue_token=given.get("continue", ""),
        timeout_seconds=max(0, _parse_number(request, "timeoutSeconds")),
        allow_bookmarks=is_true(given.get("allowWatchBookmarks")),
        send_initial=None if send_initial is None else is_true(send_initial),
    )
    _raise_invalid("ListOptions", _validate_watch(options) if is_watch else _validate_list(options))
    return options


def parse_get_version(request: Request) -> int | None:
    """The revision that a GET of one object must not be older than, or None. Raises the bare 500."""
    if request.find_parameter("export") is not None:
        raise BadRequest("the export parameter, deprecated since v1.14, is no longer supported")
    return _parse_version(request.find_parameter("resourceVersion") or "", is_watch=True)


def make_version_error(text: str, *, is_watch: bool) -> ApiError:
    """A resourceVersion that is no number: 400 on a list; on a watch, a GET and in a body a bare 500."""
    trouble = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    problem = f'strconv.ParseUint: parsing "{text[:_SHOWN_DIGITS]}": {trouble}'
    found = f'resourceVersion: Invalid value: "{text[:_SHOWN_DIGITS]}": {problem}'
    if is_watch:
        return ApiError(f"invalid resource version: {found}", code=500)
    return BadRequest(f"invalid resource version: {found}")


def _parse_version(text: str, *, is_watch: bool) -> int | None:
    if not text:
        return None
    if not is_version(text):
        raise make_version_error(text, is_watch=is_watch)
    return int(text)


def is_version(text: str) -> bool:
    """Whether it is a number that a revision can be: decimal digits of 64 bits without a sign."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) <= _MAX_UINT64


def _parse_number(request: Request, name: str) -> int:
    text = request.find_parameter(name)
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > 20 or not -_MAX_INT64 - 1 <= int(text) <= _MAX_INT64:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def _validate_manager(manager: str) -> list[FieldError]:
    if len(manager.encode()) > 128:
        return [too_long("fieldManager", 128)]
    for at, char in enumerate(manager):
        if not char.isprintable():
            return [invalid("fieldManager", manager, f"invalid character U+{ord(char):04X} (at position {at})")]
    return []


def _validate_dry_run(values: list[str]) -> list[FieldError]:
    return [] if all(value == "All" for value in values) else [not_supported("dryRun", values, ("All",))]


def _validate_list(options: ListOptions) -> list[FieldError]:
    errors: list[FieldError] = []
    if options.send_initial is not None:
        errors.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if not options.match:
        return errors
    path = "resourceVersionMatch"
    if options.match not in ("Exact", "NotOlderThan"):
        errors.append(not_supported(path, options.match, ("Exact", "NotOlderThan", "")))
    elif options.continue_token:
        errors.append(forbidden(path, f"{path} is forbidden when continue is provided"))
    elif options.revision is None:
        errors.append(forbidden(path, f"{path} is forbidden unless resourceVersion is provided"))
    elif options.match == "Exact" and options.revision == 0:
        errors.append(forbidden(path, f'{path} "exact" is forbidden for resourceVersion "0"'))
    return errors


def _validate_watch(options: ListOptions) -> list[FieldError]:
    path = "resourceVersionMatch"
    if options.send_initial is None:
        if not options.match:
            return []
        return [forbidden(path, f"{path} is forbidden for watch unless sendInitialEvents is provided")]
    if options.match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        if not options.match:
            return [forbidden(path, detail)]
        return [not_supported(path, options.match, ("NotOlderThan",))]
    return []


def _delete_options_of_query(request: Request) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.find_parameter("gracePeriodSeconds"):
        options["gracePeriodSeconds"] = _parse_number(request, "gracePeriodSeconds")
    policy = request.find_parameter("propagationPolicy")
    if policy:
        options["propagationPolicy"] = policy
    orphan = request.find_parameter("orphanDependents")
    if orphan is not None:
        options["orphanDependents"] = is_true(orphan)
    options["dryRun"] = [value for key, value in request.query if key == "dryRun" and value]
    return options


def _raise_invalid(kind: str, errors: list[FieldError]) -> None:
    if errors:
        raise make_invalid_status(kind, META_GROUP, "", errors)
