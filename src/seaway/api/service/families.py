"""Which IP families a Service has, and which of its cluster IPs stay.

Runs before allocation, on create and on update. `configured` are the families that the cluster has a range for, the
primary first. Rule: spec "service-api" §2.3, §4.6; texts of §3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from seaway.api.machinery.addresses import find_family
from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.strategy import Json
from seaway.api.service.defaults import is_headless
from seaway.api.service.validation import validate_cluster_ips

_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_POLICY = "spec.ipFamilyPolicy"


def choose_families(spec: Json, old: Json | None, *, configured: Sequence[str]) -> list[FieldError]:
    """Fill in ipFamilyPolicy and ipFamilies and cut what a downgrade gives up. Changes `spec`, not `old`.

    Returns what forbids it; then `spec` is of no use.
    """
    if spec.get("type") == "ExternalName" or _is_undisturbed(spec, old):
        return []
    if spec.get("ipFamilyPolicy") is None:
        spec["ipFamilyPolicy"] = _default_policy(spec, old)
    errors = validate_cluster_ips(spec, old)
    if errors:
        return errors
    if old is not None:
        errors += _downgrade(spec, old)
    errors += _refuse_two_of_single(spec)
    errors += _infer_families(spec, configured)
    return errors or _complete_families(spec, configured)


def _is_undisturbed(spec: Json, old: Json | None) -> bool:
    """PreferDualStack does not follow the cluster: nothing is gained or lost while nobody touches it."""
    if old is None or spec.get("type") != old.get("type"):
        return False
    prefer = spec.get("ipFamilyPolicy") == old.get("ipFamilyPolicy") == "PreferDualStack"
    return prefer and _same(spec, old, "clusterIPs") and _same(spec, old, "ipFamilies")


def _same(spec: Json, old: Json, field: str) -> bool:
    return (spec.get(field) or []) == (old.get(field) or [])


def _default_policy(spec: Json, old: Json | None) -> str:
    if old and old.get("ipFamilyPolicy"):
        return str(old["ipFamilyPolicy"])
    return "RequireDualStack" if is_headless(spec) and not spec.get("selector") else "SingleStack"


def _downgrade(spec: Json, old: Json) -> list[FieldError]:
    policy = spec["ipFamilyPolicy"]
    if policy == "SingleStack":
        for field in ("clusterIPs", "ipFamilies"):
            if _same(spec, old, field) and len(spec.get(field) or ()) > 1:
                spec[field] = spec[field][:1]
        return []
    errors = []
    for field, noun in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        if 0 < len(spec.get(field) or ()) < len(old.get(field) or ()):
            errors.append(invalid(_POLICY, policy, f"must be 'SingleStack' to release the secondary {noun}"))
    return errors


def _refuse_two_of_single(spec: Json) -> list[FieldError]:
    if spec["ipFamilyPolicy"] != "SingleStack":
        return []
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
    return [
        invalid(_POLICY, "SingleStack", f"{text} {nouns} are specified")
        for field, nouns in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(field) or ()) == 2
    ]


def _infer_families(spec: Json, configured: Sequence[str]) -> list[FieldError]:
    """Addresses beyond the given families bring their own."""
    errors = []
    families = list(spec.get("ipFamilies") or ())
    addresses = spec.get("clusterIPs") or ()
    for index in range(len(families), len(addresses)):
        if addresses[index] == "None":
            break
        family = find_family(addresses[index])
        assert family is not None, "validate_cluster_ips ran before"
        if family.value not in configured:
            text = f"{family.value} is not configured on this cluster"
            errors.append(invalid(f"spec.clusterIPs[{index}]", list(addresses), text))
        else:
            families.append(family.value)
    if families:
        spec["ipFamilies"] = families
    return errors


def _complete_families(spec: Json, configured: Sequence[str]) -> list[FieldError]:
    policy = spec["ipFamilyPolicy"]
    families = list(spec.get("ipFamilies") or ())
    anything_goes = is_headless(spec) and not spec.get("selector")
    errors = []
    if not anything_goes:
        if policy == "RequireDualStack" and len(configured) < 2:
            errors.append(invalid(_POLICY, policy, "this cluster is not configured for dual-stack services"))
        errors += [
            invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(families)
            if family not in configured
        ]
    if errors:
        return errors
    families = families or [configured[0]]
    if policy != "SingleStack" and len(families) == 1 and (anything_goes or len(configured) == 2):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families
    return []
