"""Options that leave objects out or name them differently. Rule: spec "discovery" A1.11, A1.13, D1."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, SERVICES
from seaway.client.requests import Client
from seaway.dns.answer import Answer, Elsewhere, Outcome
from seaway.dns.config import DnsConfig, KubernetesOptions
from seaway.dns.index import Index
from seaway.dns.lookup import ZoneConfig
from seaway.dns.objects import DetailedSlice
from seaway.dns.records import parse_name
from seaway.dns.run import run
from seaway.testing.builders import make_service, make_slice
from seaway.testing.cluster import open_cluster
from tests.dns import fixture
from tests.dns.fixture import CONFIG, SERIAL, ask, headless, lines, make_index, make_pod
from tests.dns.test_answer import expand
from tests.dns.test_run import ask as ask_server
from tests.dns.test_run import free_port


def outcome(question: str, config: ZoneConfig, index: Index | None = None) -> Outcome | None:
    found = ask(question, index, config)
    return found.outcome if isinstance(found, Answer) else None


@pytest.mark.parametrize(
    ("question", "ignored", "kept"),
    [
        pytest.param("lonely.@ A", Outcome.NXDOMAIN, Outcome.RECORDS, id="D1 17 no endpoints"),
        pytest.param("_http._tcp.lonely.@ SRV", Outcome.NXDOMAIN, Outcome.RECORDS, id="D1 17 nor ports"),
        pytest.param("dual.@ AAAA", Outcome.NXDOMAIN, Outcome.RECORDS, id="D1 17 in either family"),
        pytest.param("web.@ A", Outcome.RECORDS, Outcome.RECORDS, id="D1 17 one endpoint is enough"),
        pytest.param("void.@ A", Outcome.NXDOMAIN, Outcome.NXDOMAIN, id="D1 18 headless all the same"),
        pytest.param("db.@ A", Outcome.RECORDS, Outcome.RECORDS, id="headless with endpoints"),
        pytest.param("ext.@ CNAME", Outcome.RECORDS, Outcome.RECORDS, id="an external name has no endpoints"),
    ],
)
def test_empty_services_are_ignored_on_request(question: str, ignored: Outcome, kept: Outcome) -> None:
    assert outcome(question, dataclasses.replace(CONFIG, ignore_empty_service=True)) is ignored
    assert outcome(question, CONFIG) is kept


def test_a_service_that_is_ignored_comes_back_with_its_first_endpoint() -> None:
    index, config = make_index(), dataclasses.replace(CONFIG, ignore_empty_service=True)
    assert outcome("lonely.@ A", config, index) is Outcome.NXDOMAIN
    touched = index.apply_slice(None, fixture.endpoints("lonely", ("10.244.1.99", None, True)), wall_seconds=SERIAL)
    assert ("demo", "lonely") in touched
    assert outcome("lonely.@ A", config, index) is Outcome.RECORDS


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("D1 87 web.@ A", Outcome.NXDOMAIN),
        ("D1 87 demo.svc.cluster.local A", Outcome.NXDOMAIN),
        ("D1 87 10-244-1-5.demo.pod.cluster.local A", Outcome.NXDOMAIN),
        ("D1 87 kubernetes.default.svc.cluster.local A", Outcome.RECORDS),
        ("D1 87 default.svc.cluster.local A", Outcome.NODATA),
        ("D1 87 1.0.96.10.in-addr.arpa PTR", Outcome.RECORDS),
        ("D1 87 1.7.96.10.in-addr.arpa PTR", Outcome.NXDOMAIN),
    ],
)
def test_only_some_namespaces_have_names(question: str, expected: Outcome) -> None:
    index = make_index(exposed=["default"])
    assert outcome(" ".join(question.split()[-2:]), dataclasses.replace(CONFIG, forwards=False), index) is expected


def detailed(service: str, *found: tuple[str, str | None, str]) -> DetailedSlice:
    raw = make_slice(f"{service}-1", service, [], namespace="demo", ports=[fixture.HTTP])
    raw["endpoints"] = [
        {"addresses": [address], "targetRef": {"kind": "Pod", "name": pod}}
        | ({"hostname": hostname} if hostname else {})
        for address, hostname, pod in found
    ]
    return msgspec.convert(raw, DetailedSlice)


PODS = (("10.244.5.1", "h", "pod-h"), ("10.244.5.2", None, "web-xyz"), ("10.244.5.3", None, "has.dots"),
        ("10.244.5.4", None, "x" * 64), ("10.244.5.5", None, "y" * 63), ("10.244.5.6", None, ""))  # fmt: skip


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        pytest.param("web-xyz", True, id="D1 90 the name of its Pod"),
        pytest.param("10-244-5-2", False, id="D1 90 and no other"),
        pytest.param("h", True, id="a hostname comes first"),
        pytest.param("pod-h", False, id="and alone"),
        pytest.param("10-244-5-3", True, id="a Pod's name with dots is no label"),
        pytest.param("10-244-5-4", True, id="nor is one of 64 characters"),
        pytest.param("y" * 63, True, id="but one of 63 is"),
        pytest.param("10-244-5-6", True, id="a hand-made endpoint has no Pod"),
    ],
)
def test_endpoints_are_named_after_their_pods_on_request(label: str, wanted: bool) -> None:
    index, config = make_index(), dataclasses.replace(CONFIG, endpoint_pod_names=True)
    index.apply_service(None, headless("named"), wall_seconds=SERIAL)
    index.apply_slice(None, detailed("named", *PODS), wall_seconds=SERIAL)
    assert outcome(f"{label}.named.@ A", config, index) is (Outcome.RECORDS if wanted else Outcome.NXDOMAIN)


def test_the_name_of_a_pod_is_in_srv_and_ptr_and_follows_it() -> None:
    index, config = make_index(), dataclasses.replace(CONFIG, endpoint_pod_names=True)
    index.apply_service(None, headless("named"), wall_seconds=SERIAL)
    first, second = detailed("named", ("10.244.5.2", None, "a")), detailed("named", ("10.244.5.2", None, "b"))
    index.apply_slice(None, first, wall_seconds=SERIAL)
    assert set(index.apply_slice(first, second, wall_seconds=SERIAL)) == {("demo", "named"), "10.244.5.2"}
    found = ask("2.5.244.10.in-addr.arpa PTR", index, config)
    assert isinstance(found, Answer)
    assert lines(found)[0] == expand("2.5.244.10.in-addr.arpa PTR b.named.@.")
    found = ask("_http._tcp.named.@ SRV", index, config)
    assert isinstance(found, Answer)
    assert lines(found)[0] == expand("_http._tcp.named.@ SRV 0 100 80 b.named.@.")


EVERYWHERE = ((),)
CASES = [
    ("D1 80 6.2.244.10.in-addr.arpa PTR", ("in-addr.arpa",), None),
    ("D1 81 7.100.51.198.in-addr.arpa PTR", ("in-addr.arpa",), None),
    ("D1 82 6.2.244.10.in-addr.arpa PTR", (), Outcome.NXDOMAIN),
    ("D1 83 244.10.in-addr.arpa PTR", (), Outcome.NXDOMAIN),
    ("D1 83 244.10.in-addr.arpa PTR", ("in-addr.arpa",), None),
    ("1.7.96.10.in-addr.arpa PTR", ("in-addr.arpa",), Outcome.RECORDS),
    ("1.7.96.10.in-addr.arpa A", ("in-addr.arpa",), Outcome.NODATA),
    ("6.2.244.10.in-addr.arpa PTR", ("ip6.arpa",), Outcome.NXDOMAIN),
    ("6.2.244.10.in-addr.arpa PTR", ("244.10.in-addr.arpa",), None),
    ("6.2.244.10.In-Addr.Arpa PTR", ("in-addr.arpa",), None),
    ("nosuch.@ A", ("in-addr.arpa",), Outcome.NXDOMAIN),
    ("nosuch.@ A", ("cluster.local",), None),
    ("nosuch.@ A", (".",), None),
    ("web.@ MX", (".",), Outcome.NODATA),
    ("svc.cluster.local A", (".",), Outcome.NODATA),
    ("dangling.@ A", (".",), Outcome.NODATA),
]


@pytest.mark.parametrize(("question", "zones", "expected"), CASES, ids=[f"{q} of {z}" for q, z, _ in CASES])
def test_what_does_not_exist_falls_through_in_some_zones(
    question: str, zones: tuple[str, ...], expected: Outcome | None
) -> None:
    """None: somebody else's."""
    config = dataclasses.replace(CONFIG, fallthrough=tuple(parse_name(zone) for zone in zones))
    text = " ".join(question.split()[-2:])
    assert outcome(text, config) is expected
    if expected is None:
        assert ask(text, config=config) == Elsewhere()
        assert outcome(text, dataclasses.replace(config, forwards=False)) is Outcome.NXDOMAIN
        assert outcome(text, config, make_index(is_synced=False)) is Outcome.NOT_SYNCED


