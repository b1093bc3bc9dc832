"""Choosing a cluster IP as a /12 fills, and what one Service costs from its body to what is committed."""

from __future__ import annotations

import random
import time

from bench.figures import Figure, Goal, median
from seaway.api.machinery.objectmeta import validate_create_meta
from seaway.api.machinery.strategy import Context, Json
from seaway.api.registry import SERVICE_CIDRS, SERVICES
from seaway.apiserver.allocation.allocate import ServiceAllocator
from seaway.apiserver.allocation.pool import Pool, make_address_pool
from seaway.apiserver.record import encode_object, encode_stored

CIDR = "10.96.0.0/12"
FULL_PERCENT = 95
CHOICES = 20_000
SERVICE_COUNT = 2_000
ROUNDS = 5
NOW = "2026-01-01T00:00:00Z"

CHOOSE = Goal("allocation: choose an address of a /12 that is 95 % full", "µs", at_most=20)
SLOWDOWN = Goal("allocation: the same against an empty /12", "x", at_most=3)
SERVICE = Goal("allocation: defaults, validation, allocation of one Service, CPU", "ms", at_most=0.3)
GOALS = (CHOOSE, SLOWDOWN, SERVICE)


def run() -> list[Figure]:
    """Medians of several rounds of CPU time."""
    pick = random.Random(7).randrange
    empty, crowded = make_address_pool(CIDR), _fill(make_address_pool(CIDR))
    few = median([_time_choices(empty, pick) for _ in range(ROUNDS)])
    many = median([_time_choices(crowded, pick) for _ in range(ROUNDS)])
    note = f"{CHOICES} choices a round, median of {ROUNDS}; taken at random"
    return [
        Figure(CHOOSE, many * 1e6, note),
        Figure(SLOWDOWN, many / few),
        Figure(
            SERVICE,
            median([_time_services(pick) for _ in range(ROUNDS)]) * 1e3,
            "two ports, dual stack, every second with node ports",
        ),
    ]


def _fill(pool: Pool) -> Pool:
    for offset in random.Random(1).sample(range(pool.size), pool.size * FULL_PERCENT // 100):
        pool.mark(pool.first + offset, True)
    return pool


def _time_choices(pool: Pool, pick: object) -> float:
    """CPU seconds of one choice."""
    assert callable(pick)
    begun = time.process_time()
    for _ in range(CHOICES):
        pool.choose((), pick)
    return (time.process_time() - begun) / CHOICES


def _time_services(pick: object) -> float:
    """CPU seconds of one Service: what a POST does between decoding and the commit, and remembering the claim."""
    assert callable(pick)
    allocator = ServiceAllocator(("IPv4", "IPv6"), (30000, 32767), pick=pick)
    ranges = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": [CIDR, "fd10::/108"]}}
    allocator.observe(SERVICE_CIDRS.store_key("", "kubernetes"), encode_object(ranges), 1)
    services = [_make_service(number) for number in range(SERVICE_COUNT)]
    revision = 1
    begun = time.process_time()
    for service in services:
        made, claim = allocator.plan_create(SERVICES.strategy.default(service), wall_now=NOW)
        made = SERVICES.strategy.prepare_create(made, Context(NOW))
        assert not SERVICES.strategy.validate_create(made) and not validate_create_meta(made, SERVICES)
        encode_stored(made)
        allocator.commit_claim(claim, range(revision, revision := revision + len(claim.writes)))
    return (time.process_time() - begun) / SERVICE_COUNT


def _make_service(number: int) -> Json:
    # Every second has node ports: the range has room for no more.
    kind = "NodePort" if number % 2 else "ClusterIP"
    meta = {"name": f"web-{number}", "namespace": "default", "uid": f"00000000-0000-4000-8000-{number:012x}",
            "creationTimestamp": NOW, "labels": {"app": "web"}}  # fmt: skip
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "https", "port": 443, "targetPort": 8443}]
    spec = {"type": kind, "selector": {"app": "web"}, "ports": ports, "ipFamilyPolicy": "PreferDualStack"}
    return {"kind": "Service", "apiVersion": "v1", "metadata": meta, "spec": spec}
