"""YAML to JSON values and back, with the rules of Go's decoder: YAML 1.1 booleans, no dates, no base-60 numbers.

The decoder walks events, so limits hold before anything is built: no aliases (each could multiply), bounded depth, one
document. Duplicate keys keep the last value and are reported with their line.
Rule: spec "api-machinery" §4.6 (`line 5: key "a" already set in map`), design security rules (YAML aliases).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from seaway.api.machinery.json_codec import MAX_DEPTH

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_TRUE = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"))
_FALSE = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|(?:0|[1-9][0-9_]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
MAX_NODES = 100_000  # keeps the slow way through events below half a second; real objects have a few thousand
_MAX_NUMBER = 400  # characters of a number; longer ones are text


class YamlError(ValueError):
    """A body that is not YAML of the kind that JSON can express."""


def parse_yaml(body: bytes) -> tuple[Any, tuple[str, ...]]:
    """The first document as a JSON value, and its findings (`line 5: key "a" already set in map`).

    An empty body is None. Raises YamlError.
    """
    findings: list[str] = []
    try:
        events = _limit(yaml.parse(body, Loader=_LOADER))
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                return _read(next(events), events, findings, 0), tuple(findings)
    except yaml.YAMLError as error:
        raise YamlError(f"error converting YAML to JSON: yaml: {' '.join(str(error).split())}") from None
    except ValueError as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"error converting YAML to JSON: yaml: {error}") from None
    return None, ()


def _limit(events: Iterator[Any]) -> Iterator[Any]:
    for count, event in enumerate(events):
        if count > MAX_NODES:
            raise YamlError(f"yaml: more than {MAX_NODES} nodes")
        yield event


def _read(event: Any, events: Iterator[Any], findings: list[str], depth: int) -> Any:
    if isinstance(event, yaml.AliasEvent):
        raise YamlError(f"yaml: line {_line(event)}: aliases are not accepted")
    if depth > MAX_DEPTH:
        raise YamlError("yaml: exceeded max depth")
    if isinstance(event, yaml.ScalarEvent):
        return _read_scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_read(item, events, findings, depth + 1))
        return items
    result: dict[str, Any] = {}
    while not isinstance(key_event := next(events), yaml.MappingEndEvent):
        key = _read_key(key_event)
        if key in result:
            findings.append(f'line {_line(key_event)}: key "{key}" already set in map')
        result[key] = _read(next(events), events, findings, depth + 1)
    return result


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _read_key(event: Any) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise YamlError(f"yaml: line {_line(event)}: a key must be a scalar")
    value = _read_scalar(event)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _read_scalar(event: Any) -> Any:
    tag, text = event.tag, event.value
    if tag == "tag:yaml.org,2002:str" or (tag is None and not event.implicit[0]):
        return text
    return resolve_plain(text)


def resolve_plain(text: str) -> Any:
    """The value of a plain scalar: null, boolean, number, or the text itself."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if len(text) > _MAX_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return _parse_integer(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        value = float(text)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return text


def _parse_integer(text: str) -> int:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8), ("0", 8)):
        if digits.startswith(prefix) and len(digits) > len(prefix):
            return sign * int(digits[len(prefix) :], base)
    return sign * int(digits)


class _Dumper(_DUMPER):  # type: ignore[misc, valid-type]
    """Quotes every text that a reader could take for something else: PyYAML alone would write `y` and `1e3` bare."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = "'" if resolve_plain(text) is not text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def encode_yaml(value: Any, *, sort_keys: bool = False) -> bytes:
    """The value as YAML, keys in the order given or sorted, as kubectl prints them; UTF-8, without aliases."""
    text: bytes = yaml.dump(value, Dumper=_Dumper, sort_keys=sort_keys, encoding="utf-8", allow_unicode=True)
    return text
