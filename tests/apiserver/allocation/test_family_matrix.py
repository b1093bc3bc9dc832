"""Every policy, every list of families and every list of addresses, in the four shapes that a cluster can have.

The oracle does not work the outcome out: it tries every outcome there could be and keeps those that no rule speaks
against. One left is what the server must do; none left is what it must refuse, in the words of the tables below.
Rule: spec "service-api" §2.3, §3.3, §3.4, §4.1, §4.6.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from seaway.api.registry import IP_ADDRESSES
from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
Names = tuple[str, ...]
WEB = f"{SERVICES}/web"
RANGES = {"IPv4": "10.96.0.0/24", "IPv6": "fd10::/120"}
CLUSTERS: tuple[Names, ...] = (("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4"))
FAMILIES: tuple[Names, ...] = ((), ("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4"))
POLICIES = ("", "SingleStack", "PreferDualStack", "RequireDualStack")
SINGLE = "SingleStack"
OURS = {"IPv4": "10.96.0.9", "IPv6": "fd10::9"}
"""The address of each family that a client names."""
NONE: Names = ("None",)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client says of addresses; empty: it says nothing."""

    policy: str
    families: Names
    addresses: Names
    has_selector: bool = True

    @property
    def is_headless(self) -> bool:
        return self.addresses == NONE

    def manifest(self) -> Json:
        said: Json = {
            "ipFamilyPolicy": self.policy,
            "ipFamilies": list(self.families),
            "clusterIPs": list(self.addresses),
            "clusterIP": "".join(self.addresses[:1]),
        }
        selector = {"app": "web"} if self.has_selector else {}
        return make_service("web", selector=selector, **{field: value for field, value in said.items() if value})


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def is_allowed(outcome: Names, ask: Ask, policy: str, cluster: Names) -> bool:
    """Whether no rule speaks against a Service with these families."""
    loose = ask.is_headless and not ask.has_selector
    can_be_two = loose or len(cluster) == 2
    is_two = {SINGLE: False, "RequireDualStack": True}.get(policy, can_be_two)
    named = () if ask.is_headless else tuple(family_of(address) for address in ask.addresses)
    return all((
        outcome[: len(ask.families)] == ask.families,
        outcome[: len(named)] == named,
        bool(ask.families or named) or outcome[0] == cluster[0],
        loose or set(outcome) <= set(cluster),
        (len(outcome) == 2) == is_two,
    ))  # fmt: skip


def outcomes(ask: Ask, policy: str, cluster: Names) -> list[Names]:
    return [outcome for outcome in FAMILIES if outcome and is_allowed(outcome, ask, policy, cluster)]


# Which words say that nothing is left. A later table is read when the ones before it have nothing to say.


def expected_family(index: int, ask: Ask) -> str:
    family, address = ask.families[index], ask.addresses[index]
    text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
    return f'spec.clusterIPs[{index}]: Invalid value: "{address}": {text}'


def mismatches(ask: Ask) -> list[str]:
    """R29, R30."""
    pairs = enumerate(zip(ask.families, ask.addresses, strict=False))
    return [
        expected_family(index, ask)
        for index, (family, address) in pairs
        if not ask.is_headless and family_of(address) != family
    ]


def too_many(ask: Ask, policy: str) -> list[str]:
    said = (("cluster IPs", ask.addresses), ("IP families", ask.families))
    return [
        f'spec.ipFamilyPolicy: Invalid value: "{SINGLE}": '
        f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {nouns} are specified"
        for nouns, values in said
        if policy == SINGLE and len(values) == 2
    ]


def addresses_without_range(ask: Ask, cluster: Names) -> list[str]:
    listed = ",".join(f'"{address}"' for address in ask.addresses)
    return [
        f"spec.clusterIPs[{index}]: Invalid value: [{listed}]: {family_of(address)} is not configured on this cluster"
        for index, address in enumerate(ask.addresses)
        if not ask.is_headless and index >= len(ask.families) and family_of(address) not in cluster
    ]


