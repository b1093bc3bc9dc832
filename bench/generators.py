"""The load generators, which are not Python: what they are told, and what they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.processes import run_tool

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class HttpLoad:
    """What wrk saw. `failures` are answers other than 2xx and 3xx, and broken connections."""

    requests: int
    per_second: float
    p99_seconds: float
    failures: int
    p50_seconds: float = 0.0


def run_wrk(
    url: str,
    *,
    headers: Mapping[str, str],
    connections: int,
    seconds: int,
    script: Path | None = None,
    variables: Mapping[str, str] | None = None,
    core: int | None = None,
) -> HttpLoad:
    """Load on the URL from one thread; variables: what the script reads. wrk checks no certificates.

    Raises MissingTool.
    """
    arguments = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    for name, value in headers.items():
        arguments += ["-H", f"{name}: {value}"]
    if script is not None:
        arguments += ["-s", str(script)]
    return parse_wrk(run_tool("wrk", *arguments, url, core=core, variables=variables))


def parse_wrk(text: str) -> HttpLoad:
    """The figures in wrk's report. Raises RuntimeError when it is none."""
    total = re.search(r"(\d+) requests in ", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", text)
    if total is None or rate is None or p99 is None:
        raise RuntimeError(f"wrk: no report in {text!r}")
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s|m)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = (int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0)
    median = float(p50[1]) * _SECONDS[p50[2]] if p50 else 0.0
    return HttpLoad(int(total[1]), float(rate[1]), float(p99[1]) * _SECONDS[p99[2]], failures, median)


@dataclass(frozen=True, slots=True)
class DnsLoad:
    """What dnsperf saw."""

    completed: int
    per_second: float
    lost: int
    wrong: int


def run_dnsperf(
    port: int, queries: Path, *, seconds: int, core: int | None = None, per_second: int = 0, clients: int = 8
) -> DnsLoad:
    """Load on a server at 127.0.0.1 from one thread. per_second: 0: all that the server takes, 200 at once.

    Raises MissingTool.
    """
    arguments = ["-s", "127.0.0.1", "-p", str(port), "-d", str(queries), "-l", str(seconds), "-c", str(clients)]
    arguments += ["-T", "1", "-q", "200", *(("-Q", str(per_second)) if per_second else ())]
    return parse_dnsperf(run_tool("dnsperf", *arguments, core=core))


def parse_dnsperf(text: str) -> DnsLoad:
    """The figures in dnsperf's report. Raises RuntimeError when it is none."""
    completed = re.search(r"Queries completed:\s+(\d+)", text)
    lost = re.search(r"Queries lost:\s+(\d+)", text)
    rate = re.search(r"Queries per second:\s+([\d.]+)", text)
    if completed is None or lost is None or rate is None:
        raise RuntimeError(f"dnsperf: no report in {text!r}")
    right = re.search(r"NOERROR (\d+) ", text)
    wrong = int(completed[1]) - (int(right[1]) if right else 0)
    return DnsLoad(int(completed[1]), float(rate[1]), int(lost[1]), wrong)
