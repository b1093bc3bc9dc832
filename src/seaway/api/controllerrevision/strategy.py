"""How the API server treats ControllerRevisions: a snapshot that is never changed, only renumbered.

Rule: upstream's ControllerRevision validation.
"""

from __future__ import annotations

from seaway.api.machinery.counts import NOT_NEGATIVE_TEXT
from seaway.api.machinery.field import FieldError, invalid, required
from seaway.api.machinery.strategy import Json, Strategy


def validate_controller_revision(obj: Json) -> list[FieldError]:
    """It holds something and has a number."""
    errors: list[FieldError] = []
    if obj.get("data") is None:
        errors.append(required("data", "data is mandatory"))
    if (obj.get("revision") or 0) < 0:
        errors.append(invalid("revision", obj["revision"], NOT_NEGATIVE_TEXT))
    return errors


def validate_controller_revision_update(obj: Json, old: Json) -> list[FieldError]:
    """The data stay."""
    errors = validate_controller_revision(obj)
    if obj.get("data") != old.get("data"):
        errors.append(invalid("data", obj.get("data"), "field is immutable"))
    return errors


STRATEGY = Strategy(
    validate_create=validate_controller_revision,
    validate_update=validate_controller_revision_update,
)
