"""Laws of the data plane, on random Services: incremental equals full, and the kernel never sees a loose end."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.net.family import Family
from seaway.net.netlink.kernel import SEND_BUFFER_BYTES
from seaway.proxy.balance import MAX_TURNS, Balance
from seaway.proxy.config import NodePortAddresses, PodLinks
from seaway.proxy.forwarding import (
    MAX_ENDPOINTS,
    MAX_STICKY_ENDPOINTS,
    Forwarding,
    Frontend,
    Masquerade,
    Refusal,
    ServiceForwarding,
    Target,
    TrafficClass,
)
from seaway.proxy.nftables.diff import (
    AddElements,
    DeleteElements,
    DeleteTable,
    ReplaceElements,
    SetRules,
    Transaction,
    diff,
)
from seaway.proxy.nftables.fake import FakeKernel
from seaway.proxy.nftables.netlink import encode_transaction
from seaway.proxy.nftables.objects import Chain, Drop, Ruleset
from seaway.proxy.nftables.plane import NftablesTable, NftError
from seaway.proxy.nftables.render import order_slots, render
from seaway.proxy.nftables.structure import RenderConfig
from seaway.proxy.nftables.text import render_text, render_transaction

FAMILY, TABLE = Family.IPV4, "seaway"
PLAIN = RenderConfig(FAMILY)
CONFIGS = (
    PLAIN,
    RenderConfig(FAMILY, cluster_cidrs=("10.0.0.0/8",), node_ports=NodePortAddresses(addresses=("192.0.2.1",))),
    RenderConfig(FAMILY, masquerade_all=True, node_ports=NodePortAddresses(is_all=True)),
    RenderConfig(FAMILY, cluster_cidrs=("10.0.0.0/8",), masquerade_outgoing=True, guarded_links=("eth0", "eth1")),
    RenderConfig(FAMILY, pod_links=PodLinks("veth", is_prefix=True), mark=1 << 3),
)

targets = st.lists(
    st.builds(Target, st.integers(1, 9).map("10.0.0.{}".format), st.sampled_from((80, 8080))), unique=True, max_size=5
).map(tuple)


@st.composite
def services(draw: st.DrawFn, number: int) -> ServiceForwarding:
    """Service `number`, on addresses of its own, with hairpins and targets that others have too."""
    address = f"172.30.0.{number}"
    forwardings = [draw(forwarding(Frontend(TrafficClass.CLUSTER_IP, address, "TCP", 80)))]
    if draw(st.booleans()):
        forwardings.append(draw(forwarding(Frontend(TrafficClass.NODE_PORT, "", "TCP", 3000 + number))))
    if draw(st.booleans()):
        forwardings.append(draw(forwarding(Frontend(TrafficClass.LOAD_BALANCER_IP, f"198.51.100.{number}", "UDP", 53))))
    if draw(st.booleans()):
        ranged = draw(forwarding(Frontend(TrafficClass.CLUSTER_IP, address, "TCP", 81, draw(st.integers(81, 99)))))
        except_ports = tuple(sorted(draw(st.sets(st.integers(81, ranged.frontend.last_port), max_size=2))))
        if except_ports != (81,) or ranged.frontend.last_port > 81:
            forwardings.append(replace(ranged, except_ports=except_ports))
    return ServiceForwarding(
        service=f"default/s{number}",
        family=FAMILY,
        age=("", f"default/s{number}"),
        cluster_ip=address,
        forwardings=tuple(forwardings),
        hairpins=tuple(("TCP", t) for t in draw(targets)),
        range_hairpins=tuple(sorted({("TCP", t.address) for t in draw(targets)})) if has_range(forwardings) else (),
    )


def has_range(forwardings: list[Forwarding]) -> bool:
    return any(f.spans for f in forwardings if f.frontend.last_port)


@st.composite
def forwarding(draw: st.DrawFn, frontend: Frontend) -> Forwarding:
    endpoints = draw(targets)
    outside = draw(st.none() | targets) if endpoints and frontend.traffic_class is not TrafficClass.CLUSTER_IP else None
    missing = not endpoints or outside == ()
    ranged = frontend.traffic_class is TrafficClass.LOAD_BALANCER_IP
    return Forwarding(
        frontend=frontend,
        port_name="",
        endpoints=endpoints,
        outside=outside,
        masquerade=draw(st.sampled_from(Masquerade)),
        refusal=draw(st.sampled_from(Refusal)) if missing else None,
        affinity_seconds=draw(st.sampled_from((None, 60, 90))),
        balance=draw(st.sampled_from((Balance.RANDOM, Balance.ROUND_ROBIN))),
        source_ranges=draw(st.sampled_from(((), ("192.0.2.0/24",), ("192.0.2.0/25", "10.0.0.0/8")))) if ranged else (),
    )


numbers = st.integers(1, 4)
clusters = st.dictionaries(numbers, st.none(), max_size=4).flatmap(
    lambda chosen: st.tuples(*(services(number) for number in sorted(chosen)))
)
steps = st.lists(
    st.tuples(
        st.lists(numbers, unique=True, min_size=1, max_size=3).flatmap(
            lambda chosen: st.fixed_dictionaries({f"default/s{n}": st.none() | services(n) for n in chosen})
        ),
        st.sampled_from(CONFIGS),
    ),
    min_size=1,
    max_size=5,
)


configs = st.builds(replace, st.sampled_from(CONFIGS), counts_connections=st.booleans())


@given(clusters, clusters, configs, configs)
@settings(max_examples=150, deadline=None)
def test_apply_of_a_diff_gives_what_was_wanted(
    had: tuple[ServiceForwarding, ...], wanted: tuple[ServiceForwarding, ...], old: RenderConfig, new: RenderConfig
) -> None:
    kernel = FakeKernel()
    have, want = render(had, old), render(wanted, new)
    kernel.apply(FAMILY, TABLE, diff(Ruleset.empty(FAMILY, TABLE), have))
    assert kernel.read_whole(FAMILY, TABLE) == have
    kernel.apply(FAMILY, TABLE, diff(have, want))
    assert kernel.read_whole(FAMILY, TABLE) == want
    assert diff(want, want).is_empty
    assert render_text(want)
    assert render_transaction(diff(have, want), FAMILY) or have == want


@given(clusters, clusters)
@settings(max_examples=50, deadline=None)
def test_a_table_read_back_without_its_rules_is_mended(
    had: tuple[ServiceForwarding, ...], wanted: tuple[ServiceForwarding, ...]
) -> None:
    kernel = FakeKernel()
    want = render(wanted, PLAIN)
    kernel.apply(FAMILY, TABLE, diff(Ruleset.empty(FAMILY, TABLE), render(had, PLAIN)))
    kernel.apply(FAMILY, TABLE, diff(kernel.read(FAMILY, TABLE), want))
    assert kernel.read_whole(FAMILY, TABLE) == want


@given(steps, st.booleans())
@settings(max_examples=150, deadline=None)
def test_incremental_equals_full(
    changes: list[tuple[dict[str, ServiceForwarding | None], RenderConfig]], counts: bool
) -> None:
    """Whether connections are counted is settled when the process starts."""
    kernel = FakeKernel()
    table = NftablesTable(kernel, replace(PLAIN, counts_connections=counts))
    current: dict[str, ServiceForwarding] = {}
    for changed, found in changes:
        config = replace(found, counts_connections=counts)
        table.sync(changed, config)
        for key, service in changed.items():
            current.pop(key, None)
            if service is not None:
                current[key] = service
        assert kernel.read_whole(FAMILY, TABLE) == table.want() == render(table.services(), config)
        assert table.verify()
        sizes = {(name, len(elements)) for name, elements in table.want().elements.items()}
        assert sizes == {(name, len(elements)) for name, elements in render(current.values(), config).elements.items()}


@given(targets, targets)
def test_slots_keep_those_who_stay(before: tuple[Target, ...], wanted: tuple[Target, ...]) -> None:
    after = order_slots(before, wanted)
    assert sorted(after) == sorted(wanted)
    for index, target in enumerate(before[: len(after)]):
        assert target not in wanted or after[index] == target


@given(clusters, st.integers(8000, 60000))
@settings(max_examples=30, deadline=None)
def test_batches_stay_below_the_limit_and_number_their_subjects(
    wanted: tuple[ServiceForwarding, ...], limit: int
) -> None:
    transaction = diff(Ruleset.empty(FAMILY, TABLE), render(wanted, PLAIN))
    expected = 7
    for batch in encode_transaction(transaction, family=FAMILY, table=TABLE, first_sequence=7, limit=limit):
        assert batch.first == expected
        expected += len(batch.subjects)
        assert len(batch.packed) <= limit + 100


def make(count: int, number: int = 1) -> ServiceForwarding:
    address = f"172.30.{number // 250}.{number % 250}"
    frontend = Frontend(TrafficClass.CLUSTER_IP, address, "TCP", 80)
    endpoints = tuple(Target(f"10.{number // 250}.{number % 250}.{i}", 80) for i in range(1, count + 1))
    return ServiceForwarding(
        service=f"default/s{number}",
        family=FAMILY,
        age=("", ""),
        cluster_ip=address,
        forwardings=(
            Forwarding(frontend=frontend, port_name="", endpoints=endpoints, masquerade=Masquerade.OFF_CLUSTER),
        ),
    )


def touched(transaction: Transaction) -> int:
    count = 0
    for command in transaction.commands:
        match command:
            case AddElements(_, _, elements) | DeleteElements(_, _, elements) | ReplaceElements(_, _, elements, _):
                count += len(elements)
            case _:
                count += 1
    return count


@pytest.mark.parametrize("size", [10, 500])
def test_the_size_of_a_transaction_follows_the_change_not_the_table(size: int) -> None:
    kernel = FakeKernel()
    table = NftablesTable(kernel, PLAIN)
    table.sync({f"default/s{n}": make(10, n) for n in range(1, size)} | {"default/small": make(9, 999)}, PLAIN)
    service = make(10)
    (only,) = service.forwardings
    other = replace(only, endpoints=(*only.endpoints[:4], Target("10.9.9.9", 80), *only.endpoints[5:]))
    table.sync({"default/s1": replace(service, forwardings=(other,))}, PLAIN)
    assert touched(kernel.applied[-1]) == 2  # the slot, the digest
    less = replace(only, endpoints=only.endpoints[1:])
    table.sync({"default/s1": replace(service, forwardings=(less,))}, PLAIN)
    assert touched(kernel.applied[-1]) <= 5  # the hole, the last slot, the verdict, the slot changed before, the digest
    before = len(kernel.applied)
    table.sync({"default/s1": replace(service, forwardings=(less,))}, PLAIN)
    assert len(kernel.applied) == before


class Broken(FakeKernel):
    """Refuses the next batch, as a kernel does whose table somebody changed."""

    is_broken = False

    def apply(self, family: Family, table: str, transaction: Transaction) -> None:
        if self.is_broken:
            self.is_broken = False
            raise NftError(table, "elements of services", errno.ENOENT, "No such file or directory")
        super().apply(family, table, transaction)


def test_after_a_refused_batch_the_kernel_is_read_and_mended() -> None:
    kernel = Broken()
    table = NftablesTable(kernel, PLAIN)
    table.sync({"default/s1": make(3)}, PLAIN)
    kernel.is_broken = True
    table.sync({"default/s1": make(2)}, PLAIN)
    assert table.is_in_step
    assert kernel.read_whole(FAMILY, TABLE) == table.want()


def test_a_restart_that_wants_what_it_finds_writes_nothing() -> None:
    kernel = FakeKernel()
    NftablesTable(kernel, PLAIN).sync({"default/s1": make(3)}, PLAIN)
    again = NftablesTable(kernel, PLAIN)
    again.sync({"default/s1": make(3)}, PLAIN)
    assert len(kernel.applied) == 1
    again.sync({"default/s1": make(2)}, PLAIN)
    assert kernel.read_whole(FAMILY, TABLE) == again.want()


def test_chains_follow_the_largest_service_not_their_number() -> None:
    few, many = (render([make(10, n) for n in range(1, count)], PLAIN).structure for count in (2, 200))
    assert few == many


EDIT = st.sampled_from(("delete element", "add element", "flush chain", "add rule", "delete table"))


@settings(max_examples=60)
@given(st.data())
def test_an_edit_by_others_is_seen_by_the_next_look_and_mended(data: st.DataObject) -> None:
    """Whatever it is; and nothing is read while nobody else has changed anything."""
    kernel = FakeKernel()
    table = NftablesTable(kernel, CONFIGS[1])
    chosen = {f"s{number}": data.draw(services(number)) for number in range(1, 4)}
    table.sync(chosen, CONFIGS[1])
    assert table.verify()
    kernel.edit(FAMILY, TABLE, draw_edit(data.draw, kernel.read_whole(FAMILY, TABLE)))
    assert not table.verify()
    table.sync({}, CONFIGS[1])
    assert kernel.read_whole(FAMILY, TABLE) == table.want()
    assert table.verify()


def draw_edit(draw: st.DrawFn, have: Ruleset) -> Transaction:
    match draw(EDIT):
        case "delete element":
            name = draw(st.sampled_from(sorted(have.elements)))
            pair = draw(st.sampled_from(sorted(have.elements[name].items(), key=lambda item: item[0])))
            return Transaction(switch=(DeleteElements(name, have.structure.sets[name], (pair,)),))
        case "add element":
            spec = have.structure.sets["cluster-ips"]
            return Transaction(switch=(AddElements("cluster-ips", spec, ((b"\1\2\3\4", None),)),))
        case "flush chain":
            filled = sorted(name for name, chain in have.structure.chains.items() if chain.rules)
            return Transaction(switch=(SetRules(draw(st.sampled_from(filled)), Chain(()), True),))
        case "add rule":
            return Transaction(switch=(SetRules("translate", Chain(((Drop(),),)), False),))
        case _:
            return Transaction(switch=(DeleteTable(),))


def test_a_new_chain_is_there_before_the_batch_whose_verdicts_lead_to_it() -> None:
    """A packet under way runs by older rules, in which the chain is empty, and reads maps as they are."""
    kernel = FakeKernel()
    table = NftablesTable(kernel, PLAIN)
    table.sync({"default/s1": make(1)}, PLAIN)
    table.sync({"default/s1": make(2)}, PLAIN)
    batches = encode(kernel.applied[-1])
    (made,) = (number for number, subjects in enumerate(batches) if "rules of pick-2" in subjects)
    (led,) = (number for number, subjects in enumerate(batches) if "elements of services" in subjects)
    assert made < led
    assert "elements of slot-1" in batches[made]
    assert encode(diff(Ruleset.empty(FAMILY, TABLE), table.want()))[1:] == [], "a new table serves nobody yet"


def encode(transaction: Transaction) -> list[tuple[str, ...]]:
    return [batch.subjects for batch in encode_transaction(transaction, family=FAMILY, table=TABLE)]


LARGEST = [(Balance.RANDOM, None, MAX_ENDPOINTS), (Balance.HASH, None, MAX_ENDPOINTS),
           (Balance.ROUND_ROBIN, None, MAX_ENDPOINTS), (Balance.RANDOM, 86400, MAX_STICKY_ENDPOINTS)]  # fmt: skip


@pytest.mark.parametrize(("balance", "seconds", "count"), LARGEST, ids=["random", "hash", "round-robin", "sticky"])
def test_the_largest_service_is_sent_in_messages_that_anybody_may_send(
    balance: Balance, seconds: int | None, count: int
) -> None:
    """A draw cannot be cut, and its length follows the names of the slots, which are the longest in this lane."""
    service = make(1)
    endpoints = tuple(Target(f"10.1.{n // 250}.{n % 250}", 80) for n in range(count + MAX_TURNS))
    local = Forwarding(
        frontend=Frontend(TrafficClass.NODE_PORT, "", "TCP", 30080),
        port_name="",
        endpoints=endpoints[:1],
        outside=endpoints,
        masquerade=Masquerade.NODE,
        balance=balance,
        affinity_seconds=seconds,
    )
    want = render((replace(service, forwardings=(local,)),), PLAIN)
    transaction = diff(Ruleset.empty(FAMILY, TABLE), want)
    sizes = [len(b.packed) for b in encode_transaction(transaction, family=FAMILY, table=TABLE)]
    assert max(sizes) <= 2 * SEND_BUFFER_BYTES - 32
