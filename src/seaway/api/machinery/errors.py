"""API errors: one class per reason, made from a Status and turned into one here alone.

Callers match the class, never the text. Rule: spec "api-machinery" §1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from seaway.api.machinery.field import FieldError


class ApiError(Exception):
    """An answer of kind Status with status Failure. `details` is the wire form, or None."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = ""
    warnings: tuple[str, ...] = ()
    """What the server tells the client beside the Status; no part of it."""

    def __init__(self, message: str, details: dict[str, Any] | None = None, *, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.status_code = code or self.code

    @property
    def retry_after_seconds(self) -> int:
        """The server's wish, 0 when it has none."""
        return int((self.details or {}).get("retryAfterSeconds", 0))

    def to_status(self) -> dict[str, Any]:
        """The Status object as it goes on the wire."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.status_code
        return status


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"

    @property
    def is_namespace_terminating(self) -> bool:
        """Nothing is created there any more. Rule: spec "controllers" §0.4, point 6."""
        causes = (self.details or {}).get("causes", ())
        return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class Expired(ApiError):
    """A resourceVersion or continue token that history no longer covers."""

    code, reason = 410, "Expired"


class RequestEntityTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class ServerTimeout(ApiError):
    code, reason = 500, "ServerTimeout"


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON = {
    cls.reason: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict,
        Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError,
        ServerTimeout, ServiceUnavailable, Timeout,
    )
}  # fmt: skip
_BY_CODE = {cls.code: cls for cls in reversed(_BY_REASON.values())} | {409: Conflict, 500: InternalError}


def error_from_status(code: int, status: Any) -> ApiError:
    """The error that a failed answer stands for. status: the decoded body, of any shape."""
    if isinstance(status, dict) and status.get("kind") == "Status":
        cls = _BY_REASON.get(status.get("reason", ""), ApiError)
        return cls(str(status.get("message", "")), status.get("details"), code=code)
    text = status if isinstance(status, str) else repr(status)
    return _BY_CODE.get(code, ApiError)(f"HTTP {code}: {text[:200]}", code=code)


def make_invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> Invalid:
    """The 422 for what validation found. Texts that repeat are said once in the message, kept as causes."""
    qualified = f"{kind}.{group}" if group else kind
    texts = list(dict.fromkeys(str(error) for error in errors))
    found = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: dict[str, Any] = {"name": name}
    if group:
        details["group"] = group
    details["kind"] = kind
    details["causes"] = [{"reason": e.kind.reason, "message": e.body, "field": e.path} for e in errors]
    return Invalid(f'{qualified} "{name}" is invalid: {found}', details)


def make_not_found(plural: str, group: str, name: str) -> NotFound:
    return NotFound(f'{_qualify(plural, group)} "{name}" not found', _details(plural, group, name))


def make_already_exists(plural: str, group: str, name: str, *, terminating: bool = False) -> AlreadyExists:
    prefix = "object is being deleted: " if terminating else ""
    text = f'{prefix}{_qualify(plural, group)} "{name}" already exists'
    return AlreadyExists(text, _details(plural, group, name))


def make_conflict(plural: str, group: str, name: str, why: str | None = None) -> Conflict:
    """why: None means that the object was modified in between."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {_qualify(plural, group)} "{name}": {why}'
    return Conflict(text, _details(plural, group, name))


def make_server_timeout(plural: str, group: str, operation: str) -> ServerTimeout:
    """The store cannot be reached: here the details name the operation, not an object."""
    text = f"The {operation} operation against {_qualify(plural, group)} could not be completed at this time, "
    details = {**_details(plural, group, operation), "retryAfterSeconds": 2}
    return ServerTimeout(text + "please try again.", details)


def _qualify(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(plural: str, group: str, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name}
    if group:
        details["group"] = group
    details["kind"] = plural
    return details
