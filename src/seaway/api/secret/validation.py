"""What is wrong with a Secret. Values never appear in an error. Rule: spec "api-machinery" §12."""

from __future__ import annotations

import base64
import json

from seaway.api.configmap.validation import MAX_BYTES, decoded_length, validate_immutable
from seaway.api.machinery.field import FieldError, invalid, required, too_long
from seaway.api.machinery.names import invalid_by, validate_config_key
from seaway.api.machinery.strategy import Json

ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
_BASIC_AUTH = "kubernetes.io/basic-auth"
_NEEDED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_KEYS = frozenset((".dockercfg", ".dockerconfigjson"))


def validate_secret(obj: Json) -> list[FieldError]:
    """The create rules."""
    values, kind = obj.get("data") or {}, obj.get("type") or ""
    errors: list[FieldError] = []
    for key in sorted(values):
        errors += invalid_by(validate_config_key, f"data[{key}]", key)
    if sum(map(decoded_length, values.values())) > MAX_BYTES:
        errors.append(too_long("data", MAX_BYTES))
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if kind == _ACCOUNT_TOKEN and not annotations.get(ACCOUNT_ANNOTATION):
        errors.append(required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]"))
    if kind == _BASIC_AUTH and "username" not in values and "password" not in values:
        errors += [required("data[username]"), required("data[password]")]
    for key in _NEEDED_KEYS.get(kind, ()):
        if key not in values:
            errors.append(required(f"data[{key}]"))
        elif key in _JSON_KEYS and not _is_json(values[key]):
            errors.append(invalid(f"data[{key}]", "<secret contents redacted>", "must be valid JSON"))
    return errors


def validate_secret_update(obj: Json, old: Json) -> list[FieldError]:
    """The type stays; what is immutable stays so."""
    errors: list[FieldError] = []
    if obj.get("type") != old.get("type"):
        errors.append(invalid("type", obj.get("type") or "", "field is immutable"))
    return [*errors, *validate_immutable(obj, old, ("data",)), *validate_secret(obj)]


def _is_json(text: str) -> bool:
    try:
        json.loads(base64.b64decode(text))
    except (ValueError, RecursionError):
        return False
    return True
