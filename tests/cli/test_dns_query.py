"""`seaway dns query` against a real server: what it prints, and where it gets it from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from seaway.cli import group
from seaway.testing.fixture import Seaway

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, ports: [{name: mysql, port: 3306}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: mysql, port: 3306, protocol: TCP}]
endpoints:
- {addresses: [10.244.0.9], hostname: db-0, targetRef: {kind: Pod, name: db-0}, conditions: {ready: true}}
- {addresses: [10.244.0.8], conditions: {ready: false, serving: true, terminating: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: main, image: x}]}
"""


@pytest.fixture
def cluster(seaway: Seaway) -> Seaway:
    seaway.apply(MANIFEST)
    return seaway


def run(cluster: Seaway, *words: str, code: int = 0, server: tuple[str, ...] = ()) -> str:
    done = CliRunner().invoke(group, ["dns", *server, "query", "--kubeconfig", str(cluster.kubeconfig), *words])
    assert done.exit_code == code, done.output + str(done.exception)
    return done.output


def test_the_answer_and_why(cluster: Seaway) -> None:
    name = f"db.{cluster.namespace}.svc.cluster.local"
    assert run(cluster, name).splitlines() == [
        f"{name}. A: NOERROR",
        f"  {name}. 5 IN A 10.244.0.9",
        "because: headless: the endpoints that are ready",
        "zone: cluster.local.; shape of the name: SVC.NS.svc",
        f"service: {cluster.namespace}/db  headless  mysql 3306/TCP",
        "endpoints: 1 of 2 in the answer",
        "  10.244.0.9  db-0        db-0  db-1  used",
        "  10.244.0.8  10-244-0-8  -     db-1  left out: terminating",
    ]


def test_an_address_is_asked_for_its_name(cluster: Seaway) -> None:
    assert f"5 IN PTR db-0.db.{cluster.namespace}.svc.cluster.local." in run(cluster, "10.244.0.9")


def test_options_of_the_server_stand_before(cluster: Seaway) -> None:
    server = ("--cluster-domain", "k.example")
    assert "NOERROR" in run(cluster, f"db.{cluster.namespace}.svc.k.example", server=server)


def test_on_loopback_the_addresses_that_work_are_told(cluster: Seaway) -> None:
    server = ("--loopback-map", "10.0.0.0/8=127.0.0.0/8")
    lines = run(cluster, f"db.{cluster.namespace}.svc.cluster.local", server=server).splitlines()
    assert lines[1].endswith("5 IN A 127.244.0.9")
    assert lines[5:7] == ["endpoints: 1 of 2 in the answer", "  10.244.0.9  db-0        db-0  db-1  used"]
    for address in ("10.244.0.9", "127.244.0.9"):
        assert f"5 IN PTR db-0.db.{cluster.namespace}.svc.cluster.local." in run(cluster, address, server=server)


def test_json(cluster: Seaway) -> None:
    found: dict[str, Any] = json.loads(run(cluster, f"db.{cluster.namespace}.svc.cluster.local", "SRV", "-o", "json"))
    assert (found["status"], found["qtype"], len(found["endpoints"])) == ("NOERROR", "SRV", 2)


def test_as_a_pod_asks(cluster: Seaway, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("search corp.example\nnameserver 192.0.2.1\n")
    words = ("--as", "pod/client", "-n", cluster.namespace, "--resolv-conf", str(tmp_path / "resolv.conf"))
    lines = run(cluster, "db", *words, "--dns-ip", "10.96.0.10").splitlines()
    domain = f"{cluster.namespace}.svc.cluster.local"
    assert lines[:5] == [
        f"as pod {cluster.namespace}/client:",
        f"  search {domain} svc.cluster.local cluster.local corp.example",
        "  nameserver 10.96.0.10",
        "  options ndots:5",
        f"  1. db.{domain}.  NOERROR  <- answered",
    ]
    lines = run(cluster, "db", *words).splitlines()
    assert lines[1:5] == [
        "  search corp.example",
        "  nameserver 192.0.2.1",
        "  it asks 192.0.2.1, not only the cluster's DNS, which would say:",
        "  1. db.corp.example.  FORWARDED",
    ]


def test_a_pod_that_does_not_exist(cluster: Seaway) -> None:
    done = CliRunner().invoke(
        group, ["dns", "query", "--kubeconfig", str(cluster.kubeconfig), "db", "--as", "pod/nosuch"]
    )
    assert 'pods "nosuch" not found' in str(done.exception)


def test_a_type_that_there_is_not(cluster: Seaway) -> None:
    assert "type NOSUCH: one of A, NS" in run(cluster, "db", "NOSUCH", code=2)
