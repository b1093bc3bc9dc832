"""Every numbered scenario of spec "discovery" part D has a test that carries its number, or a reason why it has none.

A test of D1 to D3 says so in its name (`test_d2_4_6_what_fits`) or in the id of a case (`D1 20 a headless service`).
Part D5 is the node's: its tests are named here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Number = tuple[str, int]

RECORDS = """\
1 a cluster IP
2 the family that a Service does not have
3 the SRV of a named port
4 SRV at the Service itself
5 equal targets and ports are one SRV, and weigh as three
6 the SRV of a UDP port
7 a port under the wrong protocol
8 the addresses of a dual-stack Service
9 two ports and two addresses weigh 25
10 one port and two addresses weigh 50
11 an address at a port's name
12 underscores are optional
13 a protocol alone
14 the SRV of an unnamed port
15 a port name that no port has
16 a cluster IP without endpoints
17 the same when empty Services are to be ignored
18 a headless Service without endpoints
19 its other types
20 the addresses of a headless Service
21 its other family
22 its SRV carries target ports
23 an endpoint by its hostname
24 endpoints that are not ready or terminate
25 a hostname leaves no dashed alias
26 a port below an endpoint
27 the SRV of an endpoint
28 endpoints that share a hostname
29 the shared hostname
30 the SRV of a shared hostname
31 a Pod published before it is ready
32 the same Pod, no longer published
33 hand-made slices of both families
34 their SRV
35 an IPv6 endpoint by its dashed address
36 a headless Service without ports
37 its SRV
38 a Service with a cluster IP hides its endpoints
39 but they have names
40 unless they are not ready
41 an external name and the address behind it
42 its other family
43 the alias alone
44 a target with a trailing dot
45 other types at an external name
46 names below an external name
47 a target that does not exist
48 a target that is an address
49 an alias inside the zone
50 its other family
51 an alias that dangles
52 aliases in a loop
53 the alias of a loop alone
54 Services and namespaces that do not exist
55 names that exist for what is below them
56 names of no known shape
57 no wildcards
58 the schema version
59 other types there, and names below
60 TXT at names without one
61 other types at a Service
62 other types where nothing is
63 SOA where nothing is
64 SOA at the apex
65 NS at the apex
66 the name server's own name
67 a server that no Service leads to
68 a Pod's name
69 a Pod's name without a Pod
70 the same when Pods are verified
71 Pod names switched off
72 a Pod's name of IPv6
73 Pod names that are no addresses
74 the namespace of Pod names
75 PTR of a cluster IP
76 PTR of an IPv6 cluster IP
77 PTR of an endpoint with a hostname
78 PTR of an endpoint without
79 PTR of an address that two Services have
80 PTR of an endpoint that is not ready
81 PTR of an address outside
82 PTR of an unknown address when nothing is forwarded
83 part of an address
84 zone transfer that nobody may have
85 zone transfer
86 an endpoint that leaves and returns
87 only some namespaces
88 only some labels
89 no endpoints
90 endpoints named after their Pods
91 an external name that becomes a cluster IP
92 a server that does not know everything yet"""
WIRE = """\
1 the case of the question comes back
2 so does its zone in targets
3 and in the SOA record
4 what fits into 512 bytes
5 TCP has room
6 EDNS has more room
7 less than 512 is 512
8 DNSSEC OK
9 another version of EDNS
10 client subnet and cookie
11 flags
12 other classes
13 other opcodes
14 no question, two questions
15 what deserves no reply
16 a question that ends early
17 names that are too long
18 a header alone
19 garbage behind the question
20 queries in one segment, a query in several
21 a connection that says nothing
22 replies leave from the address that was asked
23 whole SRV records, glue only when all fit
24 5,000 endpoints over TCP
25 rotation is even"""
FOREIGN = """\
1 a stub domain
2 PTR of an address outside
3 an external name that only the upstream knows
4 a silent upstream is passed over, probed and skipped
5 failures are passed through unless failover is asked for
6 all upstreams are silent
7 replies with the wrong id or question
8 a truncated reply and its retry over TCP
9 too many slow queries
10 a loop is noticed
11 TTLs are kept within bounds
12 a kept reply counts down
13 flags that make another reply
14 how long absence is kept
15 a Service that is scaled is seen at once
16 own names behind a cache
17 a Pod that was asked for too early
18 prefetch and stale replies
19 a reload loses nothing
20 a lame duck answers
21 what a Pod's search list asks"""
NODE = {
    1: "test_envvars.py::test_the_seven_variables_of_redis_primary",
    2: "test_envvars.py::test_which_services_count",
    3: "test_envvars.py::test_a_service_named_kubernetes",
    4: "test_envvars.py::test_which_services_count",
    5: "test_envvars.py::test_user_variables_win_over_services",
    6: "test_envvars.py::test_expansion",
    7: "test_envvars.py::test_two_named_ports_with_udp_first",
    8: "test_envvars.py::test_ipv6_has_brackets_in_urls_only",
    9: "test_resolvconf.py::test_policies",
    10: "test_resolvconf.py::test_the_host_file",
    11: "test_resolvconf.py::test_the_hosts_file_byte_for_byte",
    12: "test_resolvconf.py::test_a_full_name_has_at_most_64_characters",
    13: "test_discovery_scenarios.py::test_d5_13_pod_addresses_in_the_order_of_the_nodes_families",
}
"""Part D5: variables (1 to 8), resolver files, host names, the order of a Pod's addresses."""
SCENARIOS: dict[Number, str] = {
    (part, int(line.split()[0])): line.partition(" ")[2]
    for part, text in (("D1", RECORDS), ("D2", WIRE), ("D3", FOREIGN))
    for line in text.splitlines()
}
WITHOUT_TEST: dict[Number, str] = {}
"""Scenarios that cannot be had here, and why."""
MISSING: dict[str, set[int]] = {
    "D1": set(),
    "D2": set(),
    "D3": set(),
    "D5": set(),
}
"""Scenarios that are still to be written down; the list only shrinks."""
_FUNCTION = re.compile(r"::test_(d[123])((?:_[0-9]+)+)_")
_CASE = re.compile(r"\[(D[123]) ([0-9]+) ")


