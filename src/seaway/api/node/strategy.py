"""How the API server treats Nodes. Rule: spec "node" §1.2 (a new Node keeps its status), "api-machinery" §6.2."""

from __future__ import annotations

from seaway.api.machinery.strategy import Context, Json, Strategy
from seaway.api.node.defaults import default_node
from seaway.api.node.validation import validate_node, validate_node_status, validate_node_update


def prepare_update(obj: Json, old: Json, context: Context) -> Json:
    """The status changes only through `/status`. A Node that was made without one has none until then."""
    obj.pop("status", None)
    return {**obj, "status": old["status"]} if "status" in old else obj


def fields(obj: Json) -> dict[str, str]:
    return {"spec.unschedulable": "true" if (obj.get("spec") or {}).get("unschedulable") else "false"}


STRATEGY = Strategy(
    default=default_node,
    prepare_update=prepare_update,
    validate_create=validate_node,
    validate_update=validate_node_update,
    validate_status_update=validate_node_status,
    fields=fields,
)
