"""What `/healthz`, `/livez` and `/readyz` of a piece answer. Rule: spec "api-machinery" §11 (form).

A check is None when all is well, else the reason, which only the log and nobody outside learns.
"""

from __future__ import annotations

from collections.abc import Mapping

ROOTS = ("/healthz", "/livez", "/readyz")
READINESS_ALONE = frozenset(("informer-sync",))
"""They say "not yet": no reason to start the piece anew."""


def answer_health(path: str, checks: Mapping[str, str | None], *, verbose: bool) -> tuple[int, str] | None:
    """The status code and the text; None for a path that is no health check. checks: by name, in the order shown."""
    root, _, single = path.strip("/").partition("/")
    if f"/{root}" not in ROOTS:
        return None
    shown = {name: why for name, why in checks.items() if root == "readyz" or name not in READINESS_ALONE}
    if single:
        if single not in shown:
            return None
        return (200, "ok") if shown[single] is None else (500, "internal server error: reason withheld\n")
    lines = [f"[+]{n} ok" if why is None else f"[-]{n} failed: reason withheld" for n, why in shown.items()]
    passed = all(why is None for why in shown.values())
    if passed and not verbose:
        return 200, "ok"
    return 200 if passed else 500, "\n".join([*lines, f"{root} check {'passed' if passed else 'failed'}"]) + "\n"
