"""The text of one HTTP/1.1 exchange that asks for a page and hangs up. Rule: RFC 9112."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class HTTPTarget:
    """Where a request goes. `headers` as given by the user, in order; a later one of a name replaces nothing."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The whole of it, as messages show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = self.path if self.path.startswith("/") else "/" + self.path
        return f"{self.scheme}://{host}:{self.port}{path}"


def render_request(target: HTTPTarget, agent: str) -> bytes:
    """The request. Raises ValueError for a header that holds a line break."""
    split = urlsplit(target.url)
    path = split.path + (f"?{split.query}" if split.query else "")
    given = {name.lower() for name, _ in target.headers}
    lines = [f"GET {path} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {split.netloc}")
    if "user-agent" not in given:
        lines.append(f"User-Agent: {agent}")
    if "accept" not in given:
        lines.append("Accept: */*")
    lines += [f"{name}: {value}" for name, value in target.headers if value or name.lower() != "accept"]
    lines += ["Connection: close", "", ""]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return "\r\n".join(lines).encode()


def parse_head(head: bytes) -> tuple[int, str, int | None]:
    """Status, location and body length (None: until the end). Raises ValueError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise ValueError(f"malformed HTTP response {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "")
    return int(words[1]), headers.get("location", ""), int(length) if length.isdecimal() else None