def test_without_fallthrough_the_reverse_zone_says_so_itself() -> None:
    found = ask("6.2.244.10.in-addr.arpa PTR", config=dataclasses.replace(CONFIG, fallthrough=()))
    assert isinstance(found, Answer)
    soa = f"in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. {SERIAL} 7200 1800 86400 5"
    assert lines(found)[1] == [soa]


def test_reverse_zones_that_are_not_ours_are_elsewhere() -> None:
    config = dataclasses.replace(CONFIG, reverse_zones=(parse_name("96.10.in-addr.arpa"),), fallthrough=())
    assert outcome("1.7.96.10.in-addr.arpa PTR", config) is Outcome.RECORDS
    assert ask("10.1.244.10.in-addr.arpa PTR", config=config) == Elsewhere()
    missing = ask("9.9.96.10.in-addr.arpa PTR", config=config)
    assert isinstance(missing, Answer)
    assert lines(missing)[1][0].startswith("96.10.in-addr.arpa. 5 IN SOA ns.dns.96.10.in-addr.arpa.")


@pytest.mark.parametrize(
    ("mode", "question", "expected"),
    [
        pytest.param("verified", "203-0-113-9.demo.pod.cluster.local A", Outcome.NXDOMAIN, id="D1 70 no such Pod"),
        pytest.param("verified", "10-244-1-5.demo.pod.cluster.local A", Outcome.RECORDS, id="D1 70 a Pod"),
        pytest.param("disabled", "10-244-1-5.demo.pod.cluster.local A", Outcome.NXDOMAIN, id="D1 71 none at all"),
        pytest.param("disabled", "demo.pod.cluster.local A", Outcome.NXDOMAIN, id="D1 71 nor their namespace"),
    ],
)
def test_names_of_pods(mode: str, question: str, expected: Outcome) -> None:
    index = make_index()
    index.apply_pod(None, make_pod("web-1", "10.244.1.5"), wall_seconds=SERIAL)
    assert outcome(question, dataclasses.replace(CONFIG, pods=mode), index) is expected


