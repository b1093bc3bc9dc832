"""What a Node has when the client does not say. Rule: spec "node" §1.11."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json


def default_node(obj: Json) -> Json:
    """podCIDR is the first of podCIDRs, whichever of the two was sent. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    return obj
