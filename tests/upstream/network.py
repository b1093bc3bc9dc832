"""Upstream's end-to-end tests of the network (v1.36), the control loops that each needs, and our tests that show them.

`network.tsv` has the facts (spec "controllers" §7.11): the file, the name without `[sig-network] <suite>`, tags, letters of
loops, and how many nodes. Every test also needs a namespace with its account and CA, emptied at the end; one with nodes
needs Pods that are scheduled on living nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("network.tsv")


@dataclass(frozen=True, slots=True)
class UpstreamTest:
    """A row. `needs`: keys of NEEDS, in their order."""

    file: str
    name: str
    tags: tuple[str, ...]
    needs: tuple[str, ...]
    nodes: int

    @property
    def is_conformance(self) -> bool:
        return "C" in self.tags


@dataclass(frozen=True, slots=True)
class Need:
    """What a test needs of the controllers. loops: names in `--controllers`, none where it is not in place.

    shown: tests of ours, as `path::name` under `tests/`. absent: why it is not in place.
    """

    text: str
    loops: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    absent: str = ""


S = "scenarios/test_control_loops.py::test_"
NEEDS = {
    "A": Need(
        "a namespace with its account and CA, and its end",
        ("namespace", "garbage"),
        (f"{S}every_namespace_has_its_default_objects_and_gets_them_back",
         f"{S}a_namespace_ends_with_all_that_is_in_it"),
    ),
    "N": Need(
        "Pods on living nodes",
        ("scheduler", "nodes"),
        (f"{S}pods_are_spread_over_ready_nodes",
         f"{S}a_node_without_heartbeats_is_lost_and_its_endpoints_are_not_ready"),
    ),
    "E": Need(
        "EndpointSlices",
        ("endpointslice",),
        (f"{S}a_service_gets_its_slices_and_they_follow_its_pods", f"{S}slices_end_with_their_service"),
    ),
    "P": Need("Endpoints", ("endpoints",), ()),
    "M": Need("mirrored Endpoints", ("mirroring",), ()),
    "D": Need("Deployments and ReplicaSets", ("deployment", "replicaset"), ()),
    "S": Need("DaemonSets", ("daemonset",), ()),
    "C": Need("ServiceCIDRs", ("servicecidr",), ()),
    "H": Need("topology hints", ("endpointslice",), ()),
    "L": Need("load balancers", absent="`type: LoadBalancer` gets no address yet"),
}  # fmt: skip

DETAILS: tuple[tuple[str, str], ...] = ()
"""Where a test asks for something particular of a loop: a pattern of its name, and our test of that."""


def read_table() -> list[UpstreamTest]:
    """All rows, in upstream's order."""
    rows = []
    for line in TABLE.read_text().splitlines()[1:]:
        file, name, tags, loops, nodes = line.split("\t")
        letters = ["A", *(["N"] if int(nodes) else []), *loops.split()]
        rows.append(UpstreamTest(file, name, tuple(tags.replace(",", " ").split()), tuple(letters), int(nodes)))
    return rows


def find_details(row: UpstreamTest) -> Iterator[str]:
    """Our tests of what the row asks for in particular."""
    for pattern, shown in DETAILS:
        if re.search(pattern, f"{row.file} {row.name}"):
            yield shown