# -- what is watched ---------------------------------------------------------------------------------------------------


def labelled(obj: dict[str, Any], **labels: str) -> dict[str, Any]:
    meta = obj["metadata"]
    return obj | {"metadata": meta | {"labels": meta.get("labels", {}) | labels}}


async def fill(client: Client) -> None:
    """Namespaces red (color=red) and blue; in each a Service with a cluster IP and a headless one; in red app=x."""
    for name in ("red", "blue"):
        await client.create(NAMESPACES, labelled({"metadata": {"name": name}}, color=name), "")
        labels = {"app": "x"} if name == "red" else {}
        for service, spec in (("web", {}), ("db", {"clusterIP": "None"})):
            await client.create(SERVICES, labelled(make_service(service, name, **spec), **labels), name)
            found = make_slice(f"{service}-1", service, [f"10.244.0.{1 if service == 'web' else 2}"], namespace=name)
            await client.create(ENDPOINT_SLICES, labelled(found, **labels), name)


@contextlib.asynccontextmanager
async def serving(options: KubernetesOptions) -> AsyncIterator[int]:
    async with open_cluster() as cluster:
        client = cluster.client()
        await fill(client)
        ready, port = asyncio.Event(), free_port()
        config = DnsConfig(listen=(("127.0.0.1", port),), kubernetes=options)
        task = asyncio.create_task(run(config, client, on_ready=ready.set))
        async with asyncio.timeout(10):
            await ready.wait()
        yield port
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


WATCHED = {
    "D1 88 only labelled Services": (
        KubernetesOptions(labels="app=x"),
        {"web.red.svc": 1, "db.red.svc": 1, "web.blue.svc": 3, "db.blue.svc": 3, "blue.svc": 0},
    ),
    "D1 89 no endpoints": (
        KubernetesOptions(no_endpoints=True, ignore_empty_service=True),
        {"web.red.svc": 1, "db.red.svc": 3, "10-244-0-1.web.red.svc": 3},
    ),
    "only labelled namespaces": (
        KubernetesOptions(namespace_labels="color in (red)"),
        {"web.red.svc": 1, "web.blue.svc": 3, "blue.svc": 3, "10-0-0-1.blue.pod": 3},
    ),
    "only named namespaces": (KubernetesOptions(namespaces=("blue",)), {"web.red.svc": 3, "web.blue.svc": 1}),
    "everything": (KubernetesOptions(), {"web.red.svc": 1, "db.blue.svc": 1, "10-244-0-1.web.red.svc": 1}),
}


@pytest.mark.parametrize(("options", "expected"), WATCHED.values(), ids=WATCHED)
def test_what_is_watched(options: KubernetesOptions, expected: dict[str, int]) -> None:
    """1: an address; 0: no data; 3: no such name."""

    async def main() -> None:
        async with serving(options) as port:
            found = {}
            for name in expected:
                reply = await ask_server(port, f"{name}.cluster.local")
                found[name] = 1 if reply.answer else reply.rcode()
            assert found == expected

    asyncio.run(main())


def test_namespaces_are_chosen_by_name_or_by_label() -> None:
    with pytest.raises(ValueError, match="namespaces and namespace_labels cannot both be set"):
        KubernetesOptions(namespaces=("a",), namespace_labels="b=c")
