"""What a Secret has when the client does not say. Rule: spec "api-machinery" §12."""

from __future__ import annotations

import base64

from seaway.api.machinery.strategy import Json

OPAQUE = "Opaque"


def default_secret(obj: Json) -> Json:
    """Opaque by default; `stringData` is only a way to write, and wins over `data`. Changes `obj`."""
    obj["type"] = obj.get("type") or OPAQUE
    text = obj.pop("stringData", None)
    if text:
        folded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        obj["data"] = {**(obj.get("data") or {}), **folded}
    return obj
