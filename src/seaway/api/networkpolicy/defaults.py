"""What a NetworkPolicy has when the client does not say. Rule: upstream's networking/v1 defaults."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json


def default_policy(obj: Json) -> Json:
    """It is about what comes in, and about what goes out if it says anything of that. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")
    return obj
