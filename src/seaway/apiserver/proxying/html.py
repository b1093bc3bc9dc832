"""Rewrites URLs of attributes in HTML that flows by: everything else passes byte for byte.

A scanner, no parser: text runs up to a `<`; comments, declarations and the contents of scripts and styles are text too.
A tag is kept until it is whole, at most MAX_TAG_BYTES; a longer one passes as it is. The encoding does not matter, as
long as ASCII is ASCII in it.
Rule: spec "service-api" §8.3; HTML, "tokenization".
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

MAX_TAG_BYTES = 16 << 10
_ATTRIBUTES: dict[bytes, frozenset[bytes]] = {
    name.encode(): frozenset(attributes.encode().split())
    for name, attributes in {
        "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
        "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src",
        "form": "action", "frame": "longdesc src", "head": "profile", "html": "manifest",
        "iframe": "longdesc src", "img": "longdesc src usemap", "input": "formaction src usemap", "ins": "cite",
        "link": "href", "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src",
        "video": "poster src",
    }.items()
}  # fmt: skip
_RAW = {name: re.compile(rb"</" + name + rb"[\s/>]", re.IGNORECASE) for name in (b"script", b"style", b"textarea",
                                                                                b"title")}  # fmt: skip
_LONGEST_END = len(b"</textarea>")
_NAME = re.compile(rb"<([A-Za-z][^\s/>]*)")
_TAG_END = re.compile(rb"""(?:[^"'>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|(?!["']))|["'])*+>""")
_ATTRIBUTE = re.compile(rb"""([^\s"'>/=]++)(?:(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s"'>]++))?+""")
"""Both never look at a byte twice, whatever the backend sends."""

Rewrite = Callable[[str], str]


class HtmlRewriter:
    """Feed it pieces of any size; what it gives, put together, does not depend on how they were cut."""

    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self._rest = b""
        self._raw: re.Pattern[bytes] | None = None
        """The end tag that is awaited, inside of what is not markup."""
        self._skips: bytes = b""
        """What ends the thing that is passing: a comment, a declaration, a tag that is too long."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now."""
        found: list[bytes] = []
        data = self._rest + data
        while data:
            used, piece = self._step(data)
            if not used:
                break
            found.append(piece)
            data = data[used:]
        self._rest = data
        return b"".join(found)

    def finish(self) -> bytes:
        """What was kept back."""
        rest, self._rest = self._rest, b""
        return rest

    def _step(self, data: bytes) -> tuple[int, bytes]:
        """How much of the data is done with, and what it becomes; 0: more is needed."""
        if self._skips:
            return self._pass_until(data)
        if self._raw is not None:
            return self._pass_raw(data, self._raw)
        at = data.find(b"<")
        if at:
            end = len(data) if at < 0 else at
            return end, data[:end]
        if data.startswith(b"<!--"):
            self._skips = b"-->"
            return 2, b"<!"  # the dashes may be those of the end: `<!-->`
        if data[1:2] in (b"!", b"?"):
            if b"<!--".startswith(data):
                return 0, b""
            self._skips = b">"
            return 2, data[:2]
        if len(data) == 1:
            return 0, b""
        return self._take_tag(data)

    def _pass_until(self, data: bytes) -> tuple[int, bytes]:
        at = data.find(self._skips)
        if at >= 0:
            end = at + len(self._skips)
            self._skips = b""
        else:
            end = max(0, len(data) - len(self._skips) + 1)
        return end, data[:end]

    def _pass_raw(self, data: bytes, ends: re.Pattern[bytes]) -> tuple[int, bytes]:
        found = ends.search(data)
        if found is not None:
            self._raw = None
            end = found.start()
            if not end:
                return self._take_tag(data)
        else:
            end = max(0, len(data) - _LONGEST_END)
        return end, data[:end]

    def _take_tag(self, data: bytes) -> tuple[int, bytes]:
        name = _NAME.match(data)
        if name is None and not data.startswith(b"</"):
            return 1, b"<"
        ends = _TAG_END.match(data, 1)
        if ends is None and len(data) <= MAX_TAG_BYTES:
            return 0, b""
        if ends is None or ends.end() > MAX_TAG_BYTES:
            self._skips = b">"
            return 1, b"<"
        end = ends.end()
        tag = data[:end]
        if name is None:
            return end, tag
        key = name[1].lower()
        self._raw = _RAW.get(key)
        wanted = _ATTRIBUTES.get(key)
        return end, self._rewrite_tag(tag, name.end(), wanted) if wanted else tag

    def _rewrite_tag(self, tag: bytes, start: int, wanted: frozenset[bytes]) -> bytes:
        def replace(found: re.Match[bytes]) -> bytes:
            name, equals, value = found.groups()
            if value is None or name.lower() not in wanted:
                return found[0]
            quote = value[:1] if value[:1] in (b'"', b"'") else b""
            inner = value[1:-1] if quote else value
            text = html.unescape(inner.decode("latin-1"))
            try:
                changed = self._rewrite(text)
            except ValueError:
                return found[0]
            if changed == text:
                return found[0]
            escaped = html.escape(changed, quote=True).encode("latin-1", "xmlcharrefreplace")
            return name + equals + (quote or b'"') + escaped + (quote or b'"')

        return tag[:start] + _ATTRIBUTE.sub(replace, tag[start:])
