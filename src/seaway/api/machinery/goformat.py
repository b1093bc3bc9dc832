"""Values as Go prints them: some error texts quote patches this way. Rule: spec "api-machinery" §1.4, §5.3, §5.5."""

from __future__ import annotations

import json
from typing import Any


def render_go(value: Any) -> str:
    """With %v: `map[spec:map[foo:1]]`, `[a b]`, `<nil>`: keys sorted, strings bare."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{render_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(render_go(item) for item in value)}]"
    return str(value)


def render_go_syntax(value: Any) -> str:
    """With %#v: `map[string]interface {}{"a":1}`, `[]interface {}{1, 2}`, texts quoted."""
    if isinstance(value, dict):
        members = ", ".join(f"{json.dumps(key)}:{render_go_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{members}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(render_go_syntax, value))}}}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else render_go(value)


def name_go_type(value: Any) -> str:
    """With %T: the type that Go's decoder chooses for a JSON value."""
    if isinstance(value, bool):
        return "bool"
    for kind, name in _GO_TYPES:
        if isinstance(value, kind):
            return name
    return "<nil>"


_GO_TYPES: tuple[tuple[type, str], ...] = (
    (int, "int64"),
    (float, "float64"),
    (str, "string"),
    (list, "[]interface {}"),
    (dict, "map[string]interface {}"),
)