def families_without_range(ask: Ask, policy: str, cluster: Names) -> list[str]:
    if ask.is_headless and not ask.has_selector:
        return []
    is_short = policy == "RequireDualStack" and len(cluster) == 1
    text = "this cluster is not configured for dual-stack services"
    return [f'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": {text}'] * is_short + [
        f'spec.ipFamilies[{index}]: Invalid value: "{family}": not configured on this cluster'
        for index, family in enumerate(ask.families)
        if family not in cluster
    ]


def refusal(ask: Ask, policy: str, cluster: Names) -> list[str]:
    return (
        mismatches(ask)
        or [*too_many(ask, policy), *addresses_without_range(ask, cluster)]
        or families_without_range(ask, policy, cluster)
    )


def causes(reply: Reply) -> list[str]:
    return [f"{cause['field']}: {cause['message']}" for cause in reply.body["details"]["causes"]]


def picture(reply: Reply) -> tuple[str, Names, Names]:
    """Policy, families, and the families of the addresses."""
    spec = reply.body["spec"]
    addresses = tuple(spec["clusterIPs"])
    assert spec["clusterIP"] == addresses[0]
    families = NONE if addresses == NONE else tuple(map(family_of, addresses))
    return spec["ipFamilyPolicy"], tuple(spec["ipFamilies"]), families


async def held(ask: Conversation) -> set[str]:
    return {item["metadata"]["name"] for item in (await ask("GET", IP_ADDRESSES.path(""))).body["items"]}


def is_held(reply: Reply) -> set[str]:
    return set(reply.body["spec"]["clusterIPs"]) - {"None"}


# Creation.


def creations() -> Iterator[Ask]:
    named = [tuple(OURS[family] for family in families) for families in FAMILIES]
    for policy, families in itertools.product(POLICIES, FAMILIES):
        for addresses in named:
            yield Ask(policy, families, addresses)
            yield Ask(policy, families, addresses, has_selector=False)
        yield Ask(policy, families, NONE)
        yield Ask(policy, families, NONE, has_selector=False)


def default_policy(ask: Ask) -> str:
    return ask.policy or ("RequireDualStack" if ask.is_headless and not ask.has_selector else SINGLE)


async def check_creation(ask: Conversation, wanted: Ask, cluster: Names) -> bool:
    """Whether it is taken."""
    policy = default_policy(wanted)
    allowed = outcomes(wanted, policy, cluster)
    reply = await ask("POST", SERVICES, wanted.manifest())
    if not allowed:
        assert (reply.status, causes(reply)) == (422, refusal(wanted, policy, cluster)), wanted
        assert await held(ask) == set(), wanted
        return False
    (families,) = allowed
    assert reply.status == 201, (wanted, reply.body)
    assert picture(reply) == (policy, families, NONE if wanted.is_headless else families), wanted
    assert set(wanted.addresses) <= set(reply.body["spec"]["clusterIPs"]), wanted
    assert await held(ask) == is_held(reply), wanted
    assert (await ask("DELETE", WEB)).status == 200
    assert await held(ask) == set(), wanted
    return True


def config_of(cluster: Names) -> ServerConfig:
    return ServerConfig(service_cidrs=tuple(RANGES[family] for family in cluster))


IN_EACH_CLUSTER = pytest.mark.parametrize("cluster", [pytest.param(c, id=f"of {' and '.join(c)}") for c in CLUSTERS])


@IN_EACH_CLUSTER
def test_creation_in_a_cluster(cluster: Names) -> None:
    async def conversation(ask: Conversation) -> None:
        verdicts = [await check_creation(ask, wanted, cluster) for wanted in creations()]
        assert {True, False} == set(verdicts)

    talk(conversation, config=config_of(cluster))


# Updates.


def stored_services(cluster: Names) -> Iterator[Ask]:
    """One creation for every policy and list of families that a Service of the cluster can have."""
    for addresses, has_selector in (((), True), (NONE, True), (NONE, False)):
        for policy, families in itertools.product(POLICIES[1:], FAMILIES[1:]):
            wanted = Ask(policy, families, addresses, has_selector)
            if families in outcomes(wanted, policy, cluster):
                yield wanted


