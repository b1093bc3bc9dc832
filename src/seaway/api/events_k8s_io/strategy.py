"""How the API server treats Events that come through events.k8s.io. Objects are in the stored form, that of core/v1.

Rule: spec "api-machinery" §6.2, §12.
"""

from __future__ import annotations

from dataclasses import replace

from seaway.api.event import strategy
from seaway.api.event.validation import validate_create_in_group, validate_update_in_group
from seaway.api.machinery.strategy import Json

_ABOUT = {f"regarding.{name}": f"involvedObject.{name}" for name in strategy.OBJECT_FIELDS}
FIELD_ALIASES = {**_ABOUT, "reportingController": "reportingComponent"}


def fields(obj: Json) -> dict[str, str]:
    """Under the names of core, but for `source`, which the group does not offer."""
    return {name: value for name, value in strategy.fields(obj).items() if name in ("reason", "type")}


STRATEGY = replace(
    strategy.STRATEGY,
    validate_create=validate_create_in_group,
    validate_update=validate_update_in_group,
    fields=fields,
    field_aliases=FIELD_ALIASES,
)
