"""What load generators say."""

from __future__ import annotations

import pytest
from bench.generators import DnsLoad, HttpLoad, parse_dnsperf, parse_wrk

WRK = """Running 2s test @ https://127.0.0.1:40000/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.50ms    1.00ms  30.00ms   90.00%
    Req/Sec     6.27k   300.00     6.80k    75.00%
  Latency Distribution
     50%    2.40ms
     75%    2.60ms
     90%    2.90ms
     99%  950.00us
  12500 requests in 2.00s, 10.00MB read
{more}Requests/sec:   6240.50
Transfer/sec:      5.00MB
"""
DNSPERF = """Statistics:

  Queries sent:         1000
  Queries completed:    990 (99.00%)
  Queries lost:         10 (1.00%)

  Response codes:       NOERROR 980 (98.99%), NXDOMAIN 10 (1.01%)
  Average packet size:  request 52, response 68
  Run time (s):         2.000000
  Queries per second:   495.000000
"""


def test_wrk() -> None:
    assert parse_wrk(WRK.format(more="")) == HttpLoad(12500, 6240.5, pytest.approx(0.00095), 0, pytest.approx(0.0024))


def test_wrk_counts_refusals_and_broken_connections_as_failures() -> None:
    more = "  Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 40\n"
    assert parse_wrk(WRK.format(more=more)).failures == 43


def test_dnsperf_counts_other_answers_as_wrong() -> None:
    assert parse_dnsperf(DNSPERF) == DnsLoad(990, 495.0, 10, 10)


@pytest.mark.parametrize("parse", [parse_wrk, parse_dnsperf])
def test_a_report_without_figures_is_refused(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(RuntimeError, match="no report"):
        parse("unable to connect")