def changes(has: Names) -> Iterator[Ask]:
    """PUTs to a Service with these addresses. Empty: the field is left out."""
    lists: list[Names] = [(), has, has[:1]]
    if has != NONE and len(has) == 1:
        lists.append((*has, OURS["IPv4" if ":" in has[0] else "IPv6"]))
    for policy, families, addresses in itertools.product(POLICIES, FAMILIES, dict.fromkeys(lists)):
        yield Ask(policy, families, addresses)


@dataclass(frozen=True, slots=True)
class Stored:
    policy: str
    families: Names
    addresses: Names

    @staticmethod
    def of(reply: Reply) -> Stored:
        spec = reply.body["spec"]
        return Stored(spec["ipFamilyPolicy"], tuple(spec["ipFamilies"]), tuple(spec["clusterIPs"]))


def shortened(sent: Ask, was: Stored, policy: str) -> list[str]:
    """A family goes only with the policy, not by leaving it out of a list."""
    lists = (("cluster IP", sent.addresses, was.addresses), ("IP family", sent.families, was.families))
    return [
        f"spec.ipFamilyPolicy: Invalid value: \"{policy}\": must be 'SingleStack' to release the secondary {noun}"
        for noun, new, old in lists
        if policy != SINGLE and 0 < len(new) < len(old)
    ]


def foretell(sent: Ask, was: Stored, has_selector: bool, cluster: Names) -> list[str] | tuple[str, Names]:
    """The refusal; or policy and families."""
    policy = sent.policy or was.policy
    addresses = sent.addresses or was.addresses
    if sent.policy == was.policy == "PreferDualStack" and (addresses, sent.families) == (was.addresses, was.families):
        return policy, was.families
    full = Ask(policy, sent.families, addresses, has_selector)
    if errors := mismatches(full):
        return errors
    released = shortened(full, was, policy)
    if policy == SINGLE:  # what is sent as it is stored is not insisted on
        families = full.families[:1] if full.families == was.families else full.families
        kept = addresses[:1] if addresses == was.addresses else addresses
        full = Ask(policy, families, kept, has_selector)
    allowed = [] if released else outcomes(full, policy, cluster)
    if not allowed:
        errors = [*released, *too_many(full, policy), *addresses_without_range(full, cluster)]
        return errors or families_without_range(full, policy, cluster)
    (families,) = allowed
    return policy, families


async def check_update(ask: Conversation, stored: Ask, sent: Ask, cluster: Names) -> str:
    made = await ask("POST", SERVICES, stored.manifest())
    assert made.status == 201, made.body
    was = Stored.of(made)
    manifest = Ask(sent.policy, sent.families, sent.addresses, stored.has_selector).manifest()
    reply = await ask("PUT", WEB, manifest)
    expected = foretell(sent, was, stored.has_selector, cluster)
    where = (stored, sent, reply.body)
    if isinstance(expected, list):
        assert (reply.status, causes(reply)) == (422, expected), where
        reply = await ask("GET", WEB)
        assert reply.body == made.body
        verdict = "refused"
    else:
        policy, families = expected
        assert reply.status == 200, where
        kind = NONE if was.addresses == NONE else families
        assert picture(reply) == (policy, families, kind), where
        addresses = tuple(reply.body["spec"]["clusterIPs"])
        common = min(len(addresses), len(was.addresses))
        assert addresses[:common] == was.addresses[:common], "what stays is not exchanged"
        assert set(sent.addresses[: len(addresses)]) <= set(addresses), where
        verdict = {-1: "fewer", 0: "as many", 1: "more"}[len(addresses) - len(was.addresses)]
    assert await held(ask) == is_held(reply), where
    await ask("DELETE", WEB)
    assert await held(ask) == set()
    return verdict


@IN_EACH_CLUSTER
def test_updates_in_a_cluster(cluster: Names) -> None:
    async def conversation(ask: Conversation) -> None:
        verdicts = set()
        for stored in stored_services(cluster):
            has = Stored.of(await ask("POST", SERVICES, stored.manifest()))
            await ask("DELETE", WEB)
            pinned = Ask(stored.policy, stored.families, has.addresses, stored.has_selector)
            for sent in changes(has.addresses):
                verdicts.add(await check_update(ask, pinned, sent, cluster))
        assert verdicts == {"refused", "as many", *(("fewer", "more") if len(cluster) == 2 else ())}

    talk(conversation, config=config_of(cluster))
