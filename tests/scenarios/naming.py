"""Names that the server made up, as they read in every run: the first `web-…` is `web-*1`."""

from __future__ import annotations

import re
from collections import Counter

_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


class Names:
    """In the order in which the objects came, by kind and beginning."""

    def __init__(self) -> None:
        self._plain: dict[str, str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def learn(self, kind: str, name: str, prefix: str) -> None:
        """An object of that kind has this name, made from that prefix."""
        if prefix and name not in self._plain:
            self._counts[kind, prefix] += 1
            self._plain[name] = f"{prefix}*{self._counts[kind, prefix]}"

    def resolve(self, text: str) -> str:
        """The real name of `web-*1`; any other text as it is."""
        return next((name for name, plain in self._plain.items() if plain == text), text)

    def tidy(self, text: str) -> str:
        """The text without what differs from run to run."""
        for name in sorted(self._plain, key=len, reverse=True):
            text = text.replace(name, self._plain[name])
        return _TIME.sub("TIME", _UUID.sub("UID", text))
