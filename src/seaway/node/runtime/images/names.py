"""Names of images in their one full form. Rule: spec "node" §6.5; the grammar is that of distribution's references."""

from __future__ import annotations

import re

MAX_NAME_CHARACTERS = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<host>(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9a-fA-F:]+\]|[A-Za-z0-9-]+(?=:\d))(?::\d+)?)/)?"
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


class ImageNameError(ValueError):
    """The text names no image."""


def normalize(text: str) -> str:
    """`HOST/PATH:TAG` or `HOST/PATH@DIGEST`: `busybox` is `docker.io/library/busybox:latest`. Raises ImageNameError."""
    found = _NAME.fullmatch(text)
    if found is None or len(found["path"]) > MAX_NAME_CHARACTERS:
        raise ImageNameError(f'couldn\'t parse image name "{text[:MAX_NAME_CHARACTERS]}": invalid reference format')
    host = found["host"] or "docker.io"
    path = found["path"]
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if found["digest"]:
        return f"{host}/{path}@{found['digest']}"
    return f"{host}/{path}:{found['tag'] or 'latest'}"
