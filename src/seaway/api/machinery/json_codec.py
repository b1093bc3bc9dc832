"""JSON bodies to values: duplicate keys found, depth limited, text always encodable.

Rule: spec "api-machinery" §2.1 (case-sensitive, integers stay integers, the last duplicate wins); design §12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 200  # the deepest built-in kind needs 20; upstream allows 10000
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class JsonError(ValueError):
    """A body that is not JSON; the text is the decoder's."""


class _Repeating(dict[str, Any]):
    """An object in which keys were repeated. `repeated` lists them."""

    repeated: tuple[str, ...] = ()


def parse_json(body: bytes) -> tuple[Any, tuple[str, ...]]:
    """The value, and the paths of duplicate fields in it. Raises JsonError.

    Most bodies take the short way, which finds the same: the fast decoder takes nothing that the other refuses, and a
    dropped duplicate takes at least one colon with it, where no escape can write another.
    """
    if b"\\u" not in body:
        try:
            value = _decode(body)
            if body.count(b":") == _encode(value).count(b":"):
                _check_depth_of(body, value)
                return value, ()
        except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeDecodeError):
            pass
    return _parse_marking(body)


def _parse_marking(body: bytes) -> tuple[Any, tuple[str, ...]]:
    """The same of any body, by the decoder that shows every pair and says what is wrong."""
    repeats: list[None] = []

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        repeats.append(None)
        marked = _Repeating(result)
        seen: set[str] = set()
        marked.repeated = tuple(
            dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        )
        return marked

    try:
        text = body.decode(errors="replace")
        value = json.loads(text, object_pairs_hook=make_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise JsonError(_describe(error)) from None
    except JsonError:
        raise
    except ValueError:
        raise JsonError("invalid number") from None
    _check_depth_of(body, value)
    if _ESCAPED_SURROGATE.search(body):
        value = _replace_surrogates(value)
    return value, tuple(_find_repeats(value, "")) if repeats else ()


def copy_json(value: Any) -> Any:
    """The value with lists and maps of its own, at a fifth of what `copy.deepcopy` costs."""
    if isinstance(value, dict):
        return {key: copy_json(item) if isinstance(item, dict | list) else item for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) if isinstance(item, dict | list) else item for item in value]
    return value


def _check_depth_of(body: bytes, value: Any) -> None:
    """Few bodies have so many brackets that they could be nested too deep."""
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        check_depth(value)


def check_depth(value: Any) -> None:
    """Raises JsonError when lists and maps are nested more than MAX_DEPTH deep. Takes no stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise JsonError("exceeded max depth")


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"invalid character '{name[0]}' looking for beginning of value")


def _describe(error: json.JSONDecodeError) -> str:
    """The error in words close to those of upstream's scanner."""
    if error.pos >= len(error.doc):
        return "unexpected end of JSON input"
    found = error.doc[error.pos]
    if error.msg.startswith("Extra data"):
        return f"invalid character '{found}' after top-level value"
    if error.msg.startswith("Expecting property name"):
        return f"invalid character '{found}' looking for beginning of object key string"
    if "':' delimiter" in error.msg:
        return f"invalid character '{found}' after object key"
    if "',' delimiter" in error.msg:
        return f"invalid character '{found}' after object key:value pair"
    return f"invalid character '{found}' looking for beginning of value"


def _find_repeats(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        prefix = f"{path}." if path else ""
        if isinstance(value, _Repeating):
            yield from (prefix + key for key in value.repeated)
        for key, child in value.items():
            yield from _find_repeats(child, prefix + key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _find_repeats(child, f"{path}[{index}]")


def _replace_surrogates(value: Any) -> Any:
    """Half a surrogate pair becomes U+FFFD, as Go decodes it: otherwise the value could not be encoded again."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        copied = {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
        if isinstance(value, _Repeating):
            marked = _Repeating(copied)
            marked.repeated = value.repeated
            return marked
        return copied
    return value
