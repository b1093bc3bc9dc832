"""A TOML file as the tree that a Corefile is: its keys are the Corefile's words, so that both mean the same.

    listen = ["10.0.0.10:53"]
    allowed_sources = ["10.244.0.0/16"]

    [[zone]]
    name = "."
    errors = true
    kubernetes = { zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"], pods = "insecure", ttl = 5 }
    forward = [{ from = ".", to = ["/etc/resolv.conf"], max_concurrent = 1000 }]
    cache = { ttl = 30, disable = ["success cluster.local"] }
    rewrite = ["name exact old.example.com web.default.svc.cluster.local"]

A string is words between blanks, true a word that needs nothing behind it, a list of strings words or, where a
Corefile would repeat the line, lines. Lines in errors are those of the key, looked for in its zone.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from seaway.dns.settings.corefile import Directive, ServerBlock
from seaway.dns.settings.words import SettingsError, read_address

MAX_LIMIT = 1_000_000
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "kubernetes": ("zones",),
    "forward": ("from", "to"),
    "cache": ("ttl", "zones"),
    "hosts": ("file", "zones"),
    "log": ("zones",),
    "health": ("address",),
    "ready": ("address",),
    "prometheus": ("address",),
    "reload": ("interval", "jitter"),
}
"""Keys of a table that stand behind the directive's name in a Corefile, in order."""
_LINES = frozenset(("rewrite", "disable", "consolidate", "entries"))
"""Keys whose lists are lines, not words."""
_LIMITS = ("max_forwards", "max_forwards_per_source", "max_connections", "max_connections_per_source")
_TOP = ("listen", "allowed_sources", *_LIMITS, "zone")


def parse_toml(text: str, *, file: str) -> tuple[dict[str, Any], tuple[ServerBlock, ...]]:
    """What holds for all zones (`listen`, `allowed_sources`, limits), and the blocks. Raises SettingsError."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        what = str(error).split(" (at ")[0]
        raise SettingsError(what, file=file, line=int(found.group(1)) if found else 1) from None
    place = _Place(text, file)
    for key in tree:
        if key not in _TOP:
            raise place.wrong(f"unknown key {key!r}; known here: {', '.join(_TOP)}", key)
    zones = tree.get("zone", [])
    if not isinstance(zones, list) or not all(isinstance(zone, dict) for zone in zones):
        raise place.wrong("zone: tables needed, each under [[zone]]", "zone")
    return _read_top(tree, place), tuple(_read_zone(zone, place.in_zone(i)) for i, zone in enumerate(zones))


class _Place:
    """Finds the line of a key: the first one from the zone's header on."""

    def __init__(self, text: str, file: str, start: int = 0) -> None:
        self.file = file
        self._text = text
        self._start = start

    def in_zone(self, index: int) -> _Place:
        headers = [found.start() for found in re.finditer(r"^\s*\[\[\s*zone\s*\]\]", self._text, re.MULTILINE)]
        return _Place(self._text, self.file, headers[index] if index < len(headers) else 0)

    def line(self, key: str) -> int:
        pattern = rf"""(?:^|[\s.{{,\["'])({re.escape(key)})["']?\s*(?:=|\]|\.)"""
        found = re.compile(pattern, re.MULTILINE).search(self._text, self._start)
        return self._text.count("\n", 0, found.start(1) if found else self._start) + 1

    def wrong(self, text: str, key: str) -> SettingsError:
        return SettingsError(text, file=self.file, line=self.line(key))


def _read_top(tree: Mapping[str, Any], place: _Place) -> dict[str, Any]:
    top: dict[str, Any] = {}
    try:
        if "listen" in tree:
            top["listen"] = tuple(read_address(word, port=53) for word in _words("listen", tree["listen"], place))
        if "allowed_sources" in tree:
            top["allowed_sources"] = _words("allowed_sources", tree["allowed_sources"], place)
        for key in _LIMITS:
            if key in tree:
                top[key] = _read_limit(key, tree[key], place)
    except ValueError as error:
        raise place.wrong(f"listen: {error}", "listen") from None
    return top


def _read_limit(key: str, value: Any, place: _Place) -> int:
    if type(value) is not int or not 0 < value <= MAX_LIMIT:
        raise place.wrong(f"{key}: {value!r} found, a number from 1 to {MAX_LIMIT} allowed", key)
    return value


def _read_zone(zone: Mapping[str, Any], place: _Place) -> ServerBlock:
    name = zone.get("name", ".")
    if not isinstance(name, str):
        raise place.wrong("name: a zone such as '.' needed", "name")
    directives = [
        directive for key, value in zone.items() if key != "name" for directive in _read_directives(key, value, place)
    ]
    return ServerBlock((name,), tuple(directives), place.file, place.line("zone"))


def _read_directives(key: str, value: Any, place: _Place) -> list[Directive]:
    """The lines that a key stands for: none for false, one for each table or line of a list."""
    if value is False:
        return []
    if isinstance(value, list) and (key in _LINES or any(isinstance(each, dict) for each in value)):
        return [directive for each in value for directive in _read_directives(key, each, place)]
    if key == "entries":
        address, *names = _split(key, value, place)
        return [Directive(address, tuple(names), (), place.file, place.line(key))]
    if isinstance(value, dict):
        return [_read_table(key, value, place)]
    return [Directive(key, _words(key, value, place), (), place.file, place.line(key))]


def _read_table(key: str, table: Mapping[str, Any], place: _Place) -> Directive:
    names = _ARGUMENTS.get(key, ())
    arguments = [word for name in names if name in table for word in _words(name, table[name], place)]
    body = [
        directive
        for name, value in table.items()
        if name not in names
        for directive in _read_directives(name, value, place)
    ]
    return Directive(key, tuple(arguments), tuple(body), place.file, place.line(key))


def _words(key: str, value: Any, place: _Place) -> tuple[str, ...]:
    match value:
        case True:
            return ()
        case str():
            return tuple(_split(key, value, place))
        case int() | float():
            return (str(value),)
        case list() if all(isinstance(each, str | int) for each in value):
            return tuple(str(each) for each in value)
    raise place.wrong(f"{key}: words, a number, or a list of them needed", key)


def _split(key: str, value: Any, place: _Place) -> Sequence[str]:
    try:
        words = shlex.split(value) if isinstance(value, str) else []
    except ValueError as error:
        raise place.wrong(f"{key}: {error}", key) from None
    if not words:
        raise place.wrong(f"{key}: a line of words needed", key)
    return words
