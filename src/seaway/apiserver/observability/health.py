"""What `/healthz`, `/livez` and `/readyz` answer. Rule: spec "api-machinery" §11.

A check is None when all is well, else the reason, which only the log and nobody outside learns.
"""

from __future__ import annotations

from collections.abc import Mapping

from seaway.api.machinery.http import Request, Response
from seaway.apiserver.routes import is_true

ROOTS = ("/healthz", "/livez", "/readyz")
TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
READINESS_ALONE = frozenset(("informer-sync", "shutdown"))
"""They say "not yet" and "no longer": no reason to restart the server."""
SHUTTING_DOWN = "process is shutting down"


def is_health_path(path: str) -> bool:
    """Whether a health check answers the path. These are answered whatever else goes on."""
    return path.startswith(ROOTS) and (path in ROOTS or path.startswith(tuple(f"{root}/" for root in ROOTS)))


def answer_health(request: Request, path: str, checks: Mapping[str, str | None]) -> Response | None:
    """The answer of a health path, None for one that does not exist. checks: by name, in the order shown."""
    root, _, single = path.strip("/").partition("/")
    if f"/{root}" not in ROOTS:
        return None
    shown = {name: why for name, why in checks.items() if root == "readyz" or name not in READINESS_ALONE}
    if single:
        return _answer_single(shown[single]) if single in shown else None
    excluded = dict.fromkeys(value for key, value in request.query if key == "exclude")
    lines = []
    passed = True
    for name, why in shown.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
        elif why is None:
            lines.append(f"[+]{name} ok")
        else:
            lines.append(f"[-]{name} failed: reason withheld")
            passed = False
    unknown = [name for name in excluded if name not in shown]
    if unknown:
        quoted = ", ".join(f'"{name}"' for name in unknown if name.isprintable())
        lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
    if passed and not is_true(request.find_parameter("verbose")):
        return Response(200, TEXT, b"ok")
    lines.append(f"{root} check {'passed' if passed else 'failed'}")
    return Response(200 if passed else 500, TEXT, ("\n".join(lines) + "\n").encode())


def find_failures(checks: Mapping[str, str | None]) -> str:
    """The failed checks with their reasons, for the log; empty when there are none."""
    return " ".join(f"{name}={why!r}" for name, why in checks.items() if why is not None)


def _answer_single(why: str | None) -> Response:
    if why is None:
        return Response(200, TEXT, b"ok")
    return Response(500, TEXT, b"internal server error: reason withheld\n")
