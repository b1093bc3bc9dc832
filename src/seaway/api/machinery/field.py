"""Field errors: what validation returns, and how a client sees them.

Rule: spec "api-machinery" §1.4 and "service-api" §0.3 (rendering of kinds and values).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class FieldErrorKind(enum.Enum):
    """The reason in a cause, and the words in the message."""

    REQUIRED = ("FieldValueRequired", "Required value", False)
    INVALID = ("FieldValueInvalid", "Invalid value", True)
    TYPE_INVALID = ("FieldValueTypeInvalid", "Invalid value", True)
    NOT_SUPPORTED = ("FieldValueNotSupported", "Unsupported value", True)
    DUPLICATE = ("FieldValueDuplicate", "Duplicate value", True)
    FORBIDDEN = ("FieldValueForbidden", "Forbidden", False)
    TOO_LONG = ("FieldValueTooLong", "Too long", False)
    TOO_SHORT = ("FieldValueTooShort", "Too short", False)
    TOO_MANY = ("FieldValueTooMany", "Too many", True)
    NOT_FOUND = ("FieldValueNotFound", "Not found", True)
    INTERNAL = ("InternalError", "Internal error", False)

    @property
    def reason(self) -> str:
        """The `reason` of the cause on the wire."""
        return self.value[0]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One finding of validation. `path` as clients see it: `spec.ports[0].port`."""

    path: str
    kind: FieldErrorKind
    value: Any = None
    detail: str = ""

    @property
    def body(self) -> str:
        """The text without the path: `Invalid value: 0: must be between 1 and 65535, inclusive`."""
        _, words, has_value = self.kind.value
        text = f"{words}: {render_value(self.value)}" if has_value else words
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.path}: {self.body}"


def render_value(value: Any) -> str:
    """A bad value as messages show it: strings quoted, numbers and booleans bare, the rest compact JSON.

    Both are as Go writes them: its quotes know \\a, \\v and \\x, its JSON spells what HTML would trip over.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return f'"{"".join(map(_quote_character, value))}"'
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE_IN_HTML)


_UNSAFE_IN_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_SHORT_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"',
                  "\\": "\\\\"}  # fmt: skip


def _quote_character(character: str) -> str:
    """One character inside a quoted string of Go. Printable is what Unicode calls so, and of blanks only the space."""
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, FieldErrorKind.REQUIRED, None, detail)


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, FieldErrorKind.INVALID, value, detail)


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, FieldErrorKind.FORBIDDEN, None, detail)


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError(path, FieldErrorKind.DUPLICATE, value)


def too_long(path: str, max_bytes: int) -> FieldError:
    return FieldError(path, FieldErrorKind.TOO_LONG, None, f"may not be more than {max_bytes} bytes")


def too_many(path: str, found: int, limit: int) -> FieldError:
    return FieldError(path, FieldErrorKind.TOO_MANY, found, f"must have at most {limit} items")


def not_supported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(render_value(s) for s in supported)
    return FieldError(path, FieldErrorKind.NOT_SUPPORTED, value, f"supported values: {listed}")
