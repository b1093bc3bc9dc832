"""URLs of a backend's answer, so that they lead back through the proxy.

Rule: spec "service-api" §8.3: only what is absolute on the same host is rewritten; the host is the backend's own or the
one that the client named.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

_INVALID = re.compile(r"[\x00-\x1f\x7f]|%(?![0-9A-Fa-f]{2}).{0,2}")


@dataclass(frozen=True, slots=True)
class Links:
    """What is needed to tell one's own URLs. prefix: the path of the proxy; hosts as they stand in URLs."""

    prefix: str
    backend_host: str
    request_host: str

    def rewrite(self, url: str) -> str:
        """The URL as the client must use it. Raises ValueError for what is no URL."""
        if (wrong := _INVALID.search(url)) is not None:
            raise ValueError(f"parse {url[:256]!a}: invalid {wrong[0]!a}")
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no number
        if not parts.path.startswith("/") or parts.netloc not in ("", self.backend_host, self.request_host):
            return url
        scheme, netloc, path = parts.scheme, parts.netloc, parts.path
        if not (netloc and netloc == self.request_host):
            scheme = netloc = ""
        if not path.startswith(self.prefix):
            path = posixpath.normpath(f"{self.prefix}/{path.lstrip('/')}")
            if parts.path.endswith("/"):
                path += "/"
        return urlunsplit((scheme, netloc, path, parts.query, parts.fragment))
