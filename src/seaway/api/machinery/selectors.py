"""Label and field selectors: text to value, and whether an object matches.

Rule: spec "api-machinery" §6.2. `!=` and `notin` match objects that lack the key.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.remember import remember_short


class SelectorError(ValueError):
    """A selector that cannot be read. The text is what a client sees."""


class Operator(enum.Enum):
    """How a requirement reads a label."""

    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    IN = "in"
    NOT_IN = "notin"
    GREATER = "gt"
    LESS = "lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def is_met(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.GREATER | Operator.LESS:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        if not _INTEGER.fullmatch(value):
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator is Operator.GREATER else int(value) < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.is_met(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """A field equals the value, or does not when `negated`. An absent field is the empty string."""

    key: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements must hold; without any, everything matches."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(r.key, "") == r.value) is not r.negated for r in self.requirements)

    def find_exact(self, key: str) -> str | None:
        """The only value that the selector allows for the field, or None."""
        for requirement in self.requirements:
            if requirement.key == key and not requirement.negated:
                return requirement.value
        return None

    def __bool__(self) -> bool:
        return bool(self.requirements)


EVERYTHING = LabelSelector()
ANY_FIELDS = FieldSelector()

_INTEGER = re.compile(r"[+-]?\d+")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+|$)")
_SYMBOLS = frozenset(("=", "==", "!=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = {
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}


@remember_short(1024)
def parse_label_selector(text: str) -> LabelSelector:
    """The selector of the text. Raises SelectorError."""
    return LabelSelector(_LabelParser(text).parse()) if text.strip() else EVERYTHING


@remember_short(1024)
def parse_field_selector(text: str) -> FieldSelector:
    """The selector of the text; `\\,`, `\\=` and `\\\\` escape in values. Raises SelectorError."""
    terms = [term for term in _split_terms(text) if term]
    return FieldSelector(tuple(_parse_term(term, text) for term in terms)) if terms else ANY_FIELDS


def selector_from_object(selector: Mapping[str, Any] | None) -> LabelSelector | None:
    """What a LabelSelector object of a spec means. None (no selector) selects nothing and stays None.

    Raises SelectorError for an operator that does not exist, and for an expression without a key.
    """
    if selector is None:
        return None
    requirements = [
        Requirement(key, Operator.IN, frozenset((value,)))
        for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for expression in selector.get("matchExpressions") or ():
        operator = _EXPRESSION_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        if not expression.get("key"):
            raise SelectorError("a label selector requirement must have a key")
        requirements.append(Requirement(expression["key"], operator, frozenset(expression.get("values") or ())))
    return LabelSelector(tuple(requirements))


def render_label_selector(selector: LabelSelector) -> str:
    """The selector as a query string holds it, requirements sorted by key: `a=b,c in (d,e),!f`.

    Law: parsing the text gives the same requirements, sorted.
    """
    return ",".join(_render_requirement(term) for term in sorted(selector.requirements, key=lambda term: term.key))


def _render_requirement(term: Requirement) -> str:
    values = sorted(term.values)
    match term.operator:
        case Operator.EXISTS:
            return term.key
        case Operator.DOES_NOT_EXIST:
            return f"!{term.key}"
        case Operator.IN if len(values) == 1:
            return f"{term.key}={values[0]}"
        case Operator.GREATER | Operator.LESS:
            return f"{term.key}{'>' if term.operator is Operator.GREATER else '<'}{values[0]}"
    return f"{term.key} {term.operator.value} ({','.join(values)})"


_EXPRESSION_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}


class _LabelParser:
    """Reads one label selector, left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = [match.group(1) for match in _TOKEN.finditer(text)]
        if not self._tokens or self._tokens[-1]:
            self._tokens.append("")
        self._at = 0

    def parse(self) -> tuple[Requirement, ...]:
        requirements: list[Requirement] = []
        while True:
            token = self._peek()
            if not requirements and token in _SYMBOLS and token != "!":
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self._next()
            if token == "":
                return tuple(requirements)
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if following == "" or (following in _SYMBOLS and following != "!"):
                raise SelectorError(f"found '{following}', expected: identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._tokens[self._at]
        if token:
            self._at += 1
        return token

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._next()
        if key == "" or key in _SYMBOLS:
            raise SelectorError(f"found '{key}', expected: identifier")
        _check_key(key)
        if absent:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self._peek() in ("", ","):
            return Requirement(key, Operator.EXISTS)
        word = self._next()
        operator = _OPERATORS.get(word)
        if operator is None:
            raise SelectorError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if word in ("in", "notin") else [self._value()]
        _check_values(key, operator, values)
        return Requirement(key, operator, frozenset(values))

    def _value(self) -> str:
        token = self._peek()
        if token in ("", ","):
            return ""
        self._next()
        if token in _SYMBOLS:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> list[str]:
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        values: list[str] = []
        pending = ""
        while True:
            token = self._next()
            if token == ")":
                return [*values, pending]
            if token == ",":
                values.append(pending)
                pending = ""
            elif token == "" or token in _SYMBOLS:
                raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
            elif pending:
                raise SelectorError(f"found '{token}', expected: ',' or ')'")
            else:
                pending = token


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        found = (
            f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
    elif slash and not prefix:
        found = "prefix part must be non-empty"
    elif prefix and not _SUBDOMAIN.fullmatch(prefix):
        found = f"prefix part {_SUBDOMAIN_RULE}"
    elif len(prefix) > 253:
        found = "prefix part must be no more than 253 bytes"
    elif not name:
        found = "name part must be non-empty"
    elif len(name) > 63:
        found = "name part must be no more than 63 bytes"
    elif not _NAME.fullmatch(name):
        found = f"name part {_NAME_RULE}"
    else:
        return
    raise SelectorError(f'key: Invalid value: "{key}": {found}')


def _check_values(key: str, operator: Operator, values: list[str]) -> None:
    for index, value in enumerate(values):
        if operator in (Operator.GREATER, Operator.LESS):
            found = "" if _INTEGER.fullmatch(value) else "for 'Gt', 'Lt' operators, the value must be an integer"
        elif len(value) > 63:
            found = "must be no more than 63 bytes"
        else:
            found = "" if not value or _NAME.fullmatch(value) else _VALUE_RULE
        if found:
            raise SelectorError(f'values[{index}][{key}]: Invalid value: "{value}": {found}')


def _split_terms(text: str) -> list[str]:
    terms, start, escaped = [], 0, False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(text[start:at])
            start = at + 1
    return [*terms, text[start:]]


def _parse_term(term: str, text: str) -> FieldRequirement:
    for at in range(len(term)):
        for operator in ("!=", "==", "="):
            if term.startswith(operator, at):
                return FieldRequirement(term[:at].strip(), _unescape(term[at + len(operator) :]), operator == "!=")
    raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")


def _unescape(value: str) -> str:
    if "\\" not in value and "=" not in value:
        return value
    result: list[str] = []
    chars = iter(value)
    for char in chars:
        if char == "\\":
            char = next(chars, "")
            if char not in ("\\", ",", "=") or not char:
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{char}")
        elif char == "=":
            raise SelectorError("invalid field selector: unescaped character in value: =")
        result.append(char)
    return "".join(result)
