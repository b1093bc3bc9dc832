"""`seaway proxy` as a process follows a watch of 1,000 changes a second, and no connection to a healthy endpoint fails.

The benchmark `bench/traffic.py` does the same for a minute, with 10,000 Services.
Rule: issue of the proxy, "performance".
"""

from __future__ import annotations

import contextlib
import os

import pytest
from bench.traffic import PORT, STRESS, STRESS_SERVED, build_world, measure_stress

from seaway.testing.netns import EchoServers

pytestmark = pytest.mark.kernel
SERVICES, SECONDS, PER_SECOND = 300, 4, 1000


def test_no_connection_fails_while_a_watch_brings_a_thousand_changes_a_second() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces with veths; run as root or inside `unshare -Urnm`")
    with contextlib.ExitStack() as stack:
        world = build_world(stack)
        servers = stack.enter_context(EchoServers())
        servers.listen(world.server, "echo", PORT)
        servers.start()
        figures = {f.goal: f for f in measure_stress(world, services=SERVICES, seconds=SECONDS, per_second=PER_SECOND)}
    assert figures[STRESS_SERVED].measured == 100, figures[STRESS_SERVED].note
    assert f"of {SECONDS * PER_SECOND} changes were followed" in figures[STRESS].note
