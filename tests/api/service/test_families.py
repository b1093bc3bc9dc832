"""Families, policies and cluster IPs, on a cluster of one stack and on one of two.

Rule: spec "service-api" §2.3 (the whole table), §4.6 (the whole table), texts of §3.3.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.service.families import choose_families

Json = dict[str, Any]
SINGLE, DUAL = ("IPv4",), ("IPv4", "IPv6")
V4, V6 = "10.96.0.9", "fd10::9"
MULTIPLE = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
TWO_FAMILIES = f'spec.ipFamilyPolicy: Invalid value: "SingleStack": {MULTIPLE} IP families are specified'
TWO_ADDRESSES = f'spec.ipFamilyPolicy: Invalid value: "SingleStack": {MULTIPLE} cluster IPs are specified'
NOT_DUAL = (
    'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'
)
Result = list[str] | tuple[str, list[str]]
"""Errors; or policy and families."""


def no_range(index: int) -> str:
    return f'spec.ipFamilies[{index}]: Invalid value: "IPv6": not configured on this cluster'


def no_range_of(index: int, *addresses: str) -> str:
    listed = ",".join(f'"{address}"' for address in addresses)
    return f"spec.clusterIPs[{index}]: Invalid value: [{listed}]: IPv6 is not configured on this cluster"


def make(policy: str | None, families: list[str], addresses: list[str], selector: bool = True) -> Json:
    spec: Json = {"type": "ClusterIP", "ipFamilies": families, "clusterIPs": addresses}
    if policy:
        spec["ipFamilyPolicy"] = policy
    if addresses:
        spec["clusterIP"] = addresses[0]
    if selector:
        spec["selector"] = {"app": "web"}
    return spec


def choose(spec: Json, configured: tuple[str, ...], old: Json | None = None) -> Result:
    kept = copy.deepcopy(old)
    errors = choose_families(spec, old, configured=configured)
    assert old == kept
    return [str(error) for error in errors] or (spec["ipFamilyPolicy"], spec["ipFamilies"])


S, P, R = "SingleStack", "PreferDualStack", "RequireDualStack"
CREATE: list[tuple[str, Json, Result, Result]] = [
    # what is asked for, spec, on IPv4 alone, on IPv4 and IPv6
    ("nothing", make(None, [], []), (S, ["IPv4"]), (S, ["IPv4"])),
    ("the second family", make(None, ["IPv6"], []), [no_range(0)], (S, ["IPv6"])),
    ("both families without a policy", make(None, ["IPv4", "IPv6"], []), [TWO_FAMILIES], [TWO_FAMILIES]),
    ("an address of the second family", make(None, [], [V6]), [no_range_of(0, V6)], (S, ["IPv6"])),
    ("both addresses without a policy", make(None, [], [V4, V6]),
     [TWO_ADDRESSES, no_range_of(1, V4, V6)], [TWO_ADDRESSES]),
    ("one stack, the second family", make(S, ["IPv6"], []), [no_range(0)], (S, ["IPv6"])),
    ("one stack, two families and two addresses", make(S, ["IPv4", "IPv6"], [V4, V6]),
     [TWO_ADDRESSES, TWO_FAMILIES], [TWO_ADDRESSES, TWO_FAMILIES]),
    ("two preferred", make(P, [], []), (P, ["IPv4"]), (P, ["IPv4", "IPv6"])),
    ("two preferred, the second first", make(P, ["IPv6"], []), [no_range(0)], (P, ["IPv6", "IPv4"])),
    ("two preferred, both named", make(P, ["IPv4", "IPv6"], []), [no_range(1)], (P, ["IPv4", "IPv6"])),
    ("two required", make(R, [], []), [NOT_DUAL], (R, ["IPv4", "IPv6"])),
    ("two required, one named", make(R, ["IPv4"], []), [NOT_DUAL], (R, ["IPv4", "IPv6"])),
    ("two required, the second named", make(R, ["IPv6"], []), [NOT_DUAL, no_range(0)], (R, ["IPv6", "IPv4"])),
    ("two required, both named", make(R, ["IPv4", "IPv6"], []), [NOT_DUAL, no_range(1)], (R, ["IPv4", "IPv6"])),
    ("two preferred, an address of the second", make(P, [], [V6]), [no_range_of(0, V6)], (P, ["IPv6", "IPv4"])),
    ("two required, an address of the second", make(R, [], [V6]), [no_range_of(0, V6)], (R, ["IPv6", "IPv4"])),
    ("headless", make(None, [], ["None"]), (S, ["IPv4"]), (S, ["IPv4"])),
    ("headless, two preferred", make(P, [], ["None"]), (P, ["IPv4"]), (P, ["IPv4", "IPv6"])),
    ("headless, two required", make(R, [], ["None"]), [NOT_DUAL], (R, ["IPv4", "IPv6"])),
    ("headless without selector", make(None, [], ["None"], False), (R, ["IPv4", "IPv6"]), (R, ["IPv4", "IPv6"])),
    ("headless without selector, the second family", make(None, ["IPv6"], ["None"], False),
     (R, ["IPv6", "IPv4"]), (R, ["IPv6", "IPv4"])),
    ("headless without selector, one stack, the second", make(S, ["IPv6"], ["None"], False),
     (S, ["IPv6"]), (S, ["IPv6"])),
    ("headless without selector, two preferred", make(P, [], ["None"], False),
     (P, ["IPv4", "IPv6"]), (P, ["IPv4", "IPv6"])),
    ("headless without selector, both families without a policy", make(None, ["IPv4", "IPv6"], ["None"], False),
     (R, ["IPv4", "IPv6"]), (R, ["IPv4", "IPv6"])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "configured", "expected"),
    [
        pytest.param(spec, configured, expected, id=f"{what}, on {' and '.join(configured)}")
        for what, spec, *results in CREATE
        for configured, expected in zip((SINGLE, DUAL), results, strict=True)
    ],
)
def test_create(spec: Json, configured: tuple[str, ...], expected: Result) -> None:
    assert choose(copy.deepcopy(spec), configured) == expected


def test_external_name_has_no_families() -> None:
    spec: Json = {"type": "ExternalName", "externalName": "a.b"}
    assert choose_families(spec, None, configured=DUAL) == []
    assert spec == {"type": "ExternalName", "externalName": "a.b"}


def test_the_primary_family_is_the_first_range() -> None:
    assert choose(make(None, [], []), ("IPv6", "IPv4")) == (S, ["IPv6"])
    assert choose(make(P, [], []), ("IPv6", "IPv4")) == (P, ["IPv6", "IPv4"])


ONE = make(S, ["IPv4"], [V4])
TWO = make(R, ["IPv4", "IPv6"], [V4, V6])
PREFERS = make(P, ["IPv4"], [V4])
ONLY_SINGLE = "must be 'SingleStack' to release the secondary"


def expected_family(index: int, family: str, address: str) -> str:
    text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
    return f'spec.clusterIPs[{index}]: Invalid value: "{address}": {text}'


UPDATE: list[tuple[str, Json, Json, tuple[str, ...], Result, list[str]]] = [
    # what, stored, sent, cluster, result, clusterIPs that stay
    ("one stack to two preferred", ONE, {"ipFamilyPolicy": P}, DUAL, (P, ["IPv4", "IPv6"]), [V4]),
    ("one stack to two preferred, where there is one", ONE, {"ipFamilyPolicy": P}, SINGLE, (P, ["IPv4"]), [V4]),
    ("one stack to two required", ONE, {"ipFamilyPolicy": R}, DUAL, (R, ["IPv4", "IPv6"]), [V4]),
    ("one stack to two required, where there is one", ONE, {"ipFamilyPolicy": R}, SINGLE, [NOT_DUAL], [V4]),
    ("a second family without a policy: the old one holds", ONE, {"ipFamilyPolicy": None,
     "ipFamilies": ["IPv4", "IPv6"]}, DUAL, [TWO_FAMILIES], [V4]),
    ("two stacks to one", TWO, {"ipFamilyPolicy": S}, DUAL, (S, ["IPv4"]), [V4]),
    ("two stacks to one, families left out", TWO, {"ipFamilyPolicy": S, "ipFamilies": []}, DUAL,
     (S, ["IPv4"]), [V4]),
    ("an address less, the same policy", TWO, {"clusterIPs": [V4]}, DUAL,
     [f'spec.ipFamilyPolicy: Invalid value: "{R}": {ONLY_SINGLE} cluster IP'], [V4]),
    ("a family less, the same policy", TWO, {"ipFamilies": ["IPv4"]}, DUAL,
     [f'spec.ipFamilyPolicy: Invalid value: "{R}": {ONLY_SINGLE} IP family'], [V4, V6]),
    ("a manifest without families or policy", TWO, {"ipFamilyPolicy": None, "ipFamilies": []}, DUAL,
     (R, ["IPv4", "IPv6"]), [V4, V6]),
    ("families swapped", TWO, {"ipFamilies": ["IPv6", "IPv4"]}, DUAL,
     [expected_family(0, "IPv6", V4), expected_family(1, "IPv4", V6)], [V4, V6]),
    ("another family", ONE, {"ipFamilies": ["IPv6"]}, DUAL, [expected_family(0, "IPv6", V4)], [V4]),
    ("two preferred of one stack, touched elsewhere", PREFERS, {"sessionAffinity": "ClientIP"}, DUAL,
     (P, ["IPv4"]), [V4]),
    ("two preferred of one stack, a manifest without families", PREFERS, {"ipFamilyPolicy": None, "ipFamilies": []},
     DUAL, (P, ["IPv4", "IPv6"]), [V4]),
    ("headless: another family", make(S, ["IPv4"], ["None"]), {"ipFamilies": ["IPv6"]}, DUAL, (S, ["IPv6"]), ["None"]),
    ("headless: a family less needs the policy", make(R, ["IPv4", "IPv6"], ["None"]), {"ipFamilies": ["IPv4"]}, DUAL,
     [f'spec.ipFamilyPolicy: Invalid value: "{R}": {ONLY_SINGLE} IP family'], ["None"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "changes", "configured", "expected", "addresses"), [pytest.param(*case[1:], id=case[0]) for case in UPDATE]
)
def test_update(old: Json, changes: Json, configured: tuple[str, ...], expected: Result, addresses: list[str]) -> None:
    spec = {key: value for key, value in {**copy.deepcopy(old), **changes}.items() if value is not None}
    assert choose(spec, configured, old) == expected
    assert spec["clusterIPs"] == addresses