def test_every_scenario_has_a_test() -> None:
    found = find_numbers(collect("tests/dns"))
    missing = {(part, number) for part, numbers in MISSING.items() for number in numbers if part != "D5"}
    assert len(SCENARIOS) == 92 + 25 + 21
    assert sorted(SCENARIOS.keys() - found - WITHOUT_TEST.keys() - missing) == []
    assert sorted((WITHOUT_TEST.keys() | missing) & found) == [], "it has a test now"
    assert sorted(found - SCENARIOS.keys()) == [], "no such scenario"


def test_every_scenario_of_a_pods_surroundings_has_a_test() -> None:
    assert sorted(NODE.keys() | MISSING["D5"]) == list(range(1, 14))
    found = {line.partition("[")[0] for line in collect("tests/node")}
    assert [name for name in NODE.values() if f"tests/node/{name}" not in found] == []


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("tests/dns/test_respond.py::test_d2_4_6_7_what_fits[options0]", {("D2", 4), ("D2", 6), ("D2", 7)}),
        ("tests/dns/test_answer.py::test_records[D1 20 a headless service]", {("D1", 20)}),
        ("tests/dns/test_answer.py::test_a_law[D0 20 nothing]", set()),
    ],
)
def test_numbers_are_read_from_names_and_ids(line: str, numbers: set[Number]) -> None:
    assert find_numbers([line]) == numbers


def find_numbers(lines: list[str]) -> set[Number]:
    """The numbers that ids of tests carry."""
    found: set[Number] = set()
    for line in lines:
        if match := _FUNCTION.search(line):
            found.update((match[1].upper(), int(number)) for number in match[2].strip("_").split("_"))
        if match := _CASE.search(line):
            found.add((match[1], int(match[2])))
    return found


def collect(place: str) -> list[str]:
    """The ids of the tests there."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", place]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.splitlines()
