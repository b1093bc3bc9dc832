"""Values as Go prints them with %v: some error texts quote patches this way. Rule: spec "api-machinery" §1.4, §5.3."""

from __future__ import annotations

from typing import Any


def render_go(value: Any) -> str:
    """`map[spec:map[foo:1]]`, `[a b]`, `<nil>`: keys sorted, strings bare."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{render_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(render_go(item) for item in value)}]"
    return str(value)
