"""Law: over any cluster, however it came about, each name is answered as a zone written out from the objects says."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.dns.answer import Answer, Chase, Elsewhere, Outcome, answer
from seaway.dns.index import Index
from seaway.dns.lookup import ZoneConfig
from seaway.dns.objects import DetailedSlice, Namespace, Pod, Service
from seaway.dns.query import parse_question
from seaway.dns.records import parse_name, render_name, render_record
from tests.dns.fixture import TYPES
from tests.dns.oracle import Json, Objects, Options, Oracle, Reply

NAMESPACES = ("a", "b", "svc")
SERVICES = ("s", "t", "pod")
VIPS = ("10.96.0.1", "10.96.0.2", "fd00:96::1", "10.0.0.1")
ADDRESSES = {
    "IPv4": ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"),
    "IPv6": ("fd00::1", "2001:db8:1:2:3:4::"),
    "FQDN": ("x.example",),
}
TARGETS = (
    "www.example.com", "www.example.com.", "192.0.2.9", *["s.a.svc.cluster.local", "t.a.svc.cluster.local"] * 3,
           "pod.a.svc.cluster.local", "x.s.a.svc.cluster.local", "h.t.a.svc.cluster.local", "s.b.svc.cluster.local",
           "_http._tcp.s.a.svc.cluster.local", "10-0-0-1.a.pod.cluster.local", "ns.dns.cluster.local", "cluster.local",
           "a.svc.cluster.local", "1.0.96.10.in-addr.arpa")  # fmt: skip
QTYPES = ("A", "AAAA", "SRV", "CNAME", "TXT", "PTR", "NS", "SOA", "MX", "ANY")
LABELS = ("a", "b", "svc", "pod", "s", "t", "h", "x", "_http", "http", "_tcp", "_udp", "_", "*", "10-0-0-1", "fd00--1",
          "010-0-0-1", "ns", "dns", "dns-version", "cluster", "arpa", "1")  # fmt: skip

ports = st.lists(
    st.fixed_dictionaries({
        "name": st.sampled_from(["", "http", "dns"]), "protocol": st.sampled_from(["TCP", "UDP"]),
        "port": st.sampled_from([53, 80]),
    }), max_size=3,
)  # fmt: skip


@st.composite
def specs(draw: st.DrawFn) -> Json:
    kind = draw(st.sampled_from(["ClusterIP", "ClusterIP", "headless", "headless", "ExternalName", "NodePort"]))
    if kind == "ExternalName":
        return {"type": kind, "externalName": draw(st.sampled_from(TARGETS)), "clusterIPs": [], "ports": draw(ports)}
    if kind == "headless":
        return {"type": "ClusterIP", "clusterIPs": ["None"], "ports": draw(ports)}
    vips = draw(st.lists(st.sampled_from(VIPS), min_size=1, max_size=2, unique=True))
    return {"type": kind, "clusterIPs": vips, "ports": draw(ports)}


@st.composite
def slices(draw: st.DrawFn) -> Json:
    family = draw(st.sampled_from(["IPv4", "IPv4", "IPv4", "IPv6", "IPv6", "FQDN"]))
    owner = draw(st.sampled_from(["s", "s", *SERVICES, ""]))
    endpoints = draw(st.lists(st.fixed_dictionaries({
        "addresses": st.lists(st.sampled_from(ADDRESSES[family]), min_size=1, max_size=2, unique=True),
        "conditions": st.sampled_from([{}, {"ready": True}, {"ready": True}, {"ready": False}]),
    }, optional={
        "hostname": st.sampled_from(["h", "x"]),
        "targetRef": st.sampled_from([{"kind": "Pod", "name": "p"}, {"kind": "Pod", "name": "p.q"}]),
    }), min_size=1, max_size=4))  # fmt: skip
    labels = {"kubernetes.io/service-name": owner} if owner else {}
    return {"addressType": family, "endpoints": endpoints, "ports": draw(ports), "labels": labels}


key = st.tuples(st.sampled_from(["a", "a", "a", "a", *NAMESPACES]), st.sampled_from(["s", "s", *SERVICES]))
changes = st.one_of(
    st.tuples(st.just("namespace"), st.sampled_from(["b", "svc", *NAMESPACES]), st.booleans()),
    st.tuples(st.just("service"), key, st.none() | specs()),
    st.tuples(st.just("service"), key, specs()),
    st.tuples(st.just("slice"), key, st.none() | slices()),
    st.tuples(st.just("slice"), key, slices()),
    st.tuples(st.just("pod"), key, st.none() | st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]),
                                                         st.sampled_from(["Running", "Succeeded"]))),
)  # fmt: skip
options = st.builds(
    Options,
    ttl=st.sampled_from([5, 0, 600]),
    pods=st.sampled_from(["insecure", "verified", "disabled"]),
    local_addresses=st.sampled_from([(), ("10.0.0.9",), ("10.0.0.1", "fd00::1"), ("10.96.0.1",)]),
    forwards=st.booleans(),
    namespaces=st.sampled_from([(), (), (), ("a",), ("b",)]),
    endpoint_pod_names=st.booleans(),
    ignore_empty_service=st.booleans(),
)


class Cluster:
    """The objects, and an index that has followed every change to them."""

    def __init__(self, options: Options) -> None:
        self.objects = Objects()
        self.index = Index(options.namespaces)
        self.index.is_synced = True
        for name in NAMESPACES[:2]:
            self.apply(("namespace", name, True))

    def apply(self, change: tuple[Any, ...]) -> None:
        kind, name, new = change
        if kind == "namespace":
            self._apply_namespace(name, new)
            return
        raw = None if new is None else getattr(self, f"_make_{kind}")(name, new)
        known = getattr(self.objects, f"{kind}s")
        as_type = {"service": Service, "slice": DetailedSlice, "pod": Pod}[kind]
        old = known.pop(name, None)
        if raw is not None:
            known[name] = raw
        if old is not None or raw is not None:
            narrow = [None if each is None else msgspec.convert(each, as_type) for each in (old, raw)]
            getattr(self.index, f"apply_{kind}")(*narrow, wall_seconds=0)

    def _apply_namespace(self, name: str, exists: bool) -> None:
        old = msgspec.convert({"metadata": {"name": name}}, Namespace) if name in self.objects.namespaces else None
        new = msgspec.convert({"metadata": {"name": name}}, Namespace) if exists else None
        (self.objects.namespaces.add if exists else self.objects.namespaces.discard)(name)
        if old is not None or new is not None:
            self.index.apply_namespace(old, new)

    @staticmethod
    def _make_service(name: tuple[str, str], spec: Json) -> Json:
        return {"metadata": {"namespace": name[0], "name": name[1]}, "spec": spec}

    @staticmethod
    def _make_slice(name: tuple[str, str], body: Json) -> Json:
        metadata = {"namespace": name[0], "name": name[1], "labels": body["labels"]}
        return {"metadata": metadata, **{field: body[field] for field in ("addressType", "endpoints", "ports")}}

    @staticmethod
    def _make_pod(name: tuple[str, str], told: tuple[str, str]) -> Json:
        metadata = {"namespace": name[0], "name": name[1]}
        return {"metadata": metadata, "status": {"podIP": told[0], "phase": told[1]}}


def make_config(options: Options) -> ZoneConfig:
    return ZoneConfig(
        cluster_domain=parse_name(options.domain),
        ttl_seconds=options.ttl,
        pods=options.pods,
        local_addresses=options.local_addresses,
        forwards=options.forwards,
        endpoint_pod_names=options.endpoint_pod_names,
        ignore_empty_service=options.ignore_empty_service,
    )


def ask(name: str, qtype: str, index: Index, config: ZoneConfig) -> Reply:
    """The first implementation's answer in the second's words; its records are sorted and each there once."""
    found = answer(parse_question(parse_name(name), TYPES[qtype], cluster_domain=config.cluster_domain), index, config)
    match found:
        case Elsewhere():
            return Reply("FORWARDED", target=name)
        case Chase(aliases, target):
            return Reply("FORWARDED", frozenset(map(render_record, aliases)), target=render_name(target))
        case Answer():
            parts = [[render_record(each) for each in part] for part in (found.answer, found.additional)]
            assert all(len(set(part)) == len(part) for part in parts)
            status = "NODATA" if found.outcome is Outcome.NODATA else found.outcome.rcode.name
            soa = "".join(map(render_record, found.authority))
            return Reply(status, frozenset(parts[0]), frozenset(parts[1]), soa)


def mutate(name: str, label: str, how: int) -> str:
    """A name near this one: with a label more, fewer, another."""
    labels = name.rstrip(".").split(".")
    position = how // 3 % len(labels)
    changed = ([*labels[:position], label, *labels[position:]], [*labels[:position], *labels[position + 1 :]],
               [*labels[:position], label, *labels[position + 1 :]])[how % 3]  # fmt: skip
    return ".".join(changed) + "."


@settings(max_examples=150, deadline=None)
@given(
    options,
    st.lists(changes, min_size=6, max_size=16),
    st.lists(st.tuples(st.sampled_from(LABELS), st.integers(0, 40)), min_size=8, max_size=8),
)
def test_each_name_is_answered_as_the_zone_says(
    options: Options, changes: list[tuple[Any, ...]], mutations: list[tuple[str, int]]
) -> None:
    cluster, config = Cluster(options), make_config(options)
    for change in changes:
        cluster.apply(change)
    oracle = Oracle(cluster.objects, options)
    existing = oracle.names()
    mutated = [mutate(name, *mutations[i % len(mutations)]) for i, name in enumerate(existing)]
    for name in sorted({*existing, *mutated} - {"."}):
        for qtype in QTYPES:
            want = oracle.answer(name, qtype)
            assert (name, qtype, ask(name, qtype, cluster.index, config)) == (name, qtype, want)


@settings(max_examples=25, deadline=None)
@given(options, st.lists(changes, min_size=4, max_size=10))
def test_after_each_change_the_answers_are_those_of_the_objects_of_now(
    options: Options, changes: list[tuple[Any, ...]]
) -> None:
    cluster, config = Cluster(options), make_config(options)
    names: set[str] = set()
    for change in changes:
        cluster.apply(change)
        oracle = Oracle(cluster.objects, options)
        names.update(oracle.names())
        for name in sorted(names):
            for qtype in ("A", "SRV", "PTR", "NS"):
                assert (name, qtype, ask(name, qtype, cluster.index, config)) == (
                    name,
                    qtype,
                    oracle.answer(name, qtype),
                )


def test_the_oracle_knows_the_clusters_of_the_scenarios() -> None:
    """It is held to a few answers by hand, else both could be wrong together."""
    objects = Objects(namespaces={"demo"})
    objects.services["demo", "db"] = {"spec": {"type": "ClusterIP", "clusterIPs": ["None"], "ports": []}}
    objects.slices["demo", "db-1"] = {
        "metadata": {"labels": {"kubernetes.io/service-name": "db"}}, "addressType": "IPv4",
        "ports": [{"name": "mysql", "protocol": "TCP", "port": 13306}],
        "endpoints": [{"addresses": [f"10.244.{i}.10"], "hostname": f"db-{i}", "conditions": {"ready": i < 3}}
                      for i in (1, 2, 3)],
    }  # fmt: skip
    oracle = Oracle(objects, Options())
    name = "_mysql._tcp.db.demo.svc.cluster.local."
    assert oracle.answer(name, "SRV") == Reply(
        "NOERROR",
        frozenset(f"{name} 5 IN SRV 0 50 13306 db-{i}.db.demo.svc.cluster.local." for i in (1, 2)),
        frozenset(f"db-{i}.db.demo.svc.cluster.local. 5 IN A 10.244.{i}.10" for i in (1, 2)),
    )
    assert oracle.answer("db-3.db.demo.svc.cluster.local.", "A").status == "NXDOMAIN"
    assert oracle.answer("10.1.244.10.in-addr.arpa.", "PTR").answer == {
        "10.1.244.10.in-addr.arpa. 5 IN PTR db-1.db.demo.svc.cluster.local."
    }
