"""How the API server treats Secrets. Rule: spec "api-machinery" §6.2, §12."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json, Strategy
from seaway.api.secret.defaults import default_secret
from seaway.api.secret.validation import validate_secret, validate_secret_update


def fields(obj: Json) -> dict[str, str]:
    return {"type": obj.get("type") or ""}


STRATEGY = Strategy(
    default=default_secret,
    validate_create=validate_secret,
    validate_update=validate_secret_update,
    fields=fields,
)
