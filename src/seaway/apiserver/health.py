"""What `/healthz`, `/livez` and `/readyz` answer. Rule: spec "api-machinery" §11."""

from __future__ import annotations

from collections.abc import Mapping

from seaway.api.machinery.http import Request, Response
from seaway.apiserver.routes import is_true

ROOTS = ("/healthz", "/livez", "/readyz")
TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))


def answer_health(request: Request, path: str, checks: Mapping[str, bool]) -> Response | None:
    """The answer of a health path, None for any other. checks: by name, in the order shown; liveness skips the
    checks that only say "not yet" or "no longer".
    """
    root, _, single = path.strip("/").partition("/")
    if f"/{root}" not in ROOTS:
        return None
    shown = checks if root == "readyz" else {name: ok for name, ok in checks.items() if name in ("ping", "log", "etcd")}
    if single:
        if single not in shown:
            return None
        shown = {single: shown[single]}
    excluded = {value for key, value in request.query if key == "exclude"}
    shown = {name: ok for name, ok in shown.items() if name not in excluded}
    passed = all(shown.values())
    if passed and not is_true(request.find_parameter("verbose")):
        return Response(200, TEXT, b"ok")
    lines = [f"[+]{name} ok" if ok else f"[-]{name} failed: reason withheld" for name, ok in shown.items()]
    lines.append(f"{root} check {'passed' if passed else 'failed'}")
    return Response(200 if passed else 500, TEXT, ("\n".join(lines) + "\n").encode())
