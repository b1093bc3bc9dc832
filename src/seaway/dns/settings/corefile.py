"""A Corefile as a tree: server blocks, their directives, the directives in those; each with its file and line.

The format is that of Caddy 1: words between blanks, `"…"` around words with blanks, `#` to the end of the line, `{` at
the end of a line and `}` on one of its own around what belongs together. `{$NAME}` and `{%NAME%}` are replaced from the
environment, `import` puts in a snippet `(name) { … }` or the files that a pattern names. What directives mean is not
known here. Rule: spec "discovery" A3.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from seaway.dns.settings.words import SettingsError

MAX_DEPTH = 8
"""Of blocks in blocks, and of imports in imports."""
MAX_WORDS = 100_000
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
_VARIABLE = re.compile(r"\{\$([^{}]+)\}|\{%([^{}%]+)%\}")

ReadMatching = Callable[[str], Sequence[tuple[str, str]]]
"""Paths and texts of the files that a pattern names, sorted; none for a pattern without files. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One line, and the block behind it."""

    name: str
    arguments: tuple[str, ...]
    body: tuple[Directive, ...]
    file: str
    line: int

    def wrong(self, text: str) -> SettingsError:
        """The error that this directive is wrong."""
        return SettingsError(text, file=self.file, line=self.line)


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """Its keys, such as `.:53`, and what is in it."""

    keys: tuple[str, ...]
    directives: tuple[Directive, ...]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class _Line:
    words: tuple[str, ...]
    file: str
    line: int

    def wrong(self, text: str) -> SettingsError:
        return SettingsError(text, file=self.file, line=self.line)


def parse_corefile(
    text: str, *, file: str, environment: Mapping[str, str], read_matching: ReadMatching
) -> tuple[ServerBlock, ...]:
    """The server blocks, in order. Raises SettingsError."""
    return _Parser(environment, read_matching).parse_file(text, file, 0)


class _Parser:
    def __init__(self, environment: Mapping[str, str], read_matching: ReadMatching) -> None:
        self._environment = environment
        self._read_matching = read_matching
        self._snippets: dict[str, tuple[Directive, ...]] = {}
        self._words = 0

    def parse_file(self, text: str, file: str, depth: int) -> tuple[ServerBlock, ...]:
        lines = self._split_lines(text, file)
        blocks: list[ServerBlock] = []
        at = 0
        while at < len(lines):
            first, keys = lines[at], []
            while True:  # keys may go on in the next line after a comma
                line = lines[at]
                at += 1
                opens = line.words[-1] == "{"
                words = line.words[:-1] if opens else line.words
                keys += [word for each in words for word in each.split(",") if word]
                if opens or not line.words[-1].endswith(",") or at == len(lines):
                    break
            if keys[:1] == ["import"] and not opens:
                for path, found in self._read(first, keys[1:], depth):
                    blocks.extend(self.parse_file(found, path, depth + 1))
                continue
            if not opens:
                raise first.wrong(f"{' '.join(keys)!r} found, a server block such as '.:53 {{' needed")
            body, at = self._parse_body(lines, at, first, depth=0)
            if len(keys) == 1 and keys[0].startswith("(") and keys[0].endswith(")"):
                self._snippets[keys[0][1:-1]] = body
            elif keys:
                blocks.append(ServerBlock(tuple(keys), body, file, first.line))
            else:
                raise first.wrong("a block without a zone found; name one, such as '.:53 {'")
        return tuple(blocks)

    def _parse_body(
        self, lines: Sequence[_Line], at: int, opened: _Line, *, depth: int
    ) -> tuple[tuple[Directive, ...], int]:
        """The directives up to the closing brace, and where the lines go on."""
        if depth > MAX_DEPTH:
            raise opened.wrong(f"blocks lie more than {MAX_DEPTH} deep")
        found: list[Directive] = []
        while at < len(lines):
            line = lines[at]
            at += 1
            if line.words == ("}",):
                return tuple(found), at
            if "}" in line.words:
                raise line.wrong("a closing brace found, which needs a line of its own")
            opens = line.words[-1] == "{"
            words = line.words[:-1] if opens else line.words
            if not words:
                raise line.wrong("an opening brace found, which belongs at the end of the line before")
            body: tuple[Directive, ...] = ()
            if opens:
                body, at = self._parse_body(lines, at, line, depth=depth + 1)
            if words[0] == "import":
                found.extend(self._import(line, words[1:], depth))
            else:
                found.append(Directive(words[0], words[1:], body, line.file, line.line))
        raise opened.wrong("a block is opened here and not closed")

    def _import(self, line: _Line, arguments: Sequence[str], depth: int) -> list[Directive]:
        if len(arguments) == 1 and arguments[0] in self._snippets:
            return list(self._snippets[arguments[0]])
        found: list[Directive] = []
        for path, text in self._read(line, arguments, depth):
            lines = self._split_lines(text, path)
            end = _Line(("}",), path, lines[-1].line if lines else 1)
            body, at = self._parse_body([*lines, end], 0, line, depth=depth + 1)
            if at <= len(lines):
                raise lines[at - 1].wrong("a closing brace found, which nothing opened")
            found.extend(body)
        return found

    def _read(self, line: _Line, arguments: Sequence[str], depth: int) -> Sequence[tuple[str, str]]:
        if len(arguments) != 1:
            raise line.wrong(f"import: {len(arguments)} arguments found, one pattern of files or snippet needed")
        if depth >= MAX_DEPTH:
            raise line.wrong(f"import: files import each other more than {MAX_DEPTH} deep")
        try:
            found = self._read_matching(arguments[0])
        except OSError as error:
            raise line.wrong(f"import {arguments[0]}: {error.strerror or error}") from None
        if not found and "*" not in arguments[0] and "?" not in arguments[0]:
            raise line.wrong(f"import {arguments[0]}: no such file or snippet")
        return found

    def _split_lines(self, text: str, file: str) -> list[_Line]:
        lines: list[_Line] = []
        for number, raw in enumerate(text.splitlines(), start=1):
            words = self._split_words(raw, file, number)
            if words:
                lines.append(_Line(words, file, number))
        return lines

    def _split_words(self, raw: str, file: str, number: int) -> tuple[str, ...]:
        words: list[str] = []
        for match in _WORD.finditer(raw):
            quoted, bare = match.groups()
            if bare is not None and bare.startswith("#"):
                break
            if bare is not None and bare.startswith('"'):
                raise SettingsError("a quote is opened here and not closed in its line", file=file, line=number)
            word = bare if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
            words.append(_VARIABLE.sub(lambda v: self._environment.get(v.group(1) or v.group(2), ""), word))
        self._words += len(words)
        if self._words > MAX_WORDS:
            raise SettingsError(f"more than {MAX_WORDS} words", file=file, line=number)
        return tuple(word for word in words if word)
